//! One flushed part of a frame, in plaintext, shared by every viewer on every shard.
//!
//! A [`Slab`] is immutable once published, so shards read it without a lock; nothing in it belongs
//! to one viewer. [`SlabRing`] keeps the last two seconds of a publication: it is the fan-out
//! source and the one retransmission cache of all viewers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signaling::media::{MediaKind, TransportId};

use super::picture::PicturePatch;
use super::thinning::{Counts, Cut, PacketLayers, Point};
use crate::rtp::codec;
use crate::rtp::track::Codec;

/// Packets per slab. Trade: a message of 16 segments has taken most of what GSO can give
/// (170 ns a packet against 99 at 20), and a longer one keeps the next viewer waiting.
pub const SLAB_PACKETS: usize = 16;

/// Largest RTP payload accepted. Trade: an Ethernet frame holds no more, and a larger one could not
/// be forwarded without fragments.
pub const MAX_PAYLOAD: usize = 1500;

/// Most padding added to a packet so that a run of equal segments is not cut. Trade:
/// libwebrtc splits a frame into packets that differ by one byte, which alone would end every run;
/// eight bytes cover that and stay below 1 % of a full packet.
const MAX_EQUALISE: usize = 8;

/// How long a packet can be retransmitted. Trade: memory (625 KB at 2.5 Mbit/s, once per
/// publication and shard) against repair over long paths.
const RING_AGE: Duration = Duration::from_secs(2);

/// Bytes of one ring; the oldest slab goes first.
const RING_BYTES: usize = 4 * 1024 * 1024;

/// A joiner gets frames since a key frame of at most this age at once, without asking for another.
/// Trade: it must cover the time for which key-frame requests are merged, and every millisecond of
/// it is more for the joiner's network and decoder to catch up with.
const GOP_AGE: Duration = Duration::from_millis(600);

/// Bytes of such a replay: half a second of a 4 Mbit/s picture.
const GOP_BYTES: usize = 256 * 1024;

/// Sequence numbers a ring can find again: 2 s of a 2 000 packets/s publication.
const RING_INDEX: usize = 4096;

/// Packets looked at to find one by its place. Each look halves or quarters what lies between; a hole costs one more.
const PLACE_LOOKS: usize = 256;

/// One encoding of a track sent in by a participant. A publish transport has at most one track of each kind,
/// and a video track may come in several simulcast layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicationId {
    /// The transport that sends it.
    pub transport: TransportId,
    /// Audio or video.
    pub kind: MediaKind,
    /// Which of its rids, in the order of the offer; 0 without simulcast.
    pub layer: u8,
}

impl PublicationId {
    /// The first layer of a track, which stands for all of them where a track is meant.
    #[must_use]
    pub const fn track(transport: TransportId, kind: MediaKind) -> Self {
        Self { transport, kind, layer: 0 }
    }

    /// The track this is a layer of.
    #[must_use]
    pub const fn of_track(self) -> Self {
        Self { layer: 0, ..self }
    }
}

/// One packet inside a slab.
#[derive(Debug, Clone, Copy)]
pub struct SlabPacket {
    /// Offset of its payload in the slab's bytes.
    start: u32,
    /// Length of its payload.
    len: u16,
    /// Length of its dependency descriptor, which lies before the payload; 0 = it has none.
    described: u8,
    /// RTP padding to add so that it is as long as its run.
    pub pad: u8,
    /// Marker bit, for viewers of each spatial level one bit: it is the last of its picture that they take.
    pub markers: u8,
    /// Extended sequence number of the publication, without gaps where padding was dropped.
    pub sequence: u64,
    /// Where the codec's own picture counters are, if they may need rewriting.
    pub picture: PicturePatch,
}

impl SlabPacket {
    /// It has a dependency descriptor.
    #[must_use]
    pub const fn is_described(&self) -> bool {
        self.described > 0
    }
}

/// A run of packets that becomes one message: equal lengths, the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Index of the first packet.
    pub first: u8,
    /// Packets in the run.
    pub count: u8,
}

impl Run {
    /// Of its packets those among the first `taken` of the slab, if any.
    #[must_use]
    pub fn up_to(self, taken: usize) -> Option<Self> {
        let left = taken.checked_sub(self.first.into()).filter(|left| *left > 0)?;
        Some(Self { count: self.count.min(left.min(SLAB_PACKETS) as u8), ..self })
    }
}

