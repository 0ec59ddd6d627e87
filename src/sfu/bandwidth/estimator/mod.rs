//! How much may go to one viewer: the sender's bandwidth estimate from transport-wide feedback.
//!
//! Follows the Google congestion control of libwebrtc as
//! `modules/congestion_controller/goog_cc/goog_cc_network_control.cc` puts it together; each file
//! names the one it follows, and `docs/congestion.md` maps them. Pure: time and feedback are
//! arguments, nothing allocates once it is made.

mod acknowledged;
mod aimd;
mod alr;
mod arrival_groups;
mod echo;
mod estimate;
mod link_capacity;
mod loss;
mod loss_report;
mod overuse;
mod probe;
mod round_trip;
mod standing;
mod trendline;

use std::time::{Duration, Instant};

use crate::rtp::rtcp::TransportFeedback;

pub use estimate::{Estimate, EstimatorConfig, FeedbackOutcome};
pub use overuse::Usage;
pub use probe::{Probe, ProbePacer};

use super::sent::{News, ProbeId, SentLog, SentPacket, Settled};
use acknowledged::{Acknowledged, Throughput};
use aimd::Aimd;
use alr::AlrDetector;
use arrival_groups::ArrivalGroups;
use echo::Echo;
use loss::LossController;
use loss_report::LossReports;
use overuse::OveruseDetector;
use probe::{Limits, ProbeControl, ProbeResults, Results};
use round_trip::Delays;
use standing::{Standing, StandingQueue};
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
/// After a decrease to less than this share, losses of before do not count.
const MUCH_LOWER: f64 = 0.66;
/// Changes below this share are not told. Trade: allocation runs less often, and reacts a little later
/// to an estimate that creeps.
const TOLD_SHARE: f64 = 0.03;

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
    probed: Results,
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
    reports: Box<LossReports>,
    alr: AlrDetector,
    delays: Delays,
    standing: StandingQueue,
    probes: ProbeControl,
    results: ProbeResults,
    /// Newest arrival on the receiver's timeline, and when we heard of it.
    receiver_clock: Option<(Micros, Micros)>,
    near: u32,
    echo: Echo,
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
            reports: Box::new(LossReports::new(start)),
            alr: AlrDetector::new(start),
            delays: Delays::default(),
            standing: StandingQueue::default(),
            probes: ProbeControl::new(start, max),
            results: ProbeResults::default(),
            receiver_clock: None,
            near: 0,
            echo: Echo::default(),
            fed_back: None,
            silence_step: None,
            receiver_bps: f64::INFINITY,
            target_bps: start,
            told: None,
        }
    }

    /// One that knows nothing, within the same bounds.
    #[must_use]
    pub fn anew(&self, now: Instant) -> Self {
        Self::new(now, self.config)
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
        let (now_us, clock) = (self.micros(now), log.clock(now));
        if self.fed_back.is_some_and(|before| now_us - before > STREAM_TIMEOUT_US) {
            self.forget_delays();
        }
        self.fed_back = Some(now_us);
        self.silence_step = None;
        self.alr.update(now_us, log.bytes());
        let mut outcome = FeedbackOutcome::default();
        let gathered = self.gather(clock, now_us, feedback, log, &mut outcome);
        if let Some((sent, arrival)) = gathered.newest {
            self.delays.note(now_us, sent, arrival);
            self.receiver_clock = Some((arrival, now_us));
        }
        let settled = log.settle(clock, feedback.base_sequence, feedback.status_count);
        log.make_room();
        outcome.lost = settled.lost_packets;
        let rates = self.acknowledged.rates();
        if gathered.newest.is_some() {
            self.update_rate(now_us, &gathered, rates);
        }
        if settled.packets > 0 {
            self.update_loss(now_us, &settled, rates);
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
        clock: u32,
        now_us: Micros,
        feedback: &TransportFeedback<'_>,
        log: &mut SentLog,
        outcome: &mut FeedbackOutcome,
    ) -> Gathered {
        let mut gathered = Gathered::default();
        let mut message: Option<MessageArrival> = None;
        let mut shift = None;
        for (sequence, arrival) in feedback.arrivals() {
            let Some(packet) = log.find(clock, sequence, self.near) else {
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
        gathered.probed = self.results.take();
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
        if self.echo.covers(message, self.target_bps) {
            // What the queue was before it and is after it does not make a trend.
            self.groups = ArrivalGroups::default();
        } else if let Some(deltas) = self.groups.add(message) {
            self.delays.note_difference((deltas.arrival_ms - deltas.sent_ms) * 1e3);
            let slope = self.trendline.add(&deltas);
            let usage = self.overuse.detect(slope, &deltas);
            gathered.recovered |= before == Usage::Under && usage == Usage::Normal;
        }
        self.acknowledged.add(message);
        if let Some(id) = message.probe {
            self.results.add(id, message);
        }
        if gathered.newest.is_none_or(|(_, arrival)| message.last_arrival >= arrival) {
            gathered.newest = Some((message.sent, message.last_arrival));
        }
    }

    fn update_loss(&mut self, now: Micros, settled: &Settled, rates: Option<Throughput>) {
        let known = loss::Known {
            delay_bps: self.aimd.bps(),
            acknowledged: rates.map(|rates| rates.acknowledged),
            application_limited: self.alr.started().is_some(),
        };
        let oldest = now - Micros::from(settled.oldest_us);
        let newest = now - Micros::from(settled.newest_us);
        self.loss.on_settled(settled.bytes, settled.lost_bytes, oldest, newest, &known);
    }

    fn update_rate(&mut self, now: Micros, gathered: &Gathered, rates: Option<Throughput>) {
        if let Some(rtt) = self.delays.rtt_us() {
            self.aimd.set_rtt(rtt);
        }
        let usage = self.usage_with_queue(now);
        if usage != Usage::Over && self.on_probed(now, gathered.probed, rates) {
            return;
        }
        let input = aimd::Input {
            usage,
            acknowledged: rates.map(|rates| rates.acknowledged),
            sent: rates.map(|rates| rates.sent),
            queued: standing::is_queued(self.delays.queue_us(), self.delays.jitter_us()),
        };
        let before = self.aimd.bps();
        if self.aimd.update(now, &input) {
            self.standing.note_step(now);
            if self.aimd.bps() < MUCH_LOWER * before {
                self.loss.forget(now);
            }
            self.probes.on_full(now, self.aimd.bps());
        }
    }

    /// The detector's word, and that of the watch over standing queues.
    fn usage_with_queue(&mut self, now: Micros) -> Usage {
        let (queue, jitter) = (self.delays.queue_us(), self.delays.jitter_us());
        match self.standing.watch(now, queue, jitter, self.loss.average_loss()) {
            Standing::No => self.overuse.usage(),
            Standing::Queue => Usage::Over,
            Standing::LongerPath => {
                self.delays.forget_base();
                self.overuse.usage()
            }
        }
    }

    /// Follow the results of probes; `false` = they say nothing.
    fn on_probed(&mut self, now: Micros, probed: Results, rates: Option<Throughput>) -> bool {
        let before = self.target_bps;
        let bps = match (probed.sound, probed.doubtful) {
            (sound, Some(doubtful)) if doubtful > sound.unwrap_or(0.0) => {
                self.probes.confirm(now, doubtful).or(sound.filter(|sound| *sound > before))
            }
            (sound, doubtful) => sound.or(doubtful),
        };
        let Some(bps) = bps else { return false };
        let arrives = rates.map_or(0.0, |rates| rates.acknowledged * PROBE_DROP);
        self.aimd.set(now, bps.max(self.aimd.bps().min(arrives)));
        self.loss.on_probe(bps);
        self.probes.on_result(now, before, self.aimd.bps());
        true
    }

    /// Settle on a target and tell those who follow it.
    fn conclude(&mut self, now: Micros, bps: f64) {
        let max = self.config.max_bps.max(self.config.min_bps) as f64;
        let limit = if self.fed_back.is_some() { self.receiver_bps } else { max };
        let target = bps.min(limit).min(max).max(self.config.min_bps as f64);
        self.target_bps = target;
        self.alr.set_estimate(target);
        let limits = Limits {
            usage: self.overuse.usage(),
            loss: self.loss.state(),
            application_limited: self.alr.started(),
        };
        self.probes.on_estimate(now, target, limits);
    }

    /// Whether transport-wide feedback came: without it nobody would tell what a probe found.
    #[must_use]
    pub fn is_fed_back(&self) -> bool {
        self.fed_back.is_some()
    }

    /// The receiver estimated the bandwidth itself (REMB), while it was sent `sent_bps`, as far as that is known. With
    /// transport-wide feedback it is a limit, without it what the estimate follows.
    pub fn on_remb(&mut self, now: Instant, bps: u64, sent_bps: Option<u64>) {
        let now = self.micros(now);
        self.receiver_bps = bps as f64;
        if self.fed_back.is_some() {
            self.conclude(now, self.loss.limit(self.aimd.bps()));
        } else {
            let bps = (bps as f64).min(self.config.max_bps as f64);
            self.reports.on_receiver_estimate(now, bps, sent_bps.map(|bps| bps as f64));
            self.conclude(now, self.reports.bps());
        }
    }

    /// A report block of the receiver's: `fraction_lost` in 1/256 of a stream among `sent_bps`. Decides only while
    /// there is no transport-wide feedback.
    pub fn on_receiver_report(
        &mut self,
        now: Instant,
        fraction_lost: u8,
        rtt: Option<Duration>,
        sent_bps: Option<u64>,
    ) {
        let now = self.micros(now);
        if self.fed_back.is_some() {
            return;
        }
        if let Some(rtt) = rtt {
            self.delays.note_rtt(rtt.as_micros() as Micros);
        }
        let rtt = self.delays.rtt_us();
        let (loss, sent) = (f64::from(fraction_lost) / 256.0, sent_bps.map(|bps| bps as f64));
        self.reports.on_report(now, loss, rtt, sent, self.config.max_bps as f64);
        self.conclude(now, self.reports.bps());
    }

    /// The next probe to send, if it is time for one and none is under way. Ask after each feedback, and
    /// at least once a second while media is sent: here the rate also falls when feedback stays away.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        let now = self.micros(now);
        self.on_silence(now);
        let probe = self.probes.poll(now, self.delays.jitter_us())?;
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
