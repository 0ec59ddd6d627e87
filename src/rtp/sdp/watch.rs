//! Our offer to a viewer: one data m-line and fixed slots, in one dialect for everybody.

use super::media::{Direction, described_id, reported_id, usable_kind};
use super::parse::{Description, Section};
use super::payloads::{self, Format, OPUS_PT, Payload};
use super::peer::peer_session;
use super::write::{MediaLine, Writer};
use super::{LocalSession, PeerSession, SdpError, Setup};
use crate::rtp::track::{Codec, CodecParameters, ExtensionIds, FeedbackKinds, TrackOut};
use signaling::media::{MediaKind, Seat};

/// SCTP port of the data channels, ours and theirs (RFC 8841).
pub const SCTP_PORT: u16 = 5000;
/// Largest data channel message we accept, in bytes.
pub const MAX_MESSAGE_SIZE: usize = 16_384;

/// Header extension id of the transport-wide number in our offers. Sound carries none: it has no stream for
/// repairs (see `sfu::subscription`).
const TRANSPORT_CC: u8 = 3;

/// Header extension id of the dependency descriptor in our offers. Browsers put it into no answer unless it is offered: as
/// receivers they do not ask for it.
const DEPENDENCY: u8 = 4;

/// Mid of the data m-line.
const DATA_MID: &str = "d";

/// RED in our offers, under libwebrtc's number.
const RED_PT: u8 = 63;

/// Opus as every viewer gets it: in RED, if the viewer knows that and the publisher sends it.
const AUDIO: [Payload; 1] = [opus()];

/// The video codecs every viewer is offered, VP8 (the common ground) first. One profile each:
/// a browser needs seconds, not milliseconds, to negotiate them all for nine slots.
const VIDEO: [Payload; 4] = [
    dialect(Codec::Vp8, 96, Some(97), Format::Vp8),
    dialect(Codec::Vp9, 98, Some(99), Format::Vp9 { explicit: true }),
    dialect(Codec::H264, 102, Some(103), Format::H264 { profile_level_id: Some(0x42_e01f) }),
    dialect(Codec::Av1, 104, Some(105), Format::Av1 { level: Some(5), tier: Some(0) }),
];

const fn opus() -> Payload {
    let mut opus = dialect(Codec::Opus, OPUS_PT, None, Format::Opus { stereo: true });
    opus.parameters.red_pt = Some(RED_PT);
    opus
}

const fn dialect(codec: Codec, pt: u8, rtx_pt: Option<u8>, format: Format) -> Payload {
    let video = rtx_pt.is_some();
    Payload {
        parameters: CodecParameters { codec, pt, rtx_pt, red_pt: None },
        format,
        feedback: FeedbackKinds {
            nack: video,
            pli: video,
            fir: video,
            transport_cc: video,
            remb: video,
        },
    }
}

/// The offer of one watch transport. It owns the slots for the life of the transport: mids and
/// SSRCs never change, growing only appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchOffer {
    slots: Vec<TrackOut>,
    guest_seats: u8,
    data_channels: bool,
}

/// A viewer's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchAnswer {
    /// The viewer's half; its `setup` is [`Setup::Passive`], so we are the DTLS client.
    pub peer: PeerSession,
    /// The slots it accepted, each with the codecs it accepted.
    pub tracks: Vec<TrackOut>,
    /// It accepted the data m-line.
    pub data_channels: bool,
}

impl WatchOffer {
    /// Slots for host, screen and `guest_seats` guests (at most [`Seat::MAX_GUEST`]), in the order
    /// `a0 v0 s a1 v1 ...` after the data m-line. `ssrc` yields random numbers; zero and repeats
    /// are asked for again.
    #[must_use]
    pub fn new(guest_seats: u8, data_channels: bool, ssrc: &mut dyn FnMut() -> u32) -> Self {
        let mut offer = Self { slots: Vec::new(), guest_seats: 0, data_channels };
        offer.add_slot(Seat::HOST, MediaKind::Audio, ssrc);
        offer.add_slot(Seat::HOST, MediaKind::Video, ssrc);
        offer.add_slot(Seat::SCREEN, MediaKind::Video, ssrc);
        offer.grow(guest_seats, ssrc);
        offer
    }

