//! A core with one publisher and many viewers that have done real ICE and DTLS handshakes, in
//! virtual time and without sockets: what the benchmarks and the counts drive.
#![allow(dead_code, reason = "each measurement uses its part")]
#![expect(clippy::disallowed_methods, reason = "virtual time needs a starting point")]

#[path = "../../tests/sim/media.rs"]
pub mod media;
#[path = "../../tests/sim/peer.rs"]
pub mod peer;
#[path = "../../tests/sim/reporter.rs"]
mod reporter;
#[path = "../../tests/sim/tracks.rs"]
mod tracks;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom::rtp::packet::FixedHeader;
use greenroom::sfu::command::{Purpose, ShardCommand, TransportSpec};
use greenroom::sfu::egress::{Batch, Egress, Path};
use greenroom::sfu::transport::{DtlsRole, IceCredentials, Profile, Remote, Shared, SrtpProfiles};
use greenroom::sfu::{Sfu, SfuConfig};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use signaling::media::{Audience, CloseReason, RoomKey, Seat, TransportId};

use media::{Media, SOUND_PT, VIDEO_PT, Watch, extended, payload};
use peer::Peer;
use tracks::{slots_out, sound_in, video_in};

const ROOM: RoomKey = RoomKey(1);
const HOST_SSRC: u32 = 1000;
const SOUND_SSRC: u32 = 2000;
/// Packets of one frame.
pub const FRAME_PACKETS: u16 = 5;
/// Bytes of one datagram as a viewer gets it: RTP header, payload, GCM tag.
pub const DATAGRAM: usize = 1200;
const PAYLOAD: usize = DATAGRAM - 12 - 16;
const FRAME_TIME: Duration = Duration::from_micros(33_333);

/// What the core handed over to be sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Batches: each becomes one send call.
    pub calls: u64,
    /// Messages: each becomes one run of datagrams.
    pub messages: u64,
    /// Datagrams.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The cores of the shards, their peers and the time.
pub struct Rig {
    pub cores: Vec<Sfu>,
    pub now: Instant,
    pub sent: Sent,
    batch: Batch,
    profile: Profile,
    /// The first is the publisher.
    peers: Vec<Peer>,
    ids: Vec<TransportId>,
    shards: Vec<u8>,
    at: HashMap<SocketAddr, usize>,
    next_number: u16,
    header: FixedHeader,
    frame: u32,
    transport_sequence: u16,
    /// Each frame comes with a packet of sound before it.
    pub sound: bool,
}

impl Rig {
    /// A room on one shard: a publisher on air and `viewers` who get its video.
    pub fn new(viewers: u16, profile: Profile) -> Self {
        Self::on(1, viewers, profile)
    }

    /// A room whose publisher is on the first of `shards` shards and whose viewers are on all.
    pub fn on(shards: u8, viewers: u16, profile: Profile) -> Self {
        let shared = Arc::new(Shared::generate().expect("a certificate"));
        let config = SfuConfig {
            uplink_bps: 10_000_000_000,
            uplink_packets: 10_000_000,
            ..SfuConfig::default()
        };
        let core = |shard| Sfu::new(config.clone(), shard, shared.clone(), 1);
        let mut rig = Self {
            cores: (0..shards).map(core).collect(),
            now: Instant::now(),
            sent: Sent::default(),
            batch: Batch::new(),
            profile,
            peers: Vec::new(),
            ids: Vec::new(),
            shards: Vec::new(),
            at: HashMap::new(),
            next_number: 0,
            header: FixedHeader {
                padding: false,
                marker: false,
                payload_type: VIDEO_PT,
                sequence: 65_000,
                timestamp: u32::MAX - 90_000,
                ssrc: HOST_SSRC,
            },
            frame: 0,
            transport_sequence: 0,
            sound: false,
        };
        rig.add(0, Purpose::Publish(vec![sound_in(SOUND_SSRC), video_in(HOST_SSRC)]));
        let seat = Seat::HOST;
        let (source, audience) = (Some(rig.ids[0]), Audience::Everyone);
        for shard in 0..shards {
            let command = ShardCommand::SetSeat { room: ROOM, seat, source, audience };
            rig.with_core(shard, |core, now, egress| core.handle_command(now, command, egress));
        }
        for number in 0..viewers {
            rig.add((number % u16::from(shards)) as u8, watch(number));
        }
        let served = |core: &Sfu| core.population().connecting == 0;
        rig.run_until(|rig| rig.peers.iter().all(Peer::connected) && rig.cores.iter().all(served));
        rig
    }

