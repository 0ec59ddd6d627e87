//! Who speaks, and who has the floor: the dominant speaker. Pure: seats say how loud they are, time is an argument.
//!
//! The goals are those of Volfin and Cohen, "Dominant speaker identification for multipoint videoconferencing" (2012): whoever
//! begins to speak is noticed soon, a cough or a "yes" does not take the floor, and silence leaves it where it was.

/// Seats with sound: the host and eight guests.
const SEATS: usize = 9;
/// Loudness from which a seat speaks (-36 dBov), and below which it does not any more.
const SPEAKS: u8 = 4;
const QUIET: u8 = 3;
/// Quiet for this long ends speech, ms. Trade: longer than the gaps between sentences, or a frame around a picture
/// would flicker; longer is noticed.
const LINGER: u64 = 800;
/// Who speaks for this long and is louder takes the floor from somebody who speaks, and nobody within this time of the last
/// change, ms. Trade: shorter would let a "yes" take it.
const INSISTS: u64 = 1_000;
/// What was not said again for this long is over, ms: the media plane repeats it every second.
const STALE: u64 = 3_000;

#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    level: u8,
    at: u64,
    /// Speaks since then.
    since: Option<u64>,
    /// Speaks still, but is quiet since then.
    quiet: Option<u64>,
}

impl Heard {
    fn settle(&mut self, now: u64) {
        if self.at + STALE <= now {
            self.level = 0;
        }
        match self.level {
            SPEAKS.. => {
                self.since = self.since.or(Some(now));
                self.quiet = None;
            }
            QUIET.. => self.quiet = None,
            _ if self.since.is_some() => self.quiet = self.quiet.or(Some(now)),
            _ => {}
        }
        if self.quiet.is_some_and(|quiet| quiet + LINGER <= now) {
            (self.since, self.quiet) = (None, None);
        }
    }

    fn due(&self) -> Option<u64> {
        self.since?;
        let stale = (self.level > 0).then_some(self.at + STALE);
        stale.into_iter().chain(self.quiet.map(|quiet| quiet + LINGER)).min()
    }
}

/// The floor of one room.
#[derive(Debug, Default)]
pub(super) struct Floor {
    heard: [Heard; SEATS],
    /// Who has it, and since when.
    holder: Option<(u8, u64)>,
    due: Option<u64>,
}

impl Floor {
    /// A seat is so loud, 0 to 9.
    pub(super) fn hear(&mut self, now: u64, seat: u8, level: u8) {
        if let Some(heard) = self.heard.get_mut(usize::from(seat)) {
            (heard.level, heard.at) = (level, now);
        }
    }

    /// Let time pass. Seats of which `on_air` does not hold are not heard.
    pub(super) fn settle(&mut self, now: u64, on_air: impl Fn(u8) -> bool) {
        for (seat, heard) in self.heard.iter_mut().enumerate() {
            if on_air(seat as u8) {
                heard.settle(now);
            } else {
                *heard = Heard::default();
            }
        }
        self.holder = self.holder.filter(|(seat, _)| on_air(*seat));
        if let Some(seat) = self.successor(now) {
            self.holder = Some((seat, now));
        }
        let speech = self.heard.iter().filter_map(Heard::due);
        let claims = self.heard.iter().filter_map(|heard| heard.since);
        let claims = claims.chain(self.holder.map(|(_, since)| since)).map(|at| at + INSISTS);
        self.due = speech.chain(claims.filter(|at| *at > now)).min();
    }

    /// Who takes the floor now.
    fn successor(&self, now: u64) -> Option<u8> {
        let held = self.holder.map(|(seat, since)| (seat, self.of(seat), since));
        let insists = |heard: &Heard| {
            let Some((_, holder, taken)) = held.filter(|(_, holder, _)| holder.since.is_some())
            else {
                return true;
            };
            let long = heard.since.is_some_and(|since| since + INSISTS <= now);
            long && taken + INSISTS <= now && heard.level > holder.level
        };
        let others =
            (0..SEATS as u8).filter(|seat| held.is_none_or(|(holder, ..)| holder != *seat));
        others
            .map(|seat| (seat, self.of(seat)))
            .filter(|(_, heard)| heard.since.is_some() && insists(heard))
            .max_by_key(|(seat, heard)| (heard.level, std::cmp::Reverse((heard.since, *seat))))
            .map(|(seat, _)| seat)
    }

    fn of(&self, seat: u8) -> Heard {
        self.heard.get(usize::from(seat)).copied().unwrap_or_default()
    }

    /// Who has the floor; kept while nobody speaks.
    pub(super) fn holder(&self) -> Option<u8> {
        self.holder.map(|(seat, _)| seat)
    }

