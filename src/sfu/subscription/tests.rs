//! Whatever viewers take of a stream's layers, what they get is decodable and numbered without a gap.
#![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use signaling::media::{MediaKind, Seat, TransportId};

use super::super::bandwidth::estimator::EstimatorConfig;
use super::super::egress::Batch;
use super::super::intake::{Accepted, Intake};
use super::super::publication::Publication;
use super::super::slab::PublicationId;
use super::super::transport::Profile;
use super::*;
use crate::rtp::codec;
use crate::rtp::packet::RtpHeader;
use crate::rtp::track::{CodecParameters, ExtensionIds, FeedbackKinds, TrackIn};

mod described;
mod red;
mod streams;

use streams::{Source, Stream};

const KEYING: &[u8; 56] = b"0123456789abcdefFEDCBA9876543210saltsaltsaltSALTSALTSALT";
const RTX: u8 = 97;
const RED: u8 = 63;

/// What a viewer received under one number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    timestamp: u32,
    marker: bool,
    /// It came in RED.
    red: bool,
    /// The dependency descriptor that it came with.
    descriptor: Vec<u8>,
    payload: Vec<u8>,
}

struct Viewer {
    slot: Subscription,
    seal: SrtpSender,
    open: Context,
    /// Its browser tells what arrives.
    downlink: Downlink,
    got: BTreeMap<u16, Got>,
    /// Of its operating point.
    changes: u64,
}

impl Viewer {
    /// `rtx`: this codec has a stream for repairs, and not just another. Without one a repeat is sealed under the
    /// same nonce, which the sealer of a debug build refuses for other bytes.
    fn new(codec: Codec, number: u32, rtx: bool) -> Self {
        let parameters =
            CodecParameters { codec, pt: 96, rtx_pt: rtx.then_some(RTX), red_pt: None };
        let other = CodecParameters { codec: Codec::H264, pt: 98, rtx_pt: Some(99), red_pt: None };
        let track = TrackOut {
            seat: Seat::HOST,
            kind: MediaKind::Video,
            mid: "v".to_owned(),
            ssrc: 7_000 + number,
            rtx_ssrc: Some(9_000 + number),
            codecs: vec![parameters, other],
            transport_cc: Some(3),
            dependency: (number != UNDESCRIBED).then_some(READ_AS),
        };
        Self::of(&track)
    }

    fn of(track: &TrackOut) -> Self {
        let provider = rtc_crypto::default_provider().unwrap();
        let (key, salt) = (&KEYING[..16], &KEYING[32..44]);
        let profile = ProtectionProfile::AeadAes128Gcm;
        Self {
            slot: Subscription::new(0, 0, track, 1_000),
            seal: SrtpSender::of_client(Profile::Gcm, KEYING).unwrap(),
            open: Context::new(key, salt, profile, None, None, provider.crypto()).unwrap(),
            downlink: Downlink::new(Instant::now(), EstimatorConfig::default()),
            got: BTreeMap::new(),
            changes: 0,
        }
    }

    /// Do something that sends, and take what was sent: number and content, repairs opened.
    fn act<T>(
        &mut self,
        act: impl FnOnce(&mut Subscription, &mut Link<'_>, &mut Egress<'_>) -> T,
    ) -> (T, Vec<(u16, Got)>) {
        let mut datagrams = Vec::new();
        let mut sink = |batch: &mut Batch| {
            for message in &batch.messages {
                let bytes = &batch.bytes[message.start..message.start + message.len];
                datagrams.extend(bytes.chunks(message.segment).map(<[u8]>::to_vec));
            }
            batch.clear();
        };
        let mut batch = Batch::new();
        let mut egress = Egress::new(&mut batch, &mut sink);
        let remote = SocketAddr::from(([192, 0, 2, 1], 5000));
        let path = Path { local: 0, remote };
        let mut link = Link { sender: &self.seal, path, downlink: Some(&mut self.downlink) };
        let outcome = act(&mut self.slot, &mut link, &mut egress);
        egress.flush();
        let sent = datagrams.iter().map(|sealed| {
            let plain = self.open.decrypt_rtp(sealed).expect("it opens");
            let header = RtpHeader::parse(&plain).expect("well formed");
            let mut payload = header.payload(&plain).to_vec();
            let mut sequence = header.sequence;
            if header.payload_type == RTX {
                sequence = u16::from_be_bytes([payload[0], payload[1]]);
                payload.drain(..2);
            }
            let (timestamp, marker) = (header.timestamp, header.marker);
            let descriptor = header.extensions(&plain).find(READ_AS).unwrap_or_default().to_vec();
            let red = header.payload_type == RED;
            (sequence, Got { timestamp, marker, red, descriptor, payload })
        });
        (outcome, sent.collect())
    }

