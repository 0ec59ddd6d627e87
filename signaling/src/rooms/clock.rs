//! Milliseconds since the epoch that never go back.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Wall-clock time at its making, carried on by the monotonic clock: when somebody sets the
/// machine's clock, no timer of a room fires early and no invite lives longer.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    start_ms: u64,
}

impl Clock {
    /// A clock that agrees with the machine's now.
    #[must_use]
    pub fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_ms: u64::try_from(since.as_millis()).unwrap_or(0) }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let elapsed = self.start.elapsed().as_millis();
        self.start_ms.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// The instant of a time that [`Self::now_ms`] will give.
    #[must_use]
    pub fn instant(&self, at_ms: u64) -> Instant {
        self.start + Duration::from_millis(at_ms.saturating_sub(self.start_ms))
    }
}
