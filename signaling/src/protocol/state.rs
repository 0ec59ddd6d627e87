//! The state of a room as a client sees it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::token::TokenRole;

use super::{GuestId, GuestMedia, GuestPolicy, Name, RoomId, UserId};

/// What somebody is in a room right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Owns the room.
    Host,
    /// Appointed by the host; without a seat.
    Moderator,
    /// Holds a seat.
    Guest,
    /// Everybody else.
    Viewer,
}

/// A permission of a moderator, or the right to make rooms.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Perm {
    /// Make a room by joining it.
    #[serde(rename = "room.create")]
    RoomCreate,
    /// Invite, revoke, approve, deny, mute and remove guests.
    #[serde(rename = "guest.manage")]
    GuestManage,
    /// Send a guest live or backstage.
    #[serde(rename = "guest.sendLive")]
    GuestSendLive,
    /// Layout and seats.
    #[serde(rename = "layout.manage")]
    LayoutManage,
    /// Delete messages.
    #[serde(rename = "chat.moderate")]
    ChatModerate,
    /// Chat mute.
    #[serde(rename = "user.mute")]
    UserMute,
    /// Kick.
    #[serde(rename = "user.kick")]
    UserKick,
    /// Ban and unban.
    #[serde(rename = "user.ban")]
    UserBan,
    /// Filters, chat modes, shield.
    #[serde(rename = "filter.manage")]
    FilterManage,
    /// Pins, polls, goals.
    #[serde(rename = "content.manage")]
    ContentManage,
}

impl Perm {
    /// Every permission; the host has them all.
    pub const ALL: [Self; 10] = [
        Self::RoomCreate,
        Self::GuestManage,
        Self::GuestSendLive,
        Self::LayoutManage,
        Self::ChatModerate,
        Self::UserMute,
        Self::UserKick,
        Self::UserBan,
        Self::FilterManage,
        Self::ContentManage,
    ];
}

/// Audio or video.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

impl From<Kind> for crate::media::MediaKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Audio => Self::Audio,
            Kind::Video => Self::Video,
        }
    }
}

/// Life of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoomState {
    /// Announced; no media.
    Scheduled,
    /// The host prepares; nobody else receives.
    Preview,
    /// On air.
    Live,
    /// On air with the host away.
    Paused,
    /// Taken off by the platform.
    Suspended,
    /// Over, for good.
    Ended,
    /// Over and forgotten.
    Archived,
}

/// Why a room is paused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// The host takes a break.
    Break,
    /// The host's media stopped.
    HostLost,
}

/// Why a room ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// `room.end`.
    Host,
    /// The host did not come back.
    HostLost,
    /// Preview without a host, or a start that never came.
    Abandoned,
    /// The longest show.
    MaxLength,
    /// The platform.
    Admin,
}

impl EndReason {
    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::HostLost => "host_lost",
            Self::Abandoned => "abandoned",
            Self::MaxLength => "max_length",
            Self::Admin => "admin",
        }
    }
}

/// A seat as viewers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeatState {
    /// Free.
    Empty,
    /// Somebody prepares; no name yet.
    Reserved,
    /// On air.
    Live,
    /// Media lost, seat kept.
    Reconnecting,
}

/// State of an Attempt.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum GuestState {
    /// Asked for a seat.
    Requested,
    /// Was offered a seat.
    Invited,
    /// Has a seat, media not there yet.
    Connecting,
    /// Media there; staff and seated people see it.
    Backstage,
    /// On air.
    Live,
    /// Media lost, seat kept.
    Reconnecting,
}

/// Why an Attempt ended; exactly one per end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuestEnd {
    /// The invitee said no.
    Declined,
    /// Staff took the Invite back.
    Revoked,
    /// Staff said no to the Request.
    Denied,
    /// The requester took it back.
    Canceled,
    /// The Request was not answered in time.
    RequestExpired,
    /// The Invite was not answered in time.
    InviteExpired,
    /// Picture or sound did not come in time.
    FirstFrameTimeout,
    /// The guest left.
    Left,
    /// Staff removed the guest.
    Removed,
    /// Staff removed all guests.
    RemovedAll,
    /// The guest did not come back in time.
    LostConnection,
    /// Banned.
    Banned,
    /// The platform stepped in.
    Policy,
    /// The room ended.
    RoomEnded,
    /// There are fewer seats now.
    SeatCountReduced,
    /// The audience became 18+.
    AgeRestricted,
}

/// A person, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// Id.
    pub user: UserId,
    /// Name.
    pub name: Name,
}

