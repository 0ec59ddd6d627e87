//! One viewer from its command to its keys: ICE check, DTLS 1.2 with ECDSA certificates on both
//! sides, SRTP keys. Time inside the core; the peer's half runs in between and is not counted.
//!
//! `cargo bench --bench handshake`

mod rig;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use greenroom::sfu::transport::Profile;
use rig::Rig;

fn handshake(c: &mut Criterion) {
    let mut rig = Rig::new(0, Profile::Gcm);
    let mut group = c.benchmark_group("handshake");
    group.sample_size(20);
    group.bench_function("join to keys", |b| {
        b.iter_custom(|joins| (0..joins).map(|_| rig.join_and_leave()).sum::<Duration>());
    });
    group.finish();
}

criterion_group!(benches, handshake);
criterion_main!(benches);
