//! What one viewer's network takes: the numbers under which packets go there, the log of them, the estimate
//! made of what the viewer says of it, and the probes that find out more.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::TransportFeedback;

use super::estimator::{Estimate, Estimator, EstimatorConfig, FeedbackOutcome, ProbePacer};
use super::pace::Pace;
use super::sent::SentLog;

/// How long a viewer may be silent about everything before it is treated as one that never tells anything, and for how
/// long one that negotiated transport-wide feedback is expected to send that. Trade: until then it gets what the first estimate allows, however fast its network is.
const SILENT: Duration = Duration::from_secs(3);
/// For how long a new viewer is sent everything at once. Trade: until the first probes are answered the estimate is a
/// guess, by which what fits would be held, and a viewer waits for its first picture; a queue in its network has to
/// take the first key frame as it comes.
const UNPACED: Duration = Duration::from_secs(3);
/// How often the estimator is asked for probes, and its rate lowered if feedback stays away.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// An estimate of less than this part of what is given holds it back. Trade: an estimate dips by a half for a second
/// where nothing is wrong with the network but that something stood still, and steady media must not be held for that;
/// a network that takes even less loses most of what it is sent, sound too.
const DOUBTED: u64 = 3;
/// How long the video of a viewer rests whose network was too slow for the least it could be sent, the first
/// time; twice as long each time after that. Trade: it sees again soon when the network is better, and neither is
/// its sound drowned nor the publisher asked for key frames all the time when it is not.
const REST: Duration = Duration::from_secs(2);
const REST_AT_MOST: Duration = Duration::from_secs(16);
/// How long it must have gone well for the next time to count as the first.
const WENT_WELL: Duration = Duration::from_secs(30);

/// How long no video leaves for a viewer that waits for the key frame of a smaller layer, because what it is shown is more than
/// its network takes. Trade: what would leave stands in the queue before that key frame and is mostly lost; a publisher that
/// takes longer for one is not waited for with a still picture.
const DRAIN: Duration = Duration::from_millis(200);

/// How long after a viewer is shown video again nothing is asked of the estimator: what it takes for feedback that stays
/// away was nothing to tell.
const RESUMED: Duration = Duration::from_secs(1);

/// How often a viewer's layers are chosen anew where nothing happened. Trade: each time costs microseconds for each viewer;
/// what layers cost drifts by an eighth at most until then.
const CHOOSE_EVERY: Duration = Duration::from_secs(1);

/// How much of what is wanted, or given, the estimate should be: to climb to it, or to be sure of it.
const MARGIN_PERCENT: u64 = 125;

/// The first transport-wide number.
const FIRST_NUMBER: u16 = 1;
/// What was sent is averaged over at least this long.
const SENT_WINDOW: Duration = Duration::from_millis(500);

/// The video that goes to one viewer, bit/s: what its reports and its estimate are about.
#[derive(Debug)]
struct SentRate {
    bytes: u64,
    since: Instant,
    bps: Option<u64>,
}

impl SentRate {
    /// Over the time since it was looked at last, if that is long enough; `None` = nothing.
    fn look(&mut self, now: Instant) -> Option<u64> {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= SENT_WINDOW {
            let bps = (self.bytes as f64 * 8.0 / elapsed.as_secs_f64()) as u64;
            self.bps = Some(bps).filter(|bps| *bps > 0);
            (self.bytes, self.since) = (0, now);
        }
        self.bps
    }
}

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
    pace: Pace,
    sent: SentRate,
    /// What it is given, bit/s.
    given_bps: u64,
    /// It was given video, and is not now: it shows none.
    idle: bool,
    /// A slot has fallen behind the live frames and waits for its turn.
    pub behind: bool,
    /// Until when video rested last, as the network did not take the least there is, and for how long.
    rested: Option<(Instant, Duration)>,
    resting: bool,
    created: Instant,
    heard: bool,
    /// Something better than what is sent could be sent: probing has a purpose.
    wants_more: bool,
    ask_at: Instant,
    choose_at: Instant,
}