/// The room itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomInfo {
    /// Its slug.
    pub id: RoomId,
    /// Title, at most 64 characters.
    pub title: String,
    /// Where it is in its life.
    pub state: RoomState,
    /// Why it is paused; empty unless `paused`.
    pub reasons: Vec<PauseReason>,
    /// Announced end of the break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// When it went live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// Its host.
    pub host: Person,
    /// Guest policy.
    pub policy: GuestPolicy,
}

/// A seat, as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeatView {
    /// 0 = host, 1-8 = guests.
    pub seat: u8,
    /// Who; absent while empty or reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// State for viewers.
    pub state: SeatState,
    /// Sound is forwarded (there is some, and it is not muted).
    pub audio: bool,
    /// Picture is forwarded.
    pub video: bool,
    /// Packets that are lost on their way to the server come this late, ms, and pictures should wait for them; 0 = none are.
    /// Changes only where losses go on, in steps of 50.
    #[serde(default, skip_serializing_if = "is_zero", rename = "repairMs")]
    pub repair_ms: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(ms: &u16) -> bool {
    *ms == 0
}

/// Viewer counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Viewers {
    /// Present now, the host not counted; two tabs of one person are one.
    pub now: u32,
    /// Distinct people so far.
    pub total: u32,
}

/// The Attempt of the person addressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct YourGuest {
    /// The Attempt.
    pub guest_id: GuestId,
    /// Its state.
    pub state: GuestState,
    /// The seat, once there is one (or the seat the Invite names).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<u8>,
    /// What may be sent.
    pub media: GuestMedia,
    /// Muted by the guest.
    pub self_muted: Vec<Kind>,
    /// Muted by staff.
    pub locked: Vec<Kind>,
    /// When an Invite or Request expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// The person addressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct You {
    /// Id.
    pub user: UserId,
    /// Name.
    pub name: Name,
    /// Role in this room.
    pub role: Role,
    /// Host or moderator.
    pub staff: bool,
    /// Permissions.
    pub perms: Vec<Perm>,
    /// The open Attempt, if any.
    pub guest: Option<YourGuest>,
    /// Muted in chat until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute_until: Option<u64>,
}

/// A chat message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatMessage {
    /// Room-wide number, increasing.
    pub n: u64,
    /// Author.
    pub user: UserId,
    /// Author's name.
    pub name: Name,
    /// Author's role at that moment.
    pub role: Role,
    /// Text, at most 200 characters.
    pub text: String,
    /// When.
    pub ts: u64,
}

/// A Request in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueEntry {
    /// The Attempt.
    pub guest_id: GuestId,
    /// Who.
    pub user: UserId,
    /// Their name.
    pub name: Name,
    /// What they want to send.
    pub media: GuestMedia,
    /// Their note, at most 80 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When they asked.
    pub at: u64,
}

/// An open Invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvitedEntry {
    /// The Attempt.
    pub guest_id: GuestId,
    /// Who.
    pub user: UserId,
    /// Their name.
    pub name: Name,
    /// When it expires.
    pub expires_at: u64,
}

/// A guest seat, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatDetail {
    /// The seat.
    pub seat: u8,
    /// The Attempt.
    pub guest_id: GuestId,
    /// Who.
    pub user: UserId,
    /// Their name.
    pub name: Name,
    /// Their state.
    pub state: GuestState,
    /// Muted by the guest.
    pub self_muted: Vec<Kind>,
    /// Muted by staff.
    pub locked: Vec<Kind>,
}

/// A person in the room, for staff.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Their name.
    pub name: Name,
    /// Their role.
    pub role: Role,
    /// State of their open Attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestState>,
}

/// What only staff see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StaffView {
    /// Requests, in order.
    pub queue: Vec<QueueEntry>,
    /// Open Invites.
    pub invited: Vec<InvitedEntry>,
    /// Seats in full.
    pub seats: Vec<SeatDetail>,
    /// People in the room, at most 200.
    pub members: Vec<Member>,
}

/// Everything a client needs to show a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    /// The room.
    pub room: RoomInfo,
    /// The last `seq` this state contains.
    pub seq: u64,
    /// Seats 0 to the policy's count.
    pub seats: Vec<SeatView>,
    /// Viewer counts.
    pub viewers: Viewers,
    /// The person addressed.
    pub you: You,
    /// The latest chat messages, oldest first.
    pub chat: Vec<ChatMessage>,
    /// Staff only.
    pub staff: Option<StaffView>,
    /// Likes so far.
    #[serde(default)]
    pub likes: u64,
    /// Seats that speak; if the dominant speaker is among them, it is the first.
    #[serde(default)]
    pub speaking: Vec<u8>,
}
