//! Round trip and standing queue, from what every feedback tells.
//!
//! The round trip follows `OnTransportPacketsFeedback` of libwebrtc
//! `modules/congestion_controller/goog_cc/goog_cc_network_control.cc`. The queue is the one-way delay
//! over the least of the last seconds; the clocks need not agree for that.

use super::Micros;

/// Weight of a new round trip (RFC 6298).
const RTT_WEIGHT: f64 = 0.125;
/// Weight of a new delay in the queue.
const QUEUE_WEIGHT: f64 = 0.25;
/// Weight of a new difference in the jitter.
const JITTER_WEIGHT: f64 = 1.0 / 16.0;
/// The least delay is that of the last one or two of these: clocks drift 12 ms in it at most, and a queue that stands for long must not pass for the path.
const BASE_US: Micros = 60_000_000;

/// Delays of one path.
#[derive(Debug, Default)]
pub(super) struct Delays {
    rtt_us: Option<f64>,
    queue_us: f64,
    jitter_us: f64,
    base: Option<Base>,
}

#[derive(Debug, Clone, Copy)]
struct Base {
    began: Micros,
    least: Micros,
    least_before: Micros,
}

impl Delays {
    /// The newest packet of a feedback that came at `now`: left at `sent`, arrived at `arrival` on the
    /// receiver's clock.
    pub fn note(&mut self, now: Micros, sent: Micros, arrival: Micros) {
        self.note_rtt(now - sent);
        let delay = arrival - sent;
        let base = self.base.get_or_insert(Base { began: now, least: delay, least_before: delay });
        if now - base.began > BASE_US {
            *base = Base { began: now, least: delay, least_before: base.least };
        }
        base.least = base.least.min(delay);
        let queue = delay - base.least.min(base.least_before);
        self.queue_us += QUEUE_WEIGHT * (queue as f64 - self.queue_us);
    }

    /// A round trip measured in whatever way.
    pub fn note_rtt(&mut self, rtt_us: Micros) {
        let sample = rtt_us.max(0) as f64;
        self.rtt_us = Some(self.rtt_us.map_or(sample, |rtt| rtt + RTT_WEIGHT * (sample - rtt)));
    }

    /// Two groups arrived by this much closer or further apart than they were sent (as in RFC 3550
    /// 6.4.1).
    pub fn note_difference(&mut self, difference_us: f64) {
        self.jitter_us += JITTER_WEIGHT * (difference_us.abs() - self.jitter_us);
    }

    /// How much arrivals are off, on average.
    pub fn jitter_us(&self) -> Micros {
        self.jitter_us as Micros
    }

    pub fn rtt_us(&self) -> Option<Micros> {
        self.rtt_us.map(|rtt| rtt as Micros)
    }

    pub fn queue_us(&self) -> Micros {
        self.queue_us as Micros
    }

    /// The receiver's clock jumped.
    pub fn forget_base(&mut self) {
        self.base = None;
        self.queue_us = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_what_comes_on_top_of_the_least_delay() {
        let mut delays = Delays::default();
        for tick in 0..100 {
            let sent = tick * 50_000;
            let queue = if tick < 50 { 0 } else { 120_000 };
            delays.note(sent + 90_000, sent, sent + 777_000_000 + queue);
        }
        assert_eq!(delays.rtt_us(), Some(90_000));
        assert!((delays.queue_us() - 120_000).abs() < 1_000, "{}", delays.queue_us());
    }

    #[test]
    fn a_longer_path_is_no_queue_after_a_while() {
        let mut delays = Delays::default();
        delays.note(0, 0, 0);
        for tick in 1..2600 {
            let sent = tick * 50_000;
            delays.note(sent, sent, sent + 40_000);
        }
        assert_eq!(delays.queue_us(), 0);
    }
}
