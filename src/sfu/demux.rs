//! From a datagram to its transport: by ICE-validated address, or by ufrag for STUN (RFC 7983).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::egress::Path;

/// Failed integrity checks per second for one address, after which its unvalidated datagrams are
/// not looked at. Trade: a stranger guessing passwords gets this many; checks that succeed are not
/// counted, so any number of people behind one NAT may join at once.
const FAILURES_PER_SECOND: u32 = 50;

/// Addresses counted at once. When the table is full it is emptied: a stranger with many addresses
/// can make the limit forgetful, but cannot make it block others.
const MAX_COUNTED: usize = 4096;

/// Address and ufrag to session index.
#[derive(Debug, Default)]
pub struct Demux {
    by_path: HashMap<Path, u32>,
    by_ufrag: HashMap<String, u32>,
    failures: HashMap<IpAddr, u32>,
    window: Option<Instant>,
}

impl Demux {
    /// The session that validated this path.
    #[must_use]
    pub fn session(&self, path: &Path) -> Option<u32> {
        self.by_path.get(path).copied()
    }

    /// The session whose local ufrag this is.
    #[must_use]
    pub fn by_ufrag(&self, ufrag: &str) -> Option<u32> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// A session answers to this ufrag.
    pub fn add_ufrag(&mut self, ufrag: &str, session: u32) {
        self.by_ufrag.insert(ufrag.to_owned(), session);
    }

    /// A session does not answer to this ufrag any more.
    pub fn remove_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    /// A session validated a path. The newest owner of an address wins: NATs reuse ports.
    pub fn add_path(&mut self, path: Path, session: u32) -> Option<u32> {
        self.by_path.insert(path, session).filter(|old| *old != session)
    }

    /// Forget a path if it still belongs to `session`.
    pub fn remove_path(&mut self, path: &Path, session: u32) {
        if self.by_path.get(path) == Some(&session) {
            self.by_path.remove(path);
        }
    }

    /// Whether an integrity check for a datagram from this unvalidated address may be made.
    #[must_use]
    pub fn may_check(&self, now: Instant, from: IpAddr) -> bool {
        self.window_over(now)
            || self.failures.get(&from).is_none_or(|count| *count < FAILURES_PER_SECOND)
    }

    /// An integrity check for this unvalidated address failed.
    pub fn note_failure(&mut self, now: Instant, from: IpAddr) {
        if self.window_over(now) || self.failures.len() >= MAX_COUNTED {
            self.failures.clear();
            self.window = Some(now);
        }
        *self.failures.entry(from).or_insert(0) += 1;
    }

    fn window_over(&self, now: Instant) -> bool {
        self.window.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

    #[test]
    fn strangers_are_limited_each_for_themselves() {
        let now = Instant::now();
        let mut demux = Demux::default();
        let stranger = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..FAILURES_PER_SECOND {
            assert!(demux.may_check(now, stranger));
            demux.note_failure(now, stranger);
        }
        assert!(!demux.may_check(now, stranger));
        assert!(demux.may_check(now, IpAddr::from([10, 0, 0, 2])));
        assert!(demux.may_check(now + Duration::from_secs(1), stranger));
    }
}
