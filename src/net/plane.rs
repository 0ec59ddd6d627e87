//! Starting and stopping the media plane.
#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, bail, ensure};
use signaling::media::{AddressedMediaEvent, MediaHandle};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::metrics::Metrics;
use crate::net::collector::MediaCollector;
use crate::net::director::{Director, ShardLink, TcpLink, Terms};
use crate::net::inbox::Inbox;
use crate::net::interfaces::bind_addresses;
use crate::net::relay::{RING_MESSAGES, Relay};
use crate::net::shard::{Shard, ShardLinks};
use crate::net::socket::BufferSizes;
use crate::net::stats::ShardStats;
use crate::net::tcp::connections::Connections;
use crate::net::tcp::directory::{Directory, Registrar};
use crate::net::tcp::door::{Door, ShardWay, listen};
use crate::net::tcp::{self, Accepted, TcpConfig};
use crate::net::thread::pin_to_core;
use crate::net::udp::Socket;
use crate::net::wait::{MAX_WATCHED, Wait, Waker};
use crate::sfu::transport::Shared;
use crate::sfu::{Sfu, SfuConfig};

/// Media events waiting for the room side.
///
/// Trade: a second of the largest join storm; past it events wait in the shards, which are
/// bounded in turn.
pub const MEDIA_EVENTS: usize = 4096;

/// UDP sockets of one shard: one place in its poller is for its TCP connections.
const MAX_SOCKETS: usize = MAX_WATCHED - 1;

/// How the process ends when a shard's thread fails (`EX_SOFTWARE`).
pub const SHARD_FAILED_EXIT: i32 = 70;

/// What the media plane is started with.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Media threads, 1-255.
    pub shards: usize,
    /// Local addresses to listen on; empty = loopback and every LAN address.
    pub addresses: Vec<IpAddr>,
    /// UDP port of the first shard, each further shard takes the next; 0 = any free ones, also for TCP.
    pub port: u16,
    /// TCP port and limits.
    pub tcp: TcpConfig,
    /// The address clients reach this machine at, behind a one-to-one NAT.
    pub public_ip: Option<IpAddr>,
    /// Kernel buffers of each socket.
    pub buffers: BufferSizes,
    /// Keep each shard's thread on one core.
    pub pin_threads: bool,
    /// Limits of the media core.
    pub sfu: SfuConfig,
    /// Take sound in RED from publishers.
    pub audio_red: bool,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            addresses: Vec::new(),
            port: 7882,
            tcp: TcpConfig::default(),
            public_ip: None,
            buffers: BufferSizes::default(),
            pin_threads: true,
            sfu: SfuConfig::default(),
            audio_red: true,
        }
    }
}

/// The running media plane: its threads and the director's task. Dropping it stops them without
/// waiting.
#[derive(Debug)]
pub struct MediaPlane {
    shards: Vec<RunningShard>,
    tcp_addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    director: Option<tokio::task::JoinHandle<()>>,
    stop_director: watch::Sender<bool>,
}

#[derive(Debug)]
struct RunningShard {
    thread: JoinHandle<()>,
    waker: Waker,
    addresses: Vec<SocketAddr>,
}

/// A shard that is bound and connected but does not run yet.
struct Prepared {
    sockets: Vec<Socket>,
    addresses: Vec<SocketAddr>,
    tcp: Connections,
    accepted: mpsc::Sender<Accepted>,
    wait: Wait,
}

