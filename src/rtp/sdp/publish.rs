//! A publisher's offer and our answer: what it sends we receive, video in up to three simulcast layers.

use std::collections::BTreeMap;

use super::media::{
    Direction, check_bundle, check_rtcp_mux, extension_ids, simulcast_rids, ssrcs, tagged,
    usable_kind,
};
use super::parse::{Description, Section};
use super::payloads::{self, Payload};
use super::peer::peer_session;
use super::write::{MediaLine, Writer};
use super::{DtlsPreference, LocalSession, PeerSession, SdpError, Setup};
use crate::rtp::track::{Codec, FeedbackKinds, TrackIn};
use signaling::media::MediaKind;

/// Tracks one publish transport may send: camera, microphone, screen and its sound.
pub const MAX_TRACKS: usize = 4;

/// A checked offer to send.
#[derive(Debug)]
pub struct PublishOffer<'a> {
    description: Description<'a>,
    peer: PeerSession,
    tracks: Vec<OfferedTrack>,
}

/// A track and the section that offered it.
#[derive(Debug)]
struct OfferedTrack {
    section: usize,
    payloads: Vec<Payload>,
    track: TrackIn,
}

/// Our answer and what it agreed to.
#[derive(Debug, Clone)]
pub struct PublishAnswer {
    /// The SDP to send back.
    pub sdp: String,
    /// Our DTLS role: [`Setup::Active`] or [`Setup::Passive`].
    pub setup: Setup,
    /// The tracks the peer will send, in the order of the offer.
    pub tracks: Vec<TrackIn>,
}

