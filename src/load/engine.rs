//! The one thread of media: sockets, transports, the publisher's clock, and the phases of a run.

use std::collections::VecDeque;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};

use crate::load::http::{Caller, Url};
use crate::load::janus::Janus;
use crate::load::link::{Link, Received, Shared};
use crate::load::options::{Fault, Options};
use crate::load::peer::{Media, Peer};
use crate::load::publisher::{AUDIO_SSRC, Publisher, VIDEO_SSRC};
use crate::load::report::Report;
use crate::load::sdp::{Credentials, Ours};
use crate::load::sessions::{Ask, End, Server, Session, Sessions};
use crate::load::usage::{Cpu, Machine, cpu, machine, rss_kib};
use crate::load::viewer::{Times, Totals, Viewer};
use crate::net::client::{Datagrams, Poll, real_time_ns};

/// Between two looks at everybody's timers.
const SWEEP: Duration = Duration::from_millis(5);
/// How long the publisher, or the last viewer, may take to have media.
const PATIENCE: Duration = Duration::from_secs(15);
/// From the last join to the measurement.
const SETTLE: Duration = Duration::from_secs(1);
/// When a surge begins, if one is asked for.
const SURGE_AFTER: Duration = Duration::from_secs(10);
/// When the faulty viewers begin to be so: all of them had media in the window.
const FAULT_AFTER: Duration = Duration::from_secs(2);
/// How long packets of the window may still arrive.
const DRAIN: Duration = Duration::from_millis(500);
const PROGRESS: Duration = Duration::from_secs(5);
/// Between two reads of a viewer's socket.
///
/// A socket in an epoll set makes each packet wake the reader inside the server's send call, which
/// the network would not do. Reading by time does not: the kernel's receive time says when a packet
/// came. Trade: longer makes the kernel hold more packets, shorter makes more empty reads.
const READ_INTERVAL: Duration = Duration::from_millis(12);
/// Sockets read before the publisher's clock is looked at.
const READS_A_TURN: usize = 64;

/// A run.
pub struct Engine<'a> {
    options: &'a Options,
    shared: Shared,
    tokens: Vec<Option<String>>,
    sessions: Sessions,
    wake: UnixStream,
    poll: Poll,
    ready: Vec<usize>,
    datagrams: Datagrams,
    peers: Vec<Option<Peer>>,
    locals: Vec<Credentials>,
    asked: Vec<Option<Instant>>,
    ends: Vec<End>,
    janus: Option<Arc<Janus>>,
    totals: Totals,
    /// Sessions that were refused or broke, and the first reason.
    failures: usize,
    first_failure: Option<String>,
    next_sweep: Instant,
    next_progress: Instant,
    received_at_progress: u64,
    /// Viewers whose sockets are read by time, soonest first.
    reads: VecDeque<(Instant, usize)>,
    scratch: Vec<Vec<u8>>,
}

/// Numbers at an edge of the window.
#[derive(Clone, Copy)]
struct Edge {
    at: Instant,
    server: Cpu,
    own: Cpu,
    machine: Machine,
    numbers: [u32; 2],
}

impl<'a> Engine<'a> {
    pub fn new(options: &'a Options, tokens: Vec<Option<String>>) -> anyhow::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let poll = Poll::new()?;
        poll.add(&wake, usize::MAX)?;
        let janus = options.janus.as_deref().map(Janus::new).transpose()?.map(Arc::new);
        if let Some(janus) = janus.clone() {
            std::thread::spawn(move || janus.keep_alive());
        }
        let now = Instant::now();
        let count = options.watching() + 1;
        let locals = (0..count).map(|index| Credentials {
            ufrag: format!("load{:05}", index),
            password: format!("load-password-{:05}-{:08x}", index, std::process::id()),
        });
        Ok(Self {
            options,
            shared: Shared::new(options.profile)?,
            tokens,
            sessions: Sessions::start(&waker)?,
            wake,
            poll,
            ready: Vec::new(),
            datagrams: Datagrams::new(),
            peers: (0..count).map(|_| None).collect(),
            locals: locals.collect(),
            asked: vec![None; count],
            ends: Vec::new(),
            janus,
            totals: Totals::default(),
            failures: 0,
            first_failure: None,
            next_sweep: now,
            next_progress: now + PROGRESS,
            received_at_progress: 0,
            reads: VecDeque::new(),
            scratch: Vec::new(),
        })
    }

