//! Descriptors by hand, prefixes of real packets of FFmpeg, every truncation, any bytes.

use proptest::prelude::*;

use super::*;
use crate::rtp::error::RtpError::{DescriptorTooShort, EmptyPayload};

const VIDEO: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

fn facts(codec: Codec, payload: &[u8]) -> FrameFacts {
    describe(codec, payload).expect("well-formed")
}

fn starts(codec: Codec, payload: &[u8]) -> (bool, bool) {
    let facts = facts(codec, payload);
    (facts.frame_start, facts.key_frame_start)
}

/// Refused at every length below `needed`, accepted from there on.
fn refused_below(codec: Codec, payload: &[u8], needed: usize) {
    for len in 0..=payload.len() {
        let found = describe(codec, &payload[..len]).map(|_| ());
        let expected = match len {
            0 => Err(EmptyPayload),
            _ if len < needed => Err(DescriptorTooShort),
            _ => Ok(()),
        };
        assert_eq!(found, expected, "{codec:?} cut at {len}");
    }
}

#[test]
fn vp8_full_descriptor_as_chromium_sends_it() {
    let payload = [0x90, 0xe0, 0xd2, 0x34, 0x77, 0x60, 0x10, 0x02, 0x00];
    let found = facts(Codec::Vp8, &payload);
    assert_eq!((found.frame_start, found.key_frame_start), (true, true));
    let picture_id = PictureId { value: 0x5234, offset: 2, wide: true };
    assert_eq!(found.picture_id, Some(picture_id));
    assert_eq!(found.tl0_pic_idx, Some(Tl0PicIdx { value: 0x77, offset: 4 }));
    assert_eq!((found.temporal_id, found.layer_sync), (Some(1), true));
    assert_eq!(found.patch_len(), 5);
    refused_below(Codec::Vp8, &payload, 7);
}

#[test]
fn vp8_forms_of_the_descriptor() {
    // Narrow picture id.
    let found = facts(Codec::Vp8, &[0x90, 0x80, 0x7f, 0x01]);
    assert_eq!(found.picture_id, Some(PictureId { value: 127, offset: 2, wide: false }));
    assert_eq!((found.key_frame_start, found.patch_len()), (false, 3));
    // TL0PICIDX and TID without a picture id.
    let found = facts(Codec::Vp8, &[0x80, 0x60, 9, 0x80, 0x00]);
    assert_eq!(found.tl0_pic_idx, Some(Tl0PicIdx { value: 9, offset: 2 }));
    assert_eq!(found.temporal_id, Some(2));
    // KEYIDX alone has no temporal layer.
    assert_eq!(facts(Codec::Vp8, &[0x80, 0x10, 0xe0, 0x00]).temporal_id, None);
    // No extension; later partitions and continuations start nothing, N marks the disposable.
    assert_eq!(starts(Codec::Vp8, &[0x10, 0x00]), (true, true));
    assert_eq!(starts(Codec::Vp8, &[0x11, 0x00]), (false, false));
    assert_eq!(starts(Codec::Vp8, &[0x00, 0x00]), (false, false));
    assert!(facts(Codec::Vp8, &[0x30, 0x01]).discardable);
}

#[test]
fn vp8_packets_of_ffmpeg() {
    assert_eq!(starts(Codec::Vp8, &[0x90, 0x80, 0x80, 0x00, 0x30, 0x55, 0x00]), (true, true));
    assert_eq!(starts(Codec::Vp8, &[0x80, 0x80, 0x80, 0x00, 0x95, 0xa5, 0x7d]), (false, false));
    let inter = [0x90, 0x80, 0x80, 0x21, 0x71, 0x0a, 0x00];
    assert_eq!(starts(Codec::Vp8, &inter), (true, false));
    assert_eq!(facts(Codec::Vp8, &inter).picture_id.map(|id| id.value), Some(33));
}

