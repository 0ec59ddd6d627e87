//! VP9 payload descriptor (RFC 9628 section 4.2).

use crate::rtp::codec::vp8::read_picture_id;
use crate::rtp::codec::{FrameFacts, Tl0PicIdx};
use crate::rtp::cursor::Cursor;
use crate::rtp::error::RtpError;

/// Reference indices per frame in flexible mode; the third has no successor bit to follow.
const MAX_REFERENCES: usize = 3;

const PICTURE_ID_PRESENT: u8 = 0x80;
const INTER_PREDICTED: u8 = 0x40;
const LAYERS_PRESENT: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGINS_FRAME: u8 = 0x08;
const ENDS_FRAME: u8 = 0x04;
const SCALABILITY_PRESENT: u8 = 0x02;

pub(super) fn describe(payload: &[u8]) -> Result<FrameFacts, RtpError> {
    let mut cursor = Cursor::new(payload, RtpError::DescriptorTooShort);
    let flags = cursor.u8()?;
    let mut facts = FrameFacts::default();
    if flags & PICTURE_ID_PRESENT != 0 {
        facts.picture_id = Some(read_picture_id(&mut cursor)?);
    }
    if flags & LAYERS_PRESENT != 0 {
        read_layers(&mut cursor, flags, &mut facts)?;
    }
    if flags & FLEXIBLE != 0 && flags & INTER_PREDICTED != 0 {
        skip_references(&mut cursor)?;
    }
    if flags & SCALABILITY_PRESENT != 0 {
        skip_scalability_structure(&mut cursor)?;
    }
    facts.frame_start = flags & BEGINS_FRAME != 0;
    facts.frame_end = flags & ENDS_FRAME != 0;
    facts.inter_predicted = flags & INTER_PREDICTED != 0;
    facts.key_frame_start = facts.frame_start
        && flags & INTER_PREDICTED == 0
        && facts.spatial_id.is_none_or(|spatial| spatial == 0)
        && is_key_frame_header(cursor.rest());
    Ok(facts)
}

/// Whether a VP9 frame starts with a key frame's uncompressed header (VP9 bitstream specification
/// 6.2): frame_marker 0b10, two profile bits (and a reserved one in profile 3),
/// show_existing_frame 0, frame_type 0. Asked as well as the P bit because FFmpeg never sets that.
fn is_key_frame_header(frame: &[u8]) -> bool {
    let Some(&first) = frame.first() else { return false };
    let flags = if first & 0x30 == 0x30 { first << 1 } else { first };
    first >> 6 == 0b10 && flags & 0x0c == 0
}

fn read_layers(cursor: &mut Cursor<'_>, flags: u8, facts: &mut FrameFacts) -> Result<(), RtpError> {
    let layers = cursor.u8()?;
    facts.temporal_id = Some(layers >> 5);
    facts.layer_sync = layers & 0x10 != 0;
    facts.spatial_id = Some((layers >> 1) & 0x07);
    if flags & FLEXIBLE == 0 {
        let offset = cursor.position() as u16;
        facts.tl0_pic_idx = Some(Tl0PicIdx { value: cursor.u8()?, offset });
    }
    Ok(())
}

fn skip_references(cursor: &mut Cursor<'_>) -> Result<(), RtpError> {
    for _ in 0..MAX_REFERENCES {
        if cursor.u8()? & 0x01 == 0 {
            break;
        }
    }
    Ok(())
}

fn skip_scalability_structure(cursor: &mut Cursor<'_>) -> Result<(), RtpError> {
    let head = cursor.u8()?;
    if head & 0x10 != 0 {
        let spatial_layers = usize::from(head >> 5) + 1;
        cursor.take(spatial_layers * 4)?;
    }
    if head & 0x08 != 0 {
        let pictures = cursor.u8()?;
        for _ in 0..pictures {
            let references = usize::from((cursor.u8()? >> 2) & 0x03);
            cursor.take(references)?;
        }
    }
    Ok(())
}
