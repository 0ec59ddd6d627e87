//! The JSON protocol: every message between a client and the server, as a type.
//!
//! A message is parsed in two steps. [`Envelope::parse`] checks size, depth and the outer shape;
//! [`Command::parse`] then turns `type` and `data` into a typed [`Command`]. After that no field
//! is "maybe valid". `docs/protocol.md` describes every message, `signaling/schema.json` is
//! generated from these types.

mod answer;
mod command;
mod envelope;
mod event;
mod id;
mod policy;
mod refusal;
mod state;

pub use answer::*;
pub use command::*;
pub use envelope::*;
pub use event::*;
pub use id::*;
pub use policy::*;
pub use refusal::*;
pub use state::*;

/// All messages, for [`schema`].
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its shape is used")]
struct Protocol {
    /// Client to server.
    command: Command,
    /// Answer to a command.
    reply: Reply,
    /// Server to client.
    event: EventMessage,
    /// On the data channel `fx`, alone.
    fx: FxFrame,
}

/// The JSON Schema of every message.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Protocol).to_value()
}

#[cfg(test)]
mod tests;
