//! Sessions come and go, slots attach to publications and come back.

use std::time::Instant;

use signaling::media::{CloseReason, MediaEvent, MediaKind, RoomKey, Seat, TransportId};

use crate::rtp::track::{TrackIn, TrackOut};

use super::bandwidth::policer::Policer;
use super::command::{Purpose, TransportSpec};
use super::control::WANT_AGAIN;
use super::drop_reason::DropReason;
use super::egress::{Egress, Path};
use super::publication::{Intake, Publication, ids, ids_of};
use super::publisher::Publisher;
use super::relay::RelayMessage;
use super::session::{OutSlot, Place, Role, Session, Watcher};
use super::slab::PublicationId;
use super::subscription::Subscription;
use super::transport::{Remote, Transport, TransportEvent, TransportSetup};
use super::{Sfu, publication_mut, session_mut};

impl Sfu {
    pub(super) fn add_transport(&mut self, now: Instant, spec: TransportSpec) {
        if self.session_ids.contains_key(&spec.id) {
            return;
        }
        let index = self.free_sessions.pop().unwrap_or(self.sessions.len() as u32);
        let ufrag = spec.local_ice.ufrag.clone();
        let setup = TransportSetup {
            local_ice: spec.local_ice,
            remote: spec.remote,
            srtp: spec.srtp,
            data_channels: spec.data_channels,
        };
        let transport = Transport::new(now, setup, &self.shared);
        let role = match spec.purpose {
            Purpose::Publish(tracks) => self.publish_role(now, index, spec.id, spec.room, tracks),
            Purpose::Watch { tracks, backstage, own_seat } => {
                self.stages.entry(spec.room).or_default().watchers.push(index);
                let slots = tracks
                    .into_iter()
                    .enumerate()
                    .map(|(i, track)| parked(index, i, track, self.random.next()))
                    .collect();
                Role::Watch(Watcher { backstage, own_seat, slots })
            }
        };
        let session = Session {
            id: spec.id,
            room: spec.room,
            transport,
            lost_after: spec.lost_after,
            lost: false,
            profile: None,
            paths: Vec::new(),
            ufrags: vec![ufrag.clone()],
            wake: None,
            role,
        };
        if index as usize == self.sessions.len() {
            self.sessions.push(Some(session));
        } else {
            self.sessions[index as usize] = Some(session);
        }
        self.population.connecting += 1;
        self.session_ids.insert(spec.id, index);
        self.demux.add_ufrag(&ufrag, index);
        self.schedule_session(now, index);
    }

    fn publish_role(
        &mut self,
        now: Instant,
        index: u32,
        id: TransportId,
        room: RoomKey,
        tracks: Vec<TrackIn>,
    ) -> Role {
        self.stages.entry(room).or_default().publishers.push(index);
        let mut kept: Vec<TrackIn> = Vec::new();
        for track in tracks {
            if kept.iter().all(|other| other.kind != track.kind) {
                kept.push(track);
            }
        }
        for track in &kept {
            for layer in ids_of(id, track.kind).take(usize::from(track.layers())) {
                let at = self.publication(layer);
                if let Some(publication) = publication_mut(&mut self.publications, at) {
                    publication.intake = Some(Intake::new(track.clone()));
                }
            }
        }
        let policer = Policer::new(now, self.config.uplink_bps, self.config.uplink_packets);
        Role::Publish(Box::new(Publisher::new(now, kept, policer)))
    }

    /// The publication's index, made if this shard has not heard of it.
    pub(super) fn publication(&mut self, id: PublicationId) -> u32 {
        if let Some(at) = self.publication_ids.get(&id) {
            return *at;
        }
        let at = self.free_publications.pop().unwrap_or(self.publications.len() as u32);
        let publication = Publication::new(id);
        if at as usize == self.publications.len() {
            self.publications.push(Some(publication));
        } else {
            self.publications[at as usize] = Some(publication);
        }
        self.publication_ids.insert(id, at);
        at
    }

