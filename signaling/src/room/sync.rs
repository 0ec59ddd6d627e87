//! What people receive, as a function of the room's state: compared with what was last applied,
//! and the difference sent. Gates close first, then slots change, then people are told.

use std::collections::BTreeMap;

use crate::media::{Audience, Seat, TransportId};
use crate::protocol::{
    Event, GuestSeats, GuestState, InvitedEntry, Kind, QueueEntry, RoomState, SeatDetail,
    SeatState, SeatView, UserId, YourGuest,
};
use crate::stage::{Attempt, Kinds, StageCommand};

use super::{Effect, MediaAsk, Room};

/// What was last sent.
#[derive(Debug, Default)]
pub(super) struct Applied {
    slots: BTreeMap<u8, (Option<TransportId>, Audience)>,
    views: BTreeMap<u8, SeatView>,
    /// People whose watch transports are more than a viewer's: sees backstage, own seat.
    privileges: BTreeMap<UserId, (bool, Option<Seat>)>,
    yours: BTreeMap<UserId, YourGuest>,
    details: Vec<SeatDetail>,
    /// Who has the floor, and all who speak.
    speaker: Option<u8>,
    pub(super) speaking: Vec<u8>,
    queue: (Vec<QueueEntry>, Vec<InvitedEntry>),
}

impl Applied {
    /// Whether this person sees backstage, and which seat is their own.
    pub(super) fn privilege(&self, user: &UserId) -> (bool, Option<Seat>) {
        self.privileges.get(user).copied().unwrap_or((false, None))
    }
}

impl Room {
    pub(super) fn sync(&mut self) {
        self.sync_sockets();
        self.sync_gates();
        self.sync_slots();
        self.sync_privileges();
        self.sync_views();
        self.sync_floor();
        self.sync_yours();
        self.sync_details();
        self.sync_kept();
    }

    /// A guest whose media came up after the WebSocket had gone has only so long as well.
    fn sync_sockets(&mut self) {
        let alone = |a: &&Attempt| {
            matches!(a.state, GuestState::Backstage | GuestState::Live)
                && a.socket_timer.is_none()
                && !self.people.contains_key(&a.user)
        };
        let seated = self.stage.seated();
        let alone: Vec<UserId> = seated.into_iter().filter(alone).map(|a| a.user.clone()).collect();
        for user in alone {
            self.stage_do(StageCommand::SocketLost { user });
        }
    }

    fn sync_gates(&mut self) {
        let muted: Vec<_> =
            self.publishers.iter().map(|(t, p)| (*t, self.muted(&p.user))).collect();
        for (transport, muted) in muted {
            let Some(publisher) = self.publishers.get_mut(&transport) else { continue };
            for kind in [Kind::Audio, Kind::Video] {
                let open = !muted.has(kind);
                if open == publisher.open.has(kind) {
                    continue;
                }
                match kind {
                    Kind::Audio => publisher.open.audio = open,
                    Kind::Video => publisher.open.video = open,
                }
                let kind = kind.into();
                self.out.push(Effect::Media(MediaAsk::SetGate { transport, kind, open }));
            }
        }
    }

    /// What every slot should show, and to whom.
    fn wanted_slots(&self) -> BTreeMap<u8, (Option<TransportId>, Audience)> {
        let mut slots = BTreeMap::new();
        if let Some(transport) = self.host_publisher {
            let audience = match self.life.state {
                RoomState::Preview => Audience::Backstage,
                RoomState::Live => Audience::Everyone,
                _ => Audience::Nobody,
            };
            slots.insert(Seat::HOST.0, (Some(transport), audience));
            if self.publishers.get(&transport).is_some_and(|p| p.screen) {
                slots.insert(Seat::SCREEN.0, (Some(transport), audience));
            }
        }
        for attempt in self.stage.seated() {
            let Some(seat) = attempt.seat else { continue };
            let source = self.published_by_user(&attempt.user).first().copied();
            let audience = match attempt.state {
                GuestState::Live if !self.life.pause_guests => Audience::Everyone,
                GuestState::Backstage => Audience::Backstage,
                _ => Audience::Nobody,
            };
            slots.insert(seat, (source, audience));
        }
        slots
    }

