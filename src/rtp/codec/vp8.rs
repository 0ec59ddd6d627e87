//! VP8 payload descriptor (RFC 7741 section 4.2).

use crate::rtp::codec::{FrameFacts, PictureId, PictureSize, Tl0PicIdx};
use crate::rtp::cursor::Cursor;
use crate::rtp::error::RtpError;

/// Start code behind the frame tag of a key frame (RFC 6386 section 9.1).
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];

pub(super) fn describe(payload: &[u8]) -> Result<FrameFacts, RtpError> {
    let mut cursor = Cursor::new(payload, RtpError::DescriptorTooShort);
    let mut facts = read_descriptor(&mut cursor)?;
    // A descriptor without a VP8 byte behind it carries nothing.
    let frame_tag = cursor.u8()?;
    facts.key_frame_start = facts.frame_start && frame_tag & 0x01 == 0;
    Ok(facts)
}

/// Width and height behind the frame tag of a key frame (RFC 6386 section 9.1), of its first packet.
pub(super) fn picture_size(payload: &[u8]) -> Result<PictureSize, RtpError> {
    let mut cursor = Cursor::new(payload, RtpError::DescriptorTooShort);
    read_descriptor(&mut cursor)?;
    cursor.take(3)?;
    if cursor.take(3)? != START_CODE {
        return Err(RtpError::DescriptorTooShort);
    }
    // Fourteen bits each, the low byte first; above them how to scale it up, which nobody does.
    let (width, height) = (cursor.u16()?.swap_bytes(), cursor.u16()?.swap_bytes());
    Ok(PictureSize { width: width & 0x3fff, height: height & 0x3fff })
}

/// Bits of the second byte, behind X in the first: the byte of temporal ids has a temporal id, or a key index.
const EXTENDED: u8 = 0x80;
const TEMPORAL: u8 = 0x20;
const KEY_INDEX: u8 = 0x10;

/// As [`codec::hide_temporal_layers`](super::hide_temporal_layers): the byte stays and has a key index only.
pub(super) fn hide_temporal_layers(payload: &mut [u8]) {
    if let [first, flags, ..] = payload
        && *first & EXTENDED != 0
        && *flags & TEMPORAL != 0
    {
        *flags = (*flags & !TEMPORAL) | KEY_INDEX;
    }
}

fn read_descriptor(cursor: &mut Cursor<'_>) -> Result<FrameFacts, RtpError> {
    let first = cursor.u8()?;
    let mut facts = FrameFacts { discardable: first & 0x20 != 0, ..FrameFacts::default() };
    if first & EXTENDED != 0 {
        read_extension(cursor, &mut facts)?;
    }
    facts.frame_start = first & 0x10 != 0 && first & 0x07 == 0;
    Ok(facts)
}

fn read_extension(cursor: &mut Cursor<'_>, facts: &mut FrameFacts) -> Result<(), RtpError> {
    let flags = cursor.u8()?;
    if flags & 0x80 != 0 {
        facts.picture_id = Some(read_picture_id(cursor)?);
    }
    if flags & 0x40 != 0 {
        let offset = cursor.position() as u16;
        facts.tl0_pic_idx = Some(Tl0PicIdx { value: cursor.u8()?, offset });
    }
    // T and K share one byte: present when either is set.
    if flags & (TEMPORAL | KEY_INDEX) != 0 {
        let byte = cursor.u8()?;
        if flags & TEMPORAL != 0 {
            facts.temporal_id = Some(byte >> 6);
            facts.layer_sync = byte & 0x20 != 0;
        }
    }
    Ok(())
}

/// The picture id of VP8 and VP9, which have the same form: M bit, then 7 or 15 bits.
pub(super) fn read_picture_id(cursor: &mut Cursor<'_>) -> Result<PictureId, RtpError> {
    let offset = cursor.position() as u16;
    let first = cursor.u8()?;
    let high = u16::from(first & 0x7f);
    if first & 0x80 == 0 {
        return Ok(PictureId { value: high, offset, wide: false });
    }
    let value = (high << 8) | u16::from(cursor.u8()?);
    Ok(PictureId { value, offset, wide: true })
}
