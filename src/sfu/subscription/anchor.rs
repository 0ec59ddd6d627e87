//! From the numbers of a source to those of a slot.

use std::time::Instant;

use crate::rtp::codec::PictureShift;
use crate::rtp::packet::{FIXED_HEADER_LEN, FixedHeader};
use crate::rtp::seq::timestamp_is_newer;
use crate::rtp::track::Codec;

use super::super::counters::Counters;
use super::super::drop_reason::DropReason;
use super::super::egress::Egress;
use super::super::picture::PicturePatch;
use super::super::slab::{PublicationId, Slab, SlabPacket, SlabRing};
use super::super::thinning::Point;
use super::{Link, PADDING, Subscription, with_header};

/// How much closer the frames of a replay are than they were: 33 ms become 1 ms.
pub(super) const REPLAY_SQUEEZE: u32 = 32;

/// Changes of the operating point that are remembered, for NACKs and holes of before. Trade: a viewer changes every
/// few seconds, and asks within one.
const MAX_PAST: usize = 8;

/// Maps one source to the slot's numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    pub(super) publication: PublicationId,
    pub(super) epoch: u32,
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    /// Of sound in RED, if the slot takes it.
    pub(super) red_payload_type: Option<u8>,
    /// Bytes of each payload that do not go out: once within a slab, what its sound repeats.
    pub(super) skip: u16,
    pub(super) rtx_payload_type: Option<u8>,
    /// What is taken of its layers.
    pub(super) point: Point,
    /// First incoming sequence number of this source that went out.
    pub(super) first: u64,
    /// Outgoing index - incoming sequence number, less what `point` left out.
    pub(super) distance: i64,
    /// Outgoing - incoming timestamp.
    pub(super) timestamp_offset: u32,
    /// Newest incoming timestamp of the replay this source began with, if it began with one.
    pub(super) replayed_to: Option<u32>,
    pub(super) picture: PictureShift,
    /// Added to the frame numbers of its dependency descriptors.
    pub(super) frame_shift: u16,
}

/// What a source went through before its present operating point.
#[derive(Debug)]
pub(super) struct Past {
    /// Where the present one began.
    since: Begin,
    /// The oldest first.
    stretches: Vec<Stretch>,
}

/// The first packet of a stretch.
#[derive(Debug, Clone, Copy)]
struct Begin {
    /// Its incoming sequence number.
    sequence: u64,
    /// Its outgoing index.
    index: u64,
}

/// A stretch of a source that went out under another operating point.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    point: Point,
    since: Begin,
    distance: i64,
    picture: PictureShift,
}

/// What goes out for a packet: itself, or nothing in its place.
#[derive(Clone, Copy)]
pub(super) struct Content<'s> {
    /// Its dependency descriptor; empty = it has none.
    pub(super) descriptor: &'s [u8],
    pub(super) payload: &'s [u8],
    pub(super) pad: u8,
    pub(super) marker: bool,
    pub(super) picture: PicturePatch,
}

impl Anchor {
    /// Frames of a replay are squeezed together just before the live ones. With their own spacing
    /// a player would take them for real time and stay as far behind as the replay is long.
    pub(super) fn timestamp(&self, source: u32) -> u32 {
        match self.replayed_to {
            Some(head) if !timestamp_is_newer(source, head) => {
                let behind = head.wrapping_sub(source) / REPLAY_SQUEEZE;
                head.wrapping_add(self.timestamp_offset).wrapping_sub(behind)
            }
            _ => source.wrapping_add(self.timestamp_offset),
        }
    }

    /// The same for the packets of one slab: what was left out before it is counted in.
    pub(super) fn within(mut self, slab: &Slab) -> Self {
        self.enter(slab);
        self
    }

    /// [`Self::within`], in place.
    pub(super) fn enter(&mut self, slab: &Slab) {
        if slab.redundancy > 0 {
            self.enter_red(slab.redundancy);
        }
        self.distance -= slab.cut.skipped(self.point) as i64;
        let pictures = slab.cut.pictures(self.point);
        self.picture.picture_id = self.picture.picture_id.wrapping_sub(pictures);
    }

    /// Sound in RED goes out whole to who takes RED, and to everybody else without what it repeats.
    fn enter_red(&mut self, redundancy: u16) {
        match self.red_payload_type {
            Some(red) => self.payload_type = red,
            None => self.skip = redundancy,
        }
    }

    /// The outgoing index of a packet, once [within](Self::within) its slab.
    pub(super) fn index(&self, packet: &SlabPacket) -> u64 {
        packet.sequence.wrapping_add_signed(self.distance)
    }

    /// The packet ends the picture, for this viewer.
    pub(super) fn marks(&self, packet: &SlabPacket) -> bool {
        packet.markers >> self.point.spatial & 1 == 1
    }

    fn stretch(&self, since: Begin) -> Stretch {
        let Self { point, distance, picture, .. } = *self;
        Stretch { point, since, distance, picture }
    }

    fn during(&self, stretch: &Stretch) -> Self {
        let Stretch { point, distance, picture, .. } = *stretch;
        Self { point, distance, picture, ..*self }
    }

