//! The virtual network between peers and shards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom::load::network::{Conditions, Link};
use greenroom::net::relay::RING_MESSAGES;
use greenroom::rtp::track::TrackOut;
use greenroom::sfu::command::{Purpose, ShardCommand, TransportSpec};
use greenroom::sfu::egress::{Batch, Egress, Path};
use greenroom::sfu::relay::RelayMessage;
use greenroom::sfu::transport::{IceCredentials, Shared, SrtpProfiles};
use greenroom::sfu::{Sfu, SfuConfig};
use signaling::media::{Audience, MediaEvent, RoomKey, Seat, TransportId};

use super::media::{Inside, Media, Publish, Sound, Watch};
use super::peer::Peer;
use super::reporter::{Reporter, Tells};
use super::tracks::{
    layers_in, slots_in_red, slots_out, slots_without_numbers, sound_in, sounds_out, video_in,
};

/// 5 ms away, nothing lost.
pub const CLEAN: Conditions = Conditions { delay: Duration::from_millis(5), ..Conditions::CLEAN };

/// 5 % loss, 1 % duplicates, reordering across a few packets.
pub const ROUGH: Conditions = Conditions {
    loss: 0.05,
    duplicate: 0.01,
    delay: Duration::from_millis(20),
    jitter: Duration::from_millis(4),
    reorder: 0.2,
    reorder_by: Duration::from_millis(4),
    ..Conditions::CLEAN
};

/// Headers of IPv4 and UDP, which the rate and the MTU of a path count too.
const IP_UDP: usize = 28;

/// Something done to a shard's core.
type Act<'a> = Box<dyn FnOnce(&mut Sfu, Instant, &mut Egress<'_>) + 'a>;

pub struct World {
    start: Instant,
    pub now: Instant,
    seed: u64,
    pub shards: Vec<Sfu>,
    pub peers: Vec<Peer>,
    /// Each peer's path to its shard and back; conditions may be changed at any time.
    pub links: Vec<Link<Vec<u8>>>,
    shard_of: Vec<usize>,
    transports: Vec<TransportId>,
    peer_at: BTreeMap<SocketAddr, usize>,
    conditions: Conditions,
    /// A shard whose thread does not run: what is for it waits in its rings and sockets.
    stalled: Option<usize>,
    rings: Vec<(u8, RelayMessage)>,
    sockets: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<(TransportId, MediaEvent)>,
    batch: Batch,
}

impl World {
    pub fn new(seed: u64, shards: u8, conditions: Conditions) -> Self {
        let shared = Arc::new(Shared::generate().unwrap());
        let now = Instant::now();
        let core =
            |shard| Sfu::new(SfuConfig::default(), shard, shared.clone(), seed + u64::from(shard));
        Self {
            start: now,
            now,
            seed,
            shards: (0..shards).map(core).collect(),
            peers: Vec::new(),
            links: Vec::new(),
            shard_of: Vec::new(),
            transports: Vec::new(),
            peer_at: BTreeMap::new(),
            conditions,
            stalled: None,
            rings: Vec::new(),
            sockets: Vec::new(),
            events: Vec::new(),
            batch: Batch::new(),
        }
    }

    pub fn add_publisher(
        &mut self,
        room: RoomKey,
        shard: u8,
        packets: u16,
        first: u16,
    ) -> TransportId {
        self.add_speaker(room, shard, packets, first, None)
    }

    /// A publisher with sound that begins `sound` later than the video.
    pub fn add_speaker(
        &mut self,
        room: RoomKey,
        shard: u8,
        packets: u16,
        first: u16,
        sound: Option<Duration>,
    ) -> TransportId {
        let ssrc = 1000 + self.peers.len() as u32 * 10;
        let mut publish = Publish::new(self.now, ssrc, packets, first);
        publish.sound = sound.map(|late| Sound::new(late, ssrc + 2));
        let sound = publish.sound.as_ref().map(|sound| sound_in(sound.ssrc));
        let tracks = sound.into_iter().chain([video_in(ssrc)]).collect();
        self.add(room, shard, Media::Publish(publish), |_| Purpose::Publish(tracks))
    }

