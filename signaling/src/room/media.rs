//! Transports: who may publish, what arrives, what is lost.

use crate::media::{Channel, MediaEvent, MediaKind, Seat, TransportId};
use crate::protocol::{
    Answer, ByeReason, Code, Event, Grown, GuestMedia, GuestState, Kind, MediaAnswerData,
    MediaRestart, PublishLayers, Refusal, TransportRef, UserId,
};
use crate::stage::{Kinds, StageCommand};

use super::{Carrier, Conn, ConnId, Effect, MediaAsk, ReplyTo, Room, Then};

/// A silent host is lost after this long, a silent guest after the second figure. Trade: shorter
/// would take every handover between radio cells for a loss.
const HOST_LOST_MS: u32 = 3_000;
const GUEST_LOST_MS: u32 = 5_000;

/// A publish transport.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) conn: ConnId,
    pub(super) user: UserId,
    /// What its offer announces; once that is answered, what of it was accepted.
    pub(super) announced: Kinds,
    /// It announces a second video: the screen.
    pub(super) screen: bool,
    connected: bool,
    ready: Kinds,
    pub(super) lost: bool,
    /// Gates as last applied.
    pub(super) open: Kinds,
    /// Which layers of its video are to be sent, once that was told.
    layers: Option<Vec<bool>>,
    /// How late what is lost on its way here goes on, ms.
    pub(super) repair_ms: u16,
}

impl Publisher {
    fn new(conn: ConnId, user: UserId, sdp: &str) -> Self {
        let sections = |kind: &str| sdp.lines().filter(|line| line.starts_with(kind)).count();
        let video = sections("m=video");
        Self {
            conn,
            user,
            announced: Kinds { audio: sections("m=audio") > 0, video: video > 0 },
            screen: video > 1,
            connected: false,
            ready: Kinds::default(),
            lost: false,
            open: Kinds::ALL,
            layers: None,
            repair_ms: 0,
        }
    }

    /// Everything that is to come has come; a kind that is muted does not come.
    fn complete(&self, muted: Kinds) -> bool {
        let wanted = self.announced.without(muted);
        let missing = wanted.without(self.ready);
        missing == Kinds::default() && (self.connected || self.ready != Kinds::default())
    }
}

impl Room {
    pub(super) fn media_offer(
        &mut self,
        to: ReplyTo,
        user: &UserId,
        sdp: String,
        transport: Option<TransportId>,
    ) -> Vec<Effect> {
        let Some(transport) = transport else {
            return vec![Effect::Reply { to, result: Err(Refusal::overloaded()) }];
        };
        let carrier = self.conns.get(&to.conn).map(|conn| conn.carrier);
        if let Some(Carrier::Whep { seat }) = carrier {
            return self.watch_one(to, transport, sdp, Seat(seat));
        }
        let publisher = Publisher::new(to.conn, user.clone(), &sdp);
        let allowed = if publisher.announced == Kinds::default() {
            Err(Code::SdpInvalid.into())
        } else if self.is_host(user) {
            self.host_offers(to.conn)
        } else {
            self.guest_offers(to.conn, user)
        };
        if let Err(refusal) = allowed {
            return vec![Effect::Reply { to, result: Err(refusal) }];
        }
        self.publishers.insert(transport, publisher);
        let host = self.is_host(user);
        if host {
            self.host_publisher = Some(transport);
            // A tool that publishes has no start button.
            self.life.wanted |= carrier == Some(Carrier::Whip);
        }
        let lost_after_ms = if host { HOST_LOST_MS } else { GUEST_LOST_MS };
        let foreign = carrier == Some(Carrier::Whip);
        let ask = MediaAsk::OpenPublish { transport, sdp, lost_after_ms, foreign };
        // Asked before `sync` closes the gates of what is muted.
        self.out.push(Effect::Ask { ask, to, then: Then::Session });
        Vec::new()
    }

    fn watch_one(
        &mut self,
        to: ReplyTo,
        transport: TransportId,
        sdp: String,
        seat: Seat,
    ) -> Vec<Effect> {
        let Some(conn) = self.conns.get_mut(&to.conn).filter(|conn| conn.watch.is_none()) else {
            return vec![Effect::Reply { to, result: Err(Code::Conflict.into()) }];
        };
        conn.watch = Some(transport);
        self.watchers.insert(transport, to.conn);
        let ask = MediaAsk::OpenWhep { transport, sdp, seat };
        vec![Effect::Ask { ask, to, then: Then::Session }]
    }

