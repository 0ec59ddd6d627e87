//! The room as one person sees it.

use crate::chat;
use crate::protocol::{RoomInfo, StaffView, State, UserId, You};

use super::Room;

impl Room {
    pub(super) fn state_for(&self, user: &UserId) -> State {
        State {
            room: self.info(),
            seq: self.seq,
            seats: self.seat_views(),
            viewers: self.viewers(),
            you: self.you(user),
            chat: self.chat.history(None, chat::SNAPSHOT),
            staff: self.is_staff(user).then(|| self.staff_view()),
            likes: self.likes,
            speaking: self.applied.speaking.clone(),
        }
    }

    fn info(&self) -> RoomInfo {
        RoomInfo {
            id: self.id.clone(),
            title: self.title.clone(),
            state: self.life.state,
            reasons: self.life.reasons.iter().copied().collect(),
            until: self.life.break_until,
            started_at: self.life.started_at,
            host: self.host.clone(),
            policy: self.stage.policy().clone(),
        }
    }

    pub(super) fn you(&self, user: &UserId) -> You {
        You {
            user: user.clone(),
            name: self.name(user),
            role: self.role(user),
            staff: self.is_staff(user),
            perms: self.perms(user),
            guest: self.stage.attempt_of(user).map(Self::your_guest),
            mute_until: self.moderation.muted_until(user, self.now),
        }
    }

    fn staff_view(&self) -> StaffView {
        let (queue, invited) = self.queue();
        StaffView { queue, invited, seats: self.seat_details(), members: self.members() }
    }
}
