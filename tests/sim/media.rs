//! What a peer sends, and what it makes of what it receives.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use greenroom::rtp::extensions::transport_sequence;
use greenroom::rtp::packet::{FixedHeader, RtpHeader};
use greenroom::rtp::rtcp::{Packet, build, packets};
use greenroom::sfu::bandwidth::arrivals::Arrivals;
use rtc_srtp::context::Context;

use super::reporter::Reporter;

#[path = "described.rs"]
mod described;

const NACK_INTERVAL: Duration = Duration::from_millis(20);
/// What libwebrtc takes at these rates.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(60);

/// Media SSRC, RTX SSRC and payload types of the video we publish or watch.
pub const VIDEO_PT: u8 = 96;
pub const RTX_PT: u8 = 97;
/// The same of VP9.
pub const VP9_PT: u8 = 98;
pub const VP9_RTX_PT: u8 = 99;
/// The same of AV1.
pub const AV1_PT: u8 = 102;
pub const AV1_RTX_PT: u8 = 103;
pub const SOUND_PT: u8 = 111;
/// Sound in RED (RFC 2198).
pub const RED_PT: u8 = 63;
/// Time between two sound packets.
const SOUND_INTERVAL: Duration = Duration::from_millis(20);
/// Header extension id of the transport-wide sequence number.
pub const TRANSPORT_CC: u8 = 3;
/// Header extension ids of a simulcast layer's name, and of the layer that a packet repairs.
pub const RID: u8 = 4;
pub const REPAIRED_RID: u8 = 5;
/// Header extension id of the dependency descriptor.
pub const DEPENDENCY: u8 = 6;
/// Header extension id of how loud a packet is.
pub const AUDIO_LEVEL: u8 = 7;

/// Layers inside the stream, in the pattern T0 T2 T1 T2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "for the simulation")]
pub enum Inside {
    /// VP8: three temporal ones.
    Temporal,
    /// VP9: three spatial ones as well, of one packet, two, and all others.
    Svc,
    /// The same of AV1.
    Described,
}

pub enum Media {
    Publish(Publish),
    Watch(Watch),
}

/// Thirty frames a second of `packets` packets each.
pub struct Publish {
    pub ssrc: u32,
    pub rtx_ssrc: u32,
    pub sequence: u16,
    rtx_sequence: u16,
    timestamp: u32,
    pub frame: u32,
    packets: u16,
    /// Packets of a key frame, if it is larger.
    pub key_packets: Option<u16>,
    /// Width and height that its key frames tell, if it has no layers inside.
    pub size: Option<(u16, u16)>,
    /// Payload bytes of the second packet of each frame, if not those of the others.
    pub second: Option<usize>,
    next_frame: Instant,
    pub key_frame_wanted: bool,
    transport_sequence: u16,
    sent: BTreeMap<u16, Vec<u8>>,
    /// This is simulcast layer number so many.
    rid: Option<u8>,
    /// Layers inside the stream.
    pub inside: Option<Inside>,
    /// Frames since the last key frame.
    since_key_frame: u32,
    /// The other simulcast layers.
    pub layers: Vec<Publish>,
    /// Sends nothing for the present.
    pub paused: bool,
    pub key_frame_requests: u32,
    pub nacked: u32,
    pub feedback: u32,
    pub sound: Option<Sound>,
}

/// Fifty packets a second, beside the video.
pub struct Sound {
    pub ssrc: u32,
    pub sent: u32,
    /// In RED, each packet with the sound of the one before.
    pub red: bool,
    /// How loud it says it is, -dBov.
    pub level: Option<u8>,
    before: Vec<u8>,
    /// How much later than the video it begins.
    late: Duration,
    next: Option<Instant>,
}

