//! Pure bytes: RTP, RTCP, codec descriptors and SDP. No state outlives a call except where a type
//! says so (sequence unwrapping); nothing here knows a transport, a room or a clock.

pub(crate) mod bits;
pub mod codec;
pub(crate) mod cursor;
pub mod dependency;
pub mod error;
pub mod extensions;
pub mod packet;
pub mod red;
pub mod rtcp;
pub mod rtx;
pub mod sdp;
pub mod seq;
pub mod track;
