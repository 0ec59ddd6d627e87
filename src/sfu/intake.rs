//! The receive side of a publication: packets in, slabs out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signaling::media::MediaKind;

use crate::rtp::codec::{self, FrameFacts};
use crate::rtp::dependency;
use crate::rtp::extensions::{AudioLevel, Elements};
use crate::rtp::packet::RtpHeader;
use crate::rtp::red;
use crate::rtp::seq::timestamp_is_newer;
use crate::rtp::track::{Codec, CodecParameters, TrackIn};

use super::bandwidth::allocation::Sizes;
use super::drop_reason::DropReason;
use super::loudness::Loudness;
use super::picture::PicturePatch;
use super::receiver::Receiver;
use super::slab::{PublicationId, Slab, SlabRing};
use super::thinning::{Counts, LayerCounter, Measured, PacketLayers};

/// Bytes of a datagram beside the payload: RTP header with the transport-wide number, and the GCM tag.
const PACKET_OVERHEAD: usize = 36;

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
    pub(super) layers: LayerCounter,
    /// `None` = what the stream says there cannot be.
    dependencies: Option<dependency::Reader>,
    /// Of the newest packet.
    codec: Option<Codec>,
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
            dependencies: Some(dependency::Reader::default()),
            codec: None,
            loudness: Loudness::default(),
            last_frame: None,
        }
    }

    /// What comes from here on is another stream to viewers.
    pub(super) fn new_epoch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.building = None;
        self.last_frame = None;
        self.sizes = Sizes::default();
        self.layers.begin_anew();
        self.dependencies = Some(dependency::Reader::default());
        self.loudness = Loudness::default();
    }

    /// The publisher changed its SSRC (a restarted encoder, a replaced track): other numbers, and
    /// nothing of the old stream can be repaired any more.
    pub(super) fn begin_anew(&mut self, ring: &mut SlabRing) {
        self.receiver = None;
        self.new_epoch();
        ring.clear();
    }

    /// A key frame says how large its pictures are. Of spatial layers above those told apart the largest counts.
    pub(super) fn note_sizes(&mut self, codec: Codec, payload: &[u8]) {
        let mut told = codec::picture_sizes(codec, payload);
        // AV1's sequence header knows the largest only.
        let described = self.dependencies.as_ref().and_then(dependency::Reader::sizes);
        if let (Codec::Av1, Some(sizes)) = (codec, described) {
            told = *sizes;
        }
        let Some(largest) = told.iter().flatten().next_back() else { return };
        let mut below = None;
        for (size, told) in self.sizes.iter_mut().zip(&told) {
            below = told.or(below);
            *size = below;
        }
        if let Some(top) = self.sizes.last_mut() {
            *top = Some(*largest);
        }
    }

    /// Its upper spatial layers are of use only to who reads dependency descriptors.
    #[must_use]
    pub fn needs_descriptors(&self) -> bool {
        self.codec == Some(Codec::Av1)
    }

    /// Bytes of the datagrams that went on, since this was asked last, and what operating points take of them.
    pub fn measure(&mut self) -> Measured {
        self.layers.measure()
    }

    /// The codec behind a payload type.
    #[must_use]
    pub fn codec(&self, payload_type: u8) -> Option<CodecParameters> {
        self.track.codecs.iter().find(|codec| codec.carries(payload_type)).copied()
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

/// A packet on its way into a slab.
pub(super) struct Incoming<'a> {
    pub header: &'a RtpHeader,
    pub payload: &'a [u8],
    pub sequence: u64,
    pub codec: Codec,
    /// As [`Slab::redundancy`].
    pub redundancy: u16,
    /// As [`Slab::level`].
    pub level: Option<u8>,
    pub facts: FrameFacts,
    pub layers: PacketLayers,
    /// Its dependency descriptor; empty = it has none.
    pub descriptor: &'a [u8],
}

/// [`Slab::redundancy`] of a payload that came under `payload_type`.
///
/// # Errors
/// `codec_malformed`.
pub(super) fn redundancy(
    codec: CodecParameters,
    payload_type: u8,
    payload: &[u8],
) -> Result<u16, DropReason> {
    if payload_type == codec.pt {
        return Ok(0);
    }
    let start = red::primary(payload, codec.pt).map_err(|_| DropReason::CodecMalformed)?;
    u16::try_from(start).map_err(|_| DropReason::CodecMalformed)
}

impl Intake {
    /// What a packet says of its layers, and the dependency descriptor in which it says so, if that can be read: once one cannot,
    /// viewers get no more of them until another stream begins, and what they get is as good as without.
    pub(super) fn layers_of<'p>(
        &mut self,
        codec: Codec,
        facts: &FrameFacts,
        extensions: Elements<'p>,
    ) -> (PacketLayers, &'p [u8]) {
        let id = self.track.extensions.dependency.filter(|_| codec == Codec::Av1);
        let descriptor = id.and_then(|id| extensions.find(id));
        let (Some(data), Some(reader)) = (descriptor, &mut self.dependencies) else {
            return (PacketLayers::of(codec, facts, None), &[]);
        };
        match reader.read(data) {
            // Of templates that are not known yet the viewer may know: it has them from before.
            Ok(dependency) => (PacketLayers::of(codec, facts, dependency), data),
            Err(_) => {
                self.layers.distrust();
                self.dependencies = None;
                (PacketLayers::of(codec, facts, None), &[])
            }
        }
    }

    /// What a packet says of its loudness may be news.
    pub(super) fn loudness(&mut self, now: Instant, level: AudioLevel) -> Option<u8> {
        self.loudness.note(now, level)
    }

    /// How loud a packet says it is.
    pub(super) fn level(&self, extensions: Elements<'_>) -> Option<AudioLevel> {
        let id = self.track.extensions.audio_level?;
        extensions.find(id).and_then(AudioLevel::parse)
    }

    /// Append a packet to the slab being built; returns what is complete.
    pub(super) fn append(
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
                inner.redundancy = packet.redundancy;
                inner.level = packet.level;
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
            let Incoming { header, payload, sequence, layers, descriptor, .. } = packet;
            inner.push(*sequence, header.marker, layers, descriptor, payload, picture);
        }
        let numbered = packet.codec == Codec::Vp8 && packet.facts.picture_id.is_some();
        let bytes = packet.payload.len() + packet.descriptor.len() + PACKET_OVERHEAD;
        self.codec = Some(packet.codec);
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

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

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
}
