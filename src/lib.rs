//! Greenroom: a live-show server. See `docs/architecture.md` for the map.

pub mod config;
pub mod net;
pub mod rtp;
pub mod sfu;
