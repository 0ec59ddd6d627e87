//! Retransmission streams (RFC 4588): the original payload behind its original sequence number.

use crate::rtp::error::RtpError;
use crate::rtp::packet::{FIXED_HEADER_LEN, FixedHeader, RtpHeader};

/// Bytes of the original sequence number (OSN) in front of the payload.
pub const OSN_LEN: usize = 2;

/// Turn the header of the RTX `packet` into that of the packet it repeats: `payload_type` and
/// `ssrc` of the media stream, the original sequence number, and a payload that starts behind it.
/// The bytes stay where they are.
///
/// # Errors
/// `EmptyPayload` for padding only, which is how browsers probe for bandwidth; `RtxTooShort`.
pub fn unwrap(
    mut header: RtpHeader,
    packet: &[u8],
    payload_type: u8,
    ssrc: u32,
) -> Result<RtpHeader, RtpError> {
    let payload = header.payload(packet);
    if payload.is_empty() {
        return Err(RtpError::EmptyPayload);
    }
    let osn = payload.first_chunk().ok_or(RtpError::RtxTooShort)?;
    header.payload_type = payload_type;
    header.ssrc = ssrc;
    header.sequence = u16::from_be_bytes(*osn);
    header.payload_start += OSN_LEN;
    Ok(header)
}

/// Header and OSN of a retransmission: `original` as it was sent, the rest from the RTX stream.
/// The original payload follows. Padding is kept, since it is part of what is repeated.
#[must_use]
pub fn header(
    original: FixedHeader,
    payload_type: u8,
    ssrc: u32,
    sequence: u16,
) -> [u8; FIXED_HEADER_LEN + OSN_LEN] {
    let mut bytes = [0; FIXED_HEADER_LEN + OSN_LEN];
    let fixed = FixedHeader { payload_type, ssrc, sequence, ..original };
    let (head, osn) = bytes.split_at_mut(FIXED_HEADER_LEN);
    head.copy_from_slice(&fixed.to_bytes());
    osn.copy_from_slice(&original.sequence.to_be_bytes());
    bytes
}
