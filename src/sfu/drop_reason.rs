//! Every reason a packet goes no further. One name per reason, counted once, exported as
//! `greenroom_dropped_total{reason="..."}`.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Why a datagram, packet or message was discarded.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* $variant,)* }

        impl DropReason {
            /// All reasons, in declaration order: the index of a counter.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

drop_reasons! {
    /// Empty, or a first byte RFC 7983 gives no meaning to.
    UnknownKind => "unknown_kind",
    /// DTLS, RTP or RTCP from an address that sent no valid STUN.
    UnknownAddress => "unknown_address",
    /// Not a STUN message, or one that is not a Binding request.
    StunMalformed => "stun_malformed",
    /// A username whose local part we did not hand out.
    StunUnknownUfrag => "stun_unknown_ufrag",
    /// MESSAGE-INTEGRITY absent or wrong.
    StunIntegrity => "stun_integrity",
    /// Too many integrity checks from one unvalidated address.
    StunRateLimited => "stun_rate_limited",
    /// Media that waited in the socket, or between shards, for longer than it is worth sending.
    ReceivedLate => "received_late",
    /// A step of a handshake while too many wait; DTLS sends it again.
    HandshakeQueueFull => "handshake_queue_full",
    /// A DTLS record the engine refused.
    DtlsMalformed => "dtls_malformed",
    /// More than 32 KiB of handshake from one peer.
    DtlsHandshakeTooLarge => "dtls_handshake_too_large",
    /// DTLS bytes for a transport that ended.
    DtlsClosed => "dtls_closed",
    /// Media before the keys exist.
    NoKeys => "no_keys",
    /// SRTP authentication failed.
    SrtpAuth => "srtp_auth",
    /// SRTP index seen before, or older than the window.
    SrtpReplay => "srtp_replay",
    /// SRTCP authentication failed.
    SrtcpAuth => "srtcp_auth",
    /// SRTCP index seen before, or older than the window.
    SrtcpReplay => "srtcp_replay",
    /// An RTP header, extension or padding that lies.
    RtpMalformed => "rtp_malformed",
    /// An RTCP packet that lies.
    RtcpMalformed => "rtcp_malformed",
    /// No track of this transport matches the SSRC, mid or payload type.
    UnknownSsrc => "unknown_ssrc",
    /// More than 64 SSRCs from one peer.
    TooManySsrcs => "too_many_ssrcs",
    /// A packet of a simulcast track without a rid that was negotiated.
    UnknownLayer => "unknown_layer",
    /// A payload type the answer did not accept.
    UnknownPayloadType => "unknown_payload_type",
    /// A codec descriptor cut short.
    CodecMalformed => "codec_malformed",
    /// Media from a transport that may not publish.
    NotPublisher => "not_publisher",
    /// Muted: authenticated, counted, gone.
    Gate => "gate",
    /// A packet already stored.
    Duplicate => "duplicate",
    /// Older than the cache.
    TooLate => "too_late",
    /// Padding only: a probe, nothing to forward.
    PaddingOnly => "padding_only",
    /// An RTX packet shorter than its header or of an unknown stream.
    RtxMalformed => "rtx_malformed",
    /// Past the uplink limit in bits or packets.
    Policed => "policed",
    /// A viewer's slot waits for a key frame.
    AwaitKeyFrame => "await_key_frame",
    /// The viewer's answer has no codec for this publication.
    CodecNotNegotiated => "codec_not_negotiated",
    /// A layer this viewer does not take.
    LayerNotTaken => "layer_not_taken",
    /// The viewer's consent expired; sending is paused.
    NoConsent => "no_consent",
    /// A retransmission asked for a packet that is gone.
    NackTooLate => "nack_too_late",
    /// A retransmission over the viewer's budget.
    NackBudget => "nack_budget",
    /// A NACK for a packet just retransmitted.
    NackRepeated => "nack_repeated",
    /// A NACK for a picture that is more than the viewer's network takes and about to be replaced by a smaller one.
    NackOvertaken => "nack_overtaken",
    /// A NACK for a number never sent.
    NackUnknown => "nack_unknown",
    /// Feedback about a packet never sent, or sent too long ago.
    FeedbackUnknown => "feedback_unknown",
    /// Feedback about a packet known to have arrived.
    FeedbackRepeated => "feedback_repeated",
    /// Feedback with an arrival time that cannot be.
    FeedbackTime => "feedback_time",
    /// A key-frame request inside the throttle.
    KeyFrameThrottled => "key_frame_throttled",
    /// The ring to another shard is full.
    RelayFull => "relay_full",
    /// Waited too long for its turn at a viewer's pace, or another layer's key frame overtook it.
    PacedOut => "paced_out",
    /// The kernel's send buffer is full.
    SendBufferFull => "send_buffer_full",
    /// The kernel refused the destination.
    SendUnreachable => "send_unreachable",
    /// A datagram larger than the path takes.
    SendTooLarge => "send_too_large",
    /// Another send error.
    SendFailed => "send_failed",
    /// A TCP connection's buffer is full: what would only come late is not queued.
    TcpBufferFull => "tcp_buffer_full",
    /// For a TCP connection that has ended.
    TcpClosed => "tcp_closed",
    /// A length above what a datagram may have, on a TCP connection, which then ends.
    TcpFrameTooLarge => "tcp_frame_too_large",
    /// A data-channel message over the viewer's buffer.
    DataBufferFull => "data_buffer_full",
    /// A data-channel message on a channel that is not open.
    DataClosed => "data_closed",
    /// A data-channel message that is too large, not text, or on a channel we did not negotiate.
    DataRefused => "data_refused",
    /// A command for a transport that is gone.
    UnknownTransport => "unknown_transport",
    /// The inbox from the shard to the control plane is full.
    EventQueueFull => "event_queue_full",
}
