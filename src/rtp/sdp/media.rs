//! What else an m-line says: direction, header extensions, SSRCs.

use super::SdpError;
use super::parse::{Description, Section, values};
use super::payloads::Payload;
use crate::rtp::track::{Codec, ExtensionIds, MAX_LAYERS};
use signaling::media::MediaKind;

/// Direction of an m-line (RFC 8866).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(super) fn of(description: &Description<'_>, section: &Section<'_>) -> Self {
        let named = |name: &str| match name {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        };
        let mut attributes = section.attributes.iter().chain(&description.attributes);
        attributes.find_map(|attribute| named(attribute.name)).unwrap_or(Self::SendRecv)
    }

    pub(super) const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    pub(super) const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// Audio or video over RTP, not rejected; everything else is answered away.
pub(super) fn usable_kind(section: &Section<'_>) -> Option<MediaKind> {
    if section.is_rejected() || !section.is_rtp() {
        return None;
    }
    match section.kind {
        "audio" => Some(MediaKind::Audio),
        "video" => Some(MediaKind::Video),
        _ => None,
    }
}

/// URIs of the header extensions we read.
pub(super) mod uri {
    pub(in super::super) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
    pub(in super::super) const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    pub(in super::super) const REPAIRED_RID: &str =
        "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
    pub(in super::super) const TRANSPORT_CC: &str =
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    pub(in super::super) const DEPENDENCY: &str =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    pub(in super::super) const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
}

/// The ids (1-14, the one-byte form of RFC 8285) of the extensions we read and the peer sends. An
/// id used twice in one m-line counts for the first.
pub(super) fn extension_ids(description: &Description<'_>, section: &Section<'_>) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    let mut used = [false; 15];
    for (id, direction, name) in extmaps(description, section) {
        if !matches!(direction, "sendrecv" | "sendonly") {
            continue;
        }
        let field = match name {
            uri::MID => &mut ids.mid,
            uri::RID => &mut ids.rid,
            uri::REPAIRED_RID => &mut ids.repaired_rid,
            uri::TRANSPORT_CC => &mut ids.transport_cc,
            uri::AUDIO_LEVEL => &mut ids.audio_level,
            uri::DEPENDENCY => &mut ids.dependency,
            _ => continue,
        };
        let Some(used) = used.get_mut(usize::from(id)).filter(|used| !**used) else { continue };
        if field.is_none() {
            *field = Some(id);
            *used = true;
        }
    }
    ids
}

/// The extensions of an m-line and of its session: id (1-14), direction, URI.
fn extmaps<'s, 'a: 's>(
    description: &'s Description<'a>,
    section: &'s Section<'a>,
) -> impl Iterator<Item = (u8, &'a str, &'a str)> + 's {
    let lines =
        values(&section.attributes, "extmap").chain(values(&description.attributes, "extmap"));
    lines.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (id, name) = (words.next()?, words.next()?);
        let (id, direction) = id.split_once('/').unwrap_or((id, "sendrecv"));
        let id = id.parse().ok().filter(|id| (1..=14).contains(id))?;
        Some((id, direction, name))
    })
}

/// The id under which a receiver of this m-line takes the extension of this name.
fn taken_id(description: &Description<'_>, section: &Section<'_>, uri: &str) -> Option<u8> {
    let taken = |(_, direction, name): &(u8, &str, &str)| {
        *name == uri && matches!(*direction, "sendrecv" | "recvonly")
    };
    extmaps(description, section).find(taken).map(|(id, ..)| id)
}

/// The id under which a receiver of this m-line wants transport-wide numbers; `None` unless it reports, for
/// one of `payloads` at least, what of them arrives.
pub(super) fn reported_id(
    description: &Description<'_>,
    section: &Section<'_>,
    payloads: &[Payload],
) -> Option<u8> {
    let reports = payloads.iter().any(|payload| payload.feedback.transport_cc);
    taken_id(description, section, uri::TRANSPORT_CC).filter(|_| reports)
}

/// The id under which a receiver of this m-line reads dependency descriptors; `None` unless it takes AV1, which alone is sent
/// with them, and both forms of header extensions in one stream: a key frame's templates are longer than the one-byte form can
/// carry (RFC 8285 4.1.2, 6).
pub(super) fn described_id(
    description: &Description<'_>,
    section: &Section<'_>,
    payloads: &[Payload],
) -> Option<u8> {
    let av1 = payloads.iter().any(|payload| payload.parameters.codec == Codec::Av1);
    let mixed = description.value(section, "extmap-allow-mixed").is_some();
    taken_id(description, section, uri::DEPENDENCY).filter(|_| av1 && mixed)
}

