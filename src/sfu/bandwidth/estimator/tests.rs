//! The estimator as a whole, with feedback as it comes over the network: an ideal path, lies, and
//! noise. What it does on bottlenecks is `tests/estimator`.
#![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]

use proptest::prelude::*;

use super::super::super::drop_reason::DropReason;
use super::*;
use crate::rtp::rtcp::build::{FeedbackHeader, transport_feedback};
use crate::rtp::rtcp::{Packet, packets};

const MS: Duration = Duration::from_millis(1);

/// Hand feedback to the estimator as its RTCP bytes.
fn feed(
    estimator: &mut Estimator,
    log: &mut SentLog,
    now: Instant,
    base: u64,
    arrivals: &[(u64, i64)],
) -> FeedbackOutcome {
    let mut bytes = Vec::new();
    let header = FeedbackHeader { sender_ssrc: 1, media_ssrc: 2, feedback_count: 0 };
    transport_feedback(&mut bytes, header, base, arrivals);
    let mut outcome = FeedbackOutcome::default();
    for packet in packets(&bytes) {
        if let Ok(Packet::TransportFeedback(feedback)) = packet {
            outcome = estimator.on_feedback(now, &feedback, log);
        }
    }
    outcome
}

/// A source of constant rate on a path without a bottleneck: frames of `packets` at 30 a second,
/// feedback every three of them.
struct Ideal {
    start: Instant,
    now: Instant,
    log: SentLog,
    estimator: Estimator,
    next: u64,
    arrivals: Vec<(u64, i64)>,
    base: u64,
}

impl Ideal {
    fn new(config: EstimatorConfig) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            log: SentLog::new(start),
            estimator: Estimator::new(start, config),
            next: 0,
            arrivals: Vec::new(),
            base: 0,
        }
    }

    fn send(&mut self, packets: u16, probe: Option<ProbeId>) {
        self.log.note(self.now, self.next as u16, packets, 1200, probe);
        let at = (self.now - self.start).as_micros() as i64 + 20_000;
        self.arrivals.extend((0..u64::from(packets)).map(|n| (self.next + n, at)));
        self.next += u64::from(packets);
    }

    fn feed_back(&mut self) -> FeedbackOutcome {
        let outcome =
            feed(&mut self.estimator, &mut self.log, self.now + 40 * MS, self.base, &self.arrivals);
        self.base = self.next;
        self.arrivals.clear();
        outcome
    }

    fn run(&mut self, frames: u32, packets: u16, probing: bool) {
        for frame in 0..frames {
            self.send(packets, None);
            if frame % 3 == 2 {
                let outcome = self.feed_back();
                assert_eq!(outcome.drops().count(), 0, "{outcome:?}");
            }
            if probing && let Some(probe) = self.estimator.poll_probe(self.now) {
                self.probe(probe);
            }
            self.now += 33 * MS;
        }
    }

    fn probe(&mut self, probe: Probe) {
        let before = self.now;
        let mut pacer = ProbePacer::new(self.now, probe);
        while let Some(at) = pacer.next() {
            self.now = at;
            let packets = pacer.due(at).expect("it is time").div_ceil(1200) as u16;
            if packets > 0 {
                self.send(packets, Some(probe.id));
                pacer.sent(usize::from(packets) * 1200, usize::from(packets));
            }
        }
        self.now = before;
    }
}

#[test]
fn probes_find_what_is_wanted_on_a_free_path_within_two_seconds() {
    let mut ideal = Ideal::new(EstimatorConfig::default());
    ideal.estimator.set_wanted(ideal.now, 4_000_000);
    ideal.run(60, 2, true);
    let estimate = ideal.estimator.estimate();
    assert!(estimate.target_bps >= 4_400_000, "{estimate:?}");
    assert!(estimate.target_bps <= 7_000_000, "{estimate:?}");
    assert!(estimate.application_limited);
    assert_eq!(estimate.loss, 0.0);
    let rtt = estimate.rtt.expect("measured");
    assert!(rtt >= 20 * MS && rtt <= 120 * MS, "{rtt:?}");
}

#[test]
fn without_probes_the_estimate_stays_near_what_is_sent() {
    let mut ideal = Ideal::new(EstimatorConfig::default());
    ideal.run(1800, 3, false);
    let sent = 3.0 * 1200.0 * 8.0 / 0.033;
    let target = ideal.estimator.estimate().target_bps as f64;
    assert!(target <= 1.35 * sent && target >= 1.1 * sent, "{target} for {sent}");
}

