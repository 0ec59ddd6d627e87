//! What a video packet says about its frame, read from the codec's payload descriptor and the first
//! bytes behind it, and the in-place rewriting of the picture numbers in it. Nothing is decoded.

use crate::rtp::error::RtpError;
use crate::rtp::track::Codec;

mod av1;
mod h264;
mod vp8;
mod vp9;

/// A picture id inside a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// Its value: 7 or 15 bits.
    pub value: u16,
    /// Offset of its first byte in the payload.
    pub offset: u16,
    /// 15 bits in two bytes, else 7 bits in one.
    pub wide: bool,
}

/// A temporal-layer-zero picture index inside a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tl0PicIdx {
    /// Its value.
    pub value: u8,
    /// Offset in the payload.
    pub offset: u16,
}

/// What one packet says about its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameFacts {
    /// First packet of a frame that a decoder can start with: VP8 S=1, PID=0 and a key frame;
    /// VP9 B=1, P=0, spatial layer 0 and a key frame's header; H.264 a packet with an SPS or with the first slice of an IDR
    /// picture; AV1 the N bit or a sequence header. H.264 may set it on more than one packet of a
    /// frame: a switch begins at the first. Always true for audio.
    pub key_frame_start: bool,
    /// First packet of a frame (VP9: of a spatial layer's frame; AV1: does not continue an OBU;
    /// H.264: parameter sets or a first slice, so possibly more than one per frame). A hint: the
    /// change of the timestamp is what separates frames. Always true for audio.
    pub frame_start: bool,
    /// A receiver may begin to take this temporal layer here: VP8 layer sync (Y), VP9 switching up
    /// point (U). Later codecs tell by the dependency descriptor.
    pub layer_sync: bool,
    /// No other frame depends on this one (VP8 N bit, nal_ref_idc 0 of a H.264 slice).
    pub discardable: bool,
    /// Last packet of a spatial layer's frame (VP9 E bit).
    pub frame_end: bool,
    /// The frame needs pictures before it (VP9 P bit); meant where the packet has layers, as some senders never set it.
    pub inter_predicted: bool,
    /// Temporal layer, 0-7, when the payload names it.
    pub temporal_id: Option<u8>,
    /// Spatial layer, 0-7, when the payload names it.
    pub spatial_id: Option<u8>,
    /// VP8 and VP9 picture id.
    pub picture_id: Option<PictureId>,
    /// VP8 TL0PICIDX, and that of VP9 in non-flexible mode.
    pub tl0_pic_idx: Option<Tl0PicIdx>,
}

impl FrameFacts {
    /// Bytes at the start of the payload that [`patch`] may change; 0 when there is nothing to
    /// rewrite. Only these need to be writable.
    #[must_use]
    pub fn patch_len(&self) -> usize {
        let picture_id = self.picture_id.map_or(0, |id| id.offset + 1 + u16::from(id.wide));
        let tl0 = self.tl0_pic_idx.map_or(0, |index| index.offset + 1);
        usize::from(picture_id.max(tl0))
    }
}

/// Spatial layers that a payload can name (RFC 9628: three bits).
pub const SPATIAL_LAYERS: usize = 8;

/// Width and height of each spatial layer's picture; the first is that of a stream without spatial layers.
pub type PictureSizes = [Option<PictureSize>; SPATIAL_LAYERS];

/// Width and height of a coded picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSize {
    /// Width; before any rotation for display.
    pub width: u16,
    /// Height.
    pub height: u16,
}

impl PictureSize {
    /// `None` where a side does not fit, or is negative after cropping.
    pub(crate) fn new(width: u64, height: u64) -> Option<Self> {
        Some(Self { width: width.try_into().ok()?, height: height.try_into().ok()? })
    }

    /// Pixels.
    #[must_use]
    pub fn area(self) -> u32 {
        u32::from(self.width) * u32::from(self.height)
    }
}

/// What a subscription adds to the numbers of its source, so that they go on without a jump across
/// switches. Wrapping arithmetic: a negative shift is its two's complement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PictureShift {
    /// Added to the picture id, modulo its width.
    pub picture_id: u16,
    /// Added to TL0PICIDX.
    pub tl0_pic_idx: u8,
}

