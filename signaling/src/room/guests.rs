//! Guest commands: who may ask, and what people are told.

use crate::protocol::{
    Answer, Code, Command, Event, GuestCountdown, GuestEnded, GuestGranted, GuestGrantedEvent,
    GuestId, GuestInvite, GuestInvited, GuestList, GuestMuted, GuestOpened, GuestSeated,
    GuestState, GuestUnmuteAsked, Perm, Refusal, SeatFree, TokenRole, UserId,
};
use crate::stage::{Facts, Kinds, StageCommand, StageEffect, StageReply, step};

use super::{ConnId, Effect, Room, StoreWrite};

impl Room {
    pub(super) fn guest_command(
        &mut self,
        user: &UserId,
        command: Command,
    ) -> Result<Answer, Refusal> {
        use Command as C;
        let me = user.clone();
        match command {
            // Seat 0 is theirs; with a second one they would be shown twice.
            C::GuestRequest(_) if self.is_host(user) => Err(Code::AlreadySeated.into()),
            C::GuestRequest(ask) => {
                let (id, token) = self.fresh_attempt(user);
                let (facts, media, note) = (self.facts(user), ask.media, ask.note);
                self.opened(StageCommand::Request { user: me, id, facts, media, note, token })
            }
            C::GuestCancel(ask) => self.done(StageCommand::Cancel { user: me, id: ask.guest_id }),
            C::GuestAccept(ask) => {
                let token = self.tokens.next_hash(&ask.guest_id);
                let rules_accepted = self.facts(user).rules_accepted;
                let (id, media) = (ask.guest_id, ask.media);
                self.granted(StageCommand::Accept { user: me, id, media, rules_accepted, token })
            }
            C::GuestDecline(ask) => self.done(StageCommand::Decline { user: me, id: ask.guest_id }),
            C::GuestLeave(_) => self.done(StageCommand::Leave { user: me }),
            C::GuestRequestUnmute(ask) => self.ask_unmute(user, ask.kinds),
            C::GuestGoLive(ask) => {
                self.need(user, Perm::GuestSendLive)?;
                self.done(StageCommand::GoLive { id: ask.guest_id })
            }
            C::GuestBackstage(ask) => {
                self.need(user, Perm::GuestSendLive)?;
                self.done(StageCommand::Backstage { id: ask.guest_id })
            }
            staff => {
                self.need(user, Perm::GuestManage)?;
                self.manage_guests(user, staff)
            }
        }
    }

    /// Commands for `guest.manage`.
    fn manage_guests(&mut self, actor: &UserId, command: Command) -> Result<Answer, Refusal> {
        use Command as C;
        match command {
            C::GuestInvite(invite) => self.invite(actor, invite),
            C::GuestRevoke(ask) => self.done(StageCommand::Revoke { id: ask.guest_id }),
            C::GuestApprove(ask) => {
                let token = self.tokens.next_hash(&ask.guest_id);
                let command = StageCommand::Approve { id: ask.guest_id, token };
                match self.stage_try(command)? {
                    StageReply::Seated { seat, .. } => {
                        Ok(Answer::GuestSeated(GuestSeated { seat }))
                    }
                    _ => Err(Code::Internal.into()),
                }
            }
            C::GuestDeny(ask) => self.done(StageCommand::Deny { id: ask.guest_id }),
            C::GuestRemove(ask) => self.done(StageCommand::Remove { id: ask.guest_id }),
            C::GuestRemoveAll(_) => self.done(StageCommand::RemoveAll),
            C::GuestMute(ask) => {
                let kinds = Kinds::of(&ask.kinds);
                let command =
                    StageCommand::Mute { id: ask.guest_id.clone(), kinds, hard: ask.hard };
                let answer = self.done(command)?;
                self.store_mute(actor, &ask.guest_id, kinds, ask.hard);
                Ok(answer)
            }
            C::GuestAllowUnmute(ask) => {
                let kinds = Kinds::of(&ask.kinds);
                let command = StageCommand::AllowUnmute { id: ask.guest_id.clone(), kinds };
                let answer = self.done(command)?;
                self.store_mute(actor, &ask.guest_id, kinds, false);
                Ok(answer)
            }
            C::GuestList(_) => {
                let (queue, invited) = self.queue();
                Ok(Answer::GuestList(GuestList { queue, invited, seats: self.seat_details() }))
            }
            _ => Err(Code::UnknownType.into()),
        }
    }

