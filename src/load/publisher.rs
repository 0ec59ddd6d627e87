//! The synthetic host: frames of VP8 packets, and Opus, sealed and due at fixed times.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::rtp::packet::FixedHeader;
use crate::rtp::rtcp::{Packet, SenderInfo, build, packets};
use rtc_srtp::context::Context;

use crate::load::options::Options;
use crate::load::payload::{self, Facts, Place};
use crate::load::sdp::{AUDIO_PT, VIDEO_PT};

pub const VIDEO_SSRC: u32 = 0x10ad_0001;
pub const AUDIO_SSRC: u32 = 0x10ad_0002;

/// A little more than the 20 ms of Opus: the clocks of microphone and camera drift past each other, so that a run sees all phases.
const AUDIO_TIME: Duration = Duration::from_micros(20_100);
const AUDIO_BYTES: usize = 80;
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const RTP_HEADER: usize = 12;
const GCM_TAG: usize = 16;
/// Packets kept for NACKs: three seconds of 156 a second.
const KEPT: usize = 512;
/// Later than this the schedule is moved instead of caught up with in one burst.
const GIVE_UP: Duration = Duration::from_millis(200);

/// One outgoing stream.
struct Stream {
    ssrc: u32,
    pt: u8,
    number: u32,
    timestamp: u32,
    octets: u32,
    /// Sealed packets, the newest last; the sequence number is `number` cut to 16 bits.
    kept: VecDeque<Vec<u8>>,
}

impl Stream {
    const fn new(ssrc: u32, pt: u8) -> Self {
        Self { ssrc, pt, number: 0, timestamp: 0, octets: 0, kept: VecDeque::new() }
    }

    fn header(&self, marker: bool) -> [u8; RTP_HEADER] {
        FixedHeader {
            padding: false,
            marker,
            payload_type: self.pt,
            sequence: self.number as u16,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
        .to_bytes()
    }

    fn sealed(&mut self, packet: Vec<u8>, payload: usize) {
        self.number = self.number.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32);
        self.kept.push_back(packet);
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }

    fn again(&self, sequence: u16) -> Option<&[u8]> {
        let behind = (self.number as u16).wrapping_sub(sequence);
        let at = self.kept.len().checked_sub(usize::from(behind))?;
        self.kept.get(at).map(Vec::as_slice)
    }
}

/// The host.
pub struct Publisher {
    video: Stream,
    audio: Option<Stream>,
    payload_bytes: usize,
    packets_per_frame: u16,
    frame_time: Duration,
    spread: bool,
    picture: u16,
    /// Start of the present frame, and the packets of it that are sent.
    frame_at: Instant,
    sent_of_frame: u16,
    key_frame: bool,
    key_frame_wanted: bool,
    next_audio: Instant,
    next_report: Instant,
    pub key_frames_asked: u64,
    pub nacked: u64,
    /// The worst delay of a packet against its schedule.
    pub latest: Duration,
}

impl Publisher {
    pub fn new(now: Instant, options: &Options) -> Self {
        Self {
            video: Stream::new(VIDEO_SSRC, VIDEO_PT),
            audio: options.audio.then(|| Stream::new(AUDIO_SSRC, AUDIO_PT)),
            payload_bytes: options.packet_bytes - RTP_HEADER - GCM_TAG,
            packets_per_frame: options.packets_per_frame,
            frame_time: options.frame_time(),
            spread: options.spread,
            picture: 0,
            frame_at: now,
            sent_of_frame: 0,
            key_frame: true,
            key_frame_wanted: true,
            next_audio: now,
            next_report: now,
            key_frames_asked: 0,
            nacked: 0,
            latest: Duration::ZERO,
        }
    }

    /// Send `factor` times as many frames from now on.
    pub fn surge(&mut self, factor: u32) {
        self.frame_time /= factor;
    }

    /// Numbers of the next video and audio packet.
    pub fn numbers(&self) -> [u32; 2] {
        [self.video.number, self.audio.as_ref().map_or(0, |audio| audio.number)]
    }

