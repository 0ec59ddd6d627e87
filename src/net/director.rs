//! The task between rooms and shards: it chooses a shard for each transport, does the SDP and the
//! ICE credentials, and sends shards what concerns them.
//!
//! One task, so commands reach every shard in the order rooms sent them. It never waits for
//! anything but room in a shard's bounded inbox; SDP work is tens of microseconds and done here.
#![expect(clippy::disallowed_methods, reason = "I/O shell: ICE credentials and SSRCs are random")]

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use signaling::media::{MediaAnswer, MediaCommand, TransportId};
use signaling::protocol::{Code, Refusal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::net::inbox::{Done, Inbox};
use crate::net::negotiation::{Address, Identity, Negotiation, Step};
use crate::net::stats::ShardStats;
use crate::net::tcp::directory::Registrar;
use crate::sfu::command::ShardCommand;
use crate::sfu::transport::{Fingerprint, IceCredentials};

/// Characters of our user name fragment: 71 random bits, so that two never meet on a shard.
const UFRAG_CHARACTERS: usize = 12;

/// Characters of our ICE password: 142 random bits, RFC 8445 asks for 128.
const PASSWORD_CHARACTERS: usize = 24;

/// Ids handed out and not opened yet that count as load.
///
/// Trade: more than a join storm has in flight; ids that are never opened fall out at the end.
const RESERVATIONS: usize = 1024;

/// What the director knows of one shard.
#[derive(Debug)]
pub struct ShardLink {
    /// The way in.
    pub inbox: Inbox,
    /// UDP candidate addresses, the first preferred.
    pub candidates: Vec<SocketAddr>,
}

/// The way in by TCP, one for all shards.
#[derive(Debug, Default)]
pub struct TcpLink {
    /// TCP candidate addresses, the first preferred; none = no TCP.
    pub candidates: Vec<SocketAddr>,
    /// Connections there may begin with libwebrtc's pseudo-TLS.
    pub hello: bool,
    /// Where the door learns which shard has which transport.
    pub registrar: Registrar,
}

/// What the descriptions of all shards have in common.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// SHA-256 of our certificate.
    pub fingerprint: Fingerprint,
    /// Sound in RED is taken from publishers.
    pub audio_red: bool,
}

/// Drains the commands of all rooms.
#[derive(Debug)]
pub struct Director {
    shards: Vec<ShardLink>,
    tcp: TcpLink,
    stats: Arc<[ShardStats]>,
    terms: Terms,
    /// Transports between opening and `Closed`.
    sessions: HashMap<TransportId, Negotiation>,
    /// Ids given out by `Allocate` and not opened.
    reserved: VecDeque<TransportId>,
    /// Transports opened and not closed, by shard.
    open: Vec<u64>,
    allocated: u64,
}

impl Director {
    /// A director over `shards`.
    #[must_use]
    pub fn new(
        shards: Vec<ShardLink>,
        tcp: TcpLink,
        stats: Arc<[ShardStats]>,
        terms: Terms,
    ) -> Self {
        let open = vec![0; shards.len()];
        Self {
            shards,
            tcp,
            stats,
            terms,
            sessions: HashMap::new(),
            reserved: VecDeque::new(),
            open,
            allocated: 0,
        }
    }