    /// The answer to an offer of ours: the peer's half, and the slots it accepted.
    pub(super) fn set_remote(
        &mut self,
        now: Instant,
        id: TransportId,
        remote: &Remote,
        tracks: Vec<TrackOut>,
        egress: &mut Egress<'_>,
    ) {
        let Some(index) = self.session_ids.get(&id).copied() else {
            self.counters.drop(DropReason::UnknownTransport);
            return;
        };
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        session.transport.set_remote(now, remote, egress);
        if let Role::Watch(watcher) = &session.role {
            let known: Vec<u32> = watcher.slots.iter().map(|slot| slot.track.ssrc).collect();
            let gone: Vec<usize> = (0..known.len())
                .filter(|i| tracks.iter().all(|track| track.ssrc != known[*i]))
                .collect();
            for slot in gone.into_iter().rev() {
                self.remove_slot(index, slot);
            }
            for track in tracks {
                if known.contains(&track.ssrc) {
                    self.renegotiate_slot(index, track);
                } else {
                    self.append_slot(index, track);
                }
            }
        }
        self.after_transport(now, index, egress);
        self.fill_slots(now, index, egress);
    }

    fn append_slot(&mut self, index: u32, track: TrackOut) {
        let random = self.random.next();
        if let Some(session) = session_mut(&mut self.sessions, index)
            && let Role::Watch(watcher) = &mut session.role
        {
            let at = watcher.slots.len();
            watcher.slots.push(parked(index, at, track, random));
        }
    }

