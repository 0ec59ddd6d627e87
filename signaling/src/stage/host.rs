//! On the seat: air, mutes, losing and finding media, leaving, and what the room does to all.

use crate::protocol::{Code, GuestEnd, GuestId, GuestPolicy, GuestState, UserId};

use super::{Air, Attempt, House, Kinds, Stage, StageEffect, StageReply, TokenHash};

type Outcome = Result<StageReply, Code>;

impl Stage {
    fn seated_mut(&mut self, user: &UserId) -> Result<&mut Attempt, Code> {
        self.attempts.get_mut(user).filter(|a| a.is_seated()).ok_or(Code::GuestEnded)
    }

    /// The seated Attempt with this id: `guest_ended` if it is over, `not_pending` if it has not
    /// got a seat yet.
    fn seated_by_id(&mut self, id: &GuestId) -> Result<&mut Attempt, Code> {
        let attempt = self.attempts.values_mut().find(|a| a.id == *id).ok_or(Code::GuestEnded)?;
        if attempt.is_seated() { Ok(attempt) } else { Err(Code::NotPending) }
    }

    pub(super) fn media_ready(&mut self, user: &UserId, effects: &mut Vec<StageEffect>) -> Outcome {
        let attempt = self.seated_mut(user)?;
        if attempt.state == GuestState::Connecting {
            attempt.ready = true;
            attempt.timer = None;
            self.try_air(user, effects);
        }
        Ok(StageReply::Done)
    }

    /// Leave `connecting` if media is there and nothing else is to be waited for.
    pub(super) fn try_air(&mut self, user: &UserId, effects: &mut Vec<StageEffect>) {
        let backstage = self.policy.backstage;
        let Some(attempt) = self.attempts.get_mut(user).filter(|a| a.ready) else { return };
        match (attempt.resume_to.take(), attempt.air) {
            (Some(GuestState::Live), _) => self.go_on_air(user, effects),
            (Some(_), _) => attempt.state = GuestState::Backstage,
            (None, Air::Closed) => attempt.state = GuestState::Backstage,
            (None, _) if backstage => {
                attempt.state = GuestState::Backstage;
                attempt.air = Air::Closed;
            }
            (None, Air::Open) => self.go_on_air(user, effects),
            (None, Air::At(_)) => {}
        }
    }

    pub(super) fn go_on_air(&mut self, user: &UserId, effects: &mut Vec<StageEffect>) {
        let Some(attempt) = self.attempts.get_mut(user) else { return };
        attempt.state = GuestState::Live;
        attempt.air = Air::Open;
        attempt.was_live = true;
        let seat = attempt.seat.unwrap_or(0);
        effects.push(StageEffect::Live { user: user.clone(), id: attempt.id.clone(), seat });
    }

    pub(super) fn go_live(
        &mut self,
        id: &GuestId,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let countdown_ms = self.policy.countdown_ms;
        let open = self.house == House::Open;
        let attempt = self.seated_by_id(id)?;
        if attempt.state == GuestState::Live {
            return Ok(StageReply::Air { air_at: attempt.air_at });
        }
        if attempt.state != GuestState::Backstage {
            return Err(Code::NotPending);
        }
        if !open {
            return Err(Code::RoomNotLive);
        }
        if let Air::At(air_at) = attempt.air {
            return Ok(StageReply::Air { air_at });
        }
        let wait_ms = if attempt.was_live { 0 } else { countdown_ms };
        let user = attempt.user.clone();
        attempt.air_at = now + wait_ms;
        let air_at = attempt.air_at;
        if wait_ms == 0 {
            self.go_on_air(&user, effects);
        } else {
            attempt.air = Air::At(air_at);
            effects.push(StageEffect::Countdown { user, id: id.clone(), air_at });
        }
        Ok(StageReply::Air { air_at })
    }

    pub(super) fn backstage(&mut self, id: &GuestId) -> Outcome {
        let attempt = self.seated_by_id(id)?;
        match attempt.state {
            GuestState::Live | GuestState::Backstage => attempt.state = GuestState::Backstage,
            _ if attempt.resume_to.is_some() => attempt.resume_to = Some(GuestState::Backstage),
            _ => return Err(Code::NotPending),
        }
        attempt.air = Air::Closed;
        Ok(StageReply::Done)
    }

    pub(super) fn leave(&mut self, user: &UserId, effects: &mut Vec<StageEffect>) -> Outcome {
        self.seated_mut(user)?;
        self.end(user, GuestEnd::Left, effects);
        Ok(StageReply::Done)
    }

    pub(super) fn remove(&mut self, id: &GuestId, effects: &mut Vec<StageEffect>) -> Outcome {
        let user = self.seated_by_id(id)?.user.clone();
        self.end(&user, GuestEnd::Removed, effects);
        Ok(StageReply::Done)
    }

    pub(super) fn end_all(
        &mut self,
        reason: GuestEnd,
        which: impl Fn(&Attempt) -> bool,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let users: Vec<UserId> =
            self.attempts.values().filter(|a| which(a)).map(|a| a.user.clone()).collect();
        for user in users {
            self.end(&user, reason, effects);
        }
        Ok(StageReply::Done)
    }

    pub(super) fn mute(
        &mut self,
        id: &GuestId,
        kinds: Kinds,
        hard: bool,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let attempt = self.seated_by_id(id)?;
        if hard {
            attempt.locked = attempt.locked.or(kinds);
        } else {
            attempt.self_muted = attempt.self_muted.or(kinds);
        }
        let user = attempt.user.clone();
        effects.push(StageEffect::Muted { user, id: id.clone() });
        Ok(StageReply::Done)
    }