/// What a viewer received, by unwrapped sequence number.
#[derive(Default)]
pub struct Watch {
    pub ssrc: u32,
    pub rtx_ssrc: u32,
    pub received: BTreeMap<i64, Vec<u8>>,
    pub timestamps: BTreeMap<i64, u32>,
    /// Frame numbers of their descriptors.
    pub frame_numbers: BTreeMap<i64, u16>,
    pub repaired: u32,
    highest: Option<i64>,
    next_nack: Option<Instant>,
    pub key_frame_wanted: bool,
    /// Ask for everything again, whether it is missing or not.
    pub storms: bool,
    /// Numbers asked for again.
    pub asked: u64,
    key_frame_seen: bool,
    asked_at: Option<Instant>,
    pub reports: u32,
    /// Arrivals by transport-wide number, to be told.
    arrivals: Option<Arrivals>,
    next_feedback: Option<Instant>,
    /// What it tells where there is no transport-wide feedback.
    pub reporter: Option<Reporter>,
    /// The SSRC of its sound slot, and what came there: sequence number and what the publisher counted.
    pub sound_ssrc: u32,
    pub sound: Vec<(u16, u32)>,
    /// The same of further sound slots, by SSRC, and when it came.
    pub voices: BTreeMap<u32, Vec<(Instant, u16, u32)>>,
    /// What was repeated there, as the publisher counted.
    pub repeated: Vec<u32>,
}

impl Media {
    /// When [`Publish::tick`] or [`Watch::tick`] has something to do.
    pub fn next_tick(&self) -> Option<Instant> {
        match self {
            Self::Publish(publish) => {
                let sound = publish.sound.as_ref().and_then(|sound| sound.next);
                sound.into_iter().chain([publish.next_frame]).min()
            }
            Self::Watch(watch) => watch.next_nack,
        }
    }
}

impl Publish {
    pub fn new(now: Instant, ssrc: u32, packets: u16, sequence: u16) -> Self {
        Self {
            ssrc,
            rtx_ssrc: ssrc + 1,
            sequence,
            rtx_sequence: 7,
            timestamp: u32::MAX - 90_000,
            frame: 0,
            packets,
            key_packets: None,
            size: None,
            second: None,
            next_frame: now,
            key_frame_wanted: true,
            transport_sequence: 65_500,
            sent: BTreeMap::new(),
            rid: None,
            inside: None,
            since_key_frame: 0,
            layers: Vec::new(),
            paused: false,
            key_frame_requests: 0,
            nacked: 0,
            feedback: 0,
            sound: None,
        }
    }

    /// Three layers, each with twice the packets of the one before, and times and numbers of its own.
    pub fn in_layers(mut self, now: Instant) -> Self {
        for layer in 1..3u8 {
            let ssrc = self.ssrc + u32::from(layer) * 100;
            let sequence = self.sequence.wrapping_add(u16::from(layer) * 9_000);
            let mut more = Self::new(now, ssrc, self.packets << layer, sequence);
            more.timestamp = more.timestamp.wrapping_mul(u32::from(layer) + 1);
            more.rid = Some(layer);
            self.layers.push(more);
        }
        self.rid = Some(0);
        self
    }

    /// As if the first key frame had been lost before anybody listened.
    #[allow(dead_code, reason = "for the simulation")]
    pub fn lose_first_key_frame(&mut self) {
        self.key_frame_wanted = false;
    }

    pub fn tick(&mut self, now: Instant, seal: &mut Context, out: &mut VecDeque<Vec<u8>>) {
        if let Some(sound) = &mut self.sound {
            sound.tick(now, seal, out);
        }
        if self.next_frame > now {
            return;
        }
        self.next_frame = now + Duration::from_micros(33_333);
        for layer in &mut self.layers {
            layer.transport_sequence = self.transport_sequence;
            layer.tick(now, seal, out);
            self.transport_sequence = layer.transport_sequence;
        }
        if self.paused {
            self.frame += 1;
            self.timestamp = self.timestamp.wrapping_add(3_000);
            self.key_frame_wanted = true;
            return;
        }
        let key_frame = std::mem::take(&mut self.key_frame_wanted);
        self.since_key_frame = if key_frame { 0 } else { self.since_key_frame + 1 };
        self.timestamp = self.timestamp.wrapping_add(3_000);
        let packets = self.key_packets.filter(|_| key_frame).unwrap_or(self.packets);
        for i in 0..packets {
            let header = FixedHeader {
                padding: false,
                marker: i + 1 == packets,
                payload_type: match self.inside {
                    Some(Inside::Svc) => VP9_PT,
                    Some(Inside::Described) => AV1_PT,
                    _ => VIDEO_PT,
                },
                sequence: self.sequence,
                timestamp: self.timestamp,
                ssrc: self.ssrc,
            };
            let mut packet = if self.inside == Some(Inside::Described) {
                let temporal = self.temporal();
                let told = described::descriptor(self.frame, temporal, i, packets, key_frame);
                described::headed(header, &mut self.transport_sequence, &told)
            } else {
                self.headed(header, RID)
            };
            let descriptor = self.descriptor(i, key_frame);
            let mut payload = described(&descriptor, self.frame, i, packets);
            if let (1, Some(len)) = (i, self.second) {
                payload.resize(len, self.frame as u8);
            }
            packet.extend_from_slice(&payload);
            out.push_back(seal.encrypt_rtp(&packet).unwrap().to_vec());
            self.sent.insert(self.sequence, packet);
            self.sequence = self.sequence.wrapping_add(1);
        }
        if self.frame.is_multiple_of(30) {
            self.send_report(seal, out);
        }
        self.frame += 1;
    }

