//! Key-frame requests on their way to one publisher.

use std::time::{Duration, Instant};

/// Time between key-frame requests to one publisher. Trade: at most 2 a second whatever a
/// thousand viewers do, and a joiner waits half a second at worst.
pub const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

/// Key-frame requests of all viewers, coalesced.
#[derive(Debug, Default)]
pub struct KeyFrameAsk {
    last: Option<Instant>,
    pending: bool,
}

/// What to do with a key-frame request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Send it upstream now.
    Now,
    /// It will be sent when the throttle allows.
    Later(Instant),
    /// An earlier one already waits.
    Merged,
}

impl KeyFrameAsk {
    /// Somebody needs a key frame.
    pub fn ask(&mut self, now: Instant) -> Ask {
        match self.last {
            Some(last) if now.saturating_duration_since(last) < KEY_FRAME_INTERVAL => {
                if std::mem::replace(&mut self.pending, true) {
                    Ask::Merged
                } else {
                    Ask::Later(last + KEY_FRAME_INTERVAL)
                }
            }
            _ => {
                self.last = Some(now);
                self.pending = false;
                Ask::Now
            }
        }
    }

    /// No request is on its way, or waits to be.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        let recent = |last| now.saturating_duration_since(last) < KEY_FRAME_INTERVAL;
        !self.pending && !self.last.is_some_and(recent)
    }

    /// A key frame came: whoever waited is served.
    pub fn served(&mut self) {
        self.pending = false;
    }

    /// When a waiting request may be sent.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.last.filter(|_| self.pending).map(|last| last + KEY_FRAME_INTERVAL)
    }

    /// Take a waiting request that may be sent now.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.next().is_some_and(|at| at <= now);
        if due {
            self.last = Some(now);
            self.pending = false;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

    #[test]
    fn key_frame_requests_are_coalesced() {
        let now = Instant::now();
        let mut ask = KeyFrameAsk::default();
        assert_eq!(ask.ask(now), Ask::Now);
        assert_eq!(ask.ask(now), Ask::Later(now + KEY_FRAME_INTERVAL));
        assert_eq!(ask.ask(now), Ask::Merged);
        assert!(!ask.due(now));
        assert!(ask.due(now + KEY_FRAME_INTERVAL));
        assert!(!ask.due(now + KEY_FRAME_INTERVAL * 2), "one request served all three");
    }

    #[test]
    fn key_frame_serves_those_who_wait() {
        let now = Instant::now();
        let mut ask = KeyFrameAsk::default();
        ask.ask(now);
        ask.ask(now);
        ask.served();
        assert!(!ask.due(now + KEY_FRAME_INTERVAL));
    }
}
