//! A viewer's word on what arrives, where its client knows no transport-wide feedback.

use std::time::{Duration, Instant};

use greenroom::rtp::rtcp::{ReportBlock, build};

/// As often as browsers.
const INTERVAL: Duration = Duration::from_secs(1);
/// libwebrtc has measured for so long before it estimates.
const FIRST_ESTIMATE_AFTER: u32 = 5;

/// What it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "for the simulation")]
pub enum Tells {
    /// Receiver reports (RFC 3550) alone.
    Losses,
    /// These and an estimate of its own (REMB) as libwebrtc makes it: 85 % of what arrives when it is too much, which
    /// losses stand for here, else 8 % more each second and no more than one and a half times what arrives.
    Estimate,
    /// A lie: no losses, and this estimate.
    Lie(u64),
}

/// Its account of the video slot.
pub struct Reporter {
    tells: Tells,
    next: Option<Instant>,
    /// Extended sequence number of the newest packet, and of the newest at the last report.
    highest: Option<u32>,
    reported: Option<u32>,
    came: u32,
    lost: i32,
    bytes: usize,
    reports: u32,
    estimate: Option<f64>,
}

impl Reporter {
    pub fn new(tells: Tells) -> Self {
        Self {
            tells,
            next: None,
            highest: None,
            reported: None,
            came: 0,
            lost: 0,
            bytes: 0,
            reports: 0,
            estimate: None,
        }
    }

    /// A packet came; with its number unless it is a repair.
    pub fn note(&mut self, bytes: usize, sequence: Option<u16>) {
        self.bytes += bytes;
        let Some(sequence) = sequence else { return };
        self.came += 1;
        let highest = self.highest.unwrap_or(u32::from(sequence));
        let ahead = sequence.wrapping_sub(highest as u16) as i16;
        self.highest = Some(highest.wrapping_add_signed(i32::from(ahead.max(0))));
    }

    /// The report that is due now.
    pub fn report(&mut self, now: Instant, ssrc: u32) -> Option<Vec<u8>> {
        let highest = self.highest?;
        if *self.next.get_or_insert(now + INTERVAL) > now {
            return None;
        }
        self.next = Some(now + INTERVAL);
        self.reports += 1;
        let expected = self.reported.replace(highest).map_or(self.came, |before| highest - before);
        let lost = expected as i32 - self.came as i32;
        self.lost += lost;
        let fraction = lost.max(0) as f64 / f64::from(expected.max(1));
        let arrived_bps = (std::mem::take(&mut self.bytes) * 8) as f64;
        self.came = 0;
        let honest = !matches!(self.tells, Tells::Lie(_));
        let block = ReportBlock {
            ssrc,
            fraction_lost: if honest { (fraction * 256.0).min(255.0) as u8 } else { 0 },
            cumulative_lost: if honest { self.lost } else { 0 },
            highest_sequence: highest,
            ..ReportBlock::default()
        };
        let mut report = Vec::new();
        build::receiver_report(&mut report, 99, &[block]);
        match self.tells {
            Tells::Losses => {}
            Tells::Lie(bps) => build::remb(&mut report, 99, bps, &[ssrc]),
            Tells::Estimate if self.reports < FIRST_ESTIMATE_AFTER => {}
            Tells::Estimate => {
                let before = self.estimate.unwrap_or(arrived_bps);
                let estimate = match fraction > 0.02 {
                    true => before.min(0.85 * arrived_bps),
                    false => (before * 1.08).min(1.5 * arrived_bps + 10e3).max(before),
                };
                self.estimate = Some(estimate);
                build::remb(&mut report, 99, estimate as u64, &[ssrc]);
            }
        }
        Some(report)
    }
}
