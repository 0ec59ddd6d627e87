//! Who may not be here and who may not speak. It acts on people, whatever their token says.

use std::collections::BTreeMap;

use crate::protocol::{Code, Refusal, UserId};

/// A kick keeps somebody out this long.
pub const KICK_MS: u64 = 5 * 60_000;
/// The longest chat mute and timed ban: 14 days for a mute, and no end for a ban.
pub const MUTE_MAX_MS: u64 = 14 * 24 * 3_600_000;

/// Bans, kicks and chat mutes of one room.
#[derive(Debug, Clone, Default)]
pub struct Moderation {
    /// Until when; `None` = for good.
    bans: BTreeMap<UserId, Option<u64>>,
    kicks: BTreeMap<UserId, u64>,
    mutes: BTreeMap<UserId, u64>,
}

impl Moderation {
    /// Ban until `until`, or for good.
    pub fn ban(&mut self, user: UserId, until: Option<u64>) {
        self.bans.insert(user, until);
    }

    /// End a ban or a kick; `false` if there was none.
    pub fn unban(&mut self, user: &UserId) -> bool {
        let kicked = self.kicks.remove(user).is_some();
        self.bans.remove(user).is_some() || kicked
    }

    /// Keep out for [`KICK_MS`].
    pub fn kick(&mut self, user: UserId, now_ms: u64) {
        self.kicks.insert(user, now_ms + KICK_MS);
    }

    /// Mute in chat until then.
    pub fn mute(&mut self, user: UserId, until: u64) {
        self.mutes.insert(user, until);
    }

    /// End a chat mute; `false` if there was none.
    pub fn unmute(&mut self, user: &UserId) -> bool {
        self.mutes.remove(user).is_some()
    }

    /// Until when this person is muted in chat.
    #[must_use]
    pub fn muted_until(&self, user: &UserId, now_ms: u64) -> Option<u64> {
        self.mutes.get(user).copied().filter(|until| *until > now_ms)
    }

    /// Whether this person may be here.
    ///
    /// # Errors
    /// `banned`, with the time to wait if it ends.
    pub fn admit(&self, user: &UserId, now_ms: u64) -> Result<(), Refusal> {
        let until = match self.bans.get(user) {
            Some(None) => return Err(Code::Banned.into()),
            Some(Some(until)) => *until,
            None => 0,
        };
        let until = until.max(self.kicks.get(user).copied().unwrap_or(0));
        if until > now_ms {
            return Err(Refusal::new(Code::Banned).retry_after(until - now_ms));
        }
        Ok(())
    }

    /// Forget what is over.
    pub fn tidy(&mut self, now_ms: u64) {
        self.bans.retain(|_, until| until.is_none_or(|until| until > now_ms));
        self.kicks.retain(|_, until| *until > now_ms);
        self.mutes.retain(|_, until| *until > now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kick_ends_and_a_ban_does_not() {
        let ana = UserId::new("ana").expect("valid");
        let mut moderation = Moderation::default();
        moderation.kick(ana.clone(), 1000);
        let refusal = moderation.admit(&ana, 1001).expect_err("kicked");
        assert_eq!((refusal.code, refusal.retry_after_ms), (Code::Banned, KICK_MS - 1));
        assert!(moderation.admit(&ana, 1000 + KICK_MS).is_ok());
        moderation.ban(ana.clone(), None);
        moderation.tidy(u64::MAX);
        assert_eq!(moderation.admit(&ana, u64::MAX).map_err(|r| r.retry_after_ms), Err(0));
        assert!(moderation.unban(&ana) && !moderation.unban(&ana));
        assert!(moderation.admit(&ana, 0).is_ok());
    }

    #[test]
    fn a_mute_ends_at_its_time() {
        let ana = UserId::new("ana").expect("valid");
        let mut moderation = Moderation::default();
        moderation.mute(ana.clone(), 500);
        assert_eq!(moderation.muted_until(&ana, 499), Some(500));
        assert_eq!(moderation.muted_until(&ana, 500), None);
        moderation.tidy(500);
        assert!(!moderation.unmute(&ana));
    }
}
