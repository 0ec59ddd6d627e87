//! One track sent in, on the shard that owns its transport: from an opened packet to a slab.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signaling::media::{MediaKind, TransportId};

use crate::rtp::codec::{self, FrameFacts, PictureSizes};
use crate::rtp::dependency;
use crate::rtp::extensions::{AudioLevel, Elements};
use crate::rtp::packet::RtpHeader;
use crate::rtp::seq::timestamp_is_newer;
use crate::rtp::track::{Codec, MAX_LAYERS, TrackIn};

use super::bandwidth::allocation::Sizes;
use super::drop_reason::DropReason;
use super::loudness::Loudness;
use super::picture::PicturePatch;
use super::receiver::{Arrival, Receiver};
use super::relay::ClockPair;
use super::slab::{MAX_PAYLOAD, PublicationId, Slab, SlabRing};
use super::subscription::Subscription;
use super::thinning::{Counts, LayerCounter, Measured, PacketLayers};

/// Time between key-frame requests to one publisher. Trade: at most 2 a second whatever a
/// thousand viewers do, and a joiner waits half a second at worst.
pub const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

/// Longest a sound packet waits for a video frame that is about to come. Trade: riding in the frame's
/// message saves nine tenths of its cost, and is heard as this much more delay on the packets that wait.
pub const RIDER_WAITS: Duration = Duration::from_millis(5);

/// Bytes of a datagram beside the payload: RTP header with the transport-wide number, and the GCM tag.
const PACKET_OVERHEAD: usize = 36;

/// A publication as one shard sees it: the ring, the viewers' slots and, on the publisher's own
/// shard, the receive side.
#[derive(Debug)]
pub struct Publication {
    /// Which.
    pub id: PublicationId,
    /// Packets of the last two seconds.
    pub ring: SlabRing,
    /// `false` = muted: nothing is accepted, nothing is sent.
    pub gate_open: bool,
    /// The publisher's clock, for sender reports, and when it was told.
    pub clock: Option<(ClockPair, Instant)>,
    /// Receive side; only where the publisher's transport lives.
    pub intake: Option<Intake>,
    /// A sound packet that waits to travel with the next video frame.
    pub rider: Option<Arc<Slab>>,
    /// Other shards that have viewers of it, and until when they said so.
    pub wanted_by: Vec<(u8, Instant)>,
    /// Key-frame requests on their way up.
    pub key_frame: KeyFrameAsk,
    /// The slots it fills on this shard.
    pub subscriptions: Vec<Subscription>,
    /// Slots (session, track) that move here from another layer with the next key frame.
    pub awaiting: Vec<(u32, u8)>,
    /// The deadline in the heap that counts.
    pub wake: Option<Instant>,
    /// When to tell the publisher's shard again that this one has viewers.
    pub want_at: Option<Instant>,
}

impl Publication {
    /// A publication known by name only.
    #[must_use]
    pub fn new(id: PublicationId) -> Self {
        Self {
            id,
            ring: SlabRing::default(),
            gate_open: true,
            clock: None,
            intake: None,
            rider: None,
            wanted_by: Vec::new(),
            key_frame: KeyFrameAsk::default(),
            subscriptions: Vec::new(),
            awaiting: Vec::new(),
            wake: None,
            want_at: None,
        }
    }

    /// The other shards that have viewers of it now.
    pub fn wanting(&self, now: Instant) -> impl Iterator<Item = u8> {
        self.wanted_by.iter().filter(move |(_, until)| *until > now).map(|(shard, _)| *shard)
    }

    /// Somebody here watches it, or is about to.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.subscriptions.is_empty() || !self.awaiting.is_empty()
    }

    /// When what waits for company must be sent, if a part of a frame may wait for `hold`.
    #[must_use]
    pub fn flush_at(&self, hold: Duration) -> Option<Instant> {
        let part = self.intake.as_ref().and_then(|intake| intake.flush_at(hold));
        let rider = self.rider.as_ref().map(|slab| slab.arrived + RIDER_WAITS);
        part.into_iter().chain(rider).min()
    }

    /// The earliest moment something must happen here without a packet.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let receiver = self.intake.as_ref().and_then(|intake| intake.receiver.as_ref());
        let nack = receiver.and_then(|receiver| receiver.gaps.next_due());
        [nack, self.key_frame.next(), self.want_at].into_iter().flatten().min()
    }

    /// Open or close the gate. Closing forgets every packet from before it, here and now.
    pub fn set_gate(&mut self, open: bool) {
        if self.gate_open == open {
            return;
        }
        self.gate_open = open;
        self.ring.clear();
        self.rider = None;
        if let Some(intake) = &mut self.intake {
            intake.new_epoch();
            intake.ready = false;
        }
    }
}