    /// Publish, join, measure. Sessions that were opened are in [`Self::into_sessions`].
    pub fn run(&mut self) -> anyhow::Result<Report> {
        self.join(0)?;
        let patient = Instant::now() + PATIENCE;
        while !self.publishing() {
            if Instant::now() > patient || self.failures > 0 {
                bail!("the publisher has no session: {}", self.why());
            }
            self.turn(patient)?;
        }
        self.turns_until(Instant::now() + self.options.warm_up())?;
        let rss_before = self.options.pid.map(rss_kib).transpose()?;
        let began = Instant::now();
        self.ramp()?;
        let join_time = began.elapsed();
        self.turns_until(Instant::now() + SETTLE)?;

        let start = self.edge()?;
        self.totals.window = Some(start.numbers.map(|first| (first, u32::MAX)));
        if let Some(publisher) = self.publisher() {
            publisher.latest = Duration::ZERO;
        }
        if self.options.faulty > 0 {
            self.turns_until(start.at + FAULT_AFTER)?;
            self.misbehave();
        }
        if let Some(factor) = self.options.surge {
            self.turns_until(start.at + SURGE_AFTER)?;
            if let Some(publisher) = self.publisher() {
                publisher.surge(factor);
            }
        }
        self.turns_until(start.at + self.options.duration())?;
        let end = self.edge()?;
        let window = [0, 1].map(|kind| (start.numbers[kind], end.numbers[kind]));
        self.totals.window = Some(window);
        self.turns_until(Instant::now() + DRAIN)?;
        let rss = match (rss_before, self.options.pid) {
            (Some(before), Some(pid)) => Some((before, rss_kib(pid)?)),
            _ => None,
        };
        self.report(&start, &end, rss, join_time)
    }

    /// What to end.
    pub fn into_sessions(self) -> Vec<End> {
        self.ends
    }

    fn why(&self) -> &str {
        self.first_failure.as_deref().unwrap_or("no media path in time")
    }

    fn publisher(&mut self) -> Option<&mut Publisher> {
        match self.peers[0].as_mut().map(|peer| &mut peer.media) {
            Some(Media::Publisher(publisher)) => Some(publisher),
            _ => None,
        }
    }

    fn publishing(&self) -> bool {
        self.peers[0].as_ref().is_some_and(|peer| peer.link.keys.is_some())
    }

    fn join(&mut self, index: usize) -> anyhow::Result<()> {
        let ours = Ours {
            local: self.locals[index].clone(),
            fingerprint: self.shared.fingerprint.clone(),
            sends: (index == 0).then_some([VIDEO_SSRC, AUDIO_SSRC]),
            audio: self.options.audio,
            feedback: index > 0 && self.options.feedback,
        };
        let server = match &self.janus {
            Some(janus) => Server::Janus(janus.clone()),
            None => Server::Whip(Url::parse(&self.options.endpoint(index))?),
        };
        let source = self.options.source(index, server.url().address()?.ip());
        let caller = Caller { token: self.tokens[index].clone(), source };
        let tcp = self.options.tcp;
        self.sessions.ask(Ask { index, server, caller, ours, source, tcp });
        Ok(())
    }

    /// Everybody joins; until all have media or failed.
    fn ramp(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        let gap = Duration::from_secs_f64(1.0 / self.options.ramp);
        for index in 1..=self.options.watching() {
            self.turns_until(start + gap * (index as u32 - 1))?;
            self.join(index)?;
        }
        let patient = Instant::now() + PATIENCE;
        let all = self.options.watching();
        while self.with_media(all) + self.failures < all && Instant::now() < patient {
            self.turn(patient)?;
        }
        let missing = all - self.with_media(all);
        if missing > 0 {
            eprintln!("{missing} of {all} viewers have no media: {}", self.why());
        }
        if missing == all { bail!("nobody has media") } else { Ok(()) }
    }

    /// The faulty viewers begin.
    fn misbehave(&mut self) {
        let well = self.options.viewers;
        if self.options.fault != Fault::Nack {
            self.reads.retain(|(_, index)| *index <= well);
        }
        let now = Instant::now();
        for slot in &mut self.peers[well + 1..] {
            match (self.options.fault, slot.as_mut()) {
                (Fault::Vanish, _) => *slot = None,
                // A failed peer is not ticked: it sends no checks and no reports.
                (Fault::Unread, Some(peer)) => peer.failed = true,
                (Fault::Nack, Some(Peer { media: Media::Viewer(viewer), .. })) => {
                    viewer.next_storm = Some(now);
                }
                _ => {}
            }
        }
    }

    /// Also the faulty ones, while they have a socket.
    fn viewers(&self) -> impl Iterator<Item = (usize, &Viewer)> {
        self.peers.iter().enumerate().filter_map(|(index, peer)| match &peer.as_ref()?.media {
            Media::Viewer(viewer) => Some((index, &**viewer)),
            Media::Publisher(_) => None,
        })
    }