#[test]
fn vp9_non_flexible_with_scalability_structure() {
    // I L B V; picture id 15 bits; layers T0 U S0; TL0PICIDX; SS: 2 layers with sizes, 1 picture.
    let payload =
        [0xaa, 0x81, 0x02, 0x10, 0x55, 0x38, 0, 10, 0, 20, 0, 30, 0, 40, 1, 0x04, 1, 0x82, 0x49];
    let found = facts(Codec::Vp9, &payload);
    assert_eq!((found.frame_start, found.key_frame_start), (true, true));
    assert_eq!(found.picture_id, Some(PictureId { value: 0x102, offset: 1, wide: true }));
    assert_eq!(found.tl0_pic_idx, Some(Tl0PicIdx { value: 0x55, offset: 4 }));
    assert_eq!((found.temporal_id, found.spatial_id), (Some(0), Some(0)));
    assert!(found.layer_sync);
    refused_below(Codec::Vp9, &payload, 15 + 2);
}

#[test]
fn vp9_flexible_mode_skips_references_and_has_no_tl0() {
    // I P L F B; narrow id; T2 S1 D; two references; payload.
    let payload = [0xf8, 0x05, 0x43, 0x03, 0x04, 0x86];
    let found = facts(Codec::Vp9, &payload);
    assert_eq!((found.temporal_id, found.spatial_id), (Some(2), Some(1)));
    assert_eq!(found.tl0_pic_idx, None);
    assert_eq!(found.patch_len(), 2);
    assert!(!found.key_frame_start);
    refused_below(Codec::Vp9, &payload, 5);
    // A third reference is the last, whatever its N bit says.
    assert!(describe(Codec::Vp9, &[0x50, 0x03, 0x05, 0x07]).is_ok());
}

#[test]
fn vp9_key_frames_are_of_the_lowest_spatial_layer() {
    assert_eq!(starts(Codec::Vp9, &[0x28, 0x00, 0, 0x82]), (true, true));
    assert_eq!(starts(Codec::Vp9, &[0x28, 0x02, 0, 0x82]), (true, false));
    assert_eq!(starts(Codec::Vp9, &[0x20, 0x00, 0, 0x82]), (false, false));
    assert_eq!(starts(Codec::Vp9, &[0x68, 0x00, 0, 0x82]), (true, false));
    // show_existing_frame, inter frame, profile 3 with its reserved bit, no frame at all.
    assert_eq!(starts(Codec::Vp9, &[0x08, 0x88]), (true, false));
    assert_eq!(starts(Codec::Vp9, &[0x08, 0x84]), (true, false));
    assert_eq!(starts(Codec::Vp9, &[0x08, 0xb0]), (true, true));
    assert_eq!(starts(Codec::Vp9, &[0x08, 0xb2]), (true, false));
    assert_eq!(starts(Codec::Vp9, &[0x08]), (true, false));
}

#[test]
fn vp9_packets_of_ffmpeg_which_never_sets_the_p_bit() {
    assert_eq!(starts(Codec::Vp9, &[0x08, 0xa2, 0x49, 0x83, 0x42]), (true, true));
    assert_eq!(starts(Codec::Vp9, &[0x00, 0x28, 0x70, 0x64]), (false, false));
    assert_eq!(starts(Codec::Vp9, &[0x0c, 0xa6, 0x00, 0x40, 0x92]), (true, false));
}

#[test]
fn h264_units_that_start_a_picture() {
    assert_eq!(starts(Codec::H264, &[0x67, 0x42, 0xc0]), (true, true), "SPS");
    assert_eq!(starts(Codec::H264, &[0x68, 0xcb]), (true, false), "PPS");
    assert_eq!(starts(Codec::H264, &[0x65, 0x88]), (true, true), "IDR");
    assert_eq!(starts(Codec::H264, &[0x65, 0x03]), (false, false), "second slice of an IDR");
    assert_eq!(starts(Codec::H264, &[0x41, 0x9a]), (true, false), "P");
    assert_eq!(starts(Codec::H264, &[0x06, 0x05]), (false, false), "SEI");
    assert_eq!(starts(Codec::H264, &[0x7c, 0x85, 0x88]), (true, true), "FU-A start of an IDR");
    assert_eq!(starts(Codec::H264, &[0x7c, 0x05, 0x88]), (false, false), "FU-A middle");
    assert_eq!(starts(Codec::H264, &[0x7c, 0x45, 0x88]), (false, false), "FU-A end");
    assert!(facts(Codec::H264, &[0x01, 0x9a]).discardable);
    assert!(facts(Codec::H264, &[0x1c, 0x41, 0x9a]).discardable);
    assert!(!facts(Codec::H264, &[0x41, 0x9a]).discardable);
    refused_below(Codec::H264, &[0x7c, 0x85, 0x88], 2);
}

