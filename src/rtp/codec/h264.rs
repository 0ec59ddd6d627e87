//! H.264 payload structures of packetization-mode 0 and 1 (RFC 6184): single NAL unit, STAP-A, FU-A.

use crate::rtp::bits::Bits;
use crate::rtp::codec::{FrameFacts, PictureSize};
use crate::rtp::cursor::Cursor;
use crate::rtp::error::RtpError;

const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// S bit of the FU header.
const FU_START: u8 = 0x80;

pub(super) fn describe(payload: &[u8]) -> Result<FrameFacts, RtpError> {
    let mut cursor = Cursor::new(payload, RtpError::DescriptorTooShort);
    let indicator = cursor.u8()?;
    let mut facts = FrameFacts::default();
    // Only a slice's nal_ref_idc is believed: FFmpeg writes 0 for aggregates of parameter sets.
    let unreferenced = indicator & 0x60 == 0;
    match indicator & 0x1f {
        STAP_A => read_aggregate(cursor, &mut facts)?,
        FU_A => {
            let header = cursor.u8()?;
            facts.discardable = unreferenced && header & 0x1f == SLICE;
            if header & FU_START != 0 {
                note_unit(header & 0x1f, cursor.rest(), &mut facts);
            }
        }
        kind => {
            facts.discardable = unreferenced && kind == SLICE;
            note_unit(kind, cursor.rest(), &mut facts);
        }
    }
    Ok(facts)
}

fn read_aggregate(mut cursor: Cursor<'_>, facts: &mut FrameFacts) -> Result<(), RtpError> {
    // At least one unit: an aggregate of nothing is a lie.
    loop {
        let len = usize::from(cursor.u16()?);
        let (&header, body) =
            cursor.take(len)?.split_first().ok_or(RtpError::DescriptorTooShort)?;
        note_unit(header & 0x1f, body, facts);
        if cursor.remaining() == 0 {
            return Ok(());
        }
    }
}

/// Add what a NAL unit of this type, whose bytes behind the header start with `body`, tells.
fn note_unit(kind: u8, body: &[u8], facts: &mut FrameFacts) {
    // first_mb_in_slice is Exp-Golomb coded: the value 0 is a single 1 bit. Only such a slice
    // starts a picture; without this check every slice of an IDR picture would pass for its start.
    let first_slice = body.first().is_some_and(|byte| byte & 0x80 != 0);
    match kind {
        SPS => {
            facts.key_frame_start = true;
            facts.frame_start = true;
        }
        PPS => facts.frame_start = true,
        IDR_SLICE if first_slice => {
            facts.key_frame_start = true;
            facts.frame_start = true;
        }
        SLICE if first_slice => facts.frame_start = true,
        _ => {}
    }
}

/// Profiles whose parameter sets say more about chroma (ITU-T H.264 7.3.2.1.1).
const CHROMA_PROFILES: [u64; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Longest parameter set that is read. Trade: those of browsers have 10 to 30 bytes; one with scaling matrices and all that is
/// allowed has more, and its stream counts as one of unknown size.
const MAX_SPS: usize = 256;
/// Most pictures of a cycle of picture order counts.
const MAX_CYCLE: u64 = 255;
/// Luma samples along a macroblock.
const MACROBLOCK: u64 = 16;

/// Width and height by the first sequence parameter set of a packet, single or in an aggregate.
pub(super) fn picture_size(payload: &[u8]) -> Result<PictureSize, RtpError> {
    let short = RtpError::DescriptorTooShort;
    let mut cursor = Cursor::new(payload, short);
    let indicator = cursor.u8()?;
    if indicator & 0x1f != STAP_A {
        return if indicator & 0x1f == SPS { read_sps(cursor.rest()) } else { Err(short) };
    }
    while cursor.remaining() > 0 {
        let len = usize::from(cursor.u16()?);
        let (header, body) = cursor.take(len)?.split_first().ok_or(short)?;
        if header & 0x1f == SPS {
            return read_sps(body);
        }
    }
    Err(short)
}

/// ITU-T H.264 7.3.2.1.1, up to the cropping.
fn read_sps(escaped: &[u8]) -> Result<PictureSize, RtpError> {
    let short = RtpError::DescriptorTooShort;
    let mut bytes = [0; MAX_SPS];
    let len = unescape(escaped, &mut bytes);
    let mut bits = Bits::new(&bytes[..len], short);
    let profile = bits.take(8)?;
    bits.take(16)?;
    bits.golomb()?;
    let chroma = if CHROMA_PROFILES.contains(&profile) { read_chroma(&mut bits)? } else { 1 };
    bits.golomb()?;
    skip_picture_order(&mut bits)?;
    bits.golomb()?;
    bits.flag()?;
    let width = (bits.golomb()? + 1) * MACROBLOCK;
    let rows = bits.golomb()? + 1;
    let fields = 2 - u64::from(bits.flag()?);
    if fields == 2 {
        bits.flag()?;
    }
    let height = rows * fields * MACROBLOCK;
    bits.flag()?;
    let (mut across, mut down) = (0, 0);
    if bits.flag()? {
        // In chroma samples, and lines of both fields (equations 7-18 to 7-22).
        let (sample, line) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        across = (bits.golomb()? + bits.golomb()?) * sample;
        down = (bits.golomb()? + bits.golomb()?) * line * fields;
    }
    let rest = |side: u64, cropped: u64| side.checked_sub(cropped).ok_or(short);
    PictureSize::new(rest(width, across)?, rest(height, down)?).ok_or(short)
}

/// Without the bytes that keep start codes out (7.4.1); how many there are.
fn unescape(escaped: &[u8], into: &mut [u8; MAX_SPS]) -> usize {
    let (mut len, mut zeros) = (0, 0);
    for byte in escaped {
        if zeros == 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { (zeros + 1).min(2) } else { 0 };
        let Some(place) = into.get_mut(len) else { break };
        *place = *byte;
        len += 1;
    }
    len
}

/// The chroma format, 0-3, and what follows it.
fn read_chroma(bits: &mut Bits<'_>) -> Result<u64, RtpError> {
    let format = bits.golomb()?;
    if format == 3 {
        bits.flag()?;
    }
    bits.golomb()?;
    bits.golomb()?;
    bits.flag()?;
    if bits.flag()? {
        for list in 0..if format == 3 { 12 } else { 8 } {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(format)
}

/// 7.3.2.1.1.1
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Result<(), RtpError> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.signed_golomb()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Result<(), RtpError> {
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.flag()?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()?.min(MAX_CYCLE) {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    Ok(())
}
