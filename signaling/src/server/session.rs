//! One WebSocket: who it is, which room it is in, and the limits on what it may ask.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::Signaling;
use super::writer::{answer_close, last_words, write};
use crate::protocol::{
    Answer, ByeReason, Code, Command, Envelope, Event, EventMessage, Hello, HelloYou, Limits,
    ParseError, Pong, Refusal, Reply, RoomJoin, ServerDraining, TokenRefresh, Welcome, carries_sdp,
};
use crate::rate::{Pace, STRIKES, SharedRate};
use crate::room::{Carrier, ConnId, Identity};
use crate::rooms::RoomHandle;
use crate::rooms::conns::Sink;
use crate::rooms::outbox::{Farewell, Outbox};
use crate::rooms::task::Message as RoomMessage;
use crate::token::Claims;

/// The protocol version spoken here.
const VERSION: u32 = 1;
/// Unanswered pings before a silent connection is taken for dead.
const LOST_PINGS: u64 = 3;

/// What a session knows of its client.
struct Session<A> {
    signaling: Signaling,
    conn: ConnId,
    outbox: Outbox,
    rate: Arc<SharedRate>,
    /// After `hello`.
    who: Option<(Claims, Identity)>,
    /// After `room.join`.
    room: Option<RoomHandle>,
    admission: Option<A>,
    started: Instant,
}

/// Serve one WebSocket until it ends.
pub(super) async fn run<A: Send + 'static>(signaling: Signaling, socket: WebSocket, admission: A) {
    let limits = signaling.limits.clone();
    let (mut sink, mut stream) = socket.split();
    let (outbox, mut reader) = Outbox::new(limits.outbox_messages, limits.outbox_bytes);
    let mut farewell = reader.farewell();
    let mut draining = signaling.draining.clone();
    let pace = Pace::new(limits.commands_per_second, limits.commands_burst);
    let mut session = Session {
        conn: signaling.rooms.next_conn(),
        rate: Arc::new(SharedRate::new(pace)),
        who: None,
        room: None,
        admission: Some(admission),
        started: Instant::now(),
        outbox,
        signaling,
    };
    session.signaling.rooms.stats().opened();
    let ping = Duration::from_millis(limits.ping_ms.max(1));
    let said = async { farewell.wait_for(Option::is_some).await.ok().and_then(|bye| *bye) };
    let how = tokio::select! {
        how = session.read(&mut stream) => how,
        () = write(&mut sink, &mut reader, ping) => None,
        how = said => how,
        () = async { let _ = draining.wait_for(|draining| *draining).await; } => {
            Some(ByeReason::ServerStopping.into())
        }
    };
    let draining = how == Some(ByeReason::ServerStopping.into());
    if draining {
        session.event(Event::ServerDraining(ServerDraining { in_ms: 0 }));
    }
    session.leave().await;
    session.signaling.rooms.stats().closed();
    match how {
        Some(how) => {
            let now_ms = session.signaling.rooms.clock().now_ms();
            last_words(sink, stream, reader, how, now_ms).await;
        }
        None => answer_close(sink).await,
    }
}

