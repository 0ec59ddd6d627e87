//! Sound in RED: whole for who takes RED, the newest block alone for everybody else, under the same numbers.

use super::*;

const OPUS: u8 = 111;

fn opus(takes_red: bool) -> CodecParameters {
    let red_pt = takes_red.then_some(RED);
    CodecParameters { codec: Codec::Opus, pt: OPUS, rtx_pt: None, red_pt }
}

fn viewer(takes_red: bool) -> Viewer {
    Viewer::of(&slot(takes_red))
}

fn slot(takes_red: bool) -> TrackOut {
    TrackOut {
        seat: Seat::HOST,
        kind: MediaKind::Audio,
        mid: "a".to_owned(),
        ssrc: 7_000,
        rtx_ssrc: None,
        codecs: vec![opus(takes_red)],
        transport_cc: None,
        dependency: None,
    }
}

fn microphone() -> Publication {
    let id = PublicationId::track(TransportId(1), MediaKind::Audio);
    let mut publication = Publication::new(id);
    publication.intake = Some(Intake::new(TrackIn {
        mid: "0".to_owned(),
        kind: MediaKind::Audio,
        codecs: vec![opus(true)],
        extensions: ExtensionIds::default(),
        feedback: FeedbackKinds::default(),
        ssrc: Some(5),
        rtx_ssrc: None,
        rids: Vec::new(),
    }));
    publication
}

/// A datagram with this payload.
fn packet(payload_type: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let header = FixedHeader {
        padding: false,
        marker: false,
        payload_type,
        sequence,
        timestamp: u32::from(sequence) * 960,
        ssrc: 5,
    };
    [&header.to_bytes()[..], payload].concat()
}

/// A RED payload: what the packet before had, if anything, then this sound.
fn doubled(before: &[u8], sound: &[u8]) -> Vec<u8> {
    let repeated = [0x80 | OPUS, 0x0f, (before.len() >> 8) as u8, before.len() as u8];
    let header: &[u8] = if before.is_empty() { &[] } else { &repeated };
    [header, &[OPUS], before, sound].concat()
}

fn refused(publication: &mut Publication, bytes: &[u8]) -> DropReason {
    let header = RtpHeader::parse(bytes).unwrap();
    let (extensions, payload) = (header.extensions(bytes), header.payload(bytes));
    let accepted = publication.accept(Instant::now(), &header, extensions, payload, false);
    accepted.expect_err("refused")
}

/// What a packet of the script is: plain or in RED, and how long.
fn sounds() -> impl Strategy<Value = Vec<(bool, usize)>> {
    proptest::collection::vec((any::<bool>(), 1..400usize), 1..60)
}

proptest! {
    #[test]
    fn everybody_gets_every_sound_once_as_it_was_sent(sounds in sounds(), off in 0..60usize) {
        let (mut publication, now) = (microphone(), Instant::now());
        let (mut reads_red, mut plain) = (viewer(true), viewer(false));
        let mut before = Vec::new();
        for (number, (in_red, len)) in sounds.iter().enumerate() {
            reads_red.slot.set_red(number < off);
            let sound = vec![number as u8; *len];
            let payload = if *in_red { doubled(&before, &sound) } else { sound.clone() };
            let bytes = packet(if *in_red { RED } else { OPUS }, number as u16, &payload);
            let accepted = accept(&mut publication, now, &bytes);
            for slab in accepted.slabs.into_iter().flatten() {
                reads_red.receive(now, &slab);
                plain.receive(now, &slab);
            }
            let sequence = 1_000 + number as u16;
            let (red, opus) = (&reads_red.got[&sequence], &plain.got[&sequence]);
            let whole = *in_red && number < off;
            prop_assert_eq!((red.red, &red.payload), (whole, if whole { &payload } else { &sound }));
            prop_assert_eq!((opus.red, &opus.payload), (false, &sound));
            prop_assert_eq!(red.timestamp.wrapping_sub(reads_red.got[&1_000].timestamp), number as u32 * 960);
            before = sound;
        }
        // What would go out again under the same nonce might be other bytes by now.
        for viewer in [&mut reads_red, &mut plain] {
            for number in viewer.got.keys().copied().collect::<Vec<_>>() {
                let (mut counters, ring) = (Counters::default(), &publication.ring);
                let (outcome, again) = viewer.act(|slot, link, egress| {
                    slot.retransmit(now, number, ring, link, egress, &mut counters)
                });
                prop_assert_eq!(outcome, Err(DropReason::NackUnknown));
                prop_assert!(again.is_empty());
            }
        }
    }
}