    fn invite(&mut self, actor: &UserId, invite: GuestInvite) -> Result<Answer, Refusal> {
        let GuestInvite { user, seat, media, message } = invite;
        if self.is_host(&user) {
            return Err(Code::TargetNotEligible.into());
        }
        let (id, token) = self.fresh_attempt(&user);
        let facts = self.facts(&user);
        let command =
            StageCommand::Invite { user: user.clone(), id: id.clone(), facts, seat, media, token };
        let answer = self.opened(command)?;
        let invited = self.stage.attempt(&id).filter(|a| a.state == GuestState::Invited);
        if let Some(attempt) = invited {
            let card = GuestInvited {
                guest_id: id,
                by: self.person(actor),
                seat: attempt.seat,
                media: attempt.media,
                share_bps: attempt.share_bps,
                message,
                expires_at: attempt.timer.unwrap_or(0),
            };
            self.tell_user(&user, Event::GuestInvited(card));
        }
        Ok(answer)
    }

    fn ask_unmute(
        &mut self,
        user: &UserId,
        kinds: Vec<crate::protocol::Kind>,
    ) -> Result<Answer, Refusal> {
        let attempt = self.stage.attempt_of(user).filter(|a| a.is_seated());
        let guest_id = attempt.map(|a| a.id.clone()).ok_or(Code::GuestEnded)?;
        let asked = GuestUnmuteAsked { guest_id, kinds };
        self.tell_staff(Event::GuestUnmuteAsked(asked));
        Ok(Answer::EMPTY)
    }

    fn store_mute(&mut self, actor: &UserId, id: &GuestId, kinds: Kinds, locked: bool) {
        let Some(user) = self.stage.attempt(id).map(|a| a.user.clone()) else { return };
        self.out.push(Effect::Store(StoreWrite::SeatMute {
            room: self.id.clone(),
            actor: actor.clone(),
            guest: id.clone(),
            user,
            kinds: kinds.list(),
            locked,
            at: self.now,
        }));
    }

    /// A fresh id, and the hash of the first token of whatever Attempt a grant would concern: the
    /// open one (crossing) or the fresh one.
    fn fresh_attempt(&mut self, user: &UserId) -> (GuestId, crate::stage::TokenHash) {
        let fresh = self.tokens.guest_id(self.now);
        let open = self.stage.attempt_of(user).map_or_else(|| fresh.clone(), |a| a.id.clone());
        let token = self.tokens.next_hash(&open);
        (fresh, token)
    }

    /// What the room knows of a person now.
    fn facts(&self, user: &UserId) -> Facts {
        let person = self.people.get(user);
        Facts {
            present: person.is_some(),
            anonymous: false,
            blocked: false,
            muted: self.moderation.muted_until(user, self.now).is_some(),
            adult: person.is_some_and(|p| p.who.adult),
            rules_accepted: self.accepted_rules.contains_key(user),
            gift_score: self.scores.get(user).copied().unwrap_or(0),
            follower: person.is_some_and(|p| p.who.role == TokenRole::Admin),
        }
    }

    fn done(&mut self, command: StageCommand) -> Result<Answer, Refusal> {
        self.stage_try(command).map(|_| Answer::EMPTY)
    }

    fn opened(&mut self, command: StageCommand) -> Result<Answer, Refusal> {
        let opened = match self.stage_try(command)? {
            StageReply::Opened { id, expires_at } => {
                GuestOpened { guest_id: id, expires_at: Some(expires_at), seat: None }
            }
            StageReply::Seated { id, seat, .. } => {
                GuestOpened { guest_id: id, expires_at: None, seat: Some(seat) }
            }
            _ => return Err(Code::Internal.into()),
        };
        Ok(Answer::GuestOpened(opened))
    }

