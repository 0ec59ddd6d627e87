//! What each fuzz target does with its input. Shared by the libFuzzer binaries in `fuzz_targets/`
//! and by `tests/corpus.rs`, which replays the committed corpus on every test run.

pub mod rtp;
pub mod sdp;
pub mod stun;

/// A target: its name, which is also its corpus folder, and its body, which panics on a bug.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("rtp_packet", rtp::rtp_packet),
    ("rtcp", rtp::rtcp),
    ("twcc", rtp::twcc),
    ("twcc_build", rtp::twcc_build),
    ("sequence", rtp::sequence),
    ("vp8", rtp::vp8),
    ("vp9", rtp::vp9),
    ("h264", rtp::h264),
    ("av1", rtp::av1),
    ("dependency", rtp::dependency),
    ("red", rtp::red),
    ("sdp", sdp::sdp),
    ("stun", stun::stun),
];
