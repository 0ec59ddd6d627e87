//! Reading RTCP: borrowed views, checked once, no allocation.

use crate::rtp::cursor::Cursor;
use crate::rtp::error::RtpError;
use crate::rtp::rtcp::twcc::TransportFeedback;
use crate::rtp::rtcp::{FullIntraRequest, ReportBlock, SenderInfo, format, packet_type, signed_24};

const REPORT_BLOCK_LEN: usize = 24;
const FIR_ENTRY_LEN: usize = 8;
const REMB_ID: [u8; 4] = *b"REMB";

/// Walk the RTCP packets of a datagram in order, reduced-size or compound.
///
/// A packet whose length field lies ends the walk with an error, since nothing behind it can be
/// found. One whose body lies is an error too, but the walk goes on behind it.
#[must_use]
pub const fn packets(datagram: &[u8]) -> Compound<'_> {
    Compound { rest: datagram }
}

/// The iterator of [`packets`].
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, RtpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Frame::split(self.rest) {
            Ok((frame, rest)) => {
                self.rest = rest;
                Some(frame.and_then(Frame::parse))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// One RTCP packet.
#[derive(Debug, Clone, Copy)]
pub enum Packet<'a> {
    /// What a sender sent, and what it received.
    SenderReport(SenderReport<'a>),
    /// What a receiver received.
    ReceiverReport {
        /// The receiver.
        ssrc: u32,
        /// Per source.
        reports: ReportBlocks<'a>,
    },
    /// CNAME and other names: bounds-checked, content ignored.
    SourceDescription,
    /// Sources that left.
    Goodbye(Goodbye<'a>),
    /// Lost packets, asked for again.
    Nack(Nack<'a>),
    /// A decoder needs a key frame.
    PictureLoss {
        /// Who asks.
        sender_ssrc: u32,
        /// The stream asked for.
        media_ssrc: u32,
    },
    /// Decoders need key frames (RFC 5104).
    FullIntra(FullIntra<'a>),
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).
    Remb(Remb<'a>),
    /// Transport-wide arrival times.
    TransportFeedback(TransportFeedback<'a>),
    /// XR, APP and whatever else there is: well-framed, not looked into.
    Other {
        /// Packet type, 192-223 if the demultiplexer saw it first.
        packet_type: u8,
        /// The five bits that are a count or a feedback format.
        format: u8,
    },
}

/// A packet cut out of the datagram: header fields and body without padding.
struct Frame<'a> {
    packet_type: u8,
    count: u8,
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first packet and the bytes behind it. The outer error ends the walk, the inner one is
    /// this packet's own.
    fn split(bytes: &'a [u8]) -> Result<(Result<Self, RtpError>, &'a [u8]), RtpError> {
        let mut cursor = Cursor::new(bytes, RtpError::RtcpCutShort);
        let [first, packet_type] = cursor.u16()?.to_be_bytes();
        if first >> 6 != 2 {
            return Err(RtpError::BadVersion);
        }
        let words = usize::from(cursor.u16()?);
        let body = cursor.take(words * 4)?;
        let body = if first & 0x20 == 0 { Ok(body) } else { without_padding(body) };
        let frame = body.map(|body| Self { packet_type, count: first & 0x1f, body });
        Ok((frame, cursor.rest()))
    }

    fn parse(self) -> Result<Packet<'a>, RtpError> {
        let body = Cursor::new(self.body, RtpError::RtcpBodyTooShort);
        let count = usize::from(self.count);
        match (self.packet_type, self.count) {
            (packet_type::SENDER_REPORT, _) => sender_report(body, count),
            (packet_type::RECEIVER_REPORT, _) => receiver_report(body, count),
            (packet_type::SOURCE_DESCRIPTION, _) => source_description(body, count),
            (packet_type::GOODBYE, _) => goodbye(body, count),
            (packet_type::TRANSPORT_FEEDBACK, format::NACK) => nack(body),
            (packet_type::TRANSPORT_FEEDBACK, format::TRANSPORT_CC) => {
                TransportFeedback::parse(body).map(Packet::TransportFeedback)
            }
            (packet_type::PAYLOAD_FEEDBACK, format::PLI) => picture_loss(body),
            (packet_type::PAYLOAD_FEEDBACK, format::FIR) => full_intra(body),
            (packet_type::PAYLOAD_FEEDBACK, format::APPLICATION) => remb(body),
            (packet_type, format) => Ok(Packet::Other { packet_type, format }),
        }
    }
}

fn without_padding(body: &[u8]) -> Result<&[u8], RtpError> {
    let count = usize::from(*body.last().ok_or(RtpError::BadPadding)?);
    let len = body.len().checked_sub(count).ok_or(RtpError::BadPadding)?;
    if count == 0 {
        return Err(RtpError::BadPadding);
    }
    body.get(..len).ok_or(RtpError::BadPadding)
}

/// A sender report.
#[derive(Debug, Clone, Copy)]
pub struct SenderReport<'a> {
    /// What it sent.
    pub info: SenderInfo,
    /// What it received, per source.
    pub reports: ReportBlocks<'a>,
}

/// The report blocks of an SR or RR.
#[derive(Debug, Clone, Copy)]
pub struct ReportBlocks<'a> {
    rest: &'a [u8],
}

impl<'a> ReportBlocks<'a> {
    fn parse(cursor: &mut Cursor<'a>, count: usize) -> Result<Self, RtpError> {
        // Behind the blocks may follow profile-specific extensions; nobody sends any.
        Ok(Self { rest: cursor.take(count * REPORT_BLOCK_LEN)? })
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.rest.split_first_chunk::<REPORT_BLOCK_LEN>()?;
        self.rest = rest;
        read_report_block(block).ok()
    }
}

fn read_report_block(block: &[u8]) -> Result<ReportBlock, RtpError> {
    let mut cursor = Cursor::new(block, RtpError::RtcpBodyTooShort);
    let ssrc = cursor.u32()?;
    let [fraction_lost, lost @ ..] = cursor.u32()?.to_be_bytes();
    Ok(ReportBlock {
        ssrc,
        fraction_lost,
        cumulative_lost: signed_24(lost),
        highest_sequence: cursor.u32()?,
        jitter: cursor.u32()?,
        last_sr: cursor.u32()?,
        delay_since_last_sr: cursor.u32()?,
    })
}

fn sender_report(mut body: Cursor<'_>, count: usize) -> Result<Packet<'_>, RtpError> {
    let info = SenderInfo {
        ssrc: body.u32()?,
        ntp: body.u64()?,
        rtp_timestamp: body.u32()?,
        packets: body.u32()?,
        octets: body.u32()?,
    };
    let reports = ReportBlocks::parse(&mut body, count)?;
    Ok(Packet::SenderReport(SenderReport { info, reports }))
}

fn receiver_report(mut body: Cursor<'_>, count: usize) -> Result<Packet<'_>, RtpError> {
    let ssrc = body.u32()?;
    let reports = ReportBlocks::parse(&mut body, count)?;
    Ok(Packet::ReceiverReport { ssrc, reports })
}

fn source_description(mut body: Cursor<'_>, chunks: usize) -> Result<Packet<'_>, RtpError> {
    for _ in 0..chunks {
        let start = body.position();
        body.u32()?;
        while body.u8()? != 0 {
            let len = usize::from(body.u8()?);
            body.take(len)?;
        }
        // The end marker is followed by more zeros up to the next word of the chunk.
        let used = body.position() - start;
        body.take(used.next_multiple_of(4) - used)?;
    }
    Ok(Packet::SourceDescription)
}

/// Sources that left.
#[derive(Debug, Clone, Copy)]
pub struct Goodbye<'a> {
    /// Their SSRCs.
    pub ssrcs: Words<'a>,
}

/// 32-bit numbers, such as a list of SSRCs.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    rest: &'a [u8],
}

impl Iterator for Words<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (word, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*word))
    }
}

