//! A synthetic viewer: counts what reaches it and sends receiver reports, and what arrives when if it is to.

use std::time::{Duration, Instant};

use crate::rtp::packet::RtpHeader;
use crate::rtp::rtcp::{Packet, ReportBlock, build, packets};
use rtc_srtp::context::Context;

use crate::load::histogram::Histogram;
use crate::load::payload;
use crate::load::sdp::{AUDIO_PT, TRANSPORT_CC, VIDEO_PT};
use crate::rtp::extensions::transport_sequence;
use crate::sfu::bandwidth::arrivals::Arrivals;

const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Between two transport-wide feedbacks: what Chromium 156 was seen to take. libwebrtc gives a twentieth of the 300 kbit/s that it begins
/// with to 68 bytes each time, but sends none sooner than after 50 ms
/// (`modules/remote_bitrate_estimator/transport_sequence_number_feedback_generator.cc`).
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(62);
/// Between two requests for everything by a viewer that behaves badly.
const STORM_INTERVAL: Duration = Duration::from_millis(20);
/// Packets that it asks for each time.
const STORM_PACKETS: u32 = 128;

/// What all viewers saw of the packets that are measured.
#[derive(Default)]
pub struct Totals {
    /// Publisher's numbers that count: [first, end) of video and audio.
    pub window: Option<[(u32, u32); 2]>,
    pub video: u64,
    pub audio: u64,
    pub duplicates: u64,
    pub reordered: u64,
    pub corrupt: u64,
    /// Send -> the viewer's socket, µs.
    pub delay: Histogram,
    /// When we should have read -> our read, µs: our own lag, not the server's.
    pub lag: Histogram,
    /// Everything received so far, for the progress line.
    pub received: u64,
}

/// Times of a packet, ns of real time.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// At the viewer's socket.
    pub arrived: u64,
    /// When it should be read.
    pub due: u64,
    pub read: u64,
}

/// One stream as a viewer sees it.
#[derive(Default)]
struct Track {
    ssrc: u32,
    /// Highest extended RTP sequence number and the publisher's highest number.
    sequence: Option<u32>,
    highest: Option<u32>,
    /// Bit n: `highest - n` was seen.
    seen: u128,
    first_sequence: u32,
    received: u32,
    reported: (u32, u32),
    last_sr: u32,
    last_sr_at: Option<Instant>,
}

/// How a packet relates to those before it.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    Next,
    Late,
    Duplicate,
}

impl Track {
    fn place(&mut self, number: u32) -> Order {
        let Some(highest) = self.highest else {
            (self.highest, self.seen) = (Some(number), 1);
            return Order::Next;
        };
        let ahead = number.wrapping_sub(highest);
        if ahead != 0 && ahead < 1 << 31 {
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = Some(number);
            return Order::Next;
        }
        let bit = 1u128.checked_shl(highest.wrapping_sub(number)).unwrap_or(0);
        if self.seen & bit != 0 {
            return Order::Duplicate;
        }
        self.seen |= bit;
        Order::Late
    }

    fn note(&mut self, header: &RtpHeader) {
        self.ssrc = header.ssrc;
        self.received += 1;
        let Some(highest) = self.sequence else {
            self.first_sequence = u32::from(header.sequence);
            self.sequence = Some(self.first_sequence);
            return;
        };
        let ahead = header.sequence.wrapping_sub(highest as u16);
        if ahead < 1 << 15 {
            self.sequence = Some(highest.wrapping_add(u32::from(ahead)));
        }
    }

    fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let highest = self.sequence?;
        let expected = highest.wrapping_sub(self.first_sequence).wrapping_add(1);
        let interval = expected.wrapping_sub(self.reported.0);
        let got = self.received.wrapping_sub(self.reported.1);
        self.reported = (expected, self.received);
        let lost = u64::from(interval.saturating_sub(got)) * 256 / u64::from(interval.max(1));
        let held = self.last_sr_at.map_or(0, |at| {
            (now.saturating_duration_since(at).as_micros() as u64 * 65_536 / 1_000_000) as u32
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: lost.min(255) as u8,
            cumulative_lost: expected.wrapping_sub(self.received).cast_signed(),
            highest_sequence: highest,
            jitter: 0,
            last_sr: self.last_sr,
            delay_since_last_sr: held,
        })
    }
}