#[test]
fn a_change_is_told_once() {
    let mut ideal = Ideal::new(EstimatorConfig::default());
    assert!(ideal.estimator.take_change().is_some());
    assert!(ideal.estimator.take_change().is_none());
    ideal.run(60, 10, true);
    assert!(ideal.estimator.take_change().is_some());
    assert!(ideal.estimator.take_change().is_none());
}

#[test]
fn feedback_about_what_was_never_sent_is_named_and_changes_nothing() {
    let mut ideal = Ideal::new(EstimatorConfig::default());
    ideal.run(30, 3, false);
    let before = ideal.estimator.estimate();
    let future: Vec<_> = (0..50).map(|n| (ideal.next + 100 + n, 5_000_000)).collect();
    let (base, now) = (ideal.next + 100, ideal.now);
    let outcome = feed(&mut ideal.estimator, &mut ideal.log, now, base, &future);
    assert_eq!((outcome.unknown, outcome.arrived), (50, 0));
    let named: Vec<_> = outcome.drops().collect();
    assert_eq!(named, [(DropReason::FeedbackUnknown, 50)]);
    assert_eq!(ideal.estimator.estimate().target_bps, before.target_bps);
}

#[test]
fn feedback_told_twice_is_named() {
    let mut ideal = Ideal::new(EstimatorConfig::default());
    ideal.send(10, None);
    let arrivals = ideal.arrivals.clone();
    assert_eq!(ideal.feed_back().arrived, 10);
    let now = ideal.now;
    let outcome = feed(&mut ideal.estimator, &mut ideal.log, now, 0, &arrivals);
    assert_eq!(outcome, FeedbackOutcome { repeated: 10, ..FeedbackOutcome::default() });
}

#[test]
fn impossible_times_are_named_and_a_clock_that_jumped_is_followed() {
    let mut ideal = Ideal::new(EstimatorConfig::default());
    ideal.run(30, 3, false);
    for outcome in [true, false] {
        ideal.send(10, None);
        ideal.arrivals.iter_mut().for_each(|(_, at)| *at += 3_600_000_000);
        let told = ideal.feed_back();
        assert_eq!(told.impossible > 0, outcome, "{told:?}");
        assert_eq!(told.arrived > 0, !outcome, "{told:?}");
        ideal.now += 100 * MS;
    }
}

#[test]
fn a_liar_who_claims_that_everything_arrives_at_once_does_not_pass_what_was_sent() {
    let mut ideal = Ideal::new(EstimatorConfig::default());
    for frame in 0..3000 {
        ideal.send(3, None);
        // All of it arrives at the same instant of the lie, whenever it was sent.
        let at = (ideal.now - ideal.start).as_micros() as i64 / 1_000_000 * 1_000_000;
        ideal.arrivals.iter_mut().for_each(|arrival| arrival.1 = at);
        if frame % 3 == 2 {
            ideal.feed_back();
        }
        ideal.now += 33 * MS;
    }
    let sent = 3.0 * 1200.0 * 8.0 / 0.033;
    let target = ideal.estimator.estimate().target_bps as f64;
    assert!(target <= 1.4 * sent, "{target} for {sent}");
}

#[test]
fn a_liar_gets_no_more_than_the_configured_maximum_of_probes() {
    let config = EstimatorConfig { max_bps: 8_000_000, ..EstimatorConfig::default() };
    let mut ideal = Ideal::new(config);
    ideal.run(900, 2, true);
    assert!(ideal.estimator.estimate().target_bps <= 8_000_000);
    let (sent, media) = (ideal.log.bytes(), 900 * 2 * 1200);
    assert!(sent - media < media, "probes took {} bytes of {sent}", sent - media);
}

#[test]
fn silence_lowers_the_rate_to_the_floor() {
    let mut ideal = Ideal::new(EstimatorConfig::default());
    ideal.run(60, 10, true);
    let before = ideal.estimator.estimate().target_bps;
    for second in 1..=60 {
        ideal.estimator.poll_probe(ideal.now + second * 1000 * MS);
        if second == 2 {
            assert_eq!(ideal.estimator.estimate().target_bps, before);
        }
    }
    assert_eq!(ideal.estimator.estimate().target_bps, 30_000);
}

