//! A token bucket: so many per second in the long run, so many at once.

/// Rates are per second, time is an argument in milliseconds of any clock that never goes back.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Thousandths of a token, so that integers suffice.
    milli: u64,
    per_second: u64,
    burst: u64,
    last_ms: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, now_ms: u64) -> Self {
        let burst = u64::from(burst) * 1000;
        Self { milli: burst, per_second: u64::from(per_second), burst, last_ms: now_ms }
    }

    /// Take one token; `false` = none left.
    pub fn take(&mut self, now_ms: u64) -> bool {
        // tokens per second x milliseconds = thousandths of a token.
        let gained = now_ms.saturating_sub(self.last_ms).saturating_mul(self.per_second);
        self.last_ms = self.last_ms.max(now_ms);
        self.milli = self.milli.saturating_add(gained).min(self.burst);
        if self.milli < 1000 {
            return false;
        }
        self.milli -= 1000;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn burst_passes_and_one_more_does_not() {
        let mut bucket = Bucket::new(50, 100, 7);
        assert!((0..100).all(|_| bucket.take(7)));
        assert!(!bucket.take(7));
        assert!(!bucket.take(26), "19 ms are not a token at 50/s");
        assert!(bucket.take(27));
        assert!(!bucket.take(27));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_plus_rate(
            rate in 1u32..200, burst in 1u32..200,
            steps in prop::collection::vec(0u64..50, 1..400),
        ) {
            let mut bucket = Bucket::new(rate, burst, 0);
            let (mut now, mut passed) = (0, 0u64);
            for step in steps {
                now += step;
                passed += u64::from(bucket.take(now));
            }
            prop_assert!(passed * 1000 <= u64::from(burst) * 1000 + now * u64::from(rate));
        }
    }
}
