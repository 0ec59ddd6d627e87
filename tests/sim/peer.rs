//! A WebRTC client in virtual time, built on the rtc-* crates so that it shares no code with the
//! server's own STUN, SRTP and sequence handling.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use greenroom::rtp::packet::PacketKind;
use greenroom::rtp::rtcp::{Packet, packets};
use greenroom::sfu::transport::{DtlsRole, Fingerprint, IceCredentials, Remote};
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::attributes::{ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, RawAttribute};
use rtc_stun::fingerprint::FingerprintAttr;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, TransactionId};
use rtc_stun::textattrs::TextAttribute;

use super::media::{Media, Publish, Watch};

const ENGINE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

pub struct Peer {
    pub local: IceCredentials,
    pub remote: IceCredentials,
    pub fingerprint: Fingerprint,
    pub address: SocketAddr,
    dtls: Endpoint,
    /// It is the DTLS client.
    connects: bool,
    profile: SrtpProtectionProfile,
    keys: Option<Keys>,
    next_check: Instant,
    pub silent: bool,
    pub out: VecDeque<Vec<u8>>,
    /// SCTP packets that arrived; for the fuzz targets.
    pub data: VecDeque<Vec<u8>>,
    pub media: Media,
}

struct Keys {
    seal: Context,
    open: Context,
}

impl Peer {
    pub fn new(now: Instant, number: u16, remote: IceCredentials, media: Media) -> Self {
        Self::with_profile(now, number, remote, media, SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm)
    }

    /// A peer that offers one SRTP protection profile.
    pub fn with_profile(
        now: Instant,
        number: u16,
        remote: IceCredentials,
        media: Media,
        profile: SrtpProtectionProfile,
    ) -> Self {
        Self::in_role(now, number, remote, media, profile, false)
    }