/// Plaintext packets of one frame (or part of one) of one publication.
#[derive(Debug)]
pub struct Slab {
    /// What it belongs to.
    pub publication: PublicationId,
    /// How its payloads are encoded.
    pub codec: Codec,
    /// Gate epoch: packets of different epochs are never one continuous stream.
    pub epoch: u32,
    /// A viewer can begin with it: it begins a decodable key frame.
    pub key_frame: bool,
    /// The first slab of its frame.
    pub begins_frame: bool,
    /// Bytes in front of the sound itself in its one packet: what repeats earlier sound, with its headers (RFC 2198). 0 = it
    /// is not in RED.
    pub redundancy: u16,
    /// How loud its sound says it is, -dBov (RFC 6464).
    pub level: Option<u8>,
    /// RTP timestamp of every packet in it.
    pub timestamp: u32,
    /// Arrival of the first packet.
    pub arrived: Instant,
    /// The layers of its packets.
    pub cut: Cut,
    packets: Vec<SlabPacket>,
    runs: Vec<Run>,
    bytes: Vec<u8>,
}

impl Slab {
    /// An empty slab; its buffers keep their capacity when it is reused.
    fn empty(publication: PublicationId, codec: Codec, now: Instant) -> Self {
        Self {
            publication,
            codec,
            epoch: 0,
            key_frame: false,
            begins_frame: false,
            redundancy: 0,
            level: None,
            timestamp: 0,
            arrived: now,
            cut: Cut::default(),
            packets: Vec::with_capacity(SLAB_PACKETS),
            runs: Vec::with_capacity(SLAB_PACKETS),
            bytes: Vec::new(),
        }
    }

    /// The packets in arrival order; never more than [`SLAB_PACKETS`].
    #[must_use]
    pub fn packets(&self) -> &[SlabPacket] {
        &self.packets
    }

    /// How the packets group into messages.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The packets of a run.
    #[must_use]
    pub fn run(&self, run: Run) -> &[SlabPacket] {
        self.packets.get(run.first as usize..(run.first + run.count) as usize).unwrap_or_default()
    }

    /// The payload of one of this slab's packets.
    #[must_use]
    pub fn payload(&self, packet: &SlabPacket) -> &[u8] {
        self.payload_behind(packet, 0)
    }

    /// The same without so many bytes at its beginning.
    #[must_use]
    pub fn payload_behind(&self, packet: &SlabPacket, skip: u16) -> &[u8] {
        let start = packet.start as usize;
        let end = start + packet.len as usize;
        self.bytes.get(start + skip as usize..end).unwrap_or_default()
    }

    /// The dependency descriptor of one of this slab's packets, as the publisher sent it; empty = it has none.
    #[must_use]
    pub fn descriptor(&self, packet: &SlabPacket) -> &[u8] {
        let end = packet.start as usize;
        self.bytes.get(end - usize::from(packet.described)..end).unwrap_or_default()
    }

    /// The place of packet number `at` among those of `point`: its sequence number, less what was left out before it.
    fn place(&self, at: usize, point: Point) -> u64 {
        let first = self.packets.first().map_or(0, |packet| packet.sequence);
        let taken = if self.cut.is_late() { at } else { at.min(self.cut.taken(point)) };
        first + taken as u64 - self.cut.skipped(point)
    }

    /// Bytes of payloads and descriptors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// No packets yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Room for no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.packets.len() >= SLAB_PACKETS
    }

    /// Append a packet, which continues what is there, with its dependency descriptor (at most 255 bytes; empty = none). Its
    /// copy says nothing of its temporal layer: what viewers take of the slab is in `layers` from here on.
    pub fn push(
        &mut self,
        sequence: u64,
        marker: bool,
        layers: &PacketLayers,
        descriptor: &[u8],
        payload: &[u8],
        picture: PicturePatch,
    ) {
        debug_assert!(!self.is_full());
        let ended = self.cut.push(layers, self.packets.is_empty());
        if let Some(before) = self.packets.last_mut() {
            before.markers |= ended;
        }
        let markers = layers.markers(marker);
        let described = u8::try_from(descriptor.len()).unwrap_or(0);
        self.bytes.extend_from_slice(&descriptor[..described.into()]);
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(payload);
        if let Some(copy) = self.bytes.get_mut(start as usize..) {
            codec::hide_temporal_layers(self.codec, copy);
        }
        let len = payload.len() as u16;
        self.packets.push(SlabPacket { start, len, described, pad: 0, markers, sequence, picture });
    }

    /// Group the packets into runs of equal length, padding by at most `MAX_EQUALISE` bytes. Descriptors of other lengths, as
    /// the first packet of a key frame has, make headers of other lengths: a run of its own.
    pub fn seal(&mut self) {
        self.runs.clear();
        let mut first = 0;
        while first < self.packets.len() {
            let count = self.next_run(first);
            self.runs.push(Run { first: first as u8, count: count as u8 });
            first += count;
        }
    }

    /// The longest run from `first`; sets its packets' padding.
    fn next_run(&mut self, first: usize) -> usize {
        let lens = |i: usize| self.packets[i].len as usize;
        let (mut low, mut high) = (lens(first), lens(first));
        let described = self.packets[first].described;
        let mut end = first + 1;
        let mut short_tail = false;
        while end < self.packets.len() && !short_tail && self.packets[end].described == described {
            let len = lens(end);
            let (new_low, new_high) = (low.min(len), high.max(len));
            if new_high - new_low <= MAX_EQUALISE.min(new_high / 100) {
                (low, high) = (new_low, new_high);
            } else if len < low {
                short_tail = true;
            } else {
                break;
            }
            end += 1;
        }
        let padded = if short_tail { end - 1 } else { end };
        for (i, packet) in self.packets[first..padded].iter_mut().enumerate() {
            // The last packet of a run may stay shorter than the others.
            let last = first + i + 1 == end;
            packet.pad = if last { 0 } else { (high - packet.len as usize) as u8 };
        }
        end - first
    }
}