    /// Work until every handle is dropped or `stop` turns true. `closed` tells which transports
    /// the shards have ended.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<MediaCommand>,
        mut closed: mpsc::Receiver<TransportId>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                Some(id) = closed.recv() => self.forget(id),
                command = commands.recv() => match command {
                    Some(command) => self.handle(command).await,
                    None => return,
                },
            }
        }
    }

    fn forget(&mut self, id: TransportId) {
        self.tcp.registrar.forget(id);
        if self.sessions.remove(&id).is_some()
            && let Some(open) = self.open.get_mut(usize::from(id.shard()))
        {
            *open = open.saturating_sub(1);
        }
    }

    async fn handle(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::Allocate { reply } => {
                // A caller that is gone leaves a reservation, which ages out.
                let _ = reply.send(self.allocate());
            }
            MediaCommand::OpenPublish { .. }
            | MediaCommand::OpenWatch { .. }
            | MediaCommand::OpenWhep { .. } => self.open(command).await,
            MediaCommand::WatchAnswer { .. }
            | MediaCommand::GrowWatch { .. }
            | MediaCommand::RestartIce { .. }
            | MediaCommand::RestartIceFragment { .. } => self.renegotiate(command).await,
            MediaCommand::SetSeat { room, seat, source, audience, done } => {
                self.to_all(&ShardCommand::SetSeat { room, seat, source, audience }, done).await;
            }
            MediaCommand::SetSpeaker { room, seat } => {
                self.to_all(&ShardCommand::SetSpeaker { room, seat }, None).await;
            }
            MediaCommand::SetGate { transport, kind, open, done } => {
                self.to_all(&ShardCommand::SetGate { id: transport, kind, open }, done).await;
            }
            MediaCommand::BroadcastData { room, channel, bytes } => {
                self.to_all(&ShardCommand::BroadcastData { room, channel, bytes }, None).await;
            }
            MediaCommand::CloseRoom { room } => {
                self.to_all(&ShardCommand::CloseRoom { room }, None).await;
            }
            MediaCommand::Close { transport, reason } => {
                self.to_owner(transport, ShardCommand::Close { id: transport, reason }).await;
            }
            MediaCommand::SetViewer { transport, backstage, own_seat } => {
                let id = transport;
                self.to_owner(id, ShardCommand::SetViewer { id, backstage, own_seat }).await;
            }
            MediaCommand::PreferLayer { transport, seat, size } => {
                let id = transport;
                self.to_owner(id, ShardCommand::PreferLayer { id, seat, size }).await;
            }
            MediaCommand::PauseVideo { transport, seats, on } => {
                let id = transport;
                self.to_owner(id, ShardCommand::PauseVideo { id, seats, on }).await;
            }
            MediaCommand::SendData { transport, channel, bytes } => {
                let id = transport;
                self.to_owner(id, ShardCommand::SendData { id, channel, bytes }).await;
            }
        }
    }

    /// An id on the shard with the fewest transports, open and reserved.
    fn allocate(&mut self) -> TransportId {
        let mut load: Vec<u64> = (0..self.shards.len())
            .map(|shard| {
                let open = self.open.get(shard).copied().unwrap_or(0);
                // The shard's own number is older but knows what the director does not.
                open.max(self.stats.get(shard).map_or(0, ShardStats::transports))
            })
            .collect();
        for id in &self.reserved {
            if let Some(load) = load.get_mut(usize::from(id.shard())) {
                *load += 1;
            }
        }
        let least = load.iter().enumerate().min_by_key(|(_, load)| **load);
        let shard = least.map_or(0, |(shard, _)| shard);
        self.allocated += 1;
        let id = TransportId::new(u8::try_from(shard).unwrap_or(0), self.allocated);
        if self.reserved.len() == RESERVATIONS {
            self.reserved.pop_front();
        }
        self.reserved.push_back(id);
        id
    }

    async fn open(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::OpenPublish { room, transport, sdp, lost_after_ms, foreign, reply } => {
                let lost_after = Duration::from_millis(u64::from(lost_after_ms));
                let address = Address { id: transport, room };
                let opened = self.identity(transport).and_then(|identity| {
                    Negotiation::publish(address, &sdp, lost_after, foreign, ours(), identity)
                });
                self.finish_open(transport, opened, reply).await;
            }
            MediaCommand::OpenWatch {
                room,
                transport,
                guest_seats,
                backstage,
                own_seat,
                audio_top,
                reply,
            } => {
                let address = Address { id: transport, room };
                let wish = (guest_seats, backstage, own_seat);
                let opened = self.identity(transport).map(|identity| {
                    Negotiation::watch(address, wish, ours(), identity, &mut rand::random)
                });
                self.finish_open(transport, opened, reply).await;
                if let Some(top) = audio_top {
                    let id = transport;
                    self.to_owner(id, ShardCommand::PreferVoices { id, top }).await;
                }
            }
            MediaCommand::OpenWhep { room, transport, sdp, seat, reply } => {
                let address = Address { id: transport, room };
                let opened = self.identity(transport).and_then(|identity| {
                    Negotiation::whep(address, &sdp, seat, ours(), identity, &mut rand::random)
                });
                self.finish_open(transport, opened, reply).await;
            }
            _ => {}
        }
    }

    /// Record a transport and make it on its shard before the client hears of it.
    async fn finish_open<T>(
        &mut self,
        id: TransportId,
        opened: Result<(Negotiation, Step<T>), Refusal>,
        reply: oneshot::Sender<Result<T, Refusal>>,
    ) {
        self.reserved.retain(|reserved| *reserved != id);
        let answer = match opened {
            Ok(_) if self.sessions.contains_key(&id) => Err(Refusal::new(Code::Conflict)),
            // The one who asked is gone (a socket closed during the join): make nothing.
            Ok(_) if reply.is_closed() => return,
            Ok((negotiation, step)) => {
                self.tcp.registrar.note(&step.command);
                if self.to_owner(id, step.command).await {
                    self.sessions.insert(id, negotiation);
                    if let Some(open) = self.open.get_mut(usize::from(id.shard())) {
                        *open += 1;
                    }
                    Ok(step.reply)
                } else {
                    self.tcp.registrar.forget(id);
                    Err(Refusal::overloaded())
                }
            }
            Err(refusal) => Err(refusal),
        };
        let _ = reply.send(answer);
    }

    async fn renegotiate(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::WatchAnswer { transport, sdp, reply } => {
                let command = self
                    .session(transport)
                    .and_then(|(negotiation, _)| negotiation.watch_answer(transport, &sdp));
                let step = command.map(|command| Step { reply: (), command });
                self.finish_step(transport, step, reply).await;
            }
            MediaCommand::GrowWatch { transport, guest_seats, reply } => {
                let offer = self.session(transport).and_then(|(negotiation, identity)| {
                    negotiation.grow(guest_seats, identity, &mut rand::random)
                });
                let _ = reply.send(offer);
            }
            MediaCommand::RestartIce { transport, sdp, reply } => {
                let step = self.session(transport).and_then(|(negotiation, identity)| {
                    negotiation.restart(transport, sdp.as_deref(), ours().0, identity)
                });
                self.finish_step::<MediaAnswer>(transport, step, reply).await;
            }
            MediaCommand::RestartIceFragment { transport, ufrag, password, reply } => {
                let theirs = IceCredentials { ufrag, password };
                let step = self.session(transport).and_then(|(negotiation, identity)| {
                    negotiation.restart_fragment(transport, theirs, ours().0, identity)
                });
                self.finish_step(transport, step, reply).await;
            }
            _ => {}
        }
    }

    async fn finish_step<T>(
        &mut self,
        id: TransportId,
        step: Result<Step<T>, Refusal>,
        reply: oneshot::Sender<Result<T, Refusal>>,
    ) {
        let answer = match step {
            Ok(Step { reply, command }) => {
                self.tcp.registrar.note(&command);
                match self.to_owner(id, command).await {
                    true => Ok(reply),
                    false => Err(Refusal::overloaded()),
                }
            }
            Err(refusal) => Err(refusal),
        };
        let _ = reply.send(answer);
    }

    /// Ourselves as the clients of this transport's shard see us.
    fn identity(&self, id: TransportId) -> Result<Identity<'_>, Refusal> {
        identity(&self.shards, &self.tcp, self.terms, id)
    }

    fn session(&mut self, id: TransportId) -> Result<(&mut Negotiation, Identity<'_>), Refusal> {
        let identity = identity(&self.shards, &self.tcp, self.terms, id)?;
        let negotiation = self.sessions.get_mut(&id).ok_or_else(not_found)?;
        Ok((negotiation, identity))
    }

    /// `false` = no such shard, or it has stopped.
    async fn to_owner(&self, id: TransportId, command: ShardCommand) -> bool {
        match self.shards.get(usize::from(id.shard())) {
            Some(shard) => shard.inbox.send(command, None).await,
            None => false,
        }
    }

    async fn to_all(&self, command: &ShardCommand, done: Option<oneshot::Sender<()>>) {
        let done = done.map(Done::new);
        for shard in &self.shards {
            shard.inbox.send(command.clone(), done.clone()).await;
        }
        // Our own clone: if every shard was faster than this line, it is the last.
        if let Some(done) = done {
            done.applied();
        }
    }
}

