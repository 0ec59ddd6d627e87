//! Which guests are heard by viewers who ask for a few voices only. Pure: loudness of packets and time in, sets of seats out.
//!
//! Whoever has become louder than somebody who is heard takes that place with the second packet, as a word that lacks its
//! beginning is not understood. Nobody leaves for falling silent, only for somebody else: of those who were quieter just
//! now, whoever was quietest for two seconds. So a pause between sentences costs nobody their place while another is
//! silent for longer, and two who talk at once do not take each other's with every syllable.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use signaling::media::Seat;

/// The most voices a viewer can ask for: host and eight guests, which is everybody.
pub const ALL: u8 = Seat::MAX_GUEST + 1;
/// Loudness is kept as the loudest packet of each of these.
const STEP: Duration = Duration::from_millis(100);
/// Steps that count as just now. Trade: a syllable and the gap behind it; longer would keep out who answers.
const NOW: u64 = 3;
/// Steps by which it is told who has been quiet for longest. Trade: a pause between sentences.
const LATELY: u64 = 20;
/// How much louder somebody must be to take a place, dB. Trade: twice as loud as heard is 10; less would change with the
/// noise of two who talk at once, more would leave out a soft voice beside a loud one.
const LOUDER: u8 = 6;
/// What a packet counts as that does not say how loud it is, dB above silence: speech at -40 dBov, as it can be nothing
/// softer without being left out for good.
const UNKNOWN: u8 = 87;
/// Seats of guests are 1 to that.
const GUESTS: usize = Seat::MAX_GUEST as usize;

/// Loudness of an RTP packet's sound as told by RFC 6464, in dB above -127 dBov, which is silence; 0 to 127.
#[must_use]
pub fn above_silence(minus_dbov: Option<u8>) -> u8 {
    minus_dbov.map_or(UNKNOWN, |level| 127_u8.saturating_sub(level))
}

/// How loud a seat was lately.
#[derive(Debug, Clone, Copy, Default)]
struct Voice {
    /// The packet before.
    before: u8,
    /// The loudest packet of each step, the newest at `newest % LATELY`.
    steps: [u8; LATELY as usize],
    newest: u64,
}

impl Voice {
    /// A packet of this loudness; that of the softer one of the last two, as a single one may be a click.
    fn hear(&mut self, step: u64, loud: u8) -> u8 {
        let passed = step.saturating_sub(self.newest).min(LATELY);
        self.newest = self.newest.max(step);
        for back in 0..passed {
            self.steps[((self.newest - back) % LATELY) as usize] = 0;
        }
        let present = &mut self.steps[(self.newest % LATELY) as usize];
        *present = (*present).max(loud);
        loud.min(std::mem::replace(&mut self.before, loud))
    }

    /// The loudest packet of the last so many steps.
    fn peak(&self, step: u64, steps: u64) -> u8 {
        let oldest = (step + 1).saturating_sub(steps).max((self.newest + 1).saturating_sub(LATELY));
        (oldest..=self.newest).map(|at| self.steps[(at % LATELY) as usize]).max().unwrap_or(0)
    }
}

/// Seats as bits.
type Seats = u16;

const fn bit(seat: Seat) -> Seats {
    1 << seat.0
}

/// Who has become heard, or no longer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// By how many guests somebody hears, as [`Loudest::heard`]; who hears all is concerned by nothing.
    by_guests: [Seats; GUESTS],
}

impl Changed {
    /// Whether this is news for a viewer that asked for `top` voices, in its slot of `seat`.
    #[must_use]
    pub fn concerns(self, top: u8, seat: Seat) -> bool {
        let guests = usize::from(top.saturating_sub(1));
        self.by_guests.get(guests).is_some_and(|seats| seats & bit(seat) != 0)
    }

