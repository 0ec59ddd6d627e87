//! RTP header extensions (RFC 8285) and the few elements we read.

/// Profile of the one-byte form.
pub const ONE_BYTE_PROFILE: u16 = 0xbede;
/// Profile of the two-byte form; its low four bits are "appbits" and mean nothing here.
pub const TWO_BYTE_PROFILE: u16 = 0x1000;
/// Bytes of the longest element that the one-byte form can carry.
pub const LONGEST_ONE_BYTE: usize = 16;
/// In the one-byte form: stop reading here (RFC 8285 4.2).
const RESERVED_ID: u8 = 15;

/// One element of a header extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its negotiated id: 1-14, or 1-255 in the two-byte form.
    pub id: u8,
    /// Its data: 1-16 bytes, or 0-255 in the two-byte form.
    pub data: &'a [u8],
}

/// The elements of a header extension in wire order. An element that goes past the end is dropped
/// together with all after it; an unknown profile has none.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    two_byte: bool,
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Elements in `data`, the extension without its profile and length words.
    #[must_use]
    pub fn new(profile: u16, data: &'a [u8]) -> Self {
        let two_byte = profile & 0xfff0 == TWO_BYTE_PROFILE;
        let known = two_byte || profile == ONE_BYTE_PROFILE;
        Self { two_byte, rest: if known { data } else { &[] } }
    }

    /// Data of the first element with this id.
    #[must_use]
    pub fn find(mut self, id: u8) -> Option<&'a [u8]> {
        self.find_map(|element| (element.id == id).then_some(element.data))
    }

    /// Id, data length and the bytes behind the element's own header.
    fn split_header(&self) -> Option<(u8, usize, &'a [u8])> {
        if self.two_byte {
            let (&[id, len], rest) = self.rest.split_first_chunk()?;
            return Some((id, usize::from(len), rest));
        }
        let (&byte, rest) = self.rest.split_first()?;
        let id = byte >> 4;
        // Id 0 with a length is neither padding nor an element: both it and id 15 end the reading.
        (id != RESERVED_ID && id != 0).then_some((id, usize::from(byte & 0x0f) + 1, rest))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let found = self.split_header().and_then(|(id, len, rest)| {
            let (data, rest) = rest.split_at_checked(len)?;
            Some((Element { id, data }, rest))
        });
        let (element, rest) = found.unzip();
        self.rest = rest.unwrap_or_default();
        element
    }
}

/// The transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01; the two
/// bytes of feedback request in version 02 are ignored).
#[must_use]
pub fn transport_sequence(data: &[u8]) -> Option<u16> {
    data.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// A mid, rid or repaired rid (RFC 8852, RFC 9143): 1-16 bytes (more in the two-byte form) of the
/// token alphabet. `None` for anything else, which therefore never meets a look-up.
#[must_use]
pub fn token(data: &[u8]) -> Option<&str> {
    // Some senders pad SDES items with trailing zeros to keep the extension's size constant.
    let end = data.iter().rposition(|&byte| byte != 0)? + 1;
    let text = std::str::from_utf8(data.get(..end)?).ok()?;
    text.bytes().all(is_token_byte).then_some(text)
}

/// `token-char` of RFC 4566, a superset of RFC 8851's rid alphabet.
const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'~')
}

/// A client's own measure of a packet's loudness (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The encoder believes that this is speech.
    pub voice: bool,
    /// Loudness as -dBov: 0 is the loudest, 127 silence.
    pub minus_dbov: u8,
}

impl AudioLevel {
    /// Read the element's data.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let byte = *data.first()?;
        Some(Self { voice: byte & 0x80 != 0, minus_dbov: byte & 0x7f })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(profile: u16, data: &[u8]) -> Vec<(u8, usize)> {
        Elements::new(profile, data).map(|element| (element.id, element.data.len())).collect()
    }

    #[test]
    fn one_byte_form_skips_padding_between_elements() {
        let data = [0x10, 0xaa, 0, 0, 0x22, 1, 2, 3, 0];
        assert_eq!(ids(0xbede, &data), [(1, 1), (2, 3)]);
    }

    #[test]
    fn one_byte_form_stops_at_id_fifteen_and_at_a_zero_id_with_length() {
        assert_eq!(ids(0xbede, &[0x10, 1, 0xf0, 2, 0x20, 3]), [(1, 1)]);
        assert_eq!(ids(0xbede, &[0x10, 1, 0x01, 2, 3, 0x20, 3]), [(1, 1)]);
    }

    #[test]
    fn two_byte_form_has_empty_elements_and_any_appbits() {
        let data = [1, 0, 0, 200, 2, 9, 9, 0];
        assert_eq!(ids(0x1000, &data), [(1, 0), (200, 2)]);
        assert_eq!(ids(0x100f, &data), [(1, 0), (200, 2)]);
    }

    #[test]
    fn a_lying_length_ends_the_walk() {
        assert_eq!(ids(0xbede, &[0x10, 1, 0x2f, 2]), [(1, 1)]);
        assert_eq!(ids(0x1000, &[1, 1, 5, 2, 200, 1]), [(1, 1)]);
        assert_eq!(ids(0x1000, &[1]), []);
    }

    #[test]
    fn an_unknown_profile_has_no_elements() {
        assert_eq!(ids(0xbedf, &[0x10, 1]), []);
        assert_eq!(ids(0, &[0x10, 1]), []);
    }

    #[test]
    fn values_of_known_elements() {
        assert_eq!(transport_sequence(&[0x12, 0x34]), Some(0x1234));
        assert_eq!(transport_sequence(&[0x12, 0x34, 0, 0]), Some(0x1234));
        assert_eq!(transport_sequence(&[0x12]), None);
        assert_eq!(token(b"v0"), Some("v0"));
        assert_eq!(token(b"hi\0\0"), Some("hi"));
        for hostile in [&b""[..], b"\0", b"a\0b", b"a b", b"\xff", b"a\r\nb"] {
            assert_eq!(token(hostile), None);
        }
        let level = AudioLevel { voice: true, minus_dbov: 30 };
        assert_eq!(AudioLevel::parse(&[0x80 | 30]), Some(level));
        assert_eq!(AudioLevel::parse(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_within_bounds(
            profile in prop_oneof![Just(0xbede), Just(0x1000), any::<u16>()],
            data in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let elements: Vec<_> = Elements::new(profile, &data).collect();
            let used: usize = elements.iter().map(|element| element.data.len() + 1).sum();
            prop_assert!(used <= data.len());
            prop_assert!(elements.iter().all(|element| element.id != 0));
        }
    }
}