#[test]
fn h264_aggregates_of_ffmpeg_and_lying_ones() {
    let mut stap = vec![0x18, 0, 0x19, 0x67, 0x42, 0xc0, 0x0c];
    stap.resize(3 + 0x19, 0x11);
    stap.extend_from_slice(&[0, 5, 0x68, 0xcb, 0x83, 0xcb, 0x20]);
    assert_eq!(starts(Codec::H264, &stap), (true, true));
    assert!(!facts(Codec::H264, &stap).discardable, "FFmpeg writes nal_ref_idc 0 here");
    for len in 1..stap.len() {
        let whole_first_unit = len == 3 + 0x19;
        assert_eq!(describe(Codec::H264, &stap[..len]).is_ok(), whole_first_unit, "cut at {len}");
    }
    assert_eq!(describe(Codec::H264, &[0x18, 0, 0]), Err(DescriptorTooShort));
    assert_eq!(describe(Codec::H264, &[0x18, 0xff, 0xff, 0x67]), Err(DescriptorTooShort));
    // A P slice of FFmpeg in an aggregate.
    assert_eq!(starts(Codec::H264, &[0x18, 0, 4, 0x41, 0x9a, 0x38, 0x08]), (true, false));
}

#[test]
fn av1_packets_of_ffmpeg() {
    let first = [
        0x68, 0x0e, 0x08, 0x20, 0x00, 0x00, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x20, 0x21, 0xa0,
        0x04, 0x30, 0x10, 0x08,
    ];
    assert_eq!(starts(Codec::Av1, &first), (true, true));
    refused_below(Codec::Av1, &first, 16);
    assert_eq!(starts(Codec::Av1, &[0xd0, 0x1c, 0xcd]), (false, false));
    assert_eq!(starts(Codec::Av1, &[0x10, 0x30, 0x30, 0x0e]), (true, false));
}

#[test]
fn av1_elements_and_layers() {
    // W=0: two elements with lengths; the sequence header counts although N is clear.
    assert_eq!(starts(Codec::Av1, &[0x00, 1, 0x08, 2, 0x30, 0]), (true, true));
    // A continued element is not an OBU header, though its bytes may look like one.
    assert_eq!(starts(Codec::Av1, &[0x90, 0x08]), (false, false));
    assert_eq!(starts(Codec::Av1, &[0xa0, 1, 0x08, 0x30]), (false, false));
    let layered = facts(Codec::Av1, &[0x10, 0x34, 0x48, 0]);
    assert_eq!((layered.temporal_id, layered.spatial_id), (Some(2), Some(1)));
    for hostile in [
        &[0x00][..],                                                // nothing behind the header
        &[0x10, 0x34],                                              // layer ids cut off
        &[0x20, 5, 0x30],                                           // lying length
        &[0x20, 0x80],                                              // LEB128 cut off
        &[0x20, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],    // LEB128 too long
        &[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0], // 2^56 bytes
    ] {
        let found = describe(Codec::Av1, hostile);
        assert_eq!(found, Err(DescriptorTooShort), "{hostile:x?}");
    }
}

#[test]
fn audio_is_always_a_start() {
    assert_eq!(starts(Codec::Opus, &[0xf8]), (true, true));
    assert_eq!(describe(Codec::Opus, &[]), Err(EmptyPayload));
}

