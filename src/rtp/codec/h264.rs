//! H.264 payload structures of packetization-mode 0 and 1 (RFC 6184): single NAL unit, STAP-A, FU-A.

use crate::rtp::codec::FrameFacts;
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