/// The last two seconds of a publication, by sequence number.
#[derive(Debug, Default)]
pub struct SlabRing {
    slabs: VecDeque<Arc<Slab>>,
    /// Serial number of `slabs[0]`.
    first_serial: u64,
    bytes: usize,
    /// What each operating point left out up to the newest packet.
    counts: Counts,
    /// sequence % RING_INDEX -> (sequence, serial, packet); made when the first slab arrives.
    index: Vec<(u64, u64, u8)>,
    spare: Vec<Arc<Slab>>,
    gop: Option<Gop>,
}

/// A key frame and what followed it without a hole.
#[derive(Debug, Clone, Copy)]
struct Gop {
    first_serial: u64,
    arrived: Instant,
    bytes: usize,
    next_sequence: u64,
}

impl SlabRing {
    /// An empty slab, reusing the memory of one that nobody holds any more.
    pub fn fresh(&mut self, publication: PublicationId, codec: Codec, now: Instant) -> Arc<Slab> {
        while let Some(mut slab) = self.spare.pop() {
            if let Some(inner) = Arc::get_mut(&mut slab) {
                inner.packets.clear();
                inner.runs.clear();
                inner.bytes.clear();
                inner.publication = publication;
                inner.codec = codec;
                inner.arrived = now;
                inner.key_frame = false;
                inner.cut = Cut::default();
                return slab;
            }
        }
        Arc::new(Slab::empty(publication, codec, now))
    }

    /// Keep a slab and forget what is too old or too much.
    pub fn store(&mut self, now: Instant, slab: &Arc<Slab>) {
        if self.index.is_empty() {
            self.index = vec![(u64::MAX, 0, 0); RING_INDEX];
        }
        let serial = self.first_serial + self.slabs.len() as u64;
        for (i, packet) in slab.packets().iter().enumerate() {
            let at = (packet.sequence % RING_INDEX as u64) as usize;
            self.index[at] = (packet.sequence, serial, i as u8);
        }
        if !slab.cut.is_late() {
            self.counts = Counts::behind(&slab.cut, slab.packets().len().saturating_sub(1));
        }
        self.follow_gop(slab, serial);
        self.bytes += slab.len();
        self.slabs.push_back(Arc::clone(slab));
        while self.slabs.front().is_some_and(|oldest| {
            self.bytes > RING_BYTES || now.saturating_duration_since(oldest.arrived) > RING_AGE
        }) {
            self.evict_oldest();
        }
    }

    fn follow_gop(&mut self, slab: &Slab, serial: u64) {
        let (Some(first), Some(last)) = (slab.packets().first(), slab.packets().last()) else {
            return;
        };
        let next_sequence = last.sequence + 1;
        if slab.key_frame {
            let (arrived, bytes) = (slab.arrived, slab.len());
            self.gop = Some(Gop { first_serial: serial, arrived, bytes, next_sequence });
        } else if let Some(gop) = &mut self.gop
            && first.sequence == gop.next_sequence
        {
            gop.bytes += slab.len();
            gop.next_sequence = next_sequence;
        } else {
            self.gop = None;
        }
    }

