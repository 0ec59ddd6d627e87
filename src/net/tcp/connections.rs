//! The TCP connections of one shard: read, split, handed to the core; framed, written, kept for a
//! moment when the kernel has no room.
//!
//! Nothing here blocks, and a connection costs no more than it says in [`TcpConfig`]: one unfinished frame
//! coming in, one bounded backlog going out. Readiness is edge-triggered (`mio`), and its poll is itself
//! one of the things the shard waits for: a shard without TCP pays for none of it.
#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;
use tokio::sync::mpsc;

use crate::net::send_counters::SendCounters;
use crate::net::tcp::backlog::Backlog;
use crate::net::tcp::framing::{self, HEADER, MAX_FRAME, TooLarge};
use crate::net::tcp::{Accepted, Places, TcpConfig};
use crate::sfu::Sfu;
use crate::sfu::drop_reason::DropReason;
use crate::sfu::egress::{Batch, ConnectionId, Egress, Message, Path};

/// Bytes taken from one connection before it is the next one's turn.
///
/// Trade: ten packets of a publisher; more would let one make the others wait, less costs calls.
const READ_BYTES: usize = 16 * 1024;

/// Reads per turn of the shard. Trade: as the receive calls of a UDP socket, about a millisecond.
const READS_PER_TURN: usize = 64;

/// New connections per turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Connections whose readiness is taken per turn; the others are told by the next wait.
const EVENTS_PER_TURN: usize = 256;

/// How often it is looked who is still used. Trade: a connection outlives its transport by this.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// All TCP connections of one shard.
#[derive(Debug)]
pub struct Connections {
    poll: Poll,
    events: Events,
    accepted: mpsc::Receiver<Accepted>,
    /// Places in both tables that are free, with the generation of the next connection there.
    free: Vec<ConnectionId>,
    inlet: Inlet,
    outlet: Outlet,
    patience: Duration,
    next_sweep: Option<Instant>,
}

/// The half that reads.
#[derive(Debug)]
pub struct Inlet {
    /// By slot.
    readers: Vec<Option<Reader>>,
    /// Slots that may have something to read.
    ready: VecDeque<u32>,
    scratch: Box<[u8]>,
    /// Slots of connections that are over.
    ended: Vec<u32>,
}

/// The half that writes; apart, because the core sends while it is given what was read.
#[derive(Debug)]
pub struct Outlet {
    /// By slot, as the readers.
    writers: Vec<Option<Writer>>,
    framed: Vec<u8>,
    limit: usize,
    /// Slots of connections that do not take anything any more.
    broken: Vec<u32>,
}

#[derive(Debug)]
struct Reader {
    stream: Arc<TcpStream>,
    id: ConnectionId,
    path: Path,
    /// The beginning of a frame; at first all that the door has read.
    begun: Vec<u8>,
    /// In [`Inlet::ready`].
    queued: bool,
    /// Its transport has sent on it.
    used: bool,
    idle_since: Instant,
    _places: Places,
}

#[derive(Debug)]
struct Writer {
    stream: Arc<TcpStream>,
    generation: u32,
    backlog: Backlog,
    broken: bool,
}