impl<'a> PublishOffer<'a> {
    /// Read an offer. Sections that send audio or video become tracks; data channels, receive-only
    /// and unknown sections will be answered rejected.
    ///
    /// # Errors
    /// Whatever is wrong with it, by name.
    pub fn parse(text: &'a str) -> Result<Self, SdpError> {
        let description = Description::parse(text)?;
        let sending = |section: &Section<'_>| Direction::of(&description, section).sends();
        let usable: Vec<(usize, &Section<'_>, MediaKind)> = description
            .sections
            .iter()
            .enumerate()
            .filter_map(|(index, section)| Some((index, section, usable_kind(section)?)))
            .filter(|(_, section, _)| sending(section))
            .collect();
        if usable.len() > MAX_TRACKS {
            return Err(SdpError::TooManyTracks);
        }
        let sections: Vec<&Section<'_>> = usable.iter().map(|(_, section, _)| *section).collect();
        check_bundle(&description, &sections)?;
        check_rtcp_mux(&description, &sections)?;
        let tagged = tagged(&description, &sections).ok_or(SdpError::NoUsableMedia)?;
        let peer = peer_session(&description, tagged, Setup::ActPass)?;
        let mut tracks = Vec::with_capacity(usable.len());
        for (index, section, kind) in usable {
            tracks.push(OfferedTrack::read(&description, section, index, kind)?);
        }
        check_conflicts(&mut tracks)?;
        Ok(Self { description, peer, tracks })
    }

    /// The peer's half.
    #[must_use]
    pub const fn peer(&self) -> &PeerSession {
        &self.peer
    }

    /// The same without RED: sound then comes once.
    #[must_use]
    pub fn without_red(mut self) -> Self {
        for offered in &mut self.tracks {
            offered.payloads.iter_mut().for_each(|payload| payload.parameters.red_pt = None);
            offered.track.codecs.iter_mut().for_each(|codec| codec.red_pt = None);
        }
        self
    }

    /// Accept it.
    #[must_use]
    pub fn answer(&self, local: &LocalSession<'_>, preferred: DtlsPreference) -> PublishAnswer {
        let setup = self.peer.setup.answer(preferred);
        let bundled = self.description.bundle().is_some();
        let mids: Vec<&str> = self
            .description
            .sections
            .iter()
            .enumerate()
            .filter(|(index, _)| bundled && self.track(*index).is_some())
            .filter_map(|(_, section)| section.mid)
            .collect();
        let mut writer = Writer::new(local, &mids);
        for (index, section) in self.description.sections.iter().enumerate() {
            match self.track(index) {
                Some(track) => track.write(&mut writer, local, section, setup),
                None => writer.rejected(section),
            }
        }
        PublishAnswer {
            sdp: writer.finish(),
            setup,
            tracks: self.tracks.iter().map(|offered| offered.track.clone()).collect(),
        }
    }

    fn track(&self, section: usize) -> Option<&OfferedTrack> {
        self.tracks.iter().find(|track| track.section == section)
    }
}

impl OfferedTrack {
    fn read(
        description: &Description<'_>,
        section: &Section<'_>,
        index: usize,
        kind: MediaKind,
    ) -> Result<Self, SdpError> {
        let payloads = payloads::read(description, section, kind)?;
        if payloads.is_empty() {
            return Err(SdpError::NoCommonCodec);
        }
        let (ssrc, rtx_ssrc) = ssrcs(section);
        let mut extensions = extension_ids(description, section);
        // Only AV1, which its publisher sends if it comes first, has no other word for its layers; other codecs would pay
        // for saying it twice.
        let av1 = payloads.first().is_some_and(|first| first.parameters.codec == Codec::Av1);
        let mixed = description.value(section, "extmap-allow-mixed").is_some();
        extensions.dependency = extensions.dependency.filter(|_| av1 && mixed);
        // Layers are told apart by the extension alone.
        let layered = kind == MediaKind::Video && extensions.rid.is_some();
        let rids = if layered { simulcast_rids(section) } else { Vec::new() };
        let track = TrackIn {
            mid: section.mid.map_or_else(|| index.to_string(), str::to_owned),
            kind,
            codecs: payloads.iter().map(|payload| payload.parameters).collect(),
            extensions,
            feedback: payloads
                .iter()
                .fold(FeedbackKinds::default(), |all, payload| all.union(payload.feedback)),
            ssrc: ssrc.filter(|_| rids.is_empty()),
            rtx_ssrc: rtx_ssrc.filter(|_| rids.is_empty()),
            rids: rids.into_iter().map(str::to_owned).collect(),
        };
        Ok(Self { section: index, payloads, track })
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
            direction: "recvonly",
            setup: setup.as_str(),
            rtcp_rsize: section.has("rtcp-rsize"),
            payloads: &self.payloads,
            extensions: self.track.extensions,
        };
        writer.media(local, &line);
        writer.layers(&self.track.rids);
    }
}

/// What a payload type has around its codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wraps {
    Nothing,
    Rtx,
    Red,
}

/// One payload type must mean one codec in the whole bundle, since it may be all there is to tell
/// tracks apart; an SSRC announced twice is no announcement.
fn check_conflicts(tracks: &mut [OfferedTrack]) -> Result<(), SdpError> {
    let mut meanings: BTreeMap<u8, (Codec, Wraps)> = BTreeMap::new();
    let mut ssrcs = Vec::new();
    for offered in tracks {
        for codec in &offered.track.codecs {
            let plain = Some((codec.pt, (codec.codec, Wraps::Nothing)));
            let rtx = codec.rtx_pt.map(|pt| (pt, (codec.codec, Wraps::Rtx)));
            let red = codec.red_pt.map(|pt| (pt, (codec.codec, Wraps::Red)));
            for (pt, meaning) in [plain, rtx, red].into_iter().flatten() {
                if *meanings.entry(pt).or_insert(meaning) != meaning {
                    return Err(SdpError::PayloadTypeConflict);
                }
            }
        }
        for announced in [&mut offered.track.ssrc, &mut offered.track.rtx_ssrc] {
            match *announced {
                Some(ssrc) if ssrcs.contains(&ssrc) => *announced = None,
                Some(ssrc) => ssrcs.push(ssrc),
                None => {}
            }
        }
    }
    Ok(())
}
