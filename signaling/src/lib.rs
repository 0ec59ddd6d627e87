//! Greenroom's JSON protocol and everything a room decides.

pub mod chat;
pub mod economy;
pub mod limits;
pub mod media;
pub mod moderation;
pub mod protocol;
pub mod rate;
pub mod room;
pub mod rooms;
pub mod server;
pub mod stage;
pub mod store;
pub mod token;
pub mod turn;
