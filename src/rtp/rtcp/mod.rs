//! RTCP (RFC 3550 section 6, RFC 4585, RFC 5104, REMB, transport-wide feedback): [`packets`] walks a
//! datagram without allocating, [`build`] appends packets to a buffer. Compound (RFC 3550) and
//! reduced-size (RFC 5506) datagrams are the same to both.

pub mod build;
mod parse;
mod twcc;
mod twcc_build;

pub use parse::{
    Compound, FullIntra, Goodbye, Nack, Packet, Remb, ReportBlocks, SenderReport, Words, packets,
};
pub use twcc::{Arrivals, FeedbackStatus, Statuses, TransportFeedback};

/// Packet types (RFC 5761's range is 192-223).
pub(crate) mod packet_type {
    pub(crate) const SENDER_REPORT: u8 = 200;
    pub(crate) const RECEIVER_REPORT: u8 = 201;
    pub(crate) const SOURCE_DESCRIPTION: u8 = 202;
    pub(crate) const GOODBYE: u8 = 203;
    pub(crate) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(crate) const PAYLOAD_FEEDBACK: u8 = 206;
}

/// Feedback message types: of packet type 205, then of 206.
pub(crate) mod format {
    pub(crate) const NACK: u8 = 1;
    pub(crate) const TRANSPORT_CC: u8 = 15;
    pub(crate) const PLI: u8 = 1;
    pub(crate) const FIR: u8 = 4;
    pub(crate) const APPLICATION: u8 = 15;
}

/// One source's reception report (RFC 3550 6.4.1), as sent by a receiver of that source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Loss since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start, 24 bits on the wire (clamped); negative with duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with its count of wraps in the upper 16 bits.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time; 0 = none received.
    pub last_sr: u32,
    /// Time since that report, in 1/65536 s; 0 = none received.
    pub delay_since_last_sr: u32,
}

/// The sender's part of a sender report (RFC 3550 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// The source that sends it.
    pub ssrc: u32,
    /// NTP time: seconds since 1900 in the upper 32 bits, fraction in the lower.
    pub ntp: u64,
    /// The same instant on the RTP clock.
    pub rtp_timestamp: u32,
    /// RTP packets sent, wrapping.
    pub packets: u32,
    /// Payload octets sent, wrapping.
    pub octets: u32,
}

/// One request of a FIR packet (RFC 5104 4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullIntraRequest {
    /// The stream asked for a key frame.
    pub ssrc: u32,
    /// Counts requests; a repeat of a request keeps its number.
    pub sequence: u8,
}

/// A big-endian two's complement number of 24 bits.
const fn signed_24([high, middle, low]: [u8; 3]) -> i32 {
    i32::from_be_bytes([high, middle, low, 0]) >> 8
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twcc_tests;
