//! What one viewer's network takes: the numbers under which packets go there, the log of them, the estimate
//! made of what the viewer says of it, and the probes that find out more.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::TransportFeedback;

use super::estimator::{Estimator, EstimatorConfig, FeedbackOutcome, ProbePacer};
use super::sent::SentLog;

/// How long a viewer that negotiated feedback may be silent about everything before it is treated as one
/// that has none. Trade: until then it gets what the first estimate allows, however fast its network is.
const SILENT: Duration = Duration::from_secs(3);
/// How often the estimator is asked for probes, and its rate lowered if feedback stays away.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// The account of one watch transport.
#[derive(Debug)]
pub struct Downlink {
    /// Transport-wide number of the next packet.
    next: u16,
    /// The first number that is not in the log.
    noted: u16,
    log: SentLog,
    estimator: Estimator,
    pacer: Option<ProbePacer>,
    created: Instant,
    heard: bool,
    /// Something better than what is sent could be sent: probing has a purpose.
    wants_more: bool,
    ask_at: Instant,
}

impl Downlink {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(now: Instant, config: EstimatorConfig) -> Self {
        Self {
            next: 1,
            noted: 1,
            log: SentLog::new(now),
            estimator: Estimator::new(now, config),
            pacer: None,
            created: now,
            heard: false,
            wants_more: false,
            ask_at: now + ASK_EVERY,
        }
    }

    /// The number of the next packet.
    pub fn take_number(&mut self) -> u16 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// The packets numbered since this was last called, if any, leave now as one message of `segment` bytes each.
    pub fn note_message(&mut self, now: Instant, segment: usize) {
        let count = self.next.wrapping_sub(self.noted);
        if count == 0 {
            return;
        }
        let bytes = u16::try_from(segment).unwrap_or(u16::MAX);
        let probe = self.pacer.as_mut().map(|pacer| {
            pacer.sent(usize::from(count) * segment, usize::from(count));
            pacer.probe().id
        });
        // What is sent behind a probe would tell its own rate as that of the probe.
        if self.pacer.as_ref().is_some_and(|pacer| pacer.next().is_none()) {
            self.pacer = None;
        }
        self.log.note(now, self.noted, count, bytes, probe);
        self.noted = self.next;
    }

    /// The viewer told what arrived. `true` = the estimate changed by enough to choose layers anew.
    pub fn on_feedback(
        &mut self,
        now: Instant,
        feedback: &TransportFeedback<'_>,
    ) -> (FeedbackOutcome, bool) {
        self.heard = true;
        let outcome = self.estimator.on_feedback(now, feedback, &mut self.log);
        (outcome, self.estimator.take_change().is_some())
    }

    /// The viewer's own estimate (REMB). `true` as for [`Self::on_feedback`].
    pub fn on_remb(&mut self, now: Instant, bps: u64) -> bool {
        self.heard = true;
        self.estimator.on_remb(now, bps);
        self.estimator.take_change().is_some()
    }

    /// What may go to the viewer, bit/s; `None` = it tells nothing.
    #[must_use]
    pub fn budget_bps(&self, now: Instant) -> Option<u64> {
        let silent = !self.heard && now.saturating_duration_since(self.created) > SILENT;
        (!silent).then(|| self.estimator.estimate().target_bps)
    }

    /// The best of everything the viewer watches takes `wanted_bps`, which is more than it gets if
    /// `wants_more`.
    pub fn set_wanted(&mut self, now: Instant, wanted_bps: u64, wants_more: bool) {
        self.estimator.set_wanted(now, wanted_bps);
        self.wants_more = wants_more;
    }

    /// When [`Self::probe_bytes`] has something to say.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let burst = self.pacer.as_ref().and_then(ProbePacer::next);
        let ask = self.wants_more.then_some(self.ask_at);
        burst.into_iter().chain(ask).min()
    }

    /// Bytes of a probe to send now, if one is due.
    pub fn probe_bytes(&mut self, now: Instant) -> Option<usize> {
        if self.pacer.as_ref().is_some_and(|pacer| pacer.next().is_none()) {
            self.pacer = None;
        }
        if self.ask_at <= now {
            self.ask_at = now + ASK_EVERY;
            if self.pacer.is_none() && self.wants_more && self.heard {
                let probe = self.estimator.poll_probe(now);
                self.pacer = probe.map(|probe| ProbePacer::new(now, probe));
            }
        }
        self.pacer.as_mut()?.due(now)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::super::estimator::Probe;
    use super::super::sent::ProbeId;
    use super::*;

    #[test]
    fn what_is_sent_behind_a_probe_is_no_part_of_it() {
        let now = Instant::now();
        let mut downlink = Downlink::new(now, EstimatorConfig::default());
        let probe = Probe {
            id: ProbeId::next(None),
            target_bps: 1_000_000,
            bytes: 3_000,
            min_packets: 3,
            interval: Duration::from_millis(5),
        };
        downlink.pacer = Some(ProbePacer::new(now, probe));
        for _ in 0..3 {
            assert!(downlink.pacer.is_some(), "media between its bursts is part of it");
            downlink.take_number();
            downlink.note_message(now, 1_000);
        }
        assert!(downlink.pacer.is_none(), "and the next message is not");
    }
}