#[test]
fn patching_keeps_the_width_and_wraps() {
    let mut wide = [0x90, 0xc0, 0xff, 0xff, 0xff, 0x01];
    let found = facts(Codec::Vp8, &wide);
    patch(&mut wide, &found, PictureShift { picture_id: 2, tl0_pic_idx: 3 });
    assert_eq!(wide, [0x90, 0xc0, 0x80, 0x01, 0x02, 0x01]);

    let mut narrow = [0x90, 0x80, 0x7f, 0x01];
    let found = facts(Codec::Vp8, &narrow);
    patch(&mut narrow, &found, PictureShift { picture_id: 2, tl0_pic_idx: 3 });
    assert_eq!(narrow, [0x90, 0x80, 0x01, 0x01]);

    let back = PictureShift { picture_id: 2_u16.wrapping_neg(), ..PictureShift::default() };
    let found = facts(Codec::Vp8, &narrow);
    patch(&mut narrow, &found, back);
    assert_eq!(narrow, [0x90, 0x80, 0x7f, 0x01]);
}

/// Of one picture.
fn size(codec: Codec, payload: &[u8]) -> Option<(u16, u16)> {
    let [first, more @ ..] = picture_sizes(codec, payload);
    assert_eq!(more, [None; SPATIAL_LAYERS - 1]);
    first.map(|size| (size.width, size.height))
}

#[test]
fn key_frames_of_ffmpeg_tell_their_size() {
    let vp8 = [0x90, 0x80, 0x80, 0, 0x30, 0x55, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0];
    let vp9 = [0x08, 0xa2, 0x49, 0x83, 0x42, 0xe0, 0x13, 0xf0, 0x0b, 0x36];
    let h264 = [
        0x18, 0, 0x19, 0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0, 0,
        0x03, 0, 0x10, 0, 0, 0x03, 0x01, 0xe8, 0xf1, 0x42, 0xa4, 0x80,
    ];
    let av1 =
        [0x68, 0x0e, 0x08, 0x20, 0, 0, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0x20, 0x21, 0xa0, 0x04];
    let frames: [(Codec, &[u8]); 4] =
        [(Codec::Vp8, &vp8), (Codec::Vp9, &vp9), (Codec::H264, &h264), (Codec::Av1, &av1)];
    for (codec, payload) in frames {
        assert_eq!(size(codec, payload), Some((320, 180)), "{codec:?}");
        for len in 0..payload.len() {
            let found = size(codec, &payload[..len]);
            assert!(found.is_none() || found == Some((320, 180)), "{codec:?} cut at {len}");
        }
    }
    assert_eq!(size(Codec::Vp8, &[0x10, 0x30, 0x55, 0, 0x9d, 1, 0x2b, 0x40, 1, 0xb4, 0]), None);
    assert_eq!(
        size(Codec::Vp8, &[0x10, 0x30, 0x55, 0, 0x9d, 1, 0x2a, 0, 0, 0xb4, 0]),
        None,
        "0 wide"
    );
    assert_eq!(size(Codec::H264, &[0x65, 0x88, 0x84]), None, "an IDR slice");
}

#[test]
fn a_scalability_structure_tells_all_sizes() {
    let payload =
        [0xaa, 0x81, 0x02, 0x10, 0x55, 0x38, 0, 10, 0, 20, 0, 30, 0, 40, 1, 0x04, 1, 0x82, 0x49];
    let found = picture_sizes(Codec::Vp9, &payload);
    let size = |width, height| Some(PictureSize { width, height });
    assert_eq!(found[..3], [size(10, 20), size(30, 40), None]);
}

#[test]
fn parameter_sets_of_the_high_profile_and_hostile_ones() {
    let high = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 0x03,
        0, 0x04, 0, 0, 0x03, 0, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    assert_eq!(size(Codec::H264, &high), Some((1_920, 1_080)));
    // Zeros without an end, and ones without an end.
    assert_eq!(size(Codec::H264, &[&[0x67, 0x64, 0, 0x28][..], &[0; 1_000]].concat()), None);
    let ones = [&[0x67, 0x42, 0, 0x28][..], &[0xff; 1_000]].concat();
    assert_eq!(size(Codec::H264, &ones), Some((16, 16)), "the least there is");
}

