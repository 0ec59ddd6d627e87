//! Percentiles of many values in little memory: 32 buckets per power of two, so 3 % wide.

const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;

/// Counts of values by size.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (64 - SUB_BITS as usize + 1) * SUB], total: 0, max: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The value that `share` (0 to 1) of the recorded ones do not exceed; `None` if empty.
    pub fn percentile(&self, share: f64) -> Option<u64> {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        self.counts.iter().enumerate().find_map(|(at, count)| {
            seen += count;
            (seen >= rank).then(|| upper(at).min(self.max))
        })
    }
}

fn bucket(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(SUB_BITS + 1);
    shift as usize * SUB + (value >> shift) as usize
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < 2 * SUB {
        return bucket as u64;
    }
    let shift = bucket / SUB - 1;
    let low = (bucket - shift * SUB) as u64;
    (low << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_bucket() {
        for value in (0..5000).chain([1 << 20, (1 << 20) + 12345, u64::MAX / 3, u64::MAX]) {
            let top = upper(bucket(value));
            assert!(top >= value && top - value <= value / 32, "{value} -> {top}");
            assert!(value == 0 || upper(bucket(value) - 1) < value, "{value}");
        }
    }

    #[test]
    fn percentiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        (1..=1000).for_each(|value| histogram.record(value));
        let p50 = histogram.percentile(0.5).unwrap();
        let p99 = histogram.percentile(0.99).unwrap();
        assert!((500..=516).contains(&p50) && (990..=1000).contains(&p99), "{p50} {p99}");
        assert_eq!(histogram.percentile(1.0), Some(1000));
    }
}
