//! One participant's secure link. The only folder that imports the WebRTC stack.

/// ICE short-term credentials (RFC 8445).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// 4-256 characters.
    pub ufrag: String,
    /// 22-256 characters.
    pub password: String,
}

/// Our side of the DTLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsRole {
    /// `a=setup:active`: we send the ClientHello as soon as the first address is validated.
    Client,
    /// `a=setup:passive`.
    Server,
}

/// SHA-256 of the peer's certificate (RFC 8122), compared before any key is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Which SRTP protection profiles a handshake may end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrtpProfiles {
    /// `SRTP_AEAD_AES_128_GCM` only: 4.3 times cheaper, and every browser has it.
    GcmOnly,
    /// GCM first, `SRTP_AES128_CM_HMAC_SHA1_80` for peers that know nothing else.
    GcmOrCm,
}