/// One viewer.
pub struct Viewer {
    ssrc: u32,
    tracks: [Track; 2],
    next_report: Instant,
    pub first_media: Option<Instant>,
    /// Whether what it sees goes into the totals.
    pub counts: bool,
    /// Packets of the window.
    pub measured: u64,
    /// What arrived since the last feedback, and when the next one is due, if it sends any.
    arrivals: Option<(Arrivals, Instant)>,
    /// When to ask for everything again, if it does.
    pub next_storm: Option<Instant>,
}

impl Viewer {
    /// Viewer `index`; the first report is due at another time for each.
    pub fn new(now: Instant, index: usize, counts: bool) -> Self {
        let apart = Duration::from_millis((index as u64 * 37) % 1000);
        Self {
            ssrc: 0x5000_0000 + index as u32,
            tracks: Default::default(),
            next_report: now + apart,
            first_media: None,
            counts,
            measured: 0,
            arrivals: None,
            next_storm: None,
        }
    }

    /// Tell the server from now on what arrives.
    pub fn report_arrivals(&mut self, now: Instant) {
        let apart = (self.next_report - now) / 20;
        self.arrivals = Some((Arrivals::new(now), now + apart));
    }

    /// A decrypted packet.
    pub fn receive(
        &mut self,
        now: Instant,
        plain: &[u8],
        Times { arrived, due, read }: Times,
        totals: &mut Totals,
    ) {
        let Ok(header) = RtpHeader::parse(plain) else {
            totals.corrupt += 1;
            return;
        };
        let waited = Duration::from_nanos(read.saturating_sub(arrived));
        let arrival = now.checked_sub(waited).unwrap_or(now);
        if let Some((arrivals, _)) = &mut self.arrivals
            && let Some(number) =
                header.extensions(plain).find(TRANSPORT_CC).and_then(transport_sequence)
        {
            arrivals.record(arrival, number);
        }
        let video = header.payload_type == VIDEO_PT;
        if !video && header.payload_type != AUDIO_PT || header.payload_len() == 0 {
            // Padding and probes of a server's bandwidth estimation.
            return;
        }
        self.first_media.get_or_insert(arrival);
        totals.received += 1;
        let track = &mut self.tracks[usize::from(!video)];
        track.note(&header);
        let Some(facts) = payload::read(header.payload(plain), video) else {
            totals.corrupt += 1;
            return;
        };
        let order = track.place(facts.number);
        let Some(window) = totals.window.filter(|_| self.counts) else { return };
        let (first, end) = window[usize::from(!video)];
        if !(first..end).contains(&facts.number) {
            return;
        }
        match order {
            Order::Duplicate => {
                totals.duplicates += 1;
                return;
            }
            Order::Late => totals.reordered += 1,
            Order::Next => {}
        }
        if video {
            totals.video += 1
        } else {
            totals.audio += 1
        }
        self.measured += 1;
        totals.delay.record(arrived.saturating_sub(facts.sent_ns) / 1000);
        totals.lag.record(read.saturating_sub(due) / 1000);
    }

    /// Note the server's sender reports, so that ours can name them.
    pub fn receive_rtcp(&mut self, now: Instant, plain: &[u8]) {
        for packet in packets(plain) {
            let Ok(Packet::SenderReport(report)) = packet else { continue };
            let track = self.tracks.iter_mut().find(|track| track.ssrc == report.info.ssrc);
            if let Some(track) = track {
                track.last_sr = (report.info.ntp >> 16) as u32;
                track.last_sr_at = Some(now);
            }
        }
    }