/// Read the payload of one packet.
///
/// # Errors
/// `EmptyPayload`, or `DescriptorTooShort` when a descriptor or a length inside the payload goes
/// past its end.
pub fn describe(codec: Codec, payload: &[u8]) -> Result<FrameFacts, RtpError> {
    if payload.is_empty() {
        return Err(RtpError::EmptyPayload);
    }
    match codec {
        Codec::Opus => {
            Ok(FrameFacts { key_frame_start: true, frame_start: true, ..FrameFacts::default() })
        }
        Codec::Vp8 => vp8::describe(payload),
        Codec::Vp9 => vp9::describe(payload),
        Codec::H264 => h264::describe(payload),
        Codec::Av1 => av1::describe(payload),
    }
}

/// Read how large the pictures are that begin with this packet, which [`FrameFacts::key_frame_start`] says of itself: VP8
/// key frame header (RFC 6386 9.1), VP9 scalability structure (RFC 9628 4.2.1) or uncompressed header, H.264 sequence
/// parameter set (ITU-T H.264 7.3.2.1.1), AV1 sequence header (AV1 specification 5.5.1). `None` where the packet does not say,
/// or contradicts itself.
#[must_use]
pub fn picture_sizes(codec: Codec, payload: &[u8]) -> PictureSizes {
    let one = |size: Result<PictureSize, RtpError>| {
        size.map(|size| {
            let mut sizes = PictureSizes::default();
            sizes[0] = Some(size);
            sizes
        })
    };
    let sizes = match codec {
        Codec::Opus => return PictureSizes::default(),
        Codec::Vp8 => one(vp8::picture_size(payload)),
        Codec::Vp9 => vp9::picture_sizes(payload),
        Codec::H264 => one(h264::picture_size(payload)),
        Codec::Av1 => one(av1::picture_size(payload)),
    };
    let real = |size: &PictureSize| size.area() > 0;
    sizes.unwrap_or_default().map(|size| size.filter(real))
}

/// Shift the picture numbers of a payload described by `facts`. `payload` is the payload or its
/// first [`FrameFacts::patch_len`] bytes; what lies outside it stays as it is. Widths never change.
pub fn patch(payload: &mut [u8], facts: &FrameFacts, shift: PictureShift) {
    if let Some(id) = facts.picture_id {
        patch_picture_id(payload, id, shift.picture_id);
    }
    if let Some(index) = facts.tl0_pic_idx
        && let Some(byte) = payload.get_mut(usize::from(index.offset))
    {
        *byte = index.value.wrapping_add(shift.tl0_pic_idx);
    }
}

/// Make a payload say nothing of its temporal layer; its length and picture numbers stay. VP8 alone says it there and is
/// understood without.
///
/// Why: libwebrtc (`modules/video_coding/rtp_vp8_ref_finder.cc`) reckons from temporal ids what a picture refers to, and drops a
/// picture that comes late, as a repair does, once it has seen a newer one of the base layer that needs no other. Without them each
/// picture refers to the one before it (`rtp_frame_id_only_ref_finder.cc`), and repairs are waited for. With 5 % of losses
/// a viewer sees 29-30 pictures a second of 30 instead of 27, with 10 % at 300 ms of round trip 27 instead of 20. It costs
/// this: a picture of an upper layer that is lost for good is no longer passed over, but needs a key frame.
pub fn hide_temporal_layers(codec: Codec, payload: &mut [u8]) {
    if codec == Codec::Vp8 {
        vp8::hide_temporal_layers(payload);
    }
}

fn patch_picture_id(payload: &mut [u8], id: PictureId, shift: u16) {
    let at = usize::from(id.offset);
    let value = id.value.wrapping_add(shift);
    if id.wide {
        if let Some(bytes) = payload.get_mut(at..at + 2) {
            bytes.copy_from_slice(&(value | 0x8000).to_be_bytes());
        }
    } else if let Some(byte) = payload.get_mut(at) {
        *byte = (value & 0x7f) as u8;
    }
}

#[cfg(test)]
mod tests;
