//! Events: what the server tells without being asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ChatMessage, Empty, EndReason, GiftId, GuestEnd, GuestId, GuestMedia, GuestPolicy,
    InvitedEntry, Kind, Layout, Member, PauseReason, Person, QueueEntry, SeatDetail, SeatView,
    State, TransportRef, Viewers, Wallet, You,
};

macro_rules! events {
    ($( $(#[doc = $doc:literal])+ $name:ident $text:literal $data:ty; )*) => {
        /// An event with its data.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "type", content = "data")]
        pub enum Event { $(
            $(#[doc = $doc])+
            #[serde(rename = $text)]
            $name($data),
        )* }

        impl Event {
            /// Every `type`, in the order of the documentation.
            pub const TYPES: &'static [&'static str] = &[ $( $text, )* ];

            /// One line on each of [`Self::TYPES`], for the documentation.
            pub const ABOUT: &'static [&'static str] = &[ $( concat!($($doc),+), )* ];

            /// Its `type`.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self { $( Self::$name(_) => $text, )* }
            }
        }
    };
}

events! {
    /// A seat changed (room-wide, `seq`).
    SeatUpdated "seat.updated" SeatView;
    /// On air (room-wide, `seq`).
    RoomLive "room.live" RoomLive;
    /// The host is away (room-wide, `seq`).
    RoomPaused "room.paused" RoomPaused;
    /// The host is back (room-wide, `seq`).
    RoomResumed "room.resumed" Empty;
    /// Over (room-wide, `seq`, to everybody over the WebSocket; nothing that is still missing before it will come).
    RoomEnded "room.ended" RoomEnded;
    /// Title or policy changed (room-wide, `seq`).
    RoomUpdated "room.updated" RoomUpdated;
    /// Tiles are arranged anew (room-wide, `seq`).
    LayoutUpdated "layout.updated" LayoutUpdated;
    /// Messages are gone (room-wide, `seq`).
    ChatDeleted "chat.deleted" ChatDeleted;
    /// A Combo, with its total so far (room-wide, `seq`).
    GiftCombo "gift.combo" GiftCombo;
    /// New chat messages.
    ChatBatch "chat.batch" ChatBatch;
    /// Viewer counts.
    ViewersCount "viewers.count" Viewers;
    /// People came in.
    MemberJoined "member.joined" MemberJoined;
    /// Counters and running Combos, for clients without data channels.
    Fx "fx" FxFrame;
    /// Requests and Invites, complete (staff).
    GuestQueue "guest.queue" GuestQueue;
    /// Seats in full (staff and seated people).
    GuestSeats "guest.seats" GuestSeats;
    /// Who is here, complete (staff).
    MembersUpdated "members.updated" MembersUpdated;
    /// A guest would like to unmute (staff).
    GuestUnmuteAsked "guest.unmuteAsked" GuestUnmuteAsked;
    /// You are offered a seat.
    GuestInvited "guest.invited" GuestInvited;
    /// You have a seat: publish now.
    GuestGranted "guest.granted" GuestGrantedEvent;
    /// You and staff: on air from then on.
    GuestCountdown "guest.countdown" GuestCountdown;
    /// Your Attempt is over.
    GuestEnded "guest.ended" GuestEnded;
    /// Your mutes changed.
    GuestMuted "guest.muted" GuestMuted;
    /// Which simulcast layers of your video somebody takes; you may stop the others until you are told again.
    PublishLayers "publish.layers" PublishLayers;
    /// A seat became free while you have an Invite.
    SeatFree "seat.free" SeatFree;
    /// Your coins.
    WalletUpdated "wallet.updated" Wallet;
    /// Your role, permissions or Attempt changed.
    YouUpdated "you.updated" You;
    /// Everything again.
    RoomSnapshot "room.snapshot" Box<State>;
    /// The server is about to stop; nothing is lost.
    ServerDraining "server.draining" ServerDraining;
    /// The server ends this connection.
    Bye "bye" Bye;
}

/// Data of `publish.layers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishLayers {
    /// The transport you publish by.
    pub transport: TransportRef,
    /// In the order of the rids in your offer: `true` = send it. The lowest always is.
    pub layers: Vec<bool>,
}

/// Data of `room.live`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomLive {
    /// When it began.
    pub started_at: u64,
}

/// Data of `room.paused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomPaused {
    /// All reasons now.
    pub reasons: Vec<PauseReason>,
    /// Announced return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// The show in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// From live to end, 0 if it never was live.
    pub duration_ms: u64,
    /// Most viewers at once.
    pub peak_viewers: u32,
    /// Distinct people.
    pub total_viewers: u32,
    /// Coins given.
    pub coins: u64,
    /// Likes.
    pub likes: u64,
    /// Chat messages.
    pub messages: u64,
    /// People who were on air as guests.
    pub guests: u32,
}