impl<A> Session<A> {
    /// Read until the client goes (`None`) or has to go.
    async fn read(&mut self, stream: &mut SplitStream<WebSocket>) -> Option<Farewell> {
        let mut revocations = self.signaling.revoked.changes();
        loop {
            let (deadline, then) = self.deadline();
            let message = tokio::select! {
                message = stream.next() => message?,
                () = sleep_until(deadline) => return Some(then),
                // The list lives as long as this session.
                _ = revocations.changed() => match self.is_revoked() {
                    true => return Some(ByeReason::TokenExpired.into()),
                    false => continue,
                },
            };
            let text = match message {
                Ok(Message::Text(text)) => text,
                Ok(Message::Binary(_)) => {
                    return Some(Farewell { reason: ByeReason::ProtocolError, code: 1003 });
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Ok(Message::Close(_)) => return None,
                // The library names a frame or message past its limit; everything else is a
                // connection that broke.
                Err(error) if error.to_string().contains("too long") => {
                    return Some(Farewell::TOO_LARGE);
                }
                Err(_) => return None,
            };
            if let Some(how) = self.message(&text).await {
                return Some(how);
            }
        }
    }

    fn is_revoked(&self) -> bool {
        let now_ms = self.signaling.rooms.clock().now_ms();
        let who = self.who.as_ref();
        who.is_some_and(|(claims, _)| self.signaling.revoked.covers(claims, now_ms))
    }

    /// When silence ends the connection, and how.
    fn deadline(&self) -> (Instant, Farewell) {
        let limits = &self.signaling.limits;
        let after = |ms: u64| Instant::now() + Duration::from_millis(ms);
        match &self.who {
            None => {
                let hello = self.started + Duration::from_millis(limits.hello_ms);
                (hello, ByeReason::ProtocolError.into())
            }
            Some((claims, _)) => {
                let expiry = self.signaling.rooms.clock().instant(claims.exp.saturating_mul(1000));
                let silence = after(limits.ping_ms.saturating_mul(LOST_PINGS));
                if expiry < silence {
                    (expiry, ByeReason::TokenExpired.into())
                } else {
                    (silence, ByeReason::ProtocolError.into())
                }
            }
        }
    }

    /// One message; `Some` = the connection has to end.
    async fn message(&mut self, text: &str) -> Option<Farewell> {
        let within = self.rate.take(self.signaling.rooms.clock().now_ms());
        let envelope = match self.parse(text) {
            Ok(envelope) => envelope,
            Err(ParseError { id, refusal }) => {
                let too_large = refusal.code == Code::TooLarge;
                if let Some(id) = id {
                    self.reply(id, Err(refusal));
                }
                return too_large
                    .then_some(Farewell::TOO_LARGE)
                    .or_else(|| self.strike(within.is_ok()));
            }
        };
        if let Err(wait_ms) = within {
            let refusal = Refusal::new(Code::RateLimited).retry_after(wait_ms);
            self.reply(envelope.id, Err(refusal));
            return self.strike(false);
        }
        match envelope.command() {
            Ok(command) => self.command(envelope.id, command).await,
            Err(refusal) => self.reply(envelope.id, Err(refusal)),
        }
        None
    }

    fn parse(&self, text: &str) -> Result<Envelope, ParseError> {
        let limits = &self.signaling.limits;
        let too_large = |id| ParseError { id, refusal: Code::TooLarge.into() };
        if text.len() > limits.sdp_message_bytes {
            return Err(too_large(None));
        }
        let envelope = Envelope::parse(text)?;
        if text.len() > limits.message_bytes && !carries_sdp(&envelope.kind) {
            return Err(too_large(Some(envelope.id)));
        }
        Ok(envelope)
    }

    /// Too many messages past the rate end the connection.
    fn strike(&self, within: bool) -> Option<Farewell> {
        (!within && self.rate.strikes() >= STRIKES).then_some(Farewell::FLOOD)
    }

    fn reply(&self, id: u32, result: Result<Answer, Refusal>) {
        let result = self.signaling.rooms.stats().counted(result);
        self.outbox.push(Reply::new(id, result).to_json().into());
    }

    fn event(&self, event: Event) {
        let ts = self.signaling.rooms.clock().now_ms();
        self.outbox.push(EventMessage { seq: None, ts, event }.to_json().into());
    }

    async fn command(&mut self, id: u32, command: Command) {
        let result = match command {
            Command::Hello(hello) => self.hello(&hello),
            Command::Ping(_) => {
                Ok(Answer::Pong(Pong { ts: self.signaling.rooms.clock().now_ms() }))
            }
            _ if self.who.is_none() => Err(Code::Unauthenticated.into()),
            Command::TokenRefresh(refresh) => self.refresh(&refresh).await,
            // The room answers both of these itself.
            Command::RoomJoin(join) => match self.join(id, join).await {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
            command => match self.forward(id, command).await {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            },
        };
        self.reply(id, result);
    }

    fn hello(&mut self, hello: &Hello) -> Result<Answer, Refusal> {
        if self.who.is_some() {
            return Err(Refusal::new(Code::Conflict).because("You have said hello already."));
        }
        if hello.v != VERSION {
            return Err(Refusal::new(Code::UnsupportedVersion).detail("v", VERSION));
        }
        let (claims, who) = self.signaling.authenticate(&hello.token)?;
        let you = HelloYou {
            user: who.user.clone(),
            name: who.name.clone(),
            role: who.role,
            adult: who.adult,
        };
        tracing::debug!(conn = self.conn.0, user = %who.user, client = %hello.client, "hello");
        let ice_servers = self.signaling.ice_servers(&who.user);
        self.who = Some((claims, who));
        self.admission = None;
        Ok(Answer::Welcome(Box::new(Welcome {
            conn_id: format!("c{}", self.conn.0),
            you,
            limits: self.limits(),
            ice_servers,
        })))
    }

    /// The limits that a client should know.
    fn limits(&self) -> Limits {
        let own = &self.signaling.limits;
        let defaults = Limits::default();
        let bytes = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Limits {
            message_bytes: defaults.message_bytes.min(bytes(own.message_bytes)),
            sdp_bytes: defaults.sdp_bytes.min(bytes(own.sdp_message_bytes)),
            ..defaults
        }
    }

    async fn refresh(&mut self, refresh: &TokenRefresh) -> Result<Answer, Refusal> {
        let (claims, who) = self.signaling.authenticate(&refresh.token)?;
        if self.who.as_ref().is_none_or(|(_, before)| before.user != who.user) {
            return Err(Refusal::new(Code::Forbidden).because("The token is another person's."));
        }
        self.who = Some((claims, who.clone()));
        if let Some(room) = &self.room {
            room.tell_surely(RoomMessage::Refreshed { conn: self.conn, who }).await;
        }
        Ok(Answer::EMPTY)
    }

    async fn join(&mut self, id: u32, join: RoomJoin) -> Result<(), Refusal> {
        let (claims, who) = self.who.as_ref().ok_or(Code::Unauthenticated)?;
        if self.room.as_ref().is_some_and(|room| !room.is_over()) {
            return Err(Code::AlreadyJoined.into());
        }
        if !claims.covers(join.room.as_str()) {
            return Err(Refusal::new(Code::Forbidden).because("The token is for another room."));
        }
        let who = who.clone();
        let room = self.signaling.rooms.door(&join.room, &who).await?;
        let transport = if join.media { self.signaling.rooms.allocate().await } else { None };
        let rules_accepted = self.signaling.rooms.accepted_rules(&who.user).await;
        let (entered, inside) = oneshot::channel();
        room.tell(RoomMessage::Join {
            conn: self.conn,
            id,
            who,
            join,
            carrier: Carrier::WebSocket,
            transport,
            rules_accepted,
            sink: Sink::Socket(self.outbox.clone(), self.rate.clone()),
            answer: None,
            entered,
        })?;
        // Set before the answer: when the connection breaks while the room decides, it still has
        // to hear that it is gone. The next command is for the room only if this one got in.
        self.room = Some(room);
        let answer = inside.await;
        if answer != Ok(true) {
            self.room = None;
        }
        answer.map(drop).map_err(|_| Code::RoomEnded.into())
    }

    async fn forward(&mut self, id: u32, command: Command) -> Result<(), Refusal> {
        let room = self.room.clone().ok_or(Code::NotJoined)?;
        let transport = match command {
            Command::MediaOffer(_) => self.signaling.rooms.allocate().await,
            _ => None,
        };
        let leaving = matches!(command, Command::RoomLeave(_));
        let conn = self.conn;
        room.tell(RoomMessage::Command { conn, id, command, transport, answer: None })?;
        if leaving {
            self.room = None;
        }
        Ok(())
    }

    async fn leave(&mut self) {
        if let Some(room) = self.room.take() {
            room.tell_surely(RoomMessage::Left { conn: self.conn }).await;
        }
    }
}
