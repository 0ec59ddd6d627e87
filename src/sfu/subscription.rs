//! A publication going out to one participant's slot: which packets, under which numbers.
//!
//! Outgoing numbers are continuous for the life of the slot, whoever fills it. A constant distance
//! per source (an *anchor*) maps incoming to outgoing numbers, so the packet cache of the
//! publication serves retransmissions without any per-viewer history.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use signaling::media::MediaKind;

use crate::rtp::dependency::frame_number;
use crate::rtp::packet::{FIXED_HEADER_LEN, FixedHeader};
use crate::rtp::seq::timestamp_is_newer;
use crate::rtp::track::{Codec, TrackOut};

use super::bandwidth::downlink::Downlink;
use super::counters::Counters;
use super::drop_reason::DropReason;
use super::egress::{Egress, Path};
use super::picture::PictureCounters;
use super::repair::{Repair, Way};
use super::slab::{Run, Slab, SlabPacket};
use super::thinning::Point;
use super::transport::SrtpSender;

mod anchor;
mod catch_up;
mod header;
mod repeat;
mod reports;
#[cfg(test)]
mod tests;

use anchor::{Anchor, Past, REPLAY_SQUEEZE};
pub use catch_up::CaughtUp;
use header::{Descriptor, Header, Wide, with_header};
use repeat::Rewritten;

/// Where a slot's packets go.
pub struct Link<'a> {
    /// What seals them.
    pub sender: &'a SrtpSender,
    /// The peer's address.
    pub path: Path,
    /// The account of what went there, and of what the peer tells of it.
    pub downlink: Option<&'a mut Downlink>,
}

impl Link<'_> {
    /// Whether the next message may leave at this viewer's pace.
    #[must_use]
    pub fn may_send(&self, now: Instant) -> bool {
        self.downlink.as_ref().is_none_or(|downlink| downlink.may_send(now))
    }

    /// The way there; `round_trip` as its reports tell it, which may come later than other feedback.
    fn way(&self, round_trip: Option<Duration>) -> Way {
        let known = self.downlink.as_ref().map(|downlink| downlink.estimate());
        let rtt = || known.and_then(|estimate| estimate.rtt);
        Way { round_trip: round_trip.or_else(rtt), bps: known.map(|estimate| estimate.target_bps) }
    }

    /// A message of so many packets of `segment` bytes leaves now.
    fn note_message(&mut self, now: Instant, segment: usize, packets: usize) {
        if let Some(downlink) = &mut self.downlink {
            downlink.note_message(now, segment, packets);
        }
    }

    /// The packet that was sealed since `start` is a message of its own; its length.
    fn send_alone(
        &mut self,
        now: Instant,
        start: usize,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) -> usize {
        let sealed = egress.buffer().len() - start;
        self.note_message(now, sealed, 1);
        egress.commit(self.path, start, sealed);
        counters.packets_out += 1;
        counters.bytes_out += sealed as u64;
        counters.messages_out += 1;
        sealed
    }
}

/// Of every video codec (RFC 7741, 9628, 6184 and AV1's).
const VIDEO_CLOCK_RATE: u32 = 90_000;

/// Zeroes to pad from; the last octet of padding is its count (RFC 3550 5.1).
const PADDING: [[u8; 9]; 9] = padding_table();

const fn padding_table() -> [[u8; 9]; 9] {
    let mut table = [[0; 9]; 9];
    let mut n = 1;
    while n < 9 {
        table[n][n - 1] = n as u8;
        n += 1;
    }
    table
}

/// Payload types by codec: its own, and that of what makes up for losses, which is RTX for video and RED for sound.
type PayloadTypes = [Option<(u8, Option<u8>)>; Codec::ALL.len()];

fn payload_types(track: &TrackOut) -> PayloadTypes {
    let mut types = [None; Codec::ALL.len()];
    for c in &track.codecs {
        types[c.codec as usize] = Some((c.pt, c.rtx_pt.or(c.red_pt)));
    }
    types
}

fn rtx_ssrc(track: &TrackOut) -> Option<NonZeroU32> {
    track.rtx_ssrc.and_then(NonZeroU32::new)
}