    fn sync_slots(&mut self) {
        let wanted = self.wanted_slots();
        if wanted == self.applied.slots {
            return;
        }
        let empty = (None, Audience::Nobody);
        // What goes away goes first: nobody is seen in a slot a moment too long.
        let mut changes: Vec<(u8, (Option<TransportId>, Audience))> = Vec::new();
        for (seat, before) in &self.applied.slots {
            if !wanted.contains_key(seat) && *before != empty {
                changes.push((*seat, empty));
            }
        }
        for (seat, now) in &wanted {
            if self.applied.slots.get(seat).unwrap_or(&empty) != now {
                changes.push((*seat, *now));
            }
        }
        changes.sort_by_key(|(_, (_, audience))| match audience {
            Audience::Nobody => 0,
            Audience::Backstage => 1,
            Audience::Everyone => 2,
        });
        for (seat, (source, audience)) in changes {
            let seat = Seat(seat);
            self.out.push(Effect::Media(MediaAsk::SetSeat { seat, source, audience }));
        }
        self.applied.slots = wanted;
    }

    fn sync_privileges(&mut self) {
        let mut wanted: BTreeMap<UserId, (bool, Option<Seat>)> =
            self.staff.iter().map(|user| (user.clone(), (true, None))).collect();
        wanted.insert(self.host.user.clone(), (true, Some(Seat::HOST)));
        for attempt in self.stage.seated() {
            wanted.insert(attempt.user.clone(), (true, attempt.seat.map(Seat)));
        }
        if wanted == self.applied.privileges {
            return;
        }
        let before = std::mem::replace(&mut self.applied.privileges, wanted.clone());
        let users: Vec<UserId> = before.keys().chain(wanted.keys()).cloned().collect();
        let none = (false, None);
        let mut told: Option<UserId> = None;
        for user in users {
            let now = *wanted.get(&user).unwrap_or(&none);
            if before.get(&user).unwrap_or(&none) == &now || told.as_ref() == Some(&user) {
                continue;
            }
            for conn in self.conns_of(&user) {
                let watch = self.conns.get(&conn).and_then(|c| c.watch);
                let Some(transport) = watch else { continue };
                let (backstage, own_seat) = now;
                let ask = MediaAsk::SetViewer { transport, backstage, own_seat };
                self.out.push(Effect::Media(ask));
            }
            told = Some(user);
        }
    }

    /// Every seat that exists, as viewers see it.
    pub(super) fn seat_views(&self) -> Vec<SeatView> {
        let mut views = vec![self.host_view()];
        let seated = self.stage.seated();
        for seat in 1..=self.stage.policy().seats {
            let guest = seated.iter().find(|a| a.seat == Some(seat));
            views.push(match guest {
                None => empty_seat(seat),
                Some(attempt) => self.guest_view(seat, attempt),
            });
        }
        views
    }

    fn host_view(&self) -> SeatView {
        let state = match self.life.state {
            RoomState::Live if self.host_sends() => SeatState::Live,
            RoomState::Live | RoomState::Paused => SeatState::Reconnecting,
            RoomState::Preview if self.host_publisher.is_some() => SeatState::Reserved,
            _ => SeatState::Empty,
        };
        let (user, name) = (Some(self.host.user.clone()), Some(self.host.name.clone()));
        let view = SeatView { user, name, state, ..empty_seat(0) };
        self.heard_and_seen(view, &self.host.user, state == SeatState::Live)
    }

    fn guest_view(&self, seat: u8, attempt: &Attempt) -> SeatView {
        let state = match attempt.state {
            GuestState::Live => SeatState::Live,
            // A guest who was on air keeps the tile; one who was backstage never had it.
            _ if attempt.resume_to == Some(GuestState::Live) => SeatState::Reconnecting,
            _ => SeatState::Reserved,
        };
        if state == SeatState::Reserved {
            return SeatView { state, ..empty_seat(seat) };
        }
        let on_air = state == SeatState::Live && !self.life.pause_guests;
        let (user, name) = (Some(attempt.user.clone()), Some(self.name(&attempt.user)));
        let view = SeatView { user, name, state, ..empty_seat(seat) };
        self.heard_and_seen(view, &attempt.user, on_air)
    }

    fn heard_and_seen(&self, view: SeatView, user: &UserId, on_air: bool) -> SeatView {
        let sends = self.publishers.values().find(|p| p.user == *user && !p.lost);
        let Some(publisher) = sends.filter(|_| on_air) else { return view };
        let Kinds { audio, video } = publisher.announced.without(self.muted(user));
        SeatView { audio, video, repair_ms: publisher.repair_ms, ..view }
    }

