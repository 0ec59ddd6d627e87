//! What the list of live rooms shows of a room.

use serde::Serialize;

use crate::protocol::{Event, Person, RoomId};

/// One line of `GET /v1/live`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// The slug, as in `/r/{room}`.
    pub room: RoomId,
    /// Title.
    pub title: String,
    /// Who is on air.
    pub host: Person,
    /// Viewers now.
    pub viewers: u32,
    /// Live since, in milliseconds since the epoch; `None` = not on air.
    pub since: Option<u64>,
    /// On a break, or the host is lost.
    pub paused: bool,
}

impl Card {
    pub(crate) fn new(room: &RoomId, host: &Person) -> Self {
        let title = String::new();
        Self {
            room: room.clone(),
            title,
            host: host.clone(),
            viewers: 0,
            since: None,
            paused: false,
        }
    }

    /// Follow what the room tells everybody; `true` = something changed.
    pub(crate) fn follow(&mut self, event: &Event) -> bool {
        let before = self.clone();
        match event {
            Event::RoomLive(live) => self.since = Some(live.started_at),
            Event::RoomEnded(_) => self.since = None,
            Event::RoomPaused(_) => self.paused = true,
            Event::RoomResumed(_) => self.paused = false,
            Event::RoomUpdated(updated) => self.title.clone_from(&updated.title),
            Event::ViewersCount(viewers) => self.viewers = viewers.now,
            _ => return false,
        }
        *self != before
    }
}
