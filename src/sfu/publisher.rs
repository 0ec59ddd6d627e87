//! A publish transport's streams: which SSRC is which publication, and the feedback it is owed.

use std::time::{Duration, Instant};

use signaling::media::MediaKind;

use crate::rtp::extensions;
use crate::rtp::packet::RtpHeader;
use crate::rtp::seq::timestamp_is_newer;
use crate::rtp::track::{MAX_LAYERS, TrackIn};

use super::bandwidth::arrivals::{self, Arrivals};
use super::bandwidth::policer::Policer;
use super::drop_reason::DropReason;
use super::interest::Interest;

/// How often the layers of a publisher are measured. Trade: a layer that its publisher stops freezes its
/// viewers for up to twice this and a key frame; a shorter window may find none of the frames of a camera in
/// the dark (10 a second, some of them dropped) and take that for the end.
pub const MEASURE_EVERY: Duration = Duration::from_millis(200);
/// SSRCs remembered per publisher.
const MAX_SSRCS: usize = 64;

/// Time between receiver reports (RFC 3550 allows a session this small about one a second).
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What an SSRC carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Audio or video.
    pub kind: MediaKind,
    /// Which simulcast layer; 0 without.
    pub layer: u8,
    /// A retransmission stream.
    pub rtx: bool,
}

/// When a publisher's next video frame is likely to come.
#[derive(Debug, Default)]
pub struct Cadence {
    /// Timestamp and arrival of the newest frame.
    newest: Option<(u32, Instant)>,
    interval: Duration,
}

impl Cadence {
    /// A frame later than expected by this much is not about to come any more: the camera paused.
    const SLACK: Duration = Duration::from_millis(2);

    /// A video packet with this timestamp arrived.
    pub fn note(&mut self, now: Instant, timestamp: u32) {
        match self.newest {
            Some((newest, _)) if !timestamp_is_newer(timestamp, newest) => {}
            before => {
                if let Some((_, at)) = before {
                    self.interval = (self.interval * 7 + now.saturating_duration_since(at)) / 8;
                }
                self.newest = Some((timestamp, now));
            }
        }
    }

    /// Whether a frame is likely to begin before `now + within`.
    #[must_use]
    pub fn expects(&self, now: Instant, within: Duration) -> bool {
        let due = self.newest.map(|(_, at)| at + self.interval);
        due.is_some_and(|due| now <= due + Self::SLACK && due <= now + within)
    }
}

/// The ingress state of one publish transport.
#[derive(Debug)]
pub struct Publisher {
    tracks: Vec<TrackIn>,
    ssrcs: Vec<(u32, Stream)>,
    /// Transport-wide arrival log, if negotiated.
    pub arrivals: Option<Arrivals>,
    transport_cc: Option<u8>,
    /// Uplink limit.
    pub policer: Policer,
    /// Of its video, if it has one.
    pub cadence: Cadence,
    /// When the next transport-wide feedback is due.
    pub feedback_at: Instant,
    /// When the next receiver report is due.
    pub report_at: Instant,
    /// When the rates of its video's layers are measured next, if it has video.
    pub layers_at: Option<Instant>,
    /// Which layers of its video anybody takes.
    pub interest: Interest,
    /// How late its packets come when they were lost on their way here, ms; 0 = nothing to wait for.
    pub repairs_ms: u16,
}

impl Publisher {
    /// Ingress state for negotiated tracks. `tracks` keeps at most one of each kind.
    #[must_use]
    pub fn new(now: Instant, tracks: Vec<TrackIn>, policer: Policer) -> Self {
        let mut ssrcs = Vec::new();
        for track in &tracks {
            if let Some(ssrc) = track.ssrc {
                ssrcs.push((ssrc, Stream { kind: track.kind, layer: 0, rtx: false }));
            }
            if let Some(ssrc) = track.rtx_ssrc {
                ssrcs.push((ssrc, Stream { kind: track.kind, layer: 0, rtx: true }));
            }
        }
        let transport_cc = tracks.iter().find_map(|t| t.extensions.transport_cc);
        let video = tracks.iter().any(|t| t.kind == MediaKind::Video);
        let layers_at = video.then_some(now + MEASURE_EVERY);
        let wants_feedback = tracks.iter().any(|t| t.feedback.transport_cc);
        Self {
            tracks,
            ssrcs,
            arrivals: (transport_cc.is_some() && wants_feedback).then(|| Arrivals::new(now)),
            transport_cc,
            policer,
            cadence: Cadence::default(),
            feedback_at: now + arrivals::INTERVAL,
            report_at: now + REPORT_INTERVAL,
            layers_at,
            interest: Interest::default(),
            repairs_ms: 0,
        }
    }

