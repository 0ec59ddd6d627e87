//! The receive side of one publication: what arrived, what is missing, what to ask for again.
//!
//! One NACK list per stream, independent of viewers, so a hole is asked for once and its fill
//! serves everybody.

use std::time::Instant;

use crate::rtp::rtcp::ReportBlock;
use crate::rtp::seq::SequenceExtender;

use super::gaps::Gaps;

/// Sequence numbers remembered for duplicate detection.
const WINDOW: u64 = 1024;
/// Padding-only packets remembered, to close the gaps they leave.
const MAX_SKIPS: usize = 64;

/// What a sequence number turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Not seen before; its extended sequence number.
    New(u64),
    /// Seen before.
    Duplicate,
    /// Older than the window.
    TooOld,
}

/// Receive state of one SSRC.
#[derive(Debug)]
pub struct Receiver {
    /// The publisher's SSRC.
    pub ssrc: u32,
    clock_rate: u32,
    extender: SequenceExtender,
    first: Option<u64>,
    highest: u64,
    seen: [u64; (WINDOW / 64) as usize],
    received: u64,
    reported: (u64, u64),
    transit: Option<i64>,
    jitter: f64,
    started: Instant,
    /// What is missing, and asked for again.
    pub gaps: Gaps,
    /// Extended sequence numbers of padding-only packets, rising.
    skips: Vec<u64>,
    skipped: u64,
    last_report: Option<(u32, Instant)>,
}

impl Receiver {
    /// A receiver that has seen nothing.
    #[must_use]
    pub fn new(ssrc: u32, clock_rate: u32, now: Instant) -> Self {
        Self {
            ssrc,
            clock_rate,
            extender: SequenceExtender::default(),
            first: None,
            highest: 0,
            seen: [0; (WINDOW / 64) as usize],
            received: 0,
            reported: (0, 0),
            transit: None,
            jitter: 0.0,
            started: now,
            gaps: Gaps::default(),
            skips: Vec::new(),
            skipped: 0,
            last_report: None,
        }
    }

    /// Note the arrival of `sequence`; `nack` = ask for the holes it reveals.
    pub fn arrive(&mut self, now: Instant, sequence: u16, nack: bool) -> Arrival {
        let extended = self.extender.extend(sequence);
        if self.first.is_none() {
            self.first = Some(extended);
            self.highest = extended;
            self.mark(extended);
            self.received = 1;
            return Arrival::New(extended);
        }
        if extended + WINDOW <= self.highest {
            return Arrival::TooOld;
        }
        if extended <= self.highest {
            if self.is_marked(extended) {
                return Arrival::Duplicate;
            }
        } else {
            self.advance(now, extended, nack);
        }
        self.mark(extended);
        self.gaps.fill(now, extended);
        self.received += 1;
        Arrival::New(extended)
    }

    fn advance(&mut self, now: Instant, extended: u64, nack: bool) {
        let hole = extended - self.highest - 1;
        for sequence in self.highest + 1..=extended.min(self.highest + WINDOW) {
            self.unmark(sequence);
        }
        if hole >= WINDOW {
            self.seen = [0; (WINDOW / 64) as usize];
        }
        if nack && hole > 0 {
            self.gaps.open(now, self.highest + 1..extended);
        }
        self.highest = extended;
    }

    /// Interarrival jitter (RFC 3550 A.8), for packets that were not retransmitted.
    pub fn measure_jitter(&mut self, now: Instant, timestamp: u32) {
        let elapsed = now.saturating_duration_since(self.started).as_micros() as i64;
        let arrival = elapsed * i64::from(self.clock_rate) / 1_000_000;
        let transit = arrival - i64::from(timestamp);
        if let Some(previous) = self.transit {
            // A timestamp wrap shows up as one huge difference; it is not jitter.
            let difference = (transit - previous).abs();
            if difference < i64::from(self.clock_rate) * 10 {
                self.jitter += (difference as f64 - self.jitter) / 16.0;
            }
        }
        self.transit = Some(transit);
    }

    /// A padding-only packet: later packets close the gap it leaves in outgoing numbers. If packets behind it have gone
    /// out already, the gap stays: a number that was used must not come again.
    pub fn skip(&mut self, sequence: u64) {
        if sequence < self.highest {
            return;
        }
        let at = self.skips.partition_point(|s| *s < sequence);
        self.skips.insert(at, sequence);
        if self.skips.len() > MAX_SKIPS {
            self.skips.remove(0);
            self.skipped += 1;
        }
    }

    /// The sequence number as viewers see it: without the padding-only packets before it.
    /// `None` if it is older than the oldest padding packet remembered.
    #[must_use]
    pub fn without_padding(&self, sequence: u64) -> Option<u64> {
        if self.skipped > 0 && self.skips.first().is_some_and(|oldest| sequence < *oldest) {
            return None;
        }
        let before = self.skips.partition_point(|s| *s < sequence) as u64;
        Some(sequence - before - self.skipped)
    }

    /// A sender report arrived: middle 32 bits of its NTP time.
    pub fn note_sender_report(&mut self, now: Instant, ntp: u64) {
        self.last_report = Some(((ntp >> 16) as u32, now));
    }

