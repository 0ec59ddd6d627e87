//! Pure bytes: RTP, RTCP, codec descriptors and SDP. No state outlives a call except where a type
//! says so (sequence unwrapping); nothing here knows a transport, a room or a clock.

pub mod sdp;
pub mod track;
