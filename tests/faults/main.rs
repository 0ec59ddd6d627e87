//! Faults at load: what one viewer, one path or one shard suffers is felt by no other, costs a
//! bounded amount, and every packet that goes no further has a named reason. Counts, not times.

#![expect(clippy::disallowed_methods, reason = "test shell")]

#[path = "../sim/media.rs"]
#[allow(dead_code, reason = "shared with the simulation")]
mod media;
#[path = "../sim/peer.rs"]
#[allow(dead_code, reason = "shared with the simulation")]
mod peer;
#[path = "../sim/reporter.rs"]
#[allow(dead_code, reason = "shared with the simulation")]
mod reporter;
#[path = "../sim/tracks.rs"]
mod tracks;
#[path = "../sim/world.rs"]
#[allow(dead_code, reason = "shared with the simulation")]
mod world;

mod core;
#[cfg(target_os = "linux")]
mod net;
#[cfg(target_os = "linux")]
mod sockets;
