//! How much may go to one viewer: the sender's bandwidth estimate from transport-wide feedback.
//!
//! Follows the Google congestion control of libwebrtc as
//! `modules/congestion_controller/goog_cc/goog_cc_network_control.cc` puts it together; each file
//! names the one it follows, and `docs/congestion.md` maps them. Pure: time and feedback are
//! arguments, nothing allocates.

mod acknowledged;
mod aimd;
mod alr;
mod arrival_groups;
mod link_capacity;
mod loss;
mod loss_report;
mod overuse;
mod probe;
mod round_trip;
mod trendline;

use std::time::{Duration, Instant};

use crate::rtp::rtcp::TransportFeedback;

pub use overuse::Usage;
pub use probe::{Probe, ProbePacer};

use super::super::drop_reason::DropReason;
use super::sent::{News, ProbeId, SentLog, SentPacket};
use acknowledged::Acknowledged;
use aimd::Aimd;
use alr::AlrDetector;
use arrival_groups::ArrivalGroups;
use loss::LossController;
use loss_report::LossReports;
use overuse::OveruseDetector;
use probe::{Limits, ProbeControl, ProbeResults};
use round_trip::Delays;
use trendline::Trendline;

/// Microseconds on a timeline of the estimator's, or of the receiver's.
type Micros = i64;

/// After this long without feedback the delays of before say nothing of those to come.
const STREAM_TIMEOUT_US: Micros = 2_000_000;
/// An arrival whose clock is this far off that of the feedback before is impossible.
const MAX_CLOCK_JUMP_US: Micros = 3_000_000;
/// The receiver's reference time repeats after 2^24 units of 64 ms.
const CLOCK_PERIOD_US: Micros = (1 << 24) * 64_000;
/// Without feedback for this long while we send, the rate goes down by a fifth every second:
/// `RttBasedBackoff` of libwebrtc `send_side_bandwidth_estimation.cc`.
const SILENCE_US: Micros = 3_000_000;
const SILENCE_STEP_US: Micros = 1_000_000;
const SILENCE_BACK_OFF: f64 = 0.8;
const SILENCE_FLOOR_BPS: f64 = 30_000.0;
/// A probe's result does not go below this share of what arrives: it is likelier to be wrong.
const PROBE_DROP: f64 = 0.85;
/// Changes below this share are not told. Trade: allocation runs less often, and reacts a little later
/// to an estimate that creeps.
const TOLD_SHARE: f64 = 0.03;

/// Bounds of an estimate, bit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EstimatorConfig {
    /// Where it begins. Trade: a higher one shows a good picture sooner and overruns a slow network
    /// longer; the first probes correct it within two round trips.
    pub start_bps: u64,
    /// It never falls below. Sound must fit in it.
    pub min_bps: u64,
    /// It never rises above, whatever a viewer claims; also bounds what probes cost.
    pub max_bps: u64,
}

impl Default for EstimatorConfig {
    fn default() -> Self {
        Self { start_bps: 500_000, min_bps: 30_000, max_bps: 20_000_000 }
    }
}

/// What the path to a viewer is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// What may be sent, payload of UDP datagrams, bit/s.
    pub target_bps: u64,
    /// Share of packets lost lately, 0 to 1.
    pub loss: f32,
    /// Round trip, if one was measured.
    pub rtt: Option<Duration>,
    /// How long a packet waits in queues.
    pub queueing: Duration,
    /// What the delay says about our rate.
    pub usage: Usage,
    /// We send less than we may.
    pub application_limited: bool,
}

/// What a feedback packet told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedbackOutcome {
    /// Arrivals of packets that we sent and did not know of.
    pub arrived: u32,
    /// Arrivals of packets that we did not send, or sent too long ago.
    pub unknown: u32,
    /// Arrivals told before.
    pub repeated: u32,
    /// Arrivals at impossible times.
    pub impossible: u32,
    /// Packets that are lost for sure, decided now.
    pub lost: u32,
}

impl FeedbackOutcome {
    /// What was not used, by reason.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u32)> {
        [
            (DropReason::FeedbackUnknown, self.unknown),
            (DropReason::FeedbackRepeated, self.repeated),
            (DropReason::FeedbackTime, self.impossible),
        ]
        .into_iter()
        .filter(|(_, count)| *count > 0)
    }
}

