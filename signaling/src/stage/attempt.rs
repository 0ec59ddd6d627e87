//! One person's way to a seat.

use serde::{Deserialize, Serialize};

use crate::protocol::{GuestId, GuestMedia, GuestState, Kind, UserId};

/// SHA-256 of a resume token; the token itself is not kept.
pub type TokenHash = [u8; 32];

/// A set of media kinds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Kinds {
    /// Sound.
    pub audio: bool,
    /// Picture.
    pub video: bool,
}

impl Kinds {
    /// Both.
    pub const ALL: Self = Self { audio: true, video: true };

    /// From a list; repeats do no harm.
    #[must_use]
    pub fn of(kinds: &[Kind]) -> Self {
        Self { audio: kinds.contains(&Kind::Audio), video: kinds.contains(&Kind::Video) }
    }

    /// As a list.
    #[must_use]
    pub fn list(self) -> Vec<Kind> {
        let pairs = [(self.audio, Kind::Audio), (self.video, Kind::Video)];
        pairs.into_iter().filter(|pair| pair.0).map(|pair| pair.1).collect()
    }

    /// Whether `kind` is in it.
    #[must_use]
    pub const fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Audio => self.audio,
            Kind::Video => self.video,
        }
    }

    /// In either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self { audio: self.audio || other.audio, video: self.video || other.video }
    }

    /// In this one only.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self { audio: self.audio && !other.audio, video: self.video && !other.video }
    }
}

/// The countdown before the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Air {
    /// Nobody has asked to go on air (backstage).
    Closed,
    /// May go on air from this time on.
    At(u64),
    /// The countdown is over.
    Open,
}

/// One life of one person's way to a seat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Its id; commands name it.
    pub id: GuestId,
    /// Whose.
    pub user: UserId,
    /// Where it is.
    pub state: GuestState,
    /// The seat held, or the seat that an Invite names.
    pub seat: Option<u8>,
    /// What may be sent.
    pub media: GuestMedia,
    /// Note of a Request.
    pub note: String,
    /// Adult, as known when it opened.
    pub adult: bool,
    /// Since when it is open.
    pub since: u64,
    /// Place in the order of arrival.
    pub order: u64,
    /// Countdown.
    pub air: Air,
    /// On air then, as last announced.
    pub air_at: u64,
    /// What the grant said: a repeated accept says the same.
    pub granted_air_at: u64,
    /// Where a resume leads: `Backstage` or `Live`.
    pub resume_to: Option<GuestState>,
    /// Was on air in this Attempt.
    pub was_live: bool,
    /// Media of every announced kind has arrived on the present transport.
    pub ready: bool,
    /// Granted by an accept: a repeated accept gets the same answer.
    pub by_accept: bool,
    /// An accept found no seat.
    pub waits_for_seat: bool,
    /// Muted by the guest, or softly by staff.
    pub self_muted: Kinds,
    /// Muted by staff; only staff lift it.
    pub locked: Kinds,
    /// The token that resumes it, if seated.
    pub token: Option<TokenHash>,
    /// The host's share of gifts, fixed when it opened.
    pub share_bps: u16,
    /// Deadline of the state: Request, Invite, connect or grace.
    pub timer: Option<u64>,
    /// Deadline of the WebSocket's absence.
    pub socket_timer: Option<u64>,
}

impl Attempt {
    /// Whether it holds a seat.
    #[must_use]
    pub const fn is_seated(&self) -> bool {
        matches!(
            self.state,
            GuestState::Connecting
                | GuestState::Backstage
                | GuestState::Live
                | GuestState::Reconnecting
        )
    }

    /// Kinds muted by either flag.
    #[must_use]
    pub const fn muted(&self) -> Kinds {
        self.self_muted.or(self.locked)
    }

    /// Kinds that viewers receive.
    #[must_use]
    pub fn forwarded(&self) -> Kinds {
        if self.state != GuestState::Live {
            return Kinds::default();
        }
        Kinds { audio: true, video: self.media == GuestMedia::Av }.without(self.muted())
    }
}
