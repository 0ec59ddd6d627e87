//! A rate from what receivers tell that know no transport-wide feedback: the losses in their reports (RFC 3550),
//! and their own estimate (REMB, draft-alvestrand-rmcat-remb-03) where they send one.
//!
//! After `SendSideBandwidthEstimation::UpdatePacketsLost` and `UpdateEstimate` of libwebrtc
//! `modules/congestion_controller/goog_cc/send_side_bandwidth_estimation.cc`. That follows an encoder, which tries a
//! little more at a time. What is forwarded here jumps from one layer to the next, and nothing can be tried in
//! between, as nobody tells when packets arrive: so the next layer itself is the trial, at once where nothing
//! was ever lost, and after waits that get longer where it was.

use super::Micros;

/// Up to this share of losses the rate grows; above the next one it shrinks.
const LOW_LOSS: f64 = 0.02;
const HIGH_LOSS: f64 = 0.10;
/// Growth a second below a rate that failed.
const GROWTH: f64 = 1.08;
/// Growth a second where nothing failed, or not lately. Trade: a wide network shows the best picture after three
/// reports; a narrow one loses a second of it.
const FREE_GROWTH: f64 = 2.0;
/// Time between two decreases, beside a round trip: a report tells of the second before, and until a key frame has come
/// the viewer is sent the old layer.
const DECREASE_INTERVAL_US: Micros = 2_000_000;
/// A report after a longer silence grows the rate by this much time only.
const MAX_GROWTH_S: f64 = 1.0;
/// What failed is not tried again for this long, then for twice as long, and so on. Trade: a second of a broken picture
/// each time, against how long a viewer waits for the better one when its network is wide again.
const WAIT_US: Micros = 8_000_000;
const MAX_WAIT_US: Micros = 60_000_000;
/// A failure this long after the wait for the one before is of its own.
const NEW_FAILURE_US: Micros = 15_000_000;
/// Until then the rate stays below this share of what failed.
const BELOW_FAILED: f64 = 0.9;
/// A receiver's estimate is no limit while it rises by this share, as its receiver sees no queue, or if it is so much
/// above what is sent: it follows what arrives, by no more than half.
const RISES: f64 = 1.01;
const FALLS: f64 = 0.97;
const ENOUGH: f64 = 1.2;
/// A round trip this much above the least says that there is a queue.
const QUEUE_US: Micros = 50_000;

/// The controller of one path.
#[derive(Debug)]
pub(super) struct LossReports {
    bps: f64,
    loss: f64,
    least_rtt: Option<Micros>,
    queued: bool,
    reported: Option<Micros>,
    decreased: Option<Micros>,
    failed: Option<Failed>,
    receiver: Option<Receiver>,
}

/// A rate that was too much.
#[derive(Debug, Clone, Copy)]
struct Failed {
    bps: f64,
    wait: Micros,
    until: Micros,
}

/// The receiver's own estimate.
#[derive(Debug, Clone, Copy)]
struct Receiver {
    bps: f64,
    limits: bool,
}

impl LossReports {
    pub fn new(start_bps: f64) -> Self {
        Self {
            bps: start_bps,
            loss: 0.0,
            least_rtt: None,
            queued: false,
            reported: None,
            decreased: None,
            failed: None,
            receiver: None,
        }
    }

    pub fn bps(&self) -> f64 {
        self.bps
    }

    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// The receiver estimates `bps` itself, and is sent `sent_bps`, as far as that is known. Below what is sent
    /// it is a limit unless it rises; more of it is followed while little is lost.
    pub fn on_receiver_estimate(&mut self, now: Micros, bps: f64, sent_bps: Option<f64>) {
        let before = self.receiver.map(|receiver| receiver.bps);
        let fell = before.is_some_and(|before| bps < before * FALLS);
        let rises = before.is_some_and(|before| bps > before * RISES);
        let enough = sent_bps.is_some_and(|sent| bps >= sent * ENOUGH);
        // What is forwarded comes in bursts, which libwebrtc's estimator for REMB takes for overuse now and then. It falls to
        // 85 % of what arrives, and stays behind when a better layer is tried: followed without a reason of our own to,
        // that ended at the fewest frames of the lowest layer, on a wide network.
        let believed = self.loss > LOW_LOSS || self.queued;
        let limits = believed && (fell || !(rises || enough));
        self.receiver = Some(Receiver { bps, limits });
        if bps > self.bps {
            if self.loss <= LOW_LOSS && self.ceiling(now).is_none() {
                self.bps = bps;
            }
        } else if limits {
            if fell && let Some(sent) = sent_bps {
                self.note_failure(now, sent.max(bps));
            }
            self.bps = bps;
        }
    }

