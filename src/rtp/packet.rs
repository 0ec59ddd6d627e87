//! The RTP header (RFC 3550 5.1), and what kind of datagram this is at all (RFC 7983, RFC 5761).

use std::ops::Range;

use crate::rtp::cursor::Cursor;
use crate::rtp::error::RtpError;
use crate::rtp::extensions::Elements;

/// Bytes of the header without CSRCs and extension, and of every header we write.
pub const FIXED_HEADER_LEN: usize = 12;

/// What a datagram on a bundled socket is, by its first two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PacketKind {
    /// First byte 0-3.
    Stun,
    /// First byte 20-63.
    Dtls,
    /// First byte 128-191, second not in the RTCP range.
    Rtp,
    /// First byte 128-191, second in 192-223.
    Rtcp,
}

impl PacketKind {
    /// Classify by RFC 7983 and RFC 5761; `None` for kinds we do not speak (ZRTP, TURN channels,
    /// QUIC), for an empty datagram and for RTP of one byte.
    #[must_use]
    pub fn of(datagram: &[u8]) -> Option<Self> {
        match *datagram {
            [0..=3, ..] => Some(Self::Stun),
            [20..=63, ..] => Some(Self::Dtls),
            [128..=191, second, ..] if is_rtcp(second) => Some(Self::Rtcp),
            [128..=191, _, ..] => Some(Self::Rtp),
            _ => None,
        }
    }
}

/// Whether the second byte of an RTP-like datagram is an RTCP packet type: 192-223, which as RTP
/// would be the payload types 64-95 with the marker set, and those are never negotiated
/// (RFC 5761 section 4).
#[must_use]
pub const fn is_rtcp(second: u8) -> bool {
    matches!(second, 192..=223)
}

/// A parsed RTP header: plain facts and offsets into the packet it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// The marker bit: for video, the last packet of a frame.
    pub marker: bool,
    /// Payload type, 0-127.
    pub payload_type: u8,
    /// Sequence number as sent.
    pub sequence: u16,
    /// Timestamp in units of the codec's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Bytes of header including CSRCs and extension: the associated data of SRTP.
    pub header_len: usize,
    /// Bytes of padding at the end, count octet included; 0 without the P bit. Unknown (0) until
    /// [`Self::opened`] when parsed from a protected packet.
    pub padding_len: u8,
    /// The P bit.
    pub has_padding: bool,
    /// Start of the payload: `header_len`, or two bytes on after [`crate::rtp::rtx::unwrap`].
    pub(crate) payload_start: usize,
    /// End of the payload, padding excluded.
    pub(crate) payload_end: usize,
    /// "Defined by profile" of the header extension; 0 without one.
    extension_profile: u16,
    /// Bytes of header extension data, which end the header.
    extension_len: usize,
}

impl RtpHeader {
    /// Parse a plain packet: header, CSRCs, extension and padding are all within `packet`.
    ///
    /// # Errors
    /// `TooShort`, `BadVersion`, `CsrcCutShort`, `ExtensionCutShort`, `BadPadding`. A packet without
    /// payload (padding only) is fine.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        Self::parse_protected(packet)?.opened(packet)
    }

    /// Parse the header of an SRTP packet, whose padding count is still encrypted. The payload range
    /// spans all that follows the header, authentication tag included, until [`Self::opened`].
    ///
    /// # Errors
    /// As [`Self::parse`], without `BadPadding`.
    pub fn parse_protected(packet: &[u8]) -> Result<Self, RtpError> {
        let mut cursor = Cursor::new(packet, RtpError::TooShort);
        let [first, second] = cursor.u16()?.to_be_bytes();
        if first >> 6 != 2 {
            return Err(RtpError::BadVersion);
        }
        let sequence = cursor.u16()?;
        let timestamp = cursor.u32()?;
        let ssrc = cursor.u32()?;
        let csrc_len = usize::from(first & 0x0f) * 4;
        cursor.take(csrc_len).map_err(|_| RtpError::CsrcCutShort)?;
        let (extension_profile, extension_len) =
            if first & 0x10 == 0 { (0, 0) } else { extension_span(&mut cursor)? };
        let header_len = cursor.position();
        Ok(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence,
            timestamp,
            ssrc,
            header_len,
            padding_len: 0,
            has_padding: first & 0x20 != 0,
            payload_start: header_len,
            payload_end: packet.len(),
            extension_profile,
            extension_len,
        })
    }

    /// The same header for the now plain `packet` (tag cut off): finds the padding.
    ///
    /// # Errors
    /// `BadPadding` if the count is zero or larger than the bytes after the header; `TooShort` if
    /// `packet` ends inside its header.
    pub fn opened(mut self, packet: &[u8]) -> Result<Self, RtpError> {
        let body = packet.get(self.header_len..).ok_or(RtpError::TooShort)?;
        if self.has_padding {
            let count = *body.last().ok_or(RtpError::BadPadding)?;
            if count == 0 || usize::from(count) > body.len() {
                return Err(RtpError::BadPadding);
            }
            self.padding_len = count;
        }
        self.payload_end = packet.len() - usize::from(self.padding_len);
        Ok(self)
    }

    /// Where the payload lies in the packet, without padding.
    #[must_use]
    pub const fn payload_range(&self) -> Range<usize> {
        self.payload_start..self.payload_end
    }

    /// Bytes of payload, without padding.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        self.payload_end - self.payload_start
    }

    /// The payload of `packet`, the one this header was parsed from; empty for any shorter one.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload_range()).unwrap_or_default()
    }

    /// The header extension elements of `packet`, the one this header was parsed from (RFC 8285).
    #[must_use]
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Elements<'a> {
        let start = self.header_len - self.extension_len;
        let data = packet.get(start..self.header_len).unwrap_or_default();
        Elements::new(self.extension_profile, data)
    }
}

