//! Numbers that wrap: RTP sequence numbers (16 bits) and timestamps (32 bits), compared and
//! extended to numbers that only grow.

/// How far `a` is ahead of `b`, in -32768..=32767.
#[must_use]
pub const fn sequence_distance(a: u16, b: u16) -> i16 {
    a.wrapping_sub(b).cast_signed()
}

/// Whether `a` comes after `b`. Numbers exactly half the range apart count as older, both ways.
#[must_use]
pub const fn sequence_is_newer(a: u16, b: u16) -> bool {
    sequence_distance(a, b) > 0
}

/// How far `a` is ahead of `b`, in ticks.
#[must_use]
pub const fn timestamp_distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// Whether `a` comes after `b`. Timestamps exactly half the range apart count as older, both ways.
#[must_use]
pub const fn timestamp_is_newer(a: u32, b: u32) -> bool {
    timestamp_distance(a, b) > 0
}

/// Where extended numbers start: far enough from zero that the packets before the first one seen
/// (reordering, an early NACK) have numbers too. A multiple of 2^32, so that the low 16 or 32 bits
/// of an extended number are the number on the wire.
const BASE: u64 = 1 << 40;

/// Extends 16-bit sequence numbers to 64 bits: the value nearest to the highest one seen.
///
/// The low 16 bits of a result equal the input. Packets may come in any order as long as they are
/// less than 32 768 apart. `u64` never wraps: at a million packets a second it lasts 500 000 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SequenceExtender {
    highest: Option<u64>,
}

impl SequenceExtender {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// Extend and remember.
    pub fn extend(&mut self, sequence: u16) -> u64 {
        let extended = self.peek(sequence);
        self.highest = Some(self.highest.map_or(extended, |highest| highest.max(extended)));
        extended
    }

    /// Extend without remembering: for numbers the peer only mentions (NACK), or that are not
    /// authenticated yet.
    #[must_use]
    pub fn peek(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else {
            return BASE + u64::from(sequence);
        };
        let distance = sequence_distance(sequence, highest as u16);
        highest.saturating_add_signed(i64::from(distance))
    }

    /// The highest number so far.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// Extends 32-bit timestamps to 64 bits: the value nearest to the highest one seen.
///
/// The low 32 bits of a result equal the input; half the range is 6.6 hours at 90 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimestampExtender {
    highest: Option<u64>,
}

impl TimestampExtender {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// Extend and remember.
    pub fn extend(&mut self, timestamp: u32) -> u64 {
        let extended = self.peek(timestamp);
        self.highest = Some(self.highest.map_or(extended, |highest| highest.max(extended)));
        extended
    }

    /// Extend without remembering.
    #[must_use]
    pub fn peek(&self, timestamp: u32) -> u64 {
        let Some(highest) = self.highest else {
            return BASE + u64::from(timestamp);
        };
        let distance = timestamp_distance(timestamp, highest as u32);
        highest.saturating_add_signed(i64::from(distance))
    }

    /// The highest timestamp so far.
    #[must_use]
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comparisons_wrap() {
        assert!(sequence_is_newer(0, 65_535));
        assert!(!sequence_is_newer(65_535, 0));
        assert!(!sequence_is_newer(5, 5));
        assert_eq!(sequence_distance(2, 65_534), 4);
        assert!(timestamp_is_newer(10, u32::MAX - 10));
        assert_eq!(timestamp_distance(3, u32::MAX), 4);
        // Half the range away is no order at all: neither is newer.
        assert!(!sequence_is_newer(0, 32_768) && !sequence_is_newer(32_768, 0));
    }

    #[test]
    fn packets_before_the_first_have_numbers_too() {
        let mut extender = SequenceExtender::new();
        let first = extender.extend(0);
        assert_eq!(extender.extend(65_535), first - 1);
        assert_eq!(extender.extend(1), first + 1);
        assert_eq!(extender.highest(), Some(first + 1));
        // Nothing an attacker repeats walks the numbers down: old ones do not move the highest.
        for _ in 0..100_000 {
            assert_eq!(extender.extend(32_769), first + 1 - 32_768);
        }
    }

    #[test]
    fn peeking_remembers_nothing() {
        let mut extender = SequenceExtender::new();
        let first = extender.extend(65_000);
        assert_eq!(extender.peek(10), first + 546);
        assert_eq!(extender.highest(), Some(first));
    }

    proptest! {
        /// A stream in any order of arrival, within a window of reordering, keeps its distances.
        #[test]
        fn reordered_streams_extend_to_true_distances(
            start: u16,
            jumps in proptest::collection::vec((1..500_u64, 0..2_000_u64), 1..300),
        ) {
            let mut sent = 0;
            let mut arrivals: Vec<(u64, u64)> = jumps.iter().map(|(gap, delay)| {
                sent += gap;
                (sent + delay, sent)
            }).collect();
            arrivals.sort_unstable();
            let mut extender = SequenceExtender::new();
            let origin = arrivals.first().map_or(0, |(_, sent)| *sent);
            let mut base = None;
            for (_, sent) in arrivals {
                let wire = start.wrapping_add(sent as u16);
                let extended = extender.extend(wire);
                prop_assert_eq!(extended as u16, wire);
                let base = *base.get_or_insert(extended);
                prop_assert_eq!(extended.wrapping_sub(base), sent.wrapping_sub(origin));
            }
        }

        #[test]
        fn timestamps_extend_to_true_distances(
            start: u32,
            steps in proptest::collection::vec(-1_000_000_000..2_000_000_000_i64, 1..200),
        ) {
            let mut extender = TimestampExtender::new();
            let base = extender.extend(start);
            prop_assert_eq!(base as u32, start);
            let mut highest = 0_i64;
            for step in steps {
                let at = highest + step;
                let wire = start.wrapping_add(at as u32);
                prop_assert_eq!(extender.extend(wire), base.wrapping_add_signed(at));
                highest = highest.max(at);
            }
        }

        #[test]
        fn any_numbers_stay_near_the_highest(
            numbers in proptest::collection::vec(any::<u16>(), 1..200),
        ) {
            let mut extender = SequenceExtender::new();
            for number in numbers {
                let extended = extender.extend(number);
                let highest = extender.highest().expect("one was seen");
                prop_assert!(highest - extended <= 32_768);
                prop_assert_eq!(extended as u16, number);
            }
        }
    }
}