    /// A report block came of a stream among `sent_bps`. `max_bps` is what the configuration allows.
    pub fn on_report(
        &mut self,
        now: Micros,
        loss: f64,
        rtt_us: Option<Micros>,
        sent_bps: Option<f64>,
        max_bps: f64,
    ) {
        self.loss = loss;
        if let Some(rtt) = rtt_us {
            let least = self.least_rtt.map_or(rtt, |least| least.min(rtt));
            self.least_rtt = Some(least);
            self.queued = rtt - least > QUEUE_US;
        }
        let rtt_us = rtt_us.unwrap_or(0);
        let elapsed = self.reported.replace(now).map_or(0, |reported| now - reported);
        if loss <= LOW_LOSS {
            self.grow((elapsed.max(0) as f64 / 1e6).min(MAX_GROWTH_S), now, max_bps);
        } else if loss > HIGH_LOSS
            && self.decreased.is_none_or(|at| now - at >= DECREASE_INTERVAL_US + rtt_us)
        {
            self.decreased = Some(now);
            let sent = sent_bps.unwrap_or(self.bps);
            self.note_failure(now, sent);
            // What arrives is what the network takes.
            self.bps = self.bps.min(sent * (1.0 - loss));
        }
    }

    fn grow(&mut self, seconds: f64, now: Micros, max_bps: f64) {
        let ceiling = self.ceiling(now);
        let growth = if ceiling.is_some() { GROWTH } else { FREE_GROWTH };
        let limit = self.receiver.filter(|receiver| receiver.limits).map(|receiver| receiver.bps);
        let most = max_bps.min(limit.unwrap_or(max_bps)).min(ceiling.unwrap_or(max_bps));
        let grown = self.bps * growth.powf(seconds) + 1_000.0 * seconds;
        self.bps = grown.min(most).max(self.bps.min(max_bps));
    }

    /// What may not be reached for the present.
    fn ceiling(&self, now: Micros) -> Option<f64> {
        let failed = self.failed.filter(|failed| now < failed.until);
        failed.map(|failed| failed.bps * BELOW_FAILED)
    }