    /// Add a peer: its command is applied, nothing has been sent yet.
    fn add(&mut self, shard: u8, purpose: Purpose) -> usize {
        let number = self.next_number;
        self.next_number += 1;
        let local = IceCredentials {
            ufrag: format!("server{number}"),
            password: format!("password-of-the-server-{number:08}"),
        };
        // Whoever publishes does it by `frame`; the peer itself never sends media.
        let media = Media::Watch(Watch::default());
        let srtp = match self.profile {
            Profile::Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            Profile::Cm => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        };
        let peer = Peer::with_profile(self.now, number, local.clone(), media, srtp);
        let id = TransportId::new(shard, u64::from(number));
        let remote = Remote {
            ice: peer.local.clone(),
            fingerprint: peer.fingerprint,
            role: DtlsRole::Client,
        };
        let spec = TransportSpec {
            id,
            room: ROOM,
            local_ice: local,
            remote: Some(remote),
            srtp: SrtpProfiles::GcmOrCm,
            data_channels: false,
            lost_after: Duration::from_secs(3),
            purpose,
        };
        self.at.insert(peer.address, self.peers.len());
        self.peers.push(peer);
        self.ids.push(id);
        self.shards.push(shard);
        let command = ShardCommand::AddTransport(Box::new(spec));
        self.with_core(shard, |core, now, egress| core.handle_command(now, command, egress));
        self.peers.len() - 1
    }

    /// One more viewer, from its command to its keys, and away again. Returns the time spent in
    /// the core until it was connected, its own half of the handshake not included.
    pub fn join_and_leave(&mut self) -> Duration {
        let purpose = watch(self.next_number);
        let begun = Instant::now();
        let index = self.add(0, purpose);
        let mut inside = begun.elapsed();
        while !self.peers[index].connected() {
            inside += self.step(index..index + 1);
        }
        let reason = CloseReason::Requested;
        let command = ShardCommand::Close { id: self.ids[index], reason };
        self.with_core(0, |core, now, egress| core.handle_command(now, command, egress));
        let peer = self.peers.pop().expect("the one just added");
        self.at.remove(&peer.address);
        self.ids.pop();
        self.shards.pop();
        // Its goodbye was for a peer that is gone.
        inside
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..10_000 {
            if done(self) {
                return;
            }
            self.step(0..self.peers.len());
        }
        panic!("not done in time: {:?}", self.cores[0].counters());
    }

    /// What these peers and the cores have for each other after a millisecond; the time spent in
    /// the cores.
    fn step(&mut self, peers: std::ops::Range<usize>) -> Duration {
        self.now += Duration::from_millis(1);
        self.exchange(peers)
    }

    fn exchange(&mut self, peers: std::ops::Range<usize>) -> Duration {
        let mut inside = Duration::ZERO;
        for peer in peers {
            let now = self.now;
            if self.peers[peer].next_tick() <= now {
                self.peers[peer].tick(now);
            }
            while let Some(mut bytes) = self.peers[peer].out.pop_front() {
                let path = Path { local: 0, remote: self.peers[peer].address };
                inside += self.with_core(self.shards[peer], |core, now, egress| {
                    core.handle_datagram(now, path, &mut bytes, egress);
                });
            }
        }
        inside + self.time_passes()
    }

    fn time_passes(&mut self) -> Duration {
        let mut inside = Duration::ZERO;
        for shard in 0..self.cores.len() {
            while self.cores[shard].poll_timeout().is_some_and(|due| due <= self.now) {
                inside += self.with_core(shard as u8, |core, now, egress| {
                    core.handle_timeout(now, egress);
                    core.flush(now, egress);
                });
            }
        }
        inside
    }