/// Data of `room.ended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomEnded {
    /// Why.
    pub reason: EndReason,
    /// The show in numbers.
    pub summary: Summary,
}

/// Data of `room.updated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomUpdated {
    /// Title.
    pub title: String,
    /// Guest policy.
    pub policy: GuestPolicy,
}

/// Data of `layout.updated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutUpdated {
    /// The arrangement.
    pub layout: Layout,
}

/// Data of `chat.deleted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatDeleted {
    /// Message numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u64>,
    /// All messages of this person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<super::UserId>,
}

/// Who got a gift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GiftTarget {
    /// The person.
    pub user: super::UserId,
    /// Their seat.
    pub seat: u8,
}

/// Data of `gift.combo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GiftCombo {
    /// The Combo; the largest `n` wins.
    pub combo_id: String,
    /// Sender.
    pub from: Person,
    /// Recipient.
    pub to: GiftTarget,
    /// The gift.
    pub gift_id: GiftId,
    /// Gifts so far, never a difference.
    pub n: u64,
    /// Coins so far.
    pub coins: u64,
    /// The Combo is closed; sent once.
    pub end: bool,
}

/// Data of `chat.batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatBatch {
    /// In order.
    pub msgs: Vec<ChatMessage>,
}

/// Data of `member.joined`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberJoined {
    /// Some of them.
    pub sample: Vec<Person>,
    /// How many.
    pub n: u32,
}

/// One running Combo in an `fx` frame: Combo, sender's name, sender's level, seat, gift, `n`, end
/// (1 = closed).
pub type FxCombo = (String, super::Name, u32, u8, GiftId, u64, u8);

/// Absolute counters; loss does no harm. On the `fx` channel this object is the whole message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FxFrame {
    /// The last `seq` folded in.
    pub q: u64,
    /// Running Combos that changed, each as: Combo, sender's name, sender's level, seat, gift, `n`, end (1 = closed).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub e: Vec<FxCombo>,
    /// Likes so far.
    pub l: u64,
    /// Viewers now.
    pub v: u32,
    /// Seats that speak; if the dominant speaker is among them, it is the first.
    #[serde(default)]
    pub s: Vec<u8>,
}

/// Data of `guest.queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestQueue {
    /// Requests, in order.
    pub requests: Vec<QueueEntry>,
    /// Open Invites.
    pub invited: Vec<InvitedEntry>,
}

/// Data of `guest.seats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestSeats {
    /// Taken guest seats.
    pub seats: Vec<SeatDetail>,
}

/// Data of `members.updated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MembersUpdated {
    /// At most 200.
    pub members: Vec<Member>,
}

/// Data of `guest.unmuteAsked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestUnmuteAsked {
    /// The guest.
    pub guest_id: GuestId,
    /// What.
    pub kinds: Vec<Kind>,
}

/// Data of `guest.invited`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestInvited {
    /// The Invite.
    pub guest_id: GuestId,
    /// Who invites.
    pub by: Person,
    /// A certain seat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<u8>,
    /// What you may send.
    pub media: GuestMedia,
    /// The host's part of gifts to you, in basis points.
    pub share_bps: u16,
    /// A word from them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it expires.
    pub expires_at: u64,
}

/// Data of `guest.granted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestGrantedEvent {
    /// The Attempt.
    pub guest_id: GuestId,
    /// The seat.
    pub seat: u8,
    /// For `room.join{resume}`; single use.
    pub resume_token: String,
    /// What you may send.
    pub media: GuestMedia,
}

/// Data of `guest.countdown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestCountdown {
    /// The Attempt.
    pub guest_id: GuestId,
    /// On air then, if picture and sound are there.
    pub air_at: u64,
}

/// Data of `guest.ended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestEnded {
    /// The Attempt.
    pub guest_id: GuestId,
    /// Why.
    pub reason: GuestEnd,
}

/// Data of `guest.muted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestMuted {
    /// Kinds you (or a soft mute) muted.
    pub kinds: Vec<Kind>,
    /// Kinds that staff muted; only staff can lift that.
    pub locked: Vec<Kind>,
}

/// Data of `seat.free`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatFree {
    /// Your Invite.
    pub guest_id: GuestId,
}

/// Data of `server.draining`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerDraining {
    /// `bye` follows after this long.
    pub in_ms: u64,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// A newer connection of yours took over.
    Replaced,
    /// Sent out for a while.
    Kicked,
    /// Banned.
    Banned,
    /// The show is over.
    RoomEnded,
    /// You read too slowly.
    SlowConsumer,
    /// The token is no longer valid.
    TokenExpired,
    /// The server stops; come back.
    ServerStopping,
    /// The media connection of this session is gone.
    MediaLost,
    /// A rule of the protocol was broken.
    ProtocolError,
}

/// Data of `bye`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
    /// Whether connecting again makes sense.
    pub retry: bool,
}
