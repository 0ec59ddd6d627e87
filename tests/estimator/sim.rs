//! Viewers behind one bottleneck, in virtual time: a forwarder's media, the estimator, and browsers
//! that answer with transport-wide feedback.

use std::time::{Duration, Instant};

use greenroom::load::network::{Conditions, Link};
use greenroom::rtp::rtcp::{Packet, packets};
use greenroom::sfu::bandwidth::arrivals::Arrivals;
use greenroom::sfu::bandwidth::estimator::{Estimator, EstimatorConfig, Probe, ProbePacer};
use greenroom::sfu::bandwidth::sent::{ProbeId, SentLog};

use crate::media::{Media, PACKET};

pub const MS: Duration = Duration::from_millis(1);
/// What IP and UDP add to a packet on the link.
const OVERHEAD: usize = 28;
/// How often a viewer sends feedback, milliseconds. 60, about Chromium's pace, and 150 pass as well.
const FEEDBACK: u64 = 100;
/// Packets of one GSO message.
const MAX_RUN: usize = 40;

/// What travels: towards a viewer a packet of its sequence, back from it an RTCP packet.
#[derive(Debug, Clone)]
pub enum Wire {
    Media { viewer: usize, sequence: u16 },
    Cross,
    Feedback { viewer: usize, rtcp: Vec<u8> },
}

/// One viewer and the server's half of its path.
pub struct Viewer {
    pub estimator: Estimator,
    pub media: Media,
    log: SentLog,
    sequence: u16,
    key_due: bool,
    probe: Option<ProbePacer>,
    arrivals: Arrivals,
    joined: u64,
    pub probe_bytes: u64,
    pub media_bytes: u64,
    /// Every 50 ms.
    pub samples: Vec<Sample>,
}

/// The state at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub ms: u64,
    pub target: f64,
    pub queue: Duration,
}

/// Everything behind one link.
pub struct World {
    start: Instant,
    ms: u64,
    pub link: Link<Wire>,
    pub viewers: Vec<Viewer>,
    /// Bit/s of a flow that does not care, from and until when.
    pub cross: Vec<(u64, u64, u64)>,
    cross_debt: f64,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    pub fn new(seed: u64, down: Conditions, up: Conditions) -> Self {
        Self {
            start: Instant::now(),
            ms: 0,
            link: Link::new(seed, up, down),
            viewers: Vec::new(),
            cross: Vec::new(),
            cross_debt: 0.0,
        }
    }

    pub fn at(&self, ms: u64) -> Instant {
        self.start + MS * ms as u32
    }

    pub fn join(&mut self, seed: u64, top: usize, config: EstimatorConfig) {
        let now = self.at(self.ms);
        let mut estimator = Estimator::new(now, config);
        let media = Media::new(seed, top);
        estimator.set_wanted(now, media.wanted());
        self.viewers.push(Viewer {
            estimator,
            media,
            log: SentLog::new(now),
            sequence: (seed as u16).wrapping_mul(12_345),
            key_due: true,
            probe: None,
            arrivals: Arrivals::new(now),
            joined: self.ms,
            probe_bytes: 0,
            media_bytes: 0,
            samples: Vec::new(),
        });
    }

    pub fn set_top(&mut self, viewer: usize, top: usize) {
        let now = self.at(self.ms);
        let viewer = &mut self.viewers[viewer];
        viewer.media.set_top(top);
        let wanted = viewer.media.wanted();
        viewer.estimator.set_wanted(now, wanted);
    }

    pub fn run_until(&mut self, ms: u64) {
        while self.ms < ms {
            self.tick();
            self.ms += 1;
        }
    }

    fn tick(&mut self) {
        let (now, ms) = (self.at(self.ms), self.ms);
        self.cross_traffic(now);
        for at in 0..self.viewers.len() {
            self.viewers[at].send(now, ms, at, &mut self.link);
        }
        while let Some(wire) = self.link.down.poll(now) {
            if let Wire::Media { viewer, sequence } = wire {
                self.viewers[viewer].arrivals.record(now, sequence);
            }
        }
        for at in 0..self.viewers.len() {
            self.viewers[at].feed_back(now, ms, at, &mut self.link);
        }
        while let Some(wire) = self.link.up.poll(now) {
            if let Wire::Feedback { viewer, rtcp } = wire {
                self.viewers[viewer].on_rtcp(now, &rtcp);
            }
        }
        if ms.is_multiple_of(50) {
            let queue = self.link.down.queue_delay(now);
            for viewer in &mut self.viewers {
                viewer.sample(ms, queue);
            }
        }
    }

