//! Time: deadlines as data.

use crate::protocol::{GuestEnd, GuestState, UserId};

use super::{Air, Stage, StageEffect};

/// A deadline of one Attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// The countdown to the air.
    Air,
    /// Request, Invite, connect or grace, by the state.
    State,
    /// The absence of the WebSocket.
    Socket,
}

impl Stage {
    /// The timers that run, with their deadlines.
    pub fn timers(&self) -> impl Iterator<Item = (u64, UserId, Timer)> {
        self.attempts.values().flat_map(|a| {
            let air = if let Air::At(at) = a.air { Some((at, Timer::Air)) } else { None };
            let state = a.timer.map(|at| (at, Timer::State));
            let socket = a.socket_timer.map(|at| (at, Timer::Socket));
            let all = [air, state, socket].into_iter().flatten();
            all.map(|(at, timer)| (at, a.user.clone(), timer))
        })
    }

    /// The next time at which [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers().map(|timer| timer.0).min()
    }

    /// Let everything happen that is due at `now_ms`, in the order of the deadlines.
    pub fn expire(&mut self, now_ms: u64, effects: &mut Vec<StageEffect>) {
        // Each pass removes one timer and can add only later ones, so this ends.
        while let Some((at, user, timer)) = self.timers().min().filter(|next| next.0 <= now_ms) {
            self.fire(&user, timer, at, effects);
        }
    }

    /// One timer fires at `at`.
    pub(super) fn fire(
        &mut self,
        user: &UserId,
        timer: Timer,
        at: u64,
        effects: &mut Vec<StageEffect>,
    ) {
        match timer {
            Timer::Air => self.air_opens(user, effects),
            Timer::Socket => {
                if let Some(attempt) = self.attempts.get_mut(user) {
                    attempt.socket_timer = None;
                }
                self.lost(user, at);
            }
            Timer::State => {
                let Some(attempt) = self.attempts.get_mut(user) else { return };
                attempt.timer = None;
                let reason = match attempt.state {
                    GuestState::Requested => GuestEnd::RequestExpired,
                    GuestState::Invited => GuestEnd::InviteExpired,
                    GuestState::Connecting => GuestEnd::FirstFrameTimeout,
                    GuestState::Reconnecting => GuestEnd::LostConnection,
                    GuestState::Backstage | GuestState::Live => return,
                };
                self.end(user, reason, effects);
            }
        }
    }

    fn air_opens(&mut self, user: &UserId, effects: &mut Vec<StageEffect>) {
        let Some(attempt) = self.attempts.get_mut(user) else { return };
        attempt.air = Air::Open;
        match attempt.state {
            GuestState::Connecting => self.try_air(user, effects),
            GuestState::Backstage => self.go_on_air(user, effects),
            _ => {}
        }
    }
}
