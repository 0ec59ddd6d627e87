//! Payload types of one m-line: `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` become codecs.

use super::SdpError;
use super::parse::{Description, Section};
use crate::rtp::track::{Codec, CodecParameters, FeedbackKinds};
use signaling::media::MediaKind;

/// Payload type of Opus in our offers and in those of every browser that knows RED. The blocks of RED name their codec by
/// it, and we forward them as they come: RED is taken where Opus has this number, and sent on to those who have it too.
pub(super) const OPUS_PT: u8 = 111;

/// A codec both sides know, with what we repeat about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) parameters: CodecParameters,
    pub(super) format: Format,
    pub(super) feedback: FeedbackKinds,
}

/// Format parameters, parsed: what is written again is made from these, never copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Opus {
        stereo: bool,
    },
    Vp8,
    /// With or without `profile-id=0`.
    Vp9 {
        explicit: bool,
    },
    /// The three bytes of `profile-level-id`, if given.
    H264 {
        profile_level_id: Option<u32>,
    },
    /// Level index and tier, if given.
    Av1 {
        level: Option<u8>,
        tier: Option<u8>,
    },
}

/// The lines of one payload type, unread.
#[derive(Clone, Copy, Default)]
struct Lines<'a> {
    listed: bool,
    rtpmap: Option<&'a str>,
    fmtp: Option<&'a str>,
    feedback: FeedbackKinds,
}

/// Lines per payload type, and feedback given for all of them (`a=rtcp-fb:*`).
struct Table<'a> {
    lines: [Lines<'a>; 128],
    all: FeedbackKinds,
}

/// The codecs of `section` that we forward, in its order, each with its RTX or RED.
///
/// # Errors
/// [`SdpError::PayloadTypeRange`].
pub(super) fn read(
    description: &Description<'_>,
    section: &Section<'_>,
    kind: MediaKind,
) -> Result<Vec<Payload>, SdpError> {
    let mut order = Vec::with_capacity(section.formats.len());
    for format in &section.formats {
        let pt: u8 = format.parse().map_err(|_| SdpError::PayloadTypeRange)?;
        if pt > 127 {
            return Err(SdpError::PayloadTypeRange);
        }
        // 64-95 cannot be told from RTCP once both share a port (RFC 5761).
        if !(64..96).contains(&pt) && !order.contains(&pt) {
            order.push(pt);
        }
    }
    let table = Table::read(description, section, &order);
    let mut payloads: Vec<Payload> =
        order.iter().filter_map(|pt| table.payload(*pt, kind)).collect();
    for pt in order {
        if let Some(apt) = table.apt(pt) {
            let owner = payloads.iter_mut().find(|payload| payload.parameters.pt == apt);
            if let Some(payload) = owner.filter(|payload| payload.parameters.codec.has_rtx()) {
                payload.parameters.rtx_pt.get_or_insert(pt);
            }
        } else if table.is_red(pt) {
            let opus = payloads.iter_mut().find(|payload| payload.parameters.pt == OPUS_PT);
            if let Some(opus) = opus.filter(|payload| payload.parameters.codec == Codec::Opus) {
                opus.parameters.red_pt.get_or_insert(pt);
            }
        }
    }
    Ok(payloads)
}

impl<'a> Table<'a> {
    fn read(description: &Description<'a>, section: &Section<'a>, order: &[u8]) -> Self {
        let mut table = Self { lines: [Lines::default(); 128], all: FeedbackKinds::default() };
        for pt in order {
            if let Some(lines) = table.lines.get_mut(usize::from(*pt)) {
                lines.listed = true;
            }
        }
        for attribute in section.attributes.iter().chain(&description.attributes) {
            if matches!(attribute.name, "rtpmap" | "fmtp" | "rtcp-fb") {
                table.add(attribute.name, attribute.value);
            }
        }
        table
    }

    /// Lines for payload types outside the m-line are skipped: Firefox keeps `a=rtcp-fb` of
    /// types it removed. Of two lines for one type the first counts.
    fn add(&mut self, name: &str, value: &'a str) {
        let Some((pt, rest)) = value.split_once(' ') else { return };
        if name == "rtcp-fb" && pt == "*" {
            self.all.add(rest);
            return;
        }
        let index = pt.parse().unwrap_or(usize::MAX);
        let Some(lines) = self.lines.get_mut(index).filter(|lines| lines.listed) else { return };
        match name {
            "rtpmap" => _ = lines.rtpmap.get_or_insert(rest.trim()),
            "fmtp" => _ = lines.fmtp.get_or_insert(rest.trim()),
            _ => lines.feedback.add(rest),
        }
    }

    fn payload(&self, pt: u8, kind: MediaKind) -> Option<Payload> {
        let lines = self.lines.get(usize::from(pt))?;
        let fmtp = Parameters(lines.fmtp.unwrap_or_default());
        let (codec, format) = codec(lines.rtpmap?, fmtp)?;
        (codec.kind() == kind).then_some(Payload {
            parameters: CodecParameters { codec, pt, rtx_pt: None, red_pt: None },
            format,
            feedback: lines.feedback.union(self.all),
        })
    }

