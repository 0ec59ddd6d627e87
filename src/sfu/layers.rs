//! Simulcast: what each layer costs, and the way of a viewer's slot from one layer to another.
//!
//! Every layer is a publication of its own, with its receiver, packet cache and subscriptions, so that a
//! packet of it costs what it does without layers. A slot is among the subscriptions of one layer. To change, it
//! waits in `awaiting` of the other one for a key frame (asked for once, whoever waits), then its
//! subscription moves over, and its outgoing numbers go on rising. Until then it shows the old layer.

use std::time::{Duration, Instant};

use signaling::media::{MediaEvent, MediaKind, RoomKey, Seat, TileSize, TransportId};

use crate::rtp::track::MAX_LAYERS;

use super::bandwidth::allocation::{Choice, Demand, Layers, Sizes, divide};
use super::bandwidth::downlink::Downlink;
use super::egress::Egress;
use super::publication::{Publication, ids_of};
use super::publisher::MEASURE_EVERY;
use super::relay::RelayMessage;
use super::session::{Aim, OutSlot, Place, Role, View, Watcher};
use super::slab::PublicationId;
use super::sound::SOUND_BPS;
use super::thinning::Measured;
use super::{Sfu, publication_mut, session_mut};

/// Share of a new window in a layer's rate. Trade: a window holds six frames, and a key frame is as large as ten
/// others; less would follow a change of scene for seconds.
const NEW_SHARE: f64 = 0.125;

/// What the layers of a publisher cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// By what was measured last.
    pub now: Layers,
    /// When all of its viewers' layers were chosen by them last.
    followed: Layers,
}

impl Sfu {
    /// Measure the layers of a publisher, if it is time, and let its viewers follow.
    pub(super) fn measure_layers(&mut self, now: Instant, index: u32, egress: &mut Egress<'_>) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let transport = session.id;
        let Role::Publish(publisher) = &mut session.role else { return };
        let Some(due) = publisher.layers_at.filter(|due| *due <= now) else { return };
        publisher.layers_at = Some(now + MEASURE_EVERY);
        let window = MEASURE_EVERY + now.saturating_duration_since(due);
        let mut measured = [Measured::default(); MAX_LAYERS];
        let mut sizes = [Sizes::default(); MAX_LAYERS];
        let mut need_descriptors = [false; MAX_LAYERS];
        let mut watched = [false; MAX_LAYERS];
        let mut shards = Vec::new();
        for (layer, id) in ids_of(transport, MediaKind::Video).enumerate() {
            let Some(at) = self.publication_ids.get(&id).copied() else { continue };
            self.prune_awaiting(at);
            let Some(publication) = publication_mut(&mut self.publications, at) else { continue };
            if let Some(intake) = &mut publication.intake {
                measured[layer] = intake.measure();
                sizes[layer] = intake.sizes;
                need_descriptors[layer] = intake.needs_descriptors();
            }
            let known = shards.len();
            shards.extend(publication.wanting(now));
            watched[layer] = publication.is_watched() || shards.len() > known;
        }
        shards.sort_unstable();
        shards.dedup();
        let known = self.layers.get(&transport).map(|costs| costs.now);
        let mut layers = smoothed(known, &measured, window);
        (layers.sizes, layers.need_descriptors) = (sizes, need_descriptors);
        self.follow_interest(now, index, &mut layers, watched);
        for shard in shards {
            self.relays.push_back((shard, RelayMessage::Layers(transport, Box::new(layers))));
        }
        self.set_layers(now, transport, layers, egress);
    }

