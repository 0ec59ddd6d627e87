//! How often one address may come: WebSocket upgrades, WHIP and WHEP requests.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use signaling::protocol::{Code, Refusal};
use signaling::rate::{Pace, SharedRate};

use super::serve::Connection;
use crate::addresses::prefix;

/// Addresses after which those that have been quiet are forgotten. Trade: a rate is 100 bytes, and
/// looking through 4096 of them once a second is nothing.
const SWEEP_ABOVE: usize = 4096;
const SWEEP_EVERY_MS: u64 = 1000;

/// The rates of all addresses; cheap to clone.
#[derive(Debug, Clone)]
pub struct Connects {
    /// `None` = no limit.
    pace: Option<Pace>,
    rates: Arc<DashMap<IpAddr, SharedRate>>,
    swept_ms: Arc<AtomicU64>,
}

impl Connects {
    /// So many per second and at once; 0 = no limit.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let pace = (per_second > 0).then(|| Pace::new(per_second, per_second));
        Self { pace, rates: Arc::default(), swept_ms: Arc::default() }
    }

    /// Let one more of this address in. Requests that no socket brought (tests) have no address
    /// and no limit.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub(super) fn admit(&self, from: Option<&Connection>, now_ms: u64) -> Result<(), Refusal> {
        let (Some(pace), Some(from)) = (self.pace, from) else { return Ok(()) };
        self.sweep(now_ms);
        let rate =
            self.rates.entry(prefix(from.peer.ip())).or_insert_with(|| SharedRate::new(pace));
        let wait = |wait_ms| Refusal::new(Code::RateLimited).retry_after(wait_ms);
        rate.take(now_ms).map_err(wait)
    }

    fn sweep(&self, now_ms: u64) {
        let last = self.swept_ms.load(Ordering::Relaxed);
        if self.rates.len() < SWEEP_ABOVE || now_ms < last.saturating_add(SWEEP_EVERY_MS) {
            return;
        }
        // One of the tasks that see this does it.
        let mine =
            self.swept_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            self.rates.retain(|_, rate| !rate.is_full(now_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(a: u8, b: u8) -> Connection {
        Connection::of(std::net::SocketAddr::from(([10, 0, a, b], 1)))
    }

    #[test]
    fn at_the_limit_and_one_more_per_address() {
        let connects = Connects::new(3);
        let one = from(0, 1);
        assert!((0..3).all(|_| connects.admit(Some(&one), 5).is_ok()));
        let refusal = connects.admit(Some(&one), 5).expect_err("one past the limit");
        assert_eq!((refusal.code, refusal.retry_after_ms), (Code::RateLimited, 334));
        assert!(connects.admit(Some(&from(0, 2)), 5).is_ok(), "another address");
        assert!(connects.admit(Some(&one), 5 + 334).is_ok());
        let open = Connects::new(0);
        assert!((0..1000).all(|_| open.admit(Some(&one), 5).is_ok()), "0 is no limit");
    }

    #[test]
    fn quiet_addresses_are_forgotten() {
        let connects = Connects::new(3);
        let all = (0..=255).flat_map(|a| (0..=255).map(move |b| from(a, b)));
        for one in all.take(SWEEP_ABOVE + 1) {
            assert!(connects.admit(Some(&one), 5).is_ok());
        }
        assert!(connects.admit(Some(&from(0, 1)), 5000).is_ok());
        assert_eq!(connects.rates.len(), 1);
    }
}
