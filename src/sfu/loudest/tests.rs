//! Five guests who speak, are silent, come and go.
#![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]

use proptest::prelude::*;

use super::*;

const PACKET: Duration = Duration::from_millis(20);

/// The guests, and all that they said.
struct Show {
    now: Instant,
    loudest: Loudest,
    /// When each guest's packets came, and how loud they were.
    said: [Vec<(Instant, u8)>; GUESTS + 1],
    live: Vec<Seat>,
}

impl Show {
    fn new() -> Self {
        let now = Instant::now();
        let mut show = Self {
            now,
            loudest: Loudest::new(now),
            said: std::array::from_fn(|_| Vec::new()),
            live: (1..=5).map(Seat).collect(),
        };
        show.loudest.set_live(now, show.live.clone());
        show
    }

    fn heard(&self, top: u8) -> Vec<u8> {
        let heard = self.live.iter().filter(|seat| self.loudest.takes(top, **seat));
        heard.map(|seat| seat.0).collect()
    }

    fn packet(&mut self, seat: u8, loud: u8) -> Changed {
        self.said[usize::from(seat)].push((self.now, loud));
        self.loudest.hear(self.now, Seat(seat), loud)
    }

    /// So many packets of each guest, as loud as this tells.
    fn run(&mut self, packets: u32, mut loud: impl FnMut(u8) -> u8) {
        for _ in 0..packets {
            for seat in self.live.clone() {
                self.packet(seat.0, loud(seat.0));
            }
            self.now += PACKET;
        }
    }

    /// The loudest packet of a guest in the last `time`.
    fn peak(&self, seat: u8, time: Duration) -> u8 {
        let said = self.said[usize::from(seat)].iter().rev();
        let late = said.take_while(|(at, _)| *at + time > self.now);
        late.map(|(_, loud)| *loud).max().unwrap_or(0)
    }
}

fn only(speaks: u8) -> impl FnMut(u8) -> u8 {
    move |seat| if seat == speaks { 100 } else { 40 }
}

#[test]
fn the_second_packet_of_a_word_is_heard_and_a_click_is_not() {
    let mut show = Show::new();
    show.run(100, |_| 40);
    assert_eq!(show.heard(3), [1, 2]);
    assert!(show.packet(5, 100).is_empty());
    assert!(show.packet(5, 40).is_empty());
    assert!(show.packet(5, 100).is_empty());
    let changed = show.packet(5, 90);
    assert!(changed.concerns(3, Seat(5)) && changed.concerns(3, Seat(2)));
    assert!(!changed.concerns(3, Seat(1)) && !changed.concerns(3, Seat(3)));
    assert!(!changed.concerns(ALL, Seat(5)));
    assert_eq!(show.heard(3), [1, 5]);
}

#[test]
fn a_pause_costs_nobody_their_place_while_another_is_silent_for_longer() {
    let mut show = Show::new();
    show.run(50, only(4));
    show.run(50, only(5));
    show.run(60, |_| 40);
    assert_eq!(show.heard(3), [4, 5], "silence changes nothing");
    show.run(2, only(1));
    assert_eq!(show.heard(3), [1, 5], "who was silent for longest went");
    show.run(2, only(4));
    assert_eq!(show.heard(3), [1, 4]);
}

#[test]
fn who_answers_is_heard_when_the_question_is_over() {
    let mut show = Show::new();
    show.run(50, only(4));
    assert_eq!(show.heard(2), [4]);
    show.run(10, |seat| if seat >= 4 { 100 } else { 40 });
    assert_eq!(show.heard(2), [4], "no louder");
    show.run(15, only(5));
    assert_eq!(show.heard(2), [5]);
    assert_eq!(show.heard(1), [0_u8; 0], "the host alone");
    assert_eq!(show.heard(ALL), [1, 2, 3, 4, 5]);
}

