//! Picture numbers of VP8 and VP9, and frame numbers of AV1's dependency descriptors, that go on without a jump when another source fills a slot.

use crate::rtp::codec::{self, FrameFacts, PictureShift};
use crate::rtp::seq::sequence_is_newer;

/// Bytes at the start of a payload that may need rewriting: VP8's descriptor is at most six bytes
/// long, VP9's picture numbers lie in the first few.
const HEAD: usize = 8;

/// Where a packet's picture numbers are.
#[derive(Debug, Clone, Copy, Default)]
pub struct PicturePatch {
    facts: FrameFacts,
    len: u8,
}

/// The rewritten start of a payload.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    bytes: [u8; HEAD],
    len: u8,
}

impl Head {
    /// The rewritten bytes; they replace as many of the payload.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len as usize).unwrap_or_default()
    }
}

impl PicturePatch {
    /// From what the codec said about the packet.
    #[must_use]
    pub fn new(facts: &FrameFacts) -> Self {
        let len = facts.patch_len();
        if len > HEAD { Self::default() } else { Self { facts: *facts, len: len as u8 } }
    }

    /// The start of `payload` with its numbers shifted; `None` if it stays as it is.
    #[must_use]
    pub fn apply(&self, payload: &[u8], shift: PictureShift) -> Option<Head> {
        if self.len == 0 || shift == PictureShift::default() {
            return None;
        }
        let mut head = Head { bytes: [0; HEAD], len: self.len };
        let len = self.len as usize;
        head.bytes.get_mut(..len)?.copy_from_slice(payload.get(..len)?);
        codec::patch(&mut head.bytes, &self.facts, shift);
        Some(head)
    }
}

/// The last picture numbers a slot sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct PictureCounters {
    picture_id: Option<u16>,
    tl0_pic_idx: Option<u8>,
    /// The newest, whatever was sent later to fill a hole.
    frame_number: Option<u16>,
}

impl PictureCounters {
    /// The shift with which a new source's first packet continues after the last one sent.
    #[must_use]
    pub fn shift_to(&self, first: &PicturePatch) -> PictureShift {
        let mut shift = PictureShift::default();
        if let (Some(last), Some(id)) = (self.picture_id, first.facts.picture_id) {
            shift.picture_id = last.wrapping_add(1).wrapping_sub(id.value);
        }
        if let (Some(last), Some(index)) = (self.tl0_pic_idx, first.facts.tl0_pic_idx) {
            shift.tl0_pic_idx = last.wrapping_add(1).wrapping_sub(index.value);
        }
        shift
    }

    /// What is added to the frame numbers of a new source, whose first packet has this one if any, so that they continue
    /// after the newest one sent.
    #[must_use]
    pub fn frame_shift_to(&self, first: Option<u16>) -> u16 {
        match (self.frame_number, first) {
            (Some(newest), Some(first)) => newest.wrapping_add(1).wrapping_sub(first),
            _ => 0,
        }
    }

    /// A dependency descriptor went out with its frame number shifted to this.
    pub fn note_frame(&mut self, number: u16) {
        if self.frame_number.is_none_or(|newest| sequence_is_newer(number, newest)) {
            self.frame_number = Some(number);
        }
    }

    /// A packet went out with `shift`.
    pub fn note(&mut self, packet: &PicturePatch, shift: PictureShift) {
        if let Some(id) = packet.facts.picture_id {
            self.picture_id = Some(id.value.wrapping_add(shift.picture_id));
        }
        if let Some(index) = packet.facts.tl0_pic_idx {
            self.tl0_pic_idx = Some(index.value.wrapping_add(shift.tl0_pic_idx));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::track::Codec;

    /// VP8: X, S; I, L; 15-bit picture id, TL0PICIDX; then a key frame's first byte.
    fn vp8(id: u16, tl0: u8) -> Vec<u8> {
        let [high, low] = (id | 0x8000).to_be_bytes();
        vec![0x90, 0xc0, high, low, tl0, 0x00, 1, 2, 3]
    }

    fn patch_of(payload: &[u8]) -> PicturePatch {
        PicturePatch::new(&codec::describe(Codec::Vp8, payload).unwrap())
    }

    #[test]
    fn numbers_continue_across_sources_and_wrap() {
        let mut counters = PictureCounters::default();
        let first = vp8(0x7fff, 255);
        let shift = counters.shift_to(&patch_of(&first));
        assert_eq!(shift, PictureShift::default(), "a fresh slot takes the source's numbers");
        assert!(patch_of(&first).apply(&first, shift).is_none());
        counters.note(&patch_of(&first), shift);

        let other = vp8(500, 9);
        let shift = counters.shift_to(&patch_of(&other));
        let head = patch_of(&other).apply(&other, shift).unwrap();
        let mut rewritten = head.bytes().to_vec();
        rewritten.extend_from_slice(&other[head.bytes().len()..]);
        assert_eq!(rewritten, vp8(0, 0));
    }

    #[test]
    fn frame_numbers_continue_behind_the_newest_across_sources_and_wrap() {
        let mut counters = PictureCounters::default();
        let shift_to = |counters: &PictureCounters, number| counters.frame_shift_to(Some(number));
        assert_eq!(shift_to(&counters, 700), 0, "a fresh slot takes the source's numbers");
        for number in [65_534, 65_535, 65_533] {
            counters.note_frame(number);
        }
        assert_eq!(shift_to(&counters, 700), 0_u16.wrapping_sub(700), "0 follows");
        counters.note_frame(1);
        assert_eq!(shift_to(&counters, 0), 2);
        assert_eq!(counters.frame_shift_to(None), 0, "a source without descriptors");
    }
}
