//! Holes in one stream of a publisher: when to ask for a packet again, and how long repairs take.

use std::time::{Duration, Instant};

/// Most holes tracked; a larger loss is answered with a key-frame request instead.
pub const MAX_MISSING: usize = 256;
/// Wait before the first NACK. Trade: reordering inside a burst would ask for packets that are
/// already on their way; 5 ms is below one frame.
pub const NACK_DELAY: Duration = Duration::from_millis(5);
/// Wait between NACKs for the same packet while the round trip is unknown.
const NACK_RETRY: Duration = Duration::from_millis(50);
/// And of a round trip where it is known, in percent: asked sooner, a repair on its way is sent twice, over an uplink that loses
/// packets as it is.
const ROUND_TRIP_PERCENT: u32 = 125;
const RETRY_AT_LEAST: Duration = Duration::from_millis(20);
/// Retries at this pace; after them each wait is twice the one before, so that an outage does not use up all tries.
const STEADY_TRIES: u8 = 3;
/// But no longer than this, or a round trip.
const RETRY_AT_MOST: Duration = Duration::from_millis(200);
/// NACKs per packet before it is given up.
pub const NACK_TRIES: u8 = 8;

/// Looks, a second each, by which it is decided how long viewers should wait, and how many of them must have had repairs.
/// Trade: a burst now and then is no reason to be later all the time.
const LOOKS: usize = 10;
const LOSSY_LOOKS: usize = 3;
/// Waits are told in steps of this, ms: each change lets pictures run slower or faster for a moment.
const STEP_MS: u16 = 50;
/// Later than this is worse than a frame less now and then.
const MOST_MS: u16 = 500;

#[derive(Debug, Clone, Copy)]
struct Missing {
    sequence: u64,
    noticed: Instant,
    /// When it was asked for first.
    asked: Option<Instant>,
    next_nack: Instant,
    tries: u8,
}

/// What is missing of one stream.
#[derive(Debug, Default)]
pub struct Gaps {
    missing: Vec<Missing>,
    /// From asking to the packet, as far as it is known.
    round_trip: Option<Duration>,
    slowest: SlowestRepairs,
}

impl Gaps {
    /// These numbers were left out.
    pub fn open(&mut self, now: Instant, numbers: std::ops::Range<u64>) {
        let hole = numbers.end.saturating_sub(numbers.start);
        if hole > MAX_MISSING as u64 || self.missing.len() + hole as usize > MAX_MISSING {
            self.missing.clear();
            return;
        }
        let next_nack = now + NACK_DELAY;
        self.missing.extend(numbers.map(|sequence| Missing {
            sequence,
            noticed: now,
            asked: None,
            next_nack,
            tries: 0,
        }));
    }

    /// A packet came after all.
    pub fn fill(&mut self, now: Instant, sequence: u64) {
        let Some(at) = self.missing.iter().position(|m| m.sequence == sequence) else { return };
        let filled = self.missing.remove(at);
        // Else the network only put it out of order.
        let Some(asked) = filled.asked else { return };
        self.note_round_trip(now.saturating_duration_since(asked), filled.tries);
        self.slowest.note(now.saturating_duration_since(filled.noticed));
    }

    /// Who was asked twice may have answered either time: then it is known only that the round trip is not longer.
    fn note_round_trip(&mut self, elapsed: Duration, tries: u8) {
        self.round_trip = Some(match self.round_trip {
            None => elapsed,
            Some(known) if elapsed < known => (known + elapsed) / 2,
            Some(known) if tries == 1 => (known * 7 + elapsed) / 8,
            Some(known) => known,
        });
    }

    fn retry(&self, tries: u8) -> Duration {
        let Some(round_trip) = self.round_trip else {
            return NACK_RETRY * u32::from(tries.min(4));
        };
        let steady = (round_trip * ROUND_TRIP_PERCENT / 100).max(RETRY_AT_LEAST);
        let doublings = tries.saturating_sub(STEADY_TRIES).min(7);
        (steady * (1 << doublings)).min(RETRY_AT_MOST.max(steady))
    }

    /// Sequence numbers to ask for now, appended to `out` in rising order. Returns whether
    /// something was given up for good.
    pub fn due(&mut self, now: Instant, out: &mut Vec<u16>) -> bool {
        let before = self.missing.len();
        self.missing.retain(|m| m.tries < NACK_TRIES || m.next_nack > now);
        let gave_up = self.missing.len() < before;
        for at in 0..self.missing.len() {
            let retry = self.missing.get(at).map(|m| self.retry(m.tries + 1));
            if let Some((m, retry)) = self.missing.get_mut(at).zip(retry)
                && m.next_nack <= now
            {
                m.tries += 1;
                m.asked = m.asked.or(Some(now));
                m.next_nack = now + retry;
                out.push(m.sequence as u16);
            }
        }
        gave_up
    }

    /// When [`Self::due`] has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.missing.iter().map(|m| m.next_nack).min()
    }

    /// Once a second: how long viewers should wait for repairs now, ms; 0 = not at all.
    pub fn look(&mut self) -> u16 {
        self.slowest.look()
    }

    /// How many holes are open.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.missing.len()
    }
}

/// How long the slowest repairs took, by second.
#[derive(Debug, Default)]
struct SlowestRepairs {
    present_ms: u16,
    looks: [u16; LOOKS],
    next: usize,
    wait_ms: u16,
}