    fn sync_views(&mut self) {
        let mut changed = Vec::new();
        let views = self.seat_views();
        for view in &views {
            let before = self.applied.views.get(&view.seat);
            let known = before.map_or_else(|| *view == empty_seat(view.seat), |b| b == view);
            if !known {
                changed.push(view.clone());
            }
        }
        // A seat that the policy took away.
        let gone = self.applied.views.values().filter(|v| usize::from(v.seat) >= views.len());
        changed.extend(gone.filter(|v| v.state != SeatState::Empty).map(|v| empty_seat(v.seat)));
        if changed.is_empty() {
            return;
        }
        self.applied.views = views.into_iter().map(|view| (view.seat, view)).collect();
        for view in changed {
            self.tell_all(Event::SeatUpdated(view));
        }
    }

    /// Only who is heard by everybody has a say in who speaks.
    fn sync_floor(&mut self) {
        let views = &self.applied.views;
        self.floor.settle(self.now, |seat| views.get(&seat).is_some_and(|view| view.audio));
        let speaker = self.floor.holder();
        if speaker != self.applied.speaker {
            self.applied.speaker = speaker;
            self.out.push(Effect::Media(MediaAsk::SetSpeaker { seat: speaker.map(Seat) }));
        }
        let speaking = self.floor.speaking();
        if speaking != self.applied.speaking {
            self.applied.speaking = speaking;
            self.pulse.counters = true;
        }
    }

    /// The seat whose sound and picture a publish transport is.
    pub(super) fn seat_of(&self, transport: TransportId) -> Option<u8> {
        let mut slots = self.applied.slots.iter();
        slots.find(|(_, (source, _))| *source == Some(transport)).map(|(seat, _)| *seat)
    }

    pub(super) fn your_guest(attempt: &Attempt) -> YourGuest {
        YourGuest {
            guest_id: attempt.id.clone(),
            state: attempt.state,
            seat: attempt.seat,
            media: attempt.media,
            self_muted: attempt.self_muted.list(),
            locked: attempt.locked.list(),
            expires_at: attempt.timer.filter(|_| !attempt.is_seated()),
        }
    }

    fn sync_yours(&mut self) {
        let now: BTreeMap<UserId, YourGuest> =
            self.stage.attempts().map(|a| (a.user.clone(), Self::your_guest(a))).collect();
        if now == self.applied.yours {
            return;
        }
        let before = std::mem::replace(&mut self.applied.yours, now);
        let now = &self.applied.yours;
        let mut changed: Vec<UserId> =
            now.iter().filter(|(u, y)| before.get(*u) != Some(y)).map(|(u, _)| u.clone()).collect();
        changed.extend(before.keys().filter(|user| !now.contains_key(*user)).cloned());
        self.pulse.members = true;
        for user in changed {
            self.tell_you(&user);
        }
    }

    pub(super) fn seat_details(&self) -> Vec<SeatDetail> {
        let detail = |a: &&Attempt| SeatDetail {
            seat: a.seat.unwrap_or(0),
            guest_id: a.id.clone(),
            user: a.user.clone(),
            name: self.name(&a.user),
            state: a.state,
            self_muted: a.self_muted.list(),
            locked: a.locked.list(),
        };
        self.stage.seated().iter().map(detail).collect()
    }

    pub(super) fn queue(&self) -> (Vec<QueueEntry>, Vec<InvitedEntry>) {
        let score = |user: &UserId| self.scores.get(user).copied().unwrap_or(0);
        let name = |user: &UserId| self.name(user);
        (self.stage.queue(score, name), self.stage.invited(name))
    }

    fn sync_details(&mut self) {
        let seats = self.seat_details();
        if seats != self.applied.details {
            self.applied.details = seats.clone();
            let mut conns = self.staff_conns();
            for seat in &seats {
                if !self.staff.contains(&seat.user) {
                    conns.extend(self.conns_of(&seat.user));
                }
            }
            self.tell_conns(conns, Event::GuestSeats(GuestSeats { seats }));
        }
        let queue = self.queue();
        if queue != self.applied.queue {
            self.applied.queue = queue;
            self.pulse.queue = true;
        }
    }
}

pub(super) const fn empty_seat(seat: u8) -> SeatView {
    let state = SeatState::Empty;
    SeatView { seat, user: None, name: None, state, audio: false, video: false, repair_ms: 0 }
}

#[cfg(test)]
impl Room {
    pub(super) fn wanted_audience(&self, seat: u8) -> Option<Audience> {
        self.wanted_slots().get(&seat).map(|slot| slot.1)
    }
}
