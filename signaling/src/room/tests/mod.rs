mod gifts;
mod guests;
mod restart;
mod show;
mod speakers;
mod views;

use super::*;
use crate::economy::GiftReceipt;
use crate::media::{Audience, MediaKind, Seat};
use crate::protocol::{
    Event, Joined, Name, Perm, Reply, RoomJoin, RoomState, SeatState, TokenRole, TransportRef,
};

pub(super) const T0: u64 = 1_700_000_000_000;
pub(super) const OFFER: &str = "v=0\r\nm=audio 9\r\nm=video 9\r\n";

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).expect("valid")
}

pub(super) fn identity(name: &str, role: TokenRole, perms: &[Perm]) -> Identity {
    Identity { user: user(name), name: Name::clean(name), role, perms: perms.to_vec(), adult: true }
}

/// A room under test: a clock, connections by number, everything it said.
pub(super) struct Show {
    pub(super) room: Room,
    pub(super) now: u64,
    pub(super) effects: Vec<Effect>,
    /// What a store would hold by now.
    pub(super) kept: WasOn,
    /// `audioTop` of whoever joins.
    pub(super) audio_top: Option<u8>,
    next_transport: u64,
    next_id: u32,
}

impl Show {
    pub(super) fn new() -> Self {
        let host = Person { user: user("host"), name: Name::clean("Maria") };
        let room = Room::new(T0, RoomInit::new(RoomId::new("r").expect("valid"), host, [7; 32]));
        let kept = WasOn { started_at: T0, ..WasOn::default() };
        Self {
            room,
            now: T0,
            effects: Vec::new(),
            kept,
            audio_top: None,
            next_transport: 1,
            next_id: 1,
        }
    }

    /// The server stops and starts `ms` later.
    pub(super) fn restart(&mut self, ms: u64) {
        self.now += ms;
        let host = Person { user: user("host"), name: Name::clean("id only") };
        let init = RoomInit::new(RoomId::new("r").expect("valid"), host, [8; 32]);
        self.room = Room::new(self.now, init);
        self.room.bring_back(&self.kept);
        self.step(Input::Timer);
    }

    fn keep(&mut self) {
        for effect in &self.effects {
            match effect {
                Effect::Store(StoreWrite::Settings { settings, .. }) => {
                    self.kept.settings.clone_from(settings);
                }
                Effect::Store(StoreWrite::Attempt { guest, user, record, .. }) => {
                    self.kept.guests.retain(|(id, ..)| id != guest);
                    self.kept.guests.push((guest.clone(), user.clone(), record.clone()));
                }
                Effect::Store(StoreWrite::GuestEnded { guest, .. }) => {
                    self.kept.guests.retain(|(id, ..)| id != guest);
                }
                _ => {}
            }
        }
    }

    /// On air, with the host on connection 1 and its transports 1 (watch) and 2 (publish).
    pub(super) fn live() -> Self {
        let mut show = Self::new();
        show.join(1, "host", TokenRole::Host, &[]).expect("host joins");
        let publish = show.offer(1).expect("host publishes");
        show.media(publish, MediaEvent::Connected);
        show.media(publish, MediaEvent::MediaReady(MediaKind::Audio));
        show.media(publish, MediaEvent::MediaReady(MediaKind::Video));
        show.ask(1, "room.start", "{}").expect("starts");
        assert_eq!(show.room.life.state, RoomState::Live);
        show
    }

    pub(super) fn step(&mut self, input: Input) {
        self.effects.clear();
        self.room.step(self.now, input, &mut self.effects);
        self.keep();
    }

