//! Commands: what a client asks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::media::{Seat, TileSize};

use super::{
    Code, Empty, GiftId, GuestId, GuestMedia, GuestPolicyPatch, Key, Kind, Refusal, RoomId,
    TransportRef, UserId,
};

/// The longest chat message, in characters.
pub const CHAT_LEN: usize = 200;
/// The longest note of a Request and message of an Invite, in characters.
pub const NOTE_LEN: usize = 80;
/// The longest title of a room, in characters.
pub const TITLE_LEN: usize = 64;
/// The largest `count` of one `gift.send`.
pub const GIFT_COUNT: u32 = 999;
/// The largest `n` of one `like`.
pub const LIKES: u32 = 15;
/// The largest `w` and `h` of one `layer.prefer`.
pub const TILE_SIDE: u32 = 16_384;
/// The largest `audioTop` of one `room.join`: the host and eight guests, which is everybody.
pub(super) const VOICES: u8 = Seat::MAX_GUEST + 1;
/// The most seats of one `media.pause`: the host, eight guests, the screen.
pub const PAUSE_SEATS: usize = Seat::COUNT;
/// The most chat messages of one `chat.history`.
pub const HISTORY: usize = 50;
/// The longest resume token and version string.
const TOKEN_LEN: usize = 128;
/// The longest JWT.
const JWT_LEN: usize = 4096;

macro_rules! commands {
    ($( $(#[doc = $doc:literal])+ $name:ident $text:literal $data:ident; )*) => {
        /// A command with its fields checked.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "type", content = "data")]
        pub enum Command { $(
            $(#[doc = $doc])+
            #[serde(rename = $text)]
            $name($data),
        )* }

        impl Command {
            /// Every `type`, in the order of the documentation.
            pub const TYPES: &'static [&'static str] = &[ $( $text, )* ];

            /// One line on each of [`Self::TYPES`], for the documentation.
            pub const ABOUT: &'static [&'static str] = &[ $( concat!($($doc),+), )* ];

            /// Its `type`.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self { $( Self::$name(_) => $text, )* }
            }

            fn read(kind: &str, data: &str) -> Result<Self, Refusal> {
                match kind {
                    $( $text => serde_json::from_str(data).map(Self::$name).map_err(|e| unreadable(&e)), )*
                    _ => Err(Code::UnknownType.into()),
                }
            }
        }
    };
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal::new(Code::BadRequest).because(error.to_string())
}

