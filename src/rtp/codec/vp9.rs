//! VP9 payload descriptor (RFC 9628 section 4.2).

use crate::rtp::bits::Bits;
use crate::rtp::codec::vp8::read_picture_id;
use crate::rtp::codec::{FrameFacts, PictureSize, PictureSizes, Tl0PicIdx};
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

/// Bits of a key frame's sync code (VP9 bitstream specification 6.2).
const SYNC_CODE: u64 = 0x49_83_42;
/// The colour space that has no range and no subsampling of its own: sRGB.
const SRGB: u64 = 7;

pub(super) fn describe(payload: &[u8]) -> Result<FrameFacts, RtpError> {
    let mut cursor = Cursor::new(payload, RtpError::DescriptorTooShort);
    let (mut facts, _) = read_descriptor(&mut cursor)?;
    facts.key_frame_start = facts.frame_start
        && !facts.inter_predicted
        && facts.spatial_id.is_none_or(|spatial| spatial == 0)
        && is_key_frame_header(cursor.rest());
    Ok(facts)
}

/// Sizes of the spatial layers by the scalability structure, or of the one picture by a key frame's own header.
pub(super) fn picture_sizes(payload: &[u8]) -> Result<PictureSizes, RtpError> {
    let mut cursor = Cursor::new(payload, RtpError::DescriptorTooShort);
    let (facts, announced) = read_descriptor(&mut cursor)?;
    if announced.iter().any(Option::is_some) {
        return Ok(announced);
    }
    let mut sizes = PictureSizes::default();
    if facts.spatial_id.is_none_or(|spatial| spatial == 0) {
        sizes[0] = Some(read_key_frame_size(cursor.rest())?);
    }
    Ok(sizes)
}

fn read_descriptor(cursor: &mut Cursor<'_>) -> Result<(FrameFacts, PictureSizes), RtpError> {
    let flags = cursor.u8()?;
    let mut facts = FrameFacts::default();
    if flags & PICTURE_ID_PRESENT != 0 {
        facts.picture_id = Some(read_picture_id(cursor)?);
    }
    if flags & LAYERS_PRESENT != 0 {
        read_layers(cursor, flags, &mut facts)?;
    }
    if flags & FLEXIBLE != 0 && flags & INTER_PREDICTED != 0 {
        skip_references(cursor)?;
    }
    let sizes = match flags & SCALABILITY_PRESENT {
        0 => PictureSizes::default(),
        _ => read_scalability_structure(cursor)?,
    };
    facts.frame_start = flags & BEGINS_FRAME != 0;
    facts.frame_end = flags & ENDS_FRAME != 0;
    facts.inter_predicted = flags & INTER_PREDICTED != 0;
    Ok((facts, sizes))
}

/// Width and height in a key frame's uncompressed header (VP9 bitstream specification 6.2).
fn read_key_frame_size(frame: &[u8]) -> Result<PictureSize, RtpError> {
    let short = RtpError::DescriptorTooShort;
    let mut bits = Bits::new(frame, short);
    bits.take(2)?;
    let profile = bits.take(1)? | bits.take(1)? << 1;
    // A reserved bit; show_existing_frame, frame_type, show_frame, error_resilient_mode.
    bits.take(if profile == 3 { 5 } else { 4 })?;
    if bits.take(24)? != SYNC_CODE {
        return Err(short);
    }
    bits.take(u32::from(profile >= 2))?;
    let subsampled = profile & 1 == 1;
    if bits.take(3)? == SRGB {
        bits.take(u32::from(subsampled))?;
    } else {
        bits.take(if subsampled { 4 } else { 1 })?;
    }
    let (width, height) = (bits.take(16)? + 1, bits.take(16)? + 1);
    PictureSize::new(width, height).ok_or(short)
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

fn read_scalability_structure(cursor: &mut Cursor<'_>) -> Result<PictureSizes, RtpError> {
    let head = cursor.u8()?;
    let mut sizes = PictureSizes::default();
    if head & 0x10 != 0 {
        for size in sizes.iter_mut().take(usize::from(head >> 5) + 1) {
            *size = Some(PictureSize { width: cursor.u16()?, height: cursor.u16()? });
        }
    }
    if head & 0x08 != 0 {
        let pictures = cursor.u8()?;
        for _ in 0..pictures {
            let references = usize::from((cursor.u8()? >> 2) & 0x03);
            cursor.take(references)?;
        }
    }
    Ok(sizes)
}