    fn granted(&mut self, command: StageCommand) -> Result<Answer, Refusal> {
        match self.stage_try(command)? {
            StageReply::Seated { id, seat, air_at } => {
                let resume_token = self.tokens.current(&id);
                let granted = GuestGranted { guest_id: id, seat, resume_token, air_at };
                Ok(Answer::GuestGranted(granted))
            }
            _ => Err(Code::Internal.into()),
        }
    }

    /// Ask the stage, tell people what follows, and word its refusal.
    pub(super) fn stage_try(&mut self, command: StageCommand) -> Result<StageReply, Refusal> {
        let about = match &command {
            StageCommand::Approve { id, .. }
            | StageCommand::Deny { id }
            | StageCommand::Cancel { id, .. } => Some(id.clone()),
            _ => None,
        };
        let mut told = Vec::new();
        let result = step(&mut self.stage, command, self.now, &mut told);
        self.stage_told(told);
        result.map_err(|code| {
            let refusal = Refusal::new(code);
            match about.and_then(|id| self.stage.attempt(&id)).map(|a| a.state) {
                Some(state) if code == Code::NotPending => {
                    refusal.detail("state", serde_json::to_value(state).unwrap_or_default())
                }
                _ => refusal,
            }
        })
    }

    /// Ask the stage for something that it either does or has no use for.
    pub(super) fn stage_do(&mut self, command: StageCommand) {
        // A refusal here means that the Attempt is already gone, which is all right.
        let _ = self.stage_try(command);
    }

    pub(super) fn stage_told(&mut self, told: Vec<StageEffect>) {
        for effect in told {
            match effect {
                StageEffect::Invited { .. } => {}
                StageEffect::Granted { user, id, .. } => {
                    self.tokens.rotate(&id);
                    self.tell_granted(&user, None);
                }
                StageEffect::Countdown { user, id, air_at } => {
                    let mut conns = self.staff_conns();
                    conns.extend(self.conns_of(&user));
                    let countdown = GuestCountdown { guest_id: id, air_at };
                    self.tell_conns(conns, Event::GuestCountdown(countdown));
                }
                StageEffect::Live { user, .. } => {
                    self.guests_on_air.insert(user, ());
                }
                StageEffect::Ended { user, id, reason, seat } => {
                    self.attempt_ended(&user, id, reason, seat.is_some());
                }
                StageEffect::Muted { user, .. } => {
                    let Some(attempt) = self.stage.attempt_of(&user) else { continue };
                    let kinds = attempt.self_muted.list();
                    let muted = GuestMuted { kinds, locked: attempt.locked.list() };
                    self.tell_user(&user, Event::GuestMuted(muted));
                }
                StageEffect::SeatFree { user, id } => {
                    self.tell_user(&user, Event::SeatFree(SeatFree { guest_id: id }));
                }
            }
        }
    }

    fn attempt_ended(
        &mut self,
        user: &UserId,
        id: GuestId,
        reason: crate::protocol::GuestEnd,
        had_seat: bool,
    ) {
        self.tokens.forget(&id);
        if had_seat {
            for transport in self.published_by_user(user) {
                self.drop_publisher(transport);
            }
            self.close_combos_to(user);
            self.out.push(Effect::Store(StoreWrite::GuestEnded {
                room: self.id.clone(),
                guest: id.clone(),
                user: user.clone(),
                reason,
                at: self.now,
            }));
        }
        self.tell_user(user, Event::GuestEnded(GuestEnded { guest_id: id, reason }));
    }

    /// Tell a guest that it may publish, and how to come back.
    pub(super) fn tell_granted(&mut self, user: &UserId, only: Option<ConnId>) {
        let Some(attempt) = self.stage.attempt_of(user) else { return };
        let granted = GuestGrantedEvent {
            guest_id: attempt.id.clone(),
            seat: attempt.seat.unwrap_or(0),
            resume_token: self.tokens.current(&attempt.id),
            media: attempt.media,
        };
        let conns = only.map_or_else(|| self.conns_of(user), |conn| vec![conn]);
        self.tell_conns(conns, Event::GuestGranted(granted));
    }
}
