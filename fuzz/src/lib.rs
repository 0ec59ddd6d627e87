//! What each fuzz target does with its input. Shared by the libFuzzer binaries in `fuzz_targets/`
//! and by `tests/corpus.rs`, which replays the committed corpus on every test run.

mod cores;
pub mod data;
pub mod framing;
pub mod handshake;
mod peers;
pub mod room;
pub mod rtp;
mod script;
pub mod sdp;
pub mod session;
pub mod stranger;
pub mod stun;
pub mod text;

/// A target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also its corpus folder.
    pub name: &'static str,
    /// What it does with an input: it panics on a bug.
    pub run: fn(&[u8]),
    /// It has a state, so that a run takes milliseconds: its inputs are not replayed cut at every byte.
    pub state: bool,
}

const fn parser(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, state: false }
}

const fn state(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, state: true }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    parser("rtp_packet", rtp::rtp_packet),
    parser("rtcp", rtp::rtcp),
    parser("twcc", rtp::twcc),
    parser("twcc_build", rtp::twcc_build),
    parser("sequence", rtp::sequence),
    parser("vp8", rtp::vp8),
    parser("vp9", rtp::vp9),
    parser("h264", rtp::h264),
    parser("av1", rtp::av1),
    parser("dependency", rtp::dependency),
    parser("red", rtp::red),
    parser("sdp", sdp::sdp),
    parser("fragment", text::fragment),
    parser("stun", stun::stun),
    parser("framing", framing::framing),
    parser("command", text::command),
    parser("token", text::token),
    state("stranger", stranger::stranger),
    state("handshake", handshake::handshake),
    state("data", data::data),
    state("session", session::session),
    state("room", room::room),
];