    /// The peer took a slot with its own choice of codecs.
    fn renegotiate_slot(&mut self, index: u32, track: TrackOut) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &mut session.role else { return };
        let Some(slot) = watcher.slots.iter_mut().find(|slot| slot.track.ssrc == track.ssrc) else {
            return;
        };
        match &mut slot.place {
            Place::Parked(subscription) => subscription.renegotiate(&track),
            Place::Attached { publication, position } => {
                let publication = publication_mut(&mut self.publications, *publication);
                if let Some(subscription) =
                    publication.and_then(|p| p.subscriptions.get_mut(*position as usize))
                {
                    subscription.renegotiate(&track);
                }
            }
        }
        slot.track = track;
    }

    /// The peer refused a slot.
    fn remove_slot(&mut self, index: u32, slot: usize) {
        self.detach(index, slot);
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &mut session.role else { return };
        watcher.slots.remove(slot);
        for (i, slot) in watcher.slots.iter_mut().enumerate().skip(slot) {
            match &mut slot.place {
                Place::Parked(subscription) => subscription.track = i as u8,
                Place::Attached { publication, position } => {
                    let publication = publication_mut(&mut self.publications, *publication);
                    if let Some(subscription) =
                        publication.and_then(|p| p.subscriptions.get_mut(*position as usize))
                    {
                        subscription.track = i as u8;
                    }
                }
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

    fn fill_slot(&mut self, now: Instant, index: u32, slot: usize, egress: &mut Egress<'_>) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &session.role else { return };
        let Some(out) = watcher.slots.get(slot) else { return };
        let wanted =
            self.stages.get(&session.room).filter(|_| session.is_connected()).and_then(|stage| {
                let (seat, kind) = (out.track.seat, out.track.kind);
                stage.publication(seat, kind, watcher.backstage, watcher.own_seat)
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
            let id = self.first_layer(index, id);
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
        self.want_from_publisher(now, at);
        if id.kind == MediaKind::Video && !self.replay(now, index, slot, egress) {
            self.want_key_frame(now, at, egress);
        }
    }

    /// Tell the publisher's shard, if it is another one, that this one has viewers.
    pub(super) fn want_from_publisher(&mut self, now: Instant, at: u32) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let id = publication.id;
        if publication.want_at.is_none() && id.transport.shard() != self.shard {
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
        let subscription = publication.subscriptions.swap_remove(position as usize);
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

    /// A path was validated by STUN for this session; others may have died with it.
    pub(super) fn learn_path(&mut self, index: u32, path: Path) {
        if let Some(old) = self.demux.add_path(path, index)
            && let Some(session) = session_mut(&mut self.sessions, old)
        {
            session.paths.retain(|p| *p != path);
        }
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        if !session.paths.contains(&path) {
            session.paths.push(path);
        }
        let Session { paths, transport, .. } = session;
        paths.retain(|known| {
            let valid = transport.is_validated(*known);
            if !valid {
                self.demux.remove_path(known, index);
            }
            valid
        });
    }

    /// New ICE credentials are ready; any that were never used are replaced.
    pub(super) fn add_ufrag(&mut self, index: u32, ufrag: &str) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        for unused in session.ufrags.drain(1..) {
            self.demux.remove_ufrag(&unused);
        }
        session.ufrags.push(ufrag.to_owned());
        self.demux.add_ufrag(ufrag, index);
    }

    /// The peer used `ufrag`: those from before its ICE restart are dead.
    pub(super) fn retire_ufrags(&mut self, index: u32, ufrag: &str) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let used = session.ufrags.iter().position(|known| known == ufrag).unwrap_or(0);
        for dead in session.ufrags.drain(..used) {
            self.demux.remove_ufrag(&dead);
        }
    }

    /// Drain what a transport has to say after it was given something.
    pub(super) fn after_transport(&mut self, now: Instant, index: u32, egress: &mut Egress<'_>) {
        while let Some(session) = session_mut(&mut self.sessions, index)
            && let Some(event) = session.transport.poll_event()
        {
            match event {
                TransportEvent::Connected => {
                    session.profile = session.transport.profile();
                    self.counters.handshakes += 1;
                    self.population.connected(session.profile);
                    self.tell(index, MediaEvent::Connected);
                    self.fill_slots(now, index, egress);
                }
                TransportEvent::Closed(reason) => {
                    self.end_session(now, index, reason, egress);
                    return;
                }
                TransportEvent::DataOpen(channel) => {
                    self.tell(index, MediaEvent::DataOpen(channel))
                }
                TransportEvent::Data(channel, bytes) => {
                    self.tell(index, MediaEvent::Data(channel, bytes));
                }
                TransportEvent::DataOverflow(channel) => {
                    self.counters.drop(DropReason::DataBufferFull);
                    self.tell(index, MediaEvent::DataOverflow(channel));
                }
            }
        }
        self.schedule_session(now, index);
    }

    /// Say goodbye to the peer, then end the session.
    pub(super) fn close_session(
        &mut self,
        now: Instant,
        index: u32,
        reason: CloseReason,
        egress: &mut Egress<'_>,
    ) {
        if let Some(session) = session_mut(&mut self.sessions, index) {
            session.transport.close(now, egress);
        }
        self.end_session(now, index, reason, egress);
    }

    fn end_session(
        &mut self,
        now: Instant,
        index: u32,
        reason: CloseReason,
        egress: &mut Egress<'_>,
    ) {
        self.tell(index, MediaEvent::Closed(reason));
        let slots = match session_mut(&mut self.sessions, index) {
            Some(Session { role: Role::Watch(watcher), .. }) => watcher.slots.len(),
            _ => 0,
        };
        for slot in 0..slots {
            self.detach(index, slot);
        }
        let Some(session) = self.sessions.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        self.counters.closed += 1;
        self.population.left(session.profile);
        self.session_ids.remove(&session.id);
        for path in &session.paths {
            self.demux.remove_path(path, index);
        }
        for ufrag in &session.ufrags {
            self.demux.remove_ufrag(ufrag);
        }
        if let Some(stage) = self.stages.get_mut(&session.room) {
            stage.watchers.retain(|i| *i != index);
            stage.publishers.retain(|i| *i != index);
            if stage.is_empty() {
                self.stages.remove(&session.room);
            }
        }
        if matches!(session.role, Role::Publish(_)) {
            self.end_publications(now, session.id, egress);
        }
        self.free_sessions.push(index);
    }

    /// The publisher is gone: its publications keep their viewers' slots until the room empties
    /// them, but nothing comes in any more.
    fn end_publications(&mut self, now: Instant, transport: TransportId, egress: &mut Egress<'_>) {
        for id in ids(transport) {
            let Some(at) = self.publication_ids.get(&id).copied() else { continue };
            self.flush_if_cheap(now, at, egress);
            if let Some(publication) = publication_mut(&mut self.publications, at) {
                publication.intake = None;
                publication.gate_open = true;
                publication.rider = None;
                publication.ring.clear();
            }
            self.forget_publication(at);
        }
    }
}

fn parked(session: u32, slot: usize, track: TrackOut, random: u64) -> OutSlot {
    let subscription = Box::new(Subscription::new(session, slot as u8, &track, random));
    OutSlot { track, place: Place::Parked(subscription), aim: None }
}
