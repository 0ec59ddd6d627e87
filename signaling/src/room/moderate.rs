//! Mute, kick, ban: stored before the reply, effective before that.

use crate::moderation::MUTE_MAX_MS;
use crate::protocol::{Answer, ByeReason, ChatDeleted, Code, Event, Perm, Refusal, UserId};
use crate::stage::StageCommand;

use super::{Effect, Room, StoreWrite};

/// From this length on a chat mute takes the person's messages back too.
const PURGE_MS: u64 = 60_000;

impl Room {
    pub(super) fn chat_mute(
        &mut self,
        actor: &UserId,
        user: &UserId,
        ms: u64,
    ) -> Result<Answer, Refusal> {
        self.need(actor, Perm::UserMute)?;
        self.may_act_on(actor, user)?;
        if !(1..=MUTE_MAX_MS).contains(&ms) {
            return Err(Refusal::new(Code::LimitExceeded).detail("limit", MUTE_MAX_MS));
        }
        let until = self.now + ms;
        self.moderation.mute(user.clone(), until);
        let (room, actor, at) = (self.id.clone(), actor.clone(), self.now);
        let write = StoreWrite::ChatMute { room, actor, user: user.clone(), until, at };
        self.out.push(Effect::Store(write));
        if ms >= PURGE_MS && self.chat.purge(user) {
            let gone = ChatDeleted { ids: Vec::new(), user: Some(user.clone()) };
            self.tell_all(Event::ChatDeleted(gone));
        }
        self.tell_you(user);
        Ok(Answer::EMPTY)
    }

    pub(super) fn chat_unmute(&mut self, actor: &UserId, user: &UserId) -> Result<Answer, Refusal> {
        self.need(actor, Perm::UserMute)?;
        if !self.moderation.unmute(user) {
            return Err(Code::NotFound.into());
        }
        let (room, actor, user, at) = (self.id.clone(), actor.clone(), user.clone(), self.now);
        self.tell_you(&user);
        self.out.push(Effect::Store(StoreWrite::ChatUnmute { room, actor, user, at }));
        Ok(Answer::EMPTY)
    }

    pub(super) fn kick(&mut self, actor: &UserId, user: UserId) -> Result<Answer, Refusal> {
        self.need(actor, Perm::UserKick)?;
        self.may_act_on(actor, &user)?;
        if !self.people.contains_key(&user) && !self.stage.is_seated(&user) {
            return Err(Code::TargetOffline.into());
        }
        self.moderation.kick(user.clone(), self.now);
        self.end_attempt_of(&user);
        self.put_out_all(&user, ByeReason::Kicked);
        let (room, actor, at) = (self.id.clone(), actor.clone(), self.now);
        self.out.push(Effect::Store(StoreWrite::Kick { room, actor, user, at }));
        Ok(Answer::EMPTY)
    }

    pub(super) fn ban(
        &mut self,
        actor: &UserId,
        user: UserId,
        ms: Option<u64>,
    ) -> Result<Answer, Refusal> {
        self.need(actor, Perm::UserBan)?;
        self.may_act_on(actor, &user)?;
        if ms == Some(0) {
            return Err(Refusal::new(Code::BadRequest).detail("field", "ms"));
        }
        let until = ms.map(|ms| self.now.saturating_add(ms));
        self.moderation.ban(user.clone(), until);
        self.stage_do(StageCommand::Ban { user: user.clone() });
        if until.is_some() {
            // The stage's flag has no clock; the door of the room has, and that is enough.
            self.stage_do(StageCommand::Unban { user: user.clone() });
        }
        self.put_out_all(&user, ByeReason::Banned);
        let (room, actor, at) = (self.id.clone(), actor.clone(), self.now);
        self.out.push(Effect::Store(StoreWrite::Ban { room, actor, user, until, at }));
        Ok(Answer::EMPTY)
    }

    pub(super) fn unban(&mut self, actor: &UserId, user: &UserId) -> Result<Answer, Refusal> {
        self.need(actor, Perm::UserBan)?;
        if !self.moderation.unban(user) {
            return Err(Code::NotFound.into());
        }
        self.stage_do(StageCommand::Unban { user: user.clone() });
        let (room, actor, user, at) = (self.id.clone(), actor.clone(), user.clone(), self.now);
        self.out.push(Effect::Store(StoreWrite::Unban { room, actor, user, at }));
        Ok(Answer::EMPTY)
    }

    /// Whatever Attempt is open, it is over.
    fn end_attempt_of(&mut self, user: &UserId) {
        let Some(attempt) = self.stage.attempt_of(user) else { return };
        let (id, user) = (attempt.id.clone(), user.clone());
        let seated = attempt.is_seated();
        let waits = attempt.state == crate::protocol::GuestState::Requested;
        self.stage_do(match (seated, waits) {
            (true, _) => StageCommand::Remove { id },
            (false, true) => StageCommand::Cancel { user, id },
            (false, false) => StageCommand::Revoke { id },
        });
    }
}