/// Profile and byte length of the header extension; leaves the cursor behind it.
fn extension_span(cursor: &mut Cursor<'_>) -> Result<(u16, usize), RtpError> {
    let cut = |_| RtpError::ExtensionCutShort;
    let profile = cursor.u16().map_err(cut)?;
    let len = usize::from(cursor.u16().map_err(cut)?) * 4;
    cursor.take(len).map_err(cut)?;
    Ok((profile, len))
}

/// The header of a packet we send: no CSRC, no extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FixedHeader {
    /// The P bit: the payload ends in padding, its last octet the count.
    pub padding: bool,
    /// The marker bit.
    pub marker: bool,
    /// Payload type, 0-127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the codec's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl FixedHeader {
    /// The wire form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; FIXED_HEADER_LEN] {
        let mut bytes = [0; FIXED_HEADER_LEN];
        bytes[0] = 0x80 | (u8::from(self.padding) << 5);
        bytes[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7f);
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc_rtp::packet::Packet as OtherPacket;
    use rtc_shared::marshal::{Marshal, Unmarshal};

    use super::*;

    /// One CSRC, a one-byte extension of two words, payload "abc", padding 3.
    const FULL: [u8; 34] = [
        0xb1, 0xe0, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8, // fixed header
        9, 10, 11, 12, // CSRC
        0xbe, 0xde, 0, 2, 0x30, b'0', 0x51, 0x01, 0x02, 0, 0, 0, // extension
        b'a', b'b', b'c', 0, 0, 3, // payload and padding
    ];

    #[test]
    fn every_field_of_a_full_header_is_read() {
        let header = RtpHeader::parse(&FULL).expect("well-formed");
        assert!(header.marker && header.has_padding);
        assert_eq!((header.payload_type, header.sequence), (96, 0x1234));
        assert_eq!((header.timestamp, header.ssrc), (0x0102_0304, 0x0506_0708));
        assert_eq!((header.header_len, header.padding_len), (28, 3));
        assert_eq!(header.payload(&FULL), b"abc");
        assert_eq!(header.payload_len(), 3);
        assert_eq!(header.extensions(&FULL).find(3), Some(&b"0"[..]));
        assert_eq!(header.extensions(&FULL).find(5), Some(&[1, 2][..]));
        assert_eq!(header.extensions(&FULL).find(4), None);
    }

    #[test]
    fn a_packet_cut_at_any_byte_is_refused_by_name() {
        for len in 0..FULL.len() {
            let found = RtpHeader::parse(&FULL[..len]).map(|header| header.payload_len());
            let expected = match len {
                0..12 => Err(RtpError::TooShort),
                12..16 => Err(RtpError::CsrcCutShort),
                16..28 => Err(RtpError::ExtensionCutShort),
                // No byte to count, "a" to "c" as a count too large, then zero as a count.
                28..34 => Err(RtpError::BadPadding),
                _ => unreachable!("the loop ends before"),
            };
            assert_eq!(found, expected, "cut at {len}");
        }
    }

    #[test]
    fn padding_may_fill_the_packet_but_not_more() {
        let mut packet = [0x80; 16];
        packet[0] = 0xa0;
        packet[15] = 4;
        let header = RtpHeader::parse(&packet).expect("padding only");
        assert_eq!((header.payload_len(), header.padding_len), (0, 4));
        packet[15] = 5;
        assert_eq!(RtpHeader::parse(&packet), Err(RtpError::BadPadding));
        packet[15] = 0;
        assert_eq!(RtpHeader::parse(&packet), Err(RtpError::BadPadding));
    }

    #[test]
    fn a_protected_header_does_not_look_at_the_padding() {
        let mut packet = FULL;
        packet[33] = 255;
        let header = RtpHeader::parse_protected(&packet).expect("header is in the clear");
        assert_eq!(header.payload_range(), 28..34);
        assert_eq!(header.opened(&packet), Err(RtpError::BadPadding));
        assert_eq!(header.opened(&FULL), RtpHeader::parse(&FULL));
        assert_eq!(header.opened(&FULL[..20]), Err(RtpError::TooShort));
    }

    #[test]
    fn other_versions_are_refused() {
        for first in [0x00, 0x40, 0xc0] {
            let mut packet = FULL;
            packet[0] = first;
            assert_eq!(RtpHeader::parse(&packet), Err(RtpError::BadVersion));
        }
    }

    #[test]
    fn kinds_follow_the_first_two_bytes() {
        for first in 0..=255_u8 {
            let expected = match first {
                0..=3 => Some(PacketKind::Stun),
                20..=63 => Some(PacketKind::Dtls),
                128..=191 => Some(PacketKind::Rtp),
                _ => None,
            };
            assert_eq!(PacketKind::of(&[first, 0]), expected, "first byte {first}");
        }
        for second in 0..=255_u8 {
            let rtcp = (192..=223).contains(&second);
            assert_eq!(is_rtcp(second), rtcp);
            let expected = if rtcp { PacketKind::Rtcp } else { PacketKind::Rtp };
            assert_eq!(PacketKind::of(&[0x80, second]), Some(expected));
        }
        assert_eq!(PacketKind::of(&[]), None);
        assert_eq!(PacketKind::of(&[0x80]), None);
    }

    proptest! {
        #[test]
        fn ranges_stay_inside_any_packet(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = RtpHeader::parse(&bytes) {
                let padding = usize::from(header.padding_len);
                let sum = header.header_len + header.payload_len() + padding;
                prop_assert_eq!(sum, bytes.len());
                prop_assert_eq!(header.extensions(&bytes).map(|e| e.data.len()).sum::<usize>()
                    <= header.header_len, true);
            }
        }

        #[test]
        fn a_written_header_reads_back(
            padding: bool, marker: bool, payload_type in 0..128_u8, sequence: u16,
            timestamp: u32, ssrc: u32,
        ) {
            let fixed =
                FixedHeader { padding, marker, payload_type, sequence, timestamp, ssrc };
            let mut packet = fixed.to_bytes().to_vec();
            packet.extend_from_slice(&[7, 1]);
            let header = RtpHeader::parse(&packet).expect("written here");
            prop_assert_eq!(header.payload_len(), if padding { 1 } else { 2 });
            let back = FixedHeader {
                padding: header.has_padding,
                marker: header.marker,
                payload_type: header.payload_type,
                sequence: header.sequence,
                timestamp: header.timestamp,
                ssrc: header.ssrc,
            };
            prop_assert_eq!(back, fixed);
            let other = OtherPacket::unmarshal(&mut &packet[..]).expect("rtc-rtp reads it");
            prop_assert_eq!(other.header.sequence_number, sequence);
            prop_assert_eq!((other.header.timestamp, other.header.ssrc), (timestamp, ssrc));
            prop_assert_eq!(&other.payload[..], header.payload(&packet));
        }

        #[test]
        fn packets_of_rtc_rtp_are_read_alike(
            marker: bool, payload_type in 0..128_u8, sequence: u16, timestamp: u32, ssrc: u32,
            csrc in proptest::collection::vec(any::<u32>(), 0..15),
            mid in proptest::collection::vec(b'a'..=b'z', 1..16),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut other = OtherPacket::default();
            other.header.version = 2;
            other.header.marker = marker;
            other.header.payload_type = payload_type;
            other.header.sequence_number = sequence;
            other.header.timestamp = timestamp;
            other.header.ssrc = ssrc;
            other.header.csrc = csrc;
            other.header.set_extension(4, mid.clone().into()).expect("fits one byte");
            other.payload = payload.clone().into();
            let packet = other.marshal().expect("writes");
            let header = RtpHeader::parse(&packet).expect("reads");
            prop_assert_eq!(header.payload(&packet), &payload[..]);
            prop_assert_eq!(header.extensions(&packet).find(4), Some(&mid[..]));
            prop_assert_eq!(
                (header.marker, header.payload_type, header.sequence, header.timestamp, header.ssrc),
                (marker, payload_type, sequence, timestamp, ssrc)
            );
        }
    }
}
