//! One ICE + DTLS + SRTP transport without a socket: bytes and time in, bytes out.
//!
//! Light on purpose: one certificate and one handshake configuration for everybody, no tasks, no
//! queues. Built on the rtc-* crates, so it shares no STUN, DTLS-state or SRTP code with a server
//! that is measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::rtp::packet::PacketKind;
use anyhow::{Context as _, anyhow, bail};
use bytes::BytesMut;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as DtlsProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
    RawAttribute,
};
use rtc_stun::fingerprint::FingerprintAttr;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_REQUEST, BINDING_SUCCESS, CLASS_REQUEST, Message, Setter, TransactionId,
};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;

use crate::load::options::Profile;
use crate::load::sdp::{Credentials, Theirs};

/// The engine wants an address to know its peer by; the socket knows the real one.
const ENGINE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// Between checks until the first is answered, as browsers do.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Between consent checks after that (RFC 7675).
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
/// From the server's nomination to our ClientHello. Janus drops one that comes before it has read
/// the answer to its own check, and would wait for our retransmission: this is kind to it.
const NOMINATION_PAUSE: Duration = Duration::from_millis(2);
const RETRANSMIT: Duration = Duration::from_millis(200);

/// What all transports of this process share.
pub struct Shared {
    client: Arc<HandshakeConfig>,
    server: Arc<HandshakeConfig>,
    /// SHA-256 of our certificate, as SDP writes it.
    pub fingerprint: String,
}

impl Shared {
    pub fn new(profile: Profile) -> anyhow::Result<Self> {
        let provider = rtc_crypto::default_provider()?;
        let certificate =
            Certificate::generate_self_signed(vec!["load".to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().context("a certificate")?;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der.as_ref());
        let hex: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let build = |client: bool| {
            let config = ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_cipher_suites(vec![
                    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                    CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
                ])
                .with_srtp_protection_profiles(vec![match profile {
                    Profile::Gcm => DtlsProfile::Srtp_Aead_Aes_128_Gcm,
                    Profile::Cm => DtlsProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                }])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_extended_master_secret(ExtendedMasterSecretType::Request)
                // A load client has nothing to protect, so it does not check the fingerprint.
                .with_insecure_skip_verify(true)
                .with_server_name("load".to_owned())
                .with_flight_interval(RETRANSMIT)
                .build(client, None)?;
            anyhow::Ok(Arc::new(config))
        };
        Ok(Self { client: build(true)?, server: build(false)?, fingerprint: hex.join(":") })
    }
}

/// What a datagram was.
pub enum Received {
    /// Nothing for the media.
    Control,
    /// Keys are there.
    Connected,
    /// A decrypted RTP packet.
    Rtp(BytesMut),
    /// A decrypted compound RTCP packet.
    Rtcp(BytesMut),
    /// The server ended the session.
    Closed,
}

/// Keys of one direction each.
pub struct Keys {
    pub seal: Context,
    open: Context,
    /// What the server chose.
    pub profile: &'static str,
}

/// One transport.
pub struct Link {
    local: Credentials,
    remote: Credentials,
    own: SocketAddr,
    dtls: Endpoint,
    /// The client configuration, until the handshake starts.
    client: Option<Arc<HandshakeConfig>>,
    active: bool,
    pub keys: Option<Box<Keys>>,
    /// The server answered a check of ours.
    validated: bool,
    /// Whether the server decides which pair is used, and since when we may use it.
    controlled: bool,
    nominated: Option<Instant>,
    next_check: Instant,
    tie_breaker: [u8; 8],
}

impl Link {
    /// From our half and the server's; `own` is our socket's address.
    pub fn new(
        now: Instant,
        shared: &Shared,
        local: Credentials,
        theirs: &Theirs,
        own: SocketAddr,
    ) -> Self {
        // The server is passive: we are the DTLS client.
        let active = theirs.passive;
        let server = (!active).then(|| shared.server.clone());
        let mut tie_breaker = [7; 8];
        tie_breaker.iter_mut().zip(local.ufrag.bytes().rev()).for_each(|(to, from)| *to = from);
        Self {
            local,
            remote: theirs.ice.clone(),
            own,
            dtls: Endpoint::new(ENGINE, TransportProtocol::UDP, server),
            client: active.then(|| shared.client.clone()),
            active,
            keys: None,
            validated: false,
            controlled: theirs.controls,
            nominated: None,
            next_check: now,
            tie_breaker,
        }
    }

    /// Checks and retransmissions that are due; call every few milliseconds.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> anyhow::Result<()> {
        if self.next_check <= now {
            let interval = if self.validated { CONSENT_INTERVAL } else { CHECK_INTERVAL };
            self.next_check = now + interval;
            out.push(self.binding_request()?);
        }
        self.connect(now, out)?;
        if self.keys.is_none() && self.dtls.poll_timeout(&ENGINE).is_some_and(|due| due <= now) {
            self.dtls.handle_timeout(ENGINE, now)?;
            self.drain(out);
        }
        Ok(())
    }

