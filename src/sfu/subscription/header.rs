//! RTP headers as they go out: with the transport-wide number where the slot has one, and a packet's dependency descriptor
//! where the viewer reads it.

use crate::rtp::dependency;
use crate::rtp::extensions::{LONGEST_ONE_BYTE, ONE_BYTE_PROFILE, TWO_BYTE_PROFILE};
use crate::rtp::packet::{FIXED_HEADER_LEN, FixedHeader};

/// Profile and length of an extension.
const PREFIX: usize = 4;
/// A transport-wide number with its element's header, in the longer of the two forms.
const WIDE: usize = 4;
/// A descriptor with its element's header: its length is one byte.
const DESCRIPTOR: usize = 2 + u8::MAX as usize;
/// The longest header, padded to words.
const LONGEST: usize = (FIXED_HEADER_LEN + PREFIX + WIDE + DESCRIPTOR).next_multiple_of(4);

/// A transport-wide number, and the id of its extension.
pub(super) type Wide = (u8, u16);

/// A packet's dependency descriptor, as one viewer gets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptor<'s> {
    /// Id of its extension.
    pub(super) id: u8,
    /// As the publisher sent it; not empty, and at most 255 bytes.
    pub(super) bytes: &'s [u8],
    /// Added to its frame number.
    pub(super) shift: u16,
}

/// Write a header and give it to `seal`.
pub(super) fn with_header<T>(
    fixed: FixedHeader,
    wide: Option<Wide>,
    descriptor: Option<Descriptor<'_>>,
    seal: impl FnOnce(&[u8]) -> T,
) -> T {
    match descriptor {
        None => seal(Header::new(fixed, wide).bytes()),
        Some(descriptor) => seal(DescribedHeader::new(fixed, wide, descriptor).bytes()),
    }
}

/// A header without a descriptor: that of every packet but AV1's.
pub(super) struct Header {
    bytes: [u8; FIXED_HEADER_LEN + 8],
    len: usize,
}

impl Header {
    /// In the one-byte form of RFC 8285.
    #[inline]
    pub(super) fn new(fixed: FixedHeader, wide: Option<Wide>) -> Self {
        let mut bytes = [0; FIXED_HEADER_LEN + 8];
        bytes[..FIXED_HEADER_LEN].copy_from_slice(&fixed.to_bytes());
        let Some((id, number)) = wide else { return Self { bytes, len: FIXED_HEADER_LEN } };
        bytes[0] |= 0x10;
        let [high, low] = number.to_be_bytes();
        bytes[FIXED_HEADER_LEN..].copy_from_slice(&[0xbe, 0xde, 0, 1, (id << 4) | 1, high, low, 0]);
        Self { bytes, len: bytes.len() }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A header with a descriptor. Its length is a function of the descriptor's and of whether the slot has numbers, so packets
/// with descriptors of one length have headers of one length.
struct DescribedHeader {
    bytes: [u8; LONGEST],
    len: usize,
}

impl DescribedHeader {
    /// In the one-byte form of RFC 8285 if the descriptor fits that, else all in the two-byte form. Who takes descriptors has
    /// agreed to both.
    fn new(fixed: FixedHeader, wide: Option<Wide>, descriptor: Descriptor<'_>) -> Self {
        let mut header = Self { bytes: [0; LONGEST], len: 0 };
        header.push(&fixed.to_bytes());
        header.bytes[0] |= 0x10;
        let one_byte = descriptor.bytes.len() <= LONGEST_ONE_BYTE;
        let profile = if one_byte { ONE_BYTE_PROFILE } else { TWO_BYTE_PROFILE };
        header.push(&profile.to_be_bytes());
        header.push(&[0; 2]);
        if let Some((id, number)) = wide {
            header.element(one_byte, id, &number.to_be_bytes());
        }
        let start = header.element(one_byte, descriptor.id, descriptor.bytes);
        let end = header.len;
        if let Some(copy) = header.bytes.get_mut(start..end) {
            dependency::shift_frame_number(copy, descriptor.shift);
        }
        header.len = header.len.next_multiple_of(4).min(LONGEST);
        let words = ((header.len - FIXED_HEADER_LEN - PREFIX) / 4) as u16;
        let place = FIXED_HEADER_LEN + PREFIX - 2;
        header.bytes[place..place + 2].copy_from_slice(&words.to_be_bytes());
        header
    }

    /// Append an element; where its data begins.
    fn element(&mut self, one_byte: bool, id: u8, data: &[u8]) -> usize {
        let len = data.len() as u8;
        if one_byte {
            self.push(&[id << 4 | len.wrapping_sub(1) & 0x0f]);
        } else {
            self.push(&[id, len]);
        }
        let start = self.len;
        self.push(data);
        start
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::RtpHeader;

    const FIXED: FixedHeader = FixedHeader {
        padding: false,
        marker: true,
        payload_type: 104,
        sequence: 0x1234,
        timestamp: 90_000,
        ssrc: 7,
    };

    /// A header as it goes out with a descriptor of `len` bytes, and what is read from it: its profile, the number, the
    /// descriptor.
    fn read(len: usize, wide: Option<Wide>) -> (Vec<u8>, u16, Option<Vec<u8>>, Vec<u8>) {
        let sent: Vec<u8> = (0..len).map(|n| n as u8 ^ 0xff).collect();
        let descriptor = Descriptor { id: 4, bytes: &sent, shift: 2 };
        let mut bytes = with_header(FIXED, wide, Some(descriptor), <[u8]>::to_vec);
        let header_len = bytes.len();
        bytes.push(9);
        let header = RtpHeader::parse(&bytes).unwrap();
        assert_eq!(header.payload(&bytes), [9], "the payload begins where the header ends");
        assert_eq!((header.sequence, header.ssrc), (0x1234, 7));
        assert!(header_len.is_multiple_of(4));
        let profile = u16::from_be_bytes([bytes[12], bytes[13]]);
        let extensions = header.extensions(&bytes);
        let number = extensions.find(3).map(<[u8]>::to_vec);
        let got = extensions.find(4).expect("the descriptor").to_vec();
        (sent, profile, number, got)
    }

    #[test]
    fn a_descriptor_of_17_bytes_needs_the_two_byte_form() {
        for (len, profile) in [(3, 0xbede), (16, 0xbede), (17, 0x1000), (255, 0x1000)] {
            for wide in [None, Some((3, 0xfffe))] {
                let (mut sent, got_profile, number, got) = read(len, wide);
                assert_eq!(got_profile, profile, "{len} bytes");
                assert_eq!(number, wide.map(|(_, number)| number.to_be_bytes().to_vec()));
                // 0xfefd and 2.
                sent[1..3].copy_from_slice(&[0xfe, 0xff]);
                assert_eq!(got, sent, "{len} bytes");
            }
        }
    }

    #[test]
    fn lengths_of_headers() {
        let len = |descriptor: usize, wide| {
            let bytes = vec![1; descriptor];
            let descriptor = Descriptor { id: 4, bytes: &bytes, shift: 0 };
            with_header(FIXED, wide, Some(descriptor), <[u8]>::len)
        };
        assert_eq!(with_header(FIXED, None, None, <[u8]>::len), 12);
        assert_eq!(with_header(FIXED, Some((3, 1)), None, <[u8]>::len), 20);
        assert_eq!((len(3, None), len(3, Some((3, 1)))), (20, 24));
        assert_eq!((len(16, None), len(16, Some((3, 1)))), (36, 36));
        assert_eq!((len(17, None), len(17, Some((3, 1)))), (36, 40));
        assert_eq!((len(255, None), len(255, Some((3, 1)))), (276, LONGEST));
    }
}