impl Connections {
    /// No connection yet; `accepted` brings them.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn new(config: &TcpConfig, accepted: mpsc::Receiver<Accepted>) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            accepted,
            free: Vec::new(),
            inlet: Inlet {
                readers: Vec::new(),
                ready: VecDeque::new(),
                scratch: vec![0; HEADER + MAX_FRAME + READ_BYTES].into_boxed_slice(),
                ended: Vec::new(),
            },
            outlet: Outlet {
                writers: Vec::new(),
                framed: Vec::new(),
                limit: config.backlog,
                broken: Vec::new(),
            },
            patience: config.patience,
            next_sweep: None,
        })
    }

    /// Readable when a connection is ready: for the shard's own poller.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// When [`Self::finish_turn`] has something to do without a packet.
    #[must_use]
    pub fn next_sweep(&self) -> Option<Instant> {
        self.next_sweep
    }

    /// Take what is new: connections always, readiness if `ready`. `true` = more of it waits.
    pub fn begin_turn(&mut self, ready: bool, now: Instant) -> bool {
        let more = self.accept(now);
        if ready {
            self.note_readiness();
        }
        more
    }

    /// The half that is given to [`Sfu`] and the half that it sends by.
    pub fn halves(&mut self) -> (&mut Inlet, &mut Outlet) {
        (&mut self.inlet, &mut self.outlet)
    }

    /// Let go of what is over, and now and then of what nobody uses.
    pub fn finish_turn(&mut self, core: &mut Sfu, now: Instant) {
        if self.next_sweep.is_some_and(|due| due <= now) {
            self.inlet.sweep(core, now, self.patience);
            self.next_sweep = Some(now + SWEEP_EVERY);
        }
        while let Some(slot) = self.inlet.ended.pop().or_else(|| self.outlet.broken.pop()) {
            self.remove(core, slot);
        }
        if self.free.len() == self.inlet.readers.len() {
            self.next_sweep = None;
        }
    }

    fn accept(&mut self, now: Instant) -> bool {
        for _ in 0..ACCEPTS_PER_TURN {
            let Ok(accepted) = self.accepted.try_recv() else { return false };
            if let Err(error) = self.add(accepted, now) {
                tracing::warn!(%error, "a TCP connection could not be watched");
            }
        }
        true
    }

    fn add(&mut self, accepted: Accepted, now: Instant) -> io::Result<()> {
        let Accepted { stream, remote, read, places } = accepted;
        let id = self.free.pop().unwrap_or_else(|| {
            self.inlet.readers.push(None);
            self.outlet.writers.push(None);
            ConnectionId { slot: self.inlet.readers.len() as u32 - 1, generation: 0 }
        });
        let mut stream = TcpStream::from_std(stream);
        let token = Token(id.slot as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, token, interest) {
            self.free.push(id);
            return Err(error);
        }
        let stream = Arc::new(stream);
        let (at, path) = (id.slot as usize, Path::tcp(remote, id));
        self.outlet.writers[at] = Some(Writer {
            stream: stream.clone(),
            generation: id.generation,
            backlog: Backlog::default(),
            broken: false,
        });
        self.inlet.readers[at] = Some(Reader {
            stream,
            id,
            path,
            begun: read,
            queued: true,
            used: false,
            idle_since: now,
            _places: places,
        });
        self.inlet.ready.push_back(id.slot);
        self.next_sweep.get_or_insert(now + SWEEP_EVERY);
        Ok(())
    }

    fn note_readiness(&mut self) {
        // Interrupted or not: what was not told now is told by the next wait.
        if self.poll.poll(&mut self.events, Some(Duration::ZERO)).is_err() {
            return;
        }
        for event in &self.events {
            let slot = event.token().0;
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.inlet.may_read(slot);
            }
            if event.is_writable()
                && let Some(Some(writer)) = self.outlet.writers.get_mut(slot)
            {
                writer.flush();
                // A broken one is readable as well, and its reader finds the end.
            }
        }
    }

    fn remove(&mut self, core: &mut Sfu, slot: u32) {
        let at = slot as usize;
        let reader = self.inlet.readers.get_mut(at).and_then(Option::take);
        let writer = self.outlet.writers.get_mut(at).and_then(Option::take);
        if let Some(writer) = writer
            && !writer.backlog.is_empty()
        {
            // Or the kernel would try for minutes to deliver to somebody who does not read.
            let _ = SockRef::from(&*writer.stream).set_linger(Some(Duration::ZERO));
        }
        if let Some(Reader { path, id: ConnectionId { slot, generation }, .. }) = reader {
            core.path_closed(path);
            self.free.push(ConnectionId { slot, generation: generation.wrapping_add(1) });
        }
    }
}

impl Inlet {
    fn may_read(&mut self, slot: usize) {
        if let Some(Some(reader)) = self.readers.get_mut(slot)
            && !std::mem::replace(&mut reader.queued, true)
        {
            self.ready.push_back(reader.id.slot);
        }
    }

    /// Read from connections that are ready, each in its turn, and give the core what they sent. `true` =
    /// some may have more.
    pub fn receive(&mut self, core: &mut Sfu, egress: &mut Egress<'_>) -> bool {
        for _ in 0..READS_PER_TURN {
            let Some(slot) = self.ready.pop_front() else { return false };
            let Some(Some(reader)) = self.readers.get_mut(slot as usize) else { continue };
            match reader.receive(&mut self.scratch, core, egress) {
                Receive::Drained => reader.queued = false,
                Receive::Again => self.ready.push_back(slot),
                Receive::Ended => self.ended.push(slot),
            }
        }
        !self.ready.is_empty()
    }

