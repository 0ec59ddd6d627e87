//! Transport-wide congestion control feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1): which packets of a transport
//! arrived, and when.

use crate::rtp::cursor::Cursor;
use crate::rtp::error::RtpError;
use crate::rtp::rtcp::build::Frame;
use crate::rtp::rtcp::parse::signed_24;
use crate::rtp::rtcp::{format, packet_type};

/// Unit of the deltas, in microseconds.
const TICK_US: i64 = 250;
/// Unit of the reference time, in ticks: 64 ms.
const REFERENCE_TICKS: i64 = 256;
const MAX_RUN: u16 = 0x1fff;

/// Longest feedback we build, in bytes of RTCP. Trade: a longer one saves headers and one
/// datagram, a shorter one leaves room for other RTCP in the same datagram of at most 1200 bytes.
const MAX_FEEDBACK_LEN: usize = 1000;
/// Most packets one feedback speaks of: below half the sequence range, so that the numbers in it are
/// never ambiguous.
const MAX_STATUSES: u64 = 0x7fff;

const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

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
    fn next_symbol(&mut self) -> Option<u8> {
        if self.chunk.left == 0 {
            let (word, rest) = self.chunks.split_first_chunk()?;
            self.chunks = rest;
            self.chunk = Chunk::parse(u16::from_be_bytes(*word));
        }
        self.chunk.next()
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
        let symbol = self.next_symbol()?;
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

/// The fixed part of a feedback packet to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedbackHeader {
    /// Us.
    pub sender_ssrc: u32,
    /// A stream of the peer's.
    pub media_ssrc: u32,
    /// One more than in the feedback before, wrapping.
    pub feedback_count: u8,
}

/// Append one feedback packet on `arrivals`: (extended sequence number, arrival in microseconds on
/// any non-negative clock), ascending by number; the numbers in between were not received, and
/// neither were those from `base` up to the first. Returns how many arrivals it covers: all, unless
/// the packet is full or two arrivals are more than 8 s apart. Call again with the rest (and `base`
/// behind the last one covered) until none is left; at least one is covered each time, and for no
/// arrivals nothing is appended. Arrivals below `base` or out of order are passed over.
pub fn transport_feedback(
    out: &mut Vec<u8>,
    header: FeedbackHeader,
    base: u64,
    arrivals: &[(u64, i64)],
) -> usize {
    let Some(&(first, first_us)) = arrivals.iter().find(|(sequence, _)| *sequence >= base) else {
        return arrivals.len();
    };
    let base = if first - base < MAX_STATUSES { base } else { first };
    let reference = to_ticks(first_us).div_euclid(REFERENCE_TICKS);

    let frame = Frame::begin(out, packet_type::TRANSPORT_FEEDBACK, format::TRANSPORT_CC);
    out.extend_from_slice(&header.sender_ssrc.to_be_bytes());
    out.extend_from_slice(&header.media_ssrc.to_be_bytes());
    let plan_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let [_, reference_time @ ..] = (reference as u32).to_be_bytes();
    out.extend_from_slice(&reference_time);
    out.push(header.feedback_count);

    let plan = write_chunks(out, base, reference * REFERENCE_TICKS, arrivals);
    let covered = arrivals.get(..plan.covered).unwrap_or_default();
    write_deltas(out, base, reference * REFERENCE_TICKS, covered);
    let counts = ((base as u32) << 16) | u32::from(plan.status_count);
    if let Some(place) = out.get_mut(plan_at..plan_at + 4) {
        place.copy_from_slice(&counts.to_be_bytes());
    }
    frame.end_padded(out);
    plan.covered
}

fn to_ticks(arrival_us: i64) -> i64 {
    arrival_us.div_euclid(TICK_US)
}

/// What [`write_chunks`] decided.
struct Plan {
    covered: usize,
    status_count: u16,
}

/// The arrivals a feedback from `next` on can tell, with their deltas in ticks: one rule for the
/// pass that writes chunks and the one that writes deltas.
fn step(next: u64, ticks: i64, (sequence, arrival_us): (u64, i64)) -> Option<(u64, i64)> {
    let gap = sequence.checked_sub(next)?;
    Some((gap, to_ticks(arrival_us) - ticks))
}

