//! Writing RTCP: each function appends one packet to a buffer, so that calls in a row make a
//! compound packet. A count field has five bits (or eight): what does not fit is left out.

use crate::rtp::rtcp::{FullIntraRequest, ReportBlock, SenderInfo, format, packet_type};

pub use crate::rtp::rtcp::twcc_build::{FeedbackHeader, transport_feedback};

/// Most report blocks, chunks or sources in one packet.
pub const MAX_COUNT: usize = 31;
/// Longest SDES item or BYE reason in bytes.
const MAX_TEXT_LEN: usize = 255;
/// SDES item type of the canonical name.
const CNAME: u8 = 1;
/// Most (PID, BLP) pairs in one NACK. Trade: 1 KiB stays within a datagram; who misses more than
/// that is better served by a key frame.
const MAX_NACK_PAIRS: usize = 250;
/// Most SSRCs in one REMB.
const MAX_REMB_SSRCS: usize = 255;

/// A packet being written: its header is filled in at the end.
pub(super) struct Frame {
    start: usize,
}

impl Frame {
    pub(super) fn begin(out: &mut Vec<u8>, packet_type: u8, count: u8) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0x80 | (count & 0x1f), packet_type, 0, 0]);
        Self { start }
    }

    /// Set the length. The body is whole words.
    fn end(self, out: &mut [u8]) {
        let len = out.len() - self.start;
        debug_assert!(len.is_multiple_of(4), "an RTCP packet is whole words");
        let words = (len / 4 - 1) as u16;
        if let Some(place) = out.get_mut(self.start + 2..self.start + 4) {
            place.copy_from_slice(&words.to_be_bytes());
        }
    }

    /// Pad to whole words with RTCP padding (P bit), then set the length.
    pub(super) fn end_padded(self, out: &mut Vec<u8>) {
        let len = out.len() - self.start;
        let padding = len.next_multiple_of(4) - len;
        if padding > 0 {
            out.resize(out.len() + padding - 1, 0);
            out.push(padding as u8);
            if let Some(first) = out.get_mut(self.start) {
                *first |= 0x20;
            }
        }
        self.end(out);
    }
}

fn push_u32(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

/// Append a sender report with up to [`MAX_COUNT`] report blocks.
pub fn sender_report(out: &mut Vec<u8>, info: &SenderInfo, reports: &[ReportBlock]) {
    let reports = &reports[..reports.len().min(MAX_COUNT)];
    let frame = Frame::begin(out, packet_type::SENDER_REPORT, reports.len() as u8);
    push_u32(out, info.ssrc);
    out.extend_from_slice(&info.ntp.to_be_bytes());
    push_u32(out, info.rtp_timestamp);
    push_u32(out, info.packets);
    push_u32(out, info.octets);
    push_report_blocks(out, reports);
    frame.end(out);
}

/// Append a receiver report with up to [`MAX_COUNT`] report blocks; without any it is the shortest
/// packet a compound one may start with.
pub fn receiver_report(out: &mut Vec<u8>, ssrc: u32, reports: &[ReportBlock]) {
    let reports = &reports[..reports.len().min(MAX_COUNT)];
    let frame = Frame::begin(out, packet_type::RECEIVER_REPORT, reports.len() as u8);
    push_u32(out, ssrc);
    push_report_blocks(out, reports);
    frame.end(out);
}

fn push_report_blocks(out: &mut Vec<u8>, reports: &[ReportBlock]) {
    for report in reports {
        push_u32(out, report.ssrc);
        let lost = report.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff);
        let lost = lost.cast_unsigned() & 0xff_ffff;
        push_u32(out, (u32::from(report.fraction_lost) << 24) | lost);
        push_u32(out, report.highest_sequence);
        push_u32(out, report.jitter);
        push_u32(out, report.last_sr);
        push_u32(out, report.delay_since_last_sr);
    }
}