/// Waits until the plane stops or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The guard that this returns must not live across the other branches' awaits.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Fresh ICE credentials and an SDP session id.
fn ours() -> (IceCredentials, u64) {
    let ice = IceCredentials {
        ufrag: random_text(UFRAG_CHARACTERS),
        password: random_text(PASSWORD_CHARACTERS),
    };
    (ice, rand::random::<u64>() >> 2)
}

/// Random letters and digits from the operating system's seeded generator.
fn random_text(characters: usize) -> String {
    use rand::RngExt;
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(characters).map(char::from).collect()
}

/// Ourselves as the clients of this transport's shard see us. No method, so that the director's sessions may
/// be borrowed beside it.
fn identity<'a>(
    shards: &'a [ShardLink],
    tcp: &'a TcpLink,
    Terms { fingerprint, audio_red }: Terms,
    id: TransportId,
) -> Result<Identity<'a>, Refusal> {
    let shard = shards.get(usize::from(id.shard())).ok_or_else(not_found)?;
    let (candidates, tcp_candidates) = (&shard.candidates, &tcp.candidates);
    let ssltcp_candidates = if tcp.hello { tcp_candidates.as_slice() } else { &[] };
    Ok(Identity { fingerprint, candidates, tcp_candidates, ssltcp_candidates, audio_red })
}

fn not_found() -> Refusal {
    Refusal::new(Code::NotFound).because("There is no such media transport.")
}

#[cfg(test)]
mod tests;