    /// One host publisher at a time: a second is refused while the first one sends, and takes over
    /// when the first is lost or its connection is gone.
    fn host_offers(&mut self, conn: ConnId) -> Result<(), Refusal> {
        let Some(old) = self.host_publisher else { return Ok(()) };
        let Some(publisher) = self.publishers.get(&old) else { return Ok(()) };
        let (old_conn, lost) = (publisher.conn, publisher.lost);
        let gone = !self.conns.contains_key(&old_conn);
        if old_conn != conn && !lost && !gone {
            return Err(Refusal::new(Code::Conflict).because("The host is publishing already."));
        }
        self.drop_publisher(old);
        if old_conn != conn && !gone {
            self.left(old_conn);
            self.out.push(Effect::CloseConn { conn: old_conn, reason: ByeReason::Replaced });
        }
        Ok(())
    }

    fn guest_offers(&mut self, conn: ConnId, user: &UserId) -> Result<(), Refusal> {
        let Some(attempt) = self.stage.attempt_of(user).filter(|a| a.is_seated()) else {
            return Err(Code::PublishNotGranted.into());
        };
        let first = attempt.state == GuestState::Connecting && !attempt.ready;
        let id = attempt.id.clone();
        let old = self.published_by_user(user);
        let other = old.iter().find_map(|t| self.publishers.get(t).map(|p| p.conn));
        let other = other.filter(|other| *other != conn);
        for transport in old {
            self.drop_publisher(transport);
        }
        if !first || other.is_some() {
            let next = self.tokens.next_hash(&id);
            self.stage_try(StageCommand::TakeOver { user: user.clone(), next })?;
            self.tokens.rotate(&id);
            self.tell_granted(user, Some(conn));
        }
        if let Some(other) = other.filter(|other| self.conns.contains_key(other)) {
            self.left(other);
            self.out.push(Effect::CloseConn { conn: other, reason: ByeReason::Replaced });
        }
        Ok(())
    }

    /// The publish transport of a person now belongs to this connection.
    pub(super) fn adopt(&mut self, user: &UserId, conn: ConnId) {
        for publisher in self.publishers.values_mut().filter(|p| p.user == *user) {
            publisher.conn = conn;
        }
    }

    pub(super) fn published_by(&self, conn: ConnId) -> Vec<TransportId> {
        self.publishers.iter().filter(|(_, p)| p.conn == conn).map(|(t, _)| *t).collect()
    }

    pub(super) fn published_by_user(&self, user: &UserId) -> Vec<TransportId> {
        self.publishers.iter().filter(|(_, p)| p.user == *user).map(|(t, _)| *t).collect()
    }

    /// Forget and close a publish transport whose loss means nothing.
    pub(super) fn drop_publisher(&mut self, transport: TransportId) {
        if self.publishers.remove(&transport).is_some() {
            if self.host_publisher == Some(transport) {
                self.host_publisher = None;
            }
            self.close(transport);
        }
    }

    /// At least one track of the host arrives.
    pub(super) fn host_sends(&self) -> bool {
        let publisher = self.host_publisher.and_then(|t| self.publishers.get(&t));
        publisher.is_some_and(|p| !p.lost && p.ready != Kinds::default())
    }

    /// What is not to be forwarded of this publisher.
    pub(super) fn muted(&self, user: &UserId) -> Kinds {
        if self.is_host(user) {
            return self.life.host_muted;
        }
        let Some(attempt) = self.stage.attempt_of(user) else { return Kinds::ALL };
        let video = attempt.media == GuestMedia::Audio;
        attempt.muted().or(Kinds { audio: false, video })
    }

    pub(super) fn media_event(&mut self, transport: TransportId, event: &MediaEvent) {
        match *event {
            MediaEvent::DataOpen(channel) => self.channel(transport, channel, true),
            MediaEvent::DataOverflow(channel) => self.overflow(transport, channel),
            MediaEvent::Closed(_) => self.transport_gone(transport),
            MediaEvent::Data(..) => {}
            MediaEvent::Connected => self.arrived(transport, |p| p.connected = true),
            MediaEvent::MediaReady(MediaKind::Audio) => {
                self.arrived(transport, |p| p.ready.audio = true);
            }
            MediaEvent::MediaReady(MediaKind::Video) => {
                self.arrived(transport, |p| p.ready.video = true);
            }
            MediaEvent::Lost => {
                let Some(publisher) = self.publishers.get_mut(&transport) else { return };
                publisher.lost = true;
                let user = publisher.user.clone();
                self.publisher_lost(&user);
            }
            MediaEvent::LayersWanted(ref layers) => {
                let Some(publisher) = self.publishers.get_mut(&transport) else { return };
                publisher.layers = Some(layers.clone());
                self.tell_layers(transport);
            }
            MediaEvent::RepairsTake(ms) => {
                if let Some(publisher) = self.publishers.get_mut(&transport) {
                    publisher.repair_ms = ms;
                }
            }
            MediaEvent::Loudness(level) => {
                if let Some(seat) = self.seat_of(transport) {
                    self.floor.hear(self.now, seat, level);
                }
            }
            MediaEvent::Back => {
                self.arrived(transport, |p| p.lost = false);
            }
        }
    }