    /// Log the transport-wide number of a packet, if it has one.
    pub fn note_arrival(&mut self, now: Instant, header: &RtpHeader, packet: &[u8]) {
        if let (Some(arrivals), Some(id)) = (&mut self.arrivals, self.transport_cc)
            && let Some(sequence) =
                header.extensions(packet).find(id).and_then(extensions::transport_sequence)
        {
            arrivals.record(now, sequence);
        }
    }

    /// Which stream a packet belongs to: by SSRC, else by mid (and rid, if there are layers), else by payload type.
    ///
    /// # Errors
    /// `unknown_ssrc`, or `too_many_ssrcs` once the table is full.
    pub fn stream(&mut self, header: &RtpHeader, packet: &[u8]) -> Result<Stream, DropReason> {
        if let Some((_, stream)) = self.ssrcs.iter().find(|(ssrc, _)| *ssrc == header.ssrc) {
            return Ok(*stream);
        }
        if self.ssrcs.len() >= MAX_SSRCS {
            return Err(DropReason::TooManySsrcs);
        }
        let track = self
            .track_by_mid(header, packet)
            .or_else(|| self.track_by_payload_type(header.payload_type))
            .ok_or(DropReason::UnknownSsrc)?;
        let rtx = track.codecs.iter().any(|c| c.rtx_pt == Some(header.payload_type));
        let layer = layer_of(track, rtx, header, packet).ok_or(DropReason::UnknownLayer)?;
        let stream = Stream { kind: track.kind, layer, rtx };
        self.ssrcs.push((header.ssrc, stream));
        Ok(stream)
    }

    fn track_by_mid(&self, header: &RtpHeader, packet: &[u8]) -> Option<&TrackIn> {
        self.tracks.iter().find(|track| {
            let id = track.extensions.mid;
            id.and_then(|id| header.extensions(packet).find(id))
                .and_then(extensions::token)
                .is_some_and(|mid| mid == track.mid)
        })
    }

    fn track_by_payload_type(&self, payload_type: u8) -> Option<&TrackIn> {
        let mut matching = self.tracks.iter().filter(|track| {
            track.codecs.iter().any(|c| c.carries(payload_type) || c.rtx_pt == Some(payload_type))
        });
        let track = matching.next()?;
        matching.next().is_none().then_some(track)
    }

    /// Simulcast layers of its video.
    #[must_use]
    pub fn layers(&self) -> u8 {
        let video = self.tracks.iter().find(|track| track.kind == MediaKind::Video);
        video.map_or(0, TrackIn::layers)
    }

    /// When feedback or a report is due next.
    #[must_use]
    pub fn next_due(&self) -> Instant {
        let feedback = self.arrivals.is_some().then_some(self.feedback_at);
        feedback.into_iter().chain(self.layers_at).fold(self.report_at, Instant::min)
    }
}

/// The layer a packet of this track names; `None` = none of those that were negotiated.
fn layer_of(track: &TrackIn, rtx: bool, header: &RtpHeader, packet: &[u8]) -> Option<u8> {
    if track.rids.is_empty() {
        return Some(0);
    }
    let id = if rtx { track.extensions.repaired_rid } else { track.extensions.rid }?;
    let named = header.extensions(packet).find(id).and_then(extensions::token)?;
    let layer = track.rids.iter().take(MAX_LAYERS).position(|rid| rid == named)?;
    Some(layer as u8)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

    #[test]
    fn a_steady_camera_is_expected_and_a_paused_one_is_not() {
        let wait = Duration::from_millis(5);
        let mut now = Instant::now();
        let mut cadence = Cadence::default();
        assert!(!cadence.expects(now, wait), "nothing is known");
        for frame in 1..100 {
            now += Duration::from_micros(33_333);
            cadence.note(now, frame * 3000);
            cadence.note(now + Duration::from_millis(3), frame * 3000);
        }
        let after = |ms| now + Duration::from_millis(ms);
        assert!(!cadence.expects(after(10), wait));
        assert!(cadence.expects(after(30), wait));
        assert!(cadence.expects(after(34), wait), "a little late");
        assert!(!cadence.expects(after(40), wait), "paused");
    }
}