    /// A report block (RFC 3550 6.4.1) about everything since the last one.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let first = self.first?;
        let expected = self.highest + 1 - first;
        let (expected_before, received_before) = self.reported;
        let expected_interval = expected.saturating_sub(expected_before);
        let received_interval = self.received.saturating_sub(received_before);
        self.reported = (expected, self.received);
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost =
            (lost_interval * 256).checked_div(expected_interval).unwrap_or(0).min(255);
        let (last_sr, delay_since_last_sr) = self.last_report.map_or((0, 0), |(ntp, at)| {
            (ntp, (now.saturating_duration_since(at).as_secs_f64() * 65_536.0) as u32)
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction_lost as u8,
            cumulative_lost: expected.saturating_sub(self.received).min(0x7f_ffff) as i32,
            highest_sequence: self.highest as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay_since_last_sr,
        })
    }

    fn bit(sequence: u64) -> (usize, u64) {
        (((sequence % WINDOW) / 64) as usize, 1 << (sequence % 64))
    }

    fn mark(&mut self, sequence: u64) {
        let (word, bit) = Self::bit(sequence);
        self.seen[word] |= bit;
    }

    fn unmark(&mut self, sequence: u64) {
        let (word, bit) = Self::bit(sequence);
        self.seen[word] &= !bit;
    }

    fn is_marked(&self, sequence: u64) -> bool {
        let (word, bit) = Self::bit(sequence);
        self.seen[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::super::gaps::{MAX_MISSING, NACK_DELAY, NACK_TRIES};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn receiver(now: Instant) -> Receiver {
        Receiver::new(1, 90_000, now)
    }

    #[test]
    fn hole_is_asked_for_until_it_is_filled() {
        let now = Instant::now();
        let mut r = receiver(now);
        r.arrive(now, 10, true);
        r.arrive(now, 13, true);
        let mut out = Vec::new();
        r.gaps.due(now, &mut out);
        assert!(out.is_empty(), "reordering gets {NACK_DELAY:?}");
        r.gaps.due(now + NACK_DELAY, &mut out);
        assert_eq!(out, [11, 12]);
        assert!(matches!(r.arrive(now, 11, true), Arrival::New(_)));
        out.clear();
        r.gaps.due(now + Duration::from_secs(1), &mut out);
        assert_eq!(out, [12]);
    }

    #[test]
    fn hopeless_hole_is_given_up() {
        let mut now = Instant::now();
        let mut r = receiver(now);
        r.arrive(now, 1, true);
        r.arrive(now, 3, true);
        let mut out = Vec::new();
        let mut gave_up = false;
        for _ in 0..=NACK_TRIES {
            now += Duration::from_secs(1);
            gave_up |= r.gaps.due(now, &mut out);
        }
        assert!(gave_up);
        assert_eq!(out.len(), NACK_TRIES as usize);
        assert!(r.gaps.next_due().is_none());
    }

    #[test]
    fn padding_leaves_no_gap() {
        let now = Instant::now();
        let mut r = receiver(now);
        let Arrival::New(a) = r.arrive(now, 100, true) else { panic!("first") };
        let Arrival::New(p) = r.arrive(now, 101, true) else { panic!("padding") };
        r.skip(p);
        let Arrival::New(b) = r.arrive(now, 102, true) else { panic!("next") };
        assert_eq!(r.without_padding(b).unwrap(), r.without_padding(a).unwrap() + 1);
    }

    #[test]
    fn padding_that_comes_late_gives_no_number_twice() {
        let now = Instant::now();
        let mut r = receiver(now);
        r.arrive(now, 100, true);
        let Arrival::New(a) = r.arrive(now, 102, true) else { panic!("behind a hole") };
        let before = r.without_padding(a).unwrap();
        let Arrival::New(p) = r.arrive(now, 101, true) else { panic!("padding") };
        r.skip(p);
        let Arrival::New(b) = r.arrive(now, 103, true) else { panic!("next") };
        assert_eq!(r.without_padding(b).unwrap(), before + 1);
    }

    #[test]
    fn report_counts_loss() {
        let now = Instant::now();
        let mut r = receiver(now);
        for s in [0u16, 1, 2, 4] {
            r.arrive(now, s, false);
        }
        let report = r.report(now).unwrap();
        assert_eq!(report.cumulative_lost, 1);
        assert_eq!(report.fraction_lost, 51);
        r.arrive(now, 5, false);
        assert_eq!(r.report(now).unwrap().fraction_lost, 0);
    }

    proptest! {
        #[test]
        fn each_number_is_new_exactly_once(steps in prop::collection::vec(-20i32..30, 1..400)) {
            let now = Instant::now();
            let mut r = receiver(now);
            let mut at = 40_000i64;
            let mut seen = BTreeSet::new();
            for step in steps {
                at += i64::from(step);
                let highest = seen.last().copied().unwrap_or(at);
                let arrival = r.arrive(now, at as u16, true);
                if at + WINDOW as i64 <= highest {
                    prop_assert_eq!(arrival, Arrival::TooOld);
                } else if seen.insert(at) {
                    prop_assert!(matches!(arrival, Arrival::New(_)), "{arrival:?}");
                } else {
                    prop_assert_eq!(arrival, Arrival::Duplicate);
                }
            }
            prop_assert!(r.gaps.count() <= MAX_MISSING);
        }
    }
}
