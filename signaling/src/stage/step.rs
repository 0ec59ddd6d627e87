//! The transitions: guards in the order of the specification, the first that fails refuses.

use crate::protocol::{Code, GuestEnd, GuestId, GuestMedia, GuestState, UserId, Who};

use super::{
    Air, Attempt, Facts, House, Kinds, Stage, StageCommand, StageEffect, StageReply, TokenHash,
};

type Outcome = Result<StageReply, Code>;

/// Take one command at `now_ms`. Whatever is due by then happens first: the server's clock decides
/// between an accept and the end of its Invite.
///
/// # Errors
/// The refusal's code; then only what was due has changed.
pub fn step(
    stage: &mut Stage,
    command: StageCommand,
    now_ms: u64,
    effects: &mut Vec<StageEffect>,
) -> Outcome {
    stage.expire(now_ms, effects);
    use StageCommand as C;
    match command {
        C::Request { user, id, facts, media, note, token } => {
            let ask = Ask { user, id, facts, token };
            stage.request(ask, media, note, now_ms, effects)
        }
        C::Cancel { user, id } => {
            stage.close(Some(&user), &id, GuestState::Requested, GuestEnd::Canceled, effects)
        }
        C::Approve { id, token } => stage.approve(&id, token, now_ms, effects),
        C::Deny { id } => stage.deny(&id, now_ms, effects),
        C::Invite { user, id, facts, seat, media, token } => {
            let ask = Ask { user, id, facts, token };
            stage.invite(ask, seat, media, now_ms, effects)
        }
        C::Revoke { id } => stage.close(None, &id, GuestState::Invited, GuestEnd::Revoked, effects),
        C::Decline { user, id } => stage.decline(&user, &id, now_ms, effects),
        C::Accept { user, id, media, rules_accepted, token } => {
            stage.accept(&user, &id, media, rules_accepted, token, now_ms, effects)
        }
        C::GoLive { id } => stage.go_live(&id, now_ms, effects),
        C::Backstage { id } => stage.backstage(&id),
        C::Leave { user } => stage.leave(&user, effects),
        C::Remove { id } => stage.remove(&id, effects),
        C::RemoveAll => stage.end_all(GuestEnd::RemovedAll, Attempt::is_seated, effects),
        C::Mute { id, kinds, hard } => stage.mute(&id, kinds, hard, effects),
        C::AllowUnmute { id, kinds } => stage.allow_unmute(&id, kinds, effects),
        C::SelfMute { user, kinds, on } => stage.self_mute(&user, kinds, on, effects),
        C::Ban { user } => {
            stage.banned.insert(user.clone());
            stage.end(&user, GuestEnd::Banned, effects);
            Ok(StageReply::Done)
        }
        C::Unban { user } => {
            stage.banned.remove(&user);
            Ok(StageReply::Done)
        }
        C::MediaReady { user } => stage.media_ready(&user, effects),
        C::Lost { user } => {
            stage.lost(&user, now_ms);
            Ok(StageReply::Done)
        }
        C::Back { user } => stage.back(&user, now_ms, effects),
        C::Resume { user, id, token, next } => stage.resume(&user, &id, token, next, now_ms),
        C::TakeOver { user, next } => stage.take_over(&user, next, now_ms),
        C::SocketLost { user } => stage.socket_lost(&user, now_ms),
        C::SocketBack { user } => stage.socket_back(&user),
        C::HostLost { lost } => {
            stage.host_lost = lost;
            Ok(StageReply::Done)
        }
        C::House(house) => stage.set_house(house, effects),
        C::Suspend => {
            stage.house = House::Shut;
            stage.end_all(GuestEnd::Policy, |_| true, effects)
        }
        C::AdultsOnly => stage.end_all(GuestEnd::AgeRestricted, |a| !a.adult, effects),
        C::Policy(policy) => stage.set_policy(policy, effects),
        C::Resize { seats, remove } => stage.resize(seats, &remove, effects),
        C::LockSeat { seat, locked } => stage.lock_seat(seat, locked),
        C::Move { id, seat, swap } => stage.move_to(&id, seat, swap),
    }
}