    /// Let time pass, as the shell does: one timer after the other.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now + ms;
        let mut all = Vec::new();
        for _ in 0..10_000 {
            match self.room.next_deadline() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.step(Input::Timer);
                    all.append(&mut self.effects);
                }
                _ => {
                    self.now = end;
                    return all;
                }
            }
        }
        panic!("the room wakes up again and again");
    }

    pub(super) fn join(
        &mut self,
        conn: u64,
        name: &str,
        role: TokenRole,
        perms: &[Perm],
    ) -> Result<Joined, Code> {
        self.join_as(conn, identity(name, role, perms), None, Carrier::WebSocket)
    }

    pub(super) fn join_as(
        &mut self,
        conn: u64,
        who: Identity,
        resume: Option<String>,
        carrier: Carrier,
    ) -> Result<Joined, Code> {
        self.join_replacing(conn, who, resume, carrier, None)
    }

    pub(super) fn join_replacing(
        &mut self,
        conn: u64,
        who: Identity,
        resume: Option<String>,
        carrier: Carrier,
        replaces: Option<TransportId>,
    ) -> Result<Joined, Code> {
        let watch = carrier == Carrier::WebSocket;
        let transport = watch.then(|| self.transport());
        let room = RoomId::new("r").expect("valid");
        let replaces = replaces.map(TransportRef);
        let join = RoomJoin {
            room,
            max_seats: None,
            audio_top: self.audio_top,
            dc: true,
            media: watch,
            resume,
            replaces,
        };
        self.step(Input::Join { conn: ConnId(conn), id: 0, who, join, carrier, transport });
        self.effects
            .iter()
            .find_map(|effect| match effect {
                Effect::Ask { then: Then::Join(joined), .. } => Some(Ok((**joined).clone())),
                Effect::Reply { result: Ok(Answer::Joined(joined)), .. } => {
                    Some(Ok((**joined).clone()))
                }
                Effect::Reply { result: Err(refusal), .. } => Some(Err(refusal.code)),
                _ => None,
            })
            .expect("a reply")
    }

    pub(super) fn viewer(&mut self, conn: u64, name: &str) -> Joined {
        let joined = self.join(conn, name, TokenRole::Viewer, &[]).expect("viewer joins");
        self.ask(conn, "rules.accept", r#"{"version":"1"}"#).expect("rules");
        joined
    }

    fn transport(&mut self) -> TransportId {
        self.next_transport += 1;
        TransportId(self.next_transport)
    }

    pub(super) fn media(&mut self, transport: TransportId, event: MediaEvent) {
        self.step(Input::Media { transport, event });
    }

    /// Publish; the transport made.
    pub(super) fn offer(&mut self, conn: u64) -> Result<TransportId, Code> {
        let transport = self.transport();
        self.next_id += 1;
        let command = Command::MediaOffer(crate::protocol::MediaOffer { sdp: OFFER.into() });
        let (conn, id) = (ConnId(conn), self.next_id);
        self.step(Input::Command { conn, id, command, transport: Some(transport) });
        let asked = self.effects.iter().find_map(|effect| match effect {
            Effect::Ask { ask: MediaAsk::OpenPublish { .. }, .. } => Some(Ok(transport)),
            Effect::Reply { result: Err(refusal), .. } => Some(Err(refusal.code)),
            _ => None,
        });
        asked.expect("a reply")
    }

    /// A command as JSON; the reply's data as JSON.
    pub(super) fn ask(
        &mut self,
        conn: u64,
        kind: &str,
        data: &str,
    ) -> Result<serde_json::Value, Code> {
        let command = Command::parse(kind, data).map_err(|refusal| refusal.code)?;
        self.next_id += 1;
        let id = self.next_id;
        self.step(Input::Command { conn: ConnId(conn), id, command, transport: None });
        let reply = self.effects.iter().find_map(|effect| match effect {
            Effect::Reply { to, result } if to.id == id => Some(result.clone()),
            _ => None,
        });
        match reply.unwrap_or(Ok(Answer::EMPTY)) {
            Ok(answer) => {
                let text = Reply::new(id, Ok(answer)).to_json();
                let reply: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                Ok(reply["data"].clone())
            }
            Err(refusal) => Err(refusal.code),
        }
    }

    /// Invite, accept, publish, picture; the publish transport.
    pub(super) fn guest(&mut self, conn: u64, name: &str) -> (String, TransportId) {
        let (id, _, transport) = self.guest_with_token(conn, name);
        (id, transport)
    }

    /// The same, with the token to resume by.
    pub(super) fn guest_with_token(
        &mut self,
        conn: u64,
        name: &str,
    ) -> (String, String, TransportId) {
        let id = self.invited(name);
        let granted = self.accepted(conn, &id);
        let token = granted["resumeToken"].as_str().expect("a token").to_owned();
        let transport = self.offer(conn).expect("guest publishes");
        self.arrive(transport);
        self.pass(3_000);
        (id, token, transport)
    }

    pub(super) fn invited(&mut self, name: &str) -> String {
        let data = format!(r#"{{"user":"{name}"}}"#);
        let reply = self.ask(1, "guest.invite", &data).expect("invited");
        reply["guestId"].as_str().expect("an id").to_owned()
    }

    pub(super) fn accepted(&mut self, conn: u64, id: &str) -> serde_json::Value {
        let data = format!(r#"{{"guestId":"{id}","media":"av"}}"#);
        self.ask(conn, "guest.accept", &data).expect("accepted")
    }

    pub(super) fn arrive(&mut self, transport: TransportId) {
        self.media(transport, MediaEvent::Connected);
        self.media(transport, MediaEvent::MediaReady(MediaKind::Audio));
        self.media(transport, MediaEvent::MediaReady(MediaKind::Video));
    }

    pub(super) fn events(&self) -> Vec<&Event> {
        events(&self.effects)
    }

    pub(super) fn seat(&self, seat: u8) -> SeatState {
        self.room.seat_views()[usize::from(seat)].state
    }

    pub(super) fn slots(&self) -> Vec<(Seat, Option<TransportId>, Audience)> {
        slots(&self.effects)
    }
}

pub(super) fn events(effects: &[Effect]) -> Vec<&Event> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Event { event, .. } => Some(&event.event),
            _ => None,
        })
        .collect()
}

pub(super) fn slots(effects: &[Effect]) -> Vec<(Seat, Option<TransportId>, Audience)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Media(MediaAsk::SetSeat { seat, source, audience }) => {
                Some((*seat, *source, *audience))
            }
            _ => None,
        })
        .collect()
}

/// Where the first effect that fits stands.
pub(super) fn at(effects: &[Effect], fits: impl Fn(&Effect) -> bool) -> usize {
    effects.iter().position(fits).expect("the effect is there")
}
