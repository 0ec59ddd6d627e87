//! Transport-wide congestion control feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1): which packets of a transport
//! arrived, and when. Reading; [`super::build::transport_feedback`] writes.

use crate::rtp::cursor::Cursor;
use crate::rtp::error::RtpError;
use crate::rtp::rtcp::signed_24;

/// Unit of the deltas, in microseconds.
pub(super) const TICK_US: i64 = 250;
/// Unit of the reference time, in ticks: 64 ms.
pub(super) const REFERENCE_TICKS: i64 = 256;
/// Longest run of one chunk.
pub(super) const MAX_RUN: u16 = 0x1fff;

pub(super) const NOT_RECEIVED: u8 = 0;
pub(super) const SMALL_DELTA: u8 = 1;
pub(super) const LARGE_DELTA: u8 = 2;

/// What the feedback says about one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackStatus {
    /// Its transport-wide sequence number.
    pub sequence: u16,
    /// Arrival in microseconds after the receiver's own epoch, modulo 2^24 * 64 ms; only
    /// differences mean anything. `None`: not received (yet).
    pub arrival_us: Option<i64>,
}

/// A feedback packet whose chunks and deltas were checked to cover what it announces.
#[derive(Debug, Clone, Copy)]
pub struct TransportFeedback<'a> {
    /// Who sends it.
    pub sender_ssrc: u32,
    /// Some stream of the transport; browsers do not look at it.
    pub media_ssrc: u32,
    /// First packet it speaks of.
    pub base_sequence: u16,
    /// Packets it speaks of.
    pub status_count: u16,
    /// Reference time in units of 64 ms, signed 24 bits.
    pub reference_time: i32,
    /// Counts feedback packets; a gap is a lost one.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(mut body: Cursor<'a>) -> Result<Self, RtpError> {
        let sender_ssrc = body.u32()?;
        let media_ssrc = body.u32()?;
        let base_sequence = body.u16()?;
        let status_count = body.u16()?;
        let [reference @ .., feedback_count] = body.u32()?.to_be_bytes();
        let rest = body.rest();
        let (chunks_len, deltas_len) = measure(rest, status_count)?;
        let (chunks, deltas) = rest.split_at_checked(chunks_len).ok_or(RtpError::BadFeedback)?;
        if deltas.len() < deltas_len {
            return Err(RtpError::BadFeedback);
        }
        let reference_time = signed_24(reference);
        Ok(Self {
            sender_ssrc,
            media_ssrc,
            base_sequence,
            status_count,
            reference_time,
            feedback_count,
            chunks,
            deltas,
        })
    }

    /// The packets that arrived, with the time as in [`FeedbackStatus::arrival_us`], in order of
    /// sequence number. Costs at most in proportion to the packet's size, so that a peer cannot
    /// make us walk 65 535 losses told in 18 bytes: prefer it to [`Self::statuses`].
    #[must_use]
    pub fn arrivals(&self) -> Arrivals<'a> {
        Arrivals { statuses: self.statuses() }
    }

    /// Every packet it speaks of, in order of sequence number. At most 65 535, whatever its size.
    #[must_use]
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            sequence: self.base_sequence,
            left: self.status_count,
            ticks: i64::from(self.reference_time) * REFERENCE_TICKS,
            chunk: Chunk::EMPTY,
            chunks: self.chunks,
            deltas: self.deltas,
        }
    }
}

/// Bytes of chunks and of deltas that `count` statuses need.
fn measure(bytes: &[u8], count: u16) -> Result<(usize, usize), RtpError> {
    let mut cursor = Cursor::new(bytes, RtpError::BadFeedback);
    let mut left = count;
    let mut deltas_len = 0;
    while left > 0 {
        let mut chunk = Chunk::parse(cursor.u16()?);
        let taken = chunk.left.min(left);
        left -= taken;
        deltas_len += chunk.deltas_len(taken)?;
        chunk.left = 0;
    }
    Ok((cursor.position(), deltas_len))
}

/// A status chunk on its way through iteration.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    /// Symbols in two bits each, the next one in the top bits; a run repeats its one symbol.
    symbols: u32,
    run: bool,
    left: u16,
}

impl Chunk {
    const EMPTY: Self = Self { symbols: 0, run: false, left: 0 };

