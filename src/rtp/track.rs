//! What a negotiated m-line means, after SDP and before packets: the tracks a transport sends us
//! ([`TrackIn`]) and those we send it ([`TrackOut`]).

use signaling::media::{MediaKind, Seat};

/// A codec we forward. Nothing is transcoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// RFC 7587; clock 48 000 Hz.
    Opus = 0,
    /// RFC 7741.
    Vp8 = 1,
    /// RFC 9628, profile 0.
    Vp9 = 2,
    /// RFC 6184, constrained baseline, packetization-mode 1.
    H264 = 3,
    /// AOM "RTP Payload Format For AV1", profile 0.
    Av1 = 4,
}

impl Codec {
    /// Every codec, in the order of the discriminants.
    pub const ALL: [Self; 5] = [Self::Opus, Self::Vp8, Self::Vp9, Self::H264, Self::Av1];

    /// RTP clock rate in Hz.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            _ => 90_000,
        }
    }

    /// Audio or video.
    #[must_use]
    pub const fn kind(self) -> MediaKind {
        match self {
            Self::Opus => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }
}

/// One accepted payload type of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecParameters {
    /// The codec.
    pub codec: Codec,
    /// Its payload type on this transport, 0-127.
    pub pt: u8,
    /// The payload type of its RTX (RFC 4588), if both sides know it.
    pub rtx_pt: Option<u8>,
    /// The payload type of RED (RFC 2198) that repeats it, if both sides know it; Opus alone.
    pub red_pt: Option<u8>,
}

impl CodecParameters {
    /// Media comes under this payload type: its own, or that of its RED.
    #[must_use]
    pub fn carries(&self, payload_type: u8) -> bool {
        self.pt == payload_type || self.red_pt == Some(payload_type)
    }
}

/// Header extension ids of a transport (RFC 8285, 1-14); `None` = not negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionIds {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`
    pub repaired_rid: Option<u8>,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub transport_cc: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    pub audio_level: Option<u8>,
    /// Dependency descriptor (AOM "RTP Payload Format For AV1" 1.0, appendix A).
    pub dependency: Option<u8>,
}

/// RTCP feedback the publisher accepts for a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedbackKinds {
    /// Generic NACK (RFC 4585).
    pub nack: bool,
    /// Picture loss indication; sent to publishers even when absent, as some honour it unasked.
    pub pli: bool,
    /// Full intra request (RFC 5104).
    pub fir: bool,
    /// Transport-wide congestion control feedback.
    pub transport_cc: bool,
    /// Receiver estimated maximum bitrate.
    pub remb: bool,
}

/// A track a publisher sends us: one accepted m-line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackIn {
    /// Its mid.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// Accepted payload types, in the publisher's order of preference.
    pub codecs: Vec<CodecParameters>,
    /// Header extension ids of this m-line.
    pub extensions: ExtensionIds,
    /// What the publisher understands.
    pub feedback: FeedbackKinds,
    /// Primary SSRC announced by `a=ssrc`, if any; otherwise learned by mid or payload type.
    pub ssrc: Option<u32>,
    /// Its RTX SSRC announced by `a=ssrc-group:FID`.
    pub rtx_ssrc: Option<u32>,
    /// Its simulcast layers by rid (RFC 8851, RFC 8853), at most [`MAX_LAYERS`], in no order of quality;
    /// empty = one encoding, without a rid.
    pub rids: Vec<String>,
}

impl TrackIn {
    /// Encodings that may arrive: at least one.
    #[must_use]
    pub fn layers(&self) -> u8 {
        self.rids.len().clamp(1, MAX_LAYERS) as u8
    }
}

/// Simulcast layers of one track. Trade: browsers encode three; each costs a packet cache here, and encoding
/// time at the publisher.
pub const MAX_LAYERS: usize = 3;

/// A track we send: one slot m-line of a watch transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackOut {
    /// The seat it shows.
    pub seat: Seat,
    /// Audio or video.
    pub kind: MediaKind,
    /// Its mid.
    pub mid: String,
    /// Our SSRC for it, unique on the transport and constant for its life.
    pub ssrc: u32,
    /// Our RTX SSRC (video with RTX only).
    pub rtx_ssrc: Option<u32>,
    /// Payload type per codec on this transport, as the peer accepted them.
    pub codecs: Vec<CodecParameters>,
    /// Header extension id of the transport-wide number (1-14), if the peer tells what of it arrives.
    pub transport_cc: Option<u8>,
    /// Header extension id of the dependency descriptor (1-14), if the peer reads it, in both forms of RFC 8285.
    pub dependency: Option<u8>,
}

impl TrackOut {
    /// Header extension id under which its packets carry transport-wide numbers: only where the repairs of every
    /// codec have a stream of their own. What goes out twice under one SRTP index must be the same bytes twice
    /// (RFC 3711, section 9.1), and a number of its own would make it other bytes.
    #[must_use]
    pub fn wide_id(&self) -> Option<u8> {
        let repairs = self.rtx_ssrc.is_some() && self.codecs.iter().all(|c| c.rtx_pt.is_some());
        self.transport_cc.filter(|_| repairs)
    }
}
