//! What a probe measured.
//!
//! Follows libwebrtc `modules/congestion_controller/goog_cc/probe_bitrate_estimator.cc`. A message
//! leaves at one instant here, so the send rate leaves out the last message, not the last packet.

use super::super::super::sent::ProbeId;
use super::super::{MessageArrival, Micros};
use super::Probe;

/// Probes measured at the same time.
const CLUSTERS: usize = 3;
/// Share of a probe that must have arrived.
const REQUIRED_SHARE: f64 = 0.8;
/// A receiver that gets more than this many times what was sent is not to be believed.
const MAX_RATIO: f64 = 2.0;
/// A receiver that gets less than this share of what was sent is behind a full path, of which this
/// share is used.
const UNSATURATED: f64 = 0.9;
const UTILIZATION: f64 = 0.95;
/// A result is doubtful if less than this share of the probe got through in its time: the more a probe
/// asks for, the larger a part of a shared path it takes while it lasts.
const DOUBTFUL: f64 = 0.85;
/// Longest probe.
const MAX_SPAN_US: Micros = 1_000_000;

#[derive(Debug, Clone, Copy)]
struct Cluster {
    id: ProbeId,
    target_bps: f64,
    required_bytes: u32,
    required_packets: u16,
    packets: u16,
    bytes: u32,
    /// Bytes of the last message sent, and of the first packet to arrive.
    last_sent_bytes: u32,
    first_arrival_bytes: u16,
    first_sent: Micros,
    last_sent: Micros,
    first_arrival: Micros,
    last_arrival: Micros,
    /// When the first packet of the last message arrived.
    last_sent_arrival: Micros,
    news: Option<Measured>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    bps: f64,
    doubtful: bool,
}

/// The rates that probes measured, bit/s.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in super::super) struct Results {
    /// The highest that got through.
    pub sound: Option<f64>,
    /// The highest that is doubtful.
    pub doubtful: Option<f64>,
}

/// The probes of the last moments.
#[derive(Debug, Default)]
pub(in super::super) struct ProbeResults {
    clusters: [Option<Cluster>; CLUSTERS],
    next: u8,
}

impl ProbeResults {
    /// A probe is about to be sent.
    pub fn expect(&mut self, probe: &Probe) {
        self.clusters[usize::from(self.next) % CLUSTERS] = Some(Cluster {
            id: probe.id,
            target_bps: probe.target_bps as f64,
            required_bytes: (f64::from(probe.bytes) * REQUIRED_SHARE) as u32,
            required_packets: (f64::from(probe.min_packets) * REQUIRED_SHARE) as u16,
            packets: 0,
            bytes: 0,
            last_sent_bytes: 0,
            first_arrival_bytes: 0,
            first_sent: Micros::MAX,
            last_sent: Micros::MIN,
            first_arrival: Micros::MAX,
            last_arrival: Micros::MIN,
            last_sent_arrival: Micros::MAX,
            news: None,
        });
        self.next = (self.next + 1) % CLUSTERS as u8;
    }

    /// A message of a probe arrived.
    pub fn add(&mut self, id: ProbeId, message: &MessageArrival) {
        let cluster = self.clusters.iter_mut().flatten().find(|cluster| cluster.id == id);
        if let Some(cluster) = cluster {
            cluster.add(message);
            cluster.news = cluster.measure();
        }
    }

    /// What is new since the last call.
    pub fn take(&mut self) -> Results {
        let mut results = Results::default();
        for measured in self.clusters.iter_mut().flatten().filter_map(|cluster| cluster.news.take())
        {
            let place = if measured.doubtful { &mut results.doubtful } else { &mut results.sound };
            *place = Some(place.map_or(measured.bps, |bps| bps.max(measured.bps)));
        }
        results
    }
}

