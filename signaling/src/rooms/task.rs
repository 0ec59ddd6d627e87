//! One task per room: the only owner of its [`Room`].

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::asks::{Heard, answered};
use super::card::Card;
use super::conns::{Answered, Conns, Sink};
use super::keep::Keeper;
use crate::economy::{GiftReceipt, MoneyRefusal};
use crate::media::{Channel, MediaEvent, RoomKey, TransportId};
use crate::protocol::{Answer, ByeReason, Code, Command, Envelope, Refusal, RoomJoin, UserId};
use crate::room::{Carrier, ConnId, Effect, GiftAsk, Identity, Input, ReplyTo, Room, Then, Via};
use crate::store::Wallet;

/// What reaches a room's mailbox.
#[derive(Debug)]
pub(crate) enum Message {
    /// A connection asks to come in.
    Join {
        conn: ConnId,
        id: u32,
        who: Identity,
        join: RoomJoin,
        carrier: Carrier,
        transport: Option<TransportId>,
        /// The person has accepted the house rules, here or elsewhere, once.
        rules_accepted: bool,
        sink: Sink,
        /// For a connection without a socket.
        answer: Option<Answered>,
        /// Told whether the connection is in the room now.
        entered: oneshot::Sender<bool>,
    },
    /// A command of a connection that is inside.
    Command {
        conn: ConnId,
        id: u32,
        command: Command,
        transport: Option<TransportId>,
        /// For a connection without a socket.
        answer: Option<Answered>,
    },
    /// The connection has a newer token.
    Refreshed { conn: ConnId, who: Identity },
    /// The connection is gone.
    Left { conn: ConnId },
}

/// What the room waits for without standing still.
pub(super) enum Done {
    /// The media plane has answered.
    Media { transport: TransportId, heard: Heard, answer: Option<(ReplyTo, Then)> },
    /// The ledger has.
    Gift { ask: Box<GiftAsk>, result: Result<GiftReceipt, Refusal> },
    /// The store has.
    Reply { to: ReplyTo, result: Result<Answer, Refusal> },
    /// It has looked into a wallet for these connections.
    Wallet { conns: Vec<ConnId>, wallet: Result<Wallet, MoneyRefusal> },
}

pub(super) type Doing = Pin<Box<dyn Future<Output = Done> + Send>>;

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender lives as long as the task.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A room with everything around it.
pub(crate) struct RoomTask {
    pub(super) shared: Arc<Shared>,
    pub(super) key: RoomKey,
    pub(super) conns: Conns,
    pub(super) card: watch::Sender<Card>,
    pub(super) doing: FuturesUnordered<Doing>,
    /// Inputs that effects made.
    pub(super) backlog: VecDeque<Input>,
    pub(super) over: bool,
    pub(super) keeper: Keeper,
    /// People who hold the right to a seat for this room: the host on air and seated guests.
    claims: BTreeSet<UserId>,
    room: Room,
    /// Reused between steps.
    effects: Vec<Effect>,
}

impl RoomTask {
    pub(crate) fn new(
        shared: Arc<Shared>,
        key: RoomKey,
        room: Room,
        card: watch::Sender<Card>,
    ) -> Self {
        let keeper = Keeper::start(shared.store.clone());
        // Of a show that is back: nobody else is in yet.
        let claims = room.seated().filter(|user| shared.seats.claim(user, key)).collect();
        Self {
            shared,
            key,
            conns: Conns::default(),
            card,
            doing: FuturesUnordered::new(),
            backlog: VecDeque::new(),
            over: false,
            keeper,
            claims,
            room,
            effects: Vec::new(),
        }
    }

