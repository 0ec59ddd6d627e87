//! Frame numbers of dependency descriptors, and which spatial layers who reads them gets.

use super::*;
use crate::rtp::dependency::frame_number;

fn publication_of(transport: u32) -> Publication {
    let mut publication = publication(Codec::Av1);
    publication.id = PublicationId::track(TransportId(transport.into()), MediaKind::Video);
    publication
}

/// Send the pictures from `from` on of a source to a viewer.
fn send(publication: &mut Publication, viewer: &mut Viewer, source: &Source, from: usize) {
    for packet in source.packets.iter().filter(|packet| packet.picture >= from) {
        let now = Instant::now();
        let accepted = accept(publication, now, &packet.bytes());
        accepted.slabs.into_iter().flatten().for_each(|slab| viewer.receive(now, &slab));
    }
}

#[test]
fn frame_numbers_go_on_when_another_source_fills_the_slot() {
    let (first, second) = (
        Source::new(Stream::Av1Svc, 20, &BTreeSet::new()),
        Source::new(Stream::Av1Svc, 40, &BTreeSet::from([10])),
    );
    let mut viewer = Viewer::new(Codec::Av1, 0, true);
    send(&mut publication_of(1), &mut viewer, &first, 0);
    let of_first = viewer.got.len();
    // A new anchor of another source, whose numbers begin at 30 where the first ended at 59.
    let mut publication = publication_of(2);
    send(&mut publication, &mut viewer, &second, 10);
    let numbers: Vec<u16> =
        viewer.got.values().filter_map(|got| frame_number(&got.descriptor)).collect();
    assert_eq!(numbers.len(), viewer.got.len(), "each has one");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    assert_eq!((numbers[of_first - 1], numbers[of_first]), (59, 60));
    assert_eq!(numbers.last(), Some(&(60 + 89)));
    // And are the same when a packet is sent again.
    let (number, got) = viewer.got.last_key_value().map(|(n, got)| (*n, got.clone())).unwrap();
    let (now, ring, mut counters) = (Instant::now(), &publication.ring, Counters::default());
    let (outcome, again) = viewer
        .act(|slot, link, egress| slot.retransmit(now, number, ring, link, egress, &mut counters));
    assert_eq!(outcome, Ok(()));
    assert_eq!(again, [(number, got)]);
}

#[test]
fn whose_browser_answers_anew_with_descriptors_begins_anew_with_a_key_frame() {
    let source = Source::new(Stream::Av1Svc, 30, &BTreeSet::from([20]));
    let mut viewer = Viewer::new(Codec::Av1, UNDESCRIBED, true);
    let mut publication = publication_of(1);
    let mut track = TrackOut {
        seat: Seat::HOST,
        kind: MediaKind::Video,
        mid: "v".to_owned(),
        ssrc: 7_002,
        rtx_ssrc: Some(9_002),
        codecs: vec![
            CodecParameters { codec: Codec::Av1, pt: 96, rtx_pt: Some(RTX), red_pt: None },
            CodecParameters { codec: Codec::H264, pt: 98, rtx_pt: Some(99), red_pt: None },
        ],
        transport_cc: Some(3),
        dependency: None,
    };
    viewer.slot.renegotiate(&track);
    for packet in &source.packets {
        if packet.picture == 10 && packet.spatial == 0 && packet.is_first() {
            assert!(!viewer.slot.wants_sharper(), "it has all that it can make use of");
            track.dependency = Some(READ_AS);
            viewer.slot.renegotiate(&track);
        }
        let now = Instant::now();
        let accepted = accept(&mut publication, now, &packet.bytes());
        accepted.slabs.into_iter().flatten().for_each(|slab| viewer.receive(now, &slab));
    }
    let got = viewer.got.values().map(|got| {
        let packet = &source.packets[Source::number(&got.payload)];
        (packet.picture, packet.spatial, got.descriptor.is_empty())
    });
    let seen: BTreeSet<(usize, u8, bool)> = got.collect();
    let expected = (0..10)
        .map(|picture| (picture, 0, true))
        .chain((20..30).flat_map(|picture| (0..3).map(move |spatial| (picture, spatial, false))));
    assert_eq!(seen, expected.collect());
}

#[test]
fn who_may_take_a_sharper_picture_waits_for_a_key_frame_that_has_to_be_asked_for() {
    let mut viewer = Viewer::new(Codec::Av1, 0, true);
    let mut publication = publication_of(1);
    let source = Source::new(Stream::Av1Svc, 30, &BTreeSet::from([20]));
    viewer.slot.set_target(Point { spatial: 0, temporal: 2 });
    for packet in &source.packets {
        if packet.picture == 10 {
            viewer.slot.set_target(Point::ALL);
        }
        let now = Instant::now();
        let accepted = accept(&mut publication, now, &packet.bytes());
        accepted.slabs.into_iter().flatten().for_each(|slab| viewer.receive(now, &slab));
        let waits = (10..20).contains(&packet.picture);
        if packet.spatial == 2 {
            assert_eq!(viewer.slot.wants_sharper(), waits, "picture {}", packet.picture);
        }
    }
}