/// Append a source description with the canonical name of one source (cut after 255 bytes).
pub fn cname(out: &mut Vec<u8>, ssrc: u32, name: &str) {
    let name = &name.as_bytes()[..name.len().min(MAX_TEXT_LEN)];
    let frame = Frame::begin(out, packet_type::SOURCE_DESCRIPTION, 1);
    push_u32(out, ssrc);
    out.extend_from_slice(&[CNAME, name.len() as u8]);
    out.extend_from_slice(name);
    // One to four zeros: the end of the item list, then up to the next word.
    let used = out.len() - frame.start;
    out.resize(out.len() + 4 - used % 4, 0);
    frame.end(out);
}

/// Append a goodbye of up to [`MAX_COUNT`] sources.
pub fn goodbye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(MAX_COUNT)];
    let frame = Frame::begin(out, packet_type::GOODBYE, ssrcs.len() as u8);
    for &ssrc in ssrcs {
        push_u32(out, ssrc);
    }
    frame.end(out);
}

/// Append a picture loss indication for `media_ssrc`.
pub fn picture_loss(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32) {
    let frame = Frame::begin(out, packet_type::PAYLOAD_FEEDBACK, format::PLI);
    push_u32(out, sender_ssrc);
    push_u32(out, media_ssrc);
    frame.end(out);
}

/// Append full intra requests for up to [`MAX_COUNT`] streams.
pub fn full_intra(out: &mut Vec<u8>, sender_ssrc: u32, requests: &[FullIntraRequest]) {
    let frame = Frame::begin(out, packet_type::PAYLOAD_FEEDBACK, format::FIR);
    push_u32(out, sender_ssrc);
    push_u32(out, 0);
    for request in requests.iter().take(MAX_COUNT) {
        push_u32(out, request.ssrc);
        push_u32(out, u32::from(request.sequence) << 24);
    }
    frame.end(out);
}

/// Append a NACK for `lost`, ascending (wrapping) sequence numbers; duplicates are harmless.
/// Nothing is appended for an empty list; a list that needs more than 250 pairs is cut.
pub fn nack(
    out: &mut Vec<u8>,
    sender_ssrc: u32,
    media_ssrc: u32,
    lost: impl IntoIterator<Item = u16>,
) {
    let mut lost = lost.into_iter();
    let Some(mut pid) = lost.next() else { return };
    let frame = Frame::begin(out, packet_type::TRANSPORT_FEEDBACK, format::NACK);
    push_u32(out, sender_ssrc);
    push_u32(out, media_ssrc);
    let mut blp = 0;
    let mut pairs = 1;
    for sequence in lost {
        match sequence.wrapping_sub(pid) {
            0 => {}
            distance @ 1..=16 => blp |= 1 << (distance - 1),
            _ if pairs == MAX_NACK_PAIRS => break,
            _ => {
                pairs += 1;
                push_u32(out, (u32::from(pid) << 16) | blp);
                (pid, blp) = (sequence, 0);
            }
        }
    }
    push_u32(out, (u32::from(pid) << 16) | blp);
    frame.end(out);
}

/// Append a REMB of `bitrate_bps` (rounded down to 18 significant bits) for up to 255 streams.
pub fn remb(out: &mut Vec<u8>, sender_ssrc: u32, bitrate_bps: u64, ssrcs: &[u32]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(MAX_REMB_SSRCS)];
    let exponent = (64 - bitrate_bps.leading_zeros()).saturating_sub(18);
    let mantissa = (bitrate_bps >> exponent) as u32;
    let frame = Frame::begin(out, packet_type::PAYLOAD_FEEDBACK, format::APPLICATION);
    push_u32(out, sender_ssrc);
    push_u32(out, 0);
    out.extend_from_slice(b"REMB");
    push_u32(out, ((ssrcs.len() as u32) << 24) | (exponent << 18) | mantissa);
    for &ssrc in ssrcs {
        push_u32(out, ssrc);
    }
    frame.end(out);
}
