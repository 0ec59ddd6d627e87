//! The clients of the simulation in `tests/sim`, which share no code with the server's STUN, DTLS glue and SRTP.
#![allow(dead_code, reason = "each target uses its part")]

#[path = "../../tests/sim/media.rs"]
pub mod media;
#[path = "../../tests/sim/peer.rs"]
pub mod peer;
#[path = "../../tests/sim/reporter.rs"]
mod reporter;
#[path = "../../tests/sim/tracks.rs"]
pub mod tracks;