    fn receive(&mut self, now: Instant, slab: &Slab) {
        let mut counters = Counters::default();
        let (_, sent) =
            self.act(|slot, link, egress| slot.forward(now, slab, link, egress, &mut counters));
        self.changes += counters.point_changes;
        for (sequence, got) in sent {
            let before = self.got.insert(sequence, got.clone());
            assert!(before.is_none_or(|before| before == got), "one number, one packet");
        }
    }
}

fn publication(codec: Codec) -> Publication {
    let id = PublicationId::track(TransportId(1), MediaKind::Video);
    let mut publication = Publication::new(id);
    publication.intake = Some(Intake::new(TrackIn {
        mid: "0".to_owned(),
        kind: MediaKind::Video,
        codecs: vec![CodecParameters { codec, pt: 96, rtx_pt: Some(RTX), red_pt: None }],
        extensions: ExtensionIds {
            dependency: Some(streams::DEPENDENCY),
            ..ExtensionIds::default()
        },
        feedback: FeedbackKinds { nack: true, ..FeedbackKinds::default() },
        ssrc: Some(5),
        rtx_ssrc: None,
        rids: Vec::new(),
    }));
    publication
}

fn accept(publication: &mut Publication, now: Instant, bytes: &[u8]) -> Accepted {
    let header = RtpHeader::parse(bytes).unwrap();
    let extensions = header.extensions(bytes);
    publication.accept(now, &header, extensions, header.payload(bytes), false).unwrap()
}

/// What happens to a packet on its way in.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    /// Behind so many others.
    Late(u8),
}

#[derive(Debug, Clone)]
struct Script {
    /// Operating points that the viewers are told, by picture: (picture, viewer, spatial, temporal).
    targets: Vec<(usize, usize, u8, u8)>,
    key_frames: BTreeSet<usize>,
    fates: Vec<Fate>,
}

const VIEWERS: usize = 3;
/// Of the viewers the one that reads no dependency descriptors, and the header extension id of those for the others.
const UNDESCRIBED: u32 = 2;
const READ_AS: u8 = 9;
const PICTURES: usize = 60;

fn script(late: impl Strategy<Value = Fate> + Clone + 'static) -> impl Strategy<Value = Script> {
    (
        proptest::collection::vec((1..PICTURES, 0..VIEWERS, 0..3u8, 0..3u8), 0..24),
        proptest::collection::btree_set(1..PICTURES, 0..4),
        proptest::collection::vec(late, 1..400),
    )
        .prop_map(|(targets, key_frames, fates)| Script { targets, key_frames, fates })
}

/// The incoming packets of a script in the order of their arrival, and before which the viewers are told what.
fn arrivals(source: &Source, script: &Script) -> Vec<usize> {
    let mut order: Vec<(usize, usize)> = (0..source.packets.len())
        .map(|packet| match script.fates[packet % script.fates.len()] {
            // The first picture is how a viewer begins.
            Fate::Late(by) if source.packets[packet].picture > 0 => {
                (packet + usize::from(by), packet)
            }
            _ => (packet, packet),
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, packet)| packet).collect()
}

struct Played {
    source: Source,
    viewers: Vec<Viewer>,
    publication: Publication,
    now: Instant,
}

fn play(stream: Stream, script: &Script, rtx: bool) -> Played {
    let source = Source::new(stream, PICTURES, &script.key_frames);
    let mut publication = publication(stream.codec());
    let mut viewers: Vec<_> =
        (0..VIEWERS as u32).map(|n| Viewer::new(stream.codec(), n, rtx)).collect();
    let mut now = Instant::now();
    let mut newest = 0;
    for packet in arrivals(&source, script) {
        let packet = &source.packets[packet];
        now += Duration::from_millis(1);
        for (at, viewer, spatial, temporal) in &script.targets {
            if newest < *at && packet.picture >= *at {
                let point = Point { spatial: *spatial, temporal: *temporal };
                viewers[*viewer].slot.set_target(point);
            }
        }
        newest = newest.max(packet.picture);
        let bytes = packet.bytes();
        let accepted = accept(&mut publication, now, &bytes);
        assert!(accepted.refused.is_none() && !accepted.layers_distrusted);
        for slab in accepted.slabs.into_iter().flatten() {
            viewers.iter_mut().for_each(|viewer| viewer.receive(now, &slab));
        }
    }
    let intake = publication.intake.as_mut().unwrap();
    if let Some(slab) = intake.take_building(&mut publication.ring, now) {
        viewers.iter_mut().for_each(|viewer| viewer.receive(now, &slab));
    }
    Played { source, viewers, publication, now }
}