#[test]
fn reports_decide_without_transport_wide_feedback_and_not_with_it() {
    let start = Instant::now();
    let mut estimator = Estimator::new(start, EstimatorConfig::default());
    assert!(!estimator.is_fed_back());
    estimator.on_remb(start, 2_000_000, None);
    assert_eq!(estimator.estimate().target_bps, 2_000_000);
    for second in 0..20 {
        let sent = Some(estimator.estimate().target_bps);
        estimator.on_receiver_report(start + second * 1000 * MS, 128, Some(50 * MS), sent);
    }
    assert!(estimator.estimate().target_bps < 200_000, "{:?}", estimator.estimate());
    estimator.on_remb(start, u64::MAX, Some(0));
    assert!(estimator.estimate().target_bps <= 20_000_000);

    let mut ideal = Ideal::new(EstimatorConfig::default());
    ideal.run(60, 10, true);
    let before = ideal.estimator.estimate().target_bps;
    ideal.estimator.on_receiver_report(ideal.now, 255, None, None);
    assert_eq!(ideal.estimator.estimate().target_bps, before);
    ideal.estimator.on_remb(ideal.now, 300_000, None);
    assert_eq!(ideal.estimator.estimate().target_bps, 300_000, "a limit");
}

#[test]
fn the_bounds_hold_even_if_they_make_no_sense() {
    let start = Instant::now();
    for (start_bps, min_bps, max_bps) in [(0, 0, 0), (5, 100, 10), (u64::MAX, 1, u64::MAX)] {
        let config = EstimatorConfig { start_bps, min_bps, max_bps };
        let mut estimator = Estimator::new(start, config);
        estimator.on_remb(start, 0, Some(u64::MAX));
        estimator.on_receiver_report(start, 255, Some(Duration::MAX), Some(u64::MAX));
        let _ = estimator.poll_probe(start);
        let _ = estimator.take_change();
    }
}

/// One step of a hostile or unlucky peer.
#[derive(Debug, Clone)]
enum Step {
    Send { packets: u16, bytes: u16 },
    Feedback { base: u16, arrivals: Vec<(u16, i64)> },
    Report(u8, Option<u64>),
    Remb(u64, Option<u64>),
    Wait(u64),
    Probe,
}

fn step() -> impl Strategy<Value = Step> {
    let arrivals = proptest::collection::vec((0..400_u16, 0..60_000_000_i64), 0..40);
    prop_oneof![
        3 => (0..80_u16, 0..1500_u16).prop_map(|(packets, bytes)| Step::Send { packets, bytes }),
        3 => (any::<u16>(), arrivals).prop_map(|(base, arrivals)| Step::Feedback { base, arrivals }),
        3 => (0..300_u16, proptest::collection::vec((0..60_u16, 0..400_000_i64), 1..40))
            .prop_map(|(base, arrivals)| Step::Feedback { base, arrivals }),
        1 => any::<(u8, Option<u64>)>().prop_map(|(lost, sent)| Step::Report(lost, sent)),
        1 => any::<(u64, Option<u64>)>().prop_map(|(bps, sent)| Step::Remb(bps, sent)),
        3 => (0..5_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Probe),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_peer_says_the_estimate_keeps_its_bounds(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let start = Instant::now();
        let config = EstimatorConfig { start_bps: 1_000_000, min_bps: 50_000, max_bps: 9_000_000 };
        let mut estimator = Estimator::new(start, config);
        let mut log = SentLog::new(start);
        let (mut now, mut next, mut told) = (start, 0_u16, FeedbackOutcome::default());
        for step in steps {
            match step {
                Step::Send { packets, bytes } => {
                    log.note(now, next, packets, bytes, None);
                    next = next.wrapping_add(packets);
                }
                Step::Feedback { base, arrivals } => {
                    let base = u64::from(base) + 65_536;
                    let mut sequence = base;
                    let arrivals: Vec<_> = arrivals
                        .into_iter()
                        .map(|(gap, at)| {
                            sequence += u64::from(gap) + 1;
                            (sequence, at)
                        })
                        .collect();
                    told = feed(&mut estimator, &mut log, now, base, &arrivals);
                    prop_assert!(told.arrived + told.unknown + told.repeated + told.impossible <= 40);
                }
                Step::Report(lost, sent) => {
                    estimator.on_receiver_report(now, lost, Some(30 * MS), sent);
                }
                Step::Remb(bps, sent) => estimator.on_remb(now, bps, sent),
                Step::Wait(ms) => now += Duration::from_millis(ms),
                Step::Probe => {
                    if let Some(probe) = estimator.poll_probe(now) {
                        prop_assert!(probe.target_bps <= config.max_bps);
                        log.note(now, next, probe.min_packets, 1200, Some(probe.id));
                        next = next.wrapping_add(probe.min_packets);
                    }
                }
            }
            let estimate = estimator.estimate();
            prop_assert!(estimate.target_bps >= 30_000, "{estimate:?} {told:?}");
            prop_assert!(estimate.target_bps <= config.max_bps, "{estimate:?}");
            prop_assert!((0.0..=1.0).contains(&estimate.loss), "{estimate:?}");
            prop_assert!(estimate.rtt.is_none_or(|rtt| rtt < Duration::from_secs(700)));
        }
    }
}
