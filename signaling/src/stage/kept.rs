//! Over a restart: what is kept of an Attempt that had media, and how it comes back.

use serde::{Deserialize, Serialize};

use crate::protocol::{GuestId, GuestMedia, GuestState, UserId};

use super::{Air, Attempt, Kinds, Stage, TokenHash};

/// What outlives a restart. Not kept: Requests, Invites and first-time `connecting`, whose people
/// ask again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptAttempt {
    /// The seat held.
    pub seat: u8,
    /// `Backstage` or `Live`.
    pub resume_to: GuestState,
    /// What may be sent.
    pub media: GuestMedia,
    /// Adult, as known when it opened.
    pub adult: bool,
    /// Since when it is open, milliseconds since the epoch.
    pub since: u64,
    /// Was on air in this Attempt.
    pub was_live: bool,
    /// Muted by the guest, or softly by staff.
    pub self_muted: Kinds,
    /// Muted by staff; only staff lift it.
    pub locked: Kinds,
    /// Hash of the token that resumes it.
    pub token: TokenHash,
    /// The host's share of gifts, fixed when it opened.
    pub share_bps: u16,
}

impl Attempt {
    /// What is to be kept of it; `None` while it never had media.
    #[must_use]
    pub fn kept(&self) -> Option<KeptAttempt> {
        let resume_to = match self.state {
            GuestState::Backstage | GuestState::Live => self.state,
            GuestState::Connecting | GuestState::Reconnecting => self.resume_to?,
            GuestState::Requested | GuestState::Invited => return None,
        };
        Some(KeptAttempt {
            seat: self.seat?,
            resume_to,
            media: self.media,
            adult: self.adult,
            since: self.since,
            was_live: self.was_live,
            self_muted: self.self_muted,
            locked: self.locked,
            token: self.token?,
            share_bps: self.share_bps,
        })
    }
}

impl Stage {
    /// Put an Attempt back as `reconnecting`, with a fresh grace. `false` = its seat does not exist
    /// any more or is taken, or the person is banned: nothing has changed.
    pub fn bring_back(&mut self, id: GuestId, user: UserId, kept: &KeptAttempt, now: u64) -> bool {
        let media = matches!(kept.resume_to, GuestState::Backstage | GuestState::Live);
        if !media || self.is_banned(&user) || self.attempts.contains_key(&user) {
            return false;
        }
        let Ok(seat) = self.seat_for(Some(kept.seat)) else { return false };
        self.arrivals += 1;
        let live = kept.resume_to == GuestState::Live;
        let attempt = Attempt {
            id,
            user: user.clone(),
            state: GuestState::Reconnecting,
            seat: Some(seat),
            media: kept.media,
            note: String::new(),
            adult: kept.adult,
            since: kept.since,
            order: self.arrivals,
            air: if live { Air::Open } else { Air::Closed },
            air_at: now,
            granted_air_at: now,
            resume_to: Some(kept.resume_to),
            was_live: kept.was_live,
            ready: false,
            by_accept: false,
            waits_for_seat: false,
            self_muted: kept.self_muted,
            locked: kept.locked,
            token: Some(kept.token),
            share_bps: kept.share_bps,
            timer: Some(now + self.policy.grace_ms),
            socket_timer: None,
        };
        self.attempts.insert(user, attempt);
        true
    }
}