/// The outgoing state of one slot of one viewer.
#[derive(Debug)]
pub struct Subscription {
    /// Index of the watch session.
    pub session: u32,
    /// Index of the track in that session.
    pub track: u8,
    /// Our SSRC.
    pub ssrc: u32,
    rtx_ssrc: Option<NonZeroU32>,
    /// [`TrackOut::wide_id`].
    transport_cc: Option<u8>,
    /// [`TrackOut::dependency`].
    dependency: Option<u8>,
    kind: MediaKind,
    /// Sound goes out without what it repeats, though the viewer could read it.
    without_red: bool,
    payload_types: PayloadTypes,
    anchor: Option<Anchor>,
    /// What of its layers is to be taken; the anchor goes there as soon as the stream allows.
    target: Point,
    /// What the present source went through before its present operating point, if it had another.
    past: Option<Box<Past>>,
    /// Next outgoing packet index: roll-over counter << 16 | sequence number. Only grows.
    next_index: u64,
    next_rtx_index: u64,
    last_timestamp: u32,
    last_sent: Option<Instant>,
    pictures: PictureCounters,
    packets: u64,
    octets: u64,
    report_due: bool,
    /// While this slot is behind the live frames: which slab of the publication's ring is its next.
    behind: Option<u64>,
    /// Where in the sound's subscriptions this viewer was found last.
    pub rider: u32,
    /// The sound packet that has ridden and is not to be sent again.
    ridden: Option<u64>,
    repair: Option<Box<Repair>>,
    round_trip: Option<Duration>,
    reported: Option<(u32, Instant)>,
}

impl Subscription {
    /// A slot that has sent nothing. `random` seeds the first numbers (RFC 3550 wants them
    /// unpredictable); the sequence number starts in the lower half so that it does not wrap
    /// before the first report.
    #[must_use]
    pub fn new(session: u32, index: u8, track: &TrackOut, random: u64) -> Self {
        Self {
            session,
            track: index,
            ssrc: track.ssrc,
            rtx_ssrc: rtx_ssrc(track),
            transport_cc: track.wide_id(),
            dependency: track.dependency,
            kind: track.kind,
            without_red: false,
            payload_types: payload_types(track),
            anchor: None,
            target: Point::ALL,
            past: None,
            next_index: random & 0x7fff,
            next_rtx_index: (random >> 16) & 0x7fff,
            last_timestamp: (random >> 32) as u32,
            last_sent: None,
            pictures: PictureCounters::default(),
            packets: 0,
            octets: 0,
            report_due: false,
            behind: None,
            rider: u32::MAX,
            ridden: None,
            repair: None,
            round_trip: None,
            reported: None,
        }
    }

    /// Send a slab's packets: one message per run.
    ///
    /// # Errors
    /// Why nothing of it was sent.
    pub fn forward(
        &mut self,
        now: Instant,
        slab: &Slab,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) -> Result<(), DropReason> {
        let mut anchor = self.anchored_in_time(now, slab)?;
        let first = slab.packets().first().map(|packet| packet.sequence);
        if first.is_some() && first == self.ridden {
            return Ok(());
        }
        if slab.cut.is_late() {
            return self.forward_late(now, slab, link, egress, counters);
        }
        if anchor.point != self.usable_target(slab.codec) && slab.cut.begins_picture() {
            anchor = self.step(&anchor, slab, counters);
        }
        let taken = slab.cut.taken(anchor.point);
        if taken == 0 {
            return Err(DropReason::LayerNotTaken);
        }
        anchor.enter(slab);
        for run in slab.runs().iter().map_while(|run| run.up_to(taken)) {
            self.send_run(now, &anchor, slab, run, link, egress, counters);
        }
        self.note_sent(now, &anchor, slab);
        Ok(())
    }

    /// Send a sound packet as the last datagram of the viewer's newest message, if it fits there. If
    /// not, [`Self::forward`] sends it later.
    pub fn ride(
        &mut self,
        now: Instant,
        slab: &Slab,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) {
        let [packet] = slab.packets() else { return };
        let Ok(anchor) = self.anchored_in_time(now, slab) else { return };
        let anchor = anchor.within(slab);
        let payload = slab.payload_behind(packet, anchor.skip);
        let len = FIXED_HEADER_LEN + payload.len() + link.sender.overhead();
        if !egress.can_ride(link.path, len) {
            return;
        }
        self.seal(&anchor, slab, packet, link, egress.buffer(), counters);
        egress.ride();
        counters.rides += 1;
        self.ridden = Some(packet.sequence);
        self.note_sent(now, &anchor, slab);
    }

    fn note_sent(&mut self, now: Instant, anchor: &Anchor, slab: &Slab) {
        let timestamp = anchor.timestamp(slab.timestamp);
        if timestamp_is_newer(timestamp, self.last_timestamp) {
            self.last_timestamp = timestamp;
        }
        self.last_sent = Some(now);
    }

