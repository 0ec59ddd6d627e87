//! Carrying out what a room decided, strictly in order.

use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use tokio::time::timeout;

use super::asks::{Ask, command};
use super::task::{Done, RoomTask};
use crate::economy::MoneyRefusal;
use crate::media::{Channel, MediaCommand};
use crate::protocol::{Answer, Event, EventMessage, Refusal, Reply, Wallet};
use crate::room::{ConnId, Effect, GiftAsk, MediaAsk, ReplyTo, Then, To, Via};

/// How long a room waits for its shards to apply a seat or a gate. Trade: they do in less than a
/// millisecond; past this the media plane is sick, and a show that goes on without the certainty
/// is better than one that stands still.
const APPLIED: Duration = Duration::from_secs(2);

/// A wallet as its owner sees it; who never earned anything sees no Diamonds.
fn as_seen(wallet: crate::store::Wallet) -> Wallet {
    let diamonds = (wallet.diamonds != 0).then_some(wallet.diamonds);
    Wallet { coins: wallet.coins, promo: wallet.promo, diamonds }
}

impl RoomTask {
    pub(super) async fn apply(&mut self, effects: &mut Vec<Effect>) {
        // Forgotten only at the end: the reply to `room.leave` comes after the exit.
        let mut exited = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::Entered { conn, .. } => self.conns.enter(conn),
                Effect::Exited { conn } => {
                    self.conns.exit(conn);
                    exited.push(conn);
                }
                Effect::CloseConn { conn, reason } => self.conns.close(conn, reason),
                Effect::ChannelOpen { conn, channel, open, .. } => {
                    self.conns.set_channel(conn, channel, open);
                }
                Effect::Reply { to, result } => {
                    let result = match self.keeper.durable().await {
                        Ok(()) => result,
                        Err(refusal) => result.and(Err(refusal)),
                    };
                    self.reply(to, result).await;
                }
                Effect::Event { to, event } => self.event(&to, &event),
                Effect::Broadcast { channel, bytes } => {
                    let room = self.key;
                    self.shared
                        .tell_media(MediaCommand::BroadcastData { room, channel, bytes })
                        .await;
                }
                Effect::Media(ask) => self.ask(ask, None).await,
                Effect::Ask { ask, to, then } => self.ask(ask, Some((to, then))).await,
                Effect::Gift(ask) => self.gift(ask),
                Effect::Wallet { to, user } => {
                    let store = self.shared.store.clone();
                    self.doing.push(Box::pin(async move {
                        let wallet = store.wallet(user.as_str()).await;
                        let result = wallet.map(|w| Answer::Wallet(as_seen(w)));
                        Done::Reply { to, result: result.map_err(Refusal::from) }
                    }));
                }
                Effect::TellWallet { conns, user } => {
                    let store = self.shared.store.clone();
                    self.doing.push(Box::pin(async move {
                        let wallet = store.wallet(user.as_str()).await;
                        Done::Wallet { conns, wallet }
                    }));
                }
                Effect::Store(write) => self.keeper.keep(write),
                Effect::RoomClosed => self.over = true,
            }
        }
        exited.into_iter().for_each(|conn| self.conns.remove(conn));
        self.keeper.step_over();
    }

    /// Answer a command on the carrier it came by.
    pub(super) async fn reply(&mut self, to: ReplyTo, result: Result<Answer, Refusal>) {
        let result = self.shared.stats.counted(result);
        match to.via {
            Via::Connection => self.conns.reply(to.conn, to.id, result),
            Via::Gifts(transport) => {
                let bytes = Bytes::from(Reply::new(to.id, result).to_json());
                let channel = Channel::Gifts;
                self.shared.tell_media(MediaCommand::SendData { transport, channel, bytes }).await;
            }
        }
    }

    fn event(&mut self, to: &To, event: &EventMessage) {
        let text = Utf8Bytes::from(event.to_json());
        self.conns.send(to, &text);
        self.card.send_if_modified(|card| card.follow(&event.event));
    }

    /// A store that cannot say now will say at the next change.
    pub(super) fn tell_wallet(
        &mut self,
        conns: Vec<ConnId>,
        wallet: Result<crate::store::Wallet, MoneyRefusal>,
    ) {
        let Ok(wallet) = wallet else { return };
        let event = Event::WalletUpdated(as_seen(wallet));
        let ts = self.shared.clock.now_ms();
        self.event(&To::Conns(conns), &EventMessage { seq: None, ts, event });
    }

    fn gift(&mut self, ask: Box<GiftAsk>) {
        let store = self.shared.store.clone();
        self.doing.push(Box::pin(async move {
            let result = store.settle(&ask).await;
            Done::Gift { ask, result }
        }));
    }

    async fn ask(&mut self, ask: MediaAsk, answer: Option<(ReplyTo, Then)>) {
        match command(self.key, ask) {
            Ask::Sent(command) => self.shared.tell_media(command).await,
            Ask::Applied(command, applied) => {
                self.shared.tell_media(command).await;
                if timeout(APPLIED, applied).await.is_err() {
                    tracing::error!("a shard did not apply a seat or a gate in time");
                }
            }
            Ask::Answered(transport, command, coming) => {
                self.shared.tell_media(command).await;
                self.doing.push(Box::pin(async move {
                    Done::Media { transport, heard: coming.await, answer }
                }));
            }
        }
    }
}
