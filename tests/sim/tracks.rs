//! What peers negotiated: one seat's video (VP8, VP9, AV1) and sound (Opus), as sent in and as sent out.

use greenroom::rtp::track::{
    Codec, CodecParameters, ExtensionIds, FeedbackKinds, TrackIn, TrackOut,
};
use signaling::media::{MediaKind, Seat};

use super::media::{
    AUDIO_LEVEL, AV1_PT, AV1_RTX_PT, DEPENDENCY, RED_PT, REPAIRED_RID, RID, RTX_PT, SOUND_PT,
    TRANSPORT_CC, VIDEO_PT, VP9_PT, VP9_RTX_PT,
};

fn vp8() -> CodecParameters {
    CodecParameters { codec: Codec::Vp8, pt: VIDEO_PT, rtx_pt: Some(RTX_PT), red_pt: None }
}

fn vp9() -> CodecParameters {
    CodecParameters { codec: Codec::Vp9, pt: VP9_PT, rtx_pt: Some(VP9_RTX_PT), red_pt: None }
}

fn av1() -> CodecParameters {
    CodecParameters { codec: Codec::Av1, pt: AV1_PT, rtx_pt: Some(AV1_RTX_PT), red_pt: None }
}

fn opus() -> CodecParameters {
    CodecParameters { codec: Codec::Opus, pt: SOUND_PT, rtx_pt: None, red_pt: None }
}

/// The same of a client that knows RED.
fn opus_in_red() -> CodecParameters {
    CodecParameters { red_pt: Some(RED_PT), ..opus() }
}

/// The video a browser offers to send; its repairs have the next SSRC.
pub fn video_in(ssrc: u32) -> TrackIn {
    TrackIn {
        mid: "1".to_owned(),
        kind: MediaKind::Video,
        codecs: vec![vp8(), vp9(), av1()],
        extensions: ExtensionIds {
            transport_cc: Some(TRANSPORT_CC),
            dependency: Some(DEPENDENCY),
            ..ExtensionIds::default()
        },
        feedback: FeedbackKinds {
            nack: true,
            pli: true,
            transport_cc: true,
            ..FeedbackKinds::default()
        },
        ssrc: Some(ssrc),
        rtx_ssrc: Some(ssrc + 1),
        rids: Vec::new(),
    }
}

/// The same in three simulcast layers, known by their rids alone.
pub fn layers_in(ssrc: u32) -> TrackIn {
    let mut track = video_in(ssrc);
    track.extensions.rid = Some(RID);
    track.extensions.repaired_rid = Some(REPAIRED_RID);
    (track.ssrc, track.rtx_ssrc) = (None, None);
    track.rids = vec!["0".to_owned(), "1".to_owned(), "2".to_owned()];
    track
}

/// The sound a browser offers to send, in RED if it likes.
pub fn sound_in(ssrc: u32) -> TrackIn {
    TrackIn {
        mid: "0".to_owned(),
        kind: MediaKind::Audio,
        codecs: vec![opus_in_red()],
        extensions: ExtensionIds { audio_level: Some(AUDIO_LEVEL), ..ExtensionIds::default() },
        feedback: FeedbackKinds::default(),
        ssrc: Some(ssrc),
        rtx_ssrc: None,
        rids: Vec::new(),
    }
}

/// The same for a client that knows no transport-wide feedback.
#[allow(dead_code, reason = "for the simulation")]
pub fn slots_without_numbers(seat: Seat, ssrc: u32) -> Vec<TrackOut> {
    let mut slots = slots_out(seat, ssrc);
    for slot in &mut slots {
        slot.transport_cc = None;
    }
    slots
}

/// A slot for the sound of each of these seats, the first under `ssrc`.
#[allow(dead_code, reason = "for the simulation")]
pub fn sounds_out(seats: &[Seat], ssrc: u32) -> Vec<TrackOut> {
    let slots = seats.iter().zip(ssrc..).map(|(seat, ssrc)| {
        let [sound, _] = <[TrackOut; 2]>::try_from(slots_out(*seat, 0)).expect("two slots");
        TrackOut { ssrc, ..sound }
    });
    slots.collect()
}

/// The same for a client that knows RED.
#[allow(dead_code, reason = "for the simulation")]
pub fn slots_in_red(seat: Seat, ssrc: u32) -> Vec<TrackOut> {
    let mut slots = slots_out(seat, ssrc);
    slots[0].codecs = vec![opus_in_red()];
    slots
}

/// A viewer's slots for a seat, sound first: video under `ssrc`, its repairs under the next, sound
/// under the one after.
pub fn slots_out(seat: Seat, ssrc: u32) -> Vec<TrackOut> {
    let sound = TrackOut {
        seat,
        kind: MediaKind::Audio,
        mid: format!("a{}", seat.0),
        ssrc: ssrc + 2,
        rtx_ssrc: None,
        codecs: vec![opus()],
        transport_cc: None,
        dependency: None,
    };
    let video = TrackOut {
        seat,
        kind: MediaKind::Video,
        mid: format!("v{}", seat.0),
        ssrc,
        rtx_ssrc: Some(ssrc + 1),
        codecs: vec![vp8(), vp9(), av1()],
        transport_cc: Some(TRANSPORT_CC),
        dependency: Some(DEPENDENCY),
    };
    vec![sound, video]
}
