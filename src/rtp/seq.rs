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