    /// Ask the publisher for the layers that somebody takes.
    fn follow_interest(
        &mut self,
        now: Instant,
        index: u32,
        layers: &mut Layers,
        watched: [bool; MAX_LAYERS],
    ) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Publish(publisher) = &mut session.role else { return };
        if publisher.layers() > 1 && publisher.interest.follow(now, layers, watched) {
            self.tell_interest(index);
        }
    }

    /// Somebody wants this layer of a publisher of this shard.
    pub(super) fn want_layer(&mut self, now: Instant, id: PublicationId) {
        let Some(index) = self.session_ids.get(&id.transport).copied() else { return };
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Publish(publisher) = &mut session.role else { return };
        if id.kind == MediaKind::Video && publisher.interest.want(now, id.layer) {
            self.tell_interest(index);
        }
    }

    fn tell_interest(&mut self, index: u32) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Publish(publisher) = &session.role else { return };
        let active = publisher.interest.active().into_iter().take(publisher.layers().into());
        let layers = active.collect();
        self.tell(index, MediaEvent::LayersWanted(layers));
    }

    /// What the layers of a publisher cost now: its viewers on this shard may change.
    pub(super) fn set_layers(
        &mut self,
        now: Instant,
        transport: TransportId,
        layers: Layers,
        egress: &mut Egress<'_>,
    ) {
        let (mut viewers, mut shown) = (Vec::new(), false);
        for id in ids_of(transport, MediaKind::Video) {
            let Some(at) = self.publication_ids.get(&id) else { continue };
            if let Some(publication) = publication_mut(&mut self.publications, *at) {
                let over = layers.whole_bps(id.layer.into()) == 0;
                viewers.extend(publication.subscriptions.iter().map(|slot| (slot.session, over)));
                shown = true;
            }
        }
        if !shown {
            return;
        }
        let known = self.layers.get(&transport).map(|costs| costs.followed);
        let moved = known.is_none_or(|followed| layers.differ(&followed));
        let followed = known.filter(|_| !moved).unwrap_or(layers);
        self.layers.insert(transport, Costs { now: layers, followed });
        for (index, over) in viewers {
            let due = |downlink: &mut Downlink| downlink.choice_is_due(now);
            if moved || over || self.downlink_mut(index).is_some_and(due) {
                self.allocate(now, index, egress);
            }
        }
    }

    /// The layer a slot begins with when it is given this track, and what of the layers inside it.
    pub(super) fn first_choice(
        &mut self,
        now: Instant,
        index: u32,
        slot: usize,
        track: PublicationId,
    ) -> Choice {
        let first = Choice { layer: track.layer, ..Choice::FIRST };
        let costs = self.layers.get(&track.transport);
        let Some(costs) = costs.filter(|_| track.kind == MediaKind::Video) else { return first };
        let layers = costs.now.awake();
        let mut demands = self.demands(index);
        let (watcher, speaker) = (self.watcher(index), self.speaker(index));
        demands.extend(watcher.and_then(|watcher| watcher.demand(slot, layers, None, speaker)));
        divide(&mut demands, self.budget(now, index).map(|budget| budget.beside_sound));
        let own = demands.iter().find(|demand| demand.slot == slot);
        own.map_or(first, |demand| demand.chosen)
    }

    /// Who watches in this session.
    pub(super) fn watcher(&self, index: u32) -> Option<&Watcher> {
        match &self.sessions.get(index as usize)?.as_ref()?.role {
            Role::Watch(watcher) => Some(watcher),
            Role::Publish(_) => None,
        }
    }

    /// All that a viewer's video slots show now.
    fn demands(&self, index: u32) -> Vec<Demand> {
        let Some(watcher) = self.watcher(index) else { return Vec::new() };
        let speaker = self.speaker(index);
        let shown = |(slot, out): (usize, &OutSlot)| {
            let Place::Attached { publication, position } = out.place else { return None };
            let publication = self.publications.get(publication as usize)?.as_ref()?;
            let point = publication.subscriptions.get(position as usize)?.point();
            let PublicationId { transport, kind: MediaKind::Video, layer } = publication.id else {
                return None;
            };
            let layers = self.layers.get(&transport)?.now;
            watcher.demand(slot, layers, Some(Choice { layer, point }), speaker)
        };
        watcher.slots.iter().enumerate().filter_map(shown).collect()
    }

    /// Somebody has the floor: what the viewers of the room get may change with it, when they are looked at next.
    pub(super) fn set_speaker(&mut self, now: Instant, room: RoomKey, seat: Option<Seat>) {
        let Some(stage) = self.stages.get_mut(&room) else { return };
        stage.speaker = seat;
        for index in stage.watchers.clone() {
            self.choose_soon(now, index);
        }
    }

    fn speaker(&self, index: u32) -> Option<Seat> {
        let session = self.sessions.get(index as usize)?.as_ref()?;
        self.stages.get(&session.room)?.speaker
    }

    /// The viewer says how large it shows a seat.
    pub(super) fn prefer_layer(
        &mut self,
        now: Instant,
        id: TransportId,
        seat: Seat,
        size: Option<TileSize>,
        egress: &mut Egress<'_>,
    ) {
        let Some(index) = self.session_ids.get(&id).copied() else { return };
        if let Some(view) = self.view_mut(index, seat) {
            view.tile = size;
            self.allocate(now, index, egress);
        }
    }

    /// The viewer does not show the video of these seats, or shows it again.
    pub(super) fn pause_video(
        &mut self,
        now: Instant,
        id: TransportId,
        seats: &[Seat],
        on: bool,
        egress: &mut Egress<'_>,
    ) {
        let Some(index) = self.session_ids.get(&id).copied() else { return };
        for seat in seats {
            if let Some(view) = self.view_mut(index, *seat) {
                view.paused = on;
            }
        }
        self.fill_slots(now, index, egress);
        self.allocate(now, index, egress);
    }

    fn view_mut(&mut self, index: u32, seat: Seat) -> Option<&mut View> {
        match &mut session_mut(&mut self.sessions, index)?.role {
            Role::Watch(watcher) => watcher.views.get_mut(usize::from(seat.0)),
            Role::Publish(_) => None,
        }
    }

    /// Keep an account of what a viewer's network takes, if it watches any video: sound is never adapted.
    pub(super) fn open_downlink(&mut self, now: Instant, index: u32) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &session.role else { return };
        let video = watcher.slots.iter().any(|slot| slot.track.kind == MediaKind::Video);
        if video && session.downlink.is_none() {
            session.downlink = Some(Box::new(Downlink::new(now, self.config.downlink)));
        }
    }

    pub(super) fn downlink_mut(&mut self, index: u32) -> Option<&mut Downlink> {
        session_mut(&mut self.sessions, index)?.downlink.as_deref_mut()
    }

    /// Send what a probe of a viewer's network is due. One that finds nothing to send is over.
    pub(super) fn send_probe(&mut self, now: Instant, index: u32, egress: &mut Egress<'_>) {
        let Some(bytes) = self.downlink_mut(index).and_then(|downlink| downlink.probe_bytes(now))
        else {
            return;
        };
        // Media may have been all that is due.
        if bytes > 0
            && self.repeat_for_probe(now, index, bytes, egress) == 0
            && let Some(downlink) = self.downlink_mut(index)
        {
            downlink.cancel_probe();
        }
    }

    /// Send so much again of what a viewer was sent; the bytes.
    fn repeat_for_probe(
        &mut self,
        now: Instant,
        index: u32,
        bytes: usize,
        egress: &mut Egress<'_>,
    ) -> usize {
        let Some(session) = session_mut(&mut self.sessions, index) else { return 0 };
        let Role::Watch(watcher) = &session.role else { return 0 };
        let mut video = watcher.slots.iter().filter(|slot| slot.track.wide_id().is_some());
        let place = video.find_map(|slot| match slot.place {
            Place::Attached { publication, position } => Some((publication, position)),
            Place::Parked(_) => None,
        });
        let Some((at, position)) = place.filter(|_| session.transport.may_send(now)) else {
            return 0;
        };
        let Some(publication) = publication_mut(&mut self.publications, at) else { return 0 };
        let Publication { ring, subscriptions, .. } = publication;
        let Some(subscription) = subscriptions.get_mut(position as usize) else { return 0 };
        let Some(mut link) = session.link() else { return 0 };
        subscription.probe(now, bytes, ring, &mut link, egress, &mut self.counters).0
    }

    /// A viewer is shown something else: what it is given has changed.
    pub(super) fn choose_soon(&mut self, now: Instant, index: u32) {
        if let Some(downlink) = self.downlink_mut(index) {
            downlink.choose_soon(now);
        }
    }

    /// Choose a layer for each of a viewer's slots, and let those that change wait for it.
    pub(super) fn allocate(&mut self, now: Instant, index: u32, egress: &mut Egress<'_>) {
        let mut demands = self.demands(index);
        let budget = self.choose_sound(now, index, &mut demands);
        divide(&mut demands, budget);
        let best: u64 = demands.iter().map(|demand| demand.best_bps).sum();
        if self.wake_for_falls(now, index, &mut demands) {
            divide(&mut demands, budget);
        }
        let shown: u64 = demands.iter().map(Demand::present_bps).sum();
        let over = budget.is_some_and(|budget| shown > budget);
        if let Some(downlink) = self.downlink_mut(index) {
            let given: u64 = demands.iter().map(Demand::chosen_bps).sum();
            downlink.set_wanted(now, best + 2 * SOUND_BPS, given, budget.unwrap_or(u64::MAX));
            self.schedule_session(now, index);
        }
        for demand in demands {
            let falls = over && demand.chosen_bps() < demand.present_bps();
            self.aim(now, index, demand.slot, (demand.chosen, falls), egress);
        }
    }

    /// A slot that climbs keeps what it shows until a layer that rests has come. One that must fall cannot wait for it: that is
    /// woken, and the slot takes what there is until then. Whether there is such a slot.
    fn wake_for_falls(&mut self, now: Instant, index: u32, demands: &mut [Demand]) -> bool {
        let mut any = false;
        for demand in demands.iter_mut().filter(|demand| demand.falls_to_rest()) {
            any = true;
            demand.layers = demand.layers.awake();
            let layer = demand.chosen.layer;
            let place = self.slot_mut(index, demand.slot).map(|out| &out.place);
            let Some(&Place::Attached { publication, .. }) = place else { continue };
            let Some(publication) = publication_mut(&mut self.publications, publication) else {
                continue;
            };
            let id = PublicationId { layer, ..publication.id };
            if id.transport.shard() == self.shard {
                self.want_layer(now, id);
            } else {
                self.relays.push_back((id.transport.shard(), RelayMessage::Want(id)));
            }
        }
        any
    }

    /// Let a slot take what was chosen of the track it shows: of the layers inside the stream when that allows it, and
    /// another simulcast layer from its next key frame on.
    fn aim(
        &mut self,
        now: Instant,
        index: u32,
        slot: usize,
        (choice, falls): (Choice, bool),
        egress: &mut Egress<'_>,
    ) {
        let Choice { layer, point } = choice;
        let Some(out) = self.slot_mut(index, slot) else { return };
        let fell = out.aim.take().is_some_and(|aim| aim.falls);
        let Place::Attached { publication: here, position } = out.place else { return };
        let Some(publication) = publication_mut(&mut self.publications, here) else { return };
        let present = publication.id;
        let Some(subscription) = publication.subscriptions.get_mut(position as usize) else {
            return;
        };
        subscription.set_target(point);
        let wants_sharper = subscription.wants_sharper();
        if present.layer == layer {
            // A sharper picture begins with a key frame, in most streams.
            if wants_sharper {
                self.want_key_frame(now, here, egress);
            }
            return;
        }
        let at = self.publication(PublicationId { layer, ..present });
        if let Some(out) = self.slot_mut(index, slot) {
            out.aim = Some(Aim { publication: at, falls });
        }
        if falls
            && !fell
            && let Some(downlink) = self.downlink_mut(index)
        {
            downlink.drain(now);
        }
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let waiting = (index, slot as u8);
        if !publication.awaiting.contains(&waiting) {
            publication.awaiting.push(waiting);
        }
        self.want_from_publisher(now, at);
        // What begins to be sent begins with one.
        let known = self.layers.get(&present.transport);
        let rests = known.and_then(|costs| costs.now.resting.get(usize::from(layer)));
        if rests != Some(&true) {
            self.want_key_frame(now, at, egress);
        }
    }

    /// A key frame of this layer is about to go out: those who wait for it move here.
    pub(super) fn admit_awaiting(&mut self, now: Instant, at: u32) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        for (index, slot) in std::mem::take(&mut publication.awaiting) {
            let slot = usize::from(slot);
            let aim = self.slot_mut(index, slot).and_then(|out| out.aim);
            let Some(aim) = aim.filter(|aim| aim.publication == at) else { continue };
            if aim.falls
                && let Some(downlink) = self.downlink_mut(index)
            {
                downlink.drained(now);
            }
            let Some(subscription) = self.take_subscription(index, slot) else { continue };
            let Some(publication) = publication_mut(&mut self.publications, at) else { return };
            let position = publication.subscriptions.len() as u32;
            publication.subscriptions.push(subscription);
            if let Some(out) = self.slot_mut(index, slot) {
                out.place = Place::Attached { publication: at, position };
            }
            self.choose_soon(now, index);
            self.counters.layer_changes += 1;
        }
    }

    /// Forget those who wait for this layer no longer, and the layer if it was known for their sake only.
    pub(super) fn prune_awaiting(&mut self, at: u32) {
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        let mut awaiting = std::mem::take(&mut publication.awaiting);
        awaiting.retain(|(index, slot)| {
            self.slot_mut(*index, usize::from(*slot))
                .and_then(|out| out.aim)
                .is_some_and(|aim| aim.publication == at)
        });
        let Some(publication) = publication_mut(&mut self.publications, at) else { return };
        publication.awaiting = awaiting;
        self.forget_unwatched(at);
    }
}