    fn binding_request(&self) -> anyhow::Result<Vec<u8>> {
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        let attribute = |typ, value: &[u8]| RawAttribute {
            typ,
            length: value.len() as u16,
            value: value.into(),
        };
        let mut attributes: Vec<Box<dyn Setter>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId::new()),
            Box::new(TextAttribute::new(ATTR_USERNAME, username)),
            Box::new(attribute(ATTR_PRIORITY, &[0x7e, 0, 0, 1])),
        ];
        if self.controlled {
            attributes.push(Box::new(attribute(ATTR_ICE_CONTROLLED, &self.tie_breaker)));
        } else {
            attributes.push(Box::new(attribute(ATTR_ICE_CONTROLLING, &self.tie_breaker)));
            attributes.push(Box::new(attribute(ATTR_USE_CANDIDATE, &[])));
        }
        stun(&self.remote.password, attributes)
    }

    /// Take one datagram of the server.
    pub fn handle(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &mut Vec<Vec<u8>>,
    ) -> anyhow::Result<Received> {
        match PacketKind::of(datagram) {
            Some(PacketKind::Rtp) => {
                let Some(keys) = &mut self.keys else { return Ok(Received::Control) };
                Ok(Received::Rtp(keys.open.decrypt_rtp(datagram)?))
            }
            Some(PacketKind::Rtcp) => {
                let Some(keys) = &mut self.keys else { return Ok(Received::Control) };
                Ok(Received::Rtcp(keys.open.decrypt_rtcp(datagram)?))
            }
            Some(PacketKind::Dtls) => self.handle_dtls(now, datagram, out),
            Some(PacketKind::Stun) => {
                self.handle_stun(now, datagram, out)?;
                Ok(Received::Control)
            }
            _ => Ok(Received::Control),
        }
    }

    fn handle_stun(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &mut Vec<Vec<u8>>,
    ) -> anyhow::Result<()> {
        let mut message = Message::new();
        message.unmarshal_binary(datagram)?;
        if message.typ == BINDING_SUCCESS {
            self.validated = true;
            self.next_check = now + CONSENT_INTERVAL;
            self.connect(now, out)?;
        } else if message.typ.class == CLASS_REQUEST {
            // A full ICE agent checks us too. It sees our socket's own address.
            out.push(stun(
                &self.local.password,
                vec![
                    Box::new(BINDING_SUCCESS),
                    Box::new(message.transaction_id),
                    Box::new(XorMappedAddress { ip: self.own.ip(), port: self.own.port() }),
                ],
            )?);
            if message.contains(ATTR_USE_CANDIDATE) {
                self.nominated.get_or_insert(now + NOMINATION_PAUSE);
            }
        }
        Ok(())
    }

    /// Begin the handshake, if it is ours to begin and the path is there.
    fn connect(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) -> anyhow::Result<()> {
        let usable = !self.controlled || self.nominated.is_some_and(|from| from <= now);
        if self.validated
            && usable
            && let Some(config) = self.client.take()
        {
            self.dtls.connect(now, ENGINE, config, None)?;
            self.drain(out);
        }
        Ok(())
    }

    fn handle_dtls(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &mut Vec<Vec<u8>>,
    ) -> anyhow::Result<Received> {
        let events = self.dtls.read(now, ENGINE, None, BytesMut::from(datagram))?;
        self.drain(out);
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    self.keys = Some(Box::new(self.export()?));
                    return Ok(Received::Connected);
                }
                EndpointEvent::PeerClosed => return Ok(Received::Closed),
                _ => {}
            }
        }
        Ok(Received::Control)
    }

    /// RFC 5764 4.2: client key, server key, client salt, server salt.
    fn export(&self) -> anyhow::Result<Keys> {
        let state = self.dtls.get_connection_state(ENGINE).context("no DTLS state")?;
        let (name, profile, salt) = match state.srtp_protection_profile() {
            DtlsProfile::Srtp_Aead_Aes_128_Gcm => {
                ("AEAD_AES_128_GCM", ProtectionProfile::AeadAes128Gcm, 12)
            }
            DtlsProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
                ("AES128_CM_HMAC_SHA1_80", ProtectionProfile::Aes128CmHmacSha1_80, 14)
            }
            other => bail!("the server chose {other:?}"),
        };
        let secret = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], 32 + 2 * salt)
            .map_err(|error| anyhow!("no keys: {error}"))?;
        let bytes: &[u8] = secret.as_ref();
        let (keys, salts) = bytes.split_at(32);
        let provider = rtc_crypto::default_provider()?;
        let context = |server: bool| {
            let (key, salt_at) = if server { (&keys[16..], salt) } else { (&keys[..16], 0) };
            let salt = &salts[salt_at..salt_at + salt];
            Context::new(key, salt, profile, None, None, provider.crypto())
        };
        Ok(Keys { seal: context(!self.active)?, open: context(self.active)?, profile: name })
    }

    fn drain(&mut self, out: &mut Vec<Vec<u8>>) {
        while let Some(transmit) = self.dtls.poll_transmit() {
            out.push(transmit.message.to_vec());
        }
    }
}

/// A STUN message with MESSAGE-INTEGRITY and FINGERPRINT.
fn stun(password: &str, attributes: Vec<Box<dyn Setter>>) -> anyhow::Result<Vec<u8>> {
    let provider = rtc_crypto::default_provider()?;
    // Shortens the life of the boxes to the provider's.
    let mut attributes: Vec<Box<dyn Setter + '_>> = attributes;
    attributes.push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
        password.to_owned(),
        provider.crypto(),
    )));
    attributes.push(Box::new(FingerprintAttr));
    let mut message = Message::new();
    message.build(&attributes)?;
    Ok(message.raw)
}