/// Key-frame requests of all viewers, coalesced.
#[derive(Debug, Default)]
pub struct KeyFrameAsk {
    last: Option<Instant>,
    pending: bool,
}

/// What to do with a key-frame request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Send it upstream now.
    Now,
    /// It will be sent when the throttle allows.
    Later(Instant),
    /// An earlier one already waits.
    Merged,
}

impl KeyFrameAsk {
    /// Somebody needs a key frame.
    pub fn ask(&mut self, now: Instant) -> Ask {
        match self.last {
            Some(last) if now.saturating_duration_since(last) < KEY_FRAME_INTERVAL => {
                if std::mem::replace(&mut self.pending, true) {
                    Ask::Merged
                } else {
                    Ask::Later(last + KEY_FRAME_INTERVAL)
                }
            }
            _ => {
                self.last = Some(now);
                self.pending = false;
                Ask::Now
            }
        }
    }

    /// No request is on its way, or waits to be.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        let recent = |last| now.saturating_duration_since(last) < KEY_FRAME_INTERVAL;
        !self.pending && !self.last.is_some_and(recent)
    }

    /// A key frame came: whoever waited is served.
    pub fn served(&mut self) {
        self.pending = false;
    }

    /// When a waiting request may be sent.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.last.filter(|_| self.pending).map(|last| last + KEY_FRAME_INTERVAL)
    }

    /// Take a waiting request that may be sent now.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.next().is_some_and(|at| at <= now);
        if due {
            self.last = Some(now);
            self.pending = false;
        }
        due
    }
}

/// The receive side of a publication.
#[derive(Debug)]
pub struct Intake {
    /// What was negotiated.
    pub track: TrackIn,
    /// The media stream's receiver, once its SSRC is known.
    pub receiver: Option<Receiver>,
    /// Counts gate changes; packets of two epochs are two streams.
    pub epoch: u32,
    /// The room was told that this kind is ready.
    pub ready: bool,
    /// How large its pictures are, as its key frames say.
    pub sizes: Sizes,
    building: Option<Arc<Slab>>,
    spacing: Spacing,
    /// What each operating point leaves out of the stream, and takes of its rate.
    layers: LayerCounter,
    dependencies: dependency::Reader,
    loudness: Loudness,
    /// Timestamp of the newest frame begun, to tell a frame's first slab from a later part.
    last_frame: Option<u32>,
}

/// How a publisher spaces the packets of one frame: at once, or spread over the frame time by a pacer.
#[derive(Debug, Default)]
struct Spacing {
    newest: Option<Instant>,
    /// The usual time between two packets of one frame.
    gap: Duration,
}

impl Spacing {
    fn note(&mut self, now: Instant, begins_frame: bool) {
        let before = self.newest.replace(now);
        if let (Some(before), false) = (before, begins_frame) {
            self.gap = (self.gap * 7 + now.saturating_duration_since(before)) / 8;
        }
    }

    /// How long to wait for more of a frame. Not at all if the next packet usually comes later than
    /// `hold`: that would cost its time and win nothing.
    fn wait(&self, hold: Duration) -> Duration {
        if self.gap < hold { hold } else { Duration::ZERO }
    }
}

