//! The shell around the rooms: one task per WebSocket, with its limits.

pub mod bucket;
pub mod limits;
pub mod outbox;