fn goodbye(mut body: Cursor<'_>, count: usize) -> Result<Packet<'_>, RtpError> {
    let ssrcs = Words { rest: body.take(count * 4)? };
    Ok(Packet::Goodbye(Goodbye { ssrcs }))
}

/// A generic NACK (RFC 4585 6.2.1).
#[derive(Debug, Clone, Copy)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    /// The stream asked for.
    pub media_ssrc: u32,
    entries: &'a [u8],
}

impl<'a> Nack<'a> {
    /// (PID, BLP) as sent: a lost packet, and one bit for each of the 16 after it.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u16)> + use<'a> {
        let words = Words { rest: self.entries };
        words.map(|word| ((word >> 16) as u16, word as u16))
    }

    /// Every sequence number asked for, in the order of the packet, duplicates included. At most 17
    /// per four bytes of packet: budget before acting on it.
    pub fn lost(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.pairs().flat_map(|(pid, blp)| {
            let followers = (0..16).filter(move |bit| blp & (1 << bit) != 0);
            std::iter::once(pid).chain(followers.map(move |bit| pid.wrapping_add(bit + 1)))
        })
    }
}

fn nack(mut body: Cursor<'_>) -> Result<Packet<'_>, RtpError> {
    let sender_ssrc = body.u32()?;
    let media_ssrc = body.u32()?;
    Ok(Packet::Nack(Nack { sender_ssrc, media_ssrc, entries: body.rest() }))
}

fn picture_loss(mut body: Cursor<'_>) -> Result<Packet<'_>, RtpError> {
    Ok(Packet::PictureLoss { sender_ssrc: body.u32()?, media_ssrc: body.u32()? })
}

/// Full intra requests.
#[derive(Debug, Clone, Copy)]
pub struct FullIntra<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    entries: &'a [u8],
}

impl<'a> FullIntra<'a> {
    /// The streams asked for.
    pub fn requests(&self) -> impl Iterator<Item = FullIntraRequest> + use<'a> {
        self.entries.as_chunks::<FIR_ENTRY_LEN>().0.iter().map(|&[a, b, c, d, sequence, ..]| {
            FullIntraRequest { ssrc: u32::from_be_bytes([a, b, c, d]), sequence }
        })
    }
}

