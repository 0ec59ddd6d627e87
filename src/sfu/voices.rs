//! Viewers who asked for the loudest voices only: their slots follow [`Loudest`].

use std::sync::Arc;
use std::time::Instant;

use signaling::media::{MediaKind, RoomKey, Seat, TransportId};

use super::egress::Egress;
use super::loudest::{ALL, Changed, Loudest, above_silence};
use super::session::{Role, Session};
use super::slab::{PublicationId, Slab};
use super::stage::Stage;
use super::{Sfu, publication_mut, session_mut};

/// The choice of one room.
#[derive(Debug)]
pub(super) struct Voices {
    room: RoomKey,
    loudest: Loudest,
    /// Publications whose loudness is followed; none of them is forgotten before.
    listened: Vec<u32>,
}

impl Voices {
    fn new(now: Instant, room: RoomKey) -> Self {
        Self { room, loudest: Loudest::new(now), listened: Vec::new() }
    }
}

impl Sfu {
    /// A viewer wants to hear so many, the loudest.
    pub(super) fn prefer_voices(
        &mut self,
        now: Instant,
        id: TransportId,
        top: u8,
        egress: &mut Egress<'_>,
    ) {
        let Some(index) = self.session_ids.get(&id).copied() else { return };
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &mut session.role else { return };
        watcher.top = top.clamp(1, ALL);
        let room = session.room;
        self.settle_voices(now, room, egress);
        self.fill_slots(now, index, egress);
    }

    /// Whether a guest's sound is not among those that a viewer asked for.
    pub(super) fn is_unheard(&self, stage: &Stage, top: u8, seat: Seat) -> bool {
        let voices = || self.voices.get(stage.voices? as usize)?.as_deref();
        top < ALL && voices().is_some_and(|voices| !voices.loudest.takes(top, seat))
    }

    /// A packet of sound comes before it goes out: it may be what makes its seat heard.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        at: u32,
        slab: &Arc<Slab>,
        egress: &mut Egress<'_>,
    ) {
        let publication = self.publications.get(at as usize).and_then(Option::as_ref);
        let Some((voices, seat)) = publication.and_then(|publication| publication.voice) else {
            return;
        };
        let Some(Some(voices)) = self.voices.get_mut(voices as usize) else { return };
        let (room, changed) =
            (voices.room, voices.loudest.hear(now, seat, above_silence(slab.level)));
        self.follow_voices(now, room, changed, egress);
    }

    /// The room's seats or its viewers have changed: choose as long as anybody here asks, from whoever is live.
    pub(super) fn settle_voices(&mut self, now: Instant, room: RoomKey, egress: &mut Egress<'_>) {
        let Some(stage) = self.stages.get_mut(&room) else { return };
        let asks = stage.watchers.iter().any(|index| {
            let session = self.sessions.get(*index as usize).and_then(Option::as_ref);
            matches!(session, Some(Session { role: Role::Watch(watcher), .. }) if watcher.top < ALL)
        });
        if !asks {
            if let Some(index) = stage.voices.take() {
                self.end_voices(index);
            }
            return;
        }
        let index = *stage.voices.get_or_insert_with(|| {
            let free = self.voices.iter().position(Option::is_none);
            let at = free.unwrap_or(self.voices.len());
            self.voices.resize_with(self.voices.len().max(at + 1), || None);
            self.voices[at] = Some(Box::new(Voices::new(now, room)));
            at as u32
        });
        let live: Vec<(Seat, TransportId)> = stage.live_guests().collect();
        self.listen(now, index, &live);
        let Some(Some(voices)) = self.voices.get_mut(index as usize) else { return };
        let changed = voices.loudest.set_live(now, live.iter().map(|(seat, _)| *seat));
        self.follow_voices(now, room, changed, egress);
    }

    /// Nobody of the room asks any more.
    pub(super) fn end_voices(&mut self, index: u32) {
        let Some(voices) = self.voices.get_mut(index as usize).and_then(Option::take) else {
            return;
        };
        for at in voices.listened {
            self.forget_voice(at);
        }
    }

    /// Follow the sound of these publishers, though nobody may be sent it, and of no others.
    fn listen(&mut self, now: Instant, index: u32, live: &[(Seat, TransportId)]) {
        let mut listened = Vec::with_capacity(live.len());
        for (seat, transport) in live {
            let at = self.publication(PublicationId::track(*transport, MediaKind::Audio));
            if let Some(publication) = publication_mut(&mut self.publications, at)
                && publication.voice.replace((index, *seat)).is_none()
            {
                self.want_from_publisher(now, at);
            }
            listened.push(at);
        }
        let Some(Some(voices)) = self.voices.get_mut(index as usize) else { return };
        let before = std::mem::replace(&mut voices.listened, listened.clone());
        for at in before.into_iter().filter(|at| !listened.contains(at)) {
            self.forget_voice(at);
        }
    }

    fn forget_voice(&mut self, at: u32) {
        if let Some(publication) = publication_mut(&mut self.publications, at) {
            publication.voice = None;
            self.forget_unwatched(at);
        }
    }

    fn follow_voices(
        &mut self,
        now: Instant,
        room: RoomKey,
        changed: Changed,
        egress: &mut Egress<'_>,
    ) {
        if changed.is_empty() {
            return;
        }
        let watchers = self.stages.get(&room).map(|stage| stage.watchers.clone());
        for index in watchers.unwrap_or_default() {
            let Some(session) = session_mut(&mut self.sessions, index) else { continue };
            let Role::Watch(watcher) = &session.role else { continue };
            let top = watcher.top;
            let concerned = watcher.slots.iter().enumerate().filter(|(_, slot)| {
                let sound = slot.track.kind == MediaKind::Audio;
                sound && changed.concerns(top, slot.track.seat)
            });
            let concerned: Vec<usize> = concerned.map(|(slot, _)| slot).collect();
            for slot in concerned {
                self.fill_slot(now, index, slot, egress);
            }
        }
    }
}
