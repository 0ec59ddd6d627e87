//! Our own lines.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::LocalSession;
use super::media::uri;
use super::parse::Section;
use super::payloads::{Format, Payload};
use crate::rtp::track::{Codec, CodecParameters, ExtensionIds, FeedbackKinds};

/// A description in the making. Every line ends with CRLF.
pub(super) struct Writer {
    text: String,
    /// Candidates go into the first m-line that carries media; the rest of the bundle shares them.
    candidates_written: bool,
}

/// `a=...:` with formatted arguments; writing to a `String` cannot fail.
macro_rules! line {
    ($writer:expr, $($format:tt)*) => {{
        let _ = write!($writer.text, $($format)*);
        $writer.text.push_str("\r\n");
    }};
}

/// One m-line with media, ours or the answer to theirs.
pub(super) struct MediaLine<'a> {
    pub(super) kind: &'a str,
    pub(super) protocol: &'a str,
    pub(super) mid: Option<&'a str>,
    pub(super) direction: &'a str,
    pub(super) setup: &'a str,
    /// Reduced-size RTCP (RFC 5506).
    pub(super) rtcp_rsize: bool,
    pub(super) payloads: &'a [Payload],
    pub(super) extensions: ExtensionIds,
}

impl Writer {
    /// The session level. `mids` are those of the bundle; none = the peer does not bundle.
    pub(super) fn new(local: &LocalSession<'_>, mids: &[&str]) -> Self {
        let mut writer = Self { text: String::with_capacity(4096), candidates_written: false };
        line!(writer, "v=0");
        line!(writer, "o=- {} {} IN IP4 127.0.0.1", local.session_id, local.version);
        line!(writer, "s=-");
        line!(writer, "t=0 0");
        if !mids.is_empty() {
            line!(writer, "a=group:BUNDLE {}", mids.join(" "));
        }
        line!(writer, "a=msid-semantic: WMS *");
        line!(writer, "a=ice-lite");
        writer
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// An m-line with audio or video.
    pub(super) fn media(&mut self, local: &LocalSession<'_>, media: &MediaLine<'_>) {
        let _ = write!(self.text, "m={} {} {}", media.kind, port(local), media.protocol);
        // libwebrtc sends RED only if the answer lists it before what it repeats; everybody else looks for a codec.
        let red_first = media.direction == "recvonly";
        for payload in media.payloads {
            let CodecParameters { pt, rtx_pt, red_pt, .. } = payload.parameters;
            let (before, behind) =
                if red_first { (red_pt, rtx_pt) } else { (None, rtx_pt.or(red_pt)) };
            for pt in before.into_iter().chain([pt]).chain(behind) {
                let _ = write!(self.text, " {pt}");
            }
        }
        self.text.push_str("\r\n");
        self.transport(local, media.mid, media.setup);
        line!(self, "a={}", media.direction);
        line!(self, "a=rtcp-mux");
        if media.rtcp_rsize {
            line!(self, "a=rtcp-rsize");
        }
        self.extensions(media.extensions);
        for payload in media.payloads {
            self.payload(payload);
        }
    }

    /// The simulcast layers we take (RFC 8853); none = one encoding.
    pub(super) fn layers(&mut self, rids: &[String]) {
        if rids.is_empty() {
            return;
        }
        for rid in rids {
            line!(self, "a=rid:{rid} recv");
        }
        line!(self, "a=simulcast:recv {}", rids.join(";"));
    }

    /// The m-line of the data channels.
    pub(super) fn data(
        &mut self,
        local: &LocalSession<'_>,
        mid: &str,
        setup: &str,
        (sctp_port, max_message_size): (u16, usize),
    ) {
        line!(self, "m=application {} UDP/DTLS/SCTP webrtc-datachannel", port(local));
        self.transport(local, Some(mid), setup);
        line!(self, "a=sctp-port:{sctp_port}");
        line!(self, "a=max-message-size:{max_message_size}");
    }

    /// A section of the offer that we decline. Its words were checked to be tokens.
    pub(super) fn rejected(&mut self, section: &Section<'_>) {
        let format = section.formats.first().copied().unwrap_or("0");
        line!(self, "m={} 0 {} {format}", section.kind, section.protocol);
        line!(self, "c=IN IP4 0.0.0.0");
        if let Some(mid) = section.mid {
            line!(self, "a=mid:{mid}");
        }
        line!(self, "a=inactive");
    }

    /// `a=msid` and `a=ssrc` lines of a track we send (RFC 8830, RFC 5576).
    pub(super) fn source(&mut self, stream: &str, track: &str, ssrc: u32, rtx: Option<u32>) {
        line!(self, "a=msid:{stream} {track}");
        if let Some(rtx) = rtx {
            line!(self, "a=ssrc-group:FID {ssrc} {rtx}");
        }
        for ssrc in [Some(ssrc), rtx].into_iter().flatten() {
            line!(self, "a=ssrc:{ssrc} cname:{stream}");
        }
    }

    /// Connection, mid, credentials, fingerprint, role and (once) the candidates.
    fn transport(&mut self, local: &LocalSession<'_>, mid: Option<&str>, setup: &str) {
        match local.candidates.first().map(SocketAddr::ip) {
            Some(IpAddr::V4(address)) => line!(self, "c=IN IP4 {address}"),
            Some(IpAddr::V6(address)) => line!(self, "c=IN IP6 {address}"),
            None => line!(self, "c=IN IP4 0.0.0.0"),
        }
        if let Some(mid) = mid {
            line!(self, "a=mid:{mid}");
        }
        line!(self, "a=ice-ufrag:{}", local.ufrag);
        line!(self, "a=ice-pwd:{}", local.password);
        self.text.push_str("a=fingerprint:sha-256 ");
        for (index, byte) in local.fingerprint.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            let _ = write!(self.text, "{colon}{byte:02X}");
        }
        self.text.push_str("\r\n");
        line!(self, "a=setup:{setup}");
        if !self.candidates_written {
            self.candidates_written = true;
            candidates(&mut self.text, local);
        }
    }

