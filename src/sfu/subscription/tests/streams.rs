//! Layered streams as encoders send them, and what each of their frames needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::rtp::packet::FixedHeader;
use crate::rtp::track::Codec;

/// Temporal layers of successive pictures.
const PATTERN: [u8; 4] = [0, 2, 1, 2];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// Three temporal layers; in every second round of the pattern the upper ones need those of the round before.
    Vp8,
    /// Three spatial layers, each on the one below, and three temporal ones; flexible mode.
    Vp9,
    /// The same with prediction between spatial layers in key pictures only.
    Vp9Key,
    /// Three temporal layers, told by the dependency descriptor alone.
    Av1,
    /// Three spatial layers, each on the one below, and three temporal ones.
    Av1Svc,
    /// The same with prediction between spatial layers in key pictures only.
    Av1Key,
}

/// Header extension id of the dependency descriptor.
pub(super) const DEPENDENCY: u8 = 4;
/// Descriptors of Chromium's AV1 in `L1T3`: of a key frame, and the template ids of the pattern.
const KEY_FRAME: [u8; 20] = [
    0x00, 0x00, 0x01, 0x80, 0x02, 0x14, 0xea, 0xa8, 0x60, 0x41, 0x4d, 0x14, 0x10, 0x20, 0x84, 0x27,
    0x02, 0x7f, 0x01, 0x67,
];
const TEMPLATES: [u8; 4] = [1, 3, 2, 4];

impl Stream {
    pub(super) const ALL: [Self; 6] =
        [Self::Vp8, Self::Vp9, Self::Vp9Key, Self::Av1, Self::Av1Svc, Self::Av1Key];

    pub(super) const fn codec(self) -> Codec {
        match self {
            Self::Vp8 => Codec::Vp8,
            Self::Vp9 | Self::Vp9Key => Codec::Vp9,
            Self::Av1 | Self::Av1Svc | Self::Av1Key => Codec::Av1,
        }
    }

    pub(super) const fn spatial(self) -> u8 {
        match self {
            Self::Vp8 | Self::Av1 => 1,
            Self::Vp9 | Self::Vp9Key | Self::Av1Svc | Self::Av1Key => 3,
        }
    }
}

pub(super) struct Packet {
    pub(super) picture: usize,
    pub(super) spatial: u8,
    number: usize,
    marker: bool,
    /// Dependency descriptor in the header.
    pub(super) dependency: Vec<u8>,
    descriptor: Vec<u8>,
    /// First byte of the frame, in its first packet.
    frame: u8,
}

pub(super) struct Frame {
    pub(super) packets: usize,
    /// (picture, spatial layer).
    pub(super) needs: Vec<(usize, u8)>,
}

pub(super) struct Source {
    pub(super) stream: Stream,
    pub(super) packets: Vec<Packet>,
    pub(super) frames: BTreeMap<(usize, u8), Frame>,
}

impl Packet {
    /// It begins its frame; for streams with a dependency descriptor.
    pub(super) fn is_first(&self) -> bool {
        self.dependency[0] & 0x80 != 0
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let header = FixedHeader {
            padding: false,
            marker: self.marker,
            payload_type: 96,
            sequence: 65_400_u16.wrapping_add(self.number as u16),
            timestamp: (self.picture as u32).wrapping_mul(3_000),
            ssrc: 5,
        };
        let mut bytes = header.to_bytes().to_vec();
        if !self.dependency.is_empty() {
            // The two-byte form of RFC 8285.
            let words = (self.dependency.len() + 2).div_ceil(4);
            bytes[0] |= 0x10;
            bytes.extend_from_slice(&[0x10, 0x00, 0, words as u8]);
            bytes.extend_from_slice(&[DEPENDENCY, self.dependency.len() as u8]);
            bytes.extend_from_slice(&self.dependency);
            bytes.resize(16 + words * 4, 0);
        }
        bytes.extend_from_slice(&self.descriptor);
        bytes.push(self.frame);
        // Lengths of all kinds, so that runs are cut in all kinds of places.
        bytes.resize(bytes.len() + 40 + self.number * 7 % 300, self.number as u8);
        bytes.extend_from_slice(&(self.number as u32).to_be_bytes());
        bytes
    }
}

impl Source {
    /// The number of the packet in this payload.
    pub(super) fn number(payload: &[u8]) -> usize {
        let (_, number) = payload.split_last_chunk().unwrap();
        u32::from_be_bytes(*number) as usize
    }

    pub(super) fn new(stream: Stream, pictures: usize, key_frames: &BTreeSet<usize>) -> Self {
        let mut source = Self { stream, packets: Vec::new(), frames: BTreeMap::new() };
        // Newest picture of each temporal layer, and where the pattern began.
        let mut newest = [0; 3];
        let mut began = 0;
        for picture in 0..pictures {
            let key = picture == 0 || key_frames.contains(&picture);
            if key {
                (began, newest) = (picture, [picture; 3]);
            }
            let place = (picture - began) % 4;
            let temporal = PATTERN[place];
            let sync = stream != Stream::Vp8 || (picture - began) % 8 < 3;
            let mut needs: Vec<usize> = match (temporal, sync) {
                (0, _) => vec![newest[0]],
                // T2 behind T1 needs that, but only in its own round.
                (2, true) if stream != Stream::Vp8 => vec![newest[0].max(newest[1])],
                (_, true) => vec![newest[0]],
                (_, false) => newest[..=usize::from(temporal)].to_vec(),
            };
            newest[usize::from(temporal)] = picture;
            needs.retain(|needed| !key && *needed != picture);
            for spatial in 0..stream.spatial() {
                source.add_frame(picture, spatial, place, sync, key, &needs);
            }
        }
        source
    }

