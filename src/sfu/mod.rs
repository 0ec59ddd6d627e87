//! The sans-IO core of one shard: every media decision, and nothing that touches a clock, a
//! socket, a thread, a lock or a future. Time and bytes are arguments, output goes to the lent
//! [`egress::Egress`] and the `poll_*` queues.
//!
//! The way of a packet is this page: [`Sfu::handle_datagram`] names the kind, finds the session,
//! lets its transport open the packet, lets the publication accept it, and
//! fans the finished slab out to each subscription. Every stop that declines returns a
//! [`DropReason`], counted once here.

mod admission;
pub mod bandwidth;
pub mod command;
mod control;
pub mod counters;
mod demux;
pub mod drop_reason;
pub mod egress;
mod fanout;
mod feedback;
mod gaps;
pub mod handshakes;
mod intake;
mod interest;
mod key_frames;
mod layers;
mod loudest;
mod loudness;
mod pacing;
mod picture;
mod publication;
mod publisher;
mod random;
mod receiver;
pub mod relay;
mod repair;
mod session;
pub mod slab;
mod slots;
mod sound;
mod stage;
mod subscription;
mod thinning;
mod timers;
pub mod transport;
mod voices;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use signaling::media::{AddressedMediaEvent, MediaEvent, MediaKind, RoomKey, TransportId};

use crate::rtp::packet::{PacketKind, RtpHeader};
use crate::rtp::rtx;

use bandwidth::estimator::EstimatorConfig;
use bandwidth::policer::Verdict;
use counters::{Counters, Population};
use demux::Demux;
use drop_reason::DropReason;
use egress::{Egress, Path};
use handshakes::{Flight, STEPS_PER_TURN};
use layers::Costs;
use publication::{Publication, RIDER_WAITS};
use publisher::Stream;
use random::Random;
use relay::RelayMessage;
use session::{Role, Session};
use slab::PublicationId;
use stage::Stage;
use timers::Timers;
use transport::{Shared, StunRequest};
use voices::Voices;

/// Media events waiting for the shard to take them. Past it they are counted and dropped, which
/// only a stopped control plane can cause; the end of a transport is told all the same.
const MAX_EVENTS: usize = 16_384;

/// Limits of the core; defaults are those of the configuration.
#[derive(Debug, Clone)]
pub struct SfuConfig {
    /// Uplink limit of one publish transport, bit/s.
    pub uplink_bps: u64,
    /// Uplink limit of one publish transport, packets/s.
    pub uplink_packets: u32,
    /// Longest a part of a frame waits for the rest. Trade: a longer wait makes longer GSO runs of
    /// what a publisher sends spread, and adds to every viewer's delay. A frame that comes at once
    /// never waits.
    pub hold: Duration,
    /// Longest media may have waited unread, in the socket or between shards. Trade: past its capacity a
    /// shard is this late at most, and loses what is older; a stall shorter than this loses nothing.
    pub late: Duration,
    /// Longest a frame may wait for its turn at a viewer's pace. Trade: a viewer whose network is slower than the
    /// least it could be sent is this late at most, and then waits for a key frame.
    pub behind: Duration,
    /// Bounds of the estimate of what a viewer's network takes.
    pub downlink: EstimatorConfig,
}

impl Default for SfuConfig {
    fn default() -> Self {
        Self {
            uplink_bps: 8_000_000,
            uplink_packets: 2_500,
            hold: Duration::from_millis(2),
            late: Duration::from_millis(300),
            behind: Duration::from_millis(1000),
            downlink: EstimatorConfig::default(),
        }
    }
}

/// One shard's media plane.
pub struct Sfu {
    config: SfuConfig,
    shared: Arc<Shared>,
    random: Random,
    demux: Demux,
    sessions: Vec<Option<Session>>,
    free_sessions: Vec<u32>,
    session_ids: HashMap<TransportId, u32>,
    publications: Vec<Option<Publication>>,
    free_publications: Vec<u32>,
    publication_ids: HashMap<PublicationId, u32>,
    /// What the layers of simulcast tracks cost, by publish transport.
    layers: HashMap<TransportId, Costs>,
    stages: HashMap<RoomKey, Stage>,
    /// Rooms where some viewers of this shard hear the loudest only; [`Stage::voices`] says which one.
    voices: Vec<Option<Box<Voices>>>,
    timers: Timers,
    /// Publications with a part of a frame waiting for the rest.
    building: Vec<u32>,
    /// Steps of handshakes that wait for the end of a turn.
    handshakes: VecDeque<Flight>,
    /// Steps this turn may still take.
    steps_left: usize,
    events: VecDeque<AddressedMediaEvent>,
    relays: VecDeque<(u8, RelayMessage)>,
    counters: Counters,
    population: Population,
    shard: u8,
    /// Reused buffer for RTCP.
    scratch: Vec<u8>,
    /// Sessions that fell behind their pace in this fan-out and need a wake.
    paced: Vec<u32>,
}

