//! Writing transport-wide congestion control feedback: see [`super::TransportFeedback`].

use crate::rtp::rtcp::build::Frame;
use crate::rtp::rtcp::twcc::{
    LARGE_DELTA, MAX_RUN, NOT_RECEIVED, REFERENCE_TICKS, SMALL_DELTA, TICK_US,
};
use crate::rtp::rtcp::{format, packet_type};

/// Longest feedback we build, in bytes of RTCP. Trade: a longer one saves headers and one
/// datagram, a shorter one leaves room for other RTCP in the same datagram of at most 1200 bytes.
const MAX_FEEDBACK_LEN: usize = 1000;
/// Most packets one feedback speaks of: below half the sequence range, so that the numbers in it are
/// never ambiguous.
const MAX_STATUSES: u64 = 0x7fff;

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
        chunk.add_lost(out, gap);
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

    /// Add that many lost packets, in steps of runs: the cost of a gap is not its width.
    fn add_lost(&mut self, out: &mut Vec<u8>, mut count: u64) {
        while count > 0 {
            let long_run = self.len >= 14 && !self.mixed && self.symbols[0] == NOT_RECEIVED;
            if long_run && self.len < MAX_RUN {
                let joining = count.min(u64::from(MAX_RUN - self.len));
                self.len += joining as u16;
                count -= joining;
            } else {
                self.add(out, NOT_RECEIVED);
                count -= 1;
            }
        }
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
