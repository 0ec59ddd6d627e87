//! One track sent in, on the shard that owns its transport: from an opened packet to a slab.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signaling::media::{MediaKind, Seat, TransportId};

use crate::rtp::codec;
use crate::rtp::extensions::Elements;
use crate::rtp::packet::RtpHeader;
use crate::rtp::track::MAX_LAYERS;

use super::drop_reason::DropReason;
use super::intake::{Accepted, Incoming, Intake, redundancy};
use super::key_frames::KeyFrameAsk;
use super::receiver::{Arrival, Receiver};
use super::relay::ClockPair;
use super::slab::{MAX_PAYLOAD, PublicationId, Slab, SlabRing};
use super::subscription::Subscription;

/// Longest a sound packet waits for a video frame that is about to come. Trade: riding in the frame's
/// message saves nine tenths of its cost, and is heard as this much more delay on the packets that wait.
pub const RIDER_WAITS: Duration = Duration::from_millis(5);

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
    /// A guest's sound, which some viewers here hear only while it is among the loudest: index of that choice, and the seat.
    pub voice: Option<(u32, Seat)>,
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
            voice: None,
            wake: None,
            want_at: None,
        }
    }

    /// The other shards that have viewers of it now.
    pub fn wanting(&self, now: Instant) -> impl Iterator<Item = u8> {
        self.wanted_by.iter().filter(move |(_, until)| *until > now).map(|(shard, _)| *shard)
    }

    /// Somebody here watches it, or is about to, or would if it were louder.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.subscriptions.is_empty() || !self.awaiting.is_empty() || self.voice.is_some()
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
        let parameters = intake.codec(header.payload_type).ok_or(DropReason::UnknownPayloadType)?;
        let codec = parameters.codec;
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
        let redundancy = redundancy(parameters, header.payload_type, payload)?;
        let mut facts = codec::describe(codec, payload).map_err(|_| DropReason::CodecMalformed)?;
        let sequence = receiver.without_padding(sequence).ok_or(DropReason::TooLate)?;
        let trusted = !intake.layers.is_distrusted();
        let (layers, descriptor) = intake.layers_of(codec, &facts, extensions);
        // Where spatial layers do not need each other (AV1's S modes) each begins a sequence, in the middle of the picture.
        facts.key_frame_start &= layers.spatial == 0;
        if facts.key_frame_start {
            key_frame.served();
        }
        let became_ready = !intake.ready && (id.kind == MediaKind::Audio || facts.key_frame_start);
        intake.ready |= became_ready;
        let level = intake.level(extensions);
        let loudness = level.and_then(|level| intake.loudness(now, level));
        if facts.key_frame_start {
            intake.note_sizes(codec, payload);
        }
        let layers = intake.layers.place(sequence, header.timestamp, layers);
        let layers_distrusted = trusted && intake.layers.is_distrusted();
        let level = level.map(|level| level.minus_dbov);
        let packet = Incoming {
            header,
            payload,
            sequence,
            codec,
            redundancy,
            level,
            facts,
            layers,
            descriptor,
        };
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

/// All publications a transport may have: its sound, and each layer of its video.
pub fn ids(transport: TransportId) -> impl Iterator<Item = PublicationId> {
    [MediaKind::Audio, MediaKind::Video].into_iter().flat_map(move |kind| ids_of(transport, kind))
}

/// All publications a track may have.
pub fn ids_of(transport: TransportId, kind: MediaKind) -> impl Iterator<Item = PublicationId> {
    let layers = if kind == MediaKind::Video { MAX_LAYERS } else { 1 };
    (0..layers as u8).map(move |layer| PublicationId { transport, kind, layer })
}