impl Played {
    /// Numbers go on without a gap, every frame is whole and has what it needs, and every picture ends with a marker.
    fn check(&self, in_order: bool) {
        for (number, viewer) in self.viewers.iter().enumerate() {
            let numbers: Vec<u16> = viewer.got.keys().copied().collect();
            assert_eq!(numbers[0], 1_000);
            assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "no number is missing");
            let got: Vec<&Got> =
                viewer.got.values().filter(|got| !got.payload.is_empty()).collect();
            if in_order {
                assert_eq!(got.len(), viewer.got.len(), "nothing is filled where nothing was late");
            }
            for pair in got.windows(2) {
                assert_eq!(
                    pair[0].marker,
                    pair[0].timestamp != pair[1].timestamp,
                    "the last packet of each picture has the marker, and no other"
                );
            }
            self.check_frames(&got);
            self.check_descriptors(&got, number == UNDESCRIBED as usize);
            if in_order && self.source.stream.codec() == Codec::Vp8 {
                check_picture_ids(&got);
            }
        }
    }

    fn check_frames(&self, got: &[&Got]) {
        let mut frames: BTreeMap<(usize, u8), usize> = BTreeMap::new();
        for got in got {
            let packet = &self.source.packets[Source::number(&got.payload)];
            *frames.entry((packet.picture, packet.spatial)).or_default() += 1;
        }
        for (frame, packets) in &frames {
            let facts = &self.source.frames[frame];
            assert_eq!(*packets, facts.packets, "frame {frame:?} is whole");
            for needed in &facts.needs {
                assert!(frames.contains_key(needed), "frame {frame:?} needs {needed:?}");
            }
        }
    }

    /// They come as they were sent to who reads them; who does not gets the lowest spatial layer where they would be needed.
    fn check_descriptors(&self, got: &[&Got], undescribed: bool) {
        for got in got {
            let packet = &self.source.packets[Source::number(&got.payload)];
            if undescribed {
                assert!(got.descriptor.is_empty());
                assert!(self.source.stream.codec() != Codec::Av1 || packet.spatial == 0);
            } else {
                assert_eq!(got.descriptor, packet.dependency);
            }
        }
    }

    /// Ask for everything again: it comes again as it was.
    fn check_repairs(&mut self) {
        let Self { viewers, publication, now, .. } = self;
        for viewer in viewers {
            let forgotten = viewer.changes > 8;
            let sent: Vec<(u16, Got)> = viewer.got.clone().into_iter().collect();
            for (number, got) in sent {
                *now += Duration::from_millis(300);
                // Time alone: nothing is stored meanwhile, so nothing is forgotten.
                let (mut counters, at) = (Counters::default(), *now);
                let ring = &publication.ring;
                let (outcome, again) = viewer.act(|slot, link, egress| {
                    slot.retransmit(at, number, ring, link, egress, &mut counters)
                });
                // Old changes of the operating point are forgotten.
                if forgotten && outcome == Err(DropReason::NackTooLate) {
                    continue;
                }
                assert_eq!(outcome, Ok(()));
                assert_eq!(again, [(number, got)]);
            }
        }
    }
}

