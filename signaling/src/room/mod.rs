//! One live show: everything a room decides, as a pure function of its state and one input.

mod effect;
mod input;

pub use effect::*;
pub use input::*;

use crate::protocol::{Code, GuestPolicy, Person, Refusal, RoomId};

/// What a new room is made of.
#[derive(Debug, Clone)]
pub struct RoomInit {
    /// Its slug.
    pub room: RoomId,
    /// Its host: the token's subject that created it.
    pub host: Person,
    /// Title; the host's name if empty.
    pub title: String,
    /// Guest policy.
    pub policy: GuestPolicy,
    /// 32 random bytes from a CSPRNG: the source of guest ids and resume tokens of this room.
    pub secret: [u8; 32],
}

/// One live show. Owned by one task; never shared.
#[derive(Debug)]
pub struct Room {
    init: RoomInit,
    deadline: Option<u64>,
}

impl Room {
    /// A room in `preview`.
    #[must_use]
    pub fn new(now_ms: u64, init: RoomInit) -> Self {
        Self { init, deadline: Some(now_ms) }
    }

    /// Take one input at `now_ms` (milliseconds since the epoch, never going back) and append what
    /// is to be done to `effects`.
    pub fn step(&mut self, _now_ms: u64, input: Input, effects: &mut Vec<Effect>) {
        if let Input::Join { conn, id, .. } | Input::Command { conn, id, .. } = input {
            let to = ReplyTo { conn, id, via: Via::Connection };
            effects.push(Effect::Reply { to, result: Err(Refusal::new(Code::Internal)) });
        }
    }

    /// When to call [`Self::step`] with [`Input::Timer`], in milliseconds since the epoch.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadline
    }

    /// Its slug.
    #[must_use]
    pub fn id(&self) -> &RoomId {
        &self.init.room
    }
}