    /// Do something to a core and deliver what it sends; the time spent in it.
    fn with_core(
        &mut self,
        shard: u8,
        act: impl FnOnce(&mut Sfu, Instant, &mut Egress<'_>),
    ) -> Duration {
        let mut out = Vec::new();
        let mut sink = |batch: &mut Batch| {
            for message in &batch.messages {
                let bytes = &batch.bytes[message.start..message.start + message.len];
                let datagrams = bytes.chunks(message.segment);
                out.extend(datagrams.map(|d| (message.path.remote, d.to_vec())));
            }
            batch.clear();
        };
        let mut egress = Egress::new(&mut self.batch, &mut sink);
        let begun = Instant::now();
        act(&mut self.cores[usize::from(shard)], self.now, &mut egress);
        relay(&mut self.cores, self.now, &mut egress);
        egress.flush();
        let inside = begun.elapsed();
        for core in &mut self.cores {
            while core.poll_event().is_some() {}
        }
        for (to, bytes) in out {
            if let Some(peer) = self.at.get(&to) {
                self.peers[*peer].receive(self.now, &bytes);
            }
        }
        inside
    }

    /// The next frame as the publisher sends it. Time goes on by a frame; consent is renewed and
    /// whatever else is due happens now, outside of what is measured.
    pub fn frame(&mut self) -> Vec<Vec<u8>> {
        self.now += FRAME_TIME;
        self.time_passes();
        for peer in 0..self.peers.len() {
            if self.peers[peer].next_tick() <= self.now {
                self.exchange(peer..peer + 1);
            }
        }
        self.header.timestamp = self.header.timestamp.wrapping_add(3_000);
        let sound = self.sound.then(|| self.sound_packet());
        let packets = (0..FRAME_PACKETS).map(|part| self.packet(part));
        let packets = sound.into_iter().chain(packets.collect::<Vec<_>>()).collect();
        self.frame += 1;
        packets
    }

    fn sound_packet(&mut self) -> Vec<u8> {
        let header = FixedHeader {
            padding: false,
            marker: false,
            payload_type: SOUND_PT,
            sequence: self.frame as u16,
            timestamp: self.frame.wrapping_mul(1_600),
            ssrc: SOUND_SSRC,
        };
        let mut packet = header.to_bytes().to_vec();
        packet.resize(12 + 80, 0xfc);
        self.peers[0].seal(&packet)
    }

    fn packet(&mut self, part: u16) -> Vec<u8> {
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.marker = part + 1 == FRAME_PACKETS;
        let mut packet = extended(self.header, &mut self.transport_sequence);
        let mut payload = payload(self.frame, part, FRAME_PACKETS, self.frame == 0);
        payload.resize(PAYLOAD, self.frame as u8);
        packet.extend(payload);
        self.peers[0].seal(&packet)
    }

    /// Receive a frame and forward it to every viewer; what would be sent is counted and dropped.
    /// This is the function that is measured.
    #[inline(never)]
    pub fn forward(&mut self, frame: &mut [Vec<u8>]) {
        let Self { cores, now, sent, batch, peers, .. } = self;
        let path = Path { local: 0, remote: peers[0].address };
        let mut sink = |batch: &mut Batch| {
            sent.calls += 1;
            for message in &batch.messages {
                sent.messages += 1;
                sent.packets += message.segments() as u64;
                sent.bytes += message.len as u64;
            }
            batch.clear();
        };
        let mut egress = Egress::new(batch, &mut sink);
        for datagram in frame {
            cores[0].handle_datagram(*now, path, datagram, &mut egress);
        }
        cores[0].flush(*now, &mut egress);
        relay(cores, *now, &mut egress);
        egress.flush();
    }

    /// Forward frames until buffers have their size and the packet cache is full.
    pub fn warm_up(&mut self) {
        for _ in 0..90 {
            let mut frame = self.frame();
            self.forward(&mut frame);
        }
        self.sent = Sent::default();
    }
}

/// Hand over what the cores have for each other.
fn relay(cores: &mut [Sfu], now: Instant, egress: &mut Egress<'_>) {
    for from in 0..cores.len() {
        while let Some((to, message)) = cores[from].poll_relay() {
            // Another shard sends by its own batch.
            egress.flush();
            cores[usize::from(to)].handle_relay(now, from as u8, message, egress);
        }
    }
    egress.flush();
}

/// A viewer with slots for the host's video and sound.
fn watch(number: u16) -> Purpose {
    let tracks = slots_out(Seat::HOST, 500_000 + 10 * u32::from(number));
    Purpose::Watch { tracks, backstage: false, own_seat: None }
}
