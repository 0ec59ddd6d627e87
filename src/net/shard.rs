//! One shard: a thread that owns its sockets and its [`Sfu`].
//!
//! ```text
//! loop { wait -> relays -> inbox -> receive -> timers -> flush -> outputs }
//! ```
//! The inbox comes before the sockets, because a client's first STUN follows the answer that
//! followed its `AddTransport`: received the other way round, it would be dropped as unknown and
//! cost the join a retransmission. Every step has a limit, so that none starves the others; what is left over makes the next wait
//! return at once. Nothing here blocks but the wait.
#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use signaling::media::{AddressedMediaEvent, MediaEvent, TransportId};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::net::inbox::{Done, Input};
use crate::net::relay::Relay;
use crate::net::send_counters::SendCounters;
use crate::net::socket::Origin;
use crate::net::stats::{
    Count, RESIDENCE_BOUNDS_NS, RING_BOUNDS, Residence, RingFill, ShardStats, Snapshot,
};
use crate::net::tcp::connections::{Connections, Outlet};
use crate::net::thread::cpu_time_us;
use crate::net::udp::{ReceiveArena, SendArena, Socket};
use crate::net::wait::{Ready, Wait};
use crate::sfu::Sfu;
use crate::sfu::drop_reason::DropReason;
use crate::sfu::egress::{Batch, Egress, Path};
use crate::sfu::relay::RelayMessage;

/// Receive calls per socket and turn.
///
/// Trade: 4 calls are 64 slots, about a millisecond of fan-out; more would delay timers and
/// commands under a flood, fewer would cost more waits.
const RECEIVE_CALLS: usize = 4;

/// Commands applied per turn: a join storm must not delay media by more than a millisecond or two.
const COMMANDS_PER_TURN: usize = 64;

/// Messages taken from each relay ring per turn.
const RELAYS_PER_TURN: usize = 256;

/// How often numbers are published while something happens.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// When to try again to hand over events that the room side had no room for.
const EVENT_RETRY: Duration = Duration::from_millis(5);

/// How often a shard may log that sending or receiving fails.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The ends of a shard that reach other threads.
pub struct ShardLinks {
    /// Commands in.
    pub inbox: mpsc::Receiver<Input>,
    /// Rings from and to the other shards.
    pub relay: Relay<RelayMessage>,
    /// Media facts for rooms.
    pub events: mpsc::Sender<AddressedMediaEvent>,
    /// Ended transports, for the director.
    pub closed: mpsc::Sender<TransportId>,
    /// The numbers of all shards; this one writes its own.
    pub stats: Arc<[ShardStats]>,
    /// Set, with a wake, to end the thread.
    pub stop: Arc<AtomicBool>,
}

/// A shard before and inside its thread.
pub struct Shard {
    index: u8,
    core: Sfu,
    sockets: Vec<Socket>,
    tcp: Connections,
    wait: Wait,
    links: ShardLinks,
    receiving: Receiving,
    sending: Sending,
    /// Commands applied in this turn whose askers wait.
    done: Vec<Done>,
    turns: u64,
    relay_full: u64,
    ring_fill: RingFill,
    /// Something may be left from this turn: do not sleep.
    more: bool,
    /// The room side had no room for an event.
    events_stuck: bool,
    /// Numbers changed since they were published.
    dirty: bool,
    next_publish: Instant,
    next_log: Instant,
}

/// What receiving needs and counts.
struct Receiving {
    arena: ReceiveArena,
    /// Kernel receive times of this turn.
    stamps: Vec<u64>,
    residence: Residence,
    errors: u64,
    last_error: Option<io::Error>,
}

/// What sending needs and counts.
struct Sending {
    arena: SendArena,
    counters: SendCounters,
}

impl Sending {
    /// Send a batch by the sockets and connections its messages name.
    fn send(&mut self, sockets: &[Socket], tcp: &mut Outlet, batch: &Batch, now: Instant) {
        tcp.send(batch, &mut self.counters);
        for (local, socket) in sockets.iter().enumerate() {
            let local = local as u8;
            if batch.messages.iter().any(|message| message.path.local == local) {
                socket.send_batch(&mut self.arena, batch, local, now, &mut self.counters);
            }
        }
    }
}

impl Shard {
    /// A shard over its sockets and TCP connections. `wait` watches the sockets by their index, and the
    /// connections as the one after them.
    #[must_use]
    pub fn new(
        index: u8,
        core: Sfu,
        (sockets, tcp): (Vec<Socket>, Connections),
        wait: Wait,
        links: ShardLinks,
    ) -> Self {
        let now = Instant::now();
        Self {
            index,
            core,
            sockets,
            tcp,
            wait,
            links,
            receiving: Receiving {
                arena: ReceiveArena::new(),
                stamps: Vec::with_capacity(256),
                residence: Residence::default(),
                errors: 0,
                last_error: None,
            },
            sending: Sending { arena: SendArena::new(), counters: SendCounters::default() },
            done: Vec::new(),
            turns: 0,
            relay_full: 0,
            ring_fill: RingFill::default(),
            more: false,
            events_stuck: false,
            dirty: true,
            next_publish: now,
            next_log: now,
        }
    }

