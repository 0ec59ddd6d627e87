//! One deadline heap; nothing ticks everybody.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Deadlines of many owners, each with at most one that counts.
///
/// An owner's newer deadline does not remove its older entry; the owner compares the popped time
/// with the one it holds and ignores the stale ones.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
}

impl Timers {
    /// Wake `owner` at `at`.
    pub fn schedule(&mut self, at: Instant, owner: u32) {
        self.heap.push(Reverse((at, owner)));
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next owner whose deadline has passed, with that deadline.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, u32)> {
        if self.next()? <= now { self.heap.pop().map(|Reverse(due)| due) } else { None }
    }
}