/// What accepting a packet led to.
#[derive(Debug, Default)]
pub struct Accepted {
    /// Slabs to send, in order: a frame that a new one cut off, and the present one.
    pub slabs: [Option<Arc<Slab>>; 2],
    /// First media of this kind since the gate opened.
    pub became_ready: bool,
    /// Video comes and none of it can be decoded: its first key frame was lost, before there were keys or on the
    /// way, and nobody may be watching who would ask for another.
    pub began_without_key_frame: bool,
    /// What the stream says of its layers contradicts itself: from here on it has none.
    pub layers_distrusted: bool,
    /// Why the packet itself is not among them, after all.
    pub refused: Option<DropReason>,
    /// How loud its sound is now, 0 to 9, if the room is to know.
    pub loudness: Option<u8>,
}

impl Intake {
    /// A receive side that has seen nothing.
    #[must_use]
    pub fn new(track: TrackIn) -> Self {
        Self {
            track,
            receiver: None,
            epoch: 0,
            ready: false,
            sizes: Sizes::default(),
            building: None,
            spacing: Spacing::default(),
            layers: LayerCounter::default(),
            dependencies: dependency::Reader::default(),
            loudness: Loudness::default(),
            last_frame: None,
        }
    }

    /// What comes from here on is another stream to viewers.
    fn new_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.building = None;
        self.last_frame = None;
        self.sizes = Sizes::default();
        self.layers.begin_anew();
        self.dependencies = dependency::Reader::default();
        self.loudness = Loudness::default();
    }

    /// The publisher changed its SSRC (a restarted encoder, a replaced track): other numbers, and
    /// nothing of the old stream can be repaired any more.
    fn begin_anew(&mut self, ring: &mut SlabRing) {
        self.receiver = None;
        self.new_epoch();
        ring.clear();
    }

    /// A key frame says how large its pictures are. Of spatial layers above those told apart the largest counts.
    fn note_sizes(&mut self, told: &PictureSizes) {
        let Some(largest) = told.iter().flatten().next_back() else { return };
        let mut below = None;
        for (size, told) in self.sizes.iter_mut().zip(told) {
            below = told.or(below);
            *size = below;
        }
        if let Some(top) = self.sizes.last_mut() {
            *top = Some(*largest);
        }
    }

    /// Bytes of the datagrams that went on, since this was asked last, and what operating points take of them.
    pub fn measure(&mut self) -> Measured {
        self.layers.measure()
    }

    /// The codec behind a payload type.
    #[must_use]
    pub fn codec(&self, payload_type: u8) -> Option<Codec> {
        self.track.codecs.iter().find(|c| c.pt == payload_type).map(|c| c.codec)
    }

    /// The media payload type an RTX payload type repairs.
    #[must_use]
    pub fn repaired(&self, rtx_payload_type: u8) -> Option<u8> {
        self.track.codecs.iter().find(|c| c.rtx_pt == Some(rtx_payload_type)).map(|c| c.pt)
    }

    /// When the part of a frame being built must be sent, if it may wait for `hold`.
    #[must_use]
    pub fn flush_at(&self, hold: Duration) -> Option<Instant> {
        self.building.as_ref().map(|slab| slab.arrived + self.spacing.wait(hold))
    }

    /// Take the part of a frame being built.
    pub fn take_building(&mut self, ring: &mut SlabRing, now: Instant) -> Option<Arc<Slab>> {
        let mut slab = self.building.take()?;
        if let Some(inner) = Arc::get_mut(&mut slab) {
            inner.seal();
        }
        ring.store(now, &slab);
        Some(slab)
    }
}

