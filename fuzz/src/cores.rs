//! Cores of shards with peers that hold real keys, in virtual time and without sockets: a fuzz target decides what
//! the peers say, and this looks at everything that the cores send.
#![expect(clippy::disallowed_methods, reason = "virtual time needs a starting point")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use greenroom::rtp::dependency::frame_number;
use greenroom::rtp::extensions::transport_sequence;
use greenroom::rtp::packet::{PacketKind, RtpHeader};
use greenroom::rtp::rtcp::packets;
use greenroom::sfu::command::{Purpose, ShardCommand, TransportSpec};
use greenroom::sfu::egress::{Batch, Egress, Path};
use greenroom::sfu::transport::{IceCredentials, Shared, SrtpProfiles};
use greenroom::sfu::{Sfu, SfuConfig};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::marshal::{MarshalSize, Unmarshal};
use signaling::media::{CloseReason, MediaEvent, RoomKey, TransportId};

use super::peers::media::{AV1_PT, AV1_RTX_PT, DEPENDENCY, Media, TRANSPORT_CC, Watch};
use super::peers::peer::Peer;

pub const ROOM: RoomKey = RoomKey(1);

/// Wakes of one core in one step, after which it is taken to spin. A minute of a pacer that wakes every 5 ms.
const MAX_WAKES: u32 = 12_000;
/// Facts that one step may tell the control plane.
const MAX_TOLD: usize = 4096;

/// A certificate for all runs: making one takes longer than most of them.
static SHARED: LazyLock<Arc<Shared>> =
    LazyLock::new(|| Arc::new(Shared::generate().expect("a certificate")));

/// One client.
pub struct Member {
    pub peer: Peer,
    pub id: TransportId,
    pub shard: u8,
    /// Where it sends from.
    pub path: Path,
    /// Its data goes nowhere from now on.
    pub closed: bool,
    /// RTP that came, by SSRC and sequence number. No run is long enough to use a number twice.
    pub received: BTreeMap<(u32, u16), Vec<u8>>,
    /// The newest number by SSRC.
    pub newest: BTreeMap<u32, u16>,
    /// The streams in which it may get something new, if that is known.
    pub allowed: Option<BTreeSet<u32>>,
    /// It is sent dependency descriptors.
    pub reads_descriptors: bool,
    /// Transport-wide numbers and when they came, since they were last told.
    pub arrived: Vec<(u16, Instant)>,
    /// Every transport-wide number that came, with how often.
    pub wide: BTreeMap<u16, u32>,
    publishes: bool,
    /// Addresses from which it sent authentic checks.
    known: Vec<SocketAddr>,
}

/// What the cores told the control plane that a target may want to know.
#[derive(Debug, Default)]
pub struct Told {
    pub closed: Vec<(TransportId, CloseReason)>,
    pub data: Vec<(TransportId, Vec<u8>)>,
}

pub struct Cores {
    pub cores: Vec<Sfu>,
    pub now: Instant,
    pub members: Vec<Member>,
    pub told: Told,
    batch: Batch,
    /// Datagrams given to each core.
    handled: Vec<u64>,
    /// RTP packets and bytes that came out of each.
    sent: Vec<(u64, u64)>,
}

impl Cores {
    pub fn new(shards: u8, seed: u64) -> Self {
        let core = |shard| Sfu::new(SfuConfig::default(), shard, SHARED.clone(), seed);
        Self {
            cores: (0..shards).map(core).collect(),
            now: Instant::now(),
            members: Vec::new(),
            told: Told::default(),
            batch: Batch::new(),
            handled: vec![0; usize::from(shards)],
            sent: vec![(0, 0); usize::from(shards)],
        }
    }

    /// Add a client; nothing has been sent yet.
    pub fn add(&mut self, shard: u8, purpose: Purpose, setup: Setup) -> usize {
        let number = self.members.len() as u16;
        let local = IceCredentials {
            ufrag: format!("server{number}"),
            password: format!("password-of-the-server-{number:08}"),
        };
        // What it sends is the target's business.
        let media = Media::Watch(Watch::default());
        let Setup { profile, connects, data_channels } = setup;
        let peer = Peer::in_role(self.now, number, local.clone(), media, profile, connects);
        let id = TransportId::new(shard, u64::from(number));
        let publishes = matches!(purpose, Purpose::Publish(_));
        let spec = TransportSpec {
            id,
            room: ROOM,
            local_ice: local,
            remote: Some(peer.as_remote()),
            srtp: SrtpProfiles::GcmOrCm,
            data_channels,
            lost_after: Duration::from_secs(3),
            purpose,
        };
        self.members.push(Member {
            id,
            shard,
            path: Path { local: 0, remote: peer.address },
            closed: false,
            received: BTreeMap::new(),
            newest: BTreeMap::new(),
            allowed: None,
            reads_descriptors: false,
            arrived: Vec::new(),
            wide: BTreeMap::new(),
            publishes,
            known: vec![peer.address],
            peer,
        });
        self.command(shard, ShardCommand::AddTransport(Box::new(spec)));
        usize::from(number)
    }

