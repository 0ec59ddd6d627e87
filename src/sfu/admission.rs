//! Sessions come and go.

use std::time::Instant;

use signaling::media::{CloseReason, MediaEvent, RoomKey, TransportId};

use crate::rtp::track::{TrackIn, TrackOut};

use super::bandwidth::policer::Policer;
use super::command::{Purpose, TransportSpec};
use super::drop_reason::DropReason;
use super::egress::{Egress, Path};
use super::intake::Intake;
use super::loudest::ALL;
use super::publication::{Publication, ids, ids_of};
use super::publisher::Publisher;
use super::session::{Role, Session, Watcher};
use super::slab::PublicationId;
use super::slots::parked;
use super::stage::Stage;
use super::transport::{Remote, Transport, TransportEvent, TransportSetup};
use super::{Sfu, publication_mut, session_mut};

impl Sfu {
    pub(super) fn add_transport(&mut self, now: Instant, spec: TransportSpec) {
        if self.session_ids.contains_key(&spec.id) {
            return;
        }
        let index = self.free_sessions.pop().unwrap_or(self.sessions.len() as u32);
        let ufrag = spec.local_ice.ufrag.clone();
        let known = spec.remote.is_some();
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
                let (top, views) = (ALL, Box::default());
                Role::Watch(Watcher { backstage, own_seat, top, views, slots })
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
            downlink: None,
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
        if known {
            self.open_downlink(now, index);
        }
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
        self.open_downlink(now, index);
        self.after_transport(now, index, egress);
        self.fill_slots(now, index, egress);
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
        }
        if self.stages.get(&session.room).is_some_and(|stage| stage.voices.is_some()) {
            self.settle_voices(now, session.room, egress);
        }
        if self.stages.get(&session.room).is_some_and(Stage::is_empty) {
            self.stages.remove(&session.room);
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
