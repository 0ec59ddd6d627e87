//! What tests of this module share: a client's first words, written by hand.

use aws_lc_rs::hmac;

/// A publisher's offer as Chromium writes it, as far as we read it.
pub(super) fn publish_offer(ufrag: &str, setup: &str) -> String {
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\na=setup:{setup}\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendonly\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\na=setup:{setup}\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n\
         a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
        fingerprint = ["AB"; 32].join(":")
    )
}

/// The value of the first `a={name}:` line.
pub(super) fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let start = format!("a={name}:");
    sdp.lines().find_map(|line| line.strip_prefix(&start)).expect("the attribute")
}

/// A Binding request (RFC 8489) of a controlling agent that nominates, without FINGERPRINT.
pub(super) fn binding_request(username: &str, password: &str, transaction: [u8; 12]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x01, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    bytes.extend(transaction);
    let mut attribute = |kind: u16, value: &[u8]| {
        bytes.extend(kind.to_be_bytes());
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    attribute(0x0006, username.as_bytes());
    attribute(0x0024, &1u32.to_be_bytes());
    attribute(0x802A, &7u64.to_be_bytes());
    attribute(0x0025, &[]);
    // The length counts MESSAGE-INTEGRITY, which covers everything before itself.
    let length = (bytes.len() - 20 + 24) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let mac = hmac::sign(&key, &bytes);
    bytes.extend([0x00, 0x08, 0, 20]);
    bytes.extend(mac.as_ref());
    bytes
}