    /// Append slots up to `guest_seats`; never shrinks. The next [`Self::offer`] needs a new
    /// version of the same session. `false` = nothing was added.
    pub fn grow(&mut self, guest_seats: u8, ssrc: &mut dyn FnMut() -> u32) -> bool {
        let wanted = guest_seats.min(Seat::MAX_GUEST);
        let grows = wanted > self.guest_seats;
        while self.guest_seats < wanted {
            self.guest_seats += 1;
            self.add_slot(Seat(self.guest_seats), MediaKind::Audio, ssrc);
            self.add_slot(Seat(self.guest_seats), MediaKind::Video, ssrc);
        }
        grows
    }

    /// All slots with everything we offered, in the order of the m-lines.
    #[must_use]
    pub fn slots(&self) -> &[TrackOut] {
        &self.slots
    }

    /// Guest seats with slots.
    #[must_use]
    pub const fn guest_seats(&self) -> u8 {
        self.guest_seats
    }

    /// The offer as SDP: `setup:active`, one bundle, all candidates in the first m-line. The same
    /// function serves the join, a growth and an ICE restart.
    #[must_use]
    pub fn offer(&self, local: &LocalSession<'_>) -> String {
        let setup = Setup::Active.as_str();
        let data = self.data_channels.then_some(DATA_MID);
        let mids: Vec<&str> =
            data.into_iter().chain(self.slots.iter().map(|slot| slot.mid.as_str())).collect();
        let mut writer = Writer::new(local, &mids);
        if let Some(mid) = data {
            writer.data(local, mid, setup, (SCTP_PORT, MAX_MESSAGE_SIZE));
        }
        for slot in &self.slots {
            let line = MediaLine {
                kind: kind_name(slot.kind),
                protocol: "UDP/TLS/RTP/SAVPF",
                mid: Some(&slot.mid),
                direction: "sendonly",
                setup,
                rtcp_rsize: true,
                payloads: payloads_of(slot.kind),
                extensions: ExtensionIds {
                    transport_cc: slot.transport_cc,
                    dependency: slot.dependency,
                    ..ExtensionIds::default()
                },
            };
            writer.media(local, &line);
            let stream = stream_name(slot.seat);
            writer.source(&stream, &slot.mid, slot.ssrc, slot.rtx_ssrc);
        }
        writer.finish()
    }

    /// Read the viewer's answer to the last offer.
    ///
    /// # Errors
    /// [`SdpError::AnswerMismatch`] if its m-lines are not those of the offer, and whatever else
    /// is wrong with it.
    pub fn parse_answer(&self, text: &str) -> Result<WatchAnswer, SdpError> {
        let description = Description::parse(text)?;
        let sections = description.sections.as_slice();
        let (data, media) = match sections.split_first() {
            Some((first, rest)) if self.data_channels => (Some(first), rest),
            _ => (None, sections),
        };
        let data_channels = match data {
            Some(section) if is_answer_to(section, "application", DATA_MID) => {
                !section.is_rejected()
            }
            Some(_) => return Err(SdpError::AnswerMismatch),
            None => false,
        };
        if media.len() != self.slots.len() {
            return Err(SdpError::AnswerMismatch);
        }
        let mut tracks = Vec::with_capacity(media.len());
        for (slot, section) in self.slots.iter().zip(media) {
            if !is_answer_to(section, kind_name(slot.kind), &slot.mid) {
                return Err(SdpError::AnswerMismatch);
            }
            tracks.extend(accepted(&description, section, slot)?);
        }
        let carrier = sections
            .iter()
            .find(|section| !section.is_rejected())
            .ok_or(SdpError::NoUsableMedia)?;
        let peer = peer_session(&description, carrier, Setup::Passive)?;
        if peer.setup != Setup::Passive {
            return Err(SdpError::BadSetup);
        }
        Ok(WatchAnswer { peer, tracks, data_channels })
    }

