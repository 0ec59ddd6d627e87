//! Where TCP connections come in: limits first, then one frame that says whose connection it is.
//!
//! A stranger gets nothing but time: no byte is sent to a connection before its first frame was an
//! authentic STUN request, and whoever sends anything else is closed at once, by name. With
//! [`TcpConfig::hello`] there is one exception, which tells nothing: a fixed hello is answered by another.
#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{select_all, unfold};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::addresses::Gate;
use crate::metrics::Metrics;
use crate::net::tcp::directory::Directory;
use crate::net::tcp::framing::{HEADER, MAX_FRAME, announced};
use crate::net::tcp::hello::{self, Start};
use crate::net::tcp::{Accepted, Places, TcpConfig};
use crate::net::wait::Waker;
use crate::sfu::drop_reason::DropReason;
use crate::sfu::transport::StunRequest;

/// Connections the kernel completes before they are accepted: a join storm between two turns of the task.
const LISTEN_BACKLOG: i32 = 1024;

/// Wait after a failed accept (out of descriptors): short enough to go unnoticed, long enough not to spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long the place of a task that was told to end may take to come back. It does so at once, unless the
/// task was just done: then nobody is to wait for it.
const FREED_WITHIN: Duration = Duration::from_millis(50);

/// Bytes the kernel holds unsent for one connection.
///
/// Trade: less makes more writes for the same bytes; more is a queue where nothing can be dropped.
#[cfg(target_os = "linux")]
const KERNEL_UNSENT: u32 = 32 * 1024;

/// Why a connection was closed at the door; the label of `greenroom_tcp_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// All places are taken; also who waited longest without a word, when somebody else comes.
    Connections,
    /// All places of its address are taken.
    PerAddress,
    /// It said too little for too long.
    NoStun,
    /// It began with something else than a STUN request in a frame: HTTP, TLS, a giant frame.
    NotStun,
    /// It began as libwebrtc's pseudo-TLS does and went on otherwise.
    NotHello,
    /// It was closed by the other end before it said who it is.
    Gone,
    /// A STUN request that names none of our transports, or was not made with its password.
    Stun(DropReason),
}

impl Refused {
    const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::PerAddress => "per_address",
            Self::NoStun => "no_stun",
            Self::NotStun => "not_stun",
            Self::NotHello => "not_hello",
            Self::Gone => "gone",
            Self::Stun(reason) => reason.name(),
        }
    }
}

/// What the door counts.
#[derive(Debug, Clone)]
struct Counts {
    refused: IntCounterVec,
    hellos: IntCounter,
    open: IntGauge,
}

impl Counts {
    fn new(metrics: &Metrics) -> anyhow::Result<Self> {
        let refused =
            Opts::new("greenroom_tcp_refused_total", "TCP connections closed at the door.");
        let refused = IntCounterVec::new(refused, &["reason"])?;
        let open = IntGauge::new(
            "greenroom_tcp_connections",
            "TCP connections open, those included that have not said who they are.",
        )?;
        let hellos = IntCounter::new(
            "greenroom_tcp_hellos_total",
            "TCP connections that began with the hello of libwebrtc's pseudo-TLS and were answered.",
        )?;
        metrics.register(Box::new(refused.clone()))?;
        metrics.register(Box::new(hellos.clone()))?;
        metrics.register(Box::new(open.clone()))?;
        // A series that appears with its first attack is missed by alerts.
        for reason in [
            Refused::Connections,
            Refused::PerAddress,
            Refused::NoStun,
            Refused::NotStun,
            Refused::NotHello,
            Refused::Gone,
            Refused::Stun(DropReason::StunUnknownUfrag),
            Refused::Stun(DropReason::StunIntegrity),
        ] {
            refused.with_label_values(&[reason.name()]).inc_by(0);
        }
        Ok(Self { refused, hellos, open })
    }

    fn refuse(&self, why: Refused) {
        self.refused.with_label_values(&[why.name()]).inc();
    }
}

