//! AV1 aggregation header and OBU elements (AOM "RTP Payload Format For AV1" 1.0, section 4).

use crate::rtp::bits::Bits;
use crate::rtp::codec::{FrameFacts, PictureSize};
use crate::rtp::cursor::Cursor;
use crate::rtp::error::RtpError;

/// Z: the first element continues an OBU of the packet before.
const CONTINUES: u8 = 0x80;
/// N: first packet of a coded video sequence.
const NEW_SEQUENCE: u8 = 0x08;
const OBU_SEQUENCE_HEADER: u8 = 1;
/// X bit of an OBU header: temporal and spatial id follow.
const OBU_EXTENSION: u8 = 0x04;
/// Bytes of the longest LEB128 number the AV1 specification allows.
const MAX_LEB128_BYTES: u32 = 8;

/// S bit of an OBU header: its length follows.
const OBU_HAS_SIZE: u8 = 0x02;
/// Levels above this have a tier (AV1 specification 5.5.1).
const HIGHEST_LEVEL_WITHOUT_TIER: u64 = 7;

pub(super) fn describe(payload: &[u8]) -> Result<FrameFacts, RtpError> {
    let mut facts = FrameFacts::default();
    let mut sequence_header = false;
    let aggregation = walk(payload, |obu| {
        sequence_header |= read_obu(obu, &mut facts)?;
        Ok(())
    })?;
    facts.frame_start = aggregation & CONTINUES == 0;
    facts.key_frame_start =
        facts.frame_start && (aggregation & NEW_SEQUENCE != 0 || sequence_header);
    Ok(facts)
}

/// Width and height by a packet's sequence header: the largest that its frames have.
pub(super) fn picture_size(payload: &[u8]) -> Result<PictureSize, RtpError> {
    let mut size = Err(RtpError::DescriptorTooShort);
    walk(payload, |obu| {
        let kind = obu.first().map(|header| header >> 3 & 0x0f);
        if kind == Some(OBU_SEQUENCE_HEADER) {
            size = read_sequence_header(obu);
        }
        Ok(())
    })?;
    size
}

/// Give each OBU that begins in this packet to `each`; the aggregation header.
fn walk(
    payload: &[u8],
    mut each: impl FnMut(&[u8]) -> Result<(), RtpError>,
) -> Result<u8, RtpError> {
    let mut cursor = Cursor::new(payload, RtpError::DescriptorTooShort);
    let aggregation = cursor.u8()?;
    let continues = aggregation & CONTINUES != 0;
    let announced = usize::from((aggregation >> 4) & 0x03);
    let mut index = 0;
    // W=0: every element has a length, until the end. W=1..3: that many, the last without length.
    while if announced == 0 { cursor.remaining() > 0 } else { index < announced } {
        index += 1;
        let element = if index == announced { cursor.rest() } else { read_element(&mut cursor)? };
        if index > 1 || !continues {
            each(element)?;
        }
    }
    if index == 0 {
        return Err(RtpError::DescriptorTooShort);
    }
    Ok(aggregation)
}

/// AV1 specification 5.5.1, up to the largest frame.
fn read_sequence_header(obu: &[u8]) -> Result<PictureSize, RtpError> {
    let short = RtpError::DescriptorTooShort;
    let mut cursor = Cursor::new(obu, short);
    let header = cursor.u8()?;
    if header & OBU_EXTENSION != 0 {
        cursor.u8()?;
    }
    if header & OBU_HAS_SIZE != 0 {
        read_leb128(&mut cursor)?;
    }
    let mut bits = Bits::new(cursor.rest(), short);
    // Profile, still_picture; then reduced_still_picture_header.
    bits.take(4)?;
    if bits.flag()? {
        bits.take(5)?;
    } else {
        skip_operating_points(&mut bits)?;
    }
    let (across, down) = (bits.take(4)? as u32 + 1, bits.take(4)? as u32 + 1);
    PictureSize::new(bits.take(across)? + 1, bits.take(down)? + 1).ok_or(short)
}

fn skip_operating_points(bits: &mut Bits<'_>) -> Result<(), RtpError> {
    let mut delay_bits = None;
    // timing_info_present_flag
    if bits.flag()? {
        bits.take(64)?;
        if bits.flag()? {
            bits.golomb()?;
        }
        // decoder_model_info_present_flag
        if bits.flag()? {
            delay_bits = Some(bits.take(5)? as u32 + 1);
            bits.take(42)?;
        }
    }
    let display_delay = bits.flag()?;
    for _ in 0..=bits.take(5)? {
        bits.take(12)?;
        if bits.take(5)? > HIGHEST_LEVEL_WITHOUT_TIER {
            bits.flag()?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.take(2 * delay_bits + 1)?;
        }
        if display_delay && bits.flag()? {
            bits.take(4)?;
        }
    }
    Ok(())
}

/// Note the layer ids of an OBU; `true` for a sequence header.
fn read_obu(element: &[u8], facts: &mut FrameFacts) -> Result<bool, RtpError> {
    // An empty element is odd but harmless; receivers skip it.
    let Some((&header, rest)) = element.split_first() else {
        return Ok(false);
    };
    if header & OBU_EXTENSION != 0 {
        let ids = *rest.first().ok_or(RtpError::DescriptorTooShort)?;
        facts.temporal_id.get_or_insert(ids >> 5);
        facts.spatial_id.get_or_insert((ids >> 3) & 0x03);
    }
    Ok((header >> 3) & 0x0f == OBU_SEQUENCE_HEADER)
}

fn read_element<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], RtpError> {
    let len = read_leb128(cursor)?;
    cursor.take(usize::try_from(len).map_err(|_| RtpError::DescriptorTooShort)?)
}

fn read_leb128(cursor: &mut Cursor<'_>) -> Result<u64, RtpError> {
    let mut value = 0;
    for index in 0..MAX_LEB128_BYTES {
        let byte = cursor.u8()?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(RtpError::DescriptorTooShort)
}