fn full_intra(mut body: Cursor<'_>) -> Result<Packet<'_>, RtpError> {
    let sender_ssrc = body.u32()?;
    // "SSRC of media source" is unused and 0; the streams are in the entries.
    body.u32()?;
    Ok(Packet::FullIntra(FullIntra { sender_ssrc, entries: body.rest() }))
}

/// Receiver estimated maximum bitrate.
#[derive(Debug, Clone, Copy)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: u32,
    /// Bits per second; saturates where the wire's exponent exceeds 64 bits.
    pub bitrate_bps: u64,
    /// The streams it covers together.
    pub ssrcs: Words<'a>,
}

fn remb(mut body: Cursor<'_>) -> Result<Packet<'_>, RtpError> {
    let sender_ssrc = body.u32()?;
    body.u32()?;
    if body.u32()?.to_be_bytes() != REMB_ID {
        let packet_type = packet_type::PAYLOAD_FEEDBACK;
        return Ok(Packet::Other { packet_type, format: format::APPLICATION });
    }
    let word = body.u32()?;
    let [count, ..] = word.to_be_bytes();
    let mantissa = u64::from(word & 0x3_ffff);
    let exponent = (word >> 18) & 0x3f;
    let bitrate_bps = if mantissa.leading_zeros() < exponent && mantissa != 0 {
        u64::MAX
    } else {
        mantissa.checked_shl(exponent).unwrap_or_default()
    };
    let ssrcs = Words { rest: body.take(usize::from(count) * 4)? };
    Ok(Packet::Remb(Remb { sender_ssrc, bitrate_bps, ssrcs }))
}
