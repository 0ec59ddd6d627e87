//! SDP against the offers of real clients, caught from Chromium 156, Firefox ESR 153, FFmpeg 9,
//! GStreamer 1.22 and aiortc 1.16 (`tests/corpus/sdp`), and against hostile ones.

#![expect(clippy::disallowed_methods, reason = "reads the corpus")]

mod hostile;
mod properties;
mod real;

use std::net::SocketAddr;
use std::path::PathBuf;

use greenroom::rtp::sdp::LocalSession;

/// Every file of one folder of the corpus, by name.
fn corpus(folder: &str) -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/sdp").join(folder);
    let mut files: Vec<(String, String)> = std::fs::read_dir(&root)
        .expect("corpus folder")
        .map(|entry| {
            let path = entry.expect("corpus entry").path();
            let name = path.file_stem().expect("file name").to_string_lossy().into_owned();
            let text =
                String::from_utf8(std::fs::read(&path).expect("corpus file")).expect("UTF-8");
            (name, text)
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no corpus in {}", root.display());
    files
}

/// One file of the corpus.
fn file(folder: &str, name: &str) -> String {
    let found = corpus(folder).into_iter().find(|(stem, _)| stem == name);
    found.unwrap_or_else(|| panic!("no {folder}/{name}.sdp")).1
}

/// Our half of every session in these tests.
struct Ours {
    fingerprint: [u8; 32],
    candidates: Vec<SocketAddr>,
    tcp_candidates: Vec<SocketAddr>,
    version: u64,
}

impl Ours {
    fn new() -> Self {
        Self {
            fingerprint: std::array::from_fn(|index| 0xa0 ^ index as u8),
            candidates: ["127.0.0.1:7882", "192.0.2.7:7882", "[2001:db8::7]:7882"]
                .map(|text| text.parse().expect("address"))
                .to_vec(),
            tcp_candidates: ["192.0.2.7:443", "[2001:db8::7]:443"]
                .map(|text| text.parse().expect("address"))
                .to_vec(),
            version: 1,
        }
    }

    fn local(&self) -> LocalSession<'_> {
        LocalSession {
            session_id: 42,
            version: self.version,
            ufrag: "ourUfrag",
            password: "ourPasswordOfTwentyTwo",
            fingerprint: &self.fingerprint,
            candidates: &self.candidates,
            tcp_candidates: &self.tcp_candidates,
            ssltcp_candidates: &self.tcp_candidates[..1],
        }
    }
}

/// SSRCs 1001, 1002, ...
fn counting_ssrcs() -> impl FnMut() -> u32 {
    let mut last = 1000;
    move || {
        last += 1;
        last
    }
}
