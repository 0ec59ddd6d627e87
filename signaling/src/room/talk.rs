//! Chat and likes.

use crate::protocol::{
    Answer, ChatHistory, ChatHistoryAsk, ChatSend, ChatSent, Code, Refusal, UserId,
};
use crate::rate::Pace;

use super::Room;

/// Five `like` messages a second.
const LIKES: Pace = Pace::new(5, 5);

impl Room {
    pub(super) fn chat_send(&mut self, user: &UserId, chat: ChatSend) -> Result<Answer, Refusal> {
        self.show_is_on()?;
        if let Some(until) = self.moderation.muted_until(user, self.now) {
            return Err(Refusal::new(Code::Muted).retry_after(until - self.now));
        }
        let author = (user.clone(), self.name(user), self.role(user));
        let n = self.chat.send(self.now, chat.key, author, &chat.text)?;
        Ok(Answer::ChatSent(ChatSent { n }))
    }

    pub(super) fn chat_history(&self, ask: &ChatHistoryAsk) -> Answer {
        Answer::ChatHistory(ChatHistory { msgs: self.chat.history(ask.before, ask.limit as usize) })
    }

    pub(super) fn like(&mut self, user: &UserId, n: u32) -> Result<Answer, Refusal> {
        self.show_is_on()?;
        let person = self.people.get_mut(user).ok_or(Code::NotJoined)?;
        person
            .likes
            .take(self.now, LIKES)
            .map_err(|wait| Refusal::new(Code::RateLimited).retry_after(wait))?;
        self.likes = self.likes.saturating_add(u64::from(n));
        self.pulse.counters = true;
        Ok(Answer::EMPTY)
    }
}
