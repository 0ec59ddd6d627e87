//! What goes into an estimator and what comes out of it.

use std::time::Duration;

use super::super::super::drop_reason::DropReason;
use super::overuse::Usage;

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