#[test]
fn vp8_without_its_temporal_layer_has_the_same_numbers() {
    let sent = [0x90, 0xe0, 0xd2, 0x34, 0x77, 0x60, 0x10, 0x02, 0x00];
    let mut hidden = sent;
    hide_temporal_layers(Codec::Vp8, &mut hidden);
    assert_eq!(hidden, [0x90, 0xd0, 0xd2, 0x34, 0x77, 0x60, 0x10, 0x02, 0x00]);
    let expected = FrameFacts { temporal_id: None, layer_sync: false, ..facts(Codec::Vp8, &sent) };
    assert_eq!(facts(Codec::Vp8, &hidden), expected);
}

proptest! {
    #[test]
    fn a_hidden_temporal_layer_is_all_that_changes(
        codec in proptest::sample::select(VIDEO.to_vec()),
        payload in proptest::collection::vec(any::<u8>(), 0..16),
    ) {
        let before = describe(codec, &payload);
        let mut hidden = payload.clone();
        hide_temporal_layers(codec, &mut hidden);
        let expected = match codec {
            Codec::Vp8 => before.map(|facts| FrameFacts { temporal_id: None, layer_sync: false, ..facts }),
            _ => before,
        };
        prop_assert_eq!(describe(codec, &hidden), expected);
        let differ = payload.iter().zip(&hidden).filter(|(before, after)| before != after).count();
        prop_assert!(differ <= usize::from(codec == Codec::Vp8));
    }

    #[test]
    fn any_bytes_of_any_codec_are_described_within_bounds(
        payload in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        for codec in VIDEO {
            let sizes = picture_sizes(codec, &payload);
            prop_assert!(sizes.into_iter().flatten().all(|size| size.area() > 0));
            if let Ok(found) = describe(codec, &payload) {
                prop_assert!(found.patch_len() <= payload.len());
                prop_assert!(!found.key_frame_start || found.frame_start);
            }
        }
    }

    /// Shifting adds exactly the shift, touches only the numbers, and its inverse restores all.
    #[test]
    fn patching_is_addition(
        mut payload in proptest::collection::vec(any::<u8>(), 1..40),
        vp9: bool, picture_id: u16, tl0_pic_idx: u8,
    ) {
        let codec = if vp9 { Codec::Vp9 } else { Codec::Vp8 };
        let original = payload.clone();
        let Ok(before) = describe(codec, &payload) else { return Ok(()) };
        let prefix = before.patch_len();
        patch(&mut payload[..prefix], &before, PictureShift { picture_id, tl0_pic_idx });
        let after = describe(codec, &payload).expect("as long as before");
        if let (Some(old), Some(new)) = (before.picture_id, after.picture_id) {
            let mask = if old.wide { 0x7fff } else { 0x7f };
            prop_assert_eq!(new.value, old.value.wrapping_add(picture_id) & mask);
            prop_assert_eq!((new.offset, new.wide), (old.offset, old.wide));
        }
        if let (Some(old), Some(new)) = (before.tl0_pic_idx, after.tl0_pic_idx) {
            prop_assert_eq!(new.value, old.value.wrapping_add(tl0_pic_idx));
        }
        let numbers = |facts: FrameFacts| FrameFacts { picture_id: None, tl0_pic_idx: None, ..facts };
        prop_assert_eq!(numbers(before), numbers(after));
        patch(&mut payload, &after, PictureShift {
            picture_id: picture_id.wrapping_neg(),
            tl0_pic_idx: tl0_pic_idx.wrapping_neg(),
        });
        prop_assert_eq!(payload, original);
    }

    #[test]
    fn a_prefix_too_short_to_patch_stays_whole(len in 0..3_usize) {
        let payload = [0x90, 0xc0, 0x80, 0x01, 0x02, 0x01];
        let found = describe(Codec::Vp8, &payload).expect("well-formed");
        let mut prefix = payload[..len].to_vec();
        patch(&mut prefix, &found, PictureShift { picture_id: 9, tl0_pic_idx: 9 });
        prop_assert_eq!(&prefix[..], &payload[..len]);
    }
}