    /// The payload type that `pt` retransmits, if it is an RTX; without `apt` it is of no use.
    fn apt(&self, pt: u8) -> Option<u8> {
        let lines = self.lines.get(usize::from(pt))?;
        let (name, _) = lines.rtpmap?.split_once('/')?;
        if !name.eq_ignore_ascii_case("rtx") {
            return None;
        }
        Parameters(lines.fmtp?).number("apt").filter(|apt| *apt != pt)
    }

    /// Whether `pt` is RED whose blocks are all Opus: `red/48000/2`, and the payload type of each block in its fmtp (RFC
    /// 2198 section 5).
    fn is_red(&self, pt: u8) -> bool {
        let Some(lines) = self.lines.get(usize::from(pt)) else { return false };
        let named = lines.rtpmap.is_some_and(|rtpmap| rtpmap.eq_ignore_ascii_case("red/48000/2"));
        let all_opus = |fmtp: &str| fmtp.split('/').all(|block| block.parse() == Ok(OPUS_PT));
        named && lines.fmtp.is_some_and(all_opus)
    }
}

/// The codec of an rtpmap and fmtp, if we forward it.
fn codec(rtpmap: &str, fmtp: Parameters<'_>) -> Option<(Codec, Format)> {
    let mut parts = rtpmap.split('/');
    let name = parts.next()?.to_ascii_lowercase();
    let clock_rate: u32 = parts.next()?.parse().ok()?;
    let found = match name.as_str() {
        "opus" => {
            let stereo =
                ["stereo", "sprop-stereo"].into_iter().any(|key| fmtp.get(key) == Some("1"));
            (Codec::Opus, Format::Opus { stereo })
        }
        "vp8" => (Codec::Vp8, Format::Vp8),
        "vp9" => {
            let profile = fmtp.get("profile-id");
            if profile.is_some_and(|id| id != "0") {
                return None;
            }
            (Codec::Vp9, Format::Vp9 { explicit: profile.is_some() })
        }
        "h264" => (Codec::H264, h264(fmtp)?),
        "av1" => {
            if fmtp.get("profile").is_some_and(|profile| profile != "0") {
                return None;
            }
            (Codec::Av1, Format::Av1 { level: fmtp.number("level-idx"), tier: fmtp.number("tier") })
        }
        _ => return None,
    };
    (found.0.clock_rate() == clock_rate).then_some(found)
}

/// Packetization mode 1, in constrained baseline, baseline, main or high profile.
///
/// The slots promise constrained baseline, and a browser sends that when we answer so. Main and
/// high are let in because encoders such as OBS know nothing else and every decoder we met plays
/// them; nothing here could transcode them anyway.
fn h264(fmtp: Parameters<'_>) -> Option<Format> {
    if fmtp.get("packetization-mode") != Some("1") {
        return None;
    }
    let Some(text) = fmtp.get("profile-level-id") else {
        return Some(Format::H264 { profile_level_id: None });
    };
    if text.len() != 6 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let id = u32::from_str_radix(text, 16).ok()?;
    let (baseline, main, high) = (0x42, 0x4d, 0x64);
    [baseline, main, high]
        .contains(&(id >> 16))
        .then_some(Format::H264 { profile_level_id: Some(id) })
}

/// `a=1;b=2` after the payload type of an fmtp line.
#[derive(Clone, Copy)]
struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    fn get(self, key: &str) -> Option<&'a str> {
        self.0
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(name, value)| name.trim().eq_ignore_ascii_case(key).then_some(value.trim()))
    }

    fn number(self, key: &str) -> Option<u8> {
        self.get(key)?.parse().ok()
    }
}

impl FeedbackKinds {
    /// Add what follows the payload type of an `a=rtcp-fb` line; what we do not speak is ignored.
    fn add(&mut self, text: &str) {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("nack"), None) => self.nack = true,
            (Some("nack"), Some("pli")) => self.pli = true,
            (Some("ccm"), Some("fir")) => self.fir = true,
            (Some("transport-cc"), None) => self.transport_cc = true,
            (Some("goog-remb"), None) => self.remb = true,
            _ => {}
        }
    }

    /// What either has.
    pub(super) fn union(self, other: Self) -> Self {
        Self {
            nack: self.nack | other.nack,
            pli: self.pli | other.pli,
            fir: self.fir | other.fir,
            transport_cc: self.transport_cc | other.transport_cc,
            remb: self.remb | other.remb,
        }
    }
}

impl Codec {
    /// Retransmission is for video; lost audio is concealed or recovered by Opus FEC.
    const fn has_rtx(self) -> bool {
        !matches!(self, Self::Opus)
    }
}

impl Payload {
    /// H.264 that any decoder plays: baseline profile with constraint_set1 (profile-iop 0x40).
    pub(super) const fn is_constrained_baseline(&self) -> bool {
        matches!(
            self.format,
            Format::H264 { profile_level_id: Some(id) } if id >> 16 == 0x42 && id >> 8 & 0x40 != 0
        )
    }
}