impl Publication {
    /// Take an authenticated, unpadded RTP packet of this publication; `extensions` are those of its header.
    ///
    /// # Errors
    /// Why it goes no further.
    pub fn accept(
        &mut self,
        now: Instant,
        header: &RtpHeader,
        extensions: Elements<'_>,
        payload: &[u8],
        recovered: bool,
    ) -> Result<Accepted, DropReason> {
        let Self { id, ring, gate_open, intake, key_frame, .. } = self;
        let intake = intake.as_mut().ok_or(DropReason::UnknownSsrc)?;
        let codec = intake.codec(header.payload_type).ok_or(DropReason::UnknownPayloadType)?;
        if !recovered && intake.receiver.as_ref().is_some_and(|r| r.ssrc != header.ssrc) {
            intake.begin_anew(ring);
        }
        let nack = *gate_open && intake.track.feedback.nack && id.kind == MediaKind::Video;
        let receiver = intake
            .receiver
            .get_or_insert_with(|| Receiver::new(header.ssrc, codec.clock_rate(), now));
        let sequence = match receiver.arrive(now, header.sequence, nack) {
            Arrival::New(sequence) => sequence,
            Arrival::Duplicate => return Err(DropReason::Duplicate),
            Arrival::TooOld => return Err(DropReason::TooLate),
        };
        if !recovered {
            receiver.measure_jitter(now, header.timestamp);
        }
        if payload.is_empty() {
            receiver.skip(sequence);
            return Err(DropReason::PaddingOnly);
        }
        if !*gate_open {
            return Err(DropReason::Gate);
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(DropReason::RtpMalformed);
        }
        let facts = codec::describe(codec, payload).map_err(|_| DropReason::CodecMalformed)?;
        let sequence = receiver.without_padding(sequence).ok_or(DropReason::TooLate)?;
        if facts.key_frame_start {
            key_frame.served();
            intake.note_sizes(&codec::picture_sizes(codec, payload));
        }
        let became_ready = !intake.ready && (id.kind == MediaKind::Audio || facts.key_frame_start);
        intake.ready |= became_ready;
        let loudness = intake.loudness(now, extensions);
        let trusted = !intake.layers.is_distrusted();
        let layers = intake.layers_of(codec, &facts, extensions);
        let layers = intake.layers.place(sequence, header.timestamp, layers);
        let layers_distrusted = trusted && intake.layers.is_distrusted();
        let packet = Incoming { header, payload, sequence, codec, facts, layers };
        let (slabs, refused) = intake.append(now, *id, ring, &packet);
        let began_without_key_frame = !intake.ready && key_frame.is_idle(now);
        Ok(Accepted {
            slabs,
            became_ready,
            began_without_key_frame,
            layers_distrusted,
            refused,
            loudness,
        })
    }
}

struct Incoming<'a> {
    header: &'a RtpHeader,
    payload: &'a [u8],
    sequence: u64,
    codec: Codec,
    facts: FrameFacts,
    layers: PacketLayers,
}

impl Intake {
    /// What a packet says of its layers.
    fn layers_of(
        &mut self,
        codec: Codec,
        facts: &FrameFacts,
        extensions: Elements<'_>,
    ) -> PacketLayers {
        let id = self.track.extensions.dependency.filter(|_| codec == Codec::Av1);
        let descriptor = id.and_then(|id| extensions.find(id));
        let dependency = match descriptor.map(|data| self.dependencies.read(data)).transpose() {
            Ok(dependency) => dependency.flatten(),
            Err(_) => {
                self.layers.distrust();
                None
            }
        };
        PacketLayers::of(codec, facts, dependency)
    }

    /// What a packet says of its loudness may be news.
    fn loudness(&mut self, now: Instant, extensions: Elements<'_>) -> Option<u8> {
        let id = self.track.extensions.audio_level?;
        let level = extensions.find(id).and_then(AudioLevel::parse)?;
        self.loudness.note(now, level)
    }

