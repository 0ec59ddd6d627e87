//! The guest policy of a room: one object with defaults and ranges.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::refusal::{Code, Refusal};

/// Who may ask for a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Everyone in the room.
    Everyone,
    /// Followers of the host.
    Followers,
    /// People who follow each other.
    Friends,
    /// The fan club.
    Fanclub,
    /// Nobody; guests come by Invite only.
    Off,
}

/// What a guest sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuestMedia {
    /// Audio and video.
    Av,
    /// Audio only.
    Audio,
}

/// Order of the request queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueSort {
    /// Oldest request first.
    Time,
    /// Most coins given in this room first, then oldest.
    Gifts,
}

/// How tiles are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Equal tiles.
    Grid,
    /// Host large, guests in a column.
    Panel,
    /// One person large.
    Spotlight,
    /// Fixed positions.
    Fixed,
}

/// What happens when the host does not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnHostLost {
    /// The room ends.
    End,
    /// A named person takes over.
    Handover,
}

macro_rules! policy {
    ($( $(#[doc = $doc:literal])+ $field:ident : $type:ty = $default:expr, $low:expr, $high:expr; )*) => {
        /// The guest policy in force. All times in milliseconds.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        pub struct GuestPolicy { $( $(#[doc = $doc])+ pub $field: $type, )* }

        impl Default for GuestPolicy {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        /// Changes to the guest policy; what is absent stays.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct GuestPolicyPatch { $(
            $(#[doc = $doc])+
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<$type>,
        )* }

        impl GuestPolicy {
            /// This policy with the changes of `patch`.
            ///
            /// # Errors
            /// `bad_request` naming the first field that is out of its range; nothing is changed.
            pub fn patched(&self, patch: &GuestPolicyPatch) -> Result<Self, Refusal> {
                let mut new = self.clone();
                $( if let Some(value) = patch.$field {
                    if !($low..=$high).contains(&value) {
                        return Err(Refusal::new(Code::BadRequest).detail("field", stringify!($field)));
                    }
                    new.$field = value;
                } )*
                Ok(new)
            }
        }
    };
}

macro_rules! ordered {
    ($($name:ident),*) => { $(
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                (*self as u8).cmp(&(*other as u8))
            }
        }
    )* };
}
// Only so that one range check serves numbers and choices alike.
ordered!(Who, GuestMedia, QueueSort, Layout, OnHostLost);

policy! {
    /// Guest seats that exist, 1-8.
    seats: u8 = 8, 1, 8;
    /// Who may ask.
    who: Who = Who::Everyone, Who::Everyone, Who::Off;
    /// Most that a guest may send: `audio` allows no video.
    media: GuestMedia = GuestMedia::Av, GuestMedia::Av, GuestMedia::Audio;
    /// Requests go straight to a free seat.
    auto_approve: bool = false, false, true;
    /// Guests wait backstage until somebody sends them live.
    backstage: bool = false, false, true;
    /// Order of the queue.
    sort: QueueSort = QueueSort::Time, QueueSort::Time, QueueSort::Gifts;
    /// Coins given in this room before one may ask.
    min_gift_score: u64 = 0, 0, 1_000_000_000;
    /// The host's part of gifts to guests, in basis points.
    guest_gift_share_bps: u16 = 0, 0, 5000;
    /// Arrangement of tiles.
    layout: Layout = Layout::Grid, Layout::Grid, Layout::Fixed;
    /// People blocked by anyone on stage are kept out.
    block_union: bool = true, false, true;
    /// Guests must be adults.
    adult_only: bool = true, false, true;
    /// When the host stays away.
    on_host_lost: OnHostLost = OnHostLost::End, OnHostLost::End, OnHostLost::Handover;
    /// A Request lives this long.
    request_ttl_ms: u64 = 600_000, 60_000, 3_600_000;
    /// An Invite lives this long.
    invite_ttl_ms: u64 = 30_000, 10_000, 120_000;
    /// From the grant to the first picture and sound.
    connect_ttl_ms: u64 = 15_000, 5_000, 60_000;
    /// From the grant to the air.
    countdown_ms: u64 = 3_000, 0, 10_000;
    /// A guest whose media is lost keeps the seat this long.
    grace_ms: u64 = 20_000, 5_000, 60_000;
    /// A guest whose media flows may be without a WebSocket this long.
    socket_grace_ms: u64 = 60_000, 10_000, 120_000;
    /// The room waits this long for a lost host.
    host_grace_ms: u64 = 60_000, 10_000, 300_000;
}
