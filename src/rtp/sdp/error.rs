//! Why a description was refused.

/// A description we do not accept. The text is short and fit for the peer's eyes; it never
/// repeats what the peer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`MAX_SDP_BYTES`](super::MAX_SDP_BYTES).
    #[error("the description is larger than 64 KiB")]
    TooLarge,
    /// A NUL or another control character.
    #[error("control character in line {0}")]
    ControlCharacter(u32),
    /// A line that is not `x=...`, or a first line other than `v=0`.
    #[error("line {0} is not SDP")]
    BadLine(u32),
    /// An m-line without kind, port, protocol or format, or with one that is malformed.
    #[error("malformed m-line in line {0}")]
    BadMediaLine(u32),
    /// More than [`MAX_MEDIA_LINES`](super::MAX_MEDIA_LINES).
    #[error("more than 64 m-lines")]
    TooManyMediaLines,
    /// More than [`MAX_FORMATS`](super::MAX_FORMATS) formats in one m-line.
    #[error("more than 64 formats in one m-line")]
    TooManyFormats,
    /// More than [`MAX_CANDIDATES`](super::MAX_CANDIDATES).
    #[error("more than 128 candidates")]
    TooManyCandidates,
    /// A payload type above 127, or not a number, in an RTP m-line.
    #[error("payload type out of range")]
    PayloadTypeRange,
    /// One payload type means two codecs inside the bundle.
    #[error("one payload type is used for two codecs")]
    PayloadTypeConflict,
    /// A mid that is not 1-32 token characters.
    #[error("malformed a=mid")]
    BadMid,
    /// Two m-lines with one mid.
    #[error("two m-lines have the same mid")]
    DuplicateMid,
    /// An m-line we would use has no mid although there are several.
    #[error("an m-line has no a=mid")]
    MissingMid,
    /// Several m-lines that are not in one BUNDLE group.
    #[error("all m-lines must be in one BUNDLE group")]
    NotBundled,
    /// No `a=rtcp-mux`.
    #[error("a=rtcp-mux is required")]
    NoRtcpMux,
    /// No ICE user name fragment or password.
    #[error("a=ice-ufrag or a=ice-pwd is missing")]
    MissingIce,
    /// ICE credentials of a wrong length or alphabet.
    #[error("malformed a=ice-ufrag or a=ice-pwd")]
    BadIce,
    /// No fingerprint at all.
    #[error("a=fingerprint is missing")]
    MissingFingerprint,
    /// Fingerprints, but none with SHA-256.
    #[error("only sha-256 fingerprints are accepted")]
    UnsupportedFingerprint,
    /// Not 32 bytes of hexadecimal.
    #[error("malformed a=fingerprint")]
    BadFingerprint,
    /// `holdconn`, an unknown role, or `actpass` in an answer.
    #[error("unusable a=setup")]
    BadSetup,
    /// Nothing in the offer that we could receive (or send, for a player).
    #[error("no usable audio or video m-line")]
    NoUsableMedia,
    /// An audio or video m-line without any codec we forward.
    #[error("no codec in common: Opus, and VP8, VP9 profile 0, H.264 mode 1 or AV1")]
    NoCommonCodec,
    /// More than [`MAX_TRACKS`](super::MAX_TRACKS) tracks.
    #[error("more than 4 tracks")]
    TooManyTracks,
    /// An answer whose m-lines are not those of our offer.
    #[error("the answer does not match the offer")]
    AnswerMismatch,
}

impl SdpError {
    /// The refusal code of the signaling protocol and of WHIP/WHEP error bodies.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoCommonCodec => "codec_unsupported",
            Self::TooManyTracks => "slots_exceeded",
            _ => "sdp_invalid",
        }
    }
}
