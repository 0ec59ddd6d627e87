//! Descriptors of Chromium, every truncation of them, structures that lie, any bytes.

use proptest::prelude::*;

use super::*;

/// AV1 `L1T3` as Chromium sends it: the first packet of its key frame.
const KEY_FRAME: [u8; 20] = [
    0xc0, 0x00, 0x01, 0x80, 0x02, 0x14, 0xea, 0xa8, 0x60, 0x41, 0x4d, 0x14, 0x10, 0x20, 0x84, 0x27,
    0x02, 0x7f, 0x01, 0x67,
];
/// And of the frames behind it, template by template.
const BEHIND: [[u8; 3]; 5] = [[0xc3, 0, 2], [0xc2, 0, 3], [0xc4, 0, 4], [0xc1, 0, 5], [0xc3, 0, 6]];

fn read(reader: &mut Reader, data: &[u8]) -> Dependency {
    reader.read(data).expect("well formed").expect("a known template")
}

fn sizes(reader: &Reader) -> Vec<Option<PictureSize>> {
    let sizes = reader.sizes().copied().unwrap_or_default();
    sizes.into_iter().take_while(Option::is_some).collect()
}

#[test]
fn three_temporal_layers_of_chromium() {
    let mut reader = Reader::default();
    assert_eq!(reader.read(&BEHIND[0]), Ok(None), "nothing is known before the key frame");
    let key_frame = read(&mut reader, &KEY_FRAME);
    let expected = Dependency {
        first: true,
        last: true,
        number: 1,
        spatial: 0,
        temporal: 0,
        switch_up_to: 2,
        opens: 0,
    };
    assert_eq!(key_frame, expected);
    assert_eq!(sizes(&reader), [PictureSize::new(640, 360)]);
    let layers = BEHIND.map(|data| {
        let frame = read(&mut reader, &data);
        (frame.number, frame.temporal, frame.switch_up_to)
    });
    // The second layer's frame lets its viewers go on to the third; the third has nothing above it.
    assert_eq!(layers, [(2, 2, 2), (3, 1, 2), (4, 2, 2), (5, 0, 2), (6, 2, 2)]);
}

/// AV1 `L2T2` as Chromium sends it: the first packet of its key frame, and the one of the second layer that follows.
const TWO_SPATIAL: [u8; 33] = [
    0xc0, 0x00, 0x01, 0xc0, 0x03, 0x18, 0x7a, 0xaa, 0xf1, 0x30, 0xa0, 0xa0, 0x14, 0xd1, 0x41, 0x38,
    0x23, 0x04, 0x60, 0x08, 0x64, 0x22, 0x22, 0x26, 0x50, 0x13, 0xf0, 0x0b, 0x30, 0x27, 0xf0, 0x16,
    0x73,
];

#[test]
fn two_spatial_layers_of_chromium() {
    let mut reader = Reader::default();
    assert_eq!(sizes(&reader), []);
    let lower = read(&mut reader, &TWO_SPATIAL);
    assert_eq!((lower.spatial, lower.temporal, lower.opens), (0, 0, 0b10));
    assert_eq!(sizes(&reader), [PictureSize::new(320, 180), PictureSize::new(640, 360)]);
    let upper = read(&mut reader, &[0xc4, 0, 2]);
    assert_eq!((upper.spatial, upper.temporal, upper.first, upper.last), (1, 0, true, true));
    let high = read(&mut reader, &[0xc2, 0, 3]);
    assert_eq!((high.spatial, high.temporal, high.opens), (0, 1, 0));
    let next = read(&mut reader, &[0xc1, 0, 5]);
    assert_eq!(
        (next.spatial, next.temporal, next.opens),
        (0, 0, 0),
        "the upper layer needs its own before"
    );
}

#[test]
fn the_place_of_a_packet_in_its_frame() {
    let mut reader = Reader::default();
    read(&mut reader, &KEY_FRAME);
    let ends = |byte| {
        let frame = read(&mut Reader { structure: None }, &[&[byte], &KEY_FRAME[1..]].concat());
        (frame.first, frame.last)
    };
    assert_eq!(
        [ends(0x80), ends(0x00), ends(0x40)],
        [(true, false), (false, false), (false, true)]
    );
}