impl Downlink {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(now: Instant, config: EstimatorConfig) -> Self {
        Self {
            next: FIRST_NUMBER,
            noted: FIRST_NUMBER,
            log: SentLog::new(now),
            estimator: Estimator::new(now, config),
            pacer: None,
            pace: Pace::new(now),
            sent: SentRate { bytes: 0, since: now, bps: None },
            given_bps: 0,
            idle: false,
            behind: false,
            rested: None,
            resting: false,
            created: now,
            heard: false,
            wants_more: false,
            ask_at: now + ASK_EVERY,
            choose_at: now,
        }
    }

    /// The number of the next packet.
    pub fn take_number(&mut self) -> u16 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }

    /// A message of `packets` of video leaves now, of `segment` bytes each. Those among them that were numbered since this was
    /// last called will be reported on one by one.
    pub fn note_message(&mut self, now: Instant, segment: usize, packets: usize) {
        self.pace.note(now, packets * segment);
        self.sent.bytes += (packets * segment) as u64;
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
        self.follow_pace(now);
        (outcome, self.estimator.take_change().is_some())
    }

    fn follow_pace(&mut self, now: Instant) {
        if now.saturating_duration_since(self.created) <= UNPACED {
            return;
        }
        let target = self.estimator.estimate().target_bps;
        let steady = if target >= self.given_bps / DOUBTED { self.given_bps } else { 0 };
        self.pace.follow(target.max(steady * MARGIN_PERCENT / 100));
    }

    /// The viewer's own estimate (REMB). `true` as for [`Self::on_feedback`].
    pub fn on_remb(&mut self, now: Instant, bps: u64) -> bool {
        self.heard = true;
        let sent = self.sent.look(now);
        self.estimator.on_remb(now, bps, sent);
        self.follow_pace(now);
        self.estimator.take_change().is_some()
    }

    /// The viewer reported losses of a stream (RFC 3550 6.4.1), in 1/256. `true` as for [`Self::on_feedback`]. Whoever
    /// was sent numbers is expected to tell more than that, at first.
    pub fn on_receiver_report(
        &mut self,
        now: Instant,
        fraction_lost: u8,
        rtt: Option<Duration>,
    ) -> bool {
        let sent = self.sent.look(now);
        let numbered = self.next != FIRST_NUMBER;
        let early = now.saturating_duration_since(self.created) <= SILENT;
        if self.estimator.is_fed_back() || (numbered && early) {
            return false;
        }
        self.heard = true;
        self.estimator.on_receiver_report(now, fraction_lost, rtt, sent);
        self.follow_pace(now);
        self.estimator.take_change().is_some()
    }

    /// What the viewer's network is like, as far as it is known.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.estimator.estimate()
    }

    /// Whether the next message may leave.
    #[must_use]
    pub fn may_send(&self, now: Instant) -> bool {
        self.pace.next() <= now
    }

    /// What waited for its turn waited too long: the network does not take the least there is, and video rests.
    pub fn note_given_up(&mut self, now: Instant) {
        let went_well = self.rested.is_none_or(|(until, _)| until + WENT_WELL <= now);
        let rest = self.rested.filter(|_| !went_well);
        let rest = rest.map_or(REST, |(_, rest)| (rest * 2).min(REST_AT_MOST));
        self.rested = Some((now + rest, rest));
        self.resting = true;
    }

    /// Whether slots that have not begun must wait. After a rest everything is as for a new viewer: what is known of
    /// the network is old, and only media can tell.
    pub fn rests(&mut self, now: Instant) -> bool {
        if self.resting && self.rested.is_none_or(|(until, _)| until <= now) {
            self.resting = false;
            self.created = now;
            self.heard = false;
            self.estimator = self.estimator.anew(now);
            self.pacer = None;
            self.pace = Pace::new(now);
        }
        self.resting
    }

    /// What may go to the viewer, bit/s; `None` = it tells nothing.
    #[must_use]
    pub fn budget_bps(&self, now: Instant) -> Option<u64> {
        let silent = !self.heard && now.saturating_duration_since(self.created) > SILENT;
        (!silent).then(|| self.estimator.estimate().target_bps)
    }

    /// What the viewer is shown has changed, and with it what it is given.
    pub fn choose_soon(&mut self, now: Instant) {
        self.choose_at = now;
    }

    /// It is time to look at what the viewer gets again, though nothing happened.
    #[must_use]
    pub fn choice_is_due(&self, now: Instant) -> bool {
        self.choose_at <= now
    }

    /// A slot waits for a smaller layer: let the network's queue empty until that comes.
    pub fn drain(&mut self, now: Instant) {
        self.pace.hold(now + DRAIN);
    }

    /// It came, and owes nothing for what went before it.
    pub fn drained(&mut self, now: Instant) {
        self.pace.release(now);
    }

    /// What was chosen: the best of everything the viewer watches takes `best_bps`, and what it is given takes `given_bps` of the
    /// `budget_bps` there is.
    pub fn set_wanted(&mut self, now: Instant, best_bps: u64, given_bps: u64, budget_bps: u64) {
        self.choose_at = now + CHOOSE_EVERY;
        self.estimator.set_wanted(now, best_bps * MARGIN_PERCENT / 100);
        // What is sent because there is nothing less must be known to fit as well: the pace follows the estimate.
        let certain = budget_bps >= given_bps * MARGIN_PERCENT / 100;
        self.wants_more = given_bps < best_bps || !certain;
        if given_bps > 0 && std::mem::take(&mut self.idle) {
            self.ask_at = self.ask_at.max(now + RESUMED);
        }
        self.idle |= given_bps == 0 && self.given_bps > 0;
        self.given_bps = given_bps;
        self.follow_pace(now);
    }

    /// When [`Self::probe_bytes`] has something to say, or what is behind may go on.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let burst = self.pacer.as_ref().and_then(ProbePacer::next);
        let ask = self.asks().then_some(self.ask_at);
        let turn = self.behind.then(|| self.pace.next());
        burst.into_iter().chain(ask).chain(turn).min()
    }

    fn asks(&self) -> bool {
        self.wants_more && self.estimator.is_fed_back()
    }

    /// There is nothing to probe with.
    pub fn cancel_probe(&mut self) {
        self.pacer = None;
    }

    /// Bytes of a probe to send now, if one is due.
    pub fn probe_bytes(&mut self, now: Instant) -> Option<usize> {
        if self.pacer.as_ref().is_some_and(|pacer| pacer.next().is_none()) {
            self.pacer = None;
        }
        if self.ask_at <= now {
            self.ask_at = now + ASK_EVERY;
            if self.pacer.is_none() && self.asks() {
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
            downlink.note_message(now, 1_000, 1);
        }
        assert!(downlink.pacer.is_none(), "and the next message is not");
    }

    #[test]
    fn layers_are_chosen_anew_every_second_and_when_what_is_shown_changes() {
        let now = Instant::now();
        let mut downlink = Downlink::new(now, EstimatorConfig::default());
        assert!(downlink.choice_is_due(now));
        downlink.set_wanted(now, 1_000_000, 1_000_000, 1_000_000);
        let due = now + CHOOSE_EVERY;
        assert!(!downlink.choice_is_due(due - Duration::from_nanos(1)));
        assert!(downlink.choice_is_due(due));
        downlink.choose_soon(now);
        assert!(downlink.choice_is_due(now));
    }

    #[test]
    fn video_rests_for_longer_each_time_and_then_begins_as_for_a_new_viewer() {
        let mut now = Instant::now();
        let mut downlink = Downlink::new(now, EstimatorConfig::default());
        assert!(!downlink.rests(now));
        let ms = Duration::from_millis(1);
        let start = EstimatorConfig::default().start_bps;
        for seconds in [2, 4, 8, 16, 16] {
            // Half of it is lost.
            downlink.on_receiver_report(now, 128, None);
            assert_eq!(downlink.budget_bps(now), Some(start / 2));
            downlink.note_given_up(now);
            now += Duration::from_secs(seconds);
            assert!(downlink.rests(now - ms));
            assert!(!downlink.rests(now));
            assert_eq!(downlink.budget_bps(now), Some(start));
            assert!(downlink.may_send(now));
        }
        now += WENT_WELL;
        downlink.note_given_up(now);
        assert!(downlink.rests(now + REST - ms));
        assert!(!downlink.rests(now + REST), "the first time again");
    }
}