    /// When the next packet is due.
    pub fn due(&self) -> Instant {
        let video = self.video_due();
        if self.audio.is_some() { video.min(self.next_audio) } else { video }
    }

    fn video_due(&self) -> Instant {
        if !self.spread {
            return self.frame_at;
        }
        let gap = self.frame_time / u32::from(self.packets_per_frame);
        self.frame_at + gap * u32::from(self.sent_of_frame)
    }

    /// Send everything that is due. `clock` gives the stamps.
    pub fn tick(
        &mut self,
        now: Instant,
        clock: fn() -> u64,
        seal: &mut Context,
        send: &mut impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        if now.saturating_duration_since(self.frame_at) > GIVE_UP + self.frame_time {
            self.frame_at = now;
        }
        while self.video_due() <= now {
            self.latest = self.latest.max(now - self.video_due());
            send(self.video_packet(clock(), seal)?);
        }
        if self.audio.is_some() && self.next_audio <= now {
            self.next_audio = (self.next_audio + AUDIO_TIME).max(now - GIVE_UP);
            send(self.audio_packet(clock(), seal)?);
        }
        if self.next_report <= now {
            self.next_report = now + REPORT_INTERVAL;
            for stream in [Some(&self.video), self.audio.as_ref()].into_iter().flatten() {
                send(&seal.encrypt_rtcp(&report(stream, clock()))?);
            }
        }
        Ok(())
    }

    fn video_packet(&mut self, sent_ns: u64, seal: &mut Context) -> anyhow::Result<&[u8]> {
        let first = self.sent_of_frame == 0;
        if first {
            self.key_frame = std::mem::take(&mut self.key_frame_wanted);
            let ticks = 90_000.0 * self.frame_time.as_secs_f64();
            self.video.timestamp = self.video.timestamp.wrapping_add(ticks as u32);
        }
        let last = self.sent_of_frame + 1 == self.packets_per_frame;
        let mut packet = self.video.header(last).to_vec();
        let facts = Facts { number: self.video.number, sent_ns };
        let place = Place { picture: self.picture, first, key_frame: self.key_frame };
        payload::video(&mut packet, facts, place, self.payload_bytes);
        self.video.sealed(seal.encrypt_rtp(&packet)?.to_vec(), self.payload_bytes);
        self.sent_of_frame += 1;
        if last {
            self.sent_of_frame = 0;
            self.frame_at += self.frame_time;
            self.picture = self.picture.wrapping_add(1);
        }
        self.video.kept.back().map(Vec::as_slice).ok_or_else(|| anyhow::anyhow!("just kept"))
    }

    fn audio_packet(&mut self, sent_ns: u64, seal: &mut Context) -> anyhow::Result<&[u8]> {
        let Some(audio) = &mut self.audio else { return Ok(&[]) };
        audio.timestamp = audio.timestamp.wrapping_add(960);
        let mut packet = audio.header(false).to_vec();
        payload::audio(&mut packet, Facts { number: audio.number, sent_ns }, AUDIO_BYTES);
        audio.sealed(seal.encrypt_rtp(&packet)?.to_vec(), AUDIO_BYTES);
        audio.kept.back().map(Vec::as_slice).ok_or_else(|| anyhow::anyhow!("just kept"))
    }

    /// Obey the server's feedback.
    pub fn receive_rtcp(&mut self, plain: &[u8], send: &mut impl FnMut(&[u8])) {
        for packet in packets(plain) {
            match packet {
                Ok(Packet::PictureLoss { .. } | Packet::FullIntra(_)) => {
                    self.key_frames_asked += 1;
                    self.key_frame_wanted = true;
                }
                Ok(Packet::Nack(nack)) => {
                    let audio = self.audio.as_ref().filter(|_| nack.media_ssrc == AUDIO_SSRC);
                    let stream = audio.unwrap_or(&self.video);
                    // Without RTX the same bytes go again, so no nonce is used twice.
                    for again in nack.lost().filter_map(|sequence| stream.again(sequence)) {
                        self.nacked += 1;
                        send(again);
                    }
                }
                _ => {}
            }
        }
    }
}

