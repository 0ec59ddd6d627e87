//! What a TCP connection says, however the network cuts it (RFC 4571).

use greenroom::net::tcp::framing::{HEADER, MAX_FRAME, TooLarge, announced, frame, split};
use greenroom::net::tcp::hello::{self, Start, start};

use super::script::Script;

/// How long the pieces are that arrive, in turn; then the stream itself, behind a hello of pseudo-TLS or not.
pub fn framing(data: &[u8]) {
    let mut script = Script(data);
    let sizes = script.block();
    let stream = script.0;
    check_start(stream);
    let stream = stream.strip_prefix(&hello::CLIENT).unwrap_or(stream);
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

/// It is settled once, and not by what comes later.
fn check_start(stream: &[u8]) {
    let settled = start(stream);
    let mut open = true;
    for len in 0..=stream.len().min(hello::CLIENT.len()) {
        let now = start(stream.get(..len).unwrap_or_default());
        assert!(
            now == settled || now == Start::Open && open,
            "{now:?} after {len} bytes, then {settled:?}"
        );
        open = now == Start::Open;
    }
    let whole = stream.starts_with(&hello::CLIENT);
    assert_eq!(settled == Start::Hello, whole);
    assert!(
        settled != Start::Spoilt || announced(stream) == Err(TooLarge) || stream.len() < HEADER
    );
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