impl MediaPlane {
    /// Bind all sockets, start the threads and the director, and register the metrics. Must be
    /// called inside a tokio runtime.
    ///
    /// A shard whose thread panics or whose wait fails takes its rooms' media with it, so it is
    /// logged at ERROR, counted in `greenroom_shard_panics_total`, and **ends the process** with
    /// [`SHARD_FAILED_EXIT`]: a supervisor restarts it, and nothing acknowledged is lost, as the
    /// ledger is durable before every acknowledgement.
    ///
    /// # Errors
    /// A port in use, no address to listen on, out of threads or descriptors; the message says
    /// which option to change.
    pub fn start(
        config: &MediaConfig,
        metrics: &Metrics,
    ) -> anyhow::Result<(MediaHandle, mpsc::Receiver<AddressedMediaEvent>, Self)> {
        ensure!((1..=255).contains(&config.shards), "media.shards must be 1 to 255");
        let prepared: Vec<Prepared> =
            (0..config.shards).map(|shard| config.prepare(shard)).collect::<anyhow::Result<_>>()?;
        let stats: Arc<[ShardStats]> = (0..config.shards).map(|_| ShardStats::default()).collect();
        metrics.register(Box::new(MediaCollector::new(stats.clone())?))?;
        let listeners = config.listen(&prepared)?;
        let tcp_addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>();
        let tcp_addresses: Vec<SocketAddr> =
            tcp_addresses.context("the address of a TCP listener")?;

        let shared = Arc::new(Shared::generate().context("making the DTLS certificate")?);
        let fingerprint = shared.fingerprint();
        let (events, event_receiver) = mpsc::channel(MEDIA_EVENTS);
        let (closed, closed_receiver) = mpsc::channel(MEDIA_EVENTS);
        let (handle, commands) = MediaHandle::channel();
        let (stop_director, stopped) = watch::channel(false);
        let stop = Arc::new(AtomicBool::new(false));

        let wakers: Vec<Waker> = prepared.iter().map(|shard| shard.wait.waker()).collect();
        let relays = Relay::connect(&wakers, RING_MESSAGES);
        let mut links = Vec::new();
        // Dropped on an early return, which stops the threads already running.
        let mut plane = Self {
            shards: Vec::new(),
            tcp_addresses,
            stop: stop.clone(),
            director: None,
            stop_director,
        };
        let mut ways = Vec::new();
        for (index, ((shard, relay), waker)) in
            prepared.into_iter().zip(relays).zip(wakers).enumerate()
        {
            let (inbox, inbox_receiver) = Inbox::new(waker.clone());
            links.push(ShardLink { inbox, candidates: config.candidates(&shard.addresses) });
            ways.push(ShardWay { queue: shard.accepted.clone(), waker: waker.clone() });
            let addresses = shard.addresses.clone();
            let shard_links = ShardLinks {
                inbox: inbox_receiver,
                relay,
                events: events.clone(),
                closed: closed.clone(),
                stats: stats.clone(),
                stop: stop.clone(),
            };
            let thread = config.spawn(index as u8, shard, shard_links, shared.clone())?;
            plane.shards.push(RunningShard { thread, waker, addresses });
        }
        let directory = Directory::default();
        let door = Door::new(config.tcp.clone(), directory.clone(), ways, metrics)?;
        tokio::spawn(door.run(listeners, stopped.clone()));
        let candidates = config.candidates(&plane.tcp_addresses);
        let tcp =
            TcpLink { candidates, hello: config.tcp.hello, registrar: Registrar::new(directory) };
        let terms = Terms { fingerprint, audio_red: config.audio_red };
        let director = Director::new(links, tcp, stats, terms);
        plane.director = Some(tokio::spawn(director.run(commands, closed_receiver, stopped)));
        plane.log_addresses();
        Ok((handle, event_receiver, plane))
    }

    /// The local addresses of each shard's sockets.
    pub fn addresses(&self) -> impl Iterator<Item = &[SocketAddr]> {
        self.shards.iter().map(|shard| shard.addresses.as_slice())
    }

    /// Where TCP connections are accepted; nowhere when TCP is off.
    #[must_use]
    pub fn tcp_addresses(&self) -> &[SocketAddr] {
        &self.tcp_addresses
    }

    /// Refuse new commands, tell every peer that it is over (DTLS close_notify), and return when
    /// all threads have ended.
    pub async fn shutdown(mut self) {
        self.stop_director.send_replace(true);
        if let Some(director) = self.director.take()
            && director.await.is_err()
        {
            tracing::error!("the media director panicked");
        }
        self.stop_threads();
        let threads: Vec<_> = self.shards.drain(..).map(|shard| shard.thread).collect();
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count()
        });
        if joined.await.is_ok_and(|failed| failed > 0) {
            tracing::error!("a shard's thread could not be joined");
        }
    }

    fn stop_threads(&self) {
        self.stop.store(true, Ordering::Release);
        self.shards.iter().for_each(|shard| shard.waker.wake());
    }

    fn log_addresses(&self) {
        for (shard, addresses) in self.addresses().enumerate() {
            tracing::info!(shard, ?addresses, "media listens");
        }
        tracing::info!(addresses = ?self.tcp_addresses, "media accepts TCP");
    }
}

impl Drop for MediaPlane {
    fn drop(&mut self) {
        self.stop_director.send_replace(true);
        self.stop_threads();
    }
}

impl MediaConfig {
    fn prepare(&self, shard: usize) -> anyhow::Result<Prepared> {
        let sockets = self.bind(shard)?;
        let mut wait = Wait::new().context("making a media thread's poller")?;
        for (local, socket) in sockets.iter().enumerate() {
            wait.watch(socket.fd(), local).context("watching a media socket")?;
        }
        let (accepted, receiver) = tcp::queue();
        let tcp = Connections::new(&self.tcp, receiver).context("making a poller for TCP")?;
        wait.watch(tcp.fd(), sockets.len()).context("watching TCP connections")?;
        let addresses = sockets.iter().map(Socket::address).collect();
        Ok(Prepared { sockets, addresses, tcp, accepted, wait })
    }