    /// Of the first so many viewers.
    fn with_media(&self, of: usize) -> usize {
        let media =
            |(index, viewer): &(usize, &Viewer)| *index <= of && viewer.first_media.is_some();
        self.viewers().filter(media).count()
    }

    fn turns_until(&mut self, until: Instant) -> anyhow::Result<()> {
        while Instant::now() < until {
            self.turn(until)?;
        }
        Ok(())
    }

    /// Wait for something and do it.
    fn turn(&mut self, until: Instant) -> anyhow::Result<()> {
        let publisher = match &self.peers[0] {
            Some(Peer { link, media: Media::Publisher(publisher), .. }) if link.keys.is_some() => {
                publisher.due()
            }
            _ => until,
        };
        let read = self.reads.front().map_or(until, |(due, _)| *due);
        let due = until.min(self.next_sweep).min(publisher).min(read);
        self.poll.wait(due.saturating_duration_since(Instant::now()), &mut self.ready)?;
        for at in 0..self.ready.len() {
            match self.ready[at] {
                usize::MAX => self.take_sessions()?,
                index => self.receive(index, None),
            }
        }
        self.read_by_time();
        let now = Instant::now();
        if let Some(peer) = &mut self.peers[0] {
            peer.publish(now)?;
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP;
            self.sweep(now);
        }
        Ok(())
    }

    fn read_by_time(&mut self) {
        let now = Instant::now();
        for _ in 0..READS_A_TURN {
            let Some((due, index)) = self.reads.front().copied().filter(|(due, _)| *due <= now)
            else {
                return;
            };
            self.reads.pop_front();
            self.reads.push_back((now + READ_INTERVAL, index));
            self.receive(index, Some(due));
        }
    }

    /// From now on this viewer's socket wakes nobody.
    fn stop_waking(&mut self, now: Instant, index: usize) -> anyhow::Result<()> {
        let Some(peer) = &self.peers[index] else { return Ok(()) };
        self.poll.remove(&peer.wire)?;
        // Spread over the interval, however fast they join.
        let due = now + READ_INTERVAL.mul_f64((index * 61 % 100) as f64 / 100.0);
        let at = self.reads.partition_point(|(other, _)| *other <= due);
        self.reads.insert(at, (due, index));
        Ok(())
    }