/// What a Request and an Invite have in common.
struct Ask {
    user: UserId,
    id: GuestId,
    facts: Facts,
    token: TokenHash,
}

impl Stage {
    fn is_open(&self) -> Result<(), Code> {
        if self.house == House::Open { Ok(()) } else { Err(Code::RoomNotLive) }
    }

    fn request(
        &mut self,
        ask: Ask,
        media: GuestMedia,
        note: String,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        self.may_request(&ask)?;
        if let Some(open) = self.attempts.get(&ask.user) {
            if open.state != GuestState::Invited {
                return Err(Code::RequestExists);
            }
            // Crossing: both want it, so there is nothing left to ask.
            let seat = self.crossing_seat(open.seat)?;
            let media = narrower(open.media, media);
            return Ok(self.grant(&ask.user, seat, media, ask.token, now, effects));
        }
        self.policy_allows(&ask.facts, media)?;
        if self.cooldowns.get(&ask.user).is_some_and(|c| now < c.request_until) {
            return Err(Code::Cooldown);
        }
        if self.count(GuestState::Requested) >= self.rules.queue {
            return Err(Code::QueueFull);
        }
        let expires_at = now + self.policy.request_ttl_ms;
        let mut attempt = self.attempt_for(&ask, GuestState::Requested, media, now);
        attempt.note = note;
        attempt.timer = Some(expires_at);
        self.attempts.insert(ask.user.clone(), attempt);
        if self.policy.auto_approve
            && !self.host_lost
            && let Ok(seat) = self.seat_for(None)
        {
            return Ok(self.grant(&ask.user, seat, media, ask.token, now, effects));
        }
        Ok(StageReply::Opened { id: ask.id, expires_at })
    }

    fn may_request(&self, ask: &Ask) -> Result<(), Code> {
        self.is_open()?;
        let facts = &ask.facts;
        let guards = [
            (facts.anonymous, Code::RoleRequired),
            (self.banned.contains(&ask.user), Code::Banned),
            (facts.blocked, Code::Blocked),
            (facts.muted, Code::Muted),
            (self.policy.adult_only && !facts.adult, Code::AdultRequired),
            (!facts.rules_accepted, Code::RulesNotAccepted),
        ];
        guards.iter().find(|guard| guard.0).map_or(Ok(()), |guard| Err(guard.1))
    }

    fn policy_allows(&self, facts: &Facts, media: GuestMedia) -> Result<(), Code> {
        let who = match self.policy.who {
            Who::Everyone => true,
            Who::Followers | Who::Friends | Who::Fanclub => facts.follower,
            Who::Off => false,
        };
        let media = self.policy.media == GuestMedia::Av || media == GuestMedia::Audio;
        let score = facts.gift_score >= self.policy.min_gift_score;
        if who && media && score { Ok(()) } else { Err(Code::GuestPolicy) }
    }

    fn count(&self, state: GuestState) -> usize {
        self.attempts.values().filter(|a| a.state == state).count()
    }

    fn attempt_for(
        &mut self,
        ask: &Ask,
        state: GuestState,
        media: GuestMedia,
        now: u64,
    ) -> Attempt {
        self.arrivals += 1;
        Attempt {
            id: ask.id.clone(),
            user: ask.user.clone(),
            state,
            seat: None,
            media,
            note: String::new(),
            adult: ask.facts.adult,
            since: now,
            order: self.arrivals,
            air: Air::Closed,
            air_at: 0,
            granted_air_at: 0,
            resume_to: None,
            was_live: false,
            ready: false,
            by_accept: false,
            waits_for_seat: false,
            self_muted: Kinds::default(),
            locked: Kinds::default(),
            token: None,
            share_bps: self.policy.guest_gift_share_bps,
            timer: None,
            socket_timer: None,
        }
    }

    /// Both sides want it: a free seat, or the older one stays as it is.
    fn crossing_seat(&self, named: Option<u8>) -> Result<u8, Code> {
        self.seat_for(named).map_err(|_| Code::SeatsFull)
    }