/// The arrivals of one message's packets, as far as one feedback tells.
#[derive(Debug, Clone, Copy, Default)]
struct MessageArrival {
    record: u32,
    sent: Micros,
    first_arrival: Micros,
    last_arrival: Micros,
    bytes: u32,
    packet_bytes: u16,
    packets: u16,
    probe: Option<ProbeId>,
}

impl MessageArrival {
    fn add(&mut self, arrival: Micros) {
        self.first_arrival = self.first_arrival.min(arrival);
        self.last_arrival = self.last_arrival.max(arrival);
        self.bytes += u32::from(self.packet_bytes);
        self.packets += 1;
    }
}

/// What one feedback gathers on its way through the messages.
#[derive(Debug, Default)]
struct Gathered {
    newest: Option<(Micros, Micros)>,
    probed: Option<f64>,
    recovered: bool,
}

/// The estimator of one path.
#[derive(Debug)]
pub struct Estimator {
    epoch: Instant,
    config: EstimatorConfig,
    groups: ArrivalGroups,
    trendline: Trendline,
    overuse: OveruseDetector,
    aimd: Aimd,
    acknowledged: Acknowledged,
    loss: LossController,
    reports: LossReports,
    alr: AlrDetector,
    delays: Delays,
    probes: ProbeControl,
    results: ProbeResults,
    /// Newest arrival on the receiver's timeline, and when we heard of it.
    receiver_clock: Option<(Micros, Micros)>,
    near: u32,
    fed_back: Option<Micros>,
    silence_step: Option<Micros>,
    /// The receiver's own limit (REMB).
    receiver_bps: f64,
    target_bps: f64,
    told: Option<(f64, Usage)>,
}

// A server holds thousands: with the log of what was sent 7 KiB for a viewer, where one connection
// takes about 100 KiB.
const _: () = assert!(size_of::<Estimator>() <= 3072);

impl Estimator {
    /// An estimator that knows nothing yet.
    #[must_use]
    pub fn new(now: Instant, config: EstimatorConfig) -> Self {
        let max = config.max_bps.max(config.min_bps).max(1) as f64;
        let min = (config.min_bps as f64).clamp(1.0, max);
        let start = (config.start_bps as f64).clamp(min, max);
        Self {
            epoch: now,
            config,
            groups: ArrivalGroups::default(),
            trendline: Trendline::new(),
            overuse: OveruseDetector::new(),
            aimd: Aimd::new(start, min, max),
            acknowledged: Acknowledged::new(),
            loss: LossController::new(min, max),
            reports: LossReports::new(start),
            alr: AlrDetector::new(start),
            delays: Delays::default(),
            probes: ProbeControl::new(start, max),
            results: ProbeResults::default(),
            receiver_clock: None,
            near: 0,
            fed_back: None,
            silence_step: None,
            receiver_bps: f64::INFINITY,
            target_bps: start,
            told: None,
        }
    }

