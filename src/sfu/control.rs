//! What comes from elsewhere than the wire: commands, other shards, time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signaling::media::{
    Audience, Channel, CloseReason, MediaEvent, MediaKind, RoomKey, Seat, TransportId,
};

use super::command::ShardCommand;
use super::drop_reason::DropReason;
use super::egress::Egress;
use super::fanout::WANT_LASTS;
use super::publication::{ids, ids_of};
use super::relay::RelayMessage;
use super::session::{Role, Session};
use super::slab::{PublicationId, Slab};
use super::stage::Slot;
use super::{Sfu, publication_mut, session_mut};

/// Timer owners above this are publications, below it sessions.
const PUBLICATION_TIMERS: u32 = 1 << 31;

/// Time between two `Want`s for the same publication.
pub(super) const WANT_AGAIN: Duration = Duration::from_secs(1);

impl Sfu {
    /// Apply a command of the director.
    pub fn handle_command(&mut self, now: Instant, command: ShardCommand, egress: &mut Egress<'_>) {
        match command {
            ShardCommand::AddTransport(spec) => self.add_transport(now, *spec),
            ShardCommand::SetRemote { id, remote, tracks } => {
                self.set_remote(now, id, &remote, tracks, egress);
            }
            ShardCommand::RestartIce { id, local, remote } => {
                let Some(index) = self.session_ids.get(&id).copied() else { return };
                self.add_ufrag(index, &local.ufrag);
                let Some(session) = session_mut(&mut self.sessions, index) else { return };
                session.transport.restart_ice(local, remote);
            }
            ShardCommand::Close { id, reason } => {
                if let Some(index) = self.session_ids.get(&id).copied() {
                    self.close_session(now, index, reason, egress);
                }
            }
            ShardCommand::SetSeat { room, seat, source, audience } => {
                self.set_seat(now, room, seat, source, audience, egress);
            }
            ShardCommand::SetGate { id, kind, open } => self.set_gate(now, id, kind, open, egress),
            ShardCommand::SetViewer { id, backstage, own_seat } => {
                let Some(index) = self.session_ids.get(&id).copied() else { return };
                if let Some(Session { role: Role::Watch(watcher), .. }) =
                    session_mut(&mut self.sessions, index)
                {
                    watcher.backstage = backstage;
                    watcher.own_seat = own_seat;
                }
                self.fill_slots(now, index, egress);
            }
            ShardCommand::SetSpeaker { room, seat } => self.set_speaker(now, room, seat),
            ShardCommand::PreferLayer { id, seat, size } => {
                self.prefer_layer(now, id, seat, size, egress);
            }
            ShardCommand::PreferVoices { id, top } => self.prefer_voices(now, id, top, egress),
            ShardCommand::PauseVideo { id, seats, on } => {
                self.pause_video(now, id, &seats, on, egress);
            }
            ShardCommand::SendData { id, channel, bytes } => {
                if let Some(index) = self.session_ids.get(&id).copied() {
                    self.send_data(now, index, channel, &bytes, egress);
                }
            }
            ShardCommand::BroadcastData { room, channel, bytes } => {
                let watchers =
                    self.stages.get(&room).map(|s| s.watchers.clone()).unwrap_or_default();
                for index in watchers {
                    self.send_data(now, index, channel, &bytes, egress);
                }
            }
            ShardCommand::CloseRoom { room } => self.close_room(now, room, egress),
        }
    }

    fn set_seat(
        &mut self,
        now: Instant,
        room: RoomKey,
        seat: Seat,
        source: Option<TransportId>,
        audience: Audience,
        egress: &mut Egress<'_>,
    ) {
        let stage = self.stages.entry(room).or_default();
        let slot = Slot { source, audience };
        let changed = stage.set(seat, slot) != Some(slot);
        let chooses = stage.voices.is_some();
        if stage.is_empty() {
            self.stages.remove(&room);
        }
        if let Some(transport) = source.filter(|_| changed) {
            // No frame from before somebody went on air may reach those who see them from now on.
            for id in ids(transport) {
                if let Some(publication) = self.publication_by_id(id) {
                    publication.ring.forget_gop();
                }
            }
        }
        if chooses {
            self.settle_voices(now, room, egress);
        }
        self.fill_seat(now, room, seat, egress);
    }

