//! Every "no" the server can say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

macro_rules! codes {
    ($( $area:literal { $( $name:ident $text:literal $retry:literal $message:literal; )* } )*) => {
        /// The stable name of a refusal. Closed: a client may match on all of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code { $( $(
            #[doc = $message]
            $name,
        )* )* }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[ $( $( Self::$name, )* )* ];

            /// The name on the wire and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( $( Self::$name => $text, )* )* }
            }

            /// The code with this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == name)
            }

            /// A sentence for a person who does not know the protocol.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $( $( Self::$name => $message, )* )* }
            }

            /// The part of the product it belongs to.
            #[must_use]
            pub const fn area(self) -> &'static str {
                match self { $( $( Self::$name => $area, )* )* }
            }

            /// Whether the same command may succeed when it is simply tried again.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $( $( Self::$name => $retry, )* )* }
            }
        }
    };
}

codes! {
    "identity" {
        Unauthenticated "unauthenticated" false "Please sign in first.";
        TokenExpired "token_expired" false "Your session has expired.";
        Forbidden "forbidden" false "You may not do this.";
        RoleRequired "role_required" false "This needs another role.";
        AdultRequired "adult_required" false "This is for adults only.";
        CaptchaRequired "captcha_required" false "Please prove that you are a person.";
        RulesNotAccepted "rules_not_accepted" false "Please accept the house rules first.";
    }
    "protocol" {
        BadRequest "bad_request" false "The message could not be understood.";
        UnknownType "unknown_type" false "This command does not exist.";
        TooLarge "too_large" false "The message is too large.";
        UnsupportedVersion "unsupported_version" false "This version of the protocol is not spoken here.";
        NotJoined "not_joined" false "Join a room first.";
        AlreadyJoined "already_joined" false "This connection is in a room already.";
        NotFound "not_found" false "There is no such thing.";
        Conflict "conflict" false "Somebody else was first.";
        LimitExceeded "limit_exceeded" false "A limit has been reached.";
        RateLimited "rate_limited" true "That was too fast.";
        Overloaded "overloaded" true "The server is busy.";
        Internal "internal" true "Something went wrong on the server.";
    }
    "room" {
        RoomNotFound "room_not_found" false "There is no such room.";
        RoomNotLive "room_not_live" false "The room is not live.";
        RoomFull "room_full" true "The room is full.";
        RoomEnded "room_ended" false "The show has ended.";
        RoomSuspended "room_suspended" false "The room is not available.";
        HostOnly "host_only" false "Only the host can do this.";
        Banned "banned" false "You cannot take part in this room.";
        Blocked "blocked" false "You cannot take part in this room.";
        AudienceRestricted "audience_restricted" false "This room is not open to you.";
    }
    "guest" {
        SeatsFull "seats_full" true "All seats are taken.";
        SeatOccupied "seat_occupied" false "This seat is taken.";
        SeatLocked "seat_locked" false "This seat is locked.";
        SeatNotFound "seat_not_found" false "There is no such seat.";
        AlreadySeated "already_seated" false "This person has a seat already.";
        GuestPolicy "guest_policy" false "The host does not take guests this way.";
        RequestExists "request_exists" false "There is a request or invite already.";
        QueueFull "queue_full" true "Too many people are waiting.";
        Cooldown "cooldown" true "Please wait a little before the next try.";
        TooManyInvites "too_many_invites" false "Too many invites are open.";
        InviteNotPending "invite_not_pending" false "This invite is not open.";
        InviteExpired "invite_expired" false "This invite has expired.";
        NotPending "not_pending" false "This request is not open any more.";
        GuestEnded "guest_ended" false "This guest has left the stage.";
        BusyElsewhere "busy_elsewhere" true "This person has a seat in another room.";
        TargetOffline "target_offline" false "This person is not in the room.";
        TargetNotEligible "target_not_eligible" false "This person cannot be a guest.";
        MediaTimeout "media_timeout" false "No picture or sound arrived in time.";
        ResumeInvalid "resume_invalid" false "This seat cannot be resumed with that token.";
    }
    "media" {
        PublishNotGranted "publish_not_granted" false "You may not publish now.";
        CodecUnsupported "codec_unsupported" false "No common codec.";
        SdpInvalid "sdp_invalid" false "The session description is not usable.";
        IceFailed "ice_failed" false "The media connection could not be made.";
        SlotsExceeded "slots_exceeded" false "More media sections than this room has.";
    }
    "money" {
        InsufficientFunds "insufficient_funds" false "Not enough coins.";
        PriceChanged "price_changed" false "The price of this gift has changed.";
        GiftUnavailable "gift_unavailable" false "This gift is not available here.";
        RecipientGone "recipient_gone" false "This person has left the stage.";
        RecipientIsSender "recipient_is_sender" false "A gift to oneself is not possible.";
        IdempotencyMismatch "idempotency_mismatch" false "This key was used for something else.";
        InProgress "in_progress" true "The same command is still running.";
        SpendLimitSelf "spend_limit_self" false "Your own spending limit has been reached.";
        WalletFrozen "wallet_frozen" false "This wallet cannot be used now.";
        LedgerUnavailable "ledger_unavailable" true "Gifts are not possible right now.";
        DropNotOpen "drop_not_open" false "This Coin Drop is not open.";
        DropNotEligible "drop_not_eligible" false "This Coin Drop is not for you.";
        DropAlreadyClaimed "drop_already_claimed" false "You have entered this Coin Drop already.";
        BudgetExceeded "budget_exceeded" false "The promotion budget is used up.";
        PayoutMin "payout_min" false "The smallest payout has not been reached.";
        PayoutOpen "payout_open" false "A payout is running already.";
    }
    "chat" {
        ChatDisabled "chat_disabled" false "Chat is off.";
        Muted "muted" false "You are muted in this chat.";
        SlowMode "slow_mode" true "Please wait before the next message.";
        FollowersOnly "followers_only" false "Chat is for followers.";
        FanclubOnly "fanclub_only" false "Chat is for the fan club.";
        EmoteOnly "emote_only" false "Only emotes are allowed.";
        ChatRestricted "chat_restricted" false "You cannot chat here.";
        Duplicate "duplicate" false "You have said that already.";
        Filtered "filtered" false "This text is not allowed here.";
    }
}

/// A "no" with a stable name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Stable snake_case code.
    pub code: Code,
    /// A sentence for a person.
    pub message: String,
    /// When trying again makes sense, in milliseconds from now; 0 = no statement.
    #[serde(default)]
    pub retry_after_ms: u64,
    /// Facts that belong to the code, such as the current state for `not_pending`.
    #[serde(default)]
    pub details: Map<String, Value>,
}

impl Refusal {
    /// A refusal with the code's own sentence.
    #[must_use]
    pub fn new(code: Code) -> Self {
        let retry_after_ms = if code.retryable() { DEFAULT_RETRY_MS } else { 0 };
        Self { code, message: code.message().into(), retry_after_ms, details: Map::new() }
    }

    /// With another sentence.
    #[must_use]
    pub fn because(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// With the time to wait before the next try.
    #[must_use]
    pub const fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = ms;
        self
    }

    /// With one fact in `details`.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }

    /// The server is stopping or behind.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::new(Code::Overloaded)
    }
}

/// How long a client waits when nothing better is known. Trade: short enough for a person not to
/// notice, long enough for a thousand clients not to become a storm.
const DEFAULT_RETRY_MS: u64 = 1000;

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Refusal {}
