//! What came of a phase, and whether that is good enough.

use std::time::Duration;

use crate::media::{LAYERS, SOUND};
use crate::scenarios::Phase;
use crate::sim::Sample;

/// What IP and UDP leave of a link for full packets.
const PAYLOAD: f64 = 1200.0 / 1228.0;
/// The mean of the steady part is this close to the capacity.
const ACCURACY: f64 = 0.15;
/// It counts as converged when it first is this close.
const CONVERGED: f64 = 0.20;
/// Nobody can know of a drop before; what is still too high then is overshoot.
const NOTICED_MS: u64 = 2_000;
/// The longest that 95 of 100 samples may find the queue.
const QUEUE: Duration = Duration::from_millis(150);

/// Of one run, or the worst of several.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Mean of the steady part over the capacity: lowest and highest of several runs. Neither counts
    /// beyond what is wanted: there is nothing to measure it by.
    pub mean: (f64, f64),
    /// The highest estimate over the capacity.
    pub highest: f64,
    /// Time until it is near the capacity.
    pub converged_ms: u64,
    /// 95th percentile of the time a packet waits, steady part.
    pub queue: Duration,
}

impl Outcome {
    /// Judge what `samples` tell of a phase in which the layer `top` is wanted.
    pub fn of(phase: &Phase, top: usize, samples: &[Sample]) -> Self {
        let (from, until) = (phase.from * 1000, phase.until * 1000);
        let wanted = (LAYERS[top] + SOUND) as f64;
        let capacity = phase.capacity as f64 * PAYLOAD;
        let useful = capacity.min(wanted);
        let share = |sample: &Sample| {
            let target = sample.target;
            if capacity >= wanted { target.min(wanted) / useful } else { target / useful }
        };
        let within = || samples.iter().filter(|sample| (from..until).contains(&sample.ms));
        let steady = || within().filter(|sample| sample.ms >= from + phase.settles * 1000);
        let mean = steady().map(share).sum::<f64>() / steady().count().max(1) as f64;
        let mut queues: Vec<Duration> = steady().map(|sample| sample.queue).collect();
        queues.sort_unstable();
        Self {
            mean: (mean, mean),
            highest: within()
                .filter(|sample| sample.ms >= from + NOTICED_MS)
                .map(|sample| sample.target / capacity)
                .fold(0.0, f64::max),
            converged_ms: within()
                .find(|sample| (share(sample) - 1.0).abs() <= CONVERGED)
                .map_or(u64::MAX, |sample| sample.ms - from),
            queue: queues.get(queues.len() * 95 / 100).copied().unwrap_or_default(),
        }
    }

    pub fn worse(self, other: Self) -> Self {
        Self {
            mean: (self.mean.0.min(other.mean.0), self.mean.1.max(other.mean.1)),
            highest: self.highest.max(other.highest),
            converged_ms: self.converged_ms.max(other.converged_ms),
            queue: self.queue.max(other.queue),
        }
    }

    /// What is not good enough.
    pub fn misses(&self, phase: &Phase) -> Vec<&'static str> {
        let good = 1.0 - ACCURACY..=1.0 + ACCURACY;
        [
            (good.contains(&self.mean.0) && good.contains(&self.mean.1), "accuracy"),
            (self.highest <= phase.overshoot, "overshoot"),
            (self.converged_ms <= phase.settles * 1000, "convergence"),
            (self.queue < QUEUE, "queue"),
        ]
        .into_iter()
        .filter_map(|(kept, name)| (!kept).then_some(name))
        .collect()
    }
}
