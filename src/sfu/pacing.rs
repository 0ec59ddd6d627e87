//! Viewers whose slots are behind the live frames, because what they were due was more than their pace allows.

use std::time::Instant;

use super::egress::Egress;
use super::publication::Publication;
use super::session::{Place, Role};
use super::subscription::CaughtUp;
use super::{Sfu, publication_mut, session_mut};

impl Sfu {
    /// Send what waits for a viewer, slot by slot in the order of the seats, as far as its pace allows.
    pub(super) fn send_paced(&mut self, now: Instant, index: u32, egress: &mut Egress<'_>) {
        if !self.downlink_mut(index).is_some_and(|downlink| std::mem::take(&mut downlink.behind)) {
            return;
        }
        let slots = match session_mut(&mut self.sessions, index).map(|session| &session.role) {
            Some(Role::Watch(watcher)) => watcher.slots.len(),
            _ => return,
        };
        let (mut behind, mut gave_up) = (false, false);
        for slot in 0..slots {
            match self.catch_up(now, index, slot, egress) {
                CaughtUp::Live => {}
                CaughtUp::NotYet => behind = true,
                CaughtUp::GaveUp => gave_up = true,
            }
        }
        if let Some(downlink) = self.downlink_mut(index) {
            downlink.behind = behind;
            if gave_up {
                downlink.note_given_up(now);
            }
        }
    }

    fn catch_up(
        &mut self,
        now: Instant,
        index: u32,
        slot: usize,
        egress: &mut Egress<'_>,
    ) -> CaughtUp {
        let place = self.slot_mut(index, slot).map(|out| &out.place);
        let Some(&Place::Attached { publication, position }) = place else {
            return CaughtUp::Live;
        };
        let Some(Publication { ring, subscriptions, .. }) =
            publication_mut(&mut self.publications, publication)
        else {
            return CaughtUp::Live;
        };
        let Some(subscription) = subscriptions.get_mut(position as usize) else {
            return CaughtUp::Live;
        };
        let Some(session) = session_mut(&mut self.sessions, index) else { return CaughtUp::Live };
        if !session.transport.may_send(now) {
            subscription.give_up(ring, &mut self.counters);
            return CaughtUp::GaveUp;
        }
        let Some(mut link) = session.link() else { return CaughtUp::Live };
        subscription.catch_up(now, ring, self.config.behind, &mut link, egress, &mut self.counters)
    }
}
