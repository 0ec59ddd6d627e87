//! Why bytes are not what they claim to be.

/// A malformed RTP, RTCP or payload descriptor. Small and `Copy`: nothing is allocated for a packet
/// that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum RtpError {
    /// Fewer bytes than the fixed header.
    #[error("shorter than the fixed header")]
    TooShort,
    /// The version field is not 2.
    #[error("version is not 2")]
    BadVersion,
    /// The CSRC count promises more bytes than there are.
    #[error("CSRC list cut short")]
    CsrcCutShort,
    /// The header extension promises more bytes than there are.
    #[error("header extension cut short")]
    ExtensionCutShort,
    /// The padding count is zero or larger than what it is taken from.
    #[error("padding count is zero or too large")]
    BadPadding,
    /// No payload left after header and padding.
    #[error("empty payload")]
    EmptyPayload,
    /// A codec descriptor, or a length inside the payload, goes past its end.
    #[error("codec descriptor cut short")]
    DescriptorTooShort,
    /// A dependency descriptor that is cut short or whose templates contradict each other.
    #[error("dependency descriptor cut short or inconsistent")]
    DependencyMalformed,
    /// A RED payload whose headers or blocks go past its end, are too many, or name another codec.
    #[error("RED payload cut short, of too many blocks or of another codec")]
    RedMalformed,
    /// An RTX payload without room for the original sequence number.
    #[error("RTX payload shorter than the original sequence number")]
    RtxTooShort,
    /// An RTCP length field goes past the end of the datagram.
    #[error("RTCP length goes past the datagram")]
    RtcpCutShort,
    /// An RTCP count or length field promises more than the packet's body holds.
    #[error("RTCP count or length goes past the packet")]
    RtcpBodyTooShort,
    /// A transport-cc status symbol without a meaning (0b11), or chunks and deltas that do not
    /// cover the announced packets.
    #[error("transport-cc feedback lies about its packets")]
    BadFeedback,
}