/// The way to one shard.
#[derive(Debug)]
pub struct ShardWay {
    /// Its queue.
    pub queue: mpsc::Sender<Accepted>,
    /// To be called when something is in it.
    pub waker: Waker,
}

/// The door.
#[derive(Debug)]
pub struct Door {
    config: TcpConfig,
    directory: Directory,
    shards: Vec<ShardWay>,
    gate: Gate,
    places: Arc<Semaphore>,
    counts: Counts,
}

/// Bind `address` (port 0 = any free port).
///
/// # Errors
/// What the system says, `AddrInUse` above all.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of a server that has just stopped do not keep the port from its successor.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Door {
    /// A door to `shards`, in their order.
    ///
    /// # Errors
    /// Metrics that are registered already.
    pub fn new(
        config: TcpConfig,
        directory: Directory,
        shards: Vec<ShardWay>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            directory,
            shards,
            gate: Gate::default(),
            places: Arc::new(Semaphore::new(config.connections)),
            counts: Counts::new(metrics)?,
            config,
        })
    }

    /// Let people in until `stop` turns true. Connections that are handed over stay.
    pub async fn run(self, listeners: Vec<TcpListener>, mut stop: watch::Receiver<bool>) {
        let door = Arc::new(self);
        let arrivals = listeners.into_iter().map(|listener| {
            Box::pin(unfold(listener, |listener| async {
                Some((accept(&listener).await, listener))
            }))
        });
        let mut arrivals = select_all(arrivals);
        let mut waiting = Waiting::default();
        loop {
            let arrival = tokio::select! {
                arrival = arrivals.next() => arrival,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Some(arrival) = arrival else { break };
            let Some((stream, remote)) = arrival else { continue };
            // Refused at accept: a dropped socket costs no task and no buffer.
            match door.places_for(remote, &mut waiting).await {
                Ok(places) => {
                    let task = tokio::spawn(door.clone().admit(stream, remote, places));
                    waiting.add(task.abort_handle());
                }
                Err(why) => door.counts.refuse(why),
            }
        }
        waiting.0.iter().for_each(AbortHandle::abort);
    }

    /// A place in all and one of this address. When all are taken, whoever waits longest without having
    /// said who they are goes first: a client says it after one round trip, so that is a stranger.
    async fn places_for(
        &self,
        remote: SocketAddr,
        waiting: &mut Waiting,
    ) -> Result<Places, Refused> {
        let limit = self.config.per_address;
        let address = match limit {
            0 => None,
            _ => Some(self.gate.enter(remote.ip(), limit).ok_or(Refused::PerAddress)?),
        };
        let total = match self.places.clone().try_acquire_owned() {
            Ok(total) => total,
            Err(_) => {
                waiting.send_off_oldest().ok_or(Refused::Connections)?;
                self.counts.refuse(Refused::Connections);
                self.freed_place().await.ok_or(Refused::Connections)?
            }
        };
        self.counts.open.inc();
        Ok(Places { _address: address, _total: total, open: self.counts.open.clone() })
    }

    /// The place of a task that was told to end, which it does as soon as it is looked at.
    async fn freed_place(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.places.clone().acquire_owned();
        timeout(FREED_WITHIN, place).await.ok()?.ok()
    }

    /// Read until it is known whose connection this is, then hand it over.
    async fn admit(self: Arc<Self>, stream: TcpStream, remote: SocketAddr, places: Places) {
        let admitted = timeout(self.config.patience, async {
            let mut read = Vec::with_capacity(LONGEST);
            if self.config.hello {
                self.greet(&stream, &mut read).await?;
            }
            first_frame(&stream, &mut read).await?;
            let shard = self.owner(&read)?;
            Ok((read, shard))
        });
        match admitted.await.unwrap_or(Err(Refused::NoStun)) {
            Ok((read, shard)) => self.hand_over(stream, remote, read, shard, places).await,
            Err(why) => self.counts.refuse(why),
        }
    }

    /// Answer a hello and forget it; whoever begins otherwise is left as they are.
    async fn greet(&self, stream: &TcpStream, read: &mut Vec<u8>) -> Result<(), Refused> {
        loop {
            match hello::start(read) {
                Start::Open => more(stream, read).await?,
                Start::Frames => return Ok(()),
                Start::Spoilt => return Err(Refused::NotHello),
                Start::Hello => break,
            }
        }
        read.drain(..hello::CLIENT.len());
        say(stream, &hello::SERVER).await?;
        self.counts.hellos.inc();
        Ok(())
    }

    /// The shard whose transport the first frame in `read` is for.
    fn owner(&self, read: &[u8]) -> Result<&ShardWay, Refused> {
        let len = announced(read).ok().flatten().unwrap_or(0);
        let frame = read.get(HEADER..HEADER + len).unwrap_or_default();
        let request = StunRequest::parse(frame).map_err(|_| Refused::NotStun)?;
        let shard = self.directory.shard_of(&request).map_err(Refused::Stun)?;
        let unknown = Refused::Stun(DropReason::StunUnknownUfrag);
        self.shards.get(usize::from(shard)).ok_or(unknown)
    }

    async fn hand_over(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        read: Vec<u8>,
        shard: &ShardWay,
        places: Places,
    ) {
        // A frame is one write; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        // What the kernel queues cannot be dropped any more when it has become late.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(KERNEL_UNSENT);
        let Ok(stream) = stream.into_std() else { return self.counts.refuse(Refused::Gone) };
        // A shard that has stopped drops it.
        let _ = shard.queue.send(Accepted { stream, remote, read, places }).await;
        shard.waker.wake();
    }
}