    /// What the path is like now.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        let loss =
            if self.fed_back.is_some() { self.loss.average_loss() } else { self.reports.loss() };
        let micros = |us: Micros| Duration::from_micros(us.max(0) as u64);
        Estimate {
            target_bps: self.target_bps as u64,
            loss: loss as f32,
            rtt: self.delays.rtt_us().map(micros),
            queueing: micros(self.delays.queue_us()),
            usage: self.overuse.usage(),
            application_limited: self.alr.started().is_some(),
        }
    }

    /// The estimate, if it changed by enough since this was last asked for an allocation to be worth
    /// while.
    pub fn take_change(&mut self) -> Option<Estimate> {
        let usage = self.overuse.usage();
        let same = self.told.is_some_and(|(bps, told)| {
            told == usage && (self.target_bps - bps).abs() < TOLD_SHARE * bps
        });
        if same {
            return None;
        }
        self.told = Some((self.target_bps, usage));
        Some(self.estimate())
    }

    /// What the best layers of everything the viewer wants to see take, sound included, bit/s. Probes
    /// go for it and not far beyond. Without a word about it they go for the configured maximum.
    pub fn set_wanted(&mut self, now: Instant, bps: u64) {
        let now = self.micros(now);
        self.probes.set_wanted(now, bps as f64);
    }

    /// A transport-wide feedback of the viewer's came.
    pub fn on_feedback(
        &mut self,
        now: Instant,
        feedback: &TransportFeedback<'_>,
        log: &mut SentLog,
    ) -> FeedbackOutcome {
        let now_us = self.micros(now);
        if self.fed_back.is_some_and(|before| now_us - before > STREAM_TIMEOUT_US) {
            self.forget_delays();
        }
        self.fed_back = Some(now_us);
        self.silence_step = None;
        self.alr.update(now_us, log.bytes());
        let mut outcome = FeedbackOutcome::default();
        let gathered = self.gather(now, now_us, feedback, log, &mut outcome);
        if let Some((sent, arrival)) = gathered.newest {
            self.delays.note(now_us, sent, arrival);
            self.receiver_clock = Some((arrival, now_us));
        }
        let settled = log.settle(now, feedback.base_sequence, feedback.status_count);
        log.make_room();
        outcome.lost = settled.lost_packets;
        if gathered.newest.is_some() {
            self.update_rate(now_us, &gathered);
        }
        if settled.packets > 0 {
            let known = loss::Known {
                delay_bps: self.aimd.bps(),
                acknowledged: self.acknowledged.rates().map(|rates| rates.acknowledged),
                application_limited: self.alr.started().is_some(),
            };
            let oldest = now_us - Micros::from(settled.oldest_us);
            let newest = now_us - Micros::from(settled.newest_us);
            self.loss.on_settled(settled.bytes, settled.lost_bytes, oldest, newest, &known);
        }
        self.conclude(now_us, self.loss.limit(self.aimd.bps()));
        if gathered.recovered {
            self.probes.on_recovered(now_us);
        }
        outcome
    }

    /// Resolve the arrivals message by message.
    fn gather(
        &mut self,
        now: Instant,
        now_us: Micros,
        feedback: &TransportFeedback<'_>,
        log: &mut SentLog,
        outcome: &mut FeedbackOutcome,
    ) -> Gathered {
        let mut gathered = Gathered::default();
        let mut message: Option<MessageArrival> = None;
        let mut shift = None;
        for (sequence, arrival) in feedback.arrivals() {
            let Some(packet) = log.find(now, sequence, self.near) else {
                outcome.unknown += 1;
                continue;
            };
            self.near = packet.record;
            if log.acknowledge(&packet) == News::Repeated {
                outcome.repeated += 1;
                continue;
            }
            let arrival = arrival + *shift.get_or_insert_with(|| self.clock_shift(arrival));
            if self.is_impossible(now_us, arrival) {
                outcome.impossible += 1;
                continue;
            }
            outcome.arrived += 1;
            match &mut message {
                Some(message) if message.record == packet.record => message.add(arrival),
                _ => {
                    if let Some(complete) =
                        message.replace(MessageArrival::begin(now_us, &packet, arrival))
                    {
                        self.on_message(&complete, &mut gathered);
                    }
                }
            }
        }
        if let Some(complete) = message {
            self.on_message(&complete, &mut gathered);
        }
        if gathered.newest.is_none() && outcome.impossible > 0 {
            // A clock that jumped, or a lie: start again with the next feedback.
            self.forget_delays();
        }
        gathered
    }

    /// What to add to the arrivals of a feedback to continue those of the one before, across the wrap
    /// of the receiver's clock.
    fn clock_shift(&self, arrival: Micros) -> Micros {
        let Some((newest, _)) = self.receiver_clock else { return 0 };
        let ahead = (arrival - newest).rem_euclid(CLOCK_PERIOD_US);
        let ahead = if ahead > CLOCK_PERIOD_US / 2 { ahead - CLOCK_PERIOD_US } else { ahead };
        newest + ahead - arrival
    }

    fn is_impossible(&self, now: Micros, arrival: Micros) -> bool {
        self.receiver_clock.is_some_and(|(newest, heard)| {
            ((arrival - newest) - (now - heard)).abs() > MAX_CLOCK_JUMP_US
        })
    }

    fn on_message(&mut self, message: &MessageArrival, gathered: &mut Gathered) {
        let before = self.overuse.usage();
        if let Some(deltas) = self.groups.add(message) {
            let slope = self.trendline.add(&deltas);
            let usage = self.overuse.detect(slope, deltas.sent_ms, deltas.arrival);
            gathered.recovered |= before == Usage::Under && usage == Usage::Normal;
        }
        self.acknowledged.add(message);
        if let Some(id) = message.probe
            && let Some(bps) = self.results.add(id, message)
        {
            gathered.probed = Some(bps);
        }
        if gathered.newest.is_none_or(|(_, arrival)| message.last_arrival >= arrival) {
            gathered.newest = Some((message.sent, message.last_arrival));
        }
    }

    fn update_rate(&mut self, now: Micros, gathered: &Gathered) {
        if let Some(rtt) = self.delays.rtt_us() {
            self.aimd.set_rtt(rtt);
        }
        let rates = self.acknowledged.rates();
        let usage = self.overuse.usage();
        if let Some(probed) = gathered.probed
            && usage != Usage::Over
        {
            let arrives = rates.map_or(0.0, |rates| rates.acknowledged * PROBE_DROP);
            self.aimd.set(now, probed.max(self.aimd.bps().min(arrives)));
            return;
        }
        self.aimd.update(
            now,
            &aimd::Input {
                usage,
                acknowledged: rates.map(|rates| rates.acknowledged),
                sent: rates.map(|rates| rates.sent),
                application_limited: self.alr.started().is_some(),
            },
        );
    }

    /// Settle on a target and tell those who follow it.
    fn conclude(&mut self, now: Micros, bps: f64) {
        let max = self.config.max_bps.max(self.config.min_bps) as f64;
        let target = bps.min(self.receiver_bps).min(max).max(self.config.min_bps as f64);
        self.target_bps = target;
        self.alr.set_estimate(target);
        let limits = Limits {
            usage: self.overuse.usage(),
            loss: self.loss.state(),
            application_limited: self.alr.started(),
        };
        self.probes.on_estimate(now, target, limits);
    }

    /// The receiver estimated the bandwidth itself (REMB). With transport-wide feedback it is a limit,
    /// without it it is the estimate.
    pub fn on_remb(&mut self, now: Instant, bps: u64) {
        let now = self.micros(now);
        self.receiver_bps = bps as f64;
        if self.fed_back.is_some() {
            self.conclude(now, self.loss.limit(self.aimd.bps()));
        } else {
            self.reports.limit((bps as f64).min(self.config.max_bps as f64));
            self.conclude(now, self.reports.bps());
        }
    }

    /// A report block of the receiver's: `fraction_lost` in 1/256. Decides only while there is no
    /// transport-wide feedback.
    pub fn on_receiver_report(&mut self, now: Instant, fraction_lost: u8, rtt: Option<Duration>) {
        let now = self.micros(now);
        if self.fed_back.is_some() {
            return;
        }
        if let Some(rtt) = rtt {
            self.delays.note_rtt(rtt.as_micros() as Micros);
        }
        let limit = self.receiver_bps.min(self.config.max_bps as f64);
        let rtt = self.delays.rtt_us().unwrap_or(0);
        self.reports.on_report(now, f64::from(fraction_lost) / 256.0, rtt, limit);
        self.conclude(now, self.reports.bps());
    }

    /// The next probe to send, if it is time for one and none is under way. Ask after each feedback, and
    /// at least once a second while media is sent: here the rate also falls when feedback stays away.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        let now = self.micros(now);
        self.on_silence(now);
        let probe = self.probes.poll(now)?;
        self.results.expect(&probe);
        Some(probe)
    }

    fn on_silence(&mut self, now: Micros) {
        let Some(heard) = self.fed_back.filter(|heard| now - heard > SILENCE_US) else { return };
        let stepped = self.silence_step.unwrap_or(heard);
        if now - stepped < SILENCE_STEP_US || self.target_bps <= SILENCE_FLOOR_BPS {
            return;
        }
        self.silence_step = Some(now);
        let bps = (self.target_bps * SILENCE_BACK_OFF).max(SILENCE_FLOOR_BPS);
        self.aimd.set(now, bps);
        self.conclude(now, bps);
    }

    fn forget_delays(&mut self) {
        self.groups = ArrivalGroups::default();
        self.trendline = Trendline::new();
        self.overuse = OveruseDetector::new();
        self.acknowledged.forget();
        self.delays.forget_base();
        self.receiver_clock = None;
    }

    fn micros(&self, now: Instant) -> Micros {
        let since = now.saturating_duration_since(self.epoch);
        (since.as_secs() * 1_000_000) as Micros + Micros::from(since.subsec_micros())
    }
}

impl MessageArrival {
    fn begin(now: Micros, packet: &SentPacket, arrival: Micros) -> Self {
        Self {
            record: packet.record,
            sent: now - Micros::from(packet.age_us),
            first_arrival: arrival,
            last_arrival: arrival,
            bytes: u32::from(packet.bytes),
            packet_bytes: packet.bytes,
            packets: 1,
            probe: packet.probe,
        }
    }
}

#[cfg(test)]
mod tests;