    fn take_sessions(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 256];
        while matches!(self.wake.read(&mut bytes), Ok(1..)) {}
        while let Some((index, result)) = self.sessions.poll() {
            match result {
                Ok(session) => self.begin(session)?,
                Err(error) => self.fail(index, &error),
            }
        }
        Ok(())
    }

    fn begin(&mut self, session: Session) -> anyhow::Result<()> {
        let Session { index, asked, theirs, wire, end } = session;
        let now = Instant::now();
        let local = self.locals[index].clone();
        let link = Link::new(now, &self.shared, local, &theirs, wire.local_addr()?);
        self.poll.add(&wire, index)?;
        self.ends.extend(end);
        self.asked[index] = Some(asked);
        let media = if index == 0 {
            Media::Publisher(Box::new(Publisher::new(now, self.options)))
        } else {
            let mut viewer = Viewer::new(now, index, index <= self.options.viewers);
            if self.options.feedback {
                viewer.report_arrivals(now);
            }
            Media::Viewer(Box::new(viewer))
        };
        let mut peer = Peer { wire, link, media, failed: false };
        peer.link.tick(now, &mut self.scratch)?;
        peer.send(&mut self.scratch);
        self.peers[index] = Some(peer);
        Ok(())
    }

    fn fail(&mut self, index: usize, error: &anyhow::Error) {
        self.failures += 1;
        let who = if index == 0 { "publisher".to_owned() } else { format!("viewer {index}") };
        self.first_failure.get_or_insert(format!("{who}: {error:#}"));
        if let Some(peer) = &mut self.peers[index] {
            peer.failed = true;
        }
    }

    /// Read one socket; `due` is when, if it is read by time.
    fn receive(&mut self, index: usize, due: Option<Instant>) {
        let Some(peer) = &mut self.peers[index] else { return };
        let (now, read) = (Instant::now(), real_time_ns());
        // What came before the read was due is not late.
        let due = due.map_or(0, |due| read - now.saturating_duration_since(due).as_nanos() as u64);
        let times = |arrived| Times { arrived, due: arrived.max(due), read };
        let mut connected = false;
        let Peer { wire, link, media, failed: _ } = peer;
        let (totals, out) = (&mut self.totals, &mut self.scratch);
        let mut broken = None;
        let received = wire.drain(&mut self.datagrams, |arrived, datagram| {
            match link.handle(now, datagram, out) {
                Ok(Received::Rtp(plain)) => {
                    if let Media::Viewer(viewer) = media {
                        viewer.receive(now, &plain, times(arrived), totals);
                    }
                }
                Ok(Received::Rtcp(plain)) => match media {
                    Media::Viewer(viewer) => viewer.receive_rtcp(now, &plain),
                    Media::Publisher(publisher) => {
                        publisher.receive_rtcp(&plain, &mut |bytes| out.push(bytes.to_vec()));
                    }
                },
                Ok(Received::Connected) => match media {
                    Media::Publisher(publisher) => **publisher = Publisher::new(now, self.options),
                    Media::Viewer(_) => connected = !self.options.wake,
                },
                Ok(Received::Control) => {}
                Ok(Received::Closed) => broken = Some(anyhow!("the server ended the session")),
                Err(error) => {
                    // Media that does not open is corrupt; a handshake that breaks is the end.
                    totals.corrupt += u64::from(link.keys.is_some());
                    broken = link.keys.is_none().then_some(error);
                }
            }
        });
        peer.send(out);
        let stopped = if connected { self.stop_waking(now, index) } else { Ok(()) };
        let broken = broken.or_else(|| received.err().map(anyhow::Error::from)).or(stopped.err());
        let failed = self.peers[index].as_ref().is_some_and(|peer| peer.failed);
        if let Some(error) = broken.filter(|_| !failed) {
            self.fail(index, &error);
        }
    }

    fn sweep(&mut self, now: Instant) {
        for index in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[index] else { continue };
            if peer.failed {
                continue;
            }
            let done = peer.tick(now, &mut self.scratch);
            peer.send(&mut self.scratch);
            if let Err(error) = done {
                self.fail(index, &error);
            }
        }
        if now >= self.next_progress {
            let seconds = (now - self.next_progress + PROGRESS).as_secs_f64();
            let received = self.totals.received - self.received_at_progress;
            eprintln!(
                "{} of {} viewers have media, {:.0} packets/s",
                self.with_media(self.options.watching()),
                self.options.watching(),
                received as f64 / seconds
            );
            self.received_at_progress = self.totals.received;
            self.next_progress = now + PROGRESS;
        }
    }

    fn edge(&self) -> anyhow::Result<Edge> {
        let numbers = match self.peers[0].as_ref().map(|peer| &peer.media) {
            Some(Media::Publisher(publisher)) => publisher.numbers(),
            _ => bail!("the publisher is gone"),
        };
        Ok(Edge {
            at: Instant::now(),
            server: self.options.pid.map(cpu).transpose()?.unwrap_or_default(),
            own: cpu(std::process::id())?,
            machine: machine()?,
            numbers,
        })
    }

    fn report(
        &mut self,
        start: &Edge,
        end: &Edge,
        rss: Option<(u64, u64)>,
        join_time: Duration,
    ) -> anyhow::Result<Report> {
        let mut report = Report {
            viewers: self.options.viewers,
            with_media: self.with_media(self.options.viewers),
            failures: self.failures,
            seconds: (end.at - start.at).as_secs_f64(),
            sent: [0, 1].map(|kind| u64::from(end.numbers[kind] - start.numbers[kind])),
            server: self.options.pid.map(|_| end.server.since(start.server)),
            own: end.own.since(start.own),
            busy_us: end.machine.busy_us - start.machine.busy_us,
            machine_us: end.machine.all_us - start.machine.all_us,
            rss,
            join_time,
            ..Report::default()
        };
        if let Some(Media::Publisher(publisher)) = self.peers[0].as_ref().map(|peer| &peer.media) {
            report.publisher_late_us = publisher.latest.as_micros() as u64;
            report.key_frames_asked = publisher.key_frames_asked;
            report.nacked = publisher.nacked;
        }
        let mut worst = u64::MAX;
        let mut joins = Vec::new();
        let links = self.peers.iter().skip(1).flatten().map(|peer| &peer.link);
        report.profile = links.flat_map(|link| &link.keys).next().map_or("none", |k| k.profile);
        for (index, viewer) in self.viewers().filter(|(_, viewer)| viewer.counts) {
            worst = worst.min(viewer.measured);
            let times = self.asked[index].zip(viewer.first_media);
            joins.extend(times.map(|(asked, first)| (first - asked).as_micros() as u64));
        }
        report.worst_viewer = if joins.len() < self.options.viewers { 0 } else { worst };
        joins.into_iter().for_each(|us| report.join.record(us));
        report.totals = std::mem::take(&mut self.totals);
        Ok(report)
    }
}