#[test]
fn what_is_no_red_is_dropped_by_name_and_what_follows_goes_on() {
    let (mut publication, mut plain) = (microphone(), viewer(false));
    let wrong: [&[u8]; 4] =
        [&[OPUS], &[0x80 | OPUS, 0x0f, 0, 9, OPUS, 1, 2], &[0x60, 1], &[0x80 | OPUS]];
    for (number, payload) in wrong.into_iter().enumerate() {
        let bytes = packet(RED, number as u16, payload);
        assert_eq!(refused(&mut publication, &bytes), DropReason::CodecMalformed, "{payload:x?}");
    }
    assert_eq!(refused(&mut publication, &packet(RED, 4, &[])), DropReason::PaddingOnly);
    assert_eq!(refused(&mut publication, &packet(64, 5, &[1])), DropReason::UnknownPayloadType);
    let good = accept(&mut publication, Instant::now(), &packet(RED, 6, &doubled(&[1], &[2, 3])));
    let slab = good.slabs.into_iter().flatten().next().expect("a slab");
    plain.receive(Instant::now(), &slab);
    assert_eq!(plain.got[&1_000].payload, [2, 3]);
}

#[test]
fn sound_rides_where_what_a_viewer_is_sent_of_it_fits() {
    let mut publication = microphone();
    let sound = doubled(&[7; 120], &[8; 120]);
    let accepted = accept(&mut publication, Instant::now(), &packet(RED, 1, &sound));
    let slab = accepted.slabs.into_iter().flatten().next().expect("a slab");
    for (takes_red, segment, rides) in
        [(true, 300, 1), (true, 200, 0), (false, 200, 1), (false, 140, 0)]
    {
        let mut counters = Counters::default();
        let mut viewer = viewer(takes_red);
        let mut sent = Vec::new();
        let mut sink = |batch: &mut Batch| {
            sent.extend(batch.messages.iter().map(|message| (message.segment, message.len)));
            batch.clear();
        };
        let mut batch = Batch::new();
        let mut egress = Egress::new(&mut batch, &mut sink);
        let path = Path { local: 0, remote: SocketAddr::from(([192, 0, 2, 1], 5000)) };
        let mut link = Link { sender: &viewer.seal, path, downlink: Some(&mut viewer.downlink) };
        egress.datagram(path, &vec![0; segment]);
        viewer.slot.ride(Instant::now(), &slab, &mut link, &mut egress, &mut counters);
        egress.flush();
        assert_eq!(counters.rides, rides, "{takes_red} behind {segment}");
        let payload = if takes_red { sound.len() } else { 120 };
        let tail = rides as usize * (FIXED_HEADER_LEN + payload + 16);
        assert_eq!(sent, [(segment, segment + tail)]);
    }
}

#[test]
fn a_slot_that_learns_red_later_goes_on_under_new_numbers() {
    let (mut publication, now) = (microphone(), Instant::now());
    let mut viewer = viewer(false);
    for number in 0..4 {
        if number == 2 {
            viewer.slot.renegotiate(&slot(true));
        }
        let bytes = packet(RED, number, &doubled(&[number as u8], &[number as u8 + 1]));
        for slab in accept(&mut publication, now, &bytes).slabs.into_iter().flatten() {
            viewer.receive(now, &slab);
        }
    }
    let got: Vec<(u16, bool)> = viewer.got.iter().map(|(number, got)| (*number, got.red)).collect();
    assert_eq!(got, [(1_000, false), (1_001, false), (1_002, true), (1_003, true)]);
}