    fn note_failure(&mut self, now: Micros, bps: f64) {
        let at = self.failed.map(|failed| failed.until - failed.wait);
        if at.is_some_and(|at| now - at < DECREASE_INTERVAL_US) {
            return;
        }
        let again = self.failed.filter(|failed| {
            now < failed.until + NEW_FAILURE_US && bps >= failed.bps * BELOW_FAILED
        });
        let wait = again.map_or(WAIT_US, |failed| (failed.wait * 2).min(MAX_WAIT_US));
        self.failed = Some(Failed { bps, wait, until: now + wait });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const RTT: Micros = 50_000;

    /// Reports of these losses, a second apart, while `sent` of what may be sent is.
    fn reported(reports: &mut LossReports, from: Micros, losses: &[f64], sent: f64) -> f64 {
        for (second, loss) in losses.iter().enumerate() {
            let now = from + second as Micros * SECOND;
            reports.on_report(now, *loss, Some(RTT), Some(sent), 1e7);
        }
        reports.bps()
    }

    #[test]
    fn little_loss_grows_some_holds_and_much_shrinks() {
        for (loss, expected) in [(0.02, 2.001e6), (0.021, 1e6), (0.1, 1e6), (0.2, 0.8e6)] {
            let mut reports = LossReports::new(1e6);
            let bps = reported(&mut reports, 0, &[0.0, loss], 1e6);
            assert!((bps / expected - 1.0).abs() < 1e-6, "{loss}: {bps}");
        }
    }

    #[test]
    fn what_arrives_of_much_too_much_is_the_rate_and_not_lowered_again_by_the_same_second() {
        let mut reports = LossReports::new(8e6);
        assert_eq!(reported(&mut reports, 0, &[0.6, 0.8], 2.5e6), 1e6);
        assert_eq!(reported(&mut reports, 2 * SECOND, &[0.8], 2.5e6), 1e6, "a round trip");
        assert_eq!(reported(&mut reports, 3 * SECOND, &[0.5], 1e6), 0.5e6);
        // Loss that does not depend on the rate does not bring it down to nothing.
        for second in 5..60 {
            reported(&mut reports, second * SECOND, &[0.2], 0.6e6);
        }
        assert_eq!(reports.bps(), 0.48e6);
    }

    /// When the rate is above `bps` for the first time, in seconds, if nothing is lost from `from` on.
    fn above(reports: &mut LossReports, bps: f64, from: i64) -> i64 {
        (from..from + 100)
            .find(|second| reported(reports, second * SECOND, &[0.0], 1e6) > bps)
            .expect("it grows")
    }

    #[test]
    fn what_failed_is_tried_again_after_waits_that_get_longer() {
        let mut reports = LossReports::new(2e6);
        let mut at = 0;
        let mut waits = Vec::new();
        for _ in 0..6 {
            reported(&mut reports, at * SECOND, &[0.5], 2e6);
            let tried = above(&mut reports, 2e6, at + 1);
            waits.push(tried - at);
            at = tried + 1;
        }
        assert!(
            waits.iter().zip([8, 16, 32, 60, 60, 60]).all(|(w, of)| (of..of + 2).contains(w)),
            "{waits:?}"
        );
        // It went well for long enough.
        at += 90;
        reported(&mut reports, at * SECOND, &[0.5], 2e6);
        let tried = above(&mut reports, 2e6, at + 1);
        assert!((8..10).contains(&(tried - at)), "{tried}");
    }

    #[test]
    fn a_receivers_estimate_raises_only_without_loss_and_below_what_failed() {
        let mut reports = LossReports::new(1e6);
        reports.on_receiver_estimate(0, 2e6, None);
        assert_eq!(reports.bps(), 2e6);
        reports.on_report(0, 0.05, None, None, 1e7);
        reports.on_receiver_estimate(0, 3e6, None);
        assert_eq!(reports.bps(), 2e6);
        reports.on_receiver_estimate(0, 1e6, Some(2e6));
        assert_eq!(reports.bps(), 1e6, "it fell");
        reports.on_report(0, 0.0, None, None, 1e7);
        reports.on_receiver_estimate(SECOND, 5e6, Some(1e6));
        assert_eq!(reports.bps(), 1e6, "2 Mbit/s failed a second ago");
        reports.on_receiver_estimate(9 * SECOND, 6e6, Some(1e6));
        assert_eq!(reports.bps(), 6e6);
    }

    #[test]
    fn a_receivers_estimate_is_no_limit_while_it_rises_or_is_far_above_what_is_sent() {
        for (estimates, sent, grows) in [
            ([500e3, 540e3, 583e3], 2e6, true),
            ([500e3, 500e3, 500e3], 2e6, false),
            ([500e3, 500e3, 500e3], 400e3, true),
        ] {
            let mut reports = LossReports::new(400e3);
            reports.on_report(0, 0.0, Some(RTT), Some(sent), 1e7);
            let queued = Some(RTT + QUEUE_US + 1);
            for (second, bps) in (0..).zip(estimates) {
                reports.on_receiver_estimate(second * SECOND, bps, Some(sent));
                reports.on_report(second * SECOND, 0.0, queued, Some(sent), 1e7);
            }
            let most = estimates[2];
            assert_eq!(reports.bps() > most, grows, "{estimates:?}: {}", reports.bps());
        }
    }

    #[test]
    fn a_receivers_estimate_below_what_is_sent_counts_with_losses_or_a_queue() {
        for (loss, rtt, estimate, limits) in [
            (0.0, RTT, 0.85e6, false),
            (0.0, RTT, 0.1e6, false),
            (0.03, RTT, 0.85e6, true),
            (0.0, RTT + QUEUE_US, 0.85e6, false),
            (0.0, RTT + QUEUE_US + 1, 0.85e6, true),
        ] {
            let mut reports = LossReports::new(1e6);
            reports.on_report(0, 0.0, Some(RTT), Some(1e6), 1e7);
            reports.on_receiver_estimate(0, 1e6, Some(1e6));
            reports.on_report(0, loss, Some(rtt), Some(1e6), 1e7);
            reports.on_receiver_estimate(0, estimate, Some(1e6));
            assert_eq!(reports.bps() < 1e6, limits, "{loss}, {rtt}: {}", reports.bps());
        }
    }
}
