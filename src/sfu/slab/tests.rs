#![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
use super::*;
use proptest::prelude::*;

const PUBLICATION: PublicationId = PublicationId::track(TransportId(7), MediaKind::Video);

fn slab(now: Instant, first: u64, lens: &[usize]) -> Arc<Slab> {
    let mut slab = Slab::empty(PUBLICATION, Codec::Vp8, now);
    for (i, len) in lens.iter().enumerate() {
        let payload = vec![i as u8; *len];
        let sequence = first + i as u64;
        push(&mut slab, sequence, &[], &payload);
    }
    slab.seal();
    Arc::new(slab)
}

fn push(slab: &mut Slab, sequence: u64, descriptor: &[u8], payload: &[u8]) {
    let (layers, picture) = (PacketLayers::default(), PicturePatch::default());
    slab.push(sequence, false, &layers, descriptor, payload, picture);
}

#[test]
fn headers_of_other_lengths_are_other_runs_and_descriptors_lie_beside_payloads() {
    let mut slab = Slab::empty(PUBLICATION, Codec::Av1, Instant::now());
    let descriptors = [&[8; 255][..], &[1; 3], &[2; 3], &[3; 3], &[]];
    for (sequence, descriptor) in descriptors.iter().enumerate() {
        push(&mut slab, sequence as u64, descriptor, &[sequence as u8; 900]);
    }
    slab.seal();
    let runs = [(0, 1), (1, 3), (4, 1)].map(|(first, count)| Run { first, count });
    assert_eq!(slab.runs(), runs);
    for (n, (packet, descriptor)) in slab.packets().iter().zip(descriptors).enumerate() {
        assert_eq!(slab.descriptor(packet), descriptor);
        assert_eq!(slab.payload(packet), [n as u8; 900]);
        assert_eq!(slab.payload_behind(packet, 899), [n as u8]);
    }
}

#[test]
fn a_descriptor_of_256_bytes_fits_no_header_and_is_left_out() {
    let mut slab = Slab::empty(PUBLICATION, Codec::Av1, Instant::now());
    push(&mut slab, 0, &[8; 256], &[7; 10]);
    assert!(slab.descriptor(&slab.packets()[0]).is_empty());
    assert_eq!(slab.payload(&slab.packets()[0]), [7; 10]);
}

#[test]
fn libwebrtc_split_is_one_run() {
    let slab = slab(Instant::now(), 0, &[1100, 1100, 1101, 1101]);
    assert_eq!(slab.runs(), &[Run { first: 0, count: 4 }]);
    let pads: Vec<u8> = slab.packets().iter().map(|p| p.pad).collect();
    assert_eq!(pads, [1, 1, 0, 0]);
}

#[test]
fn short_parameter_set_first_ends_its_run() {
    let slab = slab(Instant::now(), 0, &[40, 1100, 1100, 300]);
    assert_eq!(slab.runs(), &[Run { first: 0, count: 1 }, Run { first: 1, count: 3 }]);
}

#[test]
fn ring_finds_by_sequence_and_forgets_by_age() {
    let now = Instant::now();
    let mut ring = SlabRing::default();
    ring.store(now, &slab(now, 100, &[10, 20]));
    assert_eq!(ring.find(101).map(|(s, p)| s.payload(p).len()), Some(20));
    assert!(ring.find(102).is_none());
    assert!(ring.find(101 + RING_INDEX as u64).is_none());
    let later = now + RING_AGE + Duration::from_millis(1);
    ring.store(later, &slab(later, 102, &[30]));
    assert!(ring.find(100).is_none());
    assert!(ring.find(102).is_some());
    ring.clear();
    assert!(ring.find(102).is_none());
}

#[test]
fn evicted_slab_is_reused_only_when_nobody_holds_it() {
    let now = Instant::now();
    let mut ring = SlabRing::default();
    let held = slab(now, 0, &[10]);
    ring.store(now, &held);
    ring.clear();
    let fresh = ring.fresh(PUBLICATION, Codec::Vp8, now);
    assert!(!Arc::ptr_eq(&held, &fresh));
    assert_eq!(held.packets().len(), 1);
}

proptest! {
    #[test]
    fn runs_cover_every_packet_with_equal_segments(lens in prop::collection::vec(1usize..1200, 1..16)) {
        let slab = slab(Instant::now(), 0, &lens);
        let mut next = 0;
        for run in slab.runs() {
            prop_assert_eq!(run.first, next);
            next += run.count;
            let sizes: Vec<usize> = slab.run(*run).iter().map(|p| p.len as usize + p.pad as usize).collect();
            let (last, rest) = sizes.split_last().unwrap();
            prop_assert!(rest.iter().all(|s| *s == sizes[0]));
            prop_assert!(*last <= sizes[0]);
        }
        prop_assert_eq!(next as usize, lens.len());
        prop_assert!(slab.packets().iter().all(|p| p.pad as usize <= MAX_EQUALISE));
    }
}
