//! The flag in front of a bell (an eventfd, a socket pair): many wakes cost one system call.
//!
//! ```text
//! waker:   put the work down; if flag.raise() { ring }
//! sleeper: wait for the bell; silence it; flag.lower(); look for work
//! ```
//! Why no work is slept over: whoever finds the flag up does not ring, so the sleeper must see that
//! work in the look that follows its next `lower`. It does, because `lower` reads what `raise` wrote
//! (a plain store would not, and by the memory model could then miss the work). Silencing comes
//! first, or a ring between the two would be lost with the flag up, for ever. `pending_tests.rs`
//! tries the interleavings of this very file.

use super::atomic::{AtomicBool, Ordering};

/// Whether the bell was rung and the sleeper has not answered yet.
#[derive(Debug)]
pub(super) struct Pending(AtomicBool);

impl Pending {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Work was put where the sleeper finds it. `true` = ring the bell.
    pub(super) fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// The bell was heard and silenced. Look for work after this, not before.
    pub(super) fn lower(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