    /// Until everybody has keys.
    pub fn connect(&mut self) {
        for _ in 0..2_000 {
            let served = |core: &Sfu| core.population().connecting == 0;
            if self.members.iter().all(|m| m.peer.connected()) && self.cores.iter().all(served) {
                return;
            }
            self.pass(Duration::from_millis(1));
        }
        panic!("no handshake on a path without faults: {:?}", self.cores[0].counters());
    }

    pub fn command(&mut self, shard: u8, command: ShardCommand) {
        self.with_core(shard, |core, now, egress| core.handle_command(now, command, egress));
    }

    /// A datagram for a shard.
    pub fn datagram(&mut self, shard: u8, path: Path, mut bytes: Vec<u8>) {
        self.handled[usize::from(shard)] += 1;
        self.with_core(shard, |core, now, egress| {
            core.handle_datagram(now, path, &mut bytes, egress);
        });
    }

    /// A datagram of a client.
    pub fn send(&mut self, member: usize, bytes: Vec<u8>) {
        let Member { shard, path, .. } = self.members[member];
        self.datagram(shard, path, bytes);
    }

    /// The client is at another address from now on, and says so by a check. It is the same one each time, or its first.
    pub fn move_away(&mut self, member: usize, away: bool) {
        let member = &mut self.members[member];
        member.path.remote.set_port(5000 + u16::from(away));
        if !member.known.contains(&member.path.remote) {
            member.known.push(member.path.remote);
        }
    }

    /// Time goes by; everybody does what is due.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        for member in 0..self.members.len() {
            self.tick(member);
            self.send_waiting(member);
        }
        self.run_due();
    }

    /// The same, but what clients have to say waits in their `out`.
    pub fn pass_unheard(&mut self, time: Duration) {
        self.now += time;
        (0..self.members.len()).for_each(|member| self.tick(member));
        self.run_due();
    }

    /// What a client does by itself: checks, and the handshake.
    fn tick(&mut self, member: usize) {
        let peer = &mut self.members[member].peer;
        if peer.next_tick() <= self.now {
            peer.tick(self.now);
        }
    }

    /// What a client has to say.
    pub fn send_waiting(&mut self, member: usize) {
        while let Some(bytes) = self.members[member].peer.out.pop_front() {
            self.send(member, bytes);
        }
    }

    fn run_due(&mut self) {
        for shard in 0..self.cores.len() {
            let mut wakes = 0;
            while self.cores[shard].poll_timeout().is_some_and(|due| due <= self.now) {
                self.with_core(shard as u8, |core, now, egress| {
                    core.handle_timeout(now, egress);
                    core.flush(now, egress);
                });
                wakes += 1;
                assert!(wakes < MAX_WAKES, "the core wakes up again and again");
            }
        }
    }

    /// End of a turn.
    pub fn flush(&mut self, shard: u8) {
        self.with_core(shard, |core, now, egress| core.flush(now, egress));
    }

    /// Do something to a core; whatever comes out of it arrives.
    pub fn with_core(&mut self, shard: u8, act: impl FnOnce(&mut Sfu, Instant, &mut Egress<'_>)) {
        self.act(usize::from(shard), act);
        // What the cores have for each other, until nobody has anything.
        while let Some((from, to, message)) = self.cores.iter_mut().enumerate().find_map(|core| {
            let (from, (to, message)) = (core.0, core.1.poll_relay()?);
            Some((from as u8, to, message))
        }) {
            self.act(usize::from(to), |core, now, egress| {
                core.handle_relay(now, from, message, egress);
            });
        }
        self.listen();
    }

    fn act(&mut self, shard: usize, act: impl FnOnce(&mut Sfu, Instant, &mut Egress<'_>)) {
        let mut out = Vec::new();
        let mut sink = |batch: &mut Batch| {
            for message in &batch.messages {
                let bytes = &batch.bytes[message.start..message.start + message.len];
                out.extend(bytes.chunks(message.segment).map(|d| (message.path, d.to_vec())));
            }
            batch.clear();
        };
        let mut egress = Egress::new(&mut self.batch, &mut sink);
        act(&mut self.cores[shard], self.now, &mut egress);
        egress.flush();
        self.deliver(shard, out);
    }

    fn listen(&mut self) {
        let mut told = 0;
        for core in &mut self.cores {
            while let Some(addressed) = core.poll_event() {
                told += 1;
                let id = addressed.transport;
                match addressed.event {
                    MediaEvent::Closed(reason) => self.told.closed.push((id, reason)),
                    MediaEvent::Data(_, bytes) => self.told.data.push((id, bytes.to_vec())),
                    _ => {}
                }
            }
        }
        assert!(told < MAX_TOLD, "{told} events of one step");
        for (id, reason) in &self.told.closed {
            assert_ne!(*reason, CloseReason::Internal, "an engine panicked");
            for member in self.members.iter_mut().filter(|member| member.id == *id) {
                member.closed = true;
            }
        }
    }

    fn deliver(&mut self, shard: usize, out: Vec<(Path, Vec<u8>)>) {
        for (path, bytes) in out {
            assert_eq!(path.local, 0);
            let member = self.members.iter_mut().find(|member| member.known.contains(&path.remote));
            let member = member.expect("nobody else was ever sent anything");
            assert!(!bytes.is_empty() && bytes.len() <= 1600, "{} bytes", bytes.len());
            if PacketKind::of(&bytes) == Some(PacketKind::Rtp) {
                self.sent[shard].0 += 1;
                self.sent[shard].1 += bytes.len() as u64;
            }
            member.receive(self.now, &bytes);
        }
    }

    /// What must hold at the end of everything.
    pub fn check(&self) {
        for (shard, core) in self.cores.iter().enumerate() {
            let counters = core.counters();
            assert_eq!(counters.datagrams_in, self.handled[shard]);
            assert_eq!((counters.packets_out, counters.bytes_out), self.sent[shard]);
            assert!(counters.packets_in <= counters.datagrams_in);
            assert!(counters.retransmissions <= counters.packets_out);
            let population = core.population();
            let living = population.connecting + population.peers.iter().sum::<u64>();
            assert_eq!(living, core.transports() as u64);
        }
    }
}

/// How a client is set up.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub profile: SrtpProtectionProfile,
    pub data_channels: bool,
    /// It is the DTLS client.
    pub connects: bool,
}

