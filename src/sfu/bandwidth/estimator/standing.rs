//! A queue that stands still is no trend: what a slight overload fills slowly, or while nobody looks,
//! stays full unseen.
//!
//! Not in libwebrtc's delay-based part, whose answer to it is the loss controller. A longer path looks
//! the same; it is told apart by not getting shorter when we send less.

use super::Micros;

/// Delay over the least of the last seconds that is too much, beside what jitter explains.
const LIMIT_US: Micros = 100_000;
const OVER_JITTER: Micros = 2;
/// It stands if it lasts this long.
const LASTS_US: Micros = 600_000;
/// Steps down that empty any queue of ours; one that is still there is none. If it also loses, it is
/// full, maybe with the packets of others: more steps, until theirs can empty it.
const STEPS: u8 = 4;
const LOSSY_STEPS: u8 = 12;
/// From this loss on.
const LOSSY: f64 = 0.03;

/// What to make of the delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    No,
    /// A queue of ours: send less.
    Queue,
    /// The path is longer than it was.
    LongerPath,
}

/// A shorter queue than that which is too much, and longer than a probe of another flow makes: it tells
/// an overuse of ours.
const SOME_US: Micros = 40_000;

/// Packets wait longer than jitter explains.
pub(super) fn is_queued(queue_us: Micros, jitter_us: Micros) -> bool {
    queue_us > SOME_US + OVER_JITTER * jitter_us
}

/// The watch over one path.
#[derive(Debug, Default)]
pub(super) struct StandingQueue {
    since: Option<Micros>,
    steps: u8,
}

impl StandingQueue {
    /// One feedback later.
    pub fn watch(
        &mut self,
        now: Micros,
        queue_us: Micros,
        jitter_us: Micros,
        loss: f64,
    ) -> Standing {
        if queue_us < LIMIT_US + OVER_JITTER * jitter_us {
            *self = Self::default();
            return Standing::No;
        }
        if now - *self.since.get_or_insert(now) < LASTS_US {
            return Standing::No;
        }
        if self.steps < if loss > LOSSY { LOSSY_STEPS } else { STEPS } {
            return Standing::Queue;
        }
        *self = Self::default();
        Standing::LongerPath
    }

    /// The rate went down.
    pub fn note_step(&mut self, now: Micros) {
        if self.since.is_some() {
            self.since = Some(now);
            self.steps = self.steps.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ticks: i64, queue_us: Micros, jitter_us: Micros, loss: f64) -> Vec<Standing> {
        let mut watch = StandingQueue::default();
        (0..ticks)
            .map(|tick| {
                let standing = watch.watch(tick * 100_000, queue_us, jitter_us, loss);
                if standing == Standing::Queue {
                    watch.note_step(tick * 100_000);
                }
                standing
            })
            .filter(|standing| *standing != Standing::No)
            .collect()
    }

    #[test]
    fn a_short_queue_or_one_that_jitter_explains_is_none() {
        assert_eq!(run(600, 90_000, 0, 0.0), []);
        assert_eq!(run(600, 130_000, 20_000, 0.0), []);
    }

    #[test]
    fn a_queue_that_nothing_shortens_is_a_longer_path() {
        let told = run(35, 200_000, 0, 0.0);
        assert_eq!(told, [[Standing::Queue; 4].as_slice(), &[Standing::LongerPath]].concat());
        let lossy = run(83, 200_000, 0, 0.1);
        assert_eq!(lossy, [[Standing::Queue; 12].as_slice(), &[Standing::LongerPath]].concat());
    }

    #[test]
    fn a_queue_that_comes_and_goes_does_not_stand() {
        let mut watch = StandingQueue::default();
        for tick in 0..600 {
            let queue = if tick % 5 == 4 { 50_000 } else { 200_000 };
            assert_eq!(watch.watch(tick * 100_000, queue, 0, 0.0), Standing::No);
        }
    }
}