impl Sfu {
    /// An empty core for shard number `shard`. `seed` comes from a CSPRNG, or from a test.
    #[must_use]
    pub fn new(config: SfuConfig, shard: u8, shared: Arc<Shared>, seed: u64) -> Self {
        Self {
            config,
            shared,
            random: Random::new(seed),
            demux: Demux::default(),
            sessions: Vec::new(),
            free_sessions: Vec::new(),
            session_ids: HashMap::new(),
            publications: Vec::new(),
            free_publications: Vec::new(),
            publication_ids: HashMap::new(),
            layers: HashMap::new(),
            stages: HashMap::new(),
            voices: Vec::new(),
            timers: Timers::default(),
            building: Vec::new(),
            handshakes: VecDeque::new(),
            steps_left: STEPS_PER_TURN,
            events: VecDeque::new(),
            relays: VecDeque::new(),
            counters: Counters::default(),
            population: Population::default(),
            shard,
            scratch: Vec::with_capacity(2048),
            paced: Vec::new(),
        }
    }

    /// Take one datagram that arrived on `path`. The bytes are decrypted in place.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &mut [u8],
        egress: &mut Egress<'_>,
    ) {
        self.counters.datagrams_in += 1;
        if let Err(reason) = self.route(now, path, bytes, egress) {
            self.counters.drop(reason);
        }
    }

    fn route(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &mut [u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let kind = PacketKind::of(bytes).ok_or(DropReason::UnknownKind)?;
        if kind == PacketKind::Stun {
            return self.on_stun(now, path, bytes, egress);
        }
        let index = self.demux.session(&path).ok_or(DropReason::UnknownAddress)?;
        match kind {
            PacketKind::Rtp => self.on_rtp(now, path, index, bytes, egress),
            PacketKind::Rtcp => self.on_rtcp(now, path, index, bytes, egress),
            PacketKind::Dtls => self.on_dtls(now, path, index, bytes, egress),
            PacketKind::Stun => Ok(()),
        }
    }

    fn on_stun(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &[u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let request = StunRequest::parse(bytes)?;
        let index =
            self.demux.by_ufrag(request.local_ufrag()).ok_or(DropReason::StunUnknownUfrag)?;
        let validated = self.demux.session(&path) == Some(index);
        if !validated && !self.demux.may_check(now, path.remote.ip()) {
            return Err(DropReason::StunRateLimited);
        }
        let session = session_mut(&mut self.sessions, index).ok_or(DropReason::UnknownTransport)?;
        let outcome = session.transport.handle_stun(now, path, &request, egress);
        if !validated && outcome == Err(DropReason::StunIntegrity) {
            self.demux.note_failure(now, path.remote.ip());
        }
        let outcome = outcome?;
        if outcome.new_path || (!validated && session.transport.is_validated(path)) {
            self.learn_path(index, path);
        }
        self.retire_ufrags(index, request.local_ufrag());
        self.note_alive(index);
        if outcome.left_silence {
            self.picture_after_move(now, index, egress);
        }
        self.after_transport(now, index, egress);
        Ok(())
    }

    fn on_rtp(
        &mut self,
        now: Instant,
        path: Path,
        index: u32,
        bytes: &mut [u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let session = session_mut(&mut self.sessions, index).ok_or(DropReason::UnknownTransport)?;
        let packet = session.transport.open_rtp(now, path, bytes)?;
        let Role::Publish(publisher) = &mut session.role else {
            return Err(DropReason::NotPublisher);
        };
        match publisher.policer.admit(now, packet.len()) {
            Verdict::Pass => {}
            Verdict::Discard => return Err(DropReason::Policed),
            Verdict::Abuse => {
                self.close_session(now, index, signaling::media::CloseReason::Abuse, egress);
                return Err(DropReason::Policed);
            }
        }
        let header = RtpHeader::parse(packet).map_err(|_| DropReason::RtpMalformed)?;
        publisher.note_arrival(now, &header, packet);
        let stream = publisher.stream(&header, packet)?;
        let sound = stream.kind == MediaKind::Audio;
        // The layers count time from different beginnings.
        if !sound && !stream.rtx && stream.layer == 0 {
            publisher.cadence.note(now, header.timestamp);
        }
        let may_ride = sound && publisher.cadence.expects(now, RIDER_WAITS);
        let Stream { kind, layer, .. } = stream;
        let id = PublicationId { transport: session.id, kind, layer };
        let at = *self.publication_ids.get(&id).ok_or(DropReason::UnknownSsrc)?;
        let publication =
            publication_mut(&mut self.publications, at).ok_or(DropReason::UnknownSsrc)?;
        let header = if stream.rtx { repaired(publication, header, packet)? } else { header };
        self.counters.packets_in += 1;
        self.counters.bytes_in += packet.len() as u64;
        let accepted = publication.accept(
            now,
            &header,
            header.extensions(packet),
            header.payload(packet),
            stream.rtx,
        );
        self.note_alive(index);
        self.note_building(now, at);
        let accepted = accepted?;
        self.counters.recovered += u64::from(stream.rtx);
        self.counters.layers_distrusted += u64::from(accepted.layers_distrusted);
        if let Some(reason) = accepted.refused {
            self.counters.drop(reason);
        }
        if accepted.became_ready {
            self.tell(index, MediaEvent::MediaReady(stream.kind));
        }
        if let Some(loudness) = accepted.loudness {
            self.tell(index, MediaEvent::Loudness(loudness));
        }
        if accepted.began_without_key_frame {
            self.want_key_frame(now, at, egress);
        }
        for slab in accepted.slabs.into_iter().flatten() {
            if may_ride {
                self.hold_rider(now, at, &slab, egress);
            } else {
                self.fan_out(now, at, &slab, egress);
            }
        }
        Ok(())
    }

    /// Whether a datagram that waited unread for `waited` is media that comes too late to be of use,
    /// and must not be handled. Counts it.
    pub fn refuses_late(&mut self, waited: Duration, bytes: &[u8]) -> bool {
        let late = waited > self.config.late && PacketKind::of(bytes) == Some(PacketKind::Rtp);
        if late {
            self.counters.drop(DropReason::ReceivedLate);
        }
        late
    }

    /// End of a turn: send the parts of frames whose time has come, and those that have too few viewers
    /// to gain from waiting; then the turn's share of handshakes.
    pub fn flush(&mut self, now: Instant, egress: &mut Egress<'_>) {
        self.flush_parts(now, egress);
        self.step_handshakes(now, egress);
    }

    fn flush_parts(&mut self, now: Instant, egress: &mut Egress<'_>) {
        let mut waiting = std::mem::take(&mut self.building);
        waiting.retain(|at| !self.flush_if_cheap(now, *at, egress));
        waiting.append(&mut self.building);
        self.building = waiting;
    }

    /// When [`Self::handle_timeout`] or [`Self::flush`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Not in the heap: a frame's end cancels its deadline, thirty times a second.
        let parts = self.building.iter().filter_map(|at| self.flush_at(*at));
        parts.chain(self.timers.next()).chain(self.next_handshake()).min()
    }

    /// The next fact for the control plane.
    pub fn poll_event(&mut self) -> Option<AddressedMediaEvent> {
        self.events.pop_front()
    }

    /// The next message for another shard.
    pub fn poll_relay(&mut self) -> Option<(u8, RelayMessage)> {
        self.relays.pop_front()
    }

    /// What a path that was validated is good for: whether its session sends on it, or `None` when no
    /// session knows it (any more). For the shell, which keeps a TCP connection only as long as it is used.
    #[must_use]
    pub fn sends_on(&self, path: &Path) -> Option<bool> {
        let index = self.demux.session(path)?;
        let session = self.sessions.get(index as usize)?.as_ref()?;
        Some(session.transport.path() == Some(*path))
    }

    /// A TCP connection has ended: its session goes on by another path, if it has one, and else with the next
    /// check. Nothing more is made for a peer that does not get it.
    pub fn path_closed(&mut self, path: Path) {
        let Some(index) = self.demux.session(&path) else { return };
        self.demux.remove_path(&path, index);
        if let Some(session) = session_mut(&mut self.sessions, index) {
            session.paths.retain(|known| *known != path);
            session.transport.forget_path(path);
        }
    }

    /// What this core has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The transports it has now.
    #[must_use]
    pub const fn population(&self) -> Population {
        self.population
    }

    /// Where the shell counts what happened to datagrams after they left the core.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Live transports.
    #[must_use]
    pub fn transports(&self) -> usize {
        self.session_ids.len()
    }

    fn tell(&mut self, index: u32, event: MediaEvent) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        if self.events.len() >= MAX_EVENTS && !matches!(event, MediaEvent::Closed(_)) {
            self.counters.drop(DropReason::EventQueueFull);
            return;
        }
        let (room, transport) = (session.room, session.id);
        self.events.push_back(AddressedMediaEvent { room, transport, event });
    }

    /// An authenticated packet arrived.
    fn note_alive(&mut self, index: u32) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        if std::mem::take(&mut session.lost) {
            self.tell(index, MediaEvent::Back);
        }
    }
}

fn session_mut(sessions: &mut [Option<Session>], index: u32) -> Option<&mut Session> {
    sessions.get_mut(index as usize)?.as_mut()
}

fn publication_mut(publications: &mut [Option<Publication>], at: u32) -> Option<&mut Publication> {
    publications.get_mut(at as usize)?.as_mut()
}

/// The header of the packet that an RTX packet repeats.
fn repaired(
    publication: &Publication,
    header: RtpHeader,
    packet: &[u8],
) -> Result<RtpHeader, DropReason> {
    let intake = publication.intake.as_ref().ok_or(DropReason::RtxMalformed)?;
    if header.payload(packet).is_empty() {
        return Err(DropReason::PaddingOnly);
    }
    let receiver = intake.receiver.as_ref().ok_or(DropReason::RtxMalformed)?;
    let payload_type =
        intake.repaired(header.payload_type).ok_or(DropReason::UnknownPayloadType)?;
    rtx::unwrap(header, packet, payload_type, receiver.ssrc).map_err(|_| DropReason::RtxMalformed)
}
