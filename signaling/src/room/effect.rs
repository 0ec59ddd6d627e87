//! What a room wants done: plain data, applied by the shell in the order given.

use std::sync::Arc;

use bytes::Bytes;

use crate::economy::GiftOrder;
use crate::media::{
    Audience as SeatAudience, Channel, CloseReason, MediaKind, Seat, TileSize, TransportId,
};
use crate::protocol::{
    Answer, ByeReason, EventMessage, GuestEnd, GuestId, Joined, Kind, Refusal, RoomId, Summary,
    UserId,
};

use super::{ConnId, ReplyTo};

/// One thing to do. The shell applies them strictly in order: whatever must be true before a
/// reply (a seat emptied, a ban stored) stands before it.
#[derive(Debug)]
pub enum Effect {
    /// The connection is in the room from now on: it receives [`To::Everyone`].
    Entered {
        /// The connection.
        conn: ConnId,
        /// Whose.
        user: UserId,
    },
    /// The connection is out of the room; it may stay open and join again.
    Exited {
        /// The connection.
        conn: ConnId,
    },
    /// Send `bye` with this reason, then close the connection. It is out of the room.
    CloseConn {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: ByeReason,
    },
    /// A data channel of this connection can (or can no longer) carry what else goes over the
    /// WebSocket: see [`To::Without`].
    ChannelOpen {
        /// The connection.
        conn: ConnId,
        /// Its watch transport.
        transport: TransportId,
        /// Which channel.
        channel: Channel,
        /// Whether it carries.
        open: bool,
    },
    /// Answer a command.
    Reply {
        /// Which.
        to: ReplyTo,
        /// With what.
        result: Result<Answer, Refusal>,
    },
    /// Tell something over the WebSocket.
    Event {
        /// Whom.
        to: To,
        /// What.
        event: Arc<EventMessage>,
    },
    /// Tell everybody whose `channel` is open, by `MediaCommand::BroadcastData`.
    Broadcast {
        /// On which channel.
        channel: Channel,
        /// UTF-8 JSON.
        bytes: Bytes,
    },
    /// Ask the media plane; a refusal comes back as [`super::Input::MediaRefused`].
    Media(MediaAsk),
    /// Ask the media plane, wait for its answer, then reply.
    Ask {
        /// The question.
        ask: MediaAsk,
        /// The command to answer.
        to: ReplyTo,
        /// How.
        then: Then,
    },
    /// Hand a gift to the ledger.
    Gift(Box<GiftAsk>),
    /// Answer `wallet.get` from the store.
    Wallet {
        /// The command to answer.
        to: ReplyTo,
        /// Whose wallet.
        user: UserId,
    },
    /// Tell these connections, all of one person, what that person's wallet holds now.
    TellWallet {
        /// Whom.
        conns: Vec<ConnId>,
        /// Whose wallet.
        user: UserId,
    },
    /// Keep something. Every later `Reply` of the same step waits until this is durable; other
    /// effects do not wait.
    Store(StoreWrite),
    /// The room is over: its task ends after this effect.
    RoomClosed,
}

/// How to answer a command after the media plane has answered.
#[derive(Debug)]
pub enum Then {
    /// `{transport, sdp}`, or the refusal.
    Session,
    /// The state with `media` filled in; a refusal leaves `media: null`.
    Join(Box<Joined>),
    /// `{}`, or the refusal.
    Empty,
}

/// Who gets an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// Every connection in the room.
    Everyone,
    /// Every connection in the room whose data channel `0` is not open.
    Without(Channel),
    /// These connections.
    Conns(Vec<ConnId>),
}

/// [`crate::media::MediaCommand`] without its reply channels; the room key is the shell's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are those of MediaCommand")]
pub enum MediaAsk {
    OpenPublish {
        transport: TransportId,
        sdp: String,
        lost_after_ms: u32,
        foreign: bool,
    },
    OpenWatch {
        transport: TransportId,
        guest_seats: u8,
        backstage: bool,
        own_seat: Option<Seat>,
        audio_top: Option<u8>,
    },
    OpenWhep {
        transport: TransportId,
        sdp: String,
        seat: Seat,
    },
    WatchAnswer {
        transport: TransportId,
        sdp: String,
    },
    GrowWatch {
        transport: TransportId,
        guest_seats: u8,
    },
    RestartIce {
        transport: TransportId,
        sdp: Option<String>,
    },
    Close {
        transport: TransportId,
        reason: CloseReason,
    },
    /// The shell waits for `done` before the next effect.
    SetSeat {
        seat: Seat,
        source: Option<TransportId>,
        audience: SeatAudience,
    },
    /// The shell waits for `done` before the next effect.
    SetGate {
        transport: TransportId,
        kind: MediaKind,
        open: bool,
    },
    SetViewer {
        transport: TransportId,
        backstage: bool,
        own_seat: Option<Seat>,
    },
    SetSpeaker {
        seat: Option<Seat>,
    },
    PreferLayer {
        transport: TransportId,
        seat: Seat,
        size: Option<TileSize>,
    },
    PauseVideo {
        transport: TransportId,
        seats: Vec<Seat>,
        on: bool,
    },
    SendData {
        transport: TransportId,
        channel: Channel,
        bytes: Bytes,
    },
    CloseRoom,
}

/// A gift on its way to the ledger, with the room's decision. The key is checked there first: a
/// key that is known gets its stored reply whatever `verdict` says, so that a retry of a paid gift
/// is never refused. With a refusal, `order.to_user` and `order.seat` mean nothing and the ledger
/// only looks for the key.
#[derive(Debug, Clone, PartialEq)]
pub struct GiftAsk {
    /// The command that the room answers after [`super::Input::GiftDone`].
    pub to: ReplyTo,
    /// The order.
    pub order: GiftOrder,
    /// The room's decision at this moment.
    pub verdict: Result<(), Refusal>,
}

/// What must outlive a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "plain rows")]
pub enum StoreWrite {
    RoomOpened {
        room: RoomId,
        host: UserId,
        title: String,
        at: u64,
    },
    RoomLive {
        room: RoomId,
        at: u64,
    },
    /// Title and the room's own JSON.
    Settings {
        room: RoomId,
        title: String,
        settings: String,
    },
    /// A guest who has had media, as the room's own JSON; it is forgotten with `GuestEnded` or the
    /// room.
    Attempt {
        room: RoomId,
        guest: GuestId,
        user: UserId,
        record: String,
    },
    RoomEnded {
        room: RoomId,
        reason: &'static str,
        summary: Summary,
        at: u64,
    },
    Ban {
        room: RoomId,
        actor: UserId,
        user: UserId,
        until: Option<u64>,
        at: u64,
    },
    Unban {
        room: RoomId,
        actor: UserId,
        user: UserId,
        at: u64,
    },
    ChatMute {
        room: RoomId,
        actor: UserId,
        user: UserId,
        until: u64,
        at: u64,
    },
    ChatUnmute {
        room: RoomId,
        actor: UserId,
        user: UserId,
        at: u64,
    },
    Kick {
        room: RoomId,
        actor: UserId,
        user: UserId,
        at: u64,
    },
    RulesAccepted {
        user: UserId,
        version: String,
        at: u64,
    },
    GuestEnded {
        room: RoomId,
        guest: GuestId,
        user: UserId,
        reason: GuestEnd,
        at: u64,
    },
    SeatMute {
        room: RoomId,
        actor: UserId,
        guest: GuestId,
        user: UserId,
        kinds: Vec<Kind>,
        locked: bool,
        at: u64,
    },
}
