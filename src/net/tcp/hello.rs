//! libwebrtc's pseudo-TLS, candidate transport `ssltcp`: one fixed hello each way, then frames as ever. Pure.
//!
//! It hides nothing and proves nothing. It lets a connection pass what takes its first bytes for TLS, and has no
//! specification but the clients that send it: `rtc_base/socket_adapters.cc` of libwebrtc and
//! `components/webrtc/fake_ssl_client_socket.cc` of Chromium, which closes at the first byte that differs.

/// What a client sends first: a `CLIENT-HELLO` of SSL 2.0 that asks for TLS 1.0, its challenge included.
pub const CLIENT: [u8; 72] = [
    0x80, 0x46, // the length behind it, with the bit of a record without padding
    0x01, 0x03, 0x01, // CLIENT-HELLO, TLS 1.0
    0x00, 0x2d, 0x00, 0x00, 0x00, 0x10, // bytes of ciphers, session id, challenge
    0x01, 0x00, 0x80, 0x03, 0x00, 0x80, 0x07, 0x00, 0xc0, 0x06, 0x00, 0x40, 0x02, 0x00,
    0x80, //
    0x04, 0x00, 0x80, 0x00, 0x00, 0x04, 0x00, 0xfe, 0xff, 0x00, 0x00, 0x0a, 0x00, 0xfe,
    0xfe, //
    0x00, 0x00, 0x09, 0x00, 0x00, 0x64, 0x00, 0x00, 0x62, 0x00, 0x00, 0x03, 0x00, 0x00,
    0x06, //
    0x1f, 0x17, 0x0c, 0xa6, 0x2f, 0x00, 0x78, 0xfc, 0x46, 0x55, 0x2e, 0xb1, 0x83, 0x39, 0xf1, 0xea,
];

/// What it waits for: a `ServerHello` of TLS 1.0 whose random and session id never change.
pub const SERVER: [u8; 79] = [
    0x16, 0x03, 0x01, 0x00, 0x4a, // handshake, TLS 1.0, bytes behind it
    0x02, 0x00, 0x00, 0x46, 0x03, 0x01, // ServerHello, bytes behind it, TLS 1.0
    0x42, 0x85, 0x45, 0xa7, 0x27, 0xa9, 0x5d, 0xa0, 0xb3, 0xc5, 0xe7, 0x53, 0xda, 0x48, 0x2b, 0x3f,
    0xc6, 0x5a, 0xca, 0x89, 0xc1, 0x58, 0x52, 0xa1, 0x78, 0x3c, 0x5b, 0x17, 0x46, 0x00, 0x85, 0x3f,
    0x20, // bytes of the session id
    0x0e, 0xd3, 0x06, 0x72, 0x5b, 0x5b, 0x1b, 0x5f, 0x15, 0xac, 0x13, 0xf9, 0x88, 0x53, 0x9d, 0x9b,
    0xe8, 0x3d, 0x7b, 0x0c, 0x30, 0x32, 0x6e, 0x38, 0x4d, 0xa2, 0x75, 0x57, 0x41, 0x6c, 0x34, 0x5c,
    0x00, 0x04, 0x00, // RC4 with MD5, no compression
];

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// More bytes are needed to tell.
    Open,
    /// No hello: its first byte is that of a frame, or of something else.
    Frames,
    /// The whole hello. It waits for ours; frames come behind it.
    Hello,
    /// It began as the hello does and went on otherwise. It is no frame either: the first byte makes it too large.
    Spoilt,
}

/// Tell by the first bytes of a connection, at the first one that settles it.
#[must_use]
pub fn start(bytes: &[u8]) -> Start {
    match bytes.first() {
        None => Start::Open,
        Some(first) if *first != CLIENT[0] => Start::Frames,
        Some(_) if bytes.starts_with(&CLIENT) => Start::Hello,
        Some(_) if CLIENT.starts_with(bytes) => Start::Open,
        Some(_) => Start::Spoilt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tcp::framing::{TooLarge, announced};

    #[test]
    fn the_hellos_say_their_own_lengths() {
        assert_eq!(
            usize::from(u16::from_be_bytes([CLIENT[0] & 0x7f, CLIENT[1]])),
            CLIENT.len() - 2
        );
        let parts = [CLIENT[6], CLIENT[8], CLIENT[10]].map(usize::from);
        assert_eq!(11 + parts.iter().sum::<usize>(), CLIENT.len());
        assert_eq!(usize::from(SERVER[4]), SERVER.len() - 5);
        assert_eq!(usize::from(SERVER[8]), SERVER.len() - 9);
        assert_eq!(11 + 32 + 1 + usize::from(SERVER[43]) + 3, SERVER.len());
    }

    #[test]
    fn it_is_settled_at_the_first_byte_that_can() {
        assert_eq!(start(&[]), Start::Open);
        for len in 1..CLIENT.len() {
            assert_eq!(start(&CLIENT[..len]), Start::Open, "{len}");
        }
        assert_eq!(start(&CLIENT), Start::Hello);
        assert_eq!(start(&[&CLIENT[..], &[1, 2, 3]].concat()), Start::Hello);
        for at in 1..CLIENT.len() {
            let mut spoilt = CLIENT;
            spoilt[at] ^= 1;
            assert_eq!(start(&spoilt[..at]), Start::Open, "{at}");
            assert_eq!(start(&spoilt[..=at]), Start::Spoilt, "{at}");
            assert_eq!(start(&spoilt), Start::Spoilt, "{at}");
        }
    }

    #[test]
    fn no_frame_is_taken_for_a_hello() {
        for first in 0..=u8::MAX {
            assert_eq!(start(&[first, 0]) == Start::Frames, first != CLIENT[0], "{first}");
        }
        assert_eq!(announced(&CLIENT), Err(TooLarge));
    }
}