    const fn parse(word: u16) -> Self {
        if word & 0x8000 == 0 {
            let symbol = ((word >> 13) & 0x03) as u32;
            return Self { symbols: symbol << 30, run: true, left: word & MAX_RUN };
        }
        if word & 0x4000 != 0 {
            return Self { symbols: (word as u32) << 18, run: false, left: 7 };
        }
        let mut symbols = 0;
        let mut bit = 0;
        while bit < 14 {
            symbols |= ((word as u32 >> bit) & 1) << (4 + 2 * bit);
            bit += 1;
        }
        Self { symbols, run: false, left: 14 }
    }

    const fn is_lost_run(&self) -> bool {
        self.run && self.symbols == (NOT_RECEIVED as u32)
    }

    fn next(&mut self) -> Option<u8> {
        self.left = self.left.checked_sub(1)?;
        let symbol = (self.symbols >> 30) as u8;
        if !self.run {
            self.symbols <<= 2;
        }
        Some(symbol)
    }

    /// Bytes of delta its first `taken` symbols need.
    fn deltas_len(mut self, taken: u16) -> Result<usize, RtpError> {
        if self.run {
            // A run of zero is no progress, and would let a packet of nothing be walked for long.
            return (taken > 0)
                .then_some(self.symbols >> 30)
                .and_then(|symbol| delta_len(symbol as u8))
                .map(|len| len * usize::from(taken))
                .ok_or(RtpError::BadFeedback);
        }
        let mut sum = 0;
        for _ in 0..taken {
            let symbol = self.next().ok_or(RtpError::BadFeedback)?;
            sum += delta_len(symbol).ok_or(RtpError::BadFeedback)?;
        }
        Ok(sum)
    }
}

/// Bytes of delta behind a symbol; `None` for the reserved one.
const fn delta_len(symbol: u8) -> Option<usize> {
    match symbol {
        NOT_RECEIVED => Some(0),
        SMALL_DELTA => Some(1),
        LARGE_DELTA => Some(2),
        _ => None,
    }
}

/// The iterator of [`TransportFeedback::statuses`].
#[derive(Debug, Clone)]
pub struct Statuses<'a> {
    sequence: u16,
    left: u16,
    ticks: i64,
    chunk: Chunk,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl Statuses<'_> {
    /// The chunk the next symbol is in; `None` behind the last.
    fn current_chunk(&mut self) -> Option<&mut Chunk> {
        if self.chunk.left == 0 {
            let (word, rest) = self.chunks.split_first_chunk()?;
            self.chunks = rest;
            self.chunk = Chunk::parse(u16::from_be_bytes(*word));
        }
        Some(&mut self.chunk)
    }

    /// Pass over runs of lost packets.
    fn skip_lost(&mut self) -> Option<()> {
        while self.left > 0 {
            let left = self.left;
            let chunk = self.current_chunk()?;
            if !chunk.is_lost_run() {
                break;
            }
            let skipped = chunk.left.min(left);
            chunk.left -= skipped;
            self.left -= skipped;
            self.sequence = self.sequence.wrapping_add(skipped);
        }
        Some(())
    }

    fn next_delta(&mut self, symbol: u8) -> Option<i64> {
        let (delta, rest) = self.deltas.split_at_checked(delta_len(symbol)?)?;
        self.deltas = rest;
        match *delta {
            [ticks] => Some(i64::from(ticks)),
            [high, low] => Some(i64::from(i16::from_be_bytes([high, low]))),
            _ => None,
        }
    }
}

impl Iterator for Statuses<'_> {
    type Item = FeedbackStatus;

    fn next(&mut self) -> Option<FeedbackStatus> {
        self.left = self.left.checked_sub(1)?;
        let symbol = self.current_chunk()?.next()?;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let arrival_us = if symbol == NOT_RECEIVED {
            None
        } else {
            self.ticks += self.next_delta(symbol)?;
            Some(self.ticks * TICK_US)
        };
        Some(FeedbackStatus { sequence, arrival_us })
    }
}

/// The iterator of [`TransportFeedback::arrivals`].
#[derive(Debug, Clone)]
pub struct Arrivals<'a> {
    statuses: Statuses<'a>,
}

impl Iterator for Arrivals<'_> {
    type Item = (u16, i64);

    fn next(&mut self) -> Option<(u16, i64)> {
        loop {
            self.statuses.skip_lost()?;
            let status = self.statuses.next()?;
            if let Some(arrival_us) = status.arrival_us {
                return Some((status.sequence, arrival_us));
            }
        }
    }
}
