//! A WHEP player's offer and our answer: we send one seat in the player's own payload types.

use super::media::{
    Direction, check_bundle, check_rtcp_mux, described_id, reported_id, tagged, usable_kind,
};
use super::parse::{Description, Section};
use super::payloads::{self, Payload};
use super::peer::peer_session;
use super::watch::stream_name;
use super::write::{MediaLine, Writer};
use super::{DtlsPreference, LocalSession, PeerSession, SdpError, Setup};
use crate::rtp::track::{ExtensionIds, TrackOut};
use signaling::media::{MediaKind, Seat};

/// A checked offer to receive.
#[derive(Debug)]
pub struct WhepOffer<'a> {
    description: Description<'a>,
    peer: PeerSession,
    /// At most one audio and one video section, with one payload type per codec.
    wanted: Vec<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    section: usize,
    kind: MediaKind,
    payloads: Vec<Payload>,
    /// Id of the transport-wide number, if the player tells what of it arrives.
    transport_cc: Option<u8>,
    /// Id of the dependency descriptor, if the player reads it.
    dependency: Option<u8>,
}

/// Our answer and what it agreed to.
#[derive(Debug, Clone)]
pub struct WhepAnswer {
    /// The SDP to send back.
    pub sdp: String,
    /// Our DTLS role: [`Setup::Active`] or [`Setup::Passive`].
    pub setup: Setup,
    /// The tracks we will send.
    pub tracks: Vec<TrackOut>,
}

impl<'a> WhepOffer<'a> {
    /// Read an offer. The first audio and the first video section that receive and know a codec
    /// of ours are served; the others will be answered rejected.
    ///
    /// # Errors
    /// Whatever is wrong with it, by name.
    pub fn parse(text: &'a str) -> Result<Self, SdpError> {
        let description = Description::parse(text)?;
        let mut wanted: Vec<Wanted> = Vec::with_capacity(2);
        let mut seen = false;
        for (index, section) in description.sections.iter().enumerate() {
            let Some(kind) = usable_kind(section) else { continue };
            let taken = wanted.iter().any(|other| other.kind == kind);
            if taken || !Direction::of(&description, section).receives() {
                continue;
            }
            seen = true;
            let mut payloads = one_per_codec(payloads::read(&description, section, kind)?);
            let transport_cc =
                reported_id(&description, section, &payloads).filter(|_| kind == MediaKind::Video);
            if transport_cc.is_none() {
                payloads.iter_mut().for_each(|payload| payload.feedback.transport_cc = false);
            }
            let dependency = described_id(&description, section, &payloads);
            if !payloads.is_empty() {
                wanted.push(Wanted { section: index, kind, payloads, transport_cc, dependency });
            }
        }
        if wanted.is_empty() {
            return Err(if seen { SdpError::NoCommonCodec } else { SdpError::NoUsableMedia });
        }
        let sections: Vec<&Section<'_>> =
            wanted.iter().filter_map(|want| description.sections.get(want.section)).collect();
        check_bundle(&description, &sections)?;
        check_rtcp_mux(&description, &sections)?;
        let tagged = tagged(&description, &sections).ok_or(SdpError::NoUsableMedia)?;
        let peer = peer_session(&description, tagged, Setup::ActPass)?;
        Ok(Self { description, peer, wanted })
    }

    /// The player's half.
    #[must_use]
    pub const fn peer(&self) -> &PeerSession {
        &self.peer
    }

    /// Serve it with `seat`. `ssrc` yields random numbers.
    #[must_use]
    pub fn answer(
        &self,
        local: &LocalSession<'_>,
        preferred: DtlsPreference,
        seat: Seat,
        ssrc: &mut dyn FnMut() -> u32,
    ) -> WhepAnswer {
        let setup = self.peer.setup.answer(preferred);
        let bundled = self.description.bundle().is_some();
        let sections = &self.description.sections;
        let mids: Vec<&str> = self
            .wanted
            .iter()
            .filter_map(|want| sections.get(want.section)?.mid)
            .filter(|_| bundled)
            .collect();
        let mut writer = Writer::new(local, &mids);
        let mut tracks: Vec<TrackOut> = Vec::with_capacity(2);
        for (index, section) in sections.iter().enumerate() {
            match self.wanted.iter().find(|want| want.section == index) {
                Some(want) => {
                    let track = want.track(section, seat, &tracks, ssrc);
                    want.write(&mut writer, local, section, setup);
                    let name = format!("{}-{}", stream_name(seat), section.kind);
                    writer.source(&stream_name(seat), &name, track.ssrc, track.rtx_ssrc);
                    tracks.push(track);
                }
                None => writer.rejected(section),
            }
        }
        WhepAnswer { sdp: writer.finish(), setup, tracks }
    }
}

impl Wanted {
    fn track(
        &self,
        section: &Section<'_>,
        seat: Seat,
        others: &[TrackOut],
        ssrc: &mut dyn FnMut() -> u32,
    ) -> TrackOut {
        let mut used: Vec<u32> =
            others.iter().flat_map(|track| [Some(track.ssrc), track.rtx_ssrc]).flatten().collect();
        let mut fresh = || {
            let mut number = ssrc();
            while number == 0 || used.contains(&number) {
                number = number.wrapping_add(1);
            }
            used.push(number);
            number
        };
        let has_rtx = self.payloads.iter().any(|payload| payload.parameters.rtx_pt.is_some());
        TrackOut {
            seat,
            kind: self.kind,
            mid: section.mid.map_or_else(|| self.section.to_string(), str::to_owned),
            ssrc: fresh(),
            rtx_ssrc: has_rtx.then(&mut fresh),
            codecs: self.payloads.iter().map(|payload| payload.parameters).collect(),
            transport_cc: self.transport_cc,
            dependency: self.dependency,
        }
    }

    fn write(
        &self,
        writer: &mut Writer,
        local: &LocalSession<'_>,
        section: &Section<'_>,
        setup: Setup,
    ) {
        let line = MediaLine {
            kind: section.kind,
            protocol: section.protocol,
            mid: section.mid,
            direction: "sendonly",
            setup: setup.as_str(),
            rtcp_rsize: section.has("rtcp-rsize"),
            payloads: &self.payloads,
            extensions: ExtensionIds {
                transport_cc: self.transport_cc,
                dependency: self.dependency,
                ..ExtensionIds::default()
            },
        };
        writer.media(local, &line);
    }
}

/// A viewer's dialect has one payload type per codec: the player's first, but constrained
/// baseline before any other H.264, since that is what publishers are asked for.
fn one_per_codec(payloads: Vec<Payload>) -> Vec<Payload> {
    let mut chosen: Vec<Payload> = Vec::with_capacity(5);
    for payload in payloads {
        let same =
            chosen.iter_mut().find(|other| other.parameters.codec == payload.parameters.codec);
        match same {
            Some(other) if payload.is_constrained_baseline() => {
                if !other.is_constrained_baseline() {
                    *other = payload;
                }
            }
            Some(_) => {}
            None => chosen.push(payload),
        }
    }
    chosen
}