    fn set_gate(
        &mut self,
        now: Instant,
        transport: TransportId,
        kind: MediaKind,
        open: bool,
        egress: &mut Egress<'_>,
    ) {
        for id in ids_of(transport, kind) {
            let at = match self.publication_ids.get(&id) {
                Some(at) => *at,
                // A mute may come before the first viewer; an open gate is the default.
                None if open => continue,
                None => self.publication(id),
            };
            let Some(publication) = publication_mut(&mut self.publications, at) else { continue };
            publication.set_gate(open);
            if open && kind == MediaKind::Video && publication.is_watched() {
                self.want_key_frame(now, at, egress);
            }
            self.forget_publication(at);
        }
    }

    fn send_data(
        &mut self,
        now: Instant,
        index: u32,
        channel: Channel,
        bytes: &bytes::Bytes,
        egress: &mut Egress<'_>,
    ) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        if let Err(reason) = session.transport.send_data(now, channel, bytes, egress) {
            self.counters.drop(reason);
        }
        self.after_transport(now, index, egress);
    }

    fn close_room(&mut self, now: Instant, room: RoomKey, egress: &mut Egress<'_>) {
        let Some(stage) = self.stages.remove(&room) else { return };
        if let Some(index) = stage.voices {
            self.end_voices(index);
        }
        for index in stage.watchers.into_iter().chain(stage.publishers) {
            self.close_session(now, index, CloseReason::Requested, egress);
        }
    }

    /// End every transport: the server is stopping.
    pub fn close_all(&mut self, now: Instant, egress: &mut Egress<'_>) {
        for index in 0..self.sessions.len() as u32 {
            self.close_session(now, index, CloseReason::Shutdown, egress);
        }
    }

    /// Take a message of another shard.
    pub fn handle_relay(
        &mut self,
        now: Instant,
        from_shard: u8,
        message: RelayMessage,
        egress: &mut Egress<'_>,
    ) {
        match message {
            RelayMessage::Want(id) => self.on_want(now, from_shard, id, egress),
            RelayMessage::Unwant(id) => {
                if let Some(publication) = self.publication_by_id(id) {
                    publication.wanted_by.retain(|(shard, _)| *shard != from_shard);
                }
            }
            RelayMessage::KeyFrame(id) => {
                if let Some(at) = self.publication_ids.get(&id).copied() {
                    self.want_key_frame(now, at, egress);
                }
            }
            RelayMessage::Slab(slab) => {
                if let Some(at) = self.store_relayed(now, &slab) {
                    self.fan_out(now, at, &slab, egress);
                }
            }
            RelayMessage::Rider(slab) => {
                if let Some(at) = self.store_relayed(now, &slab) {
                    self.hold_rider(now, at, &slab, egress);
                }
            }
            RelayMessage::Layers(transport, layers) => {
                self.set_layers(now, transport, *layers, egress);
            }
            RelayMessage::Clock(id, clock) => {
                if let Some(at) = self.publication_ids.get(&id).copied() {
                    self.spread_clock(now, at, clock, egress);
                }
            }
        }
    }

    /// Keep another shard's slab; where its publication is, if it has one here and may be seen.
    fn store_relayed(&mut self, now: Instant, slab: &Arc<Slab>) -> Option<u32> {
        self.counters.relayed_in += 1;
        let at = self.publication_ids.get(&slab.publication).copied()?;
        let publication = publication_mut(&mut self.publications, at)?;
        if !publication.gate_open {
            self.counters.drop(DropReason::Gate);
            return None;
        }
        publication.ring.store(now, slab);
        if slab.key_frame {
            publication.key_frame.served();
        }
        // Kept for those who ask again, but sent to nobody unasked.
        if now.saturating_duration_since(slab.arrived) > self.config.late {
            self.counters.drop(DropReason::ReceivedLate);
            return None;
        }
        Some(at)
    }

    fn publication_by_id(&mut self, id: PublicationId) -> Option<&mut super::Publication> {
        let at = self.publication_ids.get(&id)?;
        publication_mut(&mut self.publications, *at)
    }

    fn on_want(&mut self, now: Instant, shard: u8, id: PublicationId, egress: &mut Egress<'_>) {
        let Some(at) = self.publication_ids.get(&id).copied() else { return };
        self.want_layer(now, id);
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let until = now + WANT_LASTS;
        if let Some((_, old)) = publication.wanted_by.iter_mut().find(|(s, _)| *s == shard) {
            *old = until;
            return;
        }
        publication.wanted_by.push((shard, until));
        if let Some((clock, _)) = publication.clock {
            self.relays.push_back((shard, RelayMessage::Clock(id, clock)));
        }
        if let Some(costs) = self.layers.get(&id.transport) {
            let layers = Box::new(costs.now);
            self.relays.push_back((shard, RelayMessage::Layers(id.transport, layers)));
        }
        if id.kind == MediaKind::Video {
            self.want_key_frame(now, at, egress);
        }
    }

    /// Do what is due.
    pub fn handle_timeout(&mut self, now: Instant, egress: &mut Egress<'_>) {
        while let Some((at, owner)) = self.timers.pop_due(now) {
            if owner >= PUBLICATION_TIMERS {
                self.wake_publication(now, at, owner - PUBLICATION_TIMERS, egress);
            } else {
                self.wake_session(now, at, owner, egress);
            }
        }
    }

    fn wake_session(&mut self, now: Instant, at: Instant, index: u32, egress: &mut Egress<'_>) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        if session.wake != Some(at) {
            return;
        }
        session.wake = None;
        session.transport.handle_timeout(now, egress);
        let alive = session.transport.last_authenticated();
        let silent =
            alive.is_some_and(|at| now.saturating_duration_since(at) >= session.lost_after);
        if session.is_connected() && silent && !std::mem::replace(&mut session.lost, true) {
            self.tell(index, MediaEvent::Lost);
        }
        self.send_feedback(now, index, egress);
        self.measure_layers(now, index, egress);
        self.send_paced(now, index, egress);
        self.send_probe(now, index, egress);
        self.after_transport(now, index, egress);
    }

    fn wake_publication(&mut self, now: Instant, due: Instant, at: u32, egress: &mut Egress<'_>) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        if publication.wake != Some(due) {
            return;
        }
        publication.wake = None;
        self.prune_awaiting(at);
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let id = publication.id;
        let mirror = publication.intake.is_none() && publication.is_watched();
        let ask = publication.key_frame.due(now);
        if !mirror {
            publication.want_at = None;
        } else if publication.want_at.is_some_and(|at| at <= now) {
            publication.want_at = Some(now + WANT_AGAIN);
            self.relays.push_back((id.transport.shard(), RelayMessage::Want(id)));
        }
        if ask {
            self.ask_key_frame(at, egress);
        }
        self.send_nacks(now, at, egress);
        self.schedule_publication(now, at);
    }

    /// Make sure a session wakes in time.
    pub(super) fn schedule_session(&mut self, now: Instant, index: u32) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Some(at) = session.next_wake(now) else { return };
        if session.wake.is_none_or(|wake| at < wake) {
            session.wake = Some(at);
            self.timers.schedule(at, index);
        }
    }

    /// Make sure a publication wakes in time.
    pub(super) fn schedule_publication(&mut self, now: Instant, at: u32) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let Some(due) = publication.next_wake() else { return };
        let due = due.max(now);
        if publication.wake.is_none_or(|wake| due < wake) {
            publication.wake = Some(due);
            self.timers.schedule(due, at + PUBLICATION_TIMERS);
        }
    }
}
