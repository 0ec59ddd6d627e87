//! Greenroom's JSON protocol and everything a room decides.

pub mod economy;
pub mod limits;
pub mod media;
pub mod protocol;
pub mod room;
pub mod rooms;
pub mod server;
pub mod store;
pub mod token;
