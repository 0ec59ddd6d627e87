//! `AEAD_AES_128_GCM` (RFC 7714).
//!
//! Our own, because it is the hot path: `rtc-srtp` allocates and copies per packet, this seals from
//! the shared slab straight into the send buffer. `rtc-srtp` is the oracle of the tests.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;

/// Bytes of the authentication tag.
pub(super) const TAG: usize = 16;

/// A session key and salt of one direction and protocol.
pub(super) struct GcmKey {
    key: LessSafeKey,
    salt: [u8; NONCE_LEN],
}

impl GcmKey {
    pub(super) fn new(key: &[u8; 16], salt: [u8; NONCE_LEN]) -> Result<Self, Unspecified> {
        Ok(Self { key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key)?), salt })
    }

    /// RFC 7714 8.1: `00 00 SSRC ROC SEQ` XOR salt; 9.1 is the same with a 31-bit index.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Append the ciphertext of `plain` and `extra`, then the tag.
    pub(super) fn seal(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        plain: &[u8],
        extra: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Unspecified> {
        let start = out.len();
        out.resize(start + plain.len() + extra.len() + TAG, 0);
        let (cipher, tail) = out[start..].split_at_mut(plain.len());
        let nonce = self.nonce(ssrc, index);
        self.key.seal_out_of_place_scatter(nonce, Aad::from(aad), plain, cipher, extra, tail)
    }

    /// Decrypt ciphertext and tag in place; the plaintext is the returned front.
    pub(super) fn open<'a>(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unspecified> {
        self.key.open_in_place(self.nonce(ssrc, index), Aad::from(aad), sealed)
    }
}