    fn temporal(&self) -> u8 {
        [0, 2, 1, 2][self.since_key_frame as usize % 4]
    }

    /// The payload descriptor of a frame's packet, and the first byte behind it.
    fn descriptor(&self, packet: u16, key_frame: bool) -> Vec<u8> {
        let start = packet == 0;
        let [high, low] = ((self.frame as u16 & 0x7fff) | 0x8000).to_be_bytes();
        let temporal = self.temporal();
        let tl0 = (self.since_key_frame / 4) as u8;
        let first = 0x80 | (u8::from(start) << 4);
        let inter = u8::from(!(key_frame && start));
        match self.inside {
            None => {
                let mut bytes = vec![first, 0x80, high, low, inter];
                if let (0, Some((width, height))) = (inter, self.size) {
                    // RFC 6386 section 9.1.
                    bytes.extend_from_slice(&[0, 0, 0x9d, 0x01, 0x2a]);
                    bytes.extend([width, height].iter().flat_map(|side| side.to_le_bytes()));
                }
                bytes
            }
            Some(Inside::Temporal) => {
                let sync = u8::from(temporal > 0) << 5;
                vec![first, 0xe0, high, low, tl0, temporal << 6 | sync, inter]
            }
            Some(Inside::Described) => described::head(temporal, packet, self.packets, key_frame),
            Some(Inside::Svc) => {
                let (spatial, first, last) = described::place(packet, self.packets);
                let predicted = u8::from(!key_frame) << 6;
                let bounds = u8::from(first) << 3 | u8::from(last) << 2;
                let layers = temporal << 5 | 0x10 | spatial << 1 | u8::from(spatial > 0);
                let header = if key_frame { 0x82 } else { 0x86 };
                vec![0xa0 | predicted | bounds, high, low, layers, tl0, header]
            }
        }
    }

    fn send_report(&self, seal: &mut Context, out: &mut VecDeque<Vec<u8>>) {
        let info = greenroom::rtp::rtcp::SenderInfo {
            ssrc: self.ssrc,
            ntp: u64::from(self.frame) << 27,
            rtp_timestamp: self.timestamp,
            packets: 0,
            octets: 0,
        };
        let mut report = Vec::new();
        build::sender_report(&mut report, &info, &[]);
        out.push_back(seal.encrypt_rtcp(&report).unwrap().to_vec());
    }

    pub fn receive_rtcp(&mut self, plain: &[u8], seal: &mut Context, out: &mut VecDeque<Vec<u8>>) {
        for packet in packets(plain) {
            match packet.expect("the server's RTCP is well formed") {
                Packet::PictureLoss { media_ssrc, .. } => {
                    let layer = self.layer(media_ssrc);
                    layer.key_frame_requests += 1;
                    layer.key_frame_wanted = true;
                }
                Packet::Nack(nack) => {
                    let numbers = self.transport_sequence;
                    let layer = self.layer(nack.media_ssrc);
                    layer.transport_sequence = numbers;
                    for sequence in nack.lost() {
                        layer.repeat(sequence, seal, out);
                    }
                    self.transport_sequence = self.layer(nack.media_ssrc).transport_sequence;
                }
                Packet::TransportFeedback(_) => self.feedback += 1,
                _ => {}
            }
        }
    }

    /// The layer the server speaks of.
    fn layer(&mut self, ssrc: u32) -> &mut Self {
        match self.layers.iter().position(|layer| layer.ssrc == ssrc) {
            Some(at) => &mut self.layers[at],
            None => {
                assert_eq!(ssrc, self.ssrc);
                self
            }
        }
    }