    /// The loop, until `stop`; then every peer is told and the last events are handed over.
    ///
    /// # Errors
    /// The wait failed, which no peer can cause: the process cannot go on.
    pub fn run(mut self) -> io::Result<()> {
        let mut batch = Batch::new();
        while !self.links.stop.load(Ordering::Acquire) {
            let ready = self.wait.wait(self.timeout(Instant::now()))?;
            self.turn(ready, &mut batch);
        }
        self.close(&mut batch);
        Ok(())
    }

    /// How long nothing is due.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.more {
            return Some(Duration::ZERO);
        }
        let publish = self.dirty.then_some(self.next_publish);
        let retry = self.events_stuck.then(|| now + EVENT_RETRY);
        [self.core.poll_timeout(), self.tcp.next_sweep(), publish, retry]
            .into_iter()
            .flatten()
            .min()
            .map(|due| due.saturating_duration_since(now))
    }

    fn turn(&mut self, ready: Ready, batch: &mut Batch) {
        let Self { core, sockets, tcp, links, receiving, sending, done, ring_fill, .. } = self;
        let now = Instant::now();
        let accepted = tcp.begin_turn(ready.contains(sockets.len()), now);
        let (inlet, outlet) = tcp.halves();
        let mut sink = |batch: &mut Batch| sending.send(sockets, outlet, batch, now);
        let mut egress = Egress::new(batch, &mut sink);

        links.relay.waiting().for_each(|messages| ring_fill.record(&RING_BOUNDS, messages));
        self.more = links.relay.drain(RELAYS_PER_TURN, |from, message| {
            core.handle_relay(now, from, message, &mut egress);
        });
        self.more |= apply_commands(core, &mut links.inbox, done, now, &mut egress) | accepted;
        for (local, socket) in sockets.iter().enumerate() {
            if ready.contains(local) {
                receiving.receive(core, socket, local as u8, &mut egress);
            }
        }
        self.more |= inlet.receive(core, &mut egress);
        let now = Instant::now();
        if core.poll_timeout().is_some_and(|due| due <= now) {
            core.handle_timeout(now, &mut egress);
        }
        core.flush(now, &mut egress);
        egress.flush();
        self.finish_turn(now);
    }

    /// Everything that leaves the shard by other ways than its sockets.
    fn finish_turn(&mut self, now: Instant) {
        // Only now has everything left that was sealed before these commands.
        self.done.drain(..).for_each(Done::applied);
        while let Some((to, message)) = self.core.poll_relay() {
            if self.links.relay.push(to, message).is_err() {
                self.relay_full += 1;
            }
        }
        self.links.relay.wake();
        self.tcp.finish_turn(&mut self.core, now);
        self.hand_over_events();
        self.receiving.note_residence();
        self.turns += 1;
        self.dirty = true;
        if now >= self.next_publish {
            self.links.stats[usize::from(self.index)].publish(&self.snapshot());
            self.next_publish = now + PUBLISH_EVERY;
            self.dirty = false;
        }
        self.log_failures(now);
    }

    /// Events go only when both receivers have room, so that the director always hears of an end.
    /// A receiver that is gone (the server stops) is no obstacle.
    fn hand_over_events(&mut self) {
        self.events_stuck = true;
        loop {
            let rooms = match self.links.events.try_reserve() {
                Err(TrySendError::Full(())) => return,
                permit => permit.ok(),
            };
            let director = match self.links.closed.try_reserve() {
                Err(TrySendError::Full(())) => return,
                permit => permit.ok(),
            };
            let Some(event) = self.core.poll_event() else { break };
            if let (MediaEvent::Closed(_), Some(director)) = (&event.event, director) {
                director.send(event.transport);
            }
            if let Some(rooms) = rooms {
                rooms.send(event);
            }
        }
        self.events_stuck = false;
    }

    fn close(&mut self, batch: &mut Batch) {
        let now = Instant::now();
        let Self { core, sockets, tcp, sending, .. } = self;
        let (_, outlet) = tcp.halves();
        let mut sink = |batch: &mut Batch| sending.send(sockets, outlet, batch, now);
        let mut egress = Egress::new(batch, &mut sink);
        core.close_all(now, &mut egress);
        egress.flush();
        // Publish the end whatever the clock says.
        self.next_publish = now;
        self.finish_turn(now);
    }

    fn snapshot(&self) -> Snapshot {
        let core = self.core.counters();
        let sent = &self.sending.counters;
        let (user_us, system_us) = cpu_time_us();
        let mut drops = core.drops;
        for (reason, count) in sent.drops() {
            drops[reason as usize] += count;
        }
        drops[DropReason::RelayFull as usize] += self.relay_full;
        let mut snapshot = Snapshot {
            drops,
            runs: sent.runs,
            residence: self.receiving.residence.clone(),
            ring_fill: self.ring_fill.clone(),
            transports: self.core.transports() as u64,
            population: self.core.population(),
            ..Snapshot::default()
        };
        for (count, value) in [
            (Count::DatagramsIn, core.datagrams_in),
            (Count::ReceiveErrors, self.receiving.errors),
            (Count::PacketsIn, core.packets_in),
            (Count::BytesIn, core.bytes_in),
            (Count::PacketsOut, core.packets_out),
            (Count::BytesOut, core.bytes_out),
            (Count::MediaMessages, core.messages_out),
            (Count::Rides, core.rides),
            (Count::Retransmissions, core.retransmissions),
            (Count::PaddingBytes, core.padding_bytes),
            (Count::Replays, core.replays),
            (Count::KeyFramesWanted, core.key_frames_wanted),
            (Count::KeyFramesAsked, core.key_frames_asked),
            (Count::NacksSent, core.nacks_sent),
            (Count::Recovered, core.recovered),
            (Count::RelayedOut, core.relayed_out),
            (Count::RelayedIn, core.relayed_in),
            (Count::ProbePackets, core.probe_packets),
            (Count::PointChanges, core.point_changes),
            (Count::Fillers, core.fillers),
            (Count::LayersDistrusted, core.layers_distrusted),
            (Count::LayerChanges, core.layer_changes),
            (Count::Handshakes, core.handshakes),
            (Count::TransportsClosed, core.closed),
            (Count::SendCalls, sent.calls),
            (Count::SentMessages, sent.messages),
            (Count::SentDatagrams, sent.datagrams),
            (Count::SentBytes, sent.bytes),
            (Count::SegmentationHalts, sent.segmentation_halts),
            (Count::TcpMessages, sent.tcp_messages),
            (Count::TcpBytes, sent.tcp_bytes),
            (Count::Turns, self.turns),
            (Count::CpuUserUs, user_us),
            (Count::CpuSystemUs, system_us),
        ] {
            snapshot.counts[count as usize] = value;
        }
        snapshot
    }

    /// At most one line a second, whatever a peer or the network does.
    fn log_failures(&mut self, now: Instant) {
        if now < self.next_log {
            return;
        }
        let sent = self.sending.counters.last_error.take().map(io::Error::from_raw_os_error);
        let received = self.receiving.last_error.take();
        if sent.is_none() && received.is_none() {
            return;
        }
        self.next_log = now + LOG_EVERY;
        if let Some(error) = sent {
            tracing::warn!(shard = self.index, %error, "a datagram could not be sent");
        }
        if let Some(error) = received {
            tracing::warn!(shard = self.index, %error, "a receive call failed");
        }
    }
}