    fn add_frame(
        &mut self,
        picture: usize,
        spatial: u8,
        place: usize,
        sync: bool,
        key: bool,
        pictures: &[usize],
    ) {
        let temporal = PATTERN[place];
        let stream = self.stream;
        let between = spatial > 0 && (key || matches!(stream, Stream::Vp9 | Stream::Av1Svc));
        let needs = pictures
            .iter()
            .map(|needed| (*needed, spatial))
            .chain(between.then(|| (picture, spatial - 1)))
            .collect();
        let packets = 1 + (picture + usize::from(spatial) * 2) % 4 * if key { 6 } else { 1 };
        self.frames.insert((picture, spatial), Frame { packets, needs });
        for i in 0..packets {
            let (first, last) = (i == 0, i + 1 == packets);
            let ([high, low], tl0) = ((picture as u16 | 0x8000).to_be_bytes(), 0);
            let descriptor = match stream {
                Stream::Vp8 => {
                    let sync = u8::from(sync && temporal > 0) << 5;
                    vec![0x80 | u8::from(first) << 4, 0xe0, high, low, tl0, temporal << 6 | sync]
                }
                Stream::Vp9 | Stream::Vp9Key => {
                    let predicted = u8::from(!key) << 6;
                    let (begins, ends) = (u8::from(first) << 3, u8::from(last) << 2);
                    let flags = 0x80 | predicted | 0x20 | 0x10 | begins | ends;
                    let layers = temporal << 5 | 0x10 | spatial << 1 | u8::from(between);
                    let mut bytes = vec![flags, high, low, layers];
                    let distances = pictures.iter().map(|needed| (picture - needed) as u8);
                    let count = pictures.len();
                    bytes.extend(
                        distances
                            .enumerate()
                            .map(|(n, distance)| distance << 1 | u8::from(n + 1 < count)),
                    );
                    bytes
                }
                // Z, Y, one element, N.
                Stream::Av1 | Stream::Av1Svc | Stream::Av1Key => {
                    let new = u8::from(first && key && spatial == 0) << 3;
                    vec![u8::from(!first) << 7 | u8::from(!last) << 6 | 0x10 | new]
                }
            };
            let frame = match stream {
                Stream::Vp8 => u8::from(!key),
                Stream::Vp9 | Stream::Vp9Key => 0x82 | u8::from(!key) << 2,
                Stream::Av1 | Stream::Av1Svc | Stream::Av1Key => 0x30,
            };
            let dependency = match stream {
                Stream::Av1 => dependency(first, last, key, place, picture),
                Stream::Av1Svc | Stream::Av1Key => {
                    let structure = first && key && spatial == 0;
                    let template = spatial * 4 + if key { 0 } else { temporal + 1 };
                    let flags = u8::from(first) << 7 | u8::from(last) << 6 | template;
                    let [high, low] = (picture as u16 * 3 + u16::from(spatial)).to_be_bytes();
                    let mut bytes = vec![flags, high, low];
                    if structure {
                        bytes.extend(templates(stream == Stream::Av1Svc));
                    }
                    bytes
                }
                _ => Vec::new(),
            };
            let marker = last && spatial + 1 == stream.spatial();
            let number = self.packets.len();
            self.packets.push(Packet {
                picture,
                spatial,
                number,
                marker,
                dependency,
                descriptor,
                frame,
            });
        }
    }
}

/// Bits behind the mandatory fields of a key frame's descriptor. Of each of three spatial layers a template for key pictures and
/// three for the temporal layers; nine decode targets, no references, no chains, no sizes. `between`: spatial layers
/// need the one below in all pictures.
fn templates(between: bool) -> Vec<u8> {
    let mut bits = "10000 000000 01000".to_owned();
    bits.push_str("00 01 01 10 00 01 01 10 00 01 01 11");
    for (spatial, place) in (0..3).flat_map(|spatial| (0..4).map(move |place| (spatial, place))) {
        let (key, temporal) = (place == 0, if place == 0 { 0 } else { place - 1 });
        for (of, up_to) in (0..3).flat_map(|of| (0..3).map(move |up_to| (of, up_to))) {
            bits.push_str(match (key, of > spatial) {
                _ if of < spatial || up_to < temporal => "00",
                (false, true) if between => "11",
                (false, true) => "00",
                (false, false) if temporal > 0 && up_to == temporal => "01",
                _ => "10",
            });
        }
    }
    bits.push_str(&"0".repeat(12 + 3 + 1));
    let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
    let byte = |bits: &[u8]| bits.iter().enumerate().fold(0, |sum, (i, bit)| sum | bit << (7 - i));
    bits.chunks(8).map(byte).collect()
}

fn dependency(first: bool, last: bool, key: bool, place: usize, picture: usize) -> Vec<u8> {
    let mut bytes = match (first, key) {
        (true, true) => KEY_FRAME.to_vec(),
        (false, true) => vec![0, 0, 0],
        (_, false) => vec![TEMPLATES[place], 0, 0],
    };
    bytes[0] |= u8::from(first) << 7 | u8::from(last) << 6;
    bytes[1..3].copy_from_slice(&(picture as u16).to_be_bytes());
    bytes
}