    #[expect(clippy::too_many_arguments, reason = "the hot path passes what it has, uncopied")]
    fn send_run(
        &mut self,
        now: Instant,
        anchor: &Anchor,
        slab: &Slab,
        run: Run,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) {
        let start = egress.begin();
        let mut segment = 0;
        let packets = slab.run(run);
        // Those of one run have descriptors of one length.
        let described = packets.first().is_some_and(SlabPacket::is_described);
        if described && self.dependency.is_some() {
            for packet in packets {
                let out = egress.buffer();
                segment =
                    segment.max(self.seal_described(anchor, slab, packet, link, out, counters));
            }
        } else {
            for packet in packets {
                segment =
                    segment.max(self.seal(anchor, slab, packet, link, egress.buffer(), counters));
            }
        }
        // Sound is neither paced nor adapted.
        if self.is_video() {
            link.note_message(now, segment, run.count.into());
        }
        egress.commit(link.path, start, segment);
        counters.messages_out += 1;
    }

    /// Append one sealed packet to `out`; its length.
    fn seal(
        &mut self,
        anchor: &Anchor,
        slab: &Slab,
        packet: &SlabPacket,
        link: &mut Link<'_>,
        out: &mut Vec<u8>,
        counters: &mut Counters,
    ) -> usize {
        let index = anchor.index(packet);
        let payload = slab.payload_behind(packet, anchor.skip);
        let header = Header::new(self.header(anchor, slab, packet, index), self.wide_number(link));
        let padding = &PADDING[packet.pad as usize][..packet.pad as usize];
        let before = out.len();
        match packet.picture.apply(payload, anchor.picture) {
            None => link.sender.seal_rtp(header.bytes(), payload, padding, index, out),
            Some(head) => {
                let rewritten = Rewritten::new(&[], head.bytes(), payload);
                link.sender.seal_rtp(header.bytes(), rewritten.bytes(), padding, index, out);
            }
        }
        let sealed = out.len() - before;
        self.pictures.note(&packet.picture, anchor.picture);
        self.note_sealed(index, payload.len(), sealed, packet.pad, counters);
        sealed
    }

    /// The same for a packet with a dependency descriptor, which goes out with it. Its picture has no other numbers to rewrite.
    fn seal_described(
        &mut self,
        anchor: &Anchor,
        slab: &Slab,
        packet: &SlabPacket,
        link: &mut Link<'_>,
        out: &mut Vec<u8>,
        counters: &mut Counters,
    ) -> usize {
        let index = anchor.index(packet);
        let payload = slab.payload(packet);
        let (fixed, wide) = (self.header(anchor, slab, packet, index), self.wide_number(link));
        let descriptor = self.descriptor(anchor, slab.descriptor(packet));
        let padding = &PADDING[packet.pad as usize][..packet.pad as usize];
        let before = out.len();
        with_header(fixed, wide, descriptor, |header| {
            link.sender.seal_rtp(header, payload, padding, index, out);
        });
        let sealed = out.len() - before;
        if let Some(number) = descriptor.and_then(|descriptor| frame_number(descriptor.bytes)) {
            self.pictures.note_frame(number.wrapping_add(anchor.frame_shift));
        }
        self.note_sealed(index, payload.len(), sealed, packet.pad, counters);
        sealed
    }

    #[inline]
    fn note_sealed(
        &mut self,
        index: u64,
        payload: usize,
        sealed: usize,
        pad: u8,
        counters: &mut Counters,
    ) {
        self.next_index = self.next_index.max(index + 1);
        self.octets += payload as u64;
        self.packets += 1;
        counters.packets_out += 1;
        counters.bytes_out += sealed as u64;
        counters.padding_bytes += u64::from(pad);
    }

    /// The next transport-wide number, with the id of its extension.
    fn wide_number(&self, link: &mut Link<'_>) -> Option<Wide> {
        Some((self.transport_cc?, link.downlink.as_mut()?.take_number()))
    }

