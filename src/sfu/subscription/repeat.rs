//! Packets that go out once more: because a viewer asked, or to find out what its network takes.

use std::time::Instant;

use crate::rtp::packet::FixedHeader;

use super::super::counters::Counters;
use super::super::drop_reason::DropReason;
use super::super::egress::Egress;
use super::super::repair::Repair;
use super::super::slab::{MAX_PAYLOAD, SlabRing};
use super::anchor::{Anchor, Content, Numbered};
use super::{Link, PADDING, Subscription, with_header};

/// Packets gone through for a probe: what a burst of five milliseconds at 20 Mbit/s takes, and more.
const PROBE_REACH: u64 = 64;

/// A payload that differs from the shared one, copied together for sealing: 14 ns, paid only by
/// retransmissions and by slots whose picture numbers are shifted.
pub(super) struct Rewritten {
    bytes: [u8; MAX_PAYLOAD + 2],
    len: usize,
}

impl Rewritten {
    /// `prefix`, then `head`, then what of `payload` the head does not replace.
    pub(super) fn new(prefix: &[u8], head: &[u8], payload: &[u8]) -> Self {
        let mut this = Self { bytes: [0; MAX_PAYLOAD + 2], len: 0 };
        for part in [prefix, head, payload.get(head.len()..).unwrap_or_default()] {
            if let Some(place) = this.bytes.get_mut(this.len..this.len + part.len()) {
                place.copy_from_slice(part);
                this.len += part.len();
            }
        }
        this
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Subscription {
    /// Answer a NACK for `sequence` from the publication's cache.
    ///
    /// # Errors
    /// Why nothing is sent again.
    pub fn retransmit(
        &mut self,
        now: Instant,
        sequence: u16,
        ring: &SlabRing,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) -> Result<(), DropReason> {
        // Nobody is offered NACK for sound, and under RED that comes and goes its bytes would not be the same again.
        if !self.is_video() {
            return Err(DropReason::NackUnknown);
        }
        let behind = (self.next_index as u16).wrapping_sub(sequence);
        let index =
            self.next_index.checked_sub(u64::from(behind)).ok_or(DropReason::NackUnknown)?;
        if behind == 0 || behind > 0x7fff {
            return Err(DropReason::NackUnknown);
        }
        let anchor = self.anchor_of(Numbered::Outgoing(index));
        let found = anchor.and_then(|anchor| anchor.find(index, ring));
        let (anchor, slab, packet) = found.ok_or(DropReason::NackTooLate)?;
        let content = anchor.content(slab, packet);
        let octets = self.octets;
        let repair = self.repair.get_or_insert_with(|| Box::new(Repair::new(now, octets)));
        let way = link.way(self.round_trip);
        repair.spend(now, index, content.payload.len(), octets, way)?;
        self.repeat(now, &anchor, index, slab.timestamp, &content, link, egress, counters);
        counters.retransmissions += 1;
        Ok(())
    }

    /// Send `bytes` of the newest packets again, as a probe: a receiver knows what to do with repairs it did not
    /// ask for, and one it needed is put to use. Nothing without a stream for repairs. Returns the
    /// bytes and packets sent.
    pub fn probe(
        &mut self,
        now: Instant,
        bytes: usize,
        ring: &SlabRing,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) -> (usize, usize) {
        let mut sent = (0, 0);
        if self.anchor.is_none_or(|anchor| anchor.rtx_payload_type.is_none()) {
            return sent;
        }
        let newest = self.next_index;
        let mut back = 1..=PROBE_REACH;
        let mut kept = Vec::new();
        // Each is looked up when it is needed: a burst mostly takes a few.
        for at in 0..PROBE_REACH as usize {
            if sent.0 >= bytes {
                break;
            }
            kept.extend(back.find_map(|back| {
                let index = newest.checked_sub(back)?;
                Some((index, self.anchor_of(Numbered::Outgoing(index))?.find(index, ring)?))
            }));
            let again = kept.get(at % kept.len().max(1));
            let Some((index, (anchor, slab, packet))) = again else { break };
            let content = anchor.content(slab, packet);
            let timestamp = slab.timestamp;
            sent.0 += self.repeat(now, anchor, *index, timestamp, &content, link, egress, counters);
            sent.1 += 1;
        }
        counters.probe_packets += sent.1 as u64;
        sent
    }

    /// Send a packet again, by RTX if the peer knows it; its length.
    #[expect(clippy::too_many_arguments, reason = "the hot path passes what it has, uncopied")]
    fn repeat(
        &mut self,
        now: Instant,
        anchor: &Anchor,
        index: u64,
        timestamp: u32,
        content: &Content<'_>,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) -> usize {
        let Content { descriptor, payload, pad, marker, picture } = *content;
        let descriptor = self.descriptor(anchor, descriptor);
        let start = egress.begin();
        let patched = picture.apply(payload, anchor.picture);
        let head = patched.as_ref().map_or(&[][..], |head| head.bytes());
        match (self.rtx_ssrc, anchor.rtx_payload_type) {
            (Some(ssrc), Some(payload_type)) => {
                let rtx_index = self.next_rtx_index;
                self.next_rtx_index += 1;
                let fixed = FixedHeader {
                    padding: false,
                    marker,
                    payload_type,
                    sequence: rtx_index as u16,
                    timestamp: anchor.timestamp(timestamp),
                    ssrc: ssrc.get(),
                };
                // RFC 4588: the original number, then the original payload. What its header says of its frame is taken from the
                // header of the repair.
                let repeated = Rewritten::new(&(index as u16).to_be_bytes(), head, payload);
                let (wide, out) = (self.wide_number(link), egress.buffer());
                with_header(fixed, wide, descriptor, |header| {
                    link.sender.seal_rtp(header, repeated.bytes(), &[], rtx_index, out);
                });
            }
            // The same bytes again under the same index: header, padding and payload are functions
            // of slab and anchor alone, so the nonce is not reused for anything new.
            _ => {
                let fixed = FixedHeader {
                    padding: pad > 0,
                    marker,
                    payload_type: anchor.payload_type,
                    sequence: index as u16,
                    timestamp: anchor.timestamp(timestamp),
                    ssrc: self.ssrc,
                };
                let padding = &PADDING[pad as usize][..pad as usize];
                let repeated = Rewritten::new(&[], head, payload);
                let out = egress.buffer();
                with_header(fixed, None, descriptor, |header| {
                    link.sender.seal_rtp(header, repeated.bytes(), padding, index, out);
                });
            }
        }
        link.send_alone(now, start, egress, counters)
    }
}
