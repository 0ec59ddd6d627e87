//! The I/O shell of the media plane: sockets, threads and the task that turns what rooms ask into
//! commands to shards. The only place with `unsafe`.

#[cfg(not(unix))]
compile_error!("the media plane needs a Unix system");

#[cfg(target_os = "linux")]
mod ancillary;
#[cfg(target_os = "linux")]
pub mod client;
pub mod collector;
pub mod director;
pub mod inbox;
pub mod interfaces;
pub mod negotiation;
mod pending;
pub mod plane;
pub mod relay;
pub mod send_counters;
pub mod send_plan;
pub mod shard;
pub mod socket;
pub mod stats;
pub mod tcp;
pub mod thread;
#[cfg(all(target_os = "linux", not(feature = "portable-udp")))]
pub mod udp;
#[cfg(any(not(target_os = "linux"), feature = "portable-udp"))]
#[path = "udp_plain.rs"]
pub mod udp;
#[cfg(all(target_os = "linux", not(feature = "portable-udp")))]
pub mod wait;
#[cfg(any(not(target_os = "linux"), feature = "portable-udp"))]
#[path = "wait_plain.rs"]
pub mod wait;

/// What `pending.rs` builds on; its model puts `loom`'s in the place of these.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering};
}

#[cfg(test)]
mod pending_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod udp_tests;