    /// A request for everything, a receiver report, or a feedback, if one is due.
    pub fn tick(&mut self, now: Instant, seal: &mut Context) -> anyhow::Result<Option<Vec<u8>>> {
        if self.next_storm.is_some_and(|due| due <= now) {
            self.next_storm = Some(now + STORM_INTERVAL);
            return Ok(Some(seal.encrypt_rtcp(&self.everything())?.to_vec()));
        }
        if self.next_report > now {
            return self
                .feedback(now)
                .map(|told| Ok(seal.encrypt_rtcp(&told)?.to_vec()))
                .transpose();
        }
        self.next_report = now + REPORT_INTERVAL;
        let blocks: Vec<ReportBlock> =
            self.tracks.iter_mut().filter_map(|track| track.report(now)).collect();
        let mut report = Vec::new();
        build::receiver_report(&mut report, self.ssrc, &blocks);
        build::cname(&mut report, self.ssrc, "load");
        Ok(Some(seal.encrypt_rtcp(&report)?.to_vec()))
    }

    fn feedback(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (arrivals, due) = self.arrivals.as_mut().filter(|(_, due)| *due <= now)?;
        *due = now + FEEDBACK_INTERVAL;
        let mut told = Vec::new();
        arrivals.write_feedback(self.ssrc, self.tracks[0].ssrc, &mut told).then_some(told)
    }

    /// A NACK of the newest video packets, which it has.
    fn everything(&self) -> Vec<u8> {
        let track = &self.tracks[0];
        let newest = track.sequence.unwrap_or_default();
        let lost = (0..STORM_PACKETS).rev().map(|back| newest.wrapping_sub(back) as u16);
        let mut request = Vec::new();
        build::receiver_report(&mut request, self.ssrc, &[]);
        build::nack(&mut request, self.ssrc, track.ssrc, lost);
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::payload::{Facts, Place};

    #[test]
    fn order() {
        let mut track = Track::default();
        let orders: Vec<Order> =
            [5, 6, 8, 7, 7, 8, 300, 9].map(|number| track.place(number)).into_iter().collect();
        use Order::{Duplicate, Late, Next};
        assert_eq!(orders, [Next, Next, Next, Late, Duplicate, Duplicate, Next, Late]);
    }

    const NEVER: Times = Times { arrived: 0, due: 0, read: 0 };

    fn packet(number: u32, sequence: u16) -> Vec<u8> {
        let header = crate::rtp::packet::FixedHeader {
            padding: false,
            marker: true,
            payload_type: VIDEO_PT,
            sequence,
            timestamp: 0,
            ssrc: 77,
        };
        let mut packet = header.to_bytes().to_vec();
        let place = Place { picture: 0, first: true, key_frame: false };
        payload::video(&mut packet, Facts { number, sent_ns: 1_000_000 }, place, 300);
        packet
    }

    #[test]
    fn only_the_window_counts() {
        let now = Instant::now();
        let mut totals = Totals { window: Some([(10, 20), (0, 0)]), ..Totals::default() };
        let mut viewer = Viewer::new(now, 1, true);
        for number in 5..25 {
            let times = Times { arrived: 3_000_000, due: 3_000_000, read: 4_000_000 };
            viewer.receive(now, &packet(number, number as u16), times, &mut totals);
        }
        assert_eq!((totals.video, totals.received, viewer.measured), (10, 20, 10));
        assert_eq!(totals.delay.percentile(0.5), Some(2000));
        assert_eq!(totals.lag.percentile(0.5), Some(1000));
        let mut bad = packet(11, 30);
        bad[200] ^= 1;
        viewer.receive(now, &bad, NEVER, &mut totals);
        assert_eq!(totals.corrupt, 1);
    }

    #[test]
    fn reports_count_losses_over_the_wrap() {
        let now = Instant::now();
        let (mut totals, mut viewer) = (Totals::default(), Viewer::new(now, 1, true));
        for sequence in [65_533u16, 65_534, 1, 2] {
            viewer.receive(now, &packet(u32::from(sequence), sequence), NEVER, &mut totals);
        }
        let block = viewer.tracks[0].report(now).unwrap();
        assert_eq!((block.ssrc, block.highest_sequence), (77, 65_538));
        assert_eq!((block.cumulative_lost, block.fraction_lost), (2, 85));
        assert_eq!(viewer.tracks[1].report(now), None);
    }
}