commands! {
    /// Who I am and what I speak; the first command of a connection.
    Hello "hello" Hello;
    /// Enter a room and, unless `media` is `false`, get an offer to watch it.
    RoomJoin "room.join" RoomJoin;
    /// Leave the room; the connection stays.
    RoomLeave "room.leave" Empty;
    /// Events after a gap.
    RoomResync "room.resync" RoomResync;
    /// A newer token for this connection.
    TokenRefresh "token.refresh" TokenRefresh;
    /// Are you there?
    Ping "ping" Empty;
    /// I accept the house rules.
    RulesAccept "rules.accept" RulesAccept;
    /// Go live (host); takes effect with the first packet from the host.
    RoomStart "room.start" RoomStart;
    /// Take a break (host).
    RoomPause "room.pause" RoomPause;
    /// End the break (host).
    RoomResume "room.resume" Empty;
    /// End the show (host).
    RoomEnd "room.end" Empty;
    /// Change title or guest policy (host).
    RoomUpdate "room.update" RoomUpdate;
    /// My answer to the server's watch offer.
    MediaAnswer "media.answer" MediaAnswerData;
    /// My offer to publish (host, or a guest with a seat).
    MediaOffer "media.offer" MediaOffer;
    /// More seats in my watch connection, in idle time.
    MediaGrow "media.grow" Empty;
    /// ICE restart after a change of network.
    MediaRestart "media.restart" MediaRestart;
    /// Stop publishing.
    MediaUnpublish "media.unpublish" Empty;
    /// Mute or unmute myself.
    MediaMute "media.mute" MediaMute;
    /// How large I show a seat, so that I am not sent more than that needs. It holds for my present watch connection, whoever
    /// fills the seat.
    LayerPrefer "layer.prefer" LayerPrefer;
    /// Which seats I do not show: no video of them is sent, sound goes on. It holds for my present watch connection, whoever
    /// fills the seats.
    MediaPause "media.pause" MediaPause;
    /// Accepted and ignored: the server is ICE-lite and needs no candidates.
    MediaCandidate "media.candidate" Empty;
    /// Who is here (staff).
    MemberList "member.list" Empty;
    /// I would like a seat.
    GuestRequest "guest.request" GuestRequest;
    /// I take my Request back.
    GuestCancel "guest.cancel" GuestRef;
    /// Offer somebody a seat (staff).
    GuestInvite "guest.invite" GuestInvite;
    /// Take an Invite back (staff).
    GuestRevoke "guest.revoke" GuestRef;
    /// Yes to an Invite.
    GuestAccept "guest.accept" GuestAccept;
    /// No to an Invite.
    GuestDecline "guest.decline" GuestRef;
    /// Yes to a Request (staff).
    GuestApprove "guest.approve" GuestRef;
    /// No to a Request (staff).
    GuestDeny "guest.deny" GuestRef;
    /// Put a guest on air (staff).
    GuestGoLive "guest.goLive" GuestRef;
    /// Take a guest off air, behind the stage (staff).
    GuestBackstage "guest.backstage" GuestRef;
    /// I leave my seat.
    GuestLeave "guest.leave" Empty;
    /// Remove a guest (staff).
    GuestRemove "guest.remove" GuestRef;
    /// Remove all guests (staff).
    GuestRemoveAll "guest.removeAll" Empty;
    /// Mute a guest (staff).
    GuestMute "guest.mute" GuestMute;
    /// Let a guest unmute again (staff); it stays muted until the guest does.
    GuestAllowUnmute "guest.allowUnmute" GuestKinds;
    /// I ask staff to let me unmute.
    GuestRequestUnmute "guest.requestUnmute" Kinds;
    /// Requests, Invites and seats (staff).
    GuestList "guest.list" Empty;
    /// Say something.
    ChatSend "chat.send" ChatSend;
    /// Older messages.
    ChatHistory "chat.history" ChatHistoryAsk;
    /// Mute somebody in chat (staff).
    ModMute "mod.mute" ModMute;
    /// End a chat mute (staff).
    ModUnmute "mod.unmute" ModUser;
    /// Send somebody out for five minutes (staff).
    ModKick "mod.kick" ModUser;
    /// Ban somebody from this room (staff).
    ModBan "mod.ban" ModBan;
    /// End a ban (staff).
    ModUnban "mod.unban" ModUser;
    /// All gifts and prices.
    GiftCatalog "gift.catalog" Empty;
    /// Send a gift.
    GiftSend "gift.send" GiftSend;
    /// My coins.
    WalletGet "wallet.get" Empty;
    /// Likes, batched by the client.
    Like "like" Like;
}

impl Command {
    /// Turn `type` and `data` into a command; unknown fields are ignored.
    ///
    /// # Errors
    /// `unknown_type`, `bad_request`, `too_large` for a text over its limit, `limit_exceeded` for
    /// a number over its limit.
    pub fn parse(kind: &str, data: &str) -> Result<Self, Refusal> {
        let command = Self::read(kind, data)?;
        command.check()?;
        Ok(command)
    }

    fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Hello(hello) => {
                fits(&hello.token, JWT_LEN, "token")?;
                fits(&hello.client, TOKEN_LEN, "client")
            }
            Self::RoomJoin(join) => {
                join.audio_top.map_or(Ok(()), |n| within(n.into(), VOICES.into(), "audioTop"))?;
                join.resume.as_deref().map_or(Ok(()), |t| fits(t, TOKEN_LEN, "resume"))
            }
            Self::TokenRefresh(refresh) => fits(&refresh.token, JWT_LEN, "token"),
            Self::RulesAccept(rules) => fits(&rules.version, TOKEN_LEN, "version"),
            Self::RoomStart(start) => {
                start.title.as_deref().map_or(Ok(()), |t| fits(t, TITLE_LEN, "title"))
            }
            Self::RoomUpdate(update) => {
                update.title.as_deref().map_or(Ok(()), |t| fits(t, TITLE_LEN, "title"))
            }
            Self::GuestRequest(request) => fits(&request.note, NOTE_LEN, "note"),
            Self::GuestInvite(invite) => fits(&invite.message, NOTE_LEN, "message"),
            Self::MediaMute(mute) => some(&mute.kinds),
            Self::LayerPrefer(prefer) => prefer.check(),
            Self::MediaPause(pause) => pause.check(),
            Self::GuestMute(mute) => some(&mute.kinds),
            Self::GuestAllowUnmute(unmute) => some(&unmute.kinds),
            Self::GuestRequestUnmute(unmute) => some(&unmute.kinds),
            Self::ChatSend(chat) => {
                if chat.text.trim().is_empty() {
                    return Err(Refusal::new(Code::BadRequest).detail("field", "text"));
                }
                fits(&chat.text, CHAT_LEN, "text")
            }
            Self::ChatHistory(ask) => within(ask.limit as u64, HISTORY as u64, "limit"),
            Self::GiftSend(gift) => within(gift.count.into(), GIFT_COUNT.into(), "count"),
            Self::Like(like) => within(like.n.into(), LIKES.into(), "n"),
            _ => Ok(()),
        }
    }
}

fn fits(text: &str, limit: usize, field: &str) -> Result<(), Refusal> {
    // Bytes first: counting characters of 60 KiB to learn that it is too long would be a gift.
    if text.len() > 4 * limit || text.chars().count() > limit {
        return Err(Refusal::new(Code::TooLarge).detail("field", field).detail("limit", limit));
    }
    Ok(())
}

fn within(n: u64, limit: u64, field: &str) -> Result<(), Refusal> {
    if (1..=limit).contains(&n) {
        return Ok(());
    }
    Err(Refusal::new(Code::LimitExceeded).detail("field", field).detail("limit", limit))
}

fn some(kinds: &[Kind]) -> Result<(), Refusal> {
    if (1..=2).contains(&kinds.len()) {
        return Ok(());
    }
    Err(Refusal::new(Code::BadRequest).detail("field", "kinds"))
}

/// Data of `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hello {
    /// The room token (JWT).
    pub token: String,
    /// Protocol version; this is 1.
    pub v: u32,
    /// Name and version of the client software.
    #[serde(default)]
    pub client: String,
}

/// Data of `room.join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomJoin {
    /// The room.
    pub room: RoomId,
    /// Guest seats wanted in the offer; default: those on air plus two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seats: Option<u8>,
    /// Sound of the loudest so many seats only, 1 to 9, the host's always among them; default: of all. A guest's own
    /// voice counts among them. It holds for this watch connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_top: Option<u8>,
    /// Use data channels.
    #[serde(default = "yes")]
    pub dc: bool,
    /// Receive media at all.
    #[serde(default = "yes")]
    pub media: bool,
    /// Take a seat back after a disconnect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// The watch transport of this page's connection that was lost; it and that connection end now, without
    /// waiting until they are missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<TransportRef>,
}

const fn yes() -> bool {
    true
}

/// Data of `room.resync`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomResync {
    /// The last `seq` without a gap before it.
    pub from_seq: u64,
}

/// Data of `token.refresh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRefresh {
    /// The new token, for the same person.
    pub token: String,
}

/// Data of `rules.accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RulesAccept {
    /// The version that was shown.
    pub version: String,
}

/// Data of `room.start`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomStart {
    /// Title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Data of `room.pause`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomPause {
    /// Announced return; at most 15 minutes from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Guests off air too.
    #[serde(default)]
    pub pause_guests: bool,
}

/// Data of `room.update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomUpdate {
    /// New title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Changes to the guest policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestPolicyPatch>,
}

/// Data of `media.answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaAnswerData {
    /// The transport that offered.
    pub transport: TransportRef,
    /// The answer.
    pub sdp: String,
}

/// Data of `media.offer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaOffer {
    /// A send-only offer.
    pub sdp: String,
}

/// Data of `media.restart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaRestart {
    /// The transport to restart: yours, or one you publish by from a page whose WebSocket was lost.
    pub transport: TransportRef,
    /// For a publish transport: the new offer. For a watch transport: absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdp: Option<String>,
}

/// Data of `media.mute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaMute {
    /// What.
    pub kinds: Vec<Kind>,
    /// `true` = muted.
    pub on: bool,
}