    /// Seats that speak; the one that has the floor is the first.
    pub(super) fn speaking(&self) -> Vec<u8> {
        let mut seats: Vec<u8> =
            (0..SEATS as u8).filter(|seat| self.of(*seat).since.is_some()).collect();
        seats.sort_by_key(|seat| Some(*seat) != self.holder());
        seats
    }

    /// When [`Self::settle`] may change something though nobody is heard, after it was called.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens at some millisecond: a seat is heard.
    type Sound = (u64, u8, u8);

    /// Let everything happen, and time pass until `end`; says who speaks then.
    fn after(sounds: &[Sound], end: u64) -> Vec<u8> {
        let mut floor = Floor::default();
        for at in 0..=end {
            for (_, seat, level) in sounds.iter().filter(|(then, ..)| *then == at) {
                floor.hear(at, *seat, *level);
            }
            floor.settle(at, |_| true);
        }
        floor.speaking()
    }

    #[test]
    fn who_speaks_is_noticed_at_once_and_a_pause_between_sentences_is_not() {
        assert_eq!(after(&[(0, 2, 4)], 0), [2]);
        assert!(after(&[(0, 2, 3)], 0).is_empty(), "too soft");
        assert_eq!(after(&[(0, 2, 4), (500, 2, 3)], 1_400), [2], "but loud enough to go on");
        assert_eq!(after(&[(0, 2, 6), (500, 2, 0)], 1_299), [2]);
        assert!(after(&[(0, 2, 6), (500, 2, 0)], 1_300).is_empty());
        assert_eq!(after(&[(0, 2, 6), (500, 2, 0), (900, 2, 5)], 2_000), [2]);
    }

    #[test]
    fn sound_that_ends_without_a_word_is_over() {
        assert_eq!(after(&[(0, 2, 6)], 3_799), [2]);
        assert!(after(&[(0, 2, 6)], 3_800).is_empty());
    }

    #[test]
    fn a_yes_does_not_take_the_floor_and_a_louder_voice_that_insists_does() {
        let host = (0, 0, 6);
        assert_eq!(after(&[host, (1_000, 1, 8)], 1_999), [0, 1]);
        assert_eq!(after(&[host, (1_000, 1, 8)], 2_000), [1, 0]);
        assert_eq!(after(&[host, (1_000, 1, 6)], 2_500), [0, 1], "no louder");
        assert_eq!(after(&[host, (100, 1, 8), (100, 0, 0)], 900), [1], "who has it stopped");
    }

    #[test]
    fn silence_leaves_the_floor_where_it_was_and_who_goes_off_air_loses_it() {
        let mut floor = Floor::default();
        floor.hear(0, 3, 6);
        floor.settle(0, |_| true);
        floor.hear(100, 3, 0);
        floor.settle(100, |_| true);
        floor.settle(10_000, |_| true);
        assert_eq!((floor.holder(), floor.speaking()), (Some(3), vec![]));
        assert_eq!(floor.next_deadline(), None);
        floor.settle(10_001, |seat| seat != 3);
        assert_eq!(floor.holder(), None);
    }

    proptest! {
        /// The deadline lies ahead and nothing changes before it; the floor passes from somebody who speaks a
        /// second after it was taken at the earliest.
        #[test]
        fn nothing_changes_before_the_deadline_and_the_floor_does_not_flicker(
            sounds in proptest::collection::vec((0_u64..4_000, 0_u8..4, 0_u8..10), 0..40),
            off_air in 0_u8..5,
        ) {
            let mut floor = Floor::default();
            let mut taken = 0;
            for at in 0..8_000_u64 {
                let heard: Vec<&Sound> = sounds.iter().filter(|(then, ..)| *then == at).collect();
                let due = floor.next_deadline();
                let before = (floor.holder(), floor.speaking());
                for (_, seat, level) in &heard {
                    floor.hear(at, *seat, *level);
                }
                floor.settle(at, |seat| seat != off_air);
                let now = (floor.holder(), floor.speaking());
                prop_assert!(floor.next_deadline().is_none_or(|due| due > at));
                prop_assert!(!now.1.contains(&off_air) && now.0 != Some(off_air));
                if heard.is_empty() && due.is_none_or(|due| due > at) {
                    prop_assert_eq!(&now, &before);
                }
                if now.0 != before.0 {
                    let spoke = before.0.is_some_and(|holder| now.1.contains(&holder));
                    prop_assert!(!spoke || at >= taken + INSISTS);
                    taken = at;
                }
            }
        }
    }
}
