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

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: FixedHeader = FixedHeader {
        padding: false,
        marker: true,
        payload_type: 96,
        sequence: 0xfffe,
        timestamp: 77,
        ssrc: 1,
    };

    fn packet(head: &[u8], tail: &[u8]) -> Vec<u8> {
        [head, tail].concat()
    }

    #[test]
    fn what_was_wrapped_unwraps() {
        let repeated = packet(&header(ORIGINAL, 97, 2, 500), b"payload");
        let parsed = RtpHeader::parse(&repeated).expect("written here");
        assert_eq!((parsed.payload_type, parsed.ssrc, parsed.sequence), (97, 2, 500));
        let back = unwrap(parsed, &repeated, 96, 1).expect("long enough");
        assert_eq!((back.payload_type, back.ssrc, back.sequence), (96, 1, 0xfffe));
        assert_eq!((back.marker, back.timestamp), (true, 77));
        assert_eq!(back.payload(&repeated), b"payload");
        assert_eq!(back.header_len, FIXED_HEADER_LEN, "associated data stays what was sent");
    }

    #[test]
    fn short_payloads_are_refused_by_name() {
        for (tail, expected) in [
            (&b""[..], Err(RtpError::EmptyPayload)),
            (b"x", Err(RtpError::RtxTooShort)),
            (b"xy", Ok(0)),
        ] {
            let bytes = packet(&ORIGINAL.to_bytes(), tail);
            let parsed = RtpHeader::parse(&bytes).expect("a header");
            let found = unwrap(parsed, &bytes, 96, 1).map(|header| header.payload_len());
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_probe_of_padding_is_not_mistaken_for_a_repeat() {
        let head = FixedHeader { padding: true, ..ORIGINAL }.to_bytes();
        let bytes = packet(&head, &[0, 0, 0, 4]);
        let parsed = RtpHeader::parse(&bytes).expect("padding only");
        assert_eq!(unwrap(parsed, &bytes, 96, 1), Err(RtpError::EmptyPayload));
    }

    #[test]
    fn padding_survives_the_wrap() {
        let padded = FixedHeader { padding: true, ..ORIGINAL };
        let bytes = packet(&header(padded, 97, 2, 1), b"data\x00\x02");
        let parsed = RtpHeader::parse(&bytes).expect("written here");
        let back = unwrap(parsed, &bytes, 96, 1).expect("long enough");
        assert_eq!(back.payload(&bytes), b"data");
    }
}
