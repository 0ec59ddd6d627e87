//! What reaches a room.

use crate::economy::GiftReceipt;
use crate::media::{MediaEvent, TransportId};
use crate::protocol::{Command, EndReason, Name, Perm, Refusal, RoomJoin, TokenRole, UserId};

use super::GiftAsk;

/// A connection (WebSocket, WHIP or WHEP session), unique in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Where a command came from and its reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The connection itself.
    Connection,
    /// The data channel `gifts` of this watch transport.
    Gifts(TransportId),
}

/// A command that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The connection.
    pub conn: ConnId,
    /// The command's id.
    pub id: u32,
    /// The carrier.
    pub via: Via,
}

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A browser.
    WebSocket,
    /// A WHIP publisher: joins with `media: false`, then one `media.offer`. Starts the show.
    Whip,
    /// A WHEP player of one seat: joins with `media: false`, then one `media.offer` (receive-only).
    Whep {
        /// The seat it shows.
        seat: u8,
    },
}

/// What the token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub user: UserId,
    /// Name.
    pub name: Name,
    /// Role of the token.
    pub role: TokenRole,
    /// Permissions of the token.
    pub perms: Vec<Perm>,
    /// Adult.
    pub adult: bool,
}

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// `room.join` of a connection. Answered like a command; the connection is in the room only
    /// after [`super::Effect::Entered`].
    Join {
        /// The connection.
        conn: ConnId,
        /// The command's id.
        id: u32,
        /// What the token says.
        who: Identity,
        /// The command.
        join: RoomJoin,
        /// What the connection is.
        carrier: Carrier,
        /// A fresh transport id if `join.media`; without one the reply has no media.
        transport: Option<TransportId>,
    },
    /// A command of a connection that is in the room. `hello`, `room.join`, `token.refresh` and
    /// `ping` are the session's own; a room refuses or answers them harmlessly.
    Command {
        /// The connection.
        conn: ConnId,
        /// The command's id.
        id: u32,
        /// The command.
        command: Command,
        /// A fresh transport id for `media.offer`.
        transport: Option<TransportId>,
    },
    /// The token was renewed.
    Refreshed {
        /// The connection.
        conn: ConnId,
        /// What the new token says; `user` is the same.
        who: Identity,
    },
    /// The connection is gone.
    Left {
        /// The connection.
        conn: ConnId,
    },
    /// The media plane tells something about a transport.
    Media {
        /// The transport.
        transport: TransportId,
        /// What.
        event: MediaEvent,
    },
    /// The media plane has answered a publisher's offer; a section that it rejected will never
    /// bring anything.
    MediaAccepted {
        /// The transport.
        transport: TransportId,
        /// Audio will come.
        audio: bool,
        /// Video will come.
        video: bool,
    },
    /// The media plane refused an [`super::Effect::Ask`] or [`super::Effect::Media`] that would
    /// have made this transport: it does not exist.
    MediaRefused {
        /// The transport.
        transport: TransportId,
    },
    /// The ledger has answered an [`super::Effect::Gift`]: durable, repeated or refused.
    GiftDone {
        /// The question.
        ask: Box<GiftAsk>,
        /// The receipt, or why nothing was booked.
        result: Result<GiftReceipt, Refusal>,
    },
    /// The platform ends the room.
    End {
        /// Why.
        reason: EndReason,
    },
    /// [`super::Room::next_deadline`] has passed.
    Timer,
}