impl Cluster {
    fn add(&mut self, message: &MessageArrival) {
        self.packets = self.packets.saturating_add(message.packets);
        self.bytes = self.bytes.saturating_add(message.bytes);
        self.first_sent = self.first_sent.min(message.sent);
        if message.sent > self.last_sent {
            self.last_sent = message.sent;
            self.last_sent_bytes = message.bytes;
            self.last_sent_arrival = message.first_arrival;
        } else if message.sent == self.last_sent {
            self.last_sent_bytes = self.last_sent_bytes.saturating_add(message.bytes);
            self.last_sent_arrival = self.last_sent_arrival.min(message.first_arrival);
        }
        if message.first_arrival < self.first_arrival {
            self.first_arrival = message.first_arrival;
            self.first_arrival_bytes = message.packet_bytes;
        }
        self.last_arrival = self.last_arrival.max(message.last_arrival);
    }

    fn measure(&self) -> Option<Measured> {
        if self.packets < self.required_packets || self.bytes < self.required_bytes {
            return None;
        }
        let sent_bytes = self.bytes - self.last_sent_bytes;
        let sent = rate(sent_bytes, self.last_sent - self.first_sent)?;
        let mut arrived = rate(
            self.bytes.saturating_sub(u32::from(self.first_arrival_bytes)),
            self.last_arrival - self.first_arrival,
        )?;
        if arrived > MAX_RATIO * sent {
            // Was the last message a key frame? Then without it.
            arrived = rate(sent_bytes, self.last_sent_arrival - self.first_arrival)?;
        }
        if arrived > MAX_RATIO * sent {
            return None;
        }
        // A frame that was sent meanwhile makes it faster than it was meant, and may have found room in
        // a queue: not something to rely on.
        let asked = sent.min(self.target_bps);
        let bps =
            if arrived < UNSATURATED * asked { UTILIZATION * arrived } else { asked.min(arrived) };
        Some(Measured { bps, doubtful: arrived < DOUBTFUL * asked })
    }
}

fn rate(bytes: u32, span_us: Micros) -> Option<f64> {
    (span_us > 0 && span_us <= MAX_SPAN_US).then(|| f64::from(bytes) * 8e6 / span_us as f64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Four bursts of 2400 bytes, 5 ms apart, through a path of `capacity` bit/s.
    fn run(capacity: f64, arrive: impl Fn(usize, i64, i64) -> Option<(i64, i64)>) -> Results {
        let probe = Probe {
            id: ProbeId::next(None),
            target_bps: 3_840_000,
            bytes: 9_600,
            min_packets: 5,
            interval: Duration::from_millis(5),
        };
        let mut results = ProbeResults::default();
        results.expect(&probe);
        let mut free = 0;
        for burst in 0..4 {
            let sent = burst as i64 * 5_000;
            let packet = (1200.0 * 8e6 / capacity) as i64;
            let first = free.max(sent) + packet;
            free = first + packet;
            let Some((first, last)) = arrive(burst, first, free) else { continue };
            results.add(
                probe.id,
                &MessageArrival {
                    sent,
                    first_arrival: first + 40_000,
                    last_arrival: last + 40_000,
                    bytes: 2400,
                    packet_bytes: 1200,
                    packets: 2,
                    ..MessageArrival::default()
                },
            );
        }
        results.take()
    }

    #[test]
    fn a_free_path_measures_what_was_sent_and_a_full_one_what_it_carries() {
        let free = run(1e9, |_, first, last| Some((first, last))).sound.expect("a result");
        assert!((free / 3.84e6 - 1.0).abs() < 0.01, "{free}");
        let full = run(2e6, |_, first, last| Some((first, last))).doubtful.expect("a result");
        assert!((full / 1.9e6 - 1.0).abs() < 0.02, "{full}");
    }

    #[test]
    fn half_a_probe_is_no_result() {
        let half = run(1e9, |burst, first, last| (burst < 2).then_some((first, last)));
        assert_eq!(half, Results::default());
    }

    #[test]
    fn a_receiver_that_is_faster_than_the_sender_lies() {
        let fast = run(1e9, |burst, _, _| Some((burst as i64, burst as i64 + 1)));
        assert_eq!(fast, Results::default());
    }
}