    /// Append a packet to the slab being built; returns what is complete.
    fn append(
        &mut self,
        now: Instant,
        id: PublicationId,
        ring: &mut SlabRing,
        packet: &Incoming<'_>,
    ) -> ([Option<Arc<Slab>>; 2], Option<DropReason>) {
        let cut_off = match &self.building {
            Some(slab) if !continues(slab, packet) => self.take_building(ring, now),
            _ => None,
        };
        let before = match &self.building {
            None if self.layers.is_late(packet.sequence) => {
                let known = if self.layers.is_before_first(packet.sequence) {
                    Some(Counts::default())
                } else {
                    ring.counts_before(packet.sequence)
                };
                if known.is_none() {
                    return ([cut_off, None], Some(DropReason::TooLate));
                }
                known
            }
            _ => None,
        };
        let epoch = self.epoch;
        let timestamp = packet.header.timestamp;
        let begins_frame = self.last_frame.is_none_or(|last| timestamp_is_newer(timestamp, last));
        if begins_frame {
            self.last_frame = Some(timestamp);
        }
        self.spacing.note(now, begins_frame);
        let layers = &self.layers;
        let slab = self.building.get_or_insert_with(|| {
            let mut slab = ring.fresh(id, packet.codec, now);
            if let Some(inner) = Arc::get_mut(&mut slab) {
                inner.cut = layers.begin(before);
                inner.epoch = epoch;
                inner.timestamp = packet.header.timestamp;
                inner.begins_frame = begins_frame;
            }
            slab
        });
        if let Some(inner) = Arc::get_mut(slab) {
            // H.264 says "key frame" on its parameter sets and again on the picture's first slice:
            // only a slab that begins the frame has both. Other codecs say it once.
            let decodable =
                inner.begins_frame || (packet.codec != Codec::H264 && inner.packets().is_empty());
            inner.key_frame |= packet.facts.key_frame_start && decodable;
            let picture = PicturePatch::new(&packet.facts);
            let Incoming { header, payload, sequence, layers, .. } = packet;
            inner.push(*sequence, header.marker, layers, payload, picture);
        }
        let numbered = packet.codec == Codec::Vp8 && packet.facts.picture_id.is_some();
        let bytes = packet.payload.len() + PACKET_OVERHEAD;
        self.layers.count(packet.sequence, &packet.layers, numbered, bytes);
        let complete = packet.header.marker || slab.is_full() || id.kind == MediaKind::Audio;
        let done = if complete { self.take_building(ring, now) } else { None };
        ([cut_off, done], None)
    }
}

/// Whether a packet belongs behind those in `slab`: same frame, next number.
fn continues(slab: &Slab, packet: &Incoming<'_>) -> bool {
    slab.timestamp == packet.header.timestamp
        && slab.codec == packet.codec
        && slab.cut.continues(&packet.layers)
        && slab.packets().last().is_some_and(|last| last.sequence + 1 == packet.sequence)
}

/// All publications a transport may have: its sound, and each layer of its video.
pub fn ids(transport: TransportId) -> impl Iterator<Item = PublicationId> {
    [MediaKind::Audio, MediaKind::Video].into_iter().flat_map(move |kind| ids_of(transport, kind))
}

/// All publications a track may have.
pub fn ids_of(transport: TransportId, kind: MediaKind) -> impl Iterator<Item = PublicationId> {
    let layers = if kind == MediaKind::Video { MAX_LAYERS } else { 1 };
    (0..layers as u8).map(move |layer| PublicationId { transport, kind, layer })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

    #[test]
    fn key_frame_requests_are_coalesced() {
        let now = Instant::now();
        let mut ask = KeyFrameAsk::default();
        assert_eq!(ask.ask(now), Ask::Now);
        assert_eq!(ask.ask(now), Ask::Later(now + KEY_FRAME_INTERVAL));
        assert_eq!(ask.ask(now), Ask::Merged);
        assert!(!ask.due(now));
        assert!(ask.due(now + KEY_FRAME_INTERVAL));
        assert!(!ask.due(now + KEY_FRAME_INTERVAL * 2), "one request served all three");
    }

    #[test]
    fn only_a_publisher_that_sends_its_frames_at_once_is_waited_for() {
        let hold = Duration::from_millis(2);
        let mut now = Instant::now();
        let mut spacing = Spacing::default();
        let mut frames = |spacing: &mut Spacing, gap_us: u64| {
            for packet in 0..100 {
                spacing.note(now, packet % 5 == 0);
                now += Duration::from_micros(if packet % 5 == 4 { 20_000 } else { gap_us });
            }
            spacing.wait(hold)
        };
        assert_eq!(spacing.wait(hold), hold);
        assert_eq!(frames(&mut spacing, 100), hold);
        assert_eq!(frames(&mut spacing, 2_500), Duration::ZERO);
        assert_eq!(frames(&mut spacing, 1_500), hold, "it paces faster again");
    }

    #[test]
    fn key_frame_serves_those_who_wait() {
        let now = Instant::now();
        let mut ask = KeyFrameAsk::default();
        ask.ask(now);
        ask.ask(now);
        ask.served();
        assert!(!ask.due(now + KEY_FRAME_INTERVAL));
    }
}
