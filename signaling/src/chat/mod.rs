//! Chat of one room: order, history, rates and retries.

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::{ChatMessage, Code, Key, Name, Refusal, Role, UserId, is_deceptive};
use crate::rate::{Pace, Rate};

/// Messages kept for `chat.history`. Trade: four screens of scrolling back for 100 kB a room.
pub const HISTORY: usize = 200;
/// Messages of a new snapshot.
pub const SNAPSHOT: usize = 50;
/// One message a second, three at once.
const PACE: Pace = Pace::new(1, 3);
/// Keys remembered per sender. Trade: a retry comes within seconds, that is a few messages.
const KEYS: usize = 8;

#[derive(Debug, Default)]
struct Sender {
    rate: Rate,
    keys: VecDeque<(Key, u64)>,
}

/// The chat of one room.
#[derive(Debug, Default)]
pub struct Chat {
    last: u64,
    history: VecDeque<ChatMessage>,
    pending: Vec<ChatMessage>,
    senders: BTreeMap<UserId, Sender>,
}

impl Chat {
    /// Say something. The text is at most 200 characters (checked by the protocol); control and
    /// bidirectional characters become spaces. A known key gives the number it had.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn send(
        &mut self,
        now_ms: u64,
        key: Key,
        author: (UserId, Name, Role),
        text: &str,
    ) -> Result<u64, Refusal> {
        let (user, name, role) = author;
        let sender = self.senders.entry(user.clone()).or_default();
        if let Some((_, n)) = sender.keys.iter().find(|(known, _)| *known == key) {
            return Ok(*n);
        }
        sender
            .rate
            .take(now_ms, PACE)
            .map_err(|wait| Refusal::new(Code::RateLimited).retry_after(wait))?;
        self.last += 1;
        sender.keys.push_back((key, self.last));
        if sender.keys.len() > KEYS {
            sender.keys.pop_front();
        }
        let text = text.chars().map(|c| if is_deceptive(c) { ' ' } else { c }).collect();
        let message = ChatMessage { n: self.last, user, name, role, text, ts: now_ms };
        self.history.push_back(message.clone());
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        self.pending.push(message);
        Ok(self.last)
    }

    /// What is new since the last call, in order.
    pub fn take_batch(&mut self) -> Vec<ChatMessage> {
        std::mem::take(&mut self.pending)
    }

    /// Whether a batch waits.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The latest `limit` messages before number `before`, oldest first.
    #[must_use]
    pub fn history(&self, before: Option<u64>, limit: usize) -> Vec<ChatMessage> {
        let before = before.unwrap_or(u64::MAX);
        let mut found: Vec<_> =
            self.history.iter().rev().filter(|m| m.n < before).take(limit).cloned().collect();
        found.reverse();
        found
    }

    /// Take back everything this person said; `true` if there was something.
    pub fn purge(&mut self, user: &UserId) -> bool {
        let before = self.history.len() + self.pending.len();
        self.history.retain(|m| m.user != *user);
        self.pending.retain(|m| m.user != *user);
        before != self.history.len() + self.pending.len()
    }

    /// How many messages there have been.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.last
    }

    /// Forget rate and keys of somebody who left. A retry after that is a new message.
    pub fn forget(&mut self, user: &UserId, now_ms: u64) {
        if self.senders.get(user).is_some_and(|s| s.rate.is_full(now_ms)) {
            self.senders.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(chat: &mut Chat, now: u64, key: &str, text: &str) -> Result<u64, Refusal> {
        let user = UserId::new("ana").expect("valid");
        let author = (user, Name::clean("Ana"), Role::Viewer);
        chat.send(now, Key::new(key).expect("valid"), author, text)
    }

    #[test]
    fn three_at_once_and_then_one_a_second() {
        let mut chat = Chat::default();
        for key in ["a", "b", "c"] {
            say(&mut chat, 10_000, key, "hi").expect("burst");
        }
        let refusal = say(&mut chat, 10_000, "d", "hi").expect_err("too fast");
        assert_eq!((refusal.code, refusal.retry_after_ms), (Code::RateLimited, 1000));
        assert_eq!(say(&mut chat, 10_999, "d", "hi").map_err(|r| r.retry_after_ms), Err(1));
        assert_eq!(say(&mut chat, 11_000, "d", "hi"), Ok(4));
    }

    #[test]
    fn the_same_key_is_the_same_message() {
        let mut chat = Chat::default();
        assert_eq!(say(&mut chat, 1, "a", "hi"), Ok(1));
        for _ in 0..10 {
            assert_eq!(say(&mut chat, 1, "a", "hi"), Ok(1));
        }
        assert_eq!(chat.take_batch().len(), 1);
        assert!(!chat.has_pending());
    }

    #[test]
    fn history_is_bounded_and_pages_backwards() {
        let mut chat = Chat::default();
        for n in 0..300_u64 {
            say(&mut chat, n * 1000, &format!("k{n}"), "hi").expect("slow enough");
        }
        assert_eq!(chat.history(None, 1000).len(), HISTORY);
        let page: Vec<u64> = chat.history(Some(290), 3).iter().map(|m| m.n).collect();
        assert_eq!(page, [287, 288, 289]);
    }

    #[test]
    fn characters_that_deceive_become_spaces_and_a_purge_takes_all() {
        let mut chat = Chat::default();
        say(&mut chat, 1, "a", "a\u{202e}b\nc").expect("sent");
        assert_eq!(chat.history(None, 1)[0].text, "a b c");
        assert!(chat.purge(&UserId::new("ana").expect("valid")));
        assert!(chat.history(None, 9).is_empty() && !chat.has_pending());
    }
}