    /// The packet that went out under `index`, if it is still kept, and the anchor within its slab.
    pub(super) fn find<'r>(
        &self,
        index: u64,
        ring: &'r SlabRing,
    ) -> Option<(Self, &'r Slab, &'r SlabPacket)> {
        let place = index.wrapping_add_signed(-self.distance);
        let (slab, packet) = ring.find_place(place, self.point)?;
        let kept = packet.sequence >= self.first && slab.epoch == self.epoch;
        kept.then(|| (self.within(slab), slab, packet))
    }

    /// What goes out for a packet of `slab`, once within it.
    pub(super) fn content<'s>(&self, slab: &'s Slab, packet: &SlabPacket) -> Content<'s> {
        let first = slab.packets().first().map_or(0, |first| first.sequence);
        if packet.sequence - first >= slab.cut.taken(self.point) as u64 {
            return Content {
                descriptor: &[],
                payload: &[],
                pad: 1,
                marker: false,
                picture: PicturePatch::default(),
            };
        }
        let (marker, picture) = (self.marks(packet), packet.picture);
        let payload = slab.payload_behind(packet, self.skip);
        let descriptor = slab.descriptor(packet);
        Content { descriptor, payload, pad: packet.pad, marker, picture }
    }
}

impl Subscription {
    /// Go towards the operating point that is wanted, with a slab that begins a picture. Numbers go on: what the old
    /// point would have sent next gets the number it would have had.
    pub(super) fn step(&mut self, anchor: &Anchor, slab: &Slab, counters: &mut Counters) -> Anchor {
        let target = self.usable_target(slab.codec);
        let point = slab.cut.step(anchor.point, target, slab.key_frame);
        let Some(first) = slab.packets().first().filter(|_| point != anchor.point) else {
            return *anchor;
        };
        let begin = Begin { sequence: first.sequence, index: anchor.within(slab).index(first) };
        let all = Begin { sequence: anchor.first, index: 0 };
        let new = || Box::new(Past { since: all, stretches: Vec::with_capacity(MAX_PAST) });
        let past = self.past.get_or_insert_with(new);
        if past.stretches.len() == MAX_PAST {
            past.stretches.remove(0);
        }
        past.stretches.push(anchor.stretch(std::mem::replace(&mut past.since, begin)));
        let mut next = *anchor;
        next.point = point;
        let (old, new) = (slab.cut.skipped(anchor.point), slab.cut.skipped(point));
        next.distance += new as i64 - old as i64;
        let (old, new) = (slab.cut.pictures(anchor.point), slab.cut.pictures(point));
        let id = &mut next.picture.picture_id;
        *id = id.wrapping_add(new).wrapping_sub(old);
        self.anchor = Some(next);
        counters.point_changes += 1;
        next
    }

    /// The anchor under which an incoming packet of the present source goes out, or an outgoing one went.
    pub(super) fn anchor_of(&self, at: Numbered) -> Option<Anchor> {
        let anchor = self.anchor?;
        let covers = |since: &Begin| match at {
            Numbered::Incoming(sequence) => sequence >= since.sequence,
            Numbered::Outgoing(index) => index >= since.index,
        };
        let Some(past) = self.past.as_ref().filter(|past| !covers(&past.since)) else {
            return Some(anchor);
        };
        let stretch = past.stretches.iter().rev().find(|stretch| covers(&stretch.since))?;
        Some(anchor.during(stretch))
    }

    /// Send what fills a hole: under the number that was left open, and as an empty packet where it turns out that it is
    /// of a layer that was not taken.
    pub(super) fn forward_late(
        &mut self,
        now: Instant,
        slab: &Slab,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) -> Result<(), DropReason> {
        let first = slab.packets().first().ok_or(DropReason::TooLate)?;
        let anchor = self.anchor_of(Numbered::Incoming(first.sequence));
        let anchor = anchor.ok_or(DropReason::TooLate)?.within(slab);
        let taken = slab.cut.taken(anchor.point);
        for run in slab.runs().iter().map_while(|run| run.up_to(taken)) {
            self.send_run(now, &anchor, slab, run, link, egress, counters);
        }
        for packet in slab.packets().iter().skip(taken) {
            let start = egress.begin();
            let index = anchor.index(packet);
            let fixed = FixedHeader {
                padding: true,
                marker: false,
                payload_type: anchor.payload_type,
                sequence: index as u16,
                timestamp: anchor.timestamp(slab.timestamp),
                ssrc: self.ssrc,
            };
            let (wide, out) = (self.wide_number(link), egress.buffer());
            with_header(fixed, wide, None, |header| {
                link.sender.seal_rtp(header, &[], &PADDING[1][..1], index, out);
            });
            let sealed = link.send_alone(now, start, egress, counters);
            debug_assert!(sealed > FIXED_HEADER_LEN);
            self.next_index = self.next_index.max(index + 1);
            self.packets += 1;
            counters.fillers += 1;
        }
        self.note_sent(now, &anchor, slab);
        Ok(())
    }
}

/// A number by which an anchor is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Numbered {
    /// The source's extended sequence number.
    Incoming(u64),
    /// The slot's packet index.
    Outgoing(u64),
}
