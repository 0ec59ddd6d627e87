//! One room as this shard sees it: who fills each seat, and which of this shard's transports watch.

use signaling::media::{Audience, MediaKind, Seat, TransportId};

use super::slab::PublicationId;

/// What fills a seat's slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The publish transport; `None` = empty.
    pub source: Option<TransportId>,
    /// Who receives it.
    pub audience: Audience,
}

impl Slot {
    const EMPTY: Self = Self { source: None, audience: Audience::Nobody };
}

/// A room on one shard.
#[derive(Debug)]
pub struct Stage {
    slots: [Slot; Seat::COUNT],
    /// Who has the floor.
    pub speaker: Option<Seat>,
    /// Index of the choice of its loudest voices, if anybody here asked for it.
    pub voices: Option<u32>,
    /// Indices of this shard's watch sessions.
    pub watchers: Vec<u32>,
    /// Indices of this shard's publish sessions.
    pub publishers: Vec<u32>,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            slots: [Slot::EMPTY; Seat::COUNT],
            speaker: None,
            voices: None,
            watchers: Vec::new(),
            publishers: Vec::new(),
        }
    }
}

impl Stage {
    /// Fill or empty a slot. Returns the slot as it was; `None` for a seat that does not exist.
    pub fn set(&mut self, seat: Seat, slot: Slot) -> Option<Slot> {
        let place = self.slots.get_mut(seat.0 as usize)?;
        Some(std::mem::replace(place, slot))
    }

    /// The publication that a watcher may receive for its slot of `seat`, if any.
    #[must_use]
    pub fn publication(
        &self,
        seat: Seat,
        kind: MediaKind,
        backstage: bool,
        own_seat: Option<Seat>,
    ) -> Option<PublicationId> {
        let slot = self.slots.get(seat.0 as usize)?;
        let allowed = match slot.audience {
            Audience::Nobody => false,
            Audience::Backstage => backstage,
            Audience::Everyone => true,
        };
        if !allowed || own_seat == Some(seat) {
            return None;
        }
        slot.source.map(|transport| PublicationId::track(transport, kind))
    }

    /// Guests whom everybody may hear, with their publishers.
    pub fn live_guests(&self) -> impl Iterator<Item = (Seat, TransportId)> {
        let seats = self.slots.iter().enumerate().map(|(seat, slot)| (Seat(seat as u8), slot));
        let live = seats.filter(|(seat, slot)| {
            slot.audience == Audience::Everyone && *seat != Seat::HOST && *seat != Seat::SCREEN
        });
        live.filter_map(|(seat, slot)| Some((seat, slot.source?)))
    }

    /// Nothing left to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
            && self.publishers.is_empty()
            && self.slots.iter().all(|slot| slot.source.is_none())
    }
}