    /// The TCP listeners, one for each address that UDP listens on.
    fn listen(&self, shards: &[Prepared]) -> anyhow::Result<Vec<TcpListener>> {
        let port = if self.port == 0 { 0 } else { self.tcp.port };
        let addresses = shards.first().map_or(&[][..], |shard| &shard.addresses);
        let addresses = addresses.iter().filter(|_| self.tcp.port != 0);
        addresses
            .map(|local| SocketAddr::new(local.ip(), port))
            .map(|address| listen(address).map_err(|error| self.cannot_listen(address, &error)))
            .collect()
    }

    fn cannot_listen(&self, address: SocketAddr, error: &io::Error) -> anyhow::Error {
        let (ip, port) = (address.ip(), address.port());
        match error.kind() {
            ErrorKind::AddrInUse => anyhow!(
                "port {port}/tcp is in use on {ip}: set media.tcp_port to a free port or to 0 (no TCP), \
                 or stop the other program"
            ),
            ErrorKind::PermissionDenied => {
                anyhow!("not allowed to listen on port {port}/tcp (media.tcp_port)")
            }
            _ => anyhow!("cannot listen on {address}/tcp (media.tcp_port): {error}"),
        }
    }

    /// The sockets of `shard`, one per local address.
    fn bind(&self, shard: usize) -> anyhow::Result<Vec<Socket>> {
        let port = match self.port {
            0 => 0,
            first => u16::try_from(usize::from(first) + shard).context("media.port is too high")?,
        };
        let addresses = bind_addresses(&self.addresses).context("reading the local addresses")?;
        if addresses.len() > MAX_SOCKETS {
            tracing::warn!(
                "this machine has {} addresses; media listens on the first {MAX_SOCKETS}. Name the \
                 ones to use in media.addresses",
                addresses.len()
            );
        }
        let mut sockets = Vec::new();
        for address in addresses.into_iter().take(MAX_SOCKETS) {
            let address = SocketAddr::new(address, port);
            match Socket::bind(address, self.buffers) {
                Ok(socket) => sockets.push(socket),
                // An address may be tentative or gone by now; one the operator named may not.
                Err(error) if self.addresses.is_empty() && error.kind() != ErrorKind::AddrInUse => {
                    tracing::warn!(%address, %error, "media does not listen here");
                }
                Err(error) => return Err(self.cannot_bind(address, &error)),
            }
        }
        if sockets.is_empty() {
            bail!("no local address to listen on for media: set media.addresses");
        }
        Ok(sockets)
    }

    fn cannot_bind(&self, address: SocketAddr, error: &io::Error) -> anyhow::Error {
        match error.kind() {
            ErrorKind::AddrInUse => anyhow!(
                "port {}/udp is in use on {}: set media.port to the first of {} free port(s), or \
                 stop the other program",
                address.port(),
                address.ip(),
                self.shards
            ),
            ErrorKind::AddrNotAvailable => {
                anyhow!("{} is no address of this machine (media.addresses)", address.ip())
            }
            _ => anyhow!("cannot listen on {address}/udp (media.addresses): {error}"),
        }
    }

    /// What clients are offered: the public address first, if there is one.
    fn candidates(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let public = self.public_ip.and_then(|ip| {
            let port = addresses.iter().find(|local| local.is_ipv4() == ip.is_ipv4())?.port();
            Some(SocketAddr::new(ip, port))
        });
        let local = addresses.iter().copied().filter(|local| Some(*local) != public);
        public.into_iter().chain(local).collect()
    }

    fn spawn(
        &self,
        index: u8,
        shard: Prepared,
        links: ShardLinks,
        shared: Arc<Shared>,
    ) -> anyhow::Result<JoinHandle<()>> {
        let (sfu, pin) = (self.sfu.clone(), self.pin_threads);
        let stats = links.stats.clone();
        let run = move || {
            if pin && !pin_to_core(usize::from(index)) {
                tracing::debug!(shard = index, "the thread is not pinned to a core");
            }
            let core = Sfu::new(sfu, index, shared, rand::random());
            Shard::new(index, core, (shard.sockets, shard.tcp), shard.wait, links).run()
        };
        std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || {
                if let Err(failure) = supervise(run) {
                    stats[usize::from(index)].panicked();
                    tracing::error!(shard = index, %failure, "a media thread failed; the process ends");
                    std::process::exit(SHARD_FAILED_EXIT);
                }
            })
            .context("starting a media thread")
    }
}

/// Run a shard's loop and say in words why it did not end by itself.
fn supervise(run: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("waiting for datagrams: {error}")),
        Err(panic) => Err(panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without words".to_owned())),
    }
}

#[cfg(test)]
mod tests;
