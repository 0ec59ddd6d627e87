//! The shards' numbers as Prometheus series, summed over shards when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::net::send_counters::RUN_BOUNDS;
use crate::net::stats::{Count, RESIDENCE_BOUNDS_NS, ShardStats, Snapshot};
use crate::sfu::drop_reason::DropReason;

/// Name and help of what is not a [`Count`].
const DROPPED: (&str, &str) =
    ("greenroom_dropped_total", "Datagrams, packets and messages that went no further.");
const RUNS: (&str, &str) = ("greenroom_run_datagrams", "Datagrams per message sent.");
const RESIDENCE: (&str, &str) = (
    "greenroom_residence_seconds",
    "From the kernel's receive time to the end of the turn that handled the datagram.",
);
const TRANSPORTS: (&str, &str) = ("greenroom_transports", "Transports alive, by shard.");

/// Reads the [`ShardStats`] of every shard.
#[derive(Debug)]
pub struct MediaCollector {
    shards: Arc<[ShardStats]>,
    descriptions: Vec<Desc>,
}

impl MediaCollector {
    /// A collector over `shards`.
    ///
    /// # Errors
    /// A name that Prometheus does not allow: a bug in this file's tables.
    pub fn new(shards: Arc<[ShardStats]>) -> anyhow::Result<Self> {
        let counts = Count::ALL.iter().map(|count| ((count.name(), count.help()), None));
        let others = [
            (DROPPED, Some("reason")),
            (RUNS, None),
            (RESIDENCE, None),
            (TRANSPORTS, Some("shard")),
        ];
        let descriptions = counts
            .chain(others)
            .map(|((name, help), label)| {
                let labels = label.into_iter().map(str::to_owned).collect();
                Desc::new(name.into(), help.into(), labels, HashMap::new())
            })
            .collect::<prometheus::Result<_>>()?;
        Ok(Self { shards, descriptions })
    }
}

impl Collector for MediaCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let snapshots: Vec<Snapshot> = self.shards.iter().map(ShardStats::read).collect();
        let sum = |of: &dyn Fn(&Snapshot) -> u64| snapshots.iter().map(of).sum::<u64>();
        let mut families: Vec<MetricFamily> = Count::ALL
            .iter()
            .map(|count| {
                let value = sum(&|snapshot| snapshot.counts[*count as usize]);
                family((count.name(), count.help()), MetricType::COUNTER, vec![counter(value)])
            })
            .collect();
        let drops = DropReason::ALL.iter().map(|reason| {
            let value = sum(&|snapshot| snapshot.drops[*reason as usize]);
            labelled(counter(value), "reason", reason.name().to_owned())
        });
        families.push(family(DROPPED, MetricType::COUNTER, drops.collect()));

        let runs: Vec<u64> =
            (0..RUN_BOUNDS.len()).map(|run| sum(&|snapshot| snapshot.runs[run])).collect();
        let datagrams = sum(&|snapshot| snapshot.counts[Count::SentDatagrams as usize]);
        let bounds = RUN_BOUNDS.map(|bound| bound as f64);
        families.push(histogram(RUNS, &bounds, &runs, datagrams as f64));

        let residence: Vec<u64> = (0..=RESIDENCE_BOUNDS_NS.len())
            .map(|bucket| sum(&|snapshot| snapshot.residence.buckets[bucket]))
            .collect();
        let seconds = sum(&|snapshot| snapshot.residence.sum_ns) as f64 / 1e9;
        let bounds = RESIDENCE_BOUNDS_NS.map(|bound| bound as f64 / 1e9);
        families.push(histogram(RESIDENCE, &bounds, &residence, seconds));

        let transports = snapshots.iter().enumerate().map(|(shard, snapshot)| {
            let mut gauge = Gauge::default();
            gauge.set_value(snapshot.transports as f64);
            labelled(Metric::from_gauge(gauge), "shard", shard.to_string())
        });
        families.push(family(TRANSPORTS, MetricType::GAUGE, transports.collect()));
        families
    }
}

fn family((name, help): (&str, &str), kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn counter(value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn labelled(mut metric: Metric, name: &str, value: String) -> Metric {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value);
    metric.set_label(vec![label]);
    metric
}

/// `counts` by bucket, with one more than `bounds` if values can lie above them all.
fn histogram(name: (&str, &str), bounds: &[f64], counts: &[u64], sum: f64) -> MetricFamily {
    let mut total = 0;
    let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
        total += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(total);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(name, MetricType::HISTOGRAM, vec![metric])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn every_number_is_rendered_once_and_summed_over_shards() {
        let shards: Arc<[ShardStats]> = (0..2).map(|_| ShardStats::default()).collect();
        let mut snapshot = Snapshot { transports: 3, ..Snapshot::default() };
        snapshot.drops[DropReason::SendBufferFull as usize] = 5;
        snapshot.counts[Count::SentDatagrams as usize] = 12;
        snapshot.runs[3] = 2;
        snapshot.residence.record(1_500_000);
        shards.iter().for_each(|shard| shard.publish(&snapshot));
        let metrics = Metrics::new();
        let collector = MediaCollector::new(shards).expect("good names");
        metrics.register(Box::new(collector)).expect("one collector");
        let text = metrics.render();
        for line in [
            "greenroom_dropped_total{reason=\"send_buffer_full\"} 10",
            "greenroom_datagrams_out_total 24",
            "greenroom_run_datagrams_bucket{le=\"3\"} 0",
            "greenroom_run_datagrams_bucket{le=\"5\"} 4",
            "greenroom_run_datagrams_count 4",
            "greenroom_residence_seconds_bucket{le=\"0.002\"} 2",
            "greenroom_residence_seconds_bucket{le=\"+Inf\"} 2",
            "greenroom_transports{shard=\"1\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        for reason in DropReason::ALL {
            let series = format!("greenroom_dropped_total{{reason=\"{}\"}}", reason.name());
            assert_eq!(text.matches(&series).count(), 1, "{series}");
        }
    }
}
