//! The key derivation of RFC 3711 4.3, which RFC 7714 11 keeps.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;

/// What a session key is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    RtpKey = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// Derive `N` bytes. `salt` is the master salt, 14 bytes; a 12-byte GCM salt is padded with zeros.
pub(super) fn derive<const N: usize>(
    key: &[u8; 16],
    salt: &[u8; 14],
    label: Label,
) -> Result<[u8; N], Unspecified> {
    let cipher = EncryptingKey::ecb(UnboundCipherKey::new(&AES_128, key)?)?;
    let mut out = [0; N];
    for (counter, chunk) in out.chunks_mut(16).enumerate() {
        let mut block = [0; 16];
        block[..14].copy_from_slice(salt);
        block[7] ^= label as u8;
        block[14..].copy_from_slice(&(counter as u16).to_be_bytes());
        cipher.encrypt(&mut block)?;
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3711 B.3.
    #[test]
    fn rfc_3711_vectors() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        assert_eq!(
            derive::<16>(&key, &salt, Label::RtpKey).unwrap(),
            hex::<16>("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            derive::<14>(&key, &salt, Label::RtpSalt).unwrap(),
            hex::<14>("30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            derive::<20>(&key, &salt, Label::RtpAuth).unwrap(),
            hex::<20>("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
    }
}