    fn extensions(&mut self, ids: ExtensionIds) {
        let known = [
            (ids.mid, uri::MID),
            (ids.rid, uri::RID),
            (ids.repaired_rid, uri::REPAIRED_RID),
            (ids.transport_cc, uri::TRANSPORT_CC),
            (ids.audio_level, uri::AUDIO_LEVEL),
            (ids.dependency, uri::DEPENDENCY),
        ];
        // A key frame's templates are longer than the one-byte form can carry (RFC 8285 4.1.2).
        if ids.dependency.is_some() {
            line!(self, "a=extmap-allow-mixed");
        }
        for (id, name) in known {
            if let Some(id) = id {
                line!(self, "a=extmap:{id} {name}");
            }
        }
    }

    fn payload(&mut self, payload: &Payload) {
        let pt = payload.parameters.pt;
        let codec = payload.parameters.codec;
        let name = match codec {
            Codec::Opus => "opus/48000/2",
            Codec::Vp8 => "VP8/90000",
            Codec::Vp9 => "VP9/90000",
            Codec::H264 => "H264/90000",
            Codec::Av1 => "AV1/90000",
        };
        line!(self, "a=rtpmap:{pt} {name}");
        self.feedback(pt, payload.feedback);
        if let Some(fmtp) = fmtp(payload.format) {
            line!(self, "a=fmtp:{pt} {fmtp}");
        }
        if let Some(rtx) = payload.parameters.rtx_pt {
            line!(self, "a=rtpmap:{rtx} rtx/{}", codec.clock_rate());
            line!(self, "a=fmtp:{rtx} apt={pt}");
        }
        if let Some(red) = payload.parameters.red_pt {
            line!(self, "a=rtpmap:{red} red/48000/2");
            line!(self, "a=fmtp:{red} {pt}/{pt}");
        }
    }