    /// Tell a page which layers of its video to send: all pages of its person, as the one that sends may have a new
    /// connection. A tool that publishes by WHIP has no ear for it.
    fn tell_layers(&mut self, transport: TransportId) {
        let Some(publisher) = self.publishers.get(&transport) else { return };
        let tool = self.conns.get(&publisher.conn).is_some_and(|c| c.carrier == Carrier::Whip);
        let (user, layers) = (publisher.user.clone(), publisher.layers.clone());
        if let Some(layers) = layers.filter(|_| !tool) {
            let transport = TransportRef(transport);
            self.tell_user(&user, Event::PublishLayers(PublishLayers { transport, layers }));
        }
    }

    /// What was told while somebody had no connection did not arrive.
    pub(super) fn tell_layers_again(&mut self, user: &UserId) {
        for transport in self.published_by_user(user) {
            self.tell_layers(transport);
        }
    }

    /// Only what was accepted is waited for.
    pub(super) fn media_accepted(&mut self, transport: TransportId, sends: Kinds) {
        self.arrived(transport, |p| {
            p.announced = sends;
            p.screen &= sends.video;
        });
    }

    fn arrived(&mut self, transport: TransportId, mark: impl FnOnce(&mut Publisher)) {
        let Some(publisher) = self.publishers.get_mut(&transport) else { return };
        mark(publisher);
        let user = publisher.user.clone();
        self.check_ready(&user);
    }

    /// Tell host or stage if everything that is to come has come.
    pub(super) fn check_ready(&mut self, user: &UserId) {
        if self.is_host(user) {
            if self.host_sends() {
                self.host_media_back();
            }
            return;
        }
        let muted = self.muted(user);
        let here = |p: &Publisher| p.user == *user && !p.lost && p.complete(muted);
        if self.publishers.values().any(here) {
            self.stage_do(StageCommand::Back { user: user.clone() });
        }
    }

    fn publisher_lost(&mut self, user: &UserId) {
        if self.is_host(user) {
            self.host_media_lost();
        } else {
            self.stage_do(StageCommand::Lost { user: user.clone() });
        }
    }

    /// A transport does not exist any more.
    pub(super) fn transport_gone(&mut self, transport: TransportId) {
        if let Some(conn) = self.watchers.remove(&transport) {
            let Some(state) = self.conns.get_mut(&conn) else { return };
            state.watch = None;
            let gone = Conn { user: state.user.clone(), watch: Some(transport), ..*state };
            (state.events, state.effects) = (false, false);
            self.channels_closed(&gone);
            if matches!(gone.carrier, Carrier::Whep { .. }) {
                self.left(conn);
                self.out.push(Effect::CloseConn { conn, reason: ByeReason::MediaLost });
            }
            return;
        }
        let Some(publisher) = self.publishers.remove(&transport) else { return };
        if self.host_publisher == Some(transport) {
            self.host_publisher = None;
        }
        self.publisher_lost(&publisher.user);
        let conn = publisher.conn;
        if self.conns.get(&conn).is_some_and(|conn| conn.carrier == Carrier::Whip) {
            self.left(conn);
            self.out.push(Effect::CloseConn { conn, reason: ByeReason::MediaLost });
        }
    }

    pub(super) fn unpublish(&mut self, conn: ConnId) -> Result<Answer, Refusal> {
        let mine = self.published_by(conn);
        if mine.is_empty() {
            return Err(Code::NotFound.into());
        }
        for transport in mine {
            self.close(transport);
            self.transport_gone(transport);
        }
        Ok(Answer::EMPTY)
    }

    pub(super) fn mute_self(
        &mut self,
        user: &UserId,
        kinds: &[Kind],
        on: bool,
    ) -> Result<Answer, Refusal> {
        let kinds = Kinds::of(kinds);
        if self.is_host(user) {
            let muted = self.life.host_muted;
            self.life.host_muted = if on { muted.or(kinds) } else { muted.without(kinds) };
        } else {
            let user = user.clone();
            self.stage_try(StageCommand::SelfMute { user, kinds, on })?;
        }
        self.check_ready(user);
        Ok(Answer::EMPTY)
    }

    /// Tell the media plane how this connection shows what it watches. A connection without media has nothing to show.
    pub(super) fn shown(
        &mut self,
        conn: ConnId,
        ask: impl FnOnce(TransportId) -> MediaAsk,
    ) -> Result<Answer, Refusal> {
        let watch = self.conns.get(&conn).and_then(|conn| conn.watch);
        let transport = watch.ok_or(Code::NotFound)?;
        self.out.push(Effect::Media(ask(transport)));
        Ok(Answer::EMPTY)
    }