    /// A peer that offers one SRTP protection profile, and is the DTLS client if it `connects`.
    pub fn in_role(
        now: Instant,
        number: u16,
        remote: IceCredentials,
        media: Media,
        profile: SrtpProtectionProfile,
        connects: bool,
    ) -> Self {
        let provider = rtc_crypto::default_provider().unwrap();
        let certificate =
            Certificate::generate_self_signed(vec!["peer".to_owned()], provider.crypto()).unwrap();
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            certificate.certificate[0].as_ref(),
        );
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_cipher_suites(vec![CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256])
            .with_srtp_protection_profiles(vec![profile])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_insecure_skip_verify(true)
            .with_server_name("greenroom".to_owned())
            .with_flight_interval(Duration::from_millis(100))
            .build(connects, None)
            .unwrap();
        let config = Arc::new(config);
        let accepts = (!connects).then(|| config.clone());
        let mut dtls = Endpoint::new(ENGINE, TransportProtocol::UDP, accepts);
        if connects {
            dtls.connect(now, ENGINE, config, None).unwrap();
        }
        Self {
            local: IceCredentials {
                ufrag: format!("peer{number}"),
                password: format!("password-of-peer-number-{number:08}"),
            },
            remote,
            fingerprint: Fingerprint(digest.as_ref().try_into().unwrap()),
            address: SocketAddr::from(([10, 1, (number >> 8) as u8, number as u8], 5000)),
            dtls,
            connects,
            profile,
            keys: None,
            next_check: now,
            silent: false,
            out: VecDeque::new(),
            data: VecDeque::new(),
            media,
        }
    }

    /// What a shard is told of this peer.
    #[allow(dead_code, reason = "tests of the server's own SDP tell it so")]
    pub fn as_remote(&self) -> Remote {
        let role = if self.connects { DtlsRole::Server } else { DtlsRole::Client };
        Remote { ice: self.local.clone(), fingerprint: self.fingerprint, role }
    }

    pub fn connected(&self) -> bool {
        self.keys.is_some()
    }

    pub fn watch(&self) -> &Watch {
        match &self.media {
            Media::Watch(watch) => watch,
            Media::Publish(_) => panic!("not a viewer"),
        }
    }

    pub fn publish(&mut self) -> &mut Publish {
        match &mut self.media {
            Media::Publish(publish) => publish,
            Media::Watch(_) => panic!("not a publisher"),
        }
    }

    /// When [`Self::tick`] has something to do.
    pub fn next_tick(&self) -> Instant {
        if self.silent {
            return self.next_check;
        }
        let media = self.media.next_tick().filter(|_| self.connected());
        [Some(self.next_check), media, self.dtls.poll_timeout(&ENGINE)]
            .into_iter()
            .flatten()
            .min()
            .unwrap()
    }

    pub fn tick(&mut self, now: Instant) {
        if self.silent {
            self.next_check = now + Duration::from_secs(1);
            return;
        }
        if self.next_check <= now {
            let interval = if self.connected() { Duration::from_secs(1) } else { CHECK_INTERVAL };
            self.next_check = now + interval;
            self.out.push_back(self.binding_request());
        }
        let _ = self.dtls.handle_timeout(ENGINE, now);
        self.drain_dtls();
        let (Some(keys), media) = (&mut self.keys, &mut self.media) else { return };
        match media {
            Media::Publish(publish) => publish.tick(now, &mut keys.seal, &mut self.out),
            Media::Watch(watch) => watch.tick(now, &mut keys.seal, &mut self.out),
        }
    }

    fn binding_request(&self) -> Vec<u8> {
        let provider = rtc_crypto::default_provider().unwrap();
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        let attribute =
            |typ, value: Vec<u8>| RawAttribute { typ, length: value.len() as u16, value };
        let mut message = Message::new();
        message
            .build(&[
                Box::new(BINDING_REQUEST),
                Box::new(TransactionId::new()),
                Box::new(TextAttribute::new(ATTR_USERNAME, username)),
                Box::new(attribute(ATTR_PRIORITY, vec![0x7e, 0, 0, 1])),
                Box::new(attribute(ATTR_USE_CANDIDATE, Vec::new())),
                Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
                    self.remote.password.clone(),
                    provider.crypto(),
                )),
                Box::new(FingerprintAttr),
            ])
            .unwrap();
        message.raw.clone()
    }

    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        match PacketKind::of(bytes) {
            Some(PacketKind::Dtls) => self.receive_dtls(now, bytes),
            Some(PacketKind::Rtp) => {
                let (Some(keys), Media::Watch(watch)) = (&mut self.keys, &mut self.media) else {
                    return;
                };
                let plain = keys.open.decrypt_rtp(bytes).expect("the server's SRTP opens");
                watch.receive(now, &plain);
            }
            Some(PacketKind::Rtcp) => {
                let Some(keys) = &mut self.keys else { return };
                let plain = keys.open.decrypt_rtcp(bytes).expect("the server's SRTCP opens");
                match &mut self.media {
                    Media::Publish(publish) => {
                        publish.receive_rtcp(&plain, &mut keys.seal, &mut self.out);
                    }
                    Media::Watch(watch) => {
                        let reports = packets(&plain)
                            .filter(|p| matches!(p, Ok(Packet::SenderReport(_))))
                            .count();
                        watch.reports += reports as u32;
                    }
                }
            }
            _ => {}
        }
    }

    fn receive_dtls(&mut self, now: Instant, bytes: &[u8]) {
        let events = self.dtls.read(now, ENGINE, None, BytesMut::from(bytes)).unwrap_or_default();
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => self.keys = Some(self.export_keys()),
                EndpointEvent::ApplicationData(packet) => self.data.push_back(packet.to_vec()),
                _ => {}
            }
        }
        self.drain_dtls();
    }

    /// The DTLS client's keys come first (RFC 5764 4.2): what it seals by, the server opens by.
    fn export_keys(&self) -> Keys {
        let state = self.dtls.get_connection_state(ENGINE).unwrap();
        assert_eq!(state.srtp_protection_profile(), self.profile);
        let (profile, salt) = match self.profile {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => (ProtectionProfile::AeadAes128Gcm, 12),
            _ => (ProtectionProfile::Aes128CmHmacSha1_80, 14),
        };
        let secret =
            state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 32 + 2 * salt).unwrap();
        let (keys, salts) = secret.as_ref().split_at(32);
        let provider = rtc_crypto::default_provider().unwrap();
        let context = |key: &[u8], salt: &[u8]| {
            Context::new(key, salt, profile, None, None, provider.crypto()).unwrap()
        };
        let client = context(&keys[..16], &salts[..salt]);
        let server = context(&keys[16..], &salts[salt..]);
        if self.connects {
            Keys { seal: client, open: server }
        } else {
            Keys { seal: server, open: client }
        }
    }

    /// An RTP packet as this peer would send it; for the measurements in `benches`.
    #[allow(dead_code, reason = "the simulation has its own publisher")]
    pub fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        self.keys.as_mut().expect("connected").seal.encrypt_rtp(packet).unwrap().to_vec()
    }

    /// What seals, once there are keys; for the fuzz targets.
    #[allow(dead_code, reason = "the simulation has its own publisher")]
    pub fn sealer(&mut self) -> Option<&mut Context> {
        self.keys.as_mut().map(|keys| &mut keys.seal)
    }

    /// RTP or RTCP of the server in the clear; for the fuzz targets.
    #[allow(dead_code, reason = "the simulation looks at its own media")]
    pub fn open(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let open = &mut self.keys.as_mut()?.open;
        let plain = match PacketKind::of(bytes)? {
            PacketKind::Rtp => open.decrypt_rtp(bytes),
            PacketKind::Rtcp => open.decrypt_rtcp(bytes),
            _ => return None,
        };
        Some(plain.expect("the server's SRTP opens").to_vec())
    }

    /// Send an SCTP packet; for the fuzz targets.
    #[allow(dead_code, reason = "the simulation has no data channels")]
    pub fn send_data(&mut self, now: Instant, packet: &[u8]) {
        let _ = self.dtls.write(now, ENGINE, packet);
        self.drain_dtls();
    }

    fn drain_dtls(&mut self) {
        while let Some(transmit) = self.dtls.poll_transmit() {
            self.out.push_back(transmit.message.to_vec());
        }
    }
}