impl SlowestRepairs {
    fn note(&mut self, took: Duration) {
        let ms = u16::try_from(took.as_millis()).unwrap_or(u16::MAX);
        self.present_ms = self.present_ms.max(ms).max(1);
    }

    fn look(&mut self) -> u16 {
        if let Some(look) = self.looks.get_mut(self.next) {
            *look = std::mem::take(&mut self.present_ms);
        }
        self.next = (self.next + 1) % LOOKS;
        let lossy = self.looks.iter().filter(|ms| **ms > 0).count();
        let slowest = self.looks.iter().copied().max().unwrap_or(0).min(MOST_MS);
        let steps = slowest.div_ceil(STEP_MS) * STEP_MS;
        // Once begun it goes on until nothing is lost any more.
        if lossy == 0 || (self.wait_ms == 0 && lossy < LOSSY_LOOKS) {
            self.wait_ms = 0;
        } else if steps > self.wait_ms || steps + STEP_MS < self.wait_ms {
            self.wait_ms = steps;
        }
        self.wait_ms
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Let time pass by the millisecond; when was packet 7, missing since `now`, asked for until `end`?
    fn asks(gaps: &mut Gaps, now: Instant, end: u32) -> Vec<u32> {
        let mut out = Vec::new();
        (0..end)
            .filter(|ms| {
                out.clear();
                gaps.due(now + MS * *ms, &mut out);
                out.contains(&7)
            })
            .collect()
    }

    #[test]
    fn a_hole_is_asked_for_again_after_a_round_trip_once_that_is_known() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.open(now, 7..8);
        assert_eq!(asks(&mut gaps, now, 106), [5, 55], "nothing is known");
        gaps.fill(now + MS * 105, 7);
        gaps.open(now, 7..8);
        assert_eq!(asks(&mut gaps, now, 1_200), [5, 130, 255, 380, 580, 780, 980, 1180]);
        gaps.fill(now + MS * 1_190, 7);
        assert_eq!(gaps.round_trip, Some(MS * 100), "it may have been the first that was answered");
    }

    #[test]
    fn a_near_publisher_is_asked_often_and_then_less_so_that_an_outage_passes() {
        let now = Instant::now();
        let mut gaps = Gaps { round_trip: Some(MS * 4), ..Gaps::default() };
        gaps.open(now, 7..8);
        assert_eq!(asks(&mut gaps, now, 745), [5, 25, 45, 65, 105, 185, 345, 545]);
        let mut out = Vec::new();
        assert!(!gaps.due(now + MS * 744, &mut out));
        assert!(gaps.due(now + MS * 745, &mut out) && out.is_empty(), "given up");
        assert_eq!(gaps.next_due(), None);
    }

    #[test]
    fn the_round_trip_follows_what_is_certain() {
        let mut gaps = Gaps::default();
        let mut note = |ms: u32, tries| {
            gaps.note_round_trip(MS * ms, tries);
            gaps.round_trip.map(|round_trip| round_trip.as_millis())
        };
        assert_eq!(note(155, 2), Some(155));
        assert_eq!(note(105, 1), Some(130));
        assert_eq!(note(250, 3), Some(130), "says nothing");
        assert_eq!(note(210, 1), Some(140), "a longer one, now and then");
    }

    #[test]
    fn holes_are_bounded() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.open(now, 0..MAX_MISSING as u64);
        assert_eq!(gaps.count(), MAX_MISSING);
        gaps.open(now, 1_000..1_001);
        assert_eq!(gaps.count(), 0, "more is for a key frame");
        gaps.open(now, 0..MAX_MISSING as u64 + 1);
        assert_eq!(gaps.count(), 0);
    }

    /// Ask for a packet and get it so many milliseconds after the hole was noticed.
    fn repair(gaps: &mut Gaps, took: u32) {
        let now = Instant::now();
        gaps.open(now, 7..8);
        gaps.due(now + NACK_DELAY, &mut Vec::new());
        gaps.fill(now + MS * took, 7);
    }

    #[test]
    fn viewers_wait_for_repairs_where_losses_go_on_and_not_for_a_burst() {
        let mut gaps = Gaps::default();
        let mut second = |repairs: &[u32]| {
            repairs.iter().for_each(|took| repair(&mut gaps, *took));
            gaps.look()
        };
        assert_eq!([second(&[120, 80]), second(&[]), second(&[90]), second(&[])], [0; 4]);
        assert_eq!(second(&[60]), 150, "the slowest of ten seconds");
        assert_eq!(second(&[230]), 250);
        assert_eq!(second(&[9_000]), 500);
        for _ in 0..9 {
            assert_eq!(second(&[120]), 500);
        }
        assert_eq!(second(&[120]), 150);
        for _ in 0..9 {
            assert_eq!(second(&[60]), 150);
        }
        assert_eq!(second(&[60]), 150, "a step less is not worth a change");
        for _ in 0..9 {
            assert!(second(&[]) > 0);
        }
        assert_eq!(second(&[]), 0);
    }

    #[test]
    fn a_packet_out_of_order_is_no_repair() {
        let now = Instant::now();
        let mut gaps = Gaps::default();
        gaps.open(now, 7..8);
        gaps.fill(now + MS * 4, 7);
        assert_eq!(gaps.round_trip, None);
        assert_eq!(gaps.slowest.present_ms, 0);
    }
}
