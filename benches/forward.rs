//! One frame of five packets of 1200 bytes through the core to all viewers: opened, stored,
//! rewritten and sealed for each, handed to a sink that drops it.
//!
//! `cargo bench --bench forward`
#![expect(clippy::disallowed_methods, reason = "measures time")]

mod rig;

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use greenroom::sfu::transport::Profile;
use rig::{FRAME_PACKETS, Rig};

fn forward(c: &mut Criterion) {
    for (name, profile) in [("gcm", Profile::Gcm), ("cm", Profile::Cm)] {
        let mut group = c.benchmark_group(format!("forward/{name}"));
        for viewers in [1, 10, 100, 400] {
            let mut rig = Rig::new(viewers, profile);
            rig.warm_up();
            group.throughput(Throughput::Elements(u64::from(viewers) * u64::from(FRAME_PACKETS)));
            group.bench_function(BenchmarkId::from_parameter(viewers), |b| {
                b.iter_custom(|frames| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..frames {
                        let mut frame = rig.frame();
                        let begun = Instant::now();
                        rig.forward(&mut frame);
                        spent += begun.elapsed();
                    }
                    spent
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, forward);
criterion_main!(benches);
