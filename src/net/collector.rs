//! The shards' numbers as Prometheus series, summed over shards when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use crate::net::send_counters::RUN_BOUNDS;
use crate::net::stats::{self, Count, RESIDENCE_BOUNDS_NS, RING_BOUNDS, ShardStats, Snapshot};
use crate::sfu::drop_reason::DropReason;
use crate::sfu::transport::Profile;

/// Name and help of what is not a [`Count`].
const DROPPED: (&str, &str) =
    ("greenroom_dropped_total", "Datagrams, packets and messages that went no further.");
const RUNS: (&str, &str) = ("greenroom_run_datagrams", "Datagrams per message sent.");
const RESIDENCE: (&str, &str) = (
    "greenroom_residence_seconds",
    "From the kernel's receive time to the end of the turn that handled the datagram.",
);
const RING_FILL: (&str, &str) = (
    "greenroom_relay_ring_messages",
    "Messages in another shard's ring whenever a shard found some; a full ring holds 1024.",
);
const CONNECTING: (&str, &str) = (
    "greenroom_handshakes_in_flight",
    "Transports without keys yet, by shard: waiting for a check or in their handshake.",
);
const PEERS: (&str, &str) = ("greenroom_peers", "Transports with keys, by SRTP profile.");
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
            (RING_FILL, None),
            (TRANSPORTS, Some("shard")),
            (CONNECTING, Some("shard")),
            (PEERS, Some("profile")),
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

        families.push(summed(RESIDENCE, &RESIDENCE_BOUNDS_NS, 1e9, &snapshots, |s| &s.residence));
        families.push(summed(RING_FILL, &RING_BOUNDS, 1.0, &snapshots, |s| &s.ring_fill));

        let by_shard = |value: &dyn Fn(&Snapshot) -> u64| {
            let shards = snapshots.iter().enumerate();
            shards.map(|(n, s)| labelled(gauge(value(s)), "shard", n.to_string())).collect()
        };
        let transports = by_shard(&|snapshot| snapshot.transports);
        families.push(family(TRANSPORTS, MetricType::GAUGE, transports));
        let connecting = by_shard(&|snapshot| snapshot.population.connecting);
        families.push(family(CONNECTING, MetricType::GAUGE, connecting));
        let peers = Profile::ALL.iter().map(|profile| {
            let value = sum(&|snapshot| snapshot.population.peers[*profile as usize]);
            labelled(gauge(value), "profile", profile.name().to_owned())
        });
        families.push(family(PEERS, MetricType::GAUGE, peers.collect()));
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

fn gauge(value: u64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value as f64);
    Metric::from_gauge(gauge)
}

fn labelled(mut metric: Metric, name: &str, value: String) -> Metric {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value);
    metric.set_label(vec![label]);
    metric
}

/// The sum over shards of what `of` says, whose values are counted in `unit`ths.
fn summed<const BUCKETS: usize>(
    name: (&str, &str),
    bounds: &[u64],
    unit: f64,
    snapshots: &[Snapshot],
    of: impl Fn(&Snapshot) -> &stats::Histogram<BUCKETS>,
) -> MetricFamily {
    let counts: Vec<u64> = (0..BUCKETS)
        .map(|bucket| snapshots.iter().map(|snapshot| of(snapshot).buckets[bucket]).sum())
        .collect();
    let bounds: Vec<f64> = bounds.iter().map(|bound| *bound as f64 / unit).collect();
    let sum: u64 = snapshots.iter().map(|snapshot| of(snapshot).sum).sum();
    histogram(name, &bounds, &counts, sum as f64 / unit)
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
    use crate::sfu::counters::Population;

    #[test]
    fn every_number_is_rendered_once_and_summed_over_shards() {
        let shards: Arc<[ShardStats]> = (0..2).map(|_| ShardStats::default()).collect();
        let mut snapshot = Snapshot { transports: 3, ..Snapshot::default() };
        snapshot.drops[DropReason::SendBufferFull as usize] = 5;
        snapshot.counts[Count::SentDatagrams as usize] = 12;
        snapshot.runs[3] = 2;
        snapshot.residence.record(&RESIDENCE_BOUNDS_NS, 1_500_000);
        snapshot.ring_fill.record(&RING_BOUNDS, 5);
        snapshot.population = Population { connecting: 2, peers: [4, 1] };
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
            "greenroom_relay_ring_messages_bucket{le=\"8\"} 2",
            "greenroom_transports{shard=\"1\"} 3",
            "greenroom_handshakes_in_flight{shard=\"0\"} 2",
            "greenroom_peers{profile=\"aead_aes_128_gcm\"} 8",
            "greenroom_peers{profile=\"aes128_cm_hmac_sha1_80\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        for reason in DropReason::ALL {
            let series = format!("greenroom_dropped_total{{reason=\"{}\"}}", reason.name());
            assert_eq!(text.matches(&series).count(), 1, "{series}");
        }
    }
}
