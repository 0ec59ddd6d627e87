//! What the signaling side counts. No number is per room or per person.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::{Code, Refusal};

/// Counters since the start, and what is open now.
#[derive(Debug)]
pub struct Stats {
    sessions: AtomicU64,
    refusals: [AtomicU64; Code::ALL.len()],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            sessions: AtomicU64::new(0),
            refusals: [const { AtomicU64::new(0) }; Code::ALL.len()],
        }
    }
}

impl Stats {
    /// WebSockets open now.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// How often each "no" was said.
    pub fn refusals(&self) -> impl Iterator<Item = (Code, u64)> {
        let counts = self.refusals.iter().map(|count| count.load(Ordering::Relaxed));
        Code::ALL.iter().copied().zip(counts)
    }

    /// Count a "no" and hand the result on.
    pub(crate) fn counted<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        if let Err(refusal) = &result {
            // `ALL` is in the order of declaration.
            self.refusals[refusal.code as usize].fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// One session more.
    pub(crate) fn opened(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// One session less.
    pub(crate) fn closed(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_place() {
        let stats = Stats::default();
        for code in Code::ALL {
            assert!(stats.counted::<()>(Err(Refusal::new(*code))).is_err());
        }
        assert!(stats.counted(Ok(())).is_ok());
        assert!(stats.refusals().all(|(_, count)| count == 1));
    }
}