    /// End connections whose transport is over, or has sent by another way for `patience`.
    fn sweep(&mut self, core: &Sfu, now: Instant, patience: Duration) {
        for reader in self.readers.iter_mut().flatten() {
            let over = match core.sends_on(&reader.path) {
                Some(true) => {
                    (reader.used, reader.idle_since) = (true, now);
                    false
                }
                None if reader.used => true,
                _ => now.saturating_duration_since(reader.idle_since) >= patience,
            };
            if over {
                self.ended.push(reader.id.slot);
            }
        }
    }
}

/// What a read says about the next one.
#[derive(Debug, PartialEq, Eq)]
enum Receive {
    Drained,
    Again,
    Ended,
}

impl Reader {
    fn receive(&mut self, scratch: &mut [u8], core: &mut Sfu, egress: &mut Egress<'_>) -> Receive {
        let begun = self.begun.len();
        let Some((kept, room)) = scratch.split_at_mut_checked(begun) else { return Receive::Ended };
        kept.copy_from_slice(&self.begun);
        let (read, next) = match (&*self.stream).read(room) {
            Ok(0) => (0, Receive::Ended),
            Ok(read) => (read, Receive::Again),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => (0, Receive::Drained),
                ErrorKind::Interrupted => (0, Receive::Again),
                _ => (0, Receive::Ended),
            },
        };
        let Some(bytes) = scratch.get_mut(..begun + read) else { return Receive::Ended };
        let (now, path) = (Instant::now(), self.path);
        let taken = framing::split(bytes, |datagram| {
            core.handle_datagram(now, path, datagram, egress);
        });
        self.used = self.used || core.sends_on(&path) == Some(true);
        match taken {
            Ok(taken) => {
                self.begun.clear();
                self.begun.extend_from_slice(bytes.get(taken..).unwrap_or_default());
                next
            }
            Err(TooLarge) => {
                core.counters_mut().drop(DropReason::TcpFrameTooLarge);
                Receive::Ended
            }
        }
    }
}

impl Outlet {
    /// Send the messages of `batch` that are for connections, each framed and in one write.
    pub fn send(&mut self, batch: &Batch, counters: &mut SendCounters) {
        for message in &batch.messages {
            let Some(id) = message.path.connection() else { continue };
            let writer = self.writers.get_mut(id.slot as usize).and_then(Option::as_mut);
            match writer.filter(|writer| writer.generation == id.generation && !writer.broken) {
                Some(writer) => {
                    writer.send(batch, message, &mut self.framed, self.limit, counters);
                    if writer.broken {
                        self.broken.push(id.slot);
                    }
                }
                None => counters.tcp_closed += message.segments() as u64,
            }
        }
    }
}

impl Writer {
    fn send(
        &mut self,
        batch: &Batch,
        message: &Message,
        framed: &mut Vec<u8>,
        limit: usize,
        counters: &mut SendCounters,
    ) {
        let Some(bytes) = batch.bytes.get(message.start..message.start + message.len) else {
            debug_assert!(false, "a message lies outside its batch");
            return;
        };
        framed.clear();
        let datagrams = framing::frame(framed, bytes, message.segment) as u64;
        let taken = if self.backlog.is_empty() { self.write(framed) } else { 0 };
        let kept = match framed.get(taken..).unwrap_or_default() {
            [] => true,
            // Part of it has left: the rest must follow, or the other end loses its place.
            rest if taken > 0 => {
                self.backlog.keep_rest(rest);
                // Only a write that is refused makes the kernel tell when there is room again.
                self.flush();
                true
            }
            _ if self.broken => {
                counters.tcp_closed += datagrams;
                return;
            }
            whole => self.backlog.offer(whole, limit),
        };
        if kept {
            counters.tcp_messages += 1;
            counters.tcp_bytes += framed.len() as u64;
        } else {
            counters.tcp_full += datagrams;
        }
    }

    /// Write what the kernel takes of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> usize {
        loop {
            match (&*self.stream).write(bytes) {
                Ok(count) => return count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.broken = error.kind() != ErrorKind::WouldBlock;
                    return 0;
                }
            }
        }
    }

    /// Write what waits, as far as the kernel takes it.
    fn flush(&mut self) {
        while !self.backlog.is_empty() && !self.broken {
            let backlog = std::mem::take(&mut self.backlog);
            let taken = self.write(backlog.waiting());
            self.backlog = backlog;
            if taken == 0 {
                return;
            }
            self.backlog.took(taken);
        }
    }
}
