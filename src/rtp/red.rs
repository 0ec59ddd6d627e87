//! Redundant audio (RFC 2198), as browsers send Opus in it: the newest sound, the *primary* block, is the last of a
//! payload; the blocks before it repeat what earlier packets had.

use crate::rtp::error::RtpError;

/// Blocks of one payload. Trade: libwebrtc sends two and reads at most 32, and each more is a header that must be
/// walked.
pub const MAX_BLOCKS: usize = 32;
/// The F bit: another block follows.
const FOLLOWS: u8 = 0x80;
/// Bytes of a header behind which another follows: F and payload type, 14 bits of timestamp offset, 10 of length.
const HEADER_LEN: usize = 4;
/// Bytes of the last header, whose block ends with the payload.
const LAST_HEADER_LEN: usize = 1;

/// Where the primary block of a RED payload begins: all blocks must be of `payload_type`, and it must not be empty. What
/// lies from there to the end is what the sender would have sent without RED.
///
/// # Errors
/// `RedMalformed`: headers or blocks go past the end, there are more than [`MAX_BLOCKS`], or one is of another codec;
/// `EmptyPayload`: nothing in the primary block.
pub fn primary(payload: &[u8], payload_type: u8) -> Result<usize, RtpError> {
    let mut header = payload;
    let mut redundant = 0;
    for blocks in 0..MAX_BLOCKS {
        let (&first, _) = header.split_first().ok_or(RtpError::RedMalformed)?;
        if first & !FOLLOWS != payload_type {
            return Err(RtpError::RedMalformed);
        }
        if first & FOLLOWS == 0 {
            let start = blocks * HEADER_LEN + LAST_HEADER_LEN + redundant;
            return match payload.len().checked_sub(start) {
                None => Err(RtpError::RedMalformed),
                Some(0) => Err(RtpError::EmptyPayload),
                Some(_) => Ok(start),
            };
        }
        let ([_, _, high, low], rest) =
            header.split_first_chunk::<HEADER_LEN>().ok_or(RtpError::RedMalformed)?;
        redundant += usize::from(u16::from_be_bytes([high & 0x03, *low]));
        header = rest;
    }
    Err(RtpError::RedMalformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPUS: u8 = 111;

    /// A RED payload of these blocks, the primary last.
    fn red(blocks: &[Vec<u8>]) -> Vec<u8> {
        let (primary, redundant) = blocks.split_last().expect("a block");
        let mut payload = Vec::new();
        for (i, block) in redundant.iter().enumerate() {
            let offset = 960 * (redundant.len() - i) as u32;
            let word =
                u32::from(FOLLOWS | OPUS) << 24 | (offset & 0x3fff) << 10 | block.len() as u32;
            payload.extend_from_slice(&word.to_be_bytes());
        }
        payload.push(OPUS);
        redundant.iter().for_each(|block| payload.extend_from_slice(block));
        payload.extend_from_slice(primary);
        payload
    }

    #[test]
    fn the_first_packet_of_a_stream_has_one_block() {
        assert_eq!(primary(&[OPUS, 1, 2], OPUS), Ok(1));
    }

    #[test]
    fn chromium_repeats_the_packet_before() {
        // 960 ticks ago, three bytes.
        let payload = [0xef, 0x0f, 0x00, 3, 0x6f, 7, 7, 7, 8, 8];
        assert_eq!(primary(&payload, OPUS), Ok(8));
        assert_eq!(red(&[vec![7; 3], vec![8; 2]]), payload);
    }

    #[test]
    fn what_is_wrong_is_refused_by_name() {
        let malformed = Err(RtpError::RedMalformed);
        let cases: [(&[u8], _); 8] = [
            (&[], malformed),
            (&[OPUS], Err(RtpError::EmptyPayload)),
            (&[0xef, 0x0f], malformed),
            (&[0xef, 0x0f, 0x00, 3], malformed),
            (&[0xef, 0x0f, 0x00, 3, 0x6f, 7, 7], malformed),
            (&[0xef, 0x0f, 0x00, 3, 0x6f, 7, 7, 7], Err(RtpError::EmptyPayload)),
            (&[0xe0, 0x0f, 0x00, 1, 0x6f, 7, 8], malformed),
            (&[0xef, 0x0f, 0x00, 1, 0x60, 7, 8], malformed),
        ];
        for (payload, expected) in cases {
            assert_eq!(primary(payload, OPUS), expected, "{payload:x?}");
        }
    }

    #[test]
    fn so_many_blocks_and_not_one_more() {
        let most = red(&vec![vec![5]; MAX_BLOCKS]);
        assert_eq!(primary(&most, OPUS), Ok(most.len() - 1));
        assert_eq!(
            primary(&red(&vec![vec![5]; MAX_BLOCKS + 1]), OPUS),
            Err(RtpError::RedMalformed)
        );
    }

    fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let redundant = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1024), 0..5);
        (redundant, prop::collection::vec(any::<u8>(), 1..1024)).prop_map(|(mut all, primary)| {
            all.push(primary);
            all
        })
    }

    proptest! {
        #[test]
        fn the_primary_block_comes_out_as_it_went_in(blocks in blocks()) {
            let payload = red(&blocks);
            let start = primary(&payload, OPUS).expect("written here");
            prop_assert_eq!(&payload[start..], &blocks[blocks.len() - 1][..]);
        }

        #[test]
        fn a_payload_cut_anywhere_before_its_primary_block_is_refused(blocks in blocks(), cut in any::<prop::sample::Index>()) {
            let payload = red(&blocks);
            let start = primary(&payload, OPUS).expect("written here");
            prop_assert!(primary(&payload[..cut.index(start + 1)], OPUS).is_err());
        }

        #[test]
        fn any_bytes_are_refused_or_leave_something(bytes in prop::collection::vec(any::<u8>(), 0..64), fits in any::<bool>()) {
            let mut bytes = bytes;
            if fits && let Some(first) = bytes.first_mut() {
                *first = OPUS | *first & FOLLOWS;
            }
            if let Ok(start) = primary(&bytes, OPUS) {
                prop_assert!((1..bytes.len()).contains(&start));
            }
        }
    }
}
