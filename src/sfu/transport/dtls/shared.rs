//! Our certificate and the prepared handshake configurations.

use std::sync::Arc;

use aws_lc_rs::digest;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as EngineProfile;

use crate::sfu::transport::Fingerprint;

/// The certificate and the handshake configurations of all transports of a process.
pub(in crate::sfu::transport) struct DtlsShared {
    fingerprint: Fingerprint,
    pub(super) client_gcm: Arc<HandshakeConfig>,
    pub(super) client_gcm_or_cm: Arc<HandshakeConfig>,
    pub(super) server_gcm: Arc<HandshakeConfig>,
    pub(super) server_cm: Arc<HandshakeConfig>,
}

impl DtlsShared {
    /// Generate an ECDSA P-256 certificate and build the configurations around it.
    ///
    /// # Errors
    /// If the crypto provider fails, which it does on no supported platform.
    pub(in crate::sfu::transport) fn generate() -> anyhow::Result<Self> {
        let provider = rtc_crypto::default_provider()?;
        let certificate =
            Certificate::generate_self_signed(vec!["greenroom".to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().map_or(&[][..], |der| der.as_ref());
        let gcm = EngineProfile::Srtp_Aead_Aes_128_Gcm;
        let cm = EngineProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
        let build = |client: bool, profiles: &[EngineProfile]| {
            let config = ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_cipher_suites(vec![
                    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                    CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
                ])
                .with_srtp_protection_profiles(profiles.to_vec())
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_extended_master_secret(ExtendedMasterSecretType::Require)
                // The SDP fingerprint authenticates the peer, not a certificate authority.
                .with_insecure_skip_verify(true)
                .with_server_name("greenroom".to_owned())
                // The shortest deadline we use; when to retransmit is decided in `Dtls`.
                .with_flight_interval(super::FIRST_RETRANSMIT)
                .build(client, None)?;
            anyhow::Ok(Arc::new(config))
        };
        Ok(Self {
            fingerprint: fingerprint(der),
            client_gcm: build(true, &[gcm])?,
            client_gcm_or_cm: build(true, &[gcm, cm])?,
            server_gcm: build(false, &[gcm])?,
            server_cm: build(false, &[cm])?,
        })
    }

    /// SHA-256 of our certificate, for the SDP.
    #[must_use]
    pub(in crate::sfu::transport) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl std::fmt::Debug for DtlsShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DtlsShared").finish_non_exhaustive()
    }
}

/// SHA-256 of a certificate.
pub(super) fn fingerprint(der: &[u8]) -> Fingerprint {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    Fingerprint(out)
}
