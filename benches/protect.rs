//! Sealing one packet for one viewer: 1000 keys in turn, as a fan-out uses them.
//!
//! `cargo bench --bench protect`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use greenroom::rtp::packet::FixedHeader;
use greenroom::sfu::transport::{Profile, SrtpSender};

const KEYS: u32 = 1000;

fn protect(c: &mut Criterion) {
    for (name, profile, keying) in [("gcm", Profile::Gcm, 56), ("cm", Profile::Cm, 60)] {
        let senders: Vec<SrtpSender> = (0..KEYS)
            .map(|key| {
                let mut secret: Vec<u8> = (0..keying).map(|i| i as u8).collect();
                secret[..4].copy_from_slice(&key.to_be_bytes());
                SrtpSender::of_client(profile, &secret).expect("a key of this length")
            })
            .collect();
        let mut group = c.benchmark_group(format!("protect/{name}"));
        for payload in [80usize, 300, 1172] {
            let bytes = vec![7; payload];
            let mut out = Vec::with_capacity(2048);
            let mut index = 0u64;
            group.throughput(Throughput::Elements(1));
            group.bench_function(BenchmarkId::from_parameter(payload), |b| {
                b.iter(|| {
                    // Five packets by each key, then the next.
                    let sender = &senders[(index / 5) as usize % senders.len()];
                    let header = FixedHeader {
                        padding: false,
                        marker: false,
                        payload_type: 96,
                        sequence: index as u16,
                        timestamp: index as u32,
                        ssrc: 1,
                    };
                    out.clear();
                    sender.seal_rtp(&header.to_bytes(), black_box(&bytes), &[], index, &mut out);
                    index += 1;
                    black_box(out.len())
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, protect);
criterion_main!(benches);