fn write_chunks(out: &mut Vec<u8>, base: u64, mut ticks: i64, arrivals: &[(u64, i64)]) -> Plan {
    let start = out.len();
    let mut chunk = LastChunk::default();
    let mut next = base;
    let mut deltas_len = 0;
    let mut covered = 0;
    for &arrival in arrivals {
        let Some((gap, delta)) = step(next, ticks, arrival) else {
            covered += 1;
            continue;
        };
        let Ok(delta) = i16::try_from(delta) else { break };
        let symbol = if (0..=255).contains(&delta) { SMALL_DELTA } else { LARGE_DELTA };
        // A gap costs at most two chunks beside its full runs, and the symbol one more.
        let chunks_len = out.len() - start + 2 * (4 + (gap / u64::from(MAX_RUN)) as usize);
        let full = chunks_len + deltas_len + usize::from(symbol) > MAX_FEEDBACK_LEN;
        // The first always fits, as `base` is near it and its delta is small.
        if next > base && (full || next - base + gap >= MAX_STATUSES) {
            break;
        }
        for _ in 0..gap {
            chunk.add(out, NOT_RECEIVED);
        }
        chunk.add(out, symbol);
        deltas_len += usize::from(symbol);
        next += gap + 1;
        ticks = to_ticks(arrival.1);
        covered += 1;
    }
    chunk.finish(out);
    Plan { covered, status_count: (next - base) as u16 }
}

fn write_deltas(out: &mut Vec<u8>, base: u64, mut ticks: i64, arrivals: &[(u64, i64)]) {
    let mut next = base;
    for &arrival in arrivals {
        let Some((gap, delta)) = step(next, ticks, arrival) else { continue };
        match u8::try_from(delta) {
            Ok(small) => out.push(small),
            Err(_) => out.extend_from_slice(&(delta as i16).to_be_bytes()),
        }
        next += gap + 1;
        ticks = to_ticks(arrival.1);
    }
}

/// Collects symbols into the densest chunk that takes them: a run, 14 symbols of one bit, or 7 of
/// two bits (the scheme of libwebrtc's `TransportFeedback::LastChunk`).
#[derive(Debug, Default)]
struct LastChunk {
    symbols: [u8; 14],
    len: u16,
    mixed: bool,
    large: bool,
}

impl LastChunk {
    fn add(&mut self, out: &mut Vec<u8>, symbol: u8) {
        if !self.takes(symbol) {
            self.emit(out);
        }
        if let Some(place) = self.symbols.get_mut(usize::from(self.len)) {
            *place = symbol;
        }
        self.mixed |= self.len > 0 && symbol != self.symbols[0];
        self.large |= symbol == LARGE_DELTA;
        self.len += 1;
    }

    const fn takes(&self, symbol: u8) -> bool {
        self.len < 7
            || (self.len < 14 && !self.large && symbol != LARGE_DELTA)
            || (self.len < MAX_RUN && !self.mixed && symbol == self.symbols[0])
    }

    /// Write a full chunk; of mixed symbols with a large delta seven go out and the rest stay.
    fn emit(&mut self, out: &mut Vec<u8>) {
        let written = if !self.mixed {
            push(out, self.run());
            self.len
        } else if self.len == 14 && !self.large {
            push(out, self.one_bit());
            14
        } else {
            push(out, self.two_bit());
            7
        };
        let mut rest = Self::default();
        let kept = self.symbols.get(usize::from(written)..usize::from(self.len.min(14)));
        for &symbol in kept.unwrap_or_default() {
            rest.add(out, symbol);
        }
        *self = rest;
    }

    /// Write what is left; what a chunk holds behind the last symbol is not counted.
    fn finish(&self, out: &mut Vec<u8>) {
        // With a large delta at most seven mixed symbols are waiting, see `takes`.
        match self.len {
            0 => {}
            _ if !self.mixed => push(out, self.run()),
            8.. => push(out, self.one_bit()),
            _ => push(out, self.two_bit()),
        }
    }

    const fn run(&self) -> u16 {
        ((self.symbols[0] as u16) << 13) | self.len
    }

    fn one_bit(&self) -> u16 {
        self.symbols.iter().fold(0b10, |word, symbol| (word << 1) | u16::from(symbol & 1))
    }

    fn two_bit(&self) -> u16 {
        self.symbols.iter().take(7).fold(0b11, |word, symbol| (word << 2) | u16::from(*symbol))
    }
}

fn push(out: &mut Vec<u8>, word: u16) {
    out.extend_from_slice(&word.to_be_bytes());
}
