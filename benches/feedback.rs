//! What a viewer's transport-wide feedback costs: reading it, and the estimate that follows.
//!
//! `cargo bench --bench feedback`
#![expect(clippy::disallowed_methods, reason = "criterion measures time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use greenroom::rtp::rtcp::build::{FeedbackHeader, transport_feedback};
use greenroom::rtp::rtcp::{Packet, packets};
use greenroom::sfu::bandwidth::estimator::{Estimator, EstimatorConfig};
use greenroom::sfu::bandwidth::sent::SentLog;

/// Packets that one feedback speaks of: three frames at 2.5 Mbit/s, and their sound.
const PACKETS: u64 = 30;
const FRAMES: u64 = 3;
const INTERVAL: Duration = Duration::from_millis(100);

/// A viewer some seconds into a show.
struct Viewer {
    now: Instant,
    start: Instant,
    next: u64,
    log: SentLog,
    estimator: Estimator,
    /// One packet in so many is lost; 0 = none.
    lost: u64,
}

impl Viewer {
    fn new(lost: u64) -> Self {
        let start = Instant::now();
        let mut viewer = Self {
            now: start,
            start,
            next: 0,
            log: SentLog::new(start),
            estimator: Estimator::new(start, EstimatorConfig::default()),
            lost,
        };
        for _ in 0..100 {
            let rtcp = viewer.send();
            viewer.read(&rtcp);
        }
        viewer
    }

    /// The next three frames, and the feedback about them.
    fn send(&mut self) -> Vec<u8> {
        let mut arrivals = Vec::new();
        let base = self.next;
        for _ in 0..FRAMES {
            self.now += INTERVAL / FRAMES as u32;
            for (count, bytes) in [(PACKETS / FRAMES - 1, 1150), (1, 90)] {
                self.log.note(self.now, self.next as u16, count as u16, bytes, None);
                for packet in 0..count {
                    let arrival = (self.now - self.start).as_micros() as i64 + 20_000;
                    let arrival = arrival + packet as i64 * 1_900;
                    if self.lost == 0 || !(self.next + packet).is_multiple_of(self.lost) {
                        arrivals.push((self.next + packet, arrival));
                    }
                }
                self.next += count;
            }
        }
        let mut rtcp = Vec::new();
        let header = FeedbackHeader { sender_ssrc: 1, media_ssrc: 2, feedback_count: 0 };
        transport_feedback(&mut rtcp, header, base, &arrivals);
        rtcp
    }

    fn read(&mut self, rtcp: &[u8]) {
        for packet in packets(rtcp) {
            if let Ok(Packet::TransportFeedback(feedback)) = packet {
                black_box(self.estimator.on_feedback(self.now, &feedback, &mut self.log));
            }
        }
        black_box(self.estimator.poll_probe(self.now));
        black_box(self.estimator.take_change());
    }
}

fn feedback(c: &mut Criterion) {
    let mut group = c.benchmark_group("feedback");
    for (name, lost) in [("30 packets", 0), ("30 packets, 5 % lost", 20)] {
        let mut viewer = Viewer::new(lost);
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let rtcp = viewer.send();
                    let began = Instant::now();
                    viewer.read(&rtcp);
                    spent += began.elapsed();
                }
                spent
            });
        });
    }
    // The same with the caches of a server that has other viewers to think of.
    let mut viewers: Vec<Viewer> = (0..2_000).map(|_| Viewer::new(0)).collect();
    group.bench_function("30 packets, one viewer of 2000 after the other", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            let mut left = rounds;
            while left > 0 {
                let turn = viewers.len().min(left as usize);
                let rtcp: Vec<Vec<u8>> = viewers[..turn].iter_mut().map(Viewer::send).collect();
                let began = Instant::now();
                for (viewer, rtcp) in viewers.iter_mut().zip(&rtcp) {
                    viewer.read(rtcp);
                }
                spent += began.elapsed();
                left -= turn as u64;
            }
            spent
        });
    });
    drop(viewers);
    group.bench_function("note a message", |b| {
        let mut viewer = Viewer::new(0);
        b.iter_batched(
            || viewer.now + INTERVAL,
            |now| {
                viewer.next += 10;
                viewer.log.note(now, viewer.next as u16, 10, 1150, None);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, feedback);
criterion_main!(benches);