    /// Lifts the lock and leaves the guest muted: nobody but the guest turns a microphone on.
    pub(super) fn allow_unmute(
        &mut self,
        id: &GuestId,
        kinds: Kinds,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let attempt = self.seated_by_id(id)?;
        let lifted = Kinds {
            audio: attempt.locked.audio && kinds.audio,
            video: attempt.locked.video && kinds.video,
        };
        attempt.locked = attempt.locked.without(lifted);
        attempt.self_muted = attempt.self_muted.or(lifted);
        let user = attempt.user.clone();
        effects.push(StageEffect::Muted { user, id: id.clone() });
        Ok(StageReply::Done)
    }

    pub(super) fn self_mute(
        &mut self,
        user: &UserId,
        kinds: Kinds,
        on: bool,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let attempt = self.seated_mut(user)?;
        let locked = Kinds {
            audio: attempt.locked.audio && kinds.audio,
            video: attempt.locked.video && kinds.video,
        };
        if !on && locked != Kinds::default() {
            return Err(Code::Forbidden);
        }
        attempt.self_muted =
            if on { attempt.self_muted.or(kinds) } else { attempt.self_muted.without(kinds) };
        let id = attempt.id.clone();
        effects.push(StageEffect::Muted { user: user.clone(), id });
        Ok(StageReply::Done)
    }

    /// The publish transport is lost. While connecting, the connect timer covers it.
    pub(super) fn lost(&mut self, user: &UserId, now: u64) {
        let (grace_ms, connect_ttl_ms) = (self.policy.grace_ms, self.policy.connect_ttl_ms);
        let Ok(attempt) = self.seated_mut(user) else { return };
        match attempt.state {
            GuestState::Backstage | GuestState::Live => {
                attempt.resume_to = Some(attempt.state);
                attempt.state = GuestState::Reconnecting;
                attempt.timer = Some(now + grace_ms);
                attempt.socket_timer = None;
                if !attempt.was_live || attempt.resume_to == Some(GuestState::Backstage) {
                    attempt.air = Air::Closed;
                }
            }
            GuestState::Connecting if attempt.ready => {
                attempt.timer = Some(now + connect_ttl_ms);
            }
            _ => {}
        }
        attempt.ready = false;
    }

    /// Packets again on the old transport: as a resume, but nothing has to be set up.
    pub(super) fn back(
        &mut self,
        user: &UserId,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let connect_ttl_ms = self.policy.connect_ttl_ms;
        let attempt = self.seated_mut(user)?;
        if attempt.state == GuestState::Reconnecting {
            attempt.state = GuestState::Connecting;
            attempt.timer = Some(now + connect_ttl_ms);
        }
        self.media_ready(user, effects)
    }

    pub(super) fn resume(
        &mut self,
        user: &UserId,
        id: &GuestId,
        token: TokenHash,
        next: TokenHash,
        now: u64,
    ) -> Outcome {
        let connect_ttl_ms = self.policy.connect_ttl_ms;
        let attempt = self.seated_mut(user)?;
        if attempt.id != *id {
            return Err(Code::GuestEnded);
        }
        if attempt.token != Some(token) {
            return Err(Code::ResumeInvalid);
        }
        attempt.token = Some(next);
        attempt.socket_timer = None;
        if attempt.state == GuestState::Reconnecting {
            attempt.state = GuestState::Connecting;
            attempt.timer = Some(now + connect_ttl_ms);
        }
        let (seat, air_at) = (attempt.seat.unwrap_or(0), attempt.air_at);
        Ok(StageReply::Seated { id: id.clone(), seat, air_at })
    }

    /// The newest connection wins: same seat, same mutes, the old token is dead.
    pub(super) fn take_over(&mut self, user: &UserId, next: TokenHash, now: u64) -> Outcome {
        let connect_ttl_ms = self.policy.connect_ttl_ms;
        let attempt = self.seated_mut(user)?;
        if matches!(attempt.state, GuestState::Backstage | GuestState::Live) {
            attempt.resume_to = Some(attempt.state);
            if attempt.state == GuestState::Backstage {
                attempt.air = Air::Closed;
            }
        }
        attempt.state = GuestState::Connecting;
        attempt.timer = Some(now + connect_ttl_ms);
        attempt.socket_timer = None;
        attempt.ready = false;
        attempt.token = Some(next);
        let (seat, air_at) = (attempt.seat.unwrap_or(0), attempt.air_at);
        Ok(StageReply::Seated { id: attempt.id.clone(), seat, air_at })
    }

    /// Media is the proof of life: the Attempt goes on, for a while.
    pub(super) fn socket_lost(&mut self, user: &UserId, now: u64) -> Outcome {
        let grace_ms = self.policy.socket_grace_ms;
        let attempt = self.seated_mut(user)?;
        if matches!(attempt.state, GuestState::Backstage | GuestState::Live) {
            attempt.socket_timer = Some(now + grace_ms);
        }
        Ok(StageReply::Done)
    }

    pub(super) fn socket_back(&mut self, user: &UserId) -> Outcome {
        self.seated_mut(user)?.socket_timer = None;
        Ok(StageReply::Done)
    }

    pub(super) fn set_house(&mut self, house: House, effects: &mut Vec<StageEffect>) -> Outcome {
        self.house = house;
        if house == House::Shut {
            return self.end_all(GuestEnd::RoomEnded, |_| true, effects);
        }
        Ok(StageReply::Done)
    }

    pub(super) fn set_policy(
        &mut self,
        policy: GuestPolicy,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        if policy.seats != self.policy.seats {
            self.resize(policy.seats, &[], effects)?;
        }
        self.policy = policy;
        Ok(StageReply::Done)
    }
}