impl Member {
    /// Any bytes sealed as RTP or RTCP; `None` = they have no header to seal by.
    pub fn seal(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let sealer = self.peer.sealer()?;
        let sealed = match PacketKind::of(packet)? {
            PacketKind::Rtp => {
                let header = rtc_rtp::Header::unmarshal(&mut &*packet).ok()?;
                // Of some extensions it says more than there was, and then it would panic.
                if header.marshal_size() > packet.len() {
                    return None;
                }
                sealer.encrypt_rtp_with_header(packet, &header)
            }
            PacketKind::Rtcp => sealer.encrypt_rtcp(packet),
            _ => return None,
        };
        sealed.ok().map(|bytes| bytes.to_vec())
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        match PacketKind::of(bytes) {
            Some(PacketKind::Stun | PacketKind::Dtls) => self.peer.receive(now, bytes),
            Some(PacketKind::Rtcp) => {
                let plain = self.peer.open(bytes).expect("keys");
                assert!(packets(&plain).all(|packet| packet.is_ok()), "our own RTCP is malformed");
            }
            Some(PacketKind::Rtp) => self.receive_rtp(now, bytes),
            None => panic!("sent what is nothing"),
        }
    }

    fn receive_rtp(&mut self, now: Instant, bytes: &[u8]) {
        assert!(!self.publishes, "media for a publisher");
        assert!(!self.closed, "media for somebody whose transport has ended");
        let plain = self.peer.open(bytes).expect("keys");
        let header = RtpHeader::parse(&plain).expect("our own RTP is well formed");
        let key = (header.ssrc, header.sequence);
        // RFC 3711 9.1: under one index the same bytes, or the key stream is given away.
        if let Some(before) = self.received.get(&key) {
            assert_eq!(before, &plain, "one number, two packets");
        } else {
            let allowed =
                self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&header.ssrc));
            assert!(allowed, "stream {} is not for this viewer now", header.ssrc);
            self.received.insert(key, plain.clone());
        }
        let newest = self.newest.entry(header.ssrc).or_insert(header.sequence);
        if (header.sequence.wrapping_sub(*newest) as i16) > 0 {
            *newest = header.sequence;
        }
        if let Some(descriptor) = header.extensions(&plain).find(DEPENDENCY) {
            assert!(self.reads_descriptors, "a descriptor for who has not asked for any");
            assert!(matches!(header.payload_type, AV1_PT | AV1_RTX_PT), "and for AV1 alone");
            assert!(frame_number(descriptor).is_some(), "cut short");
        }
        let number = header.extensions(&plain).find(TRANSPORT_CC).and_then(transport_sequence);
        if let Some(number) = number {
            self.arrived.push((number, now));
            *self.wide.entry(number).or_insert(0) += 1;
        }
    }
}