/// The rids that an m-line offers to send at once (RFC 8853), the first of each list of alternatives, at
/// most [`MAX_LAYERS`]; a single one is no simulcast. Each must have its `a=rid:... send` line.
pub(super) fn simulcast_rids<'a>(section: &Section<'a>) -> Vec<&'a str> {
    let declared: Vec<&str> = values(&section.attributes, "rid")
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let rid = words.next().filter(|rid| is_rid(rid))?;
            (words.next() == Some("send")).then_some(rid)
        })
        .collect();
    let mut rids: Vec<&str> = Vec::new();
    for line in values(&section.attributes, "simulcast").take(1) {
        let mut words = line.split_ascii_whitespace();
        let sent = words.find(|word| *word == "send").and_then(|_| words.next()).unwrap_or("");
        for layer in sent.split(';') {
            // A layer that starts paused is marked by a tilde.
            let rid = layer.split(',').next().unwrap_or("").trim_start_matches('~');
            if declared.contains(&rid) && !rids.contains(&rid) && rids.len() < MAX_LAYERS {
                rids.push(rid);
            }
        }
    }
    if rids.len() > 1 { rids } else { Vec::new() }
}

/// `rid-id` of RFC 8851, bounded by the one-byte form of the header extension.
fn is_rid(text: &str) -> bool {
    (1..=16).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The first SSRC an m-line announces and its RTX: from the first `FID` group, else the first
/// `a=ssrc` line. Further ones are simulcast layers by SSRC, which the answer has no word for.
pub(super) fn ssrcs(section: &Section<'_>) -> (Option<u32>, Option<u32>) {
    let number = |text: &str| text.parse().ok().filter(|ssrc| *ssrc != 0);
    let group = values(&section.attributes, "ssrc-group").find_map(|value| {
        let mut words = value.split_ascii_whitespace();
        if words.next() != Some("FID") {
            return None;
        }
        let primary = words.next().and_then(number)?;
        Some((primary, words.next().and_then(number).filter(|rtx| *rtx != primary)))
    });
    if let Some((primary, rtx)) = group {
        return (Some(primary), rtx);
    }
    let first = values(&section.attributes, "ssrc")
        .find_map(|value| value.split_ascii_whitespace().next().and_then(number));
    (first, None)
}

/// Refuse an offer whose usable m-lines (more than one) are not in one BUNDLE group: we have one
/// transport for them all.
pub(super) fn check_bundle(
    description: &Description<'_>,
    usable: &[&Section<'_>],
) -> Result<(), SdpError> {
    if usable.len() < 2 {
        return Ok(());
    }
    let bundle = description.bundle().ok_or(SdpError::NotBundled)?;
    for section in usable {
        let mid = section.mid.ok_or(SdpError::MissingMid)?;
        if !bundle.contains(&mid) {
            return Err(SdpError::NotBundled);
        }
    }
    Ok(())
}

/// The section whose transport attributes count for all: the first usable one in the order of
/// the BUNDLE group that is not `bundle-only` with port 0.
pub(super) fn tagged<'s, 'a>(
    description: &Description<'a>,
    usable: &[&'s Section<'a>],
) -> Option<&'s Section<'a>> {
    let bundle = description.bundle().unwrap_or_default();
    let position = |section: &Section<'a>| {
        let place = bundle.iter().position(|mid| Some(*mid) == section.mid);
        (section.port == 0, place.unwrap_or(usize::MAX))
    };
    usable.iter().copied().min_by_key(|section| position(section))
}

/// `a=rtcp-mux` on every usable section (a bundle-only one may rely on the tagged one).
pub(super) fn check_rtcp_mux(
    description: &Description<'_>,
    usable: &[&Section<'_>],
) -> Result<(), SdpError> {
    let muxed = |section: &&Section<'_>| {
        section.port == 0 || description.value(section, "rtcp-mux").is_some()
    };
    if usable.iter().all(muxed) { Ok(()) } else { Err(SdpError::NoRtcpMux) }
}
