//! The guest machine: who asked, who is invited, who holds which seat, and what everybody may do.
//!
//! One pure function, [`step`], and one for the passing of time, [`Stage::expire`]. No clock, no
//! randomness, no I/O; small enough that a test walks every state it can reach.
//!
//! A guest's way is an [`Attempt`]. A seat is held from the grant until the Attempt ends, also
//! while the guest reconnects: otherwise the seat could be given away and the guest come back.

mod attempt;
mod command;
mod host;
mod kept;
mod seats;
mod step;
mod timers;

pub use attempt::{Air, Attempt, Kinds, TokenHash};
pub use command::{Facts, StageCommand, StageEffect, StageReply};
pub use kept::KeptAttempt;
pub use step::step;
pub use timers::Timer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::protocol::{
    Code, GuestEnd, GuestId, GuestPolicy, GuestState, InvitedEntry, Name, QueueEntry, QueueSort,
    UserId,
};

/// Numbers that are not part of a room's policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Most Requests in the queue. Trade: a host cannot look through more; a flood costs no more.
    pub queue: usize,
    /// Most open Invites. Trade: several seats at once, but no mass mailing.
    pub invites: usize,
    /// Pause after the first denial, doubled by each further one.
    pub denied_ms: u64,
    /// The longest pause after denials.
    pub denied_max_ms: u64,
    /// Pause before somebody who declined may be invited again.
    pub declined_ms: u64,
    /// Ended Attempts remembered, so that a late accept hears *expired* and not *unknown*.
    pub remembered: usize,
    /// A deliberate fault, to prove that the search finds it.
    #[cfg(test)]
    pub fault: Option<Fault>,
}

/// Faults that the exhaustive search must find.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The seat is given away while its guest reconnects.
    SeatFreedWhileReconnecting,
    /// An accept is honoured although its Invite is over.
    StaleAcceptHonoured,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            queue: 200,
            invites: 10,
            denied_ms: 30_000,
            denied_max_ms: 600_000,
            declined_ms: 60_000,
            remembered: 256,
            #[cfg(test)]
            fault: None,
        }
    }
}

/// The room, as far as guests care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum House {
    /// Not live yet.
    Closed,
    /// Live or paused.
    Open,
    /// Ended or suspended.
    Shut,
}

/// When somebody may try again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Cooldown {
    request_until: u64,
    denials: u32,
    invite_until: u64,
}

/// All guests of one room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stage {
    policy: GuestPolicy,
    rules: Rules,
    house: House,
    host_lost: bool,
    banned: BTreeSet<UserId>,
    /// Bit k: seat k is locked.
    locked_seats: u16,
    attempts: BTreeMap<UserId, Attempt>,
    cooldowns: BTreeMap<UserId, Cooldown>,
    remembered: VecDeque<(GuestId, GuestEnd)>,
    arrivals: u64,
}

impl Stage {
    /// An empty stage of a room that is not live yet.
    #[must_use]
    pub fn new(policy: GuestPolicy, rules: Rules) -> Self {
        Self {
            policy,
            rules,
            house: House::Closed,
            host_lost: false,
            banned: BTreeSet::new(),
            locked_seats: 0,
            attempts: BTreeMap::new(),
            cooldowns: BTreeMap::new(),
            remembered: VecDeque::new(),
            arrivals: 0,
        }
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &GuestPolicy {
        &self.policy
    }

    /// The open Attempt of a person.
    #[must_use]
    pub fn attempt_of(&self, user: &UserId) -> Option<&Attempt> {
        self.attempts.get(user)
    }

    /// The open Attempt with this id.
    #[must_use]
    pub fn attempt(&self, id: &GuestId) -> Option<&Attempt> {
        self.attempts.values().find(|attempt| attempt.id == *id)
    }

    /// All open Attempts.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.values()
    }

    /// Attempts that hold a seat, by seat.
    #[must_use]
    pub fn seated(&self) -> Vec<&Attempt> {
        let mut seated: Vec<_> = self.attempts.values().filter(|a| a.is_seated()).collect();
        seated.sort_by_key(|attempt| attempt.seat);
        seated
    }

    /// Whether this person holds a seat.
    #[must_use]
    pub fn is_seated(&self, user: &UserId) -> bool {
        self.attempts.get(user).is_some_and(Attempt::is_seated)
    }

    /// Whether this person may publish: exactly while seated.
    #[must_use]
    pub fn may_publish(&self, user: &UserId) -> bool {
        self.is_seated(user)
    }

    /// Whether this person is banned.
    #[must_use]
    pub fn is_banned(&self, user: &UserId) -> bool {
        self.banned.contains(user)
    }

    /// Requests in the order of the policy. `score` is the coins a person gave in this room,
    /// `name` their name.
    #[must_use]
    pub fn queue(
        &self,
        score: impl Fn(&UserId) -> u64,
        name: impl Fn(&UserId) -> Name,
    ) -> Vec<QueueEntry> {
        let mut waiting: Vec<_> =
            self.attempts.values().filter(|a| a.state == GuestState::Requested).collect();
        waiting.sort_by_key(|a| a.order);
        if self.policy.sort == QueueSort::Gifts {
            waiting.sort_by_key(|a| std::cmp::Reverse(score(&a.user)));
        }
        let entry = |a: &&Attempt| QueueEntry {
            guest_id: a.id.clone(),
            user: a.user.clone(),
            name: name(&a.user),
            media: a.media,
            note: a.note.clone(),
            at: a.since,
        };
        waiting.iter().map(entry).collect()
    }

    /// Open Invites.
    #[must_use]
    pub fn invited(&self, name: impl Fn(&UserId) -> Name) -> Vec<InvitedEntry> {
        let open = self.attempts.values().filter(|a| a.state == GuestState::Invited);
        open.map(|a| InvitedEntry {
            guest_id: a.id.clone(),
            user: a.user.clone(),
            name: name(&a.user),
            expires_at: a.timer.unwrap_or(0),
        })
        .collect()
    }

    /// The Attempt with this id, or `guest_ended`.
    fn open(&self, id: &GuestId) -> Result<UserId, Code> {
        self.attempt(id).map(|a| a.user.clone()).ok_or(Code::GuestEnded)
    }

    /// End an Attempt and all that it held, and tell those who wait for a seat.
    fn end(&mut self, user: &UserId, reason: GuestEnd, effects: &mut Vec<StageEffect>) {
        let Some(attempt) = self.attempts.remove(user) else { return };
        if self.rules.remembered > 0 {
            self.remembered.push_back((attempt.id.clone(), reason));
            while self.remembered.len() > self.rules.remembered {
                self.remembered.pop_front();
            }
        }
        let had_seat = attempt.is_seated();
        effects.push(StageEffect::Ended {
            user: user.clone(),
            id: attempt.id,
            reason,
            seat: attempt.seat.filter(|_| had_seat),
        });
        if had_seat {
            self.tell_waiting(effects);
        }
    }

    /// Invitees whose accept found no seat hear that there is one.
    fn tell_waiting(&mut self, effects: &mut Vec<StageEffect>) {
        let waiting: Vec<UserId> = self
            .attempts
            .values()
            .filter(|a| a.waits_for_seat && self.seat_for(a.seat).is_ok())
            .map(|a| a.user.clone())
            .collect();
        for user in waiting {
            if let Some(attempt) = self.attempts.get_mut(&user) {
                attempt.waits_for_seat = false;
                effects.push(StageEffect::SeatFree { id: attempt.id.clone(), user });
            }
        }
    }
}
