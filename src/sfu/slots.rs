//! A watcher's slots: attached to publications as the stage and the viewer's answers want it, and back.

use std::time::Instant;

use signaling::media::{MediaKind, RoomKey, Seat};

use crate::rtp::track::TrackOut;

use super::control::WANT_AGAIN;
use super::egress::Egress;
use super::publication::{Publication, ids_of};
use super::relay::RelayMessage;
use super::session::{OutSlot, Place, Role, Session};
use super::slab::PublicationId;
use super::subscription::Subscription;
use super::{Sfu, publication_mut, session_mut};

impl Sfu {
    pub(super) fn append_slot(&mut self, index: u32, track: TrackOut) {
        let random = self.random.next();
        if let Some(session) = session_mut(&mut self.sessions, index)
            && let Role::Watch(watcher) = &mut session.role
        {
            let at = watcher.slots.len();
            watcher.slots.push(parked(index, at, track, random));
        }
    }

    /// The peer took a slot with its own choice of codecs.
    pub(super) fn renegotiate_slot(&mut self, index: u32, track: TrackOut) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &mut session.role else { return };
        let Some(slot) = watcher.slots.iter_mut().find(|slot| slot.track.ssrc == track.ssrc) else {
            return;
        };
        if let Some(subscription) = subscription_in(&mut self.publications, &mut slot.place) {
            subscription.renegotiate(&track);
        }
        slot.track = track;
    }

    /// The peer refused a slot.
    pub(super) fn remove_slot(&mut self, index: u32, slot: usize) {
        self.detach(index, slot);
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &mut session.role else { return };
        watcher.slots.remove(slot);
        for (i, slot) in watcher.slots.iter_mut().enumerate().skip(slot) {
            if let Some(subscription) = subscription_in(&mut self.publications, &mut slot.place) {
                subscription.track = i as u8;
            }
        }
    }

    /// Attach and detach a watcher's slots until they agree with the stage.
    pub(super) fn fill_slots(&mut self, now: Instant, index: u32, egress: &mut Egress<'_>) {
        let slots = match session_mut(&mut self.sessions, index) {
            Some(Session { role: Role::Watch(watcher), .. }) => watcher.slots.len(),
            _ => return,
        };
        for slot in 0..slots {
            self.fill_slot(now, index, slot, egress);
        }
    }

    /// The same for every watcher's slot of one seat.
    pub(super) fn fill_seat(
        &mut self,
        now: Instant,
        room: RoomKey,
        seat: Seat,
        egress: &mut Egress<'_>,
    ) {
        let watchers =
            self.stages.get(&room).map(|stage| stage.watchers.clone()).unwrap_or_default();
        for index in watchers {
            let slots: Vec<usize> = match session_mut(&mut self.sessions, index) {
                Some(Session { role: Role::Watch(watcher), .. }) => {
                    let of_seat =
                        |(i, slot): (usize, &OutSlot)| (slot.track.seat == seat).then_some(i);
                    watcher.slots.iter().enumerate().filter_map(of_seat).collect()
                }
                _ => continue,
            };
            for slot in slots {
                self.fill_slot(now, index, slot, egress);
            }
        }
    }

    pub(super) fn fill_slot(
        &mut self,
        now: Instant,
        index: u32,
        slot: usize,
        egress: &mut Egress<'_>,
    ) {
        let Some(session) = self.sessions.get(index as usize).and_then(Option::as_ref) else {
            return;
        };
        let Role::Watch(watcher) = &session.role else { return };
        let Some(out) = watcher.slots.get(slot) else { return };
        let wanted =
            self.stages.get(&session.room).filter(|_| session.is_connected()).and_then(|stage| {
                let (seat, kind) = (out.track.seat, out.track.kind);
                let hidden = kind == MediaKind::Video && watcher.view(seat).paused;
                let unheard = kind == MediaKind::Audio && self.is_unheard(stage, watcher.top, seat);
                let shown = stage.publication(seat, kind, watcher.backstage, watcher.own_seat);
                shown.filter(|_| !hidden && !unheard)
            });
        let present = match out.place {
            Place::Attached { publication, .. } => {
                let publication = self.publications.get(publication as usize);
                publication.and_then(|p| p.as_ref()).map(|p| p.id.of_track())
            }
            Place::Parked(_) => None,
        };
        if wanted == present {
            return;
        }
        self.detach(index, slot);
        if let Some(id) = wanted {
            let choice = self.first_choice(now, index, slot, id);
            if let Some(OutSlot { place: Place::Parked(subscription), .. }) =
                self.slot_mut(index, slot)
            {
                subscription.set_target(choice.point);
            }
            let id = PublicationId { layer: choice.layer, ..id };
            self.attach(now, index, slot, id, egress);
        }
    }

    fn attach(
        &mut self,
        now: Instant,
        index: u32,
        slot: usize,
        id: PublicationId,
        egress: &mut Egress<'_>,
    ) {
        let at = self.publication(id);
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &mut session.role else { return };
        let Some(out) = watcher.slots.get_mut(slot) else { return };
        let place =
            Place::Attached { publication: at, position: publication.subscriptions.len() as u32 };
        match std::mem::replace(&mut out.place, place) {
            Place::Parked(subscription) => publication.subscriptions.push(*subscription),
            attached @ Place::Attached { .. } => {
                out.place = attached;
                return;
            }
        }
        self.choose_soon(now, index);
        self.want_from_publisher(now, at);
        if id.kind == MediaKind::Video && !self.replay(now, index, slot, egress) {
            self.want_key_frame(now, at, egress);
        }
    }

    /// Tell the publisher, or its shard, if that is another one, that somebody wants this.
    pub(super) fn want_from_publisher(&mut self, now: Instant, at: u32) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let id = publication.id;
        if id.transport.shard() == self.shard {
            self.want_layer(now, id);
        } else if publication.want_at.is_none() {
            publication.want_at = Some(now + WANT_AGAIN);
            self.relays.push_back((id.transport.shard(), RelayMessage::Want(id)));
            self.schedule_publication(now, at);
        }
    }

    /// Bring a slot's subscription home; what it sends next is a new stream.
    pub(super) fn detach(&mut self, index: u32, slot: usize) {
        let Some(mut subscription) = self.take_subscription(index, slot) else { return };
        subscription.release();
        if let Some(out) = self.slot_mut(index, slot) {
            out.place = Place::Parked(Box::new(subscription));
        }
    }

    /// A watcher's slot.
    pub(super) fn slot_mut(&mut self, index: u32, slot: usize) -> Option<&mut OutSlot> {
        match &mut session_mut(&mut self.sessions, index)?.role {
            Role::Watch(watcher) => watcher.slots.get_mut(slot),
            Role::Publish(_) => None,
        }
    }

    /// Take an attached slot's subscription out of its publication, which is forgotten if it was the last.
    /// The caller gives the slot its new place.
    pub(super) fn take_subscription(&mut self, index: u32, slot: usize) -> Option<Subscription> {
        let out = self.slot_mut(index, slot)?;
        out.aim = None;
        let Place::Attached { publication: at, position } = out.place else { return None };
        let publication = publication_mut(&mut self.publications, at)?;
        if position as usize >= publication.subscriptions.len() {
            return None;
        }
        let mut subscription = publication.subscriptions.swap_remove(position as usize);
        subscription.give_up(&publication.ring, &mut self.counters);
        let moved = publication.subscriptions.get(position as usize).map(|s| (s.session, s.track));
        if let Some((session, track)) = moved
            && let Some(out) = self.slot_mut(session, track as usize)
        {
            out.place = Place::Attached { publication: at, position };
        }
        self.forget_unwatched(at);
        Some(subscription)
    }

    /// Drop another shard's publication if nobody here watches it any more, and say so.
    pub(super) fn forget_unwatched(&mut self, at: u32) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let id = publication.id;
        if publication.is_watched() || publication.intake.is_some() {
            return;
        }
        if publication.want_at.take().is_some() {
            self.relays.push_back((id.transport.shard(), RelayMessage::Unwant(id)));
        }
        self.forget_publication(at);
    }

    /// Drop a publication that has neither a publisher nor viewers here.
    pub(super) fn forget_publication(&mut self, at: u32) {
        let idle = publication_mut(&mut self.publications, at)
            .is_some_and(|p| p.intake.is_none() && !p.is_watched() && p.gate_open);
        if idle && let Some(publication) = self.publications[at as usize].take() {
            self.publication_ids.remove(&publication.id);
            self.free_publications.push(at);
            let transport = publication.id.transport;
            if ids_of(transport, MediaKind::Video).all(|id| !self.publication_ids.contains_key(&id))
            {
                self.layers.remove(&transport);
            }
        }
    }
}

/// The subscription that is kept in this place.
pub(super) fn subscription_in<'a>(
    publications: &'a mut [Option<Publication>],
    place: &'a mut Place,
) -> Option<&'a mut Subscription> {
    match place {
        Place::Parked(subscription) => Some(subscription),
        Place::Attached { publication, position } => {
            let publication = publication_mut(publications, *publication)?;
            publication.subscriptions.get_mut(*position as usize)
        }
    }
}

/// A slot that shows nothing yet.
pub(super) fn parked(session: u32, slot: usize, track: TrackOut, random: u64) -> OutSlot {
    let subscription = Box::new(Subscription::new(session, slot as u8, &track, random));
    OutSlot { track, place: Place::Parked(subscription), aim: None }
}