/// A sender report (RFC 3550 6.4.1); `ns` is real time.
fn report(stream: &Stream, ns: u64) -> Vec<u8> {
    const FROM_1900_S: u64 = 2_208_988_800;
    let fraction = ((ns % 1_000_000_000) << 32) / 1_000_000_000;
    let info = SenderInfo {
        ssrc: stream.ssrc,
        ntp: ((ns / 1_000_000_000 + FROM_1900_S) << 32) | fraction,
        rtp_timestamp: stream.timestamp,
        packets: stream.number,
        octets: stream.octets,
    };
    let mut out = Vec::new();
    build::sender_report(&mut out, &info, &[]);
    build::cname(&mut out, stream.ssrc, "load");
    out
}

#[cfg(test)]
mod tests {
    use crate::rtp::packet::RtpHeader;
    use clap::Parser;
    use rtc_srtp::protection_profile::ProtectionProfile;

    use super::*;

    fn context() -> Context {
        let provider = rtc_crypto::default_provider().unwrap();
        let profile = ProtectionProfile::AeadAes128Gcm;
        Context::new(&[1; 16], &[2; 12], profile, None, None, provider.crypto()).unwrap()
    }

    fn run(more: &[&str], for_ms: u64) -> (Publisher, Vec<(u64, Vec<u8>)>) {
        let options = Options::parse_from(["load"].iter().chain(more));
        let start = Instant::now();
        let mut publisher = Publisher::new(start, &options);
        let (mut seal, mut open, mut sent) = (context(), context(), Vec::new());
        for ms in 0..for_ms {
            let mut send = |bytes: &[u8]| {
                if crate::rtp::packet::PacketKind::of(bytes)
                    == Some(crate::rtp::packet::PacketKind::Rtp)
                {
                    assert!(bytes.len() == 1200 || bytes.len() == 12 + 80 + 16);
                    sent.push((ms, open.decrypt_rtp(bytes).unwrap().to_vec()));
                }
            };
            let now = start + Duration::from_millis(ms);
            publisher.tick(now, || 5, &mut seal, &mut send).unwrap();
        }
        (publisher, sent)
    }

    #[test]
    fn bursts() {
        let (publisher, sent) = run(&["--audio"], 1000);
        let video: Vec<_> = sent.iter().filter(|(_, p)| p[1] & 0x7f == VIDEO_PT).collect();
        assert_eq!((video.len(), sent.len() - video.len()), (150, 50));
        assert_eq!(publisher.numbers(), [150, 50]);
        assert!(video[..5].iter().all(|(ms, _)| *ms == 0), "a frame leaves at once");
        let markers = video.iter().filter(|(_, p)| p[1] & 0x80 != 0).count();
        assert_eq!(markers, 30);
        let last = RtpHeader::parse(&video[149].1).unwrap();
        let facts = payload::read(last.payload(&video[149].1), true).unwrap();
        assert_eq!((facts.number, facts.sent_ns), (149, 5));
    }

    #[test]
    fn spread() {
        let (_, sent) = run(&["--spread", "--fps", "25", "--packets-per-frame", "4"], 1000);
        let times: Vec<u64> = sent.iter().map(|(ms, _)| *ms).collect();
        assert_eq!(times.len(), 100);
        assert_eq!(times[..5], [0, 10, 20, 30, 40]);
    }

    #[test]
    fn feedback_is_obeyed() {
        let (mut publisher, _) = run(&[], 40);
        assert!(!publisher.key_frame_wanted);
        let mut compound = Vec::new();
        build::receiver_report(&mut compound, 9, &[]);
        build::picture_loss(&mut compound, 9, VIDEO_SSRC);
        build::nack(&mut compound, 9, VIDEO_SSRC, [3u16, 8, 500]);
        let mut again = Vec::new();
        publisher.receive_rtcp(&compound, &mut |bytes: &[u8]| again.push(bytes[3]));
        assert!(publisher.key_frame_wanted);
        assert_eq!(again, [3, 8]);
    }
}