    /// A header with what identifies the packet; `rid` is the extension for the layer's name.
    fn headed(&mut self, header: FixedHeader, rid: u8) -> Vec<u8> {
        let mut bytes = extended(header, &mut self.transport_sequence);
        if let Some(layer) = self.rid {
            // One element of one byte behind that of two, in the same eight bytes and four more.
            bytes[15] = 2;
            bytes[19] = rid << 4;
            bytes.extend_from_slice(&[b'0' + layer, 0, 0, 0]);
        }
        bytes
    }

    /// RFC 4588: the original packet behind its number, on the RTX stream.
    fn repeat(&mut self, sequence: u16, seal: &mut Context, out: &mut VecDeque<Vec<u8>>) {
        let Some(original) = self.sent.get(&sequence).cloned() else { return };
        self.nacked += 1;
        let header = RtpHeader::parse(&original).unwrap();
        let rtx = FixedHeader {
            padding: false,
            marker: header.marker,
            payload_type: header.payload_type + 1,
            sequence: self.rtx_sequence,
            timestamp: header.timestamp,
            ssrc: self.rtx_ssrc,
        };
        self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
        let mut packet = match header.extensions(&original).find(DEPENDENCY) {
            Some(told) => described::headed(rtx, &mut self.transport_sequence, told),
            None => self.headed(rtx, REPAIRED_RID),
        };
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(header.payload(&original));
        out.push_back(seal.encrypt_rtp(&packet).unwrap().to_vec());
    }
}

impl Sound {
    pub fn new(late: Duration, ssrc: u32) -> Self {
        Self { ssrc, sent: 0, red: false, level: None, before: Vec::new(), late, next: None }
    }

    pub fn tick(&mut self, now: Instant, seal: &mut Context, out: &mut VecDeque<Vec<u8>>) {
        if *self.next.get_or_insert(now + self.late) > now {
            return;
        }
        self.next = Some(now + SOUND_INTERVAL);
        let header = FixedHeader {
            padding: false,
            marker: false,
            payload_type: if self.red { RED_PT } else { SOUND_PT },
            sequence: self.sent as u16,
            timestamp: self.sent.wrapping_mul(960),
            ssrc: self.ssrc,
        };
        let mut packet = header.to_bytes().to_vec();
        if let Some(level) = self.level {
            packet[0] |= 0x10;
            packet.extend_from_slice(&[0xbe, 0xde, 0, 1, AUDIO_LEVEL << 4, level, 0, 0]);
        }
        let mut sound = self.sent.to_be_bytes().to_vec();
        sound.resize(64 + self.sent as usize % 40, 7);
        if self.red {
            let before = self.before.len() as u8;
            if before > 0 {
                packet.extend_from_slice(&[0x80 | SOUND_PT, 0x0f, 0, before]);
            }
            packet.push(SOUND_PT);
            packet.extend_from_slice(&self.before);
        }
        packet.extend_from_slice(&sound);
        self.before = sound;
        out.push_back(seal.encrypt_rtp(&packet).unwrap().to_vec());
        self.sent += 1;
    }
}

impl Watch {
    pub fn new(ssrc: u32, rtx_ssrc: u32) -> Self {
        Self { ssrc, rtx_ssrc, ..Self::default() }
    }

