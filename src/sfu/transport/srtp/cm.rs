//! `AES_CM_128_HMAC_SHA1_80` (RFC 3711), for peers that know nothing better.
//!
//! Four times dearer than GCM. Written here rather than taken from `rtc-srtp` so that both profiles
//! have one shape: in place, no allocation, the caller gives the index.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};

/// Bytes of the truncated HMAC.
pub(super) const TAG: usize = 10;

/// Session keys of one direction and protocol.
pub(super) struct CmKey {
    cipher: EncryptingKey,
    auth: hmac::Key,
    salt: [u8; 14],
}

impl CmKey {
    pub(super) fn new(
        key: &[u8; 16],
        auth: &[u8; 20],
        salt: [u8; 14],
    ) -> Result<Self, Unspecified> {
        Ok(Self {
            cipher: EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, key)?)?,
            auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth),
            salt,
        })
    }

    /// Encrypt or decrypt in place (RFC 3711 4.1.1).
    pub(super) fn apply(&self, ssrc: u32, index: u64, bytes: &mut [u8]) -> Result<(), Unspecified> {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        for (byte, ssrc) in iv[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= ssrc;
        }
        for (byte, index) in iv[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= index;
        }
        if !bytes.is_empty() {
            let context = EncryptionContext::Iv128(FixedLength::from(iv));
            self.cipher.less_safe_encrypt(bytes, context)?;
        }
        Ok(())
    }

    /// The tag over a packet and the word that follows it (ROC for SRTP, nothing for SRTCP).
    pub(super) fn tag(&self, packet: &[u8], word: &[u8]) -> [u8; TAG] {
        let mut context = hmac::Context::with_key(&self.auth);
        context.update(packet);
        context.update(word);
        let mut tag = [0; TAG];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG]);
        tag
    }

    /// Compare a tag in constant time.
    pub(super) fn verify(&self, packet: &[u8], word: &[u8], tag: &[u8]) -> Result<(), Unspecified> {
        constant_time::verify_slices_are_equal(&self.tag(packet, word), tag)
    }
}
