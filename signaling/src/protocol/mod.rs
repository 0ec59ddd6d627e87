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

#[cfg(test)]
mod tests;