    pub fn receive(&mut self, now: Instant, packet: &[u8]) {
        let header = RtpHeader::parse(packet).expect("the server's RTP is well formed");
        let payload = header.payload(packet);
        if matches!(header.payload_type, SOUND_PT | RED_PT) {
            if let Some(voice) = self.voices.get_mut(&header.ssrc) {
                voice.push((now, header.sequence, counted(payload)));
                return;
            }
            assert_eq!(header.ssrc, self.sound_ssrc);
            let sound = match payload {
                _ if header.payload_type == SOUND_PT => payload,
                [SOUND_PT, sound @ ..] => sound,
                [_, _, _, len, _, blocks @ ..] => {
                    let (repeated, sound) = blocks.split_at(usize::from(*len));
                    self.repeated.push(counted(repeated));
                    sound
                }
                _ => panic!("a RED payload of {} bytes", payload.len()),
            };
            self.sound.push((header.sequence, counted(sound)));
            return;
        }
        let number = header.extensions(packet).find(TRANSPORT_CC).and_then(transport_sequence);
        if let Some(number) = number {
            self.arrivals.get_or_insert_with(|| Arrivals::new(now)).record(now, number);
        }
        if let Some(reporter) = &mut self.reporter {
            let first_time = header.ssrc == self.ssrc;
            reporter.note(packet.len(), first_time.then_some(header.sequence));
        }
        let (sequence, payload, repaired) = if header.ssrc == self.rtx_ssrc {
            assert!(matches!(header.payload_type, RTX_PT | VP9_RTX_PT | AV1_RTX_PT));
            (u16::from_be_bytes([payload[0], payload[1]]), &payload[2..], true)
        } else {
            assert_eq!(header.ssrc, self.ssrc);
            assert!(matches!(header.payload_type, VIDEO_PT | VP9_PT | AV1_PT));
            (header.sequence, payload, false)
        };
        let unwrapped = match self.highest {
            None => i64::from(sequence),
            Some(highest) => highest + i64::from(sequence.wrapping_sub(highest as u16) as i16),
        };
        self.highest = Some(self.highest.map_or(unwrapped, |h| h.max(unwrapped)));
        let before = self.received.insert(unwrapped, payload.to_vec());
        if let Some(before) = before {
            assert_eq!(before, payload, "one number, two payloads");
        } else if repaired {
            self.repaired += 1;
        }
        self.timestamps.insert(unwrapped, header.timestamp);
        let descriptor = header.extensions(packet).find(DEPENDENCY);
        if matches!(header.payload_type, AV1_PT | AV1_RTX_PT) && !payload.is_empty() {
            let number = described::check(descriptor, payload);
            let before = self.frame_numbers.insert(unwrapped, number);
            assert!(before.is_none_or(|before| before == number), "a repair is of the same frame");
        } else {
            assert_eq!(descriptor, None, "for AV1 alone");
        }
        self.key_frame_seen |= !payload.is_empty() && facts(payload).3;
        self.asked_at.get_or_insert(now);
        self.next_nack.get_or_insert(now + NACK_INTERVAL);
    }

    pub fn tick(&mut self, now: Instant, seal: &mut Context, out: &mut VecDeque<Vec<u8>>) {
        // A browser that cannot decode asks for a key frame.
        let patience = self.asked_at.is_some_and(|at| now >= at + Duration::from_millis(200));
        if !self.key_frame_seen && patience {
            self.asked_at = Some(now);
            self.key_frame_wanted = true;
        }
        if std::mem::take(&mut self.key_frame_wanted) {
            let mut request = Vec::new();
            build::receiver_report(&mut request, 99, &[]);
            build::picture_loss(&mut request, 99, self.ssrc);
            out.push_back(seal.encrypt_rtcp(&request).unwrap().to_vec());
        }
        if self.next_feedback.is_none_or(|at| at <= now) {
            self.next_feedback = Some(now + FEEDBACK_INTERVAL);
            let mut feedback = Vec::new();
            if self
                .arrivals
                .as_mut()
                .is_some_and(|a| a.write_feedback(99, self.ssrc, &mut feedback))
            {
                out.push_back(seal.encrypt_rtcp(&feedback).unwrap().to_vec());
            }
        }
        if let Some(reporter) = &mut self.reporter
            && let Some(report) = reporter.report(now, self.ssrc)
        {
            out.push_back(seal.encrypt_rtcp(&report).unwrap().to_vec());
        }
        if self.next_nack.is_none_or(|at| at > now) {
            return;
        }
        self.next_nack = Some(now + NACK_INTERVAL);
        let missing = self.missing(64);
        self.asked += missing.len() as u64;
        if !missing.is_empty() {
            let mut request = Vec::new();
            build::receiver_report(&mut request, 99, &[]);
            build::nack(&mut request, 99, self.ssrc, missing);
            out.push_back(seal.encrypt_rtcp(&request).unwrap().to_vec());
        }
    }

    /// Holes in the last `window` numbers.
    pub fn missing(&self, window: i64) -> Vec<u16> {
        let (Some(first), Some(highest)) = (self.received.keys().next(), self.highest) else {
            return Vec::new();
        };
        (highest - window..highest)
            .filter(|s| s > first && (self.storms || !self.received.contains_key(s)))
            .map(|s| s as u16)
            .collect()
    }
}

