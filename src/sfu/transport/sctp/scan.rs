//! A look at the chunks of a decrypted SCTP packet (RFC 9260) before the engine sees them.
//!
//! `rtc-sctp` 0.21.1 makes a stream for any id, makes an association for every repeated INIT, walks
//! a FORWARD-TSN one number at a time (2^31 steps for one packet) and keeps every reset request.
//! All of that takes a peer with keys, and is refused here.

const COMMON_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;

const DATA: u8 = 0;
const INIT: u8 = 1;
const SACK: u8 = 3;
const RE_CONFIG: u8 = 130;
const FORWARD_TSN: u8 = 192;

/// Streams that exist: the discriminants of [`signaling::media::Channel`].
pub(super) const STREAMS: u16 = 3;

/// How far past the cumulative acknowledgement a peer may number. Trade: 128 KiB of receive buffer
/// in one-byte messages would need more, real clients need a hundredth.
const MAX_AHEAD: i32 = 8192;

/// What a packet holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    /// The initiate tag and first TSN, if the first chunk is an INIT.
    pub(super) init: Option<(u32, u32)>,
    /// Reset requests and other re-configuration chunks.
    pub(super) reconfigs: u32,
}

/// Check a packet; `acknowledged` is the last cumulative TSN we acknowledged, if any.
///
/// `None` = malformed, an unknown stream, an empty DATA chunk or a number out of reach.
pub(super) fn scan(packet: &[u8], acknowledged: Option<u32>) -> Option<Scan> {
    let mut scan = Scan::default();
    let mut chunks = packet.get(COMMON_HEADER..)?;
    let mut first = true;
    while !chunks.is_empty() {
        let len = usize::from(be16(chunks, 2)?);
        let chunk = chunks.get(..len).filter(|chunk| chunk.len() >= CHUNK_HEADER)?;
        let near = |tsn: u32| {
            acknowledged.is_none_or(|acked| (tsn.wrapping_sub(acked) as i32) <= MAX_AHEAD)
        };
        let fine = match chunk[0] {
            DATA => len > 16 && be16(chunk, 8)? < STREAMS && near(be32(chunk, 4)?),
            FORWARD_TSN => near(be32(chunk, 4)?),
            INIT if first => {
                scan.init = Some((be32(chunk, 4)?, be32(chunk, 16)?));
                true
            }
            INIT => false,
            RE_CONFIG => {
                scan.reconfigs += 1;
                true
            }
            _ => true,
        };
        if !fine {
            return None;
        }
        first = false;
        chunks = chunks.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    (!first).then_some(scan)
}

/// The cumulative TSN of a SACK we send in `packet`.
pub(super) fn acknowledged(packet: &[u8]) -> Option<u32> {
    let mut chunks = packet.get(COMMON_HEADER..)?;
    while let (Some(&kind), Some(len)) = (chunks.first(), be16(chunks, 2)) {
        if kind == SACK {
            return be32(chunks, 4);
        }
        chunks = chunks.get(usize::from(len).max(CHUNK_HEADER).next_multiple_of(4)..)?;
    }
    None
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(chunks: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0; COMMON_HEADER];
        chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
        out
    }

    fn data(stream: u8, tsn: u32) -> Vec<u8> {
        let mut out = vec![DATA, 3, 0, 20];
        out.extend_from_slice(&tsn.to_be_bytes());
        out.extend_from_slice(&[0, stream, 0, 0, 0, 0, 0, 51, b'a', b'b', b'c', b'd']);
        out
    }

    #[test]
    fn only_three_streams() {
        for stream in 0..3 {
            assert!(scan(&packet(&[&data(stream, 1)]), Some(0)).is_some());
        }
        assert!(scan(&packet(&[&data(3, 1)]), Some(0)).is_none());
    }

    #[test]
    fn numbers_out_of_reach_are_refused() {
        let forward = |tsn: u32| {
            let mut out = vec![FORWARD_TSN, 0, 0, 8];
            out.extend_from_slice(&tsn.to_be_bytes());
            packet(&[&out])
        };
        let acked = Some(u32::MAX - 10);
        assert!(scan(&forward(100), acked).is_some());
        assert!(scan(&forward(1 << 30), acked).is_none());
        assert!(scan(&packet(&[&data(0, 9000)]), Some(1)).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&bytes, Some(7));
            let _ = acknowledged(&bytes);
        }
    }
}
