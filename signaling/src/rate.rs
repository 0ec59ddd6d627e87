//! How often something may be done: so many per second in the long run, so many at once.
//!
//! The generic cell rate algorithm (a leaky bucket as one number: when it is full again). Time is
//! an argument, in milliseconds of any clock that never goes back.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Refused commands before a flooding connection is closed. Trade: a client that counts wrongly
/// once learns from the refusal; a flood ends within its first packet.
pub const STRIKES: u32 = 20;

/// How fast tokens come back, and how many may be saved up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Microseconds per token: whole milliseconds would make 300 a second 333.
    every_us: u64,
    burst: u64,
}

impl Pace {
    /// `per_second` in the long run and `burst` at once, each at least one.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second as u64 };
        let burst = if burst == 0 { 1 } else { burst as u64 };
        Self { every_us: 1_000_000u64.div_ceil(per_second), burst }
    }

    /// What `full_at_us` becomes by taking one token, or the milliseconds until there is one.
    fn take(self, full_at_us: u64, now_ms: u64) -> Result<u64, u64> {
        let now_us = now_ms.saturating_mul(1000);
        let full_at = full_at_us.max(now_us).saturating_add(self.every_us);
        let allowed = now_us.saturating_add(self.every_us.saturating_mul(self.burst));
        if full_at > allowed { Err((full_at - allowed).div_ceil(1000)) } else { Ok(full_at) }
    }
}

/// The state of one rate with one owner; full at first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    full_at_us: u64,
}

impl Rate {
    /// Take one token.
    ///
    /// # Errors
    /// The milliseconds to wait if there is none.
    pub fn take(&mut self, now_ms: u64, pace: Pace) -> Result<(), u64> {
        self.full_at_us = pace.take(self.full_at_us, now_ms)?;
        Ok(())
    }

    /// Whether it is full, so that it says no more than a new one.
    #[must_use]
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.full_at_us <= now_ms.saturating_mul(1000)
    }
}

/// One rate that several tasks take from, and how often they found nothing.
#[derive(Debug)]
pub struct SharedRate {
    pace: Pace,
    full_at_us: AtomicU64,
    strikes: AtomicU32,
}

impl SharedRate {
    /// A full one.
    #[must_use]
    pub const fn new(pace: Pace) -> Self {
        Self { pace, full_at_us: AtomicU64::new(0), strikes: AtomicU32::new(0) }
    }

    /// Take one token.
    ///
    /// # Errors
    /// The milliseconds to wait if there is none.
    pub fn take(&self, now_ms: u64) -> Result<(), u64> {
        // The number alone is the state: nothing else has to be seen in order with it.
        let mut seen = self.full_at_us.load(Ordering::Relaxed);
        loop {
            let next = match self.pace.take(seen, now_ms) {
                Ok(next) => next,
                Err(wait_ms) => {
                    self.strikes.fetch_add(1, Ordering::Relaxed);
                    return Err(wait_ms);
                }
            };
            let swapped = self.full_at_us.compare_exchange_weak(
                seen,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
    }

    /// How often there was no token.
    pub fn strikes(&self) -> u32 {
        self.strikes.load(Ordering::Relaxed)
    }

    /// Whether it is full, so that it says no more than a new one.
    #[must_use]
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.full_at_us.load(Ordering::Relaxed) <= now_ms.saturating_mul(1000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn burst_passes_and_one_more_does_not() {
        let (pace, mut rate) = (Pace::new(50, 100), Rate::default());
        assert!((0..100).all(|_| rate.take(7, pace).is_ok()));
        assert_eq!(rate.take(7, pace), Err(20));
        assert_eq!(rate.take(26, pace), Err(1), "19 ms are not a token at 50/s");
        assert!(rate.take(27, pace).is_ok());
        assert!(rate.take(27, pace).is_err());
    }

    #[test]
    fn tasks_share_one_burst() {
        let rate = SharedRate::new(Pace::new(1, 100));
        let passed: usize = std::thread::scope(|scope| {
            let take = || (0..100).filter(|_| rate.take(5).is_ok()).count();
            let tasks: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            tasks.into_iter().map(|task| task.join().expect("ends")).sum()
        });
        assert_eq!((passed, rate.strikes()), (100, 300));
        assert!(!rate.is_full(100_004) && rate.is_full(100_005));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate(
            rate in 1u32..200, burst in 1u32..200,
            steps in prop::collection::vec(0u64..50, 1..400),
        ) {
            let (pace, mut bucket) = (Pace::new(rate, burst), Rate::default());
            let (mut now, mut passed) = (1, 0u64);
            for step in steps {
                now += step;
                passed += u64::from(bucket.take(now, pace).is_ok());
            }
            prop_assert!(passed * 1000 <= u64::from(burst) * 1000 + now * u64::from(rate));
        }

        #[test]
        fn the_wait_it_names_is_enough(rate in 1u32..500, burst in 1u32..20) {
            let (pace, mut bucket) = (Pace::new(rate, burst), Rate::default());
            let mut now = 9;
            for _ in 0..100 {
                if let Err(wait) = bucket.take(now, pace) {
                    prop_assert!(wait > 0);
                    now += wait;
                    prop_assert!(bucket.take(now, pace).is_ok());
                }
            }
        }
    }
}