    fn cross_traffic(&mut self, now: Instant) {
        let ms = self.ms;
        let active = self.cross.iter().filter(|(_, from, until)| (*from..*until).contains(&ms));
        self.cross_debt += active.map(|(bps, ..)| *bps as f64 / 8e3).sum::<f64>();
        while self.cross_debt >= PACKET as f64 {
            self.cross_debt -= PACKET as f64;
            self.link.down.push(now, PACKET, Wire::Cross);
        }
    }
}

impl Viewer {
    fn send(&mut self, now: Instant, ms: u64, at: usize, link: &mut Link<Wire>) {
        let age = ms - self.joined;
        // 30 frames a second, to the millisecond; viewers do not tick together.
        let frame_ms = (age + at as u64 * 11) * 30;
        if frame_ms / 1000 != (frame_ms + 30) / 1000 {
            self.send_frame(now, at, link);
        }
        if (age + at as u64 * 7).is_multiple_of(20) {
            self.send_message(now, at, 1, 80, link);
            self.media_bytes += 80;
        }
        self.send_probe(now, at, link);
    }

    fn send_frame(&mut self, now: Instant, at: usize, link: &mut Link<Wire>) {
        if let Some(estimate) = self.estimator.take_change()
            && self.media.allocate(estimate.target_bps)
        {
            self.key_due = true;
        }
        let (packets, bytes) = self.media.frame(std::mem::take(&mut self.key_due));
        self.media_bytes += (packets * bytes) as u64;
        let mut left = packets;
        while left > 0 {
            let run = left.min(MAX_RUN);
            self.send_message(now, at, run, bytes, link);
            left -= run;
        }
    }

    fn send_message(
        &mut self,
        now: Instant,
        at: usize,
        packets: usize,
        bytes: usize,
        link: &mut Link<Wire>,
    ) {
        let probe: Option<ProbeId> = self.probe.as_ref().map(|probe| probe.probe().id);
        self.log.note(now, self.sequence, packets as u16, bytes as u16, probe);
        for _ in 0..packets {
            let wire = Wire::Media { viewer: at, sequence: self.sequence };
            link.down.push(now, bytes + OVERHEAD, wire);
            self.sequence = self.sequence.wrapping_add(1);
        }
        if let Some(probe) = &mut self.probe {
            probe.sent(packets * bytes, packets);
        }
    }

    fn send_probe(&mut self, now: Instant, at: usize, link: &mut Link<Wire>) {
        if self.probe.is_none() {
            let probe: Option<Probe> = self.estimator.poll_probe(now);
            self.probe = probe.map(|probe| ProbePacer::new(now, probe));
        }
        let Some(probe) = &mut self.probe else { return };
        if let Some(due) = probe.due(now) {
            // Padding of any size: as large as the least number of packets allows.
            let Probe { bytes, min_packets, .. } = *probe.probe();
            let bytes = (bytes as usize / usize::from(min_packets)).clamp(200, PACKET);
            let packets = due.div_ceil(bytes);
            if packets > 0 {
                self.probe_bytes += (packets * bytes) as u64;
                self.send_message(now, at, packets, bytes, link);
            }
        }
        if self.probe.as_ref().is_some_and(|probe| probe.next().is_none()) {
            self.probe = None;
        }
    }

    fn feed_back(&mut self, now: Instant, ms: u64, at: usize, link: &mut Link<Wire>) {
        if !(ms + at as u64 * 37).is_multiple_of(FEEDBACK) {
            return;
        }
        let mut rtcp = Vec::new();
        if self.arrivals.write_feedback(1, 2, &mut rtcp) {
            let bytes = rtcp.len() + OVERHEAD;
            link.up.push(now, bytes, Wire::Feedback { viewer: at, rtcp });
        }
    }

    fn on_rtcp(&mut self, now: Instant, rtcp: &[u8]) {
        for packet in packets(rtcp) {
            if let Ok(Packet::TransportFeedback(feedback)) = packet {
                let outcome = self.estimator.on_feedback(now, &feedback, &mut self.log);
                assert_eq!(outcome.unknown + outcome.impossible, 0, "honest feedback: {outcome:?}");
            }
        }
    }

    fn sample(&mut self, ms: u64, queue: Duration) {
        let target = self.estimator.estimate().target_bps as f64;
        self.samples.push(Sample { ms, target, queue });
    }
}
