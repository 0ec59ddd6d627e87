//! Reading what arrives: an RTP header, RTCP, a STUN check, a publisher's offer.
//!
//! `cargo bench --bench parse`
#![expect(clippy::disallowed_methods, reason = "criterion measures time, and reads the corpus")]

mod rig;

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use greenroom::rtp::packet::{PacketKind, RtpHeader};
use greenroom::rtp::rtcp::{ReportBlock, build, packets};
use greenroom::rtp::sdp::PublishOffer;
use greenroom::sfu::transport::{IceCredentials, StunRequest};
use rig::media::{Media, Watch};
use rig::peer::Peer;

const PASSWORD: &str = "password-of-the-server-0";

/// An RTP packet with a transport-wide sequence number, as browsers send it.
fn rtp_packet() -> Vec<u8> {
    let mut packet = vec![0x90, 0xe0, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8];
    packet.extend([0xbe, 0xde, 0, 1, 0x31, 0, 9, 0]);
    packet.resize(1200, 0x55);
    packet
}

/// What a viewer sends once a second, and when it misses packets.
fn rtcp_compound() -> Vec<u8> {
    let block = ReportBlock {
        ssrc: 7,
        fraction_lost: 3,
        cumulative_lost: 12,
        highest_sequence: 70_000,
        jitter: 90,
        last_sr: 1,
        delay_since_last_sr: 2,
    };
    let mut compound = Vec::new();
    build::receiver_report(&mut compound, 99, &[block]);
    build::cname(&mut compound, 99, "viewer");
    build::nack(&mut compound, 99, 7, (100..117).step_by(3));
    compound
}

/// A connectivity check with integrity and fingerprint.
fn stun_check() -> Vec<u8> {
    let remote = IceCredentials { ufrag: "server0".to_owned(), password: PASSWORD.to_owned() };
    let now = Instant::now();
    let mut peer = Peer::new(now, 1, remote, Media::Watch(Watch::default()));
    peer.tick(now);
    peer.out.pop_front().expect("a check")
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    let packet = rtp_packet();
    group.bench_function("rtp header and extension", |b| {
        b.iter(|| {
            let packet = black_box(packet.as_slice());
            assert_eq!(PacketKind::of(packet), Some(PacketKind::Rtp));
            let header = RtpHeader::parse(packet).expect("an RTP header");
            (header.extensions(packet).count(), header.payload_len())
        });
    });
    let compound = rtcp_compound();
    group.bench_function("rtcp report, cname and nack", |b| {
        b.iter(|| packets(black_box(&compound)).filter(Result::is_ok).count());
    });
    let check = stun_check();
    group.bench_function("stun check", |b| {
        b.iter(|| StunRequest::parse(black_box(&check)).expect("a check").priority);
    });
    group.bench_function("stun check and its integrity", |b| {
        b.iter(|| {
            let request = StunRequest::parse(black_box(&check)).expect("a check");
            request.check_integrity(PASSWORD).expect("ours");
        });
    });
    for client in ["chromium-send", "firefox-send", "ffmpeg"] {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/sdp/publish");
        let file = corpus.join(format!("{client}.sdp"));
        let offer = String::from_utf8(std::fs::read(file).expect("an offer")).expect("text");
        group.bench_function(format!("sdp offer of {client}"), |b| {
            b.iter(|| PublishOffer::parse(black_box(&offer)).expect("an offer").peer().setup);
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