impl Watcher {
    /// What a slot can show of a track, and how the viewer shows it.
    fn demand(
        &self,
        slot: usize,
        layers: Layers,
        present: Option<Choice>,
        speaker: Option<Seat>,
    ) -> Option<Demand> {
        let track = &self.slots.get(slot)?.track;
        let seat = track.seat;
        let layers = if track.dependency.is_some() { layers } else { layers.undescribed() };
        let speaks = speaker == Some(seat);
        let tile = self.view(seat).tile;
        let chosen = present.unwrap_or(Choice::FIRST);
        Some(Demand { slot, seat, speaks, tile, layers, present, chosen, best_bps: 0 })
    }
}

/// What layers cost: mostly what they did, and a little of what was measured in `window`; what begins or ends does so at
/// once.
fn smoothed(before: Option<Layers>, measured: &[Measured; MAX_LAYERS], window: Duration) -> Layers {
    let mut layers = Layers::default();
    for (layer, Measured { bytes, shares }) in measured.iter().enumerate() {
        let now = *bytes as f64 * 8.0 / window.as_secs_f64();
        let known = before.map_or(0.0, |before| f64::from(before.whole_bps(layer)));
        let bps = match now {
            now if now >= 1.0 && known > 0.0 => (known + NEW_SHARE * (now - known)).max(1.0),
            now => now,
        };
        layers.bps[layer] = shares.map(|share| (bps * share) as u32);
    }
    layers
}
