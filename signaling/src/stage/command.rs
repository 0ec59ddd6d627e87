//! What the stage is asked, answers and tells.

use crate::protocol::{GuestEnd, GuestId, GuestMedia, GuestPolicy, UserId};

use super::{House, Kinds, TokenHash};

/// What the room knows of a person at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// In the room.
    pub present: bool,
    /// Without a token.
    pub anonymous: bool,
    /// Blocked by the host or somebody on stage.
    pub blocked: bool,
    /// Muted in chat.
    pub muted: bool,
    /// Adult.
    pub adult: bool,
    /// Has accepted the house rules.
    pub rules_accepted: bool,
    /// Coins given in this room.
    pub gift_score: u64,
    /// Follower, friend and fan, as far as known.
    pub follower: bool,
}

impl Facts {
    /// An adult who is here and has done nothing wrong.
    pub const GOOD: Self = Self {
        present: true,
        anonymous: false,
        blocked: false,
        muted: false,
        adult: true,
        rules_accepted: true,
        gift_score: 0,
        follower: false,
    };
}

/// One thing asked of the stage. Who may ask it is decided by the room before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields as in the protocol command of the same name")]
pub enum StageCommand {
    /// A viewer asks for a seat. `id` is fresh; `token` is used if a seat follows at once.
    Request {
        user: UserId,
        id: GuestId,
        facts: Facts,
        media: GuestMedia,
        note: String,
        token: TokenHash,
    },
    Cancel {
        user: UserId,
        id: GuestId,
    },
    Approve {
        id: GuestId,
        token: TokenHash,
    },
    Deny {
        id: GuestId,
    },
    /// Staff offer a seat. `id` is fresh; `token` is used if a seat follows at once.
    Invite {
        user: UserId,
        id: GuestId,
        facts: Facts,
        seat: Option<u8>,
        media: Option<GuestMedia>,
        token: TokenHash,
    },
    Revoke {
        id: GuestId,
    },
    Decline {
        user: UserId,
        id: GuestId,
    },
    Accept {
        user: UserId,
        id: GuestId,
        media: GuestMedia,
        rules_accepted: bool,
        token: TokenHash,
    },
    GoLive {
        id: GuestId,
    },
    Backstage {
        id: GuestId,
    },
    Leave {
        user: UserId,
    },
    Remove {
        id: GuestId,
    },
    RemoveAll,
    Mute {
        id: GuestId,
        kinds: Kinds,
        hard: bool,
    },
    AllowUnmute {
        id: GuestId,
        kinds: Kinds,
    },
    SelfMute {
        user: UserId,
        kinds: Kinds,
        on: bool,
    },
    Ban {
        user: UserId,
    },
    Unban {
        user: UserId,
    },
    /// Authenticated media of every announced kind, and a key frame, have arrived.
    MediaReady {
        user: UserId,
    },
    /// The publish transport is lost.
    Lost {
        user: UserId,
    },
    /// Packets again on the old publish transport.
    Back {
        user: UserId,
    },
    /// A resume token; `next` replaces it.
    Resume {
        user: UserId,
        id: GuestId,
        token: TokenHash,
        next: TokenHash,
    },
    /// A newer connection of the same guest publishes.
    TakeOver {
        user: UserId,
        next: TokenHash,
    },
    /// The guest's last WebSocket closed.
    SocketLost {
        user: UserId,
    },
    /// The guest has a WebSocket again.
    SocketBack {
        user: UserId,
    },
    HostLost {
        lost: bool,
    },
    House(House),
    /// Suspended by the platform.
    Suspend,
    /// The audience became 18+.
    AdultsOnly,
    /// A new policy; fewer seats never evict.
    Policy(GuestPolicy),
    /// Seat count, with the guests to remove for it.
    Resize {
        seats: u8,
        remove: Vec<GuestId>,
    },
    LockSeat {
        seat: u8,
        locked: bool,
    },
    /// To another seat; `swap` exchanges with whoever sits there.
    Move {
        id: GuestId,
        seat: u8,
        swap: bool,
    },
}

/// The answer of the stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields as in the protocol's answers")]
pub enum StageReply {
    /// Done.
    Done,
    /// A Request or Invite is open.
    Opened { id: GuestId, expires_at: u64 },
    /// A seat was granted (or, for a repeated accept, had been).
    Seated { id: GuestId, seat: u8, air_at: u64 },
    /// On air then, or now.
    Air { air_at: u64 },
}

/// Something that people must be told. What they receive follows from the state itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "fields as in the protocol's events")]
pub enum StageEffect {
    /// The invitee gets a card.
    Invited { user: UserId, id: GuestId },
    /// The guest may publish.
    Granted { user: UserId, id: GuestId, seat: u8 },
    /// The countdown runs.
    Countdown { user: UserId, id: GuestId, air_at: u64 },
    /// On air.
    Live { user: UserId, id: GuestId, seat: u8 },
    /// The Attempt is over; `seat` if it held one.
    Ended { user: UserId, id: GuestId, reason: GuestEnd, seat: Option<u8> },
    /// The mute flags changed.
    Muted { user: UserId, id: GuestId },
    /// A seat became free for an Invite that had found none.
    SeatFree { user: UserId, id: GuestId },
}
