//! What one connection, one address and one room may take before they are told "no".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The limits of the signaling side, all from the `[limits]` table of the configuration.
///
/// Past a limit there is always a named refusal or a close; nothing queues without bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one message from a client; past it `too_large` and close 1009.
    pub message_bytes: usize,
    /// Bytes of one message that carries SDP (`media.offer`, `media.answer`, `media.restart`).
    pub sdp_message_bytes: usize,
    /// Commands per second of one connection in the long run; past it `rate_limited` and close.
    pub commands_per_second: u32,
    /// Commands of one connection in one burst.
    pub commands_burst: u32,
    /// Gifts per second of one person in the long run; past it `rate_limited`, the key unused.
    pub gifts_per_second: u32,
    /// Gifts of one person in one burst.
    pub gifts_burst: u32,
    /// Joins per second of one room, and the most at once; past it `rate_limited`.
    pub joins_per_second: u32,
    /// WebSocket upgrades, WHIP and WHEP requests per second of one address, and the most at once;
    /// past it 429. 0 = no limit, for a proxy in front.
    pub connects_per_second: u32,
    /// Milliseconds from the WebSocket upgrade to an accepted `hello`.
    pub hello_ms: u64,
    /// Milliseconds between keep-alive pings; three unanswered ones end the connection.
    pub ping_ms: u64,
    /// Messages waiting for one slow client; past it `bye{slow_consumer}` and close.
    pub outbox_messages: usize,
    /// Bytes waiting for one slow client; past it `bye{slow_consumer}` and close.
    pub outbox_bytes: usize,
    /// Connections of one address that have not authenticated; past it refused at accept.
    pub sockets_per_address: u32,
    /// Commands waiting for one room; past it `overloaded`.
    pub room_mailbox: usize,
    /// Participants of one room; past it `room_full`.
    pub viewers_per_room: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 16 * 1024,
            sdp_message_bytes: 64 * 1024,
            commands_per_second: 50,
            commands_burst: 100,
            gifts_per_second: 10,
            gifts_burst: 20,
            joins_per_second: 200,
            connects_per_second: 20,
            hello_ms: 10_000,
            ping_ms: 15_000,
            outbox_messages: 256,
            outbox_bytes: 256 * 1024,
            sockets_per_address: 64,
            room_mailbox: 1024,
            viewers_per_room: 10_000,
        }
    }
}