/// What the publisher counted, of sound that arrived as it was sent.
fn counted(sound: &[u8]) -> u32 {
    let count = u32::from_be_bytes([sound[0], sound[1], sound[2], sound[3]]);
    assert_eq!(sound.len(), 64 + count as usize % 40);
    assert!(sound[4..].iter().all(|byte| *byte == 7), "the filler arrived as sent");
    count
}

/// A header with the next transport-wide sequence number (RFC 8285 one-byte form).
pub fn extended(header: FixedHeader, transport_sequence: &mut u16) -> Vec<u8> {
    let mut bytes = header.to_bytes().to_vec();
    bytes[0] |= 0x10;
    let [high, low] = transport_sequence.to_be_bytes();
    *transport_sequence = transport_sequence.wrapping_add(1);
    bytes.extend_from_slice(&[0xbe, 0xde, 0, 1, (TRANSPORT_CC << 4) | 1, high, low, 0]);
    bytes
}

/// VP8 without layers: descriptor with a 15-bit picture id, then as [`described()`].
#[allow(dead_code, reason = "for the measurements")]
pub fn payload(frame: u32, packet: u16, packets: u16, key_frame: bool) -> Vec<u8> {
    let start = packet == 0;
    let [high, low] = ((frame as u16 & 0x7fff) | 0x8000).to_be_bytes();
    let inter = u8::from(!(key_frame && start));
    let descriptor = [0x80 | (u8::from(start) << 4), 0x80, high, low, inter];
    described(&descriptor, frame, packet, packets)
}

/// A descriptor with a byte behind it, then facts that a viewer can check, then filler.
pub fn described(descriptor: &[u8], frame: u32, packet: u16, packets: u16) -> Vec<u8> {
    let mut bytes = descriptor.to_vec();
    bytes.extend_from_slice(&frame.to_be_bytes());
    bytes.extend_from_slice(&packet.to_be_bytes());
    bytes.extend_from_slice(&packets.to_be_bytes());
    // libwebrtc's split: the last packets are one byte longer.
    let len = if packet * 2 >= packets { 901 } else { 900 };
    bytes.resize(len, frame as u8);
    bytes
}

/// (frame, packet, packets, starts a key frame) of a received payload.
pub fn facts(payload: &[u8]) -> (u32, u16, u16, bool) {
    let vp9 = payload[0] & 0x20 != 0;
    let behind = match payload[1] {
        _ if vp9 => 6,
        _ if is_av1(payload) => 3,
        // As the server tells it: picture numbers, and the temporal id is there but does not count.
        0xd0 => 7,
        _ => 5,
    };
    let header = payload[behind - 1];
    let sized = !vp9 && !is_av1(payload) && payload[behind + 2..behind + 5] == [0x9d, 0x01, 0x2a];
    let behind = if sized { behind + 9 } else { behind };
    let word = |at: usize| u16::from_be_bytes([payload[behind + at], payload[behind + at + 1]]);
    let frame = u32::from(word(0)) << 16 | u32::from(word(2));
    assert!(payload[behind + 8..].iter().all(|b| *b == frame as u8), "the filler arrived as sent");
    let key_frame = if vp9 {
        payload[0] & 0x08 != 0 && payload[3] >> 1 & 7 == 0 && header == 0x82
    } else if is_av1(payload) {
        payload[0] & 0x08 != 0
    } else {
        header & 1 == 0 && payload[0] & 0x10 != 0
    };
    (frame, word(4), word(6), key_frame)
}

/// The first bit of a descriptor of VP8 or VP9 is one here; that of AV1's aggregation header is none.
fn is_av1(payload: &[u8]) -> bool {
    payload[0] & 0x80 == 0
}

/// (spatial, temporal) layer of a received payload with layers inside.
#[allow(dead_code, reason = "for the simulation")]
pub fn layers(payload: &[u8]) -> (u8, u8) {
    if is_av1(payload) {
        (payload[2] >> 3 & 3, payload[2] >> 5)
    } else if payload[0] & 0x20 != 0 {
        (payload[3] >> 1 & 7, payload[3] >> 5)
    } else {
        (0, payload[5] >> 6)
    }
}
