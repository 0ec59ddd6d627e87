//! Arrival times by transport-wide sequence number, and the feedback made of them
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). Without it a browser does not ramp up.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::build::{FeedbackHeader, transport_feedback};
use crate::rtp::seq::SequenceExtender;

/// Time between feedback packets. Trade: libwebrtc asks for 50-250 ms; 50 reacts within a frame
/// or two and costs 20 small packets a second and publisher.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// Most arrivals kept between two feedbacks: 50 ms of the packet limit, four times over.
const MAX_ARRIVALS: usize = 512;

/// Arrivals since the last feedback.
#[derive(Debug)]
pub struct Arrivals {
    extender: SequenceExtender,
    started: Instant,
    /// (extended transport-wide number, microseconds since `started`), rising by number.
    log: Vec<(u64, i64)>,
    count: u8,
    next_base: Option<u64>,
}

impl Arrivals {
    /// Nothing arrived yet; times count from `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            extender: SequenceExtender::default(),
            started: now,
            log: Vec::new(),
            count: 0,
            next_base: None,
        }
    }

    /// A packet with transport-wide number `sequence` arrived.
    pub fn record(&mut self, now: Instant, sequence: u16) {
        if self.log.len() >= MAX_ARRIVALS {
            return;
        }
        let extended = self.extender.extend(sequence);
        let micros = now.saturating_duration_since(self.started).as_micros() as i64;
        let at = self.log.partition_point(|(s, _)| *s < extended);
        if self.log.get(at).is_none_or(|(s, _)| *s != extended) {
            self.log.insert(at, (extended, micros));
        }
    }

    /// Append feedback about everything recorded; `false` if there is nothing to say.
    pub fn write_feedback(&mut self, sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>) -> bool {
        let mut rest = self.log.as_slice();
        while let Some((first, _)) = rest.first() {
            let header = FeedbackHeader { sender_ssrc, media_ssrc, feedback_count: self.count };
            // Packets lost between two feedbacks must appear in one of them, as "not received".
            let base = self.next_base.unwrap_or(*first).min(*first);
            let covered = transport_feedback(out, header, base, rest).max(1);
            self.count = self.count.wrapping_add(1);
            let (told, later) = rest.split_at(covered.min(rest.len()));
            self.next_base = told.last().map(|(last, _)| last + 1);
            rest = later;
        }
        let told = !self.log.is_empty();
        self.log.clear();
        told
    }
}
