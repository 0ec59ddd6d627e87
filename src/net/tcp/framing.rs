//! RFC 4571 framing: each datagram behind its length in two bytes, big-endian. Pure.

/// The length in front of a datagram.
pub const HEADER: usize = 2;

/// The largest datagram a peer may send.
///
/// Trade: what WebRTC sends fits in a UDP datagram of an Ethernet frame (1472 bytes); the rest is room
/// for stacks that know a larger path. It bounds what a connection can make us keep, and ends most
/// foreign protocols at their first two bytes ("GE" of HTTP would be 18 245, a TLS hello 5635).
pub const MAX_FRAME: usize = 2048;

/// A length above [`MAX_FRAME`]: nothing behind it can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// The length of the datagram that `bytes` begin with, as far as they tell.
///
/// # Errors
/// [`TooLarge`], as soon as two bytes are there.
pub fn announced(bytes: &[u8]) -> Result<Option<usize>, TooLarge> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    match usize::from(u16::from_be_bytes(*header)) {
        len if len > MAX_FRAME => Err(TooLarge),
        len => Ok(Some(len)),
    }
}

/// Give every whole datagram at the front of `bytes` to `each`, in place and in order, and return how
/// many bytes they took. What is left is the beginning of one, at most [`HEADER`] + [`MAX_FRAME`] - 1
/// bytes. Datagrams without a byte are passed over: RFC 4571 2 lets peers send them, for nothing.
///
/// # Errors
/// [`TooLarge`], after the datagrams before it.
pub fn split(bytes: &mut [u8], mut each: impl FnMut(&mut [u8])) -> Result<usize, TooLarge> {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..)
        && let Some(len) = announced(rest)?
        && let Some(datagram) = rest.get_mut(HEADER..HEADER + len)
    {
        if len > 0 {
            each(datagram);
        }
        at += HEADER + len;
    }
    Ok(at)
}

/// Append `bytes`, cut into datagrams of `segment` bytes (the last may be shorter), each framed. Returns
/// how many there are. Nothing is appended for a segment that no length can say.
pub fn frame(out: &mut Vec<u8>, bytes: &[u8], segment: usize) -> usize {
    if segment == 0 || segment > usize::from(u16::MAX) {
        debug_assert!(bytes.is_empty(), "a datagram of {segment} bytes");
        return 0;
    }
    let mut datagrams = 0;
    for datagram in bytes.chunks(segment) {
        out.extend_from_slice(&(datagram.len() as u16).to_be_bytes());
        out.extend_from_slice(datagram);
        datagrams += 1;
    }
    datagrams
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc_shared::tcp_framing::{TcpFrameDecoder, frame_packet};

    use super::*;

    /// Everything whole in `bytes`, cut at `cuts` as a network would, and what is left at the end.
    fn received(bytes: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Vec<u8>, Result<(), TooLarge>) {
        let (mut datagrams, mut kept, mut at) = (Vec::new(), Vec::new(), 0);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            let cut = cut.clamp(at, bytes.len());
            kept.extend_from_slice(&bytes[at..cut]);
            at = cut;
            match split(&mut kept, |datagram| datagrams.push(datagram.to_vec())) {
                Ok(taken) => drop(kept.drain(..taken)),
                // Nothing behind it has a meaning.
                Err(error) => return (datagrams, Vec::new(), Err(error)),
            }
            assert!(kept.len() < HEADER + MAX_FRAME);
        }
        (datagrams, kept, Ok(()))
    }

    proptest! {
        /// Whatever is framed comes out again however the stream is cut, as the independent decoder
        /// says too.
        #[test]
        fn what_is_framed_is_split(
            message in proptest::collection::vec(any::<u8>(), 1..9000),
            segment in 1usize..=MAX_FRAME,
            mut cuts in proptest::collection::vec(0usize..9100, 0..12),
        ) {
            let mut framed = Vec::new();
            let datagrams = frame(&mut framed, &message, segment);
            let expected: Vec<Vec<u8>> = message.chunks(segment).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(datagrams, expected.len());
            let theirs: Vec<u8> = expected.iter().flat_map(|part| frame_packet(part)).collect();
            prop_assert_eq!(&framed, &theirs);
            let mut decoder = TcpFrameDecoder::new();
            decoder.extend_from_slice(&framed);
            let decoded: Vec<Vec<u8>> =
                std::iter::from_fn(|| decoder.next_packet().map(|packet| packet.to_vec())).collect();
            prop_assert_eq!(&decoded, &expected);
            cuts.sort_unstable();
            let (got, kept, end) = received(&framed, &cuts);
            prop_assert_eq!((got, kept, end), (expected, Vec::new(), Ok(())));
        }

        /// Any bytes are either datagrams up to a limit or refused, without a panic, and the same
        /// however they are cut.
        #[test]
        fn any_bytes_are_split_alike_however_they_come(
            bytes in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..4000),
            mut cuts in proptest::collection::vec(0usize..4000, 0..12),
        ) {
            cuts.sort_unstable();
            let whole = received(&bytes, &[]);
            prop_assert_eq!(&received(&bytes, &cuts), &whole);
            prop_assert!(whole.0.iter().all(|datagram| (1..=MAX_FRAME).contains(&datagram.len())));
        }
    }

    #[test]
    fn the_largest_datagram_passes_and_one_byte_more_does_not() {
        let mut framed = Vec::new();
        assert_eq!(frame(&mut framed, &[7; MAX_FRAME], MAX_FRAME), 1);
        assert_eq!(received(&framed, &[]).0, [vec![7; MAX_FRAME]]);
        let mut framed = vec![0, 1, 9];
        assert_eq!(frame(&mut framed, &[7; MAX_FRAME + 1], MAX_FRAME + 1), 1);
        let (datagrams, _, end) = received(&framed, &[]);
        assert_eq!((datagrams, end), (vec![vec![9]], Err(TooLarge)), "what came before is taken");
        // Said by two bytes, before anything is kept.
        assert_eq!(announced(&framed[3..5]), Err(TooLarge));
        assert_eq!(announced(b"GET / HTTP/1.1\r\n"), Err(TooLarge));
        assert_eq!(announced(&[0x16, 0x03, 0x01, 0x02, 0x00]), Err(TooLarge));
    }

    #[test]
    fn datagrams_without_a_byte_are_passed_over() {
        let (datagrams, kept, end) = received(&[0, 0, 0, 0, 0, 1, 5, 0, 0, 0], &[]);
        assert_eq!((datagrams, kept, end), (vec![vec![5]], vec![0], Ok(())));
    }
}
