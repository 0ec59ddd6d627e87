//! What commands answer.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{
    ChatMessage, EventMessage, GuestId, InvitedEntry, Member, Name, QueueEntry, SeatDetail, State,
    TokenRole, UserId,
};
pub use crate::economy::{GiftKind, GiftTier};
use crate::media::TransportId;

/// A transport on the wire: `t` and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransportRef(pub TransportId);

impl std::fmt::Display for TransportRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "t{}", self.0.0)
    }
}

impl std::str::FromStr for TransportRef {
    type Err = super::InvalidId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('t').filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|d| d.parse().ok()).ok_or(super::InvalidId)?;
        Ok(Self(TransportId(number)))
    }
}

impl Serialize for TransportRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TransportRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for TransportRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TransportRef".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^t[0-9]+$" })
    }
}

/// Nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// Who the token says you are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HelloYou {
    /// Id.
    pub user: UserId,
    /// Name.
    pub name: Name,
    /// Role of the token.
    pub role: TokenRole,
    /// Adult.
    pub adult: bool,
}

/// Limits a client should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Longest chat message, in characters.
    pub chat_len: u32,
    /// Longest note of a Request.
    pub note_len: u32,
    /// Largest command, in bytes.
    pub message_bytes: u32,
    /// Largest command with SDP, in bytes.
    pub sdp_bytes: u32,
    /// Largest `count` of one gift.
    pub gift_count: u32,
    /// Largest `n` of one `like`.
    pub likes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            chat_len: super::CHAT_LEN as u32,
            note_len: super::NOTE_LEN as u32,
            message_bytes: super::MESSAGE_BYTES as u32,
            sdp_bytes: super::SDP_MESSAGE_BYTES as u32,
            gift_count: super::GIFT_COUNT,
            likes: super::LIKES,
        }
    }
}

/// A STUN or TURN server for the browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IceServer {
    /// Its URLs.
    pub urls: Vec<String>,
    /// User name, for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password, for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Answer to `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// This connection, for logs.
    pub conn_id: String,
    /// Who the token says you are.
    pub you: HelloYou,
    /// Limits.
    pub limits: Limits,
    /// ICE servers; usually none, the server is reached directly.
    pub ice_servers: Vec<IceServer>,
}

/// A transport and its SDP: an offer of the server, or its answer to yours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaSession {
    /// The transport.
    pub transport: TransportRef,
    /// SDP.
    pub sdp: String,
}

/// Answer to `media.grow`: a new offer, or nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grown {
    /// The transport; `null` = nothing to grow.
    pub transport: Option<TransportRef>,
    /// The new offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdp: Option<String>,
}

/// Answer to `room.join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// The room.
    #[serde(flatten)]
    pub state: State,
    /// The server's watch offer; `null` when none was asked for or media is not available.
    pub media: Option<MediaSession>,
    /// When a seat was resumed: the next resume token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<String>,
}

/// Answer to `room.resync`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Resynced {
    /// What was missed, in order.
    Events(Vec<EventMessage>),
    /// Too much was missed.
    Snapshot(Box<State>),
}

/// Answer to `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pong {
    /// Server time.
    pub ts: u64,
}

/// Answer to `member.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberList {
    /// At most 200.
    pub members: Vec<Member>,
}

/// Answer to `guest.request`: the Attempt, with a seat if there was mutual consent or
/// auto-approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestOpened {
    /// The Attempt.
    pub guest_id: GuestId,
    /// When the Invite or Request expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// The seat, if there is one already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<u8>,
}

/// Answer to `guest.accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestGranted {
    /// The Attempt.
    pub guest_id: GuestId,
    /// The seat.
    pub seat: u8,
    /// For `room.join{resume}`; single use.
    pub resume_token: String,
    /// Not on air before then.
    pub air_at: u64,
}

/// Answer to `guest.approve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestSeated {
    /// The seat.
    pub seat: u8,
}

/// Answer to `guest.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestList {
    /// Requests, in order.
    pub queue: Vec<QueueEntry>,
    /// Open Invites.
    pub invited: Vec<InvitedEntry>,
    /// Seats in full.
    pub seats: Vec<SeatDetail>,
}

/// Answer to `chat.send`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatSent {
    /// The message's number.
    pub n: u64,
}

/// Answer to `chat.history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatHistory {
    /// Oldest first.
    pub msgs: Vec<ChatMessage>,
}

/// A gift of the catalogue, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GiftInfo {
    /// Id.
    pub id: super::GiftId,
    /// Name.
    pub name: String,
    /// Price of one.
    pub coins: i64,
    /// Kind.
    pub kind: GiftKind,
    /// Tier.
    pub tier: GiftTier,
    /// The page's animation of this gift.
    pub effect: String,
}

/// Answer to `gift.catalog`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GiftCatalog {
    /// Changes with every change of the catalogue.
    pub version: u32,
    /// Cheapest first.
    pub gifts: Vec<GiftInfo>,
}

/// Answer to `gift.send`, after the commit is durable. A retry gets the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GiftReceipt {
    /// The Transfer.
    pub transfer_id: String,
    /// Coins left, paid and promo together.
    pub balance: i64,
    /// The Combo it counts for.
    pub combo_id: String,
    /// Gifts in that Combo so far.
    pub combo_total: u64,
}

/// Answer to `wallet.get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wallet {
    /// Coins left, paid and promo together.
    pub coins: i64,
    /// The promo part of them.
    pub promo: i64,
    /// Diamonds earned, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diamonds: Option<i64>,
}

/// The `data` of a successful reply.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "each variant is documented at its type")]
pub enum Answer {
    Empty(Empty),
    Welcome(Box<Welcome>),
    Joined(Box<Joined>),
    Resynced(Resynced),
    Pong(Pong),
    Media(MediaSession),
    Grown(Grown),
    Members(MemberList),
    GuestOpened(GuestOpened),
    GuestGranted(GuestGranted),
    GuestSeated(GuestSeated),
    GuestList(GuestList),
    ChatSent(ChatSent),
    ChatHistory(ChatHistory),
    GiftCatalog(GiftCatalog),
    GiftReceipt(GiftReceipt),
    Wallet(Wallet),
    /// JSON made elsewhere and repeated byte for byte, such as a stored receipt.
    Stored(Box<RawValue>),
}

impl Answer {
    /// `{}`.
    pub const EMPTY: Self = Self::Empty(Empty {});
}

impl JsonSchema for Answer {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Answer".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let all = [
            generator.subschema_for::<Welcome>(),
            generator.subschema_for::<Joined>(),
            generator.subschema_for::<Resynced>(),
            generator.subschema_for::<Pong>(),
            generator.subschema_for::<MediaSession>(),
            generator.subschema_for::<Grown>(),
            generator.subschema_for::<MemberList>(),
            generator.subschema_for::<GuestOpened>(),
            generator.subschema_for::<GuestGranted>(),
            generator.subschema_for::<GuestSeated>(),
            generator.subschema_for::<GuestList>(),
            generator.subschema_for::<ChatSent>(),
            generator.subschema_for::<ChatHistory>(),
            generator.subschema_for::<GiftCatalog>(),
            generator.subschema_for::<GiftReceipt>(),
            generator.subschema_for::<Wallet>(),
            generator.subschema_for::<Empty>(),
        ];
        schemars::json_schema!({ "anyOf": all })
    }
}
