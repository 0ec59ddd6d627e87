//! What a TCP connection says, however the network cuts it (RFC 4571).

use greenroom::net::tcp::framing::{HEADER, MAX_FRAME, TooLarge, announced, frame, split};

use super::script::Script;

/// How long the pieces are that arrive, in turn; then the stream itself.
pub fn framing(data: &[u8]) {
    let mut script = Script(data);
    let sizes = script.block();
    let stream = script.0;
    let whole = received(stream, &[]);
    assert_eq!(received(stream, sizes), whole, "the cuts change what is read");
    let (datagrams, left, end) = whole;
    assert!(datagrams.iter().all(|datagram| (1..=MAX_FRAME).contains(&datagram.len())));
    // What was read, framed again, is what came, without the empty frames.
    let mut again = Vec::new();
    for datagram in &datagrams {
        assert_eq!(frame(&mut again, datagram, datagram.len()), 1);
    }
    again.extend_from_slice(&left);
    assert!(again.len() <= stream.len());
    let (once_more, ..) = received(&again, &[]);
    assert_eq!(once_more, datagrams);
    // What is left is the beginning of a datagram.
    let whole = announced(&left).ok().flatten().map(|len| HEADER + len);
    assert!(end.is_err() || whole.is_none_or(|len| len > left.len()));
}

type Received = (Vec<Vec<u8>>, Vec<u8>, Result<(), TooLarge>);

fn received(stream: &[u8], sizes: &[u8]) -> Received {
    let (mut datagrams, mut kept, mut rest) = (Vec::new(), Vec::new(), stream);
    let mut sizes = sizes.iter().map(|size| usize::from(*size) + 1).cycle();
    while !rest.is_empty() {
        let len = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, later) = rest.split_at(len);
        rest = later;
        kept.extend_from_slice(piece);
        match split(&mut kept, |datagram| datagrams.push(datagram.to_vec())) {
            Ok(taken) => drop(kept.drain(..taken)),
            Err(error) => return (datagrams, Vec::new(), Err(error)),
        }
        assert!(kept.len() < HEADER + MAX_FRAME, "more is kept than one datagram takes");
    }
    (datagrams, kept, Ok(()))
}