    /// Everything since a fresh key frame, if it has no hole and is not too much: what a viewer who
    /// joins now can begin with. Empty otherwise.
    pub fn gop(&self, now: Instant) -> impl Iterator<Item = &Arc<Slab>> + Clone {
        let fresh = self.gop.filter(|gop| {
            gop.bytes <= GOP_BYTES
                && gop.first_serial >= self.first_serial
                && now.saturating_duration_since(gop.arrived) <= GOP_AGE
        });
        let first =
            fresh.map_or(self.slabs.len(), |gop| (gop.first_serial - self.first_serial) as usize);
        self.slabs.iter().skip(first)
    }

    /// What came so far is not for those who join from now on: the audience changed.
    pub fn forget_gop(&mut self) {
        self.gop = None;
    }

    fn evict_oldest(&mut self) {
        if let Some(oldest) = self.slabs.pop_front() {
            self.first_serial += 1;
            self.bytes -= oldest.len();
            if self.spare.len() < SLAB_PACKETS {
                self.spare.push(oldest);
            }
        }
    }

    /// Which of the slabs ever stored begins with the packet of this sequence number, if it is still kept.
    #[must_use]
    pub fn serial_of(&self, sequence: u64) -> Option<u64> {
        self.indexed(sequence).map(|(serial, _)| serial)
    }

    /// The serial number of the slab that has this sequence number, and which of its packets that is.
    fn indexed(&self, sequence: u64) -> Option<(u64, usize)> {
        let (stored, serial, packet) = *self.index.get((sequence % RING_INDEX as u64) as usize)?;
        (stored == sequence && serial >= self.first_serial).then_some((serial, packet.into()))
    }

    /// The slab stored last, if it is still kept.
    #[must_use]
    pub fn newest(&self) -> Option<&Slab> {
        self.slabs.back().map(Arc::as_ref)
    }

    /// The slab of this serial number, if it is still kept.
    #[must_use]
    pub fn at(&self, serial: u64) -> Option<&Arc<Slab>> {
        self.slabs.get(usize::try_from(serial.checked_sub(self.first_serial)?).ok()?)
    }

    /// The serial number of the slab that will be stored next.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first_serial + self.slabs.len() as u64
    }

    /// The packet with this sequence number, if it is still kept.
    #[must_use]
    pub fn find(&self, sequence: u64) -> Option<(&Slab, &SlabPacket)> {
        let (slab, packet) = self.locate(sequence)?;
        Some((slab, slab.packets().get(packet)?))
    }

    /// The slab that has this sequence number, and which of its packets that is.
    fn locate(&self, sequence: u64) -> Option<(&Slab, usize)> {
        let (serial, packet) = self.indexed(sequence)?;
        Some((self.at(serial)?, packet))
    }

    /// What each operating point left out up to `sequence`, by the nearest packet before it that is still kept.
    #[must_use]
    pub fn counts_before(&self, sequence: u64) -> Option<Counts> {
        let known =
            (1..=RING_INDEX as u64).find_map(|back| self.locate(sequence.checked_sub(back)?));
        known.map(|(slab, packet)| Counts::behind(&slab.cut, packet))
    }

    /// The packet that has this place among those of `point`, if it is still kept: its sequence number, less what was
    /// left out before it, is `place`. One that fills a hole counts for every point, taken or not.
    #[must_use]
    pub fn find_place(&self, place: u64, point: Point) -> Option<(&Slab, &SlabPacket)> {
        // Never below the packet: from any number, as many packets of the point lie between as places.
        let mut sequence = place.checked_add(self.counts.skipped(point))?;
        let first = |slab: &Arc<Slab>| slab.packets().first().map(|packet| packet.sequence);
        let oldest = self.slabs.front().and_then(first)?;
        for _ in 0..PLACE_LOOKS {
            if sequence < oldest {
                return None;
            }
            let Some((slab, at)) = self.locate(sequence) else {
                sequence = sequence.checked_sub(1)?;
                continue;
            };
            let here = slab.place(at, point);
            if here == place {
                let counts = slab.cut.is_late() || at < slab.cut.taken(point);
                return slab.packets().get(at).filter(|_| counts).map(|packet| (slab, packet));
            }
            sequence = sequence.checked_sub(here.checked_sub(place)?)?;
        }
        None
    }

    /// Forget everything: after a mute nothing from before it may be sent again.
    pub fn clear(&mut self) {
        while !self.slabs.is_empty() {
            self.evict_oldest();
        }
        self.index.clear();
        self.counts = Counts::default();
        self.gop = None;
    }
}

#[cfg(test)]
mod tests;