/// The next connection; `None` = it failed, and a pause was made.
async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(%error, "accepting a TCP connection for media failed");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

/// The most that is read before it is known whose connection it is.
const LONGEST: usize = HEADER + MAX_FRAME;

/// Read until the first frame of `read` is whole, and whatever comes with that.
async fn first_frame(stream: &TcpStream, read: &mut Vec<u8>) -> Result<(), Refused> {
    loop {
        match announced(read) {
            Ok(Some(frame)) if read.len() >= HEADER + frame => return Ok(()),
            Ok(_) => more(stream, read).await?,
            Err(_) => return Err(Refused::NotStun),
        }
    }
}

/// Append what comes next to `read`, at least a byte and up to [`LONGEST`] in all.
async fn more(stream: &TcpStream, read: &mut Vec<u8>) -> Result<(), Refused> {
    loop {
        stream.readable().await.map_err(|_| Refused::Gone)?;
        let before = read.len();
        read.resize(LONGEST, 0);
        let came = stream.try_read(read.get_mut(before..).unwrap_or_default());
        read.truncate(before + came.as_ref().map_or(0, |count| *count));
        match came {
            Ok(0) => return Err(Refused::Gone),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Refused::Gone),
        }
    }
}

/// Send all of `bytes`.
async fn say(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), Refused> {
    while !bytes.is_empty() {
        stream.writable().await.map_err(|_| Refused::Gone)?;
        match stream.try_write(bytes) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Refused::Gone),
        }
    }
    Ok(())
}

/// Connections that have not said who they are, oldest first; among them some that have by now.
#[derive(Debug, Default)]
struct Waiting(VecDeque<AbortHandle>);

impl Waiting {
    fn add(&mut self, task: AbortHandle) {
        while self.0.front().is_some_and(AbortHandle::is_finished) {
            self.0.pop_front();
        }
        self.0.push_back(task);
    }

    /// End the oldest that still waits; `None` = nobody does.
    fn send_off_oldest(&mut self) -> Option<()> {
        loop {
            let oldest = self.0.pop_front()?;
            if !oldest.is_finished() {
                oldest.abort();
                return Some(());
            }
        }
    }
}