    fn feedback(&mut self, pt: u8, kinds: FeedbackKinds) {
        let known = [
            (kinds.remb, "goog-remb"),
            (kinds.transport_cc, "transport-cc"),
            (kinds.fir, "ccm fir"),
            (kinds.nack, "nack"),
            (kinds.pli, "nack pli"),
        ];
        for (_, name) in known.into_iter().filter(|(offered, _)| *offered) {
            line!(self, "a=rtcp-fb:{pt} {name}");
        }
    }
}

/// Host candidates (RFC 8839) and `a=end-of-candidates`: an ICE-lite agent has no others.
///
/// Priority is RFC 8445 5.1.2 with component 1 and a local preference that falls with the order given;
/// each address and protocol is its own foundation. TCP is wanted only where UDP does not pass, so its
/// type preference is libwebrtc's for it; its local preference is that of a passive host candidate (RFC
/// 6544 4.2). Pseudo-TLS comes behind it, as it costs a round trip more.
pub(super) fn candidates(text: &mut String, local: &LocalSession<'_>) {
    let udp = local
        .candidates
        .iter()
        .take(MAX_OURS)
        .enumerate()
        .map(|(index, address)| (UDP_HOST, 65_535 - index, "udp", address, ""));
    let tcp = local.tcp_candidates.iter().take(MAX_OURS).enumerate().map(|(index, address)| {
        (TCP_HOST, (PASSIVE << 13) + 8191 - index, "tcp", address, " tcptype passive")
    });
    let ssltcp =
        local.ssltcp_candidates.iter().take(MAX_OURS).enumerate().map(|(index, address)| {
            let local = (PASSIVE << 13) + 8191 - MAX_OURS - index;
            (TCP_HOST, local, "ssltcp", address, " tcptype passive")
        });
    let all = udp.chain(tcp).chain(ssltcp);
    for (index, (preference, local, protocol, address, more)) in all.enumerate() {
        let foundation = index + 1;
        let priority = (preference << 24) + (local << 8) + 255;
        let (ip, port) = (address.ip(), address.port());
        let _ = write!(
            text,
            "a=candidate:{foundation} 1 {protocol} {priority} {ip} {port} typ host{more}\r\n"
        );
    }
    text.push_str("a=end-of-candidates\r\n");
}

/// Candidates of ours for each protocol; more addresses than a machine has.
const MAX_OURS: usize = 64;
/// Type preference of a UDP host candidate (RFC 8445 5.1.2.2).
const UDP_HOST: usize = 126;
/// Type preference of a TCP host candidate: `ICE_TYPE_PREFERENCE_HOST_TCP` of libwebrtc, so that it ranks
/// our candidates as its own.
const TCP_HOST: usize = 90;
/// Direction preference of a passive host candidate (RFC 6544 4.2).
const PASSIVE: usize = 4;

/// The default candidate's port, or the discard port.
fn port(local: &LocalSession<'_>) -> u16 {
    local.candidates.first().map_or(9, SocketAddr::port)
}

fn fmtp(format: Format) -> Option<String> {
    Some(match format {
        Format::Opus { stereo: false } => "minptime=10;useinbandfec=1".into(),
        Format::Opus { stereo: true } => "minptime=10;stereo=1;useinbandfec=1".into(),
        Format::Vp8 | Format::Vp9 { explicit: false } => return None,
        Format::Vp9 { explicit: true } => "profile-id=0".into(),
        Format::H264 { profile_level_id: None } => {
            "level-asymmetry-allowed=1;packetization-mode=1".into()
        }
        Format::H264 { profile_level_id: Some(id) } => {
            format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={id:06x}")
        }
        Format::Av1 { level: None, tier: None } => return None,
        Format::Av1 { level, tier } => {
            let level = level.map_or(String::new(), |level| format!("level-idx={level};"));
            let tier = tier.map_or(String::new(), |tier| format!(";tier={tier}"));
            format!("{level}profile=0{tier}")
        }
    })
}