fn check_picture_ids(got: &[&Got]) {
    let id =
        |got: &Got| codec::describe(Codec::Vp8, &got.payload).unwrap().picture_id.unwrap().value;
    for pair in got.windows(2) {
        let step = u16::from(pair[0].timestamp != pair[1].timestamp);
        assert_eq!(id(pair[1]), (id(pair[0]) + step) & 0x7fff, "picture ids close the gap");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_is_taken_is_decodable(script in script(Just(Fate::Arrives))) {
        for stream in Stream::ALL {
            play(stream, &script, true).check(true);
        }
    }

    #[test]
    fn holes_that_are_filled_late_stay_where_they_were(
        script in script(prop_oneof![6 => Just(Fate::Arrives), 1 => (1..40u8).prop_map(Fate::Late)]),
    ) {
        for stream in Stream::ALL {
            play(stream, &script, true).check(false);
        }
    }

    #[test]
    fn what_is_asked_for_again_is_what_was_sent(
        script in script(prop_oneof![9 => Just(Fate::Arrives), 1 => (1..9u8).prop_map(Fate::Late)]),
        rtx: bool,
    ) {
        for stream in Stream::ALL {
            play(stream, &script, rtx).check_repairs();
        }
    }
}

/// What a viewer shows at the end: (highest spatial layer, pictures of the last sixteen).
fn seen(played: &Played, viewer: usize) -> (u8, usize) {
    let packets = played.viewers[viewer].got.values().filter(|got| !got.payload.is_empty());
    let recent: Vec<_> = packets
        .map(|got| &played.source.packets[Source::number(&got.payload)])
        .filter(|packet| packet.picture + 16 >= PICTURES)
        .collect();
    let pictures: BTreeSet<usize> = recent.iter().map(|packet| packet.picture).collect();
    (recent.iter().map(|packet| packet.spatial).max().unwrap(), pictures.len())
}

#[test]
fn a_viewer_gets_what_it_is_to_take() {
    let to = |spatial, temporal| (1, 0, spatial, temporal);
    let end = |stream, targets: &[(usize, usize, u8, u8)], key_frames: &[usize]| {
        let key_frames = key_frames.iter().copied().collect();
        let script = Script { targets: targets.to_vec(), key_frames, fates: vec![Fate::Arrives] };
        seen(&play(stream, &script, true), 0)
    };
    for stream in Stream::ALL {
        let top = stream.spatial() - 1;
        assert_eq!(end(stream, &[], &[]), (top, 16));
        assert_eq!(end(stream, &[to(2, 0)], &[]), (top, 4));
        assert_eq!(end(stream, &[to(2, 1)], &[]), (top, 8));
        assert_eq!(end(stream, &[to(0, 1)], &[]), (0, 8));
        // Up in time without a key frame.
        assert_eq!(end(stream, &[to(2, 0), (9, 0, 2, 2)], &[]), (top, 16));
        // Up in space not before one.
        assert_eq!(end(stream, &[to(0, 2), (9, 0, 2, 2)], &[]), (0, 16));
        assert_eq!(end(stream, &[to(0, 2), (9, 0, 2, 2)], &[20]), (top, 16));
    }
}

#[test]
fn a_stream_that_contradicts_itself_has_no_layers() {
    let stream = Stream::Vp9;
    let source = Source::new(stream, 12, &BTreeSet::new());
    let mut publication = publication(stream.codec());
    let mut viewer = Viewer::new(stream.codec(), 0, true);
    viewer.slot.set_target(Point { spatial: 0, temporal: 0 });
    let mut distrusted = 0;
    let mut sent = 0;
    for packet in &source.packets {
        let mut bytes = packet.bytes();
        if packet.picture == 4 && packet.spatial == 2 {
            // The temporal id, behind the picture id: one that its picture does not have.
            bytes[12 + 3] ^= 0xc0;
        }
        let accepted = accept(&mut publication, Instant::now(), &bytes);
        distrusted += u32::from(accepted.layers_distrusted);
        for slab in accepted.slabs.into_iter().flatten() {
            viewer.receive(Instant::now(), &slab);
        }
        sent += usize::from(packet.picture > 4);
    }
    assert_eq!(distrusted, 1);
    assert!(viewer.got.len() < source.packets.len(), "there were layers before");
    let after = viewer.got.values().filter(|got| {
        let number = Source::number(&got.payload);
        source.packets[number].picture > 4
    });
    assert_eq!(after.count(), sent, "all of it from there on");
}

#[test]
fn a_dependency_descriptor_that_lies_is_not_believed_again() {
    let stream = Stream::Av1;
    let source = Source::new(stream, 16, &BTreeSet::from([8]));
    let mut publication = publication(stream.codec());
    let mut viewer = Viewer::new(stream.codec(), 0, true);
    viewer.slot.set_target(Point { spatial: 0, temporal: 0 });
    let (mut distrusted, mut sent) = (0, 0);
    for packet in &source.packets {
        let mut bytes = packet.bytes();
        if packet.picture == 8 && packet.is_first() {
            // Behind the headers of packet and extension: 32 decode targets, and no room for their indications.
            bytes[18 + 4] = 0x1f;
        }
        let accepted = accept(&mut publication, Instant::now(), &bytes);
        distrusted += u32::from(accepted.layers_distrusted);
        for slab in accepted.slabs.into_iter().flatten() {
            viewer.receive(Instant::now(), &slab);
        }
        sent += usize::from(packet.picture >= 8);
    }
    assert_eq!(distrusted, 1, "told once");
    let picture = |got: &Got| source.packets[Source::number(&got.payload)].picture;
    let (before, after): (Vec<_>, Vec<_>) = viewer.got.values().partition(|got| picture(got) < 8);
    assert!(before.iter().all(|got| picture(got).is_multiple_of(4)), "the lowest layer");
    assert_eq!(after.len(), sent, "all of it from there on, also with the next, honest key frame");
}
