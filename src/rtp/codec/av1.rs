//! AV1 aggregation header and OBU elements (AOM "RTP Payload Format For AV1" 1.0, section 4).

use crate::rtp::codec::FrameFacts;
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

pub(super) fn describe(payload: &[u8]) -> Result<FrameFacts, RtpError> {
    let mut cursor = Cursor::new(payload, RtpError::DescriptorTooShort);
    let aggregation = cursor.u8()?;
    let continues = aggregation & CONTINUES != 0;
    let announced = usize::from((aggregation >> 4) & 0x03);
    let mut facts = FrameFacts { frame_start: !continues, ..FrameFacts::default() };
    let mut sequence_header = false;
    let mut index = 0;
    // W=0: every element has a length, until the end. W=1..3: that many, the last without length.
    while if announced == 0 { cursor.remaining() > 0 } else { index < announced } {
        index += 1;
        let element = if index == announced { cursor.rest() } else { read_element(&mut cursor)? };
        if index > 1 || !continues {
            sequence_header |= read_obu(element, &mut facts)?;
        }
    }
    if index == 0 {
        return Err(RtpError::DescriptorTooShort);
    }
    facts.key_frame_start = !continues && (aggregation & NEW_SEQUENCE != 0 || sequence_header);
    Ok(facts)
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
