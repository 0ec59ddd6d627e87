//! Greenroom: a live-show server in one binary.
//!
//! A host goes live from a browser or by WHIP, viewers watch with sub-second delay, the host
//! brings viewers on stage as guests, and the audience chats and sends gifts.
//!
//! | Module | Stop | What it owns |
//! |---|---|---|
//! | [`config`] | start | every option, with its default |
//! | [`http`] | request | pages, `/ws`, WHIP/WHEP, REST, health |
//! | `signaling` (crate) | message | protocol, rooms, stage, chat, gifts, tokens, the ledger |
//! | [`net`] | datagram | sockets, shard threads, the director of the media plane |
//! | `load` | bench | a client that loads a server and measures it; a model of a network path (Linux) |
//! | [`addresses`] | accept | what one address may hold at once |
//! | [`metrics`] | scrape | the registry behind `/metrics` |
//! | [`sfu`] | packet | every media decision of one shard; sans-I/O |
//! | [`rtp`] | bytes | packets, codecs' descriptors, SDP; pure |
//!
//! Imports go one way, and `tests/tidy.rs` checks it: `main -> http, net -> sfu -> rtp`, and
//! `http -> signaling::server -> rooms -> room`. See `docs/architecture.md` for the map.

pub mod addresses;
pub mod config;
pub mod http;
pub mod keys;
#[cfg(target_os = "linux")]
pub mod load;
pub mod metrics;
pub mod net;
pub mod rtp;
mod server;
pub mod sfu;

pub use server::Server;