impl Receiving {
    /// Receive from one socket until it is empty or has had its share. A socket with more is
    /// reported ready again by the next wait.
    fn receive(&mut self, core: &mut Sfu, socket: &Socket, local: u8, egress: &mut Egress<'_>) {
        for _ in 0..RECEIVE_CALLS {
            let now = Instant::now();
            let clock = unix_ns();
            let received = socket.receive_batch(&mut self.arena, |origin, datagram| {
                let Origin { remote, stamp } = origin;
                let waited = Duration::from_nanos(clock.saturating_sub(stamp.unwrap_or(clock)));
                if !core.refuses_late(waited, datagram) {
                    core.handle_datagram(now, Path { local, remote }, datagram, egress);
                }
            });
            match received {
                Ok(slots) => {
                    self.stamps.extend(self.arena.stamps());
                    if slots < self.arena.slots() {
                        return;
                    }
                }
                Err(error) => {
                    self.errors += 1;
                    self.last_error = Some(error);
                    return;
                }
            }
        }
    }

    /// Count how long this turn's datagrams were here.
    fn note_residence(&mut self) {
        if self.stamps.is_empty() {
            return;
        }
        let now = unix_ns();
        for stamp in self.stamps.drain(..) {
            self.residence.record(&RESIDENCE_BOUNDS_NS, now.saturating_sub(stamp));
        }
    }
}

/// The clock of the kernel's receive times.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Apply what waits, within the turn's share. `true` = something may be left.
fn apply_commands(
    core: &mut Sfu,
    inbox: &mut mpsc::Receiver<Input>,
    done: &mut Vec<Done>,
    now: Instant,
    egress: &mut Egress<'_>,
) -> bool {
    for _ in 0..COMMANDS_PER_TURN {
        let Ok(input) = inbox.try_recv() else { return false };
        core.handle_command(now, input.command, egress);
        done.extend(input.done);
    }
    true
}