    /// A packet's descriptor for this viewer, if it has one and the viewer reads it.
    fn descriptor<'s>(&self, anchor: &Anchor, bytes: &'s [u8]) -> Option<Descriptor<'s>> {
        if bytes.is_empty() {
            return None;
        }
        Some(Descriptor { id: self.dependency?, bytes, shift: anchor.frame_shift })
    }

    /// What of its target this viewer can make use of.
    fn usable_target(&self, codec: Codec) -> Point {
        self.target.usable(codec, self.dependency.is_some())
    }

    fn header(&self, anchor: &Anchor, slab: &Slab, packet: &SlabPacket, index: u64) -> FixedHeader {
        FixedHeader {
            padding: packet.pad > 0,
            marker: anchor.marks(packet),
            payload_type: anchor.payload_type,
            sequence: index as u16,
            timestamp: anchor.timestamp(slab.timestamp),
            ssrc: self.ssrc,
        }
    }

    /// The anchor for this slab, which is refused if the slot began behind it.
    fn anchored_in_time(&mut self, now: Instant, slab: &Slab) -> Result<Anchor, DropReason> {
        let anchor = self.anchored(now, slab, None)?;
        if slab.packets().first().is_some_and(|packet| packet.sequence < anchor.first) {
            return Err(DropReason::TooLate);
        }
        Ok(anchor)
    }

    /// The anchor for this slab's source, made now if the source is new. `head` is the newest
    /// timestamp of the replay that begins with it.
    fn anchored(
        &mut self,
        now: Instant,
        slab: &Slab,
        head: Option<u32>,
    ) -> Result<Anchor, DropReason> {
        if let Some(anchor) = self.anchor
            && anchor.publication == slab.publication
            && anchor.epoch == slab.epoch
            && anchor.codec == slab.codec
        {
            return Ok(anchor);
        }
        if self.is_video() && !slab.key_frame {
            return Err(DropReason::AwaitKeyFrame);
        }
        let (payload_type, again) =
            self.payload_types[slab.codec as usize].ok_or(DropReason::CodecNotNegotiated)?;
        let first = slab.packets().first().ok_or(DropReason::RtpMalformed)?;
        // A pause at the source is a pause for the viewer: time goes on between two sources.
        let newest = head.unwrap_or(slab.timestamp);
        let squeezed = newest.wrapping_sub(slab.timestamp) / REPLAY_SQUEEZE;
        let elapsed = self.last_sent.map_or(0, |at| now.saturating_duration_since(at).as_micros());
        let ticks = (elapsed as u64 * u64::from(self.clock_rate()) / 1_000_000) as u32;
        let timestamp = self.last_timestamp.wrapping_add(ticks.max(squeezed + 1));
        let sound = slab.codec == Codec::Opus;
        let point = self.usable_target(slab.codec);
        let mut picture = self.pictures.shift_to(&first.picture);
        picture.picture_id = picture.picture_id.wrapping_add(slab.cut.pictures(point));
        let skipped = slab.cut.skipped(point) as i64;
        let anchor = Anchor {
            point,
            publication: slab.publication,
            epoch: slab.epoch,
            codec: slab.codec,
            payload_type,
            red_payload_type: again.filter(|_| sound && !self.without_red),
            skip: 0,
            rtx_payload_type: again.filter(|_| !sound && self.rtx_ssrc.is_some()),
            first: first.sequence,
            distance: self.next_index as i64 - first.sequence as i64 + skipped,
            timestamp_offset: timestamp.wrapping_sub(newest),
            replayed_to: head,
            picture,
            // Template ids need no such shift: a viewer begins with a key frame, whose first packet has the templates.
            frame_shift: self.pictures.frame_shift_to(frame_number(slab.descriptor(first))),
        };
        self.anchor = Some(anchor);
        self.past = None;
        self.ridden = None;
        self.report_due = true;
        Ok(anchor)
    }

    /// The peer answered again. Other payload types, or descriptors where there were none, are another stream: an index keeps
    /// its bytes.
    pub fn renegotiate(&mut self, track: &TrackOut) {
        let types = payload_types(track);
        let same = types == self.payload_types
            && rtx_ssrc(track) == self.rtx_ssrc
            && track.dependency == self.dependency;
        (self.payload_types, self.rtx_ssrc) = (types, rtx_ssrc(track));
        self.dependency = track.dependency;
        self.transport_cc = track.wide_id();
        self.anchor = self.anchor.filter(|_| same);
    }

    const fn is_video(&self) -> bool {
        matches!(self.kind, MediaKind::Video)
    }

    const fn clock_rate(&self) -> u32 {
        match self.kind {
            MediaKind::Audio => Codec::Opus.clock_rate(),
            MediaKind::Video => VIDEO_CLOCK_RATE,
        }
    }

    /// Whether sound goes out in RED from the next packet on, where the viewer can read it.
    pub fn set_red(&mut self, on: bool) {
        if self.without_red != on {
            return;
        }
        self.without_red = !on;
        let red = self.payload_types[Codec::Opus as usize].and_then(|(_, red)| red.filter(|_| on));
        if let Some(anchor) = &mut self.anchor {
            anchor.red_payload_type = red;
        }
    }

    /// The source left the slot: the next one is a new stream even if it is the same publication.
    pub fn release(&mut self) {
        self.anchor = None;
        self.target = Point::ALL;
    }

    /// What of the layers inside its streams is to be taken from the next occasion on.
    pub fn set_target(&mut self, target: Point) {
        self.target = target;
    }

    /// What is taken of the present source, or will be of the next.
    #[must_use]
    pub fn point(&self) -> Point {
        self.anchor.map_or(self.target, |anchor| anchor.point)
    }

    /// Whether it waits for a sharper picture than it takes of the present source.
    #[must_use]
    pub fn wants_sharper(&self) -> bool {
        self.anchor
            .is_some_and(|anchor| self.usable_target(anchor.codec).spatial > anchor.point.spatial)
    }
}