    /// Run until the room is over.
    pub(crate) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut media: mpsc::UnboundedReceiver<(TransportId, MediaEvent)>,
    ) {
        let mut stop = self.shared.stop.subscribe();
        self.restore().await;
        while !self.over {
            let deadline = self.room.next_deadline().map(|at| self.shared.clock.instant(at));
            tokio::select! {
                Some((transport, event)) = media.recv() => self.media(transport, event).await,
                Some(done) = self.doing.next() => self.done(done).await,
                message = messages.recv() => match message {
                    Some(message) => self.message(message).await,
                    None => break,
                },
                () = until(deadline) => self.step(Input::Timer).await,
                () = stopped(&mut stop) => break,
            }
        }
        self.close(messages).await;
    }

    /// Bans and mutes outlive a show: they are kept under the room's name.
    async fn restore(&mut self) {
        let kept = match self.shared.store.kept(self.room.id().as_str()).await {
            Ok(kept) => kept,
            Err(refusal) => {
                tracing::error!(code = refusal.code(), "what the room kept could not be read");
                return;
            }
        };
        // For good is past the longest show.
        let until = |at: Option<i64>| at.and_then(|at| u64::try_from(at).ok());
        let person = |user: &str| UserId::new(user).ok();
        let bans = kept.bans.iter().filter_map(|(user, at)| Some((person(user)?, until(*at))));
        let mutes = kept
            .chat_mutes
            .iter()
            .filter_map(|(user, at)| Some((person(user)?, until(*at).unwrap_or(u64::MAX))));
        self.room.restore(bans, mutes, []);
    }

    /// Nobody gets in any more; who has asked is answered, who is inside is told.
    async fn close(&mut self, mut messages: mpsc::Receiver<Message>) {
        if self.over {
            self.shared.forget(self.room.id(), self.key);
        }
        messages.close();
        while let Some(message) = messages.recv().await {
            self.refuse(message);
        }
        // Gifts that the room accepted before its end are paid, and their senders told.
        while let Some(done) = self.doing.next().await {
            self.done(done).await;
        }
        let reason = if self.over { ByeReason::RoomEnded } else { ByeReason::ServerStopping };
        for conn in self.conns.ids() {
            self.conns.close(conn, reason);
        }
        for user in std::mem::take(&mut self.claims) {
            self.shared.seats.release(&user, self.key);
        }
    }

    fn refuse(&mut self, message: Message) {
        match message {
            Message::Join { conn, id, sink, answer, .. } => {
                self.conns.add(conn, id, sink);
                if let Some(answer) = answer {
                    self.conns.expect(conn, id, answer);
                }
                self.conns.reply(conn, id, Err(Refusal::new(Code::RoomEnded)));
                self.conns.remove(conn);
            }
            Message::Command { conn, id, answer, .. } => {
                if let Some(answer) = answer {
                    self.conns.expect(conn, id, answer);
                }
                self.conns.reply(conn, id, Err(Refusal::new(Code::RoomEnded)));
            }
            Message::Refreshed { .. } | Message::Left { .. } => {}
        }
    }

    async fn message(&mut self, message: Message) {
        match message {
            Message::Join {
                conn,
                id,
                who,
                join,
                carrier,
                transport,
                rules_accepted,
                sink,
                answer,
                entered,
            } => {
                self.conns.add(conn, id, sink);
                if let Some(answer) = answer {
                    self.conns.expect(conn, id, answer);
                }
                if rules_accepted {
                    self.room.restore([], [], [who.user.clone()]);
                }
                self.step(Input::Join { conn, id, who, join, carrier, transport }).await;
                let inside = self.conns.is_inside(conn);
                if !inside {
                    self.conns.remove(conn);
                }
                let _ = entered.send(inside);
            }
            Message::Command { conn, id, command, transport, answer } => {
                if let Some(answer) = answer {
                    self.conns.expect(conn, id, answer);
                }
                self.step(Input::Command { conn, id, command, transport }).await;
            }
            Message::Refreshed { conn, who } => self.step(Input::Refreshed { conn, who }).await,
            Message::Left { conn } => {
                self.step(Input::Left { conn }).await;
                self.conns.remove(conn);
            }
        }
    }

    /// A fact from the media plane, or a client's message on a data channel: that takes from the
    /// same rate as the client's messages on its WebSocket.
    async fn media(&mut self, transport: TransportId, event: MediaEvent) {
        if let MediaEvent::Data(channel, bytes) = &event
            && let Some(conn) = self.room.watcher(transport)
            && let Err(wait_ms) = self.conns.take(conn, self.shared.clock.now_ms())
        {
            let envelope =
                std::str::from_utf8(bytes).ok().and_then(|text| Envelope::parse(text).ok());
            if let (Channel::Gifts, Some(envelope)) = (channel, envelope) {
                let to = ReplyTo { conn, id: envelope.id, via: Via::Gifts(transport) };
                let refusal = Refusal::new(Code::RateLimited).retry_after(wait_ms);
                self.reply(to, Err(refusal)).await;
            }
            return;
        }
        self.step(Input::Media { transport, event }).await;
    }

    /// Give back the right to a seat of everybody who has none here (any more).
    fn return_claims(&mut self) {
        let (room, shared, key) = (&self.room, &self.shared, self.key);
        self.claims.retain(|user| {
            let seated = room.is_seated(user);
            if !seated {
                shared.seats.release(user, key);
            }
            seated
        });
    }

    async fn done(&mut self, done: Done) {
        match done {
            Done::Media { transport, mut heard, answer } => {
                match &mut heard {
                    Ok(told) => self.backlog.extend(told.news.take()),
                    Err(_) => self.backlog.push_back(Input::MediaRefused { transport }),
                }
                if let Some((to, then)) = answer {
                    self.reply(to, answered(transport, heard, then)).await;
                }
                self.drain_backlog().await;
            }
            Done::Gift { ask, result } => self.step(Input::GiftDone { ask, result }).await,
            Done::Reply { to, result } => self.reply(to, result).await,
            Done::Wallet { conns, wallet } => self.tell_wallet(conns, wallet),
        }
    }

    async fn step(&mut self, input: Input) {
        self.backlog.push_back(input);
        self.drain_backlog().await;
    }

    async fn drain_backlog(&mut self) {
        while let Some(input) = self.backlog.pop_front() {
            if let Some((to, user)) = self.room.may_seat(&input) {
                if !self.shared.seats.claim(&user, self.key) {
                    self.reply(to, Err(Refusal::new(Code::BusyElsewhere))).await;
                    continue;
                }
                self.claims.insert(user);
            }
            let mut effects = std::mem::take(&mut self.effects);
            self.room.step(self.shared.clock.now_ms(), input, &mut effects);
            // Before the reply: whoever reads that they left may sit down elsewhere.
            self.return_claims();
            self.apply(&mut effects).await;
            self.effects = effects;
        }
    }
}

/// Sleeps until then, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
