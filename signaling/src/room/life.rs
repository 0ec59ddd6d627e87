//! Preview, live, paused, ended: section by section of a show.

use std::collections::BTreeSet;

use crate::protocol::{
    Answer, Code, EndReason, Event, LayoutUpdated, PauseReason, Refusal, RoomEnded, RoomLive,
    RoomPause, RoomPaused, RoomState, RoomUpdate, RoomUpdated, Summary, UserId,
};
use crate::stage::{House, Kinds, StageCommand};

use super::{Effect, Room, StoreWrite};

/// A preview without a host ends after this long.
const PREVIEW_MS: u64 = 10 * 60_000;
/// The longest break.
const BREAK_MS: u64 = 15 * 60_000;
/// The longest show.
const SHOW_MS: u64 = 12 * 3_600_000;

/// Where a room is in its life.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) state: RoomState,
    pub(super) reasons: BTreeSet<PauseReason>,
    /// `room.start` was said; live with the first packet.
    pub(super) wanted: bool,
    pub(super) started_at: Option<u64>,
    /// End of the running break.
    pub(super) break_until: Option<u64>,
    pub(super) pause_guests: bool,
    /// Muted by the host.
    pub(super) host_muted: Kinds,
    /// When the room ends if the host stays away.
    grace_until: Option<u64>,
    /// When a preview without a host ends.
    preview_until: Option<u64>,
}

impl Life {
    pub(super) const fn preview(now: u64) -> Self {
        Self {
            state: RoomState::Preview,
            reasons: BTreeSet::new(),
            wanted: false,
            started_at: None,
            break_until: None,
            pause_guests: false,
            host_muted: Kinds { audio: false, video: false },
            grace_until: None,
            preview_until: Some(now + PREVIEW_MS),
        }
    }

    /// On air since then, as before a restart.
    pub(super) fn carry_on(&mut self, started_at: u64) {
        self.state = RoomState::Live;
        self.started_at = Some(started_at);
        self.preview_until = None;
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, RoomState::Ended | RoomState::Archived)
    }

    /// Live or paused.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, RoomState::Live | RoomState::Paused)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        let longest = self.started_at.map(|at| at + SHOW_MS);
        // A break that was over when the host got lost has nothing left to start.
        let waits = self.reasons.contains(&PauseReason::HostLost) && self.grace_until.is_none();
        let break_over = self.break_until.filter(|_| waits);
        [self.grace_until, self.preview_until, longest, break_over].into_iter().flatten().min()
    }
}

impl Room {
    pub(super) fn is_host(&self, user: &UserId) -> bool {
        self.host.user == *user
    }

    pub(super) fn host_only(&self, user: &UserId) -> Result<(), Refusal> {
        if self.is_host(user) { Ok(()) } else { Err(Code::HostOnly.into()) }
    }

    /// # Errors
    /// `room_suspended` or `room_not_live`, unless live or paused.
    pub(super) fn show_is_on(&self) -> Result<(), Refusal> {
        match self.life.state {
            RoomState::Live | RoomState::Paused => Ok(()),
            RoomState::Suspended => Err(Code::RoomSuspended.into()),
            _ => Err(Code::RoomNotLive.into()),
        }
    }

    pub(super) fn start(
        &mut self,
        user: &UserId,
        title: Option<String>,
    ) -> Result<Answer, Refusal> {
        self.host_only(user)?;
        if let Some(title) = title.filter(|title| !title.trim().is_empty()) {
            self.title = title;
            self.tell_room_updated();
        }
        self.life.wanted = true;
        self.try_live();
        Ok(Answer::EMPTY)
    }

    /// Live as soon as it is wanted and the host's media is there.
    pub(super) fn try_live(&mut self) {
        if self.life.state != RoomState::Preview || !self.life.wanted || !self.host_sends() {
            return;
        }
        self.life.carry_on(self.now);
        self.stage_do(StageCommand::House(House::Open));
        self.out.push(Effect::Store(StoreWrite::RoomLive { room: self.id.clone(), at: self.now }));
        self.tell_all(Event::RoomLive(RoomLive { started_at: self.now }));
        self.pulse.viewers = true;
    }

    pub(super) fn pause(&mut self, user: &UserId, pause: RoomPause) -> Result<Answer, Refusal> {
        self.host_only(user)?;
        self.show_is_on()?;
        let longest = self.now + BREAK_MS;
        let until = pause.until_ms.unwrap_or(longest).clamp(self.now, longest);
        self.life.break_until = Some(until);
        self.life.pause_guests = pause.pause_guests;
        self.life.reasons.insert(PauseReason::Break);
        // A break stops the clock of a lost host; it starts again when the break is over.
        self.life.grace_until = None;
        self.tell_paused();
        Ok(Answer::EMPTY)
    }

    pub(super) fn resume_show(&mut self, user: &UserId) -> Result<Answer, Refusal> {
        self.host_only(user)?;
        self.show_is_on()?;
        self.end_break();
        Ok(Answer::EMPTY)
    }