#[test]
fn places_of_guests_who_leave_go_to_the_loudest_of_the_others() {
    let mut show = Show::new();
    show.run(50, |seat| 10 * seat);
    assert_eq!(show.heard(3), [4, 5]);
    show.live = [1, 3, 4].map(Seat).to_vec();
    let changed = show.loudest.set_live(show.now, show.live.clone());
    assert!(changed.concerns(3, Seat(5)) && changed.concerns(3, Seat(3)));
    assert_eq!(show.heard(3), [3, 4]);
    show.live = [4].map(Seat).to_vec();
    show.loudest.set_live(show.now, show.live.clone());
    assert_eq!(show.heard(3), [4]);
    assert_eq!(show.loudest.set_live(show.now, show.live.clone()), Changed::default());
    show.live.push(Seat(2));
    show.loudest.set_live(show.now, show.live.clone());
    assert_eq!(show.heard(3), [4, 2], "a free place is anybody's");
}

#[test]
fn who_does_not_say_how_loud_is_taken_for_speaking() {
    assert_eq!([Some(0), Some(127), Some(255), None].map(above_silence), [127, 0, 0, 87]);
}

/// What one packet of `seat`, as loud as the softer one of its last two, has changed for who hears `top` voices.
fn check(show: &Show, (seat, loud): (u8, u8), top: u8, had: &[u8]) -> Result<(), TestCaseError> {
    let heard = show.heard(top);
    prop_assert_eq!(heard.len(), usize::from(top - 1).min(5));
    let late = |seat: u8| show.peak(seat, STEP * 3);
    let others = (1..=5).filter(|other| *other != seat).map(late).max();
    if top > 1 && others.is_some_and(|others| loud >= others + LOUDER) {
        prop_assert!(heard.contains(&seat), "{} at {} is not one of {}", seat, loud, top);
    }
    let left: Vec<u8> = had.iter().copied().filter(|seat| !heard.contains(seat)).collect();
    prop_assert!(left.len() <= 1);
    let Some(left) = left.first().copied() else { return Ok(()) };
    prop_assert!(heard.contains(&seat) && !had.contains(&seat));
    prop_assert!(loud >= show.peak(left, STEP * 2) + LOUDER);
    let others = heard.iter().filter(|other| **other != seat && late(**other) + LOUDER <= loud);
    for stayed in others {
        prop_assert!(show.peak(left, STEP * 19) <= show.peak(*stayed, STEP * 20));
    }
    Ok(())
}

proptest! {
    /// As many as were asked for, the loudest among them; nobody loses a place but to somebody louder, and then
    /// whoever was quiet for longest.
    #[test]
    fn the_loudest_are_heard_and_nobody_leaves_without_cause(
        spells in proptest::collection::vec(
            (1_u32..40, proptest::array::uniform5(prop_oneof![Just(0_u8), 0_u8..121])), 1..20),
    ) {
        let mut show = Show::new();
        let mut before: Vec<Vec<u8>> = (0..=ALL).map(|top| show.heard(top)).collect();
        for (packets, levels) in spells {
            for _ in 0..packets {
                for seat in 1..=5_u8 {
                    let loud = levels[usize::from(seat) - 1];
                    let first = show.said[usize::from(seat)].last().map_or(0, |(_, loud)| *loud);
                    show.packet(seat, loud);
                    for top in 1..=ALL {
                        check(&show, (seat, loud.min(first)), top, &before[usize::from(top)])?;
                        before[usize::from(top)] = show.heard(top);
                    }
                }
                show.now += PACKET;
            }
        }
    }

    /// Voices that swing by less than is needed to take a place do not take it from each other in turn.
    #[test]
    fn nobody_comes_and_goes_while_voices_are_steady(
        levels in proptest::array::uniform5(0_u8..120),
        noise in proptest::collection::vec(0_u8..LOUDER, 1500),
    ) {
        let mut show = Show::new();
        let mut noise = noise.into_iter();
        let mut gone = [const { Vec::new() }; ALL as usize + 1];
        for _ in 0..300 {
            let before: Vec<Vec<u8>> = (0..=ALL).map(|top| show.heard(top)).collect();
            show.run(1, |seat| levels[usize::from(seat) - 1] + noise.next().unwrap_or(0));
            for top in 1..=ALL {
                let (had, heard) = (&before[usize::from(top)], show.heard(top));
                let gone: &mut Vec<u8> = &mut gone[usize::from(top)];
                gone.extend(had.iter().filter(|seat| !heard.contains(seat)));
                prop_assert!(heard.iter().all(|seat| !gone.contains(seat)), "{:?} {:?}", gone, heard);
            }
        }
    }
}
