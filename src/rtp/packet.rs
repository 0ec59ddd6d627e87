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