    /// A publisher of three simulcast layers; the first has `packets` a frame.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn add_layers(&mut self, room: RoomKey, shard: u8, packets: u16) -> TransportId {
        let ssrc = 1000 + self.peers.len() as u32 * 1000;
        let publish = Publish::new(self.now, ssrc, packets, 65_000).in_layers(self.now);
        let tracks = vec![layers_in(ssrc)];
        self.add(room, shard, Media::Publish(publish), |_| Purpose::Publish(tracks))
    }

    /// A publisher of three simulcast layers and of sound in RED.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn add_layers_in_red(&mut self, room: RoomKey, shard: u8, packets: u16) -> TransportId {
        let ssrc = 1000 + self.peers.len() as u32 * 1000;
        let mut publish = Publish::new(self.now, ssrc, packets, 65_000).in_layers(self.now);
        let mut sound = Sound::new(Duration::ZERO, ssrc + 2);
        sound.red = true;
        publish.sound = Some(sound);
        let tracks = vec![sound_in(ssrc + 2), layers_in(ssrc)];
        self.add(room, shard, Media::Publish(publish), |_| Purpose::Publish(tracks))
    }

    /// A publisher with layers inside its one stream, of `packets` a frame.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn add_layered(
        &mut self,
        room: RoomKey,
        shard: u8,
        packets: u16,
        inside: Inside,
    ) -> TransportId {
        let id = self.add_publisher(room, shard, packets, 65_000);
        self.peers.last_mut().expect("just added").publish().inside = Some(inside);
        id
    }

    /// A viewer with a sound slot and a video slot for one seat.
    pub fn add_viewer(&mut self, room: RoomKey, shard: u8, seat: Seat) -> usize {
        self.add_watch(room, shard, |ssrc| slots_out(seat, ssrc), None)
    }

    /// The same for a client that knows RED.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn add_red_viewer(&mut self, room: RoomKey, shard: u8, seat: Seat) -> usize {
        self.add_watch(room, shard, |ssrc| slots_in_red(seat, ssrc), None)
    }

    /// The same for a client without transport-wide feedback, which tells this instead.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn add_old_viewer(&mut self, room: RoomKey, shard: u8, seat: Seat, tells: Tells) -> usize {
        let reporter = Reporter::new(tells);
        self.add_watch(room, shard, |ssrc| slots_without_numbers(seat, ssrc), Some(reporter))
    }

    /// A viewer with a sound slot for each of these seats.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn add_listener(&mut self, room: RoomKey, shard: u8, seats: &[Seat]) -> usize {
        let ssrc = 500_000 + self.peers.len() as u32 * 10;
        let tracks = sounds_out(seats, ssrc);
        let mut watch = Watch::new(ssrc, ssrc);
        watch.voices = tracks.iter().map(|track| (track.ssrc, Vec::new())).collect();
        self.add(room, shard, Media::Watch(watch), |_| Purpose::Watch {
            tracks,
            backstage: false,
            own_seat: None,
        });
        self.peers.len() - 1
    }

    fn add_watch(
        &mut self,
        room: RoomKey,
        shard: u8,
        slots: impl FnOnce(u32) -> Vec<TrackOut>,
        reporter: Option<Reporter>,
    ) -> usize {
        let ssrc = 500_000 + self.peers.len() as u32 * 10;
        let mut watch = Watch::new(ssrc, ssrc + 1);
        watch.sound_ssrc = ssrc + 2;
        watch.reporter = reporter;
        let tracks = slots(ssrc);
        self.add(room, shard, Media::Watch(watch), |_| Purpose::Watch {
            tracks,
            backstage: false,
            own_seat: None,
        });
        self.peers.len() - 1
    }

    fn add(
        &mut self,
        room: RoomKey,
        shard: u8,
        media: Media,
        purpose: impl FnOnce(()) -> Purpose,
    ) -> TransportId {
        let number = self.peers.len() as u16;
        let local = IceCredentials {
            ufrag: format!("server{number}"),
            password: format!("password-of-the-server-{number:08}"),
        };
        let peer = Peer::new(self.now, number, local.clone(), media);
        let id = TransportId::new(shard, u64::from(number));
        let spec = TransportSpec {
            id,
            room,
            local_ice: local,
            remote: Some(peer.as_remote()),
            srtp: SrtpProfiles::GcmOnly,
            data_channels: false,
            lost_after: Duration::from_secs(3),
            purpose: purpose(()),
        };
        self.peer_at.insert(peer.address, self.peers.len());
        self.peers.push(peer);
        let seed = self.seed << 32 | u64::from(number);
        self.links.push(Link::symmetric(seed, self.conditions));
        self.shard_of.push(shard as usize);
        self.transports.push(id);
        self.command(shard as usize, ShardCommand::AddTransport(Box::new(spec)));
        id
    }

    pub fn peer_of(&self, transport: TransportId) -> usize {
        self.transports.iter().position(|t| *t == transport).unwrap()
    }

    pub fn transport_of(&self, peer: usize) -> TransportId {
        self.transports[peer]
    }

    pub fn set_seat(
        &mut self,
        room: RoomKey,
        seat: Seat,
        source: Option<TransportId>,
        audience: Audience,
    ) {
        self.command_all(&ShardCommand::SetSeat { room, seat, source, audience });
    }

    /// A viewer answers again, with these slots.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn answer(&mut self, viewer: usize, tracks: Vec<TrackOut>) {
        let remote = self.peers[viewer].as_remote();
        let id = self.transports[viewer];
        self.command(self.shard_of[viewer], ShardCommand::SetRemote { id, remote, tracks });
    }

    pub fn command_all(&mut self, command: &ShardCommand) {
        for shard in 0..self.shards.len() {
            self.command(shard, command.clone());
        }
    }

    fn command(&mut self, shard: usize, command: ShardCommand) {
        self.with_shard(shard, |sfu, now, egress| sfu.handle_command(now, command, egress));
    }

    /// Whether the room was told something about a transport.
    pub fn saw(&self, transport: TransportId, what: impl Fn(&MediaEvent) -> bool) -> bool {
        self.events.iter().any(|(t, event)| *t == transport && what(event))
    }

    /// What the room was last told of which layers of a transport anybody takes.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn layers_wanted(&self, transport: TransportId) -> Option<&[bool]> {
        self.events.iter().rev().find_map(|(t, event)| match event {
            MediaEvent::LayersWanted(layers) if *t == transport => Some(layers.as_slice()),
            _ => None,
        })
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next_step().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    /// Let everything but one shard go on for this long; then that shard does what has waited, in
    /// the order of its turn.
    #[allow(dead_code, reason = "for the faults")]
    pub fn stall(&mut self, shard: usize, time: Duration) {
        self.stalled = Some(shard);
        self.run_for(time);
        self.stalled = None;
        assert!(self.rings.len() <= RING_MESSAGES, "its rings would have refused the rest");
        for (from, message) in std::mem::take(&mut self.rings) {
            self.with_shard(shard, |sfu, now, egress| sfu.handle_relay(now, from, message, egress));
        }
        for (remote, mut bytes) in std::mem::take(&mut self.sockets) {
            self.with_shard(shard, |sfu, now, egress| {
                sfu.handle_datagram(now, Path { local: 0, remote }, &mut bytes, egress);
            });
        }
    }

    /// One turn of a peer's shard in which these datagrams of the peer arrive.
    #[allow(dead_code, reason = "for the faults")]
    pub fn turn(&mut self, peer: usize, datagrams: impl IntoIterator<Item = Vec<u8>>) {
        let path = Path { local: 0, remote: self.peers[peer].address };
        self.with_shard(self.shard_of[peer], |sfu, now, egress| {
            for mut bytes in datagrams {
                sfu.handle_datagram(now, path, &mut bytes, egress);
            }
            sfu.flush(now, egress);
        });
    }

    fn next_step(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(Link::poll_timeout).min();
        let running = self.shards.iter().enumerate().filter(|(i, _)| self.stalled != Some(*i));
        let shards = running.filter_map(|(_, shard)| shard.poll_timeout()).min();
        let peers = self.peers.iter().map(Peer::next_tick).min();
        [links, shards, peers].into_iter().flatten().min()
    }

    fn step(&mut self) {
        let now = self.now;
        for peer in 0..self.peers.len() {
            self.deliver(now, peer);
        }
        for shard in (0..self.shards.len()).filter(|i| self.stalled != Some(*i)).collect::<Vec<_>>()
        {
            self.with_shard(shard, |sfu, now, egress| {
                sfu.handle_timeout(now, egress);
                sfu.flush(now, egress);
            });
        }
        for peer in 0..self.peers.len() {
            if self.peers[peer].next_tick() <= now {
                self.peers[peer].tick(now);
            }
            while let Some(bytes) = self.peers[peer].out.pop_front() {
                self.links[peer].up.push(now, bytes.len() + IP_UDP, bytes);
            }
        }
    }

    /// What has arrived by now on a peer's link, at both its ends.
    fn deliver(&mut self, now: Instant, peer: usize) {
        let (shard, remote) = (self.shard_of[peer], self.peers[peer].address);
        while let Some(mut bytes) = self.links[peer].up.poll(now) {
            if self.stalled == Some(shard) {
                self.sockets.push((remote, bytes));
                continue;
            }
            self.with_shard(shard, |sfu, now, egress| {
                sfu.handle_datagram(now, Path { local: 0, remote }, &mut bytes, egress);
            });
        }
        while let Some(bytes) = self.links[peer].down.poll(now) {
            if !self.peers[peer].silent {
                self.peers[peer].receive(now, &bytes);
            }
        }
    }

    fn with_shard(&mut self, shard: usize, act: impl FnOnce(&mut Sfu, Instant, &mut Egress<'_>)) {
        self.with_shard_dyn(shard, Box::new(act));
    }

    fn with_shard_dyn(&mut self, shard: usize, act: Act<'_>) {
        let now = self.now;
        let mut sent = Vec::new();
        let mut sink = |batch: &mut Batch| {
            for message in &batch.messages {
                let bytes = &batch.bytes[message.start..message.start + message.len];
                sent.extend(
                    bytes.chunks(message.segment).map(|d| (message.path.remote, d.to_vec())),
                );
            }
            batch.clear();
        };
        let mut egress = Egress::new(&mut self.batch, &mut sink);
        act(&mut self.shards[shard], now, &mut egress);
        egress.flush();
        for (to, bytes) in sent {
            let peer = self.peer_at[&to];
            self.links[peer].down.push(now, bytes.len() + IP_UDP, bytes);
        }
        while let Some(event) = self.shards[shard].poll_event() {
            self.events.push((event.transport, event.event));
        }
        while let Some((to, message)) = self.shards[shard].poll_relay() {
            if self.stalled == Some(to as usize) {
                self.rings.push((shard as u8, message));
                continue;
            }
            self.with_shard(to as usize, |sfu, now, egress| {
                sfu.handle_relay(now, shard as u8, message, egress);
            });
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("virtual time at failure: {:?}", self.now - self.start);
            for (i, shard) in self.shards.iter().enumerate() {
                eprintln!("shard {i}: {:?}", shard.counters());
            }
        }
    }
}