    /// Nobody.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The voices of one room, as one shard hears them.
#[derive(Debug)]
pub struct Loudest {
    began: Instant,
    /// Guests whom everybody may hear.
    live: Seats,
    voices: [Voice; GUESTS + 1],
    /// Of them those heard by who asks for so many guests, beside the host.
    heard: [Seats; GUESTS],
}

impl Loudest {
    /// Nobody is live yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let (live, voices, heard) = (0, [Voice::default(); GUESTS + 1], [0; GUESTS]);
        Self { began: now, live, voices, heard }
    }

    /// Whether a viewer that asked for `top` voices, 1 to 9, is sent the sound of this seat. The host's is always
    /// one of them; a viewer's own counts though nobody sends it back.
    #[must_use]
    pub fn takes(&self, top: u8, seat: Seat) -> bool {
        let guests = usize::from(top.saturating_sub(1));
        // Seats that not everybody may hear are not among those chosen from.
        self.live & bit(seat) == 0
            || self.heard.get(guests).is_none_or(|heard| heard & bit(seat) != 0)
    }

    /// These guests may be heard by everybody now; others lose their places, which go to the loudest.
    pub fn set_live(&mut self, now: Instant, guests: impl IntoIterator<Item = Seat>) -> Changed {
        let live = guests.into_iter().map(bit).fold(0, |seats, seat| seats | seat);
        let step = self.step(now);
        // Who comes or goes concerns everybody who asks.
        let mut changed = Changed { by_guests: [live ^ self.live; GUESTS] };
        for seat in seats(self.live & !live) {
            self.voices[usize::from(seat.0)] = Voice::default();
        }
        self.live = live;
        for guests in 0..GUESTS {
            let mut heard = self.heard[guests] & live;
            while heard.count_ones() < live.count_ones().min(guests as u32) {
                let silent = seats(live & !heard);
                let Some(seat) = silent.max_by_key(|seat| self.lately(*seat, step)) else { break };
                heard |= bit(seat);
            }
            changed.by_guests[guests] |= self.heard[guests] ^ heard;
            self.heard[guests] = heard;
        }
        changed
    }

    /// A packet of a live guest's sound, so many dB above silence.
    pub fn hear(&mut self, now: Instant, seat: Seat, loud: u8) -> Changed {
        let step = self.step(now);
        let Some(voice) = self.voices.get_mut(usize::from(seat.0)) else {
            return Changed::default();
        };
        let loud = voice.hear(step, loud);
        let mut changed = Changed::default();
        if self.live & bit(seat) == 0 {
            return changed;
        }
        for guests in 1..GUESTS {
            let heard = self.heard[guests];
            if heard & bit(seat) != 0 {
                continue;
            }
            let softer = |other: &Seat| self.peak(*other, step, NOW) + LOUDER <= loud;
            let heard_now = seats(heard).filter(softer);
            let Some(leaves) = heard_now.min_by_key(|seat| self.lately(*seat, step)) else {
                continue;
            };
            self.heard[guests] = heard & !bit(leaves) | bit(seat);
            changed.by_guests[guests] = bit(leaves) | bit(seat);
        }
        changed
    }

    fn peak(&self, seat: Seat, step: u64, steps: u64) -> u8 {
        self.voices.get(usize::from(seat.0)).map_or(0, |voice| voice.peak(step, steps))
    }

    /// Whoever was louder comes behind; of equals the lower seat.
    fn lately(&self, seat: Seat, step: u64) -> (u8, Reverse<u8>) {
        (self.peak(seat, step, LATELY), Reverse(seat.0))
    }

    fn step(&self, now: Instant) -> u64 {
        // From there, so that the first steps have others before them.
        LATELY + (now.saturating_duration_since(self.began).as_millis() / STEP.as_millis()) as u64
    }
}

fn seats(bits: Seats) -> impl Iterator<Item = Seat> {
    (1..=GUESTS as u8).map(Seat).filter(move |seat| bits & bit(*seat) != 0)
}

#[cfg(test)]
mod tests;
