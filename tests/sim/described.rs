//! AV1 in three spatial and three temporal layers, which its dependency descriptors tell.

use super::{DEPENDENCY, TRANSPORT_CC, facts, layers};
use greenroom::rtp::packet::FixedHeader;

/// What a key frame's descriptor has behind the mandatory fields: of each spatial layer a template for key frames and three for
/// the temporal layers, nine decode targets. Spatial layers need the one below in all frames.
const TEMPLATES: [u8; 34] = [
    0x80, 0x08, 0x16, 0x16, 0x17, 0xaa, 0xaa, 0xaa, 0xff, 0xf1, 0x8f, 0x3c, 0x10, 0xc3, 0x02, 0xaa,
    0x80, 0xab, 0xf0, 0x06, 0x3c, 0x00, 0x43, 0x00, 0x0a, 0x80, 0x02, 0xa0, 0x00, 0x18, 0x00, 0x01,
    0x00, 0x00,
];

/// (spatial layer, first, last) of a frame's packet: one packet, two, and all others.
pub fn place(packet: u16, packets: u16) -> (u8, bool, bool) {
    match packet {
        0 => (0, true, true),
        1 | 2 => (1, packet == 1, packet == 2),
        _ => (2, packet == 3, packet + 1 == packets),
    }
}

/// The descriptor of a picture's packet; each of its three frames has a number.
pub fn descriptor(picture: u32, temporal: u8, packet: u16, packets: u16, key: bool) -> Vec<u8> {
    let (spatial, first, last) = place(packet, packets);
    let template = spatial * 4 + if key { 0 } else { temporal + 1 };
    let [high, low] = number(picture, spatial).to_be_bytes();
    let mut bytes = vec![u8::from(first) << 7 | u8::from(last) << 6 | template, high, low];
    if key && packet == 0 {
        bytes.extend_from_slice(&TEMPLATES);
    }
    bytes
}

fn number(picture: u32, spatial: u8) -> u16 {
    (picture as u16).wrapping_mul(3).wrapping_add(spatial.into())
}

/// What the payload has in front of the facts: aggregation header, OBU header, layers.
pub fn head(temporal: u8, packet: u16, packets: u16, key: bool) -> Vec<u8> {
    let new = u8::from(key && packet == 0) << 3;
    vec![0x10 | new, 0x34, temporal << 5 | place(packet, packets).0 << 3]
}

/// A header with transport-wide number and descriptor (RFC 8285 two-byte form).
pub fn headed(header: FixedHeader, transport_sequence: &mut u16, descriptor: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_bytes().to_vec();
    bytes[0] |= 0x10;
    let [high, low] = transport_sequence.to_be_bytes();
    *transport_sequence = transport_sequence.wrapping_add(1);
    let mut inside = vec![TRANSPORT_CC, 2, high, low, DEPENDENCY, descriptor.len() as u8];
    inside.extend_from_slice(descriptor);
    inside.resize(inside.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(&[0x10, 0x00, 0, (inside.len() / 4) as u8]);
    bytes.extend_from_slice(&inside);
    bytes
}

/// The frame number of a packet that a viewer got, whose descriptor is the publisher's in all else.
pub fn check(descriptor: Option<&[u8]>, payload: &[u8]) -> u16 {
    let got = descriptor.expect("a descriptor");
    let ((picture, packet, packets, _), (_, temporal)) = (facts(payload), layers(payload));
    let number = u16::from_be_bytes([got[1], got[2]]);
    let is_sent = [false, true].into_iter().any(|key| {
        let mut sent = self::descriptor(picture, temporal, packet, packets, key);
        sent[1..3].copy_from_slice(&got[1..3]);
        sent == got
    });
    assert!(is_sent, "{got:?} with packet {packet} of {packets}");
    number
}
