//! Whatever the text, the answer is a value: no panic, and what we accept we can answer.

use greenroom::rtp::sdp::{
    DtlsPreference, Fragment, MAX_TRACKS, PublishOffer, WatchOffer, WhepOffer,
};
use proptest::prelude::*;
use signaling::media::Seat;

use crate::{Ours, corpus, counting_ssrcs};

/// All entrances at once.
fn feed(text: &str) {
    let ours = Ours::new();
    let local = ours.local();
    if let Ok(offer) = PublishOffer::parse(text) {
        let answer = offer.answer(&local, DtlsPreference::Client);
        assert!((1..=MAX_TRACKS).contains(&answer.tracks.len()));
        assert!(answer.tracks.iter().all(|track| !track.codecs.is_empty()));
        check_ours(&answer.sdp, text);
    }
    if let Ok(offer) = WhepOffer::parse(text) {
        let mut ssrcs = counting_ssrcs();
        let answer = offer.answer(&local, DtlsPreference::Server, Seat::HOST, &mut ssrcs);
        assert!((1..=2).contains(&answer.tracks.len()));
        check_ours(&answer.sdp, text);
    }
    let _ = Fragment::parse(text);
    for seats in [0, 2, 8] {
        let offer = WatchOffer::new(seats, true, &mut counting_ssrcs());
        if let Ok(answer) = offer.parse_answer(text) {
            assert!(answer.tracks.len() <= offer.slots().len());
        }
    }
}

/// One m-line for each of theirs, and every line a line.
fn check_ours(ours: &str, theirs: &str) {
    let lines = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(lines(ours), lines(theirs), "{ours}");
    for line in ours.split_terminator("\r\n") {
        let bytes = line.as_bytes();
        assert!(bytes.get(1) == Some(&b'=') && !line.contains(['\r', '\n', '\0']), "{line:?}");
    }
}

#[derive(Debug, Clone)]
enum Mutation {
    Drop(usize),
    Double(usize),
    Swap(usize, usize),
    Cut(usize, usize),
    Replace(usize, usize, char),
    Splice(usize, String),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = 0..4096usize;
    let digits = prop::sample::select(vec![
        "255",
        "-1",
        "0",
        "65536",
        "99999999999999999999",
        "",
        " ",
        ":",
        "*",
        "=",
        ";apt=96",
        "\0",
        "é",
    ]);
    prop_oneof![
        index.clone().prop_map(Mutation::Drop),
        index.clone().prop_map(Mutation::Double),
        (index.clone(), index.clone()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        (index.clone(), index.clone()).prop_map(|(a, b)| Mutation::Cut(a, b)),
        (index.clone(), index.clone(), any::<char>())
            .prop_map(|(line, at, with)| Mutation::Replace(line, at, with)),
        (index, digits).prop_map(|(at, text)| Mutation::Splice(at, text.into())),
    ]
}

impl Mutation {
    fn apply(self, lines: &mut Vec<String>) {
        let count = lines.len().max(1);
        match self {
            Self::Drop(at) => _ = (at < lines.len()).then(|| lines.remove(at)),
            Self::Double(at) => lines.insert(at % count, lines[at % count].clone()),
            Self::Swap(a, b) => lines.swap(a % count, b % count),
            Self::Cut(at, length) => {
                let line = &mut lines[at % count];
                *line = line.chars().take(length % 80).collect();
            }
            Self::Replace(at, place, with) => {
                let line = &mut lines[at % count];
                let place = place % line.chars().count().max(1);
                *line = line
                    .chars()
                    .enumerate()
                    .map(|(index, old)| if index == place { with } else { old })
                    .collect();
            }
            Self::Splice(at, text) => {
                let line = &mut lines[at % count];
                let head = line.rfind([' ', ':']).map_or(0, |place| place + 1);
                line.replace_range(head.., &text);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn mutated_real_descriptions(
        which in 0..64usize,
        mutations in prop::collection::vec(mutation(), 1..8),
    ) {
        let mut files = corpus("publish");
        files.extend(corpus("whep"));
        files.extend(corpus("watch-answer"));
        let (_, text) = &files[which % files.len()];
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for mutation in mutations {
            if !lines.is_empty() {
                mutation.apply(&mut lines);
            }
        }
        feed(&lines.join("\r\n"));
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        feed(&text);
        feed(&format!("v=0\r\n{text}"));
    }

    #[test]
    fn any_lines(lines in prop::collection::vec("(v=0|[a-z]=.{0,40}|m=(audio|video) [0-9]{1,5} UDP/TLS/RTP/SAVPF( [0-9]{1,3}){1,4}|a=(mid|rtpmap|fmtp|rtcp-fb|extmap|ssrc|ssrc-group|setup|group|fingerprint|ice-ufrag|ice-pwd):.{0,30})", 0..40)) {
        feed(&format!("v=0\r\n{}\r\n", lines.join("\r\n")));
    }
}