/// Data of `layer.prefer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayerPrefer {
    /// 0 = host, 1-8 = guests, 9 = the host's screen.
    pub seat: u8,
    /// Width of its tile in device pixels, at most 16384; 0 with `h` 0 = as large as there is.
    pub w: u32,
    /// Height of its tile in device pixels, at most 16384.
    pub h: u32,
}

impl LayerPrefer {
    /// The tile; `None` = as large as there is.
    #[must_use]
    pub fn size(&self) -> Option<TileSize> {
        let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0);
        Some(TileSize { width: side(self.w)?, height: side(self.h)? })
    }

    fn check(&self) -> Result<(), Refusal> {
        seat_exists(self.seat)?;
        if (self.w, self.h) == (0, 0) {
            return Ok(());
        }
        within(self.w.into(), TILE_SIDE.into(), "w")?;
        within(self.h.into(), TILE_SIDE.into(), "h")
    }
}

/// Data of `media.pause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MediaPause {
    /// The seats, numbered as in `layer.prefer`; absent = all, also those that are filled later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Vec<u8>>,
    /// `true` = paused.
    pub on: bool,
}

impl MediaPause {
    /// The seats.
    #[must_use]
    pub fn seats(&self) -> Vec<Seat> {
        match &self.seats {
            Some(seats) => seats.iter().copied().map(Seat).collect(),
            None => (0..Seat::COUNT as u8).map(Seat).collect(),
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        let Some(seats) = &self.seats else { return Ok(()) };
        within(seats.len() as u64, PAUSE_SEATS as u64, "seats")?;
        seats.iter().try_for_each(|seat| seat_exists(*seat))
    }
}

fn seat_exists(seat: u8) -> Result<(), Refusal> {
    if usize::from(seat) < Seat::COUNT {
        return Ok(());
    }
    Err(Refusal::new(Code::SeatNotFound).detail("seat", seat))
}

/// Data of `guest.request`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestRequest {
    /// What I would send.
    pub media: GuestMedia,
    /// A word to the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// An Attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestRef {
    /// Which; a click on an old card cannot touch a new Attempt.
    pub guest_id: GuestId,
}

/// Data of `guest.invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestInvite {
    /// Whom.
    pub user: UserId,
    /// A certain seat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<u8>,
    /// What they may send; default: as the policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<GuestMedia>,
    /// A word to them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Data of `guest.accept`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestAccept {
    /// The Invite.
    pub guest_id: GuestId,
    /// What I send.
    pub media: GuestMedia,
}

/// Data of `guest.mute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestMute {
    /// Whom.
    pub guest_id: GuestId,
    /// What.
    pub kinds: Vec<Kind>,
    /// `true`: the guest cannot undo it.
    pub hard: bool,
}

/// Data of `guest.allowUnmute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuestKinds {
    /// Whom.
    pub guest_id: GuestId,
    /// What.
    pub kinds: Vec<Kind>,
}

/// Data of `guest.requestUnmute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kinds {
    /// What.
    pub kinds: Vec<Kind>,
}

/// Data of `chat.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatSend {
    /// A retry with the same key is the same message.
    pub key: Key,
    /// At most 200 characters.
    pub text: String,
}

/// Data of `chat.history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatHistoryAsk {
    /// Only messages with a smaller number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most 50.
    pub limit: u32,
}

/// Data of `mod.mute`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModMute {
    /// Whom.
    pub user: UserId,
    /// How long, at most 14 days.
    pub ms: u64,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModUser {
    /// Whom.
    pub user: UserId,
}

/// Data of `mod.ban`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModBan {
    /// Whom.
    pub user: UserId,
    /// How long; `null` = for good.
    #[serde(default)]
    pub ms: Option<u64>,
}

/// Whom a gift is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum GiftTo {
    /// Whoever sits there.
    Seat(u8),
    /// A person.
    User(UserId),
}

/// Data of `gift.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GiftSend {
    /// A retry with the same key, on any carrier, is the same gift.
    pub key: Key,
    /// Which.
    pub gift_id: GiftId,
    /// The price the sender saw, for one.
    pub price: i64,
    /// 1-999.
    pub count: u32,
    /// For whom.
    pub to: GiftTo,
}

/// Data of `like`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Like {
    /// 1-15.
    pub n: u32,
}
