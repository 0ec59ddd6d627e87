//! A look at the chunks of a decrypted SCTP packet (RFC 9260) before the engine sees them.
//!
//! `rtc-sctp` 0.21.1 makes a stream for any id, makes an association for every repeated INIT, walks
//! a FORWARD-TSN one number at a time (2^31 steps for one packet) and keeps every reset request.
//! It panics at an error cause that is cut, and takes the length of a chunk from what it understood
//! of it instead of from its header, so that a bent chunk can hide others. All of that takes a peer
//! with keys, and is refused here: what passes has exactly the form the engine expects.

const COMMON_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const HEARTBEAT: u8 = 4;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;
const RE_CONFIG: u8 = 130;
const FORWARD_TSN: u8 = 192;

const OUTGOING_RESET: u16 = 13;
const RECONFIG_RESPONSE: u16 = 16;

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
        let value = &chunk[CHUNK_HEADER..];
        let last = chunks.len() == len.next_multiple_of(4) || chunks.len() == len;
        let fine = match chunk[0] {
            DATA => len > 16 && be16(chunk, 8)? < STREAMS && near(be32(chunk, 4)?),
            FORWARD_TSN => len % 4 == 0 && near(be32(chunk, 4)?),
            SACK => {
                let blocks = usize::from(be16(chunk, 12)?) + usize::from(be16(chunk, 14)?);
                value.len() == 12 + 4 * blocks
            }
            INIT if first && last => {
                scan.init = Some((be32(chunk, 4)?, be32(chunk, 16)?));
                items(&chunk[20..]).is_some()
            }
            INIT_ACK => first && last && items(value.get(16..)?).is_some(),
            HEARTBEAT => be16(value, 2).map(usize::from) == Some(value.len()),
            // One cause at most: the engine does not skip the padding between them.
            ABORT | ERROR => {
                let whole = be16(value, 2).map(usize::from) == Some(value.len());
                last && (value.is_empty() || whole)
            }
            RE_CONFIG => {
                scan.reconfigs += 1;
                items(value).is_some_and(is_reset)
            }
            COOKIE_ECHO => true,
            COOKIE_ACK | SHUTDOWN_ACK | SHUTDOWN_COMPLETE => value.is_empty(),
            SHUTDOWN => value.len() == 4,
            _ => false,
        };
        if !fine {
            return None;
        }
        first = false;
        chunks = chunks.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    (!first).then_some(scan)
}

/// The type and length of the first two items and their number; `None` if one is cut.
type Items = ([(u16, usize); 2], usize);

fn items(mut bytes: &[u8]) -> Option<Items> {
    let (mut known, mut count) = ([(0, 0); 2], 0);
    while !bytes.is_empty() {
        let (kind, len) = (be16(bytes, 0)?, usize::from(be16(bytes, 2)?));
        if len < 4 || len > bytes.len() {
            return None;
        }
        if let Some(slot) = known.get_mut(count) {
            *slot = (kind, len);
        }
        count += 1;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Some((known, count))
}

/// Whether a RE-CONFIG chunk holds one or two stream resets or responses (RFC 6525).
fn is_reset((known, count): Items) -> bool {
    let fine = |(kind, len): (u16, usize)| match kind {
        OUTGOING_RESET => len >= 16 && len % 2 == 0,
        RECONFIG_RESPONSE => len == 12,
        _ => false,
    };
    (1..=2).contains(&count) && known.into_iter().take(count).all(fine)
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