    /// Give the seat: from here on the person may publish.
    fn grant(
        &mut self,
        user: &UserId,
        seat: u8,
        media: GuestMedia,
        token: TokenHash,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> StageReply {
        let countdown_ms = self.policy.countdown_ms;
        let backstage = self.policy.backstage;
        let connect_ttl_ms = self.policy.connect_ttl_ms;
        let Some(attempt) = self.attempts.get_mut(user) else { return StageReply::Done };
        attempt.state = GuestState::Connecting;
        attempt.seat = Some(seat);
        attempt.media = media;
        attempt.token = Some(token);
        attempt.timer = Some(now + connect_ttl_ms);
        attempt.waits_for_seat = false;
        attempt.air_at = now + countdown_ms;
        attempt.granted_air_at = attempt.air_at;
        attempt.air = match (backstage, countdown_ms) {
            (true, _) => Air::Closed,
            (false, 0) => Air::Open,
            (false, _) => Air::At(attempt.air_at),
        };
        let (id, air_at) = (attempt.id.clone(), attempt.air_at);
        effects.push(StageEffect::Granted { user: user.clone(), id: id.clone(), seat });
        if !backstage && countdown_ms > 0 {
            effects.push(StageEffect::Countdown { user: user.clone(), id: id.clone(), air_at });
        }
        StageReply::Seated { id, seat, air_at }
    }

    /// End a Request or an Invite.
    fn close(
        &mut self,
        owner: Option<&UserId>,
        id: &GuestId,
        state: GuestState,
        reason: GuestEnd,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let refusal = match state {
            GuestState::Invited => Code::InviteNotPending,
            _ => Code::NotPending,
        };
        let user = self.in_state(owner, id, state).ok_or(refusal)?;
        self.end(&user, reason, effects);
        Ok(StageReply::Done)
    }

    /// Whose Attempt this is, if it is in `state` and (where given) belongs to `owner`.
    fn in_state(&self, owner: Option<&UserId>, id: &GuestId, state: GuestState) -> Option<UserId> {
        self.attempt(id)
            .filter(|a| a.state == state && owner.is_none_or(|owner| a.user == *owner))
            .map(|a| a.user.clone())
    }

    fn approve(
        &mut self,
        id: &GuestId,
        token: TokenHash,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let user = self.in_state(None, id, GuestState::Requested).ok_or(Code::NotPending)?;
        let seat = self.seat_for(None)?;
        let media = self.attempts.get(&user).map_or(GuestMedia::Audio, |a| a.media);
        Ok(self.grant(&user, seat, media, token, now, effects))
    }

    fn deny(&mut self, id: &GuestId, now: u64, effects: &mut Vec<StageEffect>) -> Outcome {
        let user = self.in_state(None, id, GuestState::Requested).ok_or(Code::NotPending)?;
        if self.rules.denied_ms > 0 {
            let (first, most) = (self.rules.denied_ms, self.rules.denied_max_ms);
            let cooldown = self.cooldowns.entry(user.clone()).or_default();
            let pause = first.saturating_mul(1 << cooldown.denials.min(16)).min(most);
            cooldown.denials += 1;
            cooldown.request_until = now + pause;
        }
        self.end(&user, GuestEnd::Denied, effects);
        Ok(StageReply::Done)
    }

    fn decline(
        &mut self,
        user: &UserId,
        id: &GuestId,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let done = self.close(Some(user), id, GuestState::Invited, GuestEnd::Declined, effects)?;
        if self.rules.declined_ms > 0 {
            let until = now + self.rules.declined_ms;
            self.cooldowns.entry(user.clone()).or_default().invite_until = until;
        }
        Ok(done)
    }

    fn invite(
        &mut self,
        ask: Ask,
        seat: Option<u8>,
        media: Option<GuestMedia>,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        self.is_open()?;
        let facts = &ask.facts;
        if !facts.present {
            return Err(Code::TargetOffline);
        }
        let under_age = self.policy.adult_only && !facts.adult;
        if facts.anonymous || self.banned.contains(&ask.user) || facts.blocked || under_age {
            return Err(Code::TargetNotEligible);
        }
        let requested = match self.attempts.get(&ask.user) {
            Some(open) if open.is_seated() => return Err(Code::AlreadySeated),
            Some(open) if open.state == GuestState::Invited => return Err(Code::Conflict),
            Some(open) => Some(open.media),
            None => None,
        };
        if self.count(GuestState::Invited) >= self.rules.invites {
            return Err(Code::TooManyInvites);
        }
        if self.cooldowns.get(&ask.user).is_some_and(|c| now < c.invite_until) {
            return Err(Code::Cooldown);
        }
        if let Some(seat) = seat {
            self.seat_for(Some(seat))?;
        }
        let media = media.map_or(self.policy.media, |media| narrower(media, self.policy.media));
        if let Some(wanted) = requested {
            let seat = self.crossing_seat(seat)?;
            return Ok(self.grant(
                &ask.user,
                seat,
                narrower(wanted, media),
                ask.token,
                now,
                effects,
            ));
        }
        let expires_at = now + self.policy.invite_ttl_ms;
        let mut attempt = self.attempt_for(&ask, GuestState::Invited, media, now);
        attempt.seat = seat;
        attempt.timer = Some(expires_at);
        effects.push(StageEffect::Invited { user: ask.user.clone(), id: ask.id.clone() });
        self.attempts.insert(ask.user, attempt);
        Ok(StageReply::Opened { id: ask.id, expires_at })
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of guest.accept")]
    fn accept(
        &mut self,
        user: &UserId,
        id: &GuestId,
        media: GuestMedia,
        rules_accepted: bool,
        token: TokenHash,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let Some(attempt) = self.attempts.get(user).filter(|a| a.id == *id) else {
            #[cfg(test)]
            if self.rules.fault == Some(super::Fault::StaleAcceptHonoured) {
                return self.accept_stale(user, id, token, now, effects);
            }
            let expired =
                |ended: &(GuestId, GuestEnd)| ended.0 == *id && ended.1 == GuestEnd::InviteExpired;
            let late = self.remembered.iter().any(expired);
            return Err(if late { Code::InviteExpired } else { Code::InviteNotPending });
        };
        if let (true, Some(seat)) = (attempt.by_accept && attempt.is_seated(), attempt.seat) {
            // Clicked twice, or the reply was lost: the same answer again.
            return Ok(StageReply::Seated { id: id.clone(), seat, air_at: attempt.granted_air_at });
        }
        if attempt.state != GuestState::Invited {
            return Err(Code::InviteNotPending);
        }
        if self.banned.contains(user) {
            return Err(Code::Banned);
        }
        self.is_open()?;
        if !rules_accepted {
            return Err(Code::RulesNotAccepted);
        }
        let (named, offered) = (attempt.seat, attempt.media);
        let seat = self.seat_for(named);
        if let Some(attempt) = self.attempts.get_mut(user) {
            attempt.waits_for_seat = seat.is_err();
            attempt.by_accept = seat.is_ok();
        }
        Ok(self.grant(user, seat?, narrower(offered, media), token, now, effects))
    }

    #[cfg(test)]
    fn accept_stale(
        &mut self,
        user: &UserId,
        id: &GuestId,
        token: TokenHash,
        now: u64,
        effects: &mut Vec<StageEffect>,
    ) -> Outcome {
        let seat = self.seat_for(None)?;
        let ask = Ask { user: user.clone(), id: id.clone(), facts: Facts::GOOD, token };
        let attempt = self.attempt_for(&ask, GuestState::Invited, GuestMedia::Av, now);
        self.attempts.insert(user.clone(), attempt);
        Ok(self.grant(user, seat, GuestMedia::Av, token, now, effects))
    }
}

/// What both allow.
fn narrower(a: GuestMedia, b: GuestMedia) -> GuestMedia {
    if a == GuestMedia::Av && b == GuestMedia::Av { GuestMedia::Av } else { GuestMedia::Audio }
}