    fn add_slot(&mut self, seat: Seat, kind: MediaKind, ssrc: &mut dyn FnMut() -> u32) {
        let payloads = payloads_of(kind);
        let first = self.fresh_ssrc(None, ssrc);
        let rtx_ssrc = (kind == MediaKind::Video).then(|| self.fresh_ssrc(Some(first), ssrc));
        self.slots.push(TrackOut {
            seat,
            kind,
            mid: slot_mid(seat, kind),
            ssrc: first,
            rtx_ssrc,
            codecs: payloads.iter().map(|payload| payload.parameters).collect(),
            transport_cc: (kind == MediaKind::Video).then_some(TRANSPORT_CC),
            dependency: (kind == MediaKind::Video).then_some(DEPENDENCY),
        });
    }

    fn fresh_ssrc(&self, other: Option<u32>, ssrc: &mut dyn FnMut() -> u32) -> u32 {
        let used = |number: u32| {
            Some(number) == other
                || self
                    .slots
                    .iter()
                    .any(|slot| slot.ssrc == number || slot.rtx_ssrc == Some(number))
        };
        // At most twenty slots: a generator that fails this often is broken, and counting up
        // from its number still ends with a free one.
        let mut number = ssrc();
        for _ in 0..8 {
            if number != 0 && !used(number) {
                return number;
            }
            number = ssrc();
        }
        while number == 0 || used(number) {
            number = number.wrapping_add(1);
        }
        number
    }
}

/// `a0 v0 s a1 v1 ...`.
fn slot_mid(seat: Seat, kind: MediaKind) -> String {
    match (seat, kind) {
        (Seat::SCREEN, _) => "s".into(),
        (Seat(number), MediaKind::Audio) => format!("a{number}"),
        (Seat(number), MediaKind::Video) => format!("v{number}"),
    }
}

/// The `MediaStream` id of a seat: the browser hands both tracks of a seat out in one stream.
pub(super) fn stream_name(seat: Seat) -> String {
    match seat {
        Seat::SCREEN => "screen".into(),
        Seat(number) => format!("seat{number}"),
    }
}

const fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

const fn payloads_of(kind: MediaKind) -> &'static [Payload] {
    match kind {
        MediaKind::Audio => &AUDIO,
        MediaKind::Video => &VIDEO,
    }
}

/// A rejected section may have lost its mid; its place says which it is.
fn is_answer_to(section: &Section<'_>, kind: &str, mid: &str) -> bool {
    section.kind == kind && section.mid.map_or(section.is_rejected(), |answered| answered == mid)
}

/// The slot with the codecs the answer kept; `None` = rejected or inactive. An answer can only
/// choose among our payload types, so one that means something else is ignored.
fn accepted(
    description: &Description<'_>,
    section: &Section<'_>,
    slot: &TrackOut,
) -> Result<Option<TrackOut>, SdpError> {
    if usable_kind(section) != Some(slot.kind) || !Direction::of(description, section).receives() {
        return Ok(None);
    }
    let answered = payloads::read(description, section, slot.kind)?;
    let mut codecs = Vec::with_capacity(slot.codecs.len());
    for payload in &answered {
        let theirs = payload.parameters;
        let ours = slot.codecs.iter().find(|own| own.pt == theirs.pt && own.codec == theirs.codec);
        if let Some(own) = ours {
            let rtx_pt = own.rtx_pt.filter(|pt| theirs.rtx_pt == Some(*pt));
            let red_pt = own.red_pt.filter(|pt| theirs.red_pt == Some(*pt));
            codecs.push(CodecParameters { rtx_pt, red_pt, ..*own });
        }
    }
    if codecs.is_empty() {
        return Ok(None);
    }
    let has_rtx = codecs.iter().any(|codec| codec.rtx_pt.is_some());
    let rtx_ssrc = slot.rtx_ssrc.filter(|_| has_rtx);
    let reported = reported_id(description, section, &answered);
    let transport_cc = slot.transport_cc.filter(|id| reported == Some(*id));
    let described = described_id(description, section, &answered);
    let dependency = slot.dependency.filter(|id| described == Some(*id));
    Ok(Some(TrackOut { codecs, rtx_ssrc, transport_cc, dependency, ..slot.clone() }))
}