#[test]
fn a_template_that_is_not_known_is_nothing_to_go_by() {
    let mut reader = Reader::default();
    read(&mut reader, &KEY_FRAME);
    for id in 5..64 {
        assert_eq!(reader.read(&[0xc0 | id, 0, 9]), Ok(None), "template {id} of five");
    }
    // What a packet says for itself goes before its template: nobody can switch with this one.
    let own = [0xc1, 0, 9, 0b0010_0000, 0b0001_0100];
    assert_eq!(read(&mut reader, &own).switch_up_to, 0);
    assert_eq!(reader.read(&own[..4]), Err(RtpError::DependencyMalformed));
}

#[test]
fn every_truncation_is_refused() {
    for len in (0..KEY_FRAME.len()).filter(|len| *len != MANDATORY) {
        let refused = Reader::default().read(&KEY_FRAME[..len]);
        assert_eq!(refused, Err(RtpError::DependencyMalformed), "cut at {len}");
    }
}

/// Bits, the highest of a byte first.
fn bytes(bits: &str) -> Vec<u8> {
    let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
    bits.chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |sum, (i, bit)| sum | bit << (7 - i)))
        .collect()
}

/// A key frame's descriptor with templates of these layers (next layer codes), one decode target and these indications.
fn structure(layers: &str, indications: &str) -> Vec<u8> {
    let templates = layers.split(' ').count();
    // No references, no chains, no resolutions.
    let rest = "0".repeat(templates + 2);
    bytes(&format!(
        "11000000 00000000 00000001 10000 000000 00000 {layers} {indications} {rest} 0000000"
    ))
}

#[test]
fn structures_that_contradict_themselves_are_refused_and_forgotten() {
    let refused = |data: &[u8]| {
        let mut reader = Reader::default();
        read(&mut reader, &KEY_FRAME);
        let refused = reader.read(data) == Err(RtpError::DependencyMalformed);
        assert!(!refused || reader.read(&BEHIND[0]) == Ok(None), "the one before is no help");
        refused
    };
    assert!(!refused(&structure("00 11", "10 10")));
    assert!(refused(&structure("00 11", "00 00")), "a decode target without a frame");
    let layers = |step: &str, count: usize| format!("{}11", format!("{step} ").repeat(count));
    let all = |count: usize| "10 ".repeat(count + 1);
    assert!(!refused(&structure(&layers("01", 7), &all(7))), "eight temporal layers");
    assert!(refused(&structure(&layers("01", 8), &all(8))));
    assert!(!refused(&structure(&layers("10", 3), &all(3))), "four spatial layers");
    assert!(refused(&structure(&layers("10", 4), &all(4))));
    assert!(!refused(&structure(&layers("00", 63), &all(63))), "64 templates");
    assert!(refused(&structure(&layers("00", 64), &all(64))));
}

#[test]
fn frame_numbers_are_shifted_in_place_and_wrap() {
    let mut data = TWO_SPATIAL;
    shift_frame_number(&mut data, u16::MAX);
    assert_eq!(frame_number(&data), Some(0));
    shift_frame_number(&mut data, u16::MAX);
    assert_eq!(frame_number(&data), Some(u16::MAX));
    assert_eq!((data[0], &data[3..]), (TWO_SPATIAL[0], &TWO_SPATIAL[3..]));
    let mut short = [0xc0, 7];
    shift_frame_number(&mut short, 1);
    assert_eq!((frame_number(&short), short), (None, [0xc0, 7]));
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_bounds(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..48), 1..8),
        honest in any::<bool>(),
    ) {
        let mut reader = Reader::default();
        if honest {
            read(&mut reader, &KEY_FRAME);
        }
        for packet in packets {
            if let Ok(Some(frame)) = reader.read(&packet) {
                prop_assert!(frame.spatial < MAX_SPATIAL && frame.temporal < MAX_TEMPORAL);
                prop_assert!((frame.temporal..MAX_TEMPORAL).contains(&frame.switch_up_to));
                prop_assert_eq!(frame.opens & ((2 << frame.spatial) - 1), 0);
            }
        }
    }
}
