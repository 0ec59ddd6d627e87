//! Who holds a seat, over all rooms: a person may hold one in the whole system.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::media::RoomKey;
use crate::protocol::UserId;

/// The right to a seat, by person.
#[derive(Debug, Clone, Default)]
pub struct SeatRegistry {
    held: Arc<DashMap<UserId, RoomKey>>,
}

impl SeatRegistry {
    /// Claim the right for `room`; claiming again for the same room succeeds. `false` = the person
    /// has a seat in another room.
    #[must_use]
    pub fn claim(&self, user: &UserId, room: RoomKey) -> bool {
        match self.held.entry(user.clone()) {
            Entry::Occupied(held) => *held.get() == room,
            Entry::Vacant(free) => {
                free.insert(room);
                true
            }
        }
    }

    /// Give the right back, if `room` has it.
    pub fn release(&self, user: &UserId, room: RoomKey) {
        self.held.remove_if(user, |_, holder| *holder == room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seat_per_person_in_the_system() {
        let registry = SeatRegistry::default();
        let user = UserId::new("u_ana").expect("id");
        assert!(registry.claim(&user, RoomKey(1)));
        assert!(registry.claim(&user, RoomKey(1)));
        assert!(!registry.claim(&user, RoomKey(2)));
        registry.release(&user, RoomKey(2));
        assert!(!registry.claim(&user, RoomKey(2)), "only the holder gives it back");
        registry.release(&user, RoomKey(1));
        assert!(registry.claim(&user, RoomKey(2)));
    }
}
