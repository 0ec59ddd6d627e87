//! SDP from publishers, players and viewers: no panic, and whatever is accepted is answered by the
//! rules of offer and answer.

use greenroom::rtp::sdp::{
    DtlsPreference, Fragment, LocalSession, MAX_TRACKS, PublishOffer, WatchOffer, WhepOffer,
};
use signaling::media::Seat;

/// A text at every entrance.
pub fn sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let candidates = [([127, 0, 0, 1], 7882).into()];
    let local = LocalSession {
        session_id: 1,
        version: 1,
        ufrag: "ourUfrag",
        password: "ourPasswordOfTwentyTwo",
        fingerprint: &[7; 32],
        candidates: &candidates,
        tcp_candidates: &candidates,
        ssltcp_candidates: &candidates,
    };
    let mut last = 0u32;
    let mut ssrc = || {
        last += 1;
        last
    };
    if let Ok(offer) = PublishOffer::parse(text) {
        let answer = offer.answer(&local, DtlsPreference::Client);
        assert!((1..=MAX_TRACKS).contains(&answer.tracks.len()));
        check_answer(&answer.sdp, text);
    }
    if let Ok(offer) = WhepOffer::parse(text) {
        let answer = offer.answer(&local, DtlsPreference::Server, Seat::HOST, &mut ssrc);
        assert!((1..=2).contains(&answer.tracks.len()));
        check_answer(&answer.sdp, text);
    }
    let _ = Fragment::parse(text);
    let offer = WatchOffer::new(2, true, &mut ssrc);
    if let Ok(answer) = offer.parse_answer(text) {
        assert!(answer.tracks.len() <= offer.slots().len());
    }
}

/// One m-line for each of theirs, and nothing of theirs that could end a line of ours.
fn check_answer(ours: &str, theirs: &str) {
    let media = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(media(ours), media(theirs));
    for line in ours.split_terminator("\r\n") {
        assert_eq!(line.as_bytes().get(1), Some(&b'='));
        assert!(!line.contains(['\r', '\n', '\0']));
    }
}