    pub(super) fn media_answer(&mut self, to: ReplyTo, answer: MediaAnswerData) -> Vec<Effect> {
        let transport = answer.transport.0;
        if self.watchers.get(&transport) != Some(&to.conn) {
            return vec![Effect::Reply { to, result: Err(Code::NotFound.into()) }];
        }
        let ask = MediaAsk::WatchAnswer { transport, sdp: answer.sdp };
        vec![Effect::Ask { ask, to, then: Then::Empty }]
    }

    pub(super) fn media_grow(&mut self, to: ReplyTo) -> Vec<Effect> {
        let guest_seats = self.stage.policy().seats;
        let grown = Answer::Grown(Grown { transport: None, sdp: None });
        let Some(conn) = self.conns.get_mut(&to.conn).filter(|c| c.guest_seats < guest_seats)
        else {
            return vec![Effect::Reply { to, result: Ok(grown) }];
        };
        let Some(transport) = conn.watch else {
            return vec![Effect::Reply { to, result: Ok(grown) }];
        };
        conn.guest_seats = guest_seats;
        let ask = MediaAsk::GrowWatch { transport, guest_seats };
        vec![Effect::Ask { ask, to, then: Then::Session }]
    }

    pub(super) fn media_restart(&mut self, to: ReplyTo, restart: MediaRestart) -> Vec<Effect> {
        let TransportRef(transport) = restart.transport;
        let watch = self.watchers.get(&transport) == Some(&to.conn);
        let publish = self.may_restart(transport, to.conn);
        let refusal = match (watch, publish, &restart.sdp) {
            (false, false, _) => Some(Code::NotFound),
            (_, true, None) => Some(Code::SdpInvalid),
            _ => None,
        };
        if let Some(code) = refusal {
            return vec![Effect::Reply { to, result: Err(code.into()) }];
        }
        if publish {
            self.take_publisher(transport, to.conn);
        }
        let ask = MediaAsk::RestartIce { transport, sdp: restart.sdp.filter(|_| publish) };
        vec![Effect::Ask { ask, to, then: Then::Session }]
    }

    /// Whether this connection publishes by this transport, or its person did by a page that lost its own
    /// connection: what a network takes first from somebody who moves is the WebSocket.
    fn may_restart(&self, transport: TransportId, conn: ConnId) -> bool {
        let Some(publisher) = self.publishers.get(&transport) else { return false };
        let Some(here) = self.conns.get(&conn) else { return false };
        let before = self.conns.get(&publisher.conn).map(|old| old.carrier);
        let page = here.carrier == Carrier::WebSocket
            && before.is_none_or(|carrier| carrier == Carrier::WebSocket);
        publisher.conn == conn || (publisher.user == here.user && page)
    }

    /// This transport now belongs to this connection, and the one it had is over.
    fn take_publisher(&mut self, transport: TransportId, conn: ConnId) {
        let Some(publisher) = self.publishers.get_mut(&transport) else { return };
        let old = std::mem::replace(&mut publisher.conn, conn);
        if old != conn && self.conns.contains_key(&old) {
            self.left(old);
            self.out.push(Effect::CloseConn { conn: old, reason: ByeReason::Replaced });
        }
    }

    fn channel(&mut self, transport: TransportId, channel: Channel, open: bool) {
        let Some(conn) = self.watchers.get(&transport).copied() else { return };
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let (flag, count) = match channel {
            Channel::Events => (&mut state.events, &mut self.events_open),
            Channel::Effects => (&mut state.effects, &mut self.effects_open),
            Channel::Gifts => return,
        };
        if *flag == open {
            return;
        }
        *flag = open;
        *count = if open { *count + 1 } else { count.saturating_sub(1) };
        self.out.push(Effect::ChannelOpen { conn, transport, channel, open });
    }

    /// The channels of a connection that is gone no longer count.
    pub(super) fn channels_closed(&mut self, gone: &Conn) {
        self.events_open -= usize::from(gone.events);
        self.effects_open -= usize::from(gone.effects);
    }

    /// The viewer was too slow for the channel: back to the WebSocket, with everything again.
    fn overflow(&mut self, transport: TransportId, channel: Channel) {
        if channel != Channel::Events {
            return;
        }
        let Some(conn) = self.watchers.get(&transport).copied() else { return };
        let Some(user) = self.conns.get(&conn).map(|c| c.user.clone()) else { return };
        self.channel(transport, channel, false);
        let state = Box::new(self.state_for(&user));
        self.tell_conns(vec![conn], Event::RoomSnapshot(state));
    }
}