    fn end_break(&mut self) {
        if !self.life.reasons.remove(&PauseReason::Break) {
            return;
        }
        self.life.break_until = None;
        self.life.pause_guests = false;
        if self.life.reasons.contains(&PauseReason::HostLost) {
            self.start_grace();
        }
        self.pause_changed();
    }

    fn start_grace(&mut self) {
        self.life.grace_until = Some(self.now + self.stage.policy().host_grace_ms);
    }

    fn tell_paused(&mut self) {
        self.life.state = RoomState::Paused;
        let reasons = self.life.reasons.iter().copied().collect();
        self.tell_all(Event::RoomPaused(RoomPaused { reasons, until: self.life.break_until }));
    }

    fn pause_changed(&mut self) {
        if self.life.reasons.is_empty() {
            self.life.state = RoomState::Live;
            self.tell_all(Event::RoomResumed(crate::protocol::Empty {}));
        } else {
            self.tell_paused();
        }
    }

    /// The host's media stopped.
    pub(super) fn host_media_lost(&mut self) {
        if !self.life.is_on() || !self.life.reasons.insert(PauseReason::HostLost) {
            return;
        }
        self.stage_do(StageCommand::HostLost { lost: true });
        if self.life.break_until.is_none_or(|until| until <= self.now) {
            self.start_grace();
        }
        self.tell_paused();
    }

    /// The host's media is there (again).
    pub(super) fn host_media_back(&mut self) {
        if self.life.state == RoomState::Preview {
            return self.try_live();
        }
        if !self.life.is_on() || !self.life.reasons.remove(&PauseReason::HostLost) {
            return;
        }
        self.life.grace_until = None;
        self.stage_do(StageCommand::HostLost { lost: false });
        if self.life.break_until.is_some_and(|until| until <= self.now) {
            self.life.reasons.remove(&PauseReason::Break);
            self.life.break_until = None;
            self.life.pause_guests = false;
        }
        self.pause_changed();
    }

    pub(super) fn end_by_host(&mut self, user: &UserId) -> Result<Answer, Refusal> {
        self.host_only(user)?;
        self.end_show(EndReason::Host);
        Ok(Answer::EMPTY)
    }

    /// Over, for good: guests out, Combos closed, everybody told.
    pub(super) fn end_show(&mut self, reason: EndReason) {
        self.stage_do(StageCommand::House(House::Shut));
        self.close_all_combos();
        self.flush_chat();
        self.life.state = RoomState::Ended;
        self.life.reasons.clear();
        let summary = self.summary();
        self.tell_last(Event::RoomEnded(RoomEnded { reason, summary }));
        self.out.push(Effect::Store(StoreWrite::RoomEnded {
            room: self.id.clone(),
            reason: reason.as_str(),
            summary,
            at: self.now,
        }));
    }

    fn summary(&self) -> Summary {
        Summary {
            duration_ms: self.life.started_at.map_or(0, |at| self.now.saturating_sub(at)),
            peak_viewers: self.peak,
            total_viewers: self.total_viewers(),
            coins: self.coins,
            likes: self.likes,
            messages: self.chat.count(),
            guests: u32::try_from(self.guests_on_air.len()).unwrap_or(u32::MAX),
        }
    }

    /// The host is here or gone, in preview.
    pub(super) fn host_presence(&mut self, here: bool) {
        if self.life.state == RoomState::Preview {
            self.life.preview_until = (!here).then_some(self.now + PREVIEW_MS);
        }
    }

    pub(super) fn run_life(&mut self) {
        let now = self.now;
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let lost = self.life.reasons.contains(&PauseReason::HostLost);
        if lost && self.life.grace_until.is_none() && due(self.life.break_until) {
            self.start_grace();
            self.life.break_until = None;
            self.life.reasons.remove(&PauseReason::Break);
            self.tell_paused();
        }
        if due(self.life.grace_until) {
            self.end_show(EndReason::HostLost);
        } else if due(self.life.preview_until) {
            self.end_show(EndReason::Abandoned);
        } else if due(self.life.started_at.map(|at| at + SHOW_MS)) {
            self.end_show(EndReason::MaxLength);
        }
    }

    pub(super) fn update(&mut self, user: &UserId, update: RoomUpdate) -> Result<Answer, Refusal> {
        self.host_only(user)?;
        let before = self.stage.policy().layout;
        if let Some(patch) = &update.guest {
            let policy = self.stage.policy().patched(patch)?;
            self.stage_try(StageCommand::Policy(policy))?;
        }
        if let Some(title) = update.title.filter(|title| !title.trim().is_empty()) {
            self.title = title;
        }
        self.tell_room_updated();
        let layout = self.stage.policy().layout;
        if layout != before {
            self.tell_all(Event::LayoutUpdated(LayoutUpdated { layout }));
        }
        Ok(Answer::EMPTY)
    }

    fn tell_room_updated(&mut self) {
        let policy = self.stage.policy().clone();
        self.tell_all(Event::RoomUpdated(RoomUpdated { title: self.title.clone(), policy }));
    }
}
