//! SDP (RFC 8866) as far as Greenroom speaks it: read an offer or an answer, keep what we
//! understand, write our own. Nothing a peer wrote is copied into what another peer reads; what
//! the offer/answer rules make us repeat (mids, format lists of rejected m-lines) is checked first.
//!
//! | who offers | type | what comes out |
//! |---|---|---|
//! | a publisher (our SDK, WHIP) | [`PublishOffer`] | an answer and the tracks it sends |
//! | we, to a viewer | [`WatchOffer`] | an offer with fixed slots; from the answer the accepted ones |
//! | a WHEP player | [`WhepOffer`] | an answer and the tracks we send |
//! | either side's ICE restart or trickle over HTTP | [`Fragment`] | RFC 8840 fragments |
//!
//! The line parser is our own and not that of `rtc-sdp`: that one copies every line into `String`s
//! before any limit could be checked, refuses whole descriptions for an unknown protocol or a
//! missing `o=` field that we never read, and cannot read the fragments of RFC 8840. Ours borrows
//! from the text, counts as it goes (64 KiB, 64 m-lines, 128 candidates, 64 formats an m-line) and
//! has no path that panics. All look-ups are by payload type in tables, so the time is linear in
//! the text.

mod error;
mod fragment;
mod media;
mod parse;
mod payloads;
mod peer;
mod publish;
mod watch;
mod whep;
mod write;

use std::net::SocketAddr;

pub use error::SdpError;
pub use fragment::Fragment;
pub use parse::{MAX_CANDIDATES, MAX_FORMATS, MAX_MEDIA_LINES, MAX_SDP_BYTES};
pub use publish::{MAX_TRACKS, PublishAnswer, PublishOffer};
pub use watch::{MAX_MESSAGE_SIZE, SCTP_PORT, WatchAnswer, WatchOffer};
pub use whep::{WhepAnswer, WhepOffer};

/// The DTLS role in `a=setup` (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// Sends the ClientHello.
    Active,
    /// Waits for it.
    Passive,
    /// Either; only in an offer.
    ActPass,
}

impl Setup {
    /// What we answer to this offered role: its opposite, or `preferred` when we may choose.
    /// Never [`Setup::ActPass`].
    #[must_use]
    pub const fn answer(self, preferred: DtlsPreference) -> Self {
        match (self, preferred) {
            (Self::Passive, _) | (Self::ActPass, DtlsPreference::Client) => Self::Active,
            (Self::Active, _) | (Self::ActPass, DtlsPreference::Server) => Self::Passive,
        }
    }

    /// As written after `a=setup:`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        }
    }
}

/// Our choice of DTLS role where the offer leaves one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsPreference {
    /// We send the ClientHello: one round trip less.
    Client,
    /// The peer sends it, so that we see its SRTP profiles before we choose.
    Server,
}

/// The peer's half of a session. Its candidates are not in here: an ICE-lite agent sends nothing
/// to an address that has not sent a valid check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSession {
    /// ICE user name fragment, 4-256 ice-chars.
    pub ufrag: String,
    /// ICE password, 22-256 ice-chars.
    pub password: String,
    /// SHA-256 of its certificate (RFC 8122).
    pub fingerprint: [u8; 32],
    /// Its DTLS role.
    pub setup: Setup,
}

/// Our half of a session, as written into an offer or an answer.
#[derive(Debug, Clone, Copy)]
pub struct LocalSession<'a> {
    /// `o=` session id: constant for the life of the transport, below 2^63.
    pub session_id: u64,
    /// `o=` version: one more for every new offer or answer of the same session.
    pub version: u64,
    /// Our ICE user name fragment.
    pub ufrag: &'a str,
    /// Our ICE password.
    pub password: &'a str,
    /// SHA-256 of our certificate.
    pub fingerprint: &'a [u8; 32],
    /// The addresses of the shard's UDP sockets; one host candidate each, the first preferred.
    pub candidates: &'a [SocketAddr],
    /// Where TCP connections are accepted (RFC 6544); one passive host candidate each, after all of UDP.
    pub tcp_candidates: &'a [SocketAddr],
    /// Where libwebrtc's pseudo-TLS is accepted; one candidate of transport `ssltcp` each, after all others.
    pub ssltcp_candidates: &'a [SocketAddr],
}
