//! Handshakes with bare `rtc-dtls` peers and with OpenSSL, both roles, and attacks on them.

use std::io::Read as _;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto::Certificate;

use super::*;
use crate::sfu::egress::Batch;

const GCM: EngineProfile = EngineProfile::Srtp_Aead_Aes_128_Gcm;
const CM: EngineProfile = EngineProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;

#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

/// A peer's certificate, RSA as GStreamer and old servers show, or ECDSA as browsers.
fn certificate(rsa: bool) -> Certificate {
    let provider = rtc_crypto::default_provider().unwrap();
    if rsa {
        // The engine wants the tag with an underscore; otherwise this is openssl's output.
        Certificate::from_pem(include_str!("test_rsa.pem"), provider.crypto()).unwrap()
    } else {
        Certificate::generate_self_signed(vec!["peer".to_owned()], provider.crypto()).unwrap()
    }
}

fn config(client: bool, profiles: &[EngineProfile], cert: Option<&Certificate>) -> HandshakeConfig {
    let mut builder = ConfigBuilder::default()
        .with_crypto_provider(rtc_crypto::default_provider().unwrap())
        .with_srtp_protection_profiles(profiles.to_vec())
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        .with_insecure_skip_verify(true);
    if let Some(cert) = cert {
        builder = builder.with_certificates(vec![cert.clone()]);
    }
    builder.build(client, None).unwrap()
}

/// Our side and what came of it.
struct Ours {
    dtls: Dtls,
    sent: Vec<Vec<u8>>,
    events: Vec<DtlsEvent>,
}

impl Ours {
    fn new(role: DtlsRole, expected: Fingerprint, profiles: SrtpProfiles) -> Self {
        let shared = Arc::new(DtlsShared::generate().unwrap());
        let dtls = Dtls::new(shared, role, expected, profiles);
        Self { dtls, sent: Vec::new(), events: Vec::new() }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Dtls, &mut Wire<'_, '_>) -> T) -> T {
        let mut batch = Batch::new();
        let sent = &mut self.sent;
        let mut sink = |batch: &mut Batch| {
            for message in &batch.messages {
                sent.push(batch.bytes[message.start..message.start + message.len].to_vec());
            }
            batch.clear();
        };
        let mut egress = Egress::new(&mut batch, &mut sink);
        let path = Some(Path { local: 0, remote: PEER });
        let mut wire = Wire { path, egress: &mut egress, events: Vec::new() };
        let result = call(&mut self.dtls, &mut wire);
        let events = wire.events;
        egress.flush();
        self.events.extend(events);
        result
    }

    fn handle(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DropReason> {
        self.call(|dtls, wire| dtls.handle(now, datagram, wire))
    }

    fn keys(&self) -> Option<&Keys> {
        self.events.iter().find_map(|event| match event {
            DtlsEvent::Connected(keys) => Some(&**keys),
            _ => None,
        })
    }

    fn closed(&self) -> Option<CloseReason> {
        self.events.iter().find_map(|event| match event {
            DtlsEvent::Closed(reason) => Some(*reason),
            _ => None,
        })
    }
}

/// Run a handshake without loss against a bare engine; its exported keys if it completed.
fn handshake(ours: &mut Ours, theirs: HandshakeConfig) -> Option<Vec<u8>> {
    let mut now = epoch();
    let theirs = Arc::new(theirs);
    let client = ours.dtls.role == DtlsRole::Server;
    let server = (!client).then(|| theirs.clone());
    let mut peer = Endpoint::new(LOCAL, TransportProtocol::UDP, server);
    if client {
        peer.connect(now, PEER, theirs, None).unwrap();
    } else {
        ours.call(|dtls, wire| dtls.start(now, wire));
    }
    for _ in 0..40 {
        now += Duration::from_millis(100);
        for datagram in std::mem::take(&mut ours.sent) {
            let _ = peer.read(now, PEER, None, BytesMut::from(&datagram[..]));
        }
        while let Some(transmit) = peer.poll_transmit() {
            let _ = ours.handle(now, &transmit.message);
        }
        ours.call(|dtls, wire| dtls.handle_timeout(now, wire));
    }
    let state = peer.get_connection_state(PEER)?;
    let length = ours.keys()?.profile.keying_len();
    let keying = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], length).ok()?;
    Some(keying.as_ref().to_vec())
}

fn assert_same_keys(ours: &Ours, keying: &[u8]) {
    let keys = ours.keys().expect("connected");
    let (client, server) = Master::split(keys.profile, keying).unwrap();
    let (local, remote) = match ours.dtls.role {
        DtlsRole::Client => (client, server),
        DtlsRole::Server => (server, client),
    };
    assert!(keys.local == local && keys.remote == remote, "both sides hold the same keys");
}

fn of(cert: &Certificate) -> Fingerprint {
    fingerprint(&cert.certificate[0])
}

#[test]
fn rsa_and_ecdsa_peers_in_both_roles() {
    for (role, rsa) in [
        (DtlsRole::Client, false),
        (DtlsRole::Client, true),
        (DtlsRole::Server, false),
        (DtlsRole::Server, true),
    ] {
        let cert = certificate(rsa);
        let mut ours = Ours::new(role, of(&cert), SrtpProfiles::GcmOnly);
        let theirs = config(role == DtlsRole::Server, &[CM, GCM], Some(&cert));
        let keying = handshake(&mut ours, theirs);
        let keying = keying.unwrap_or_else(|| panic!("{role:?} rsa {rsa}: {:?}", ours.closed()));
        assert_eq!(ours.keys().unwrap().profile, Profile::Gcm);
        assert_same_keys(&ours, &keying);
    }
}

#[test]
fn aes_cm_for_peers_without_gcm() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let cert = certificate(false);
        let theirs = || config(role == DtlsRole::Server, &[CM], Some(&cert));
        let mut ours = Ours::new(role, of(&cert), SrtpProfiles::GcmOrCm);
        let keying = handshake(&mut ours, theirs()).expect("fell back");
        assert_eq!(ours.keys().unwrap().profile, Profile::Cm);
        assert_same_keys(&ours, &keying);

        let mut ours = Ours::new(role, of(&cert), SrtpProfiles::GcmOnly);
        assert!(handshake(&mut ours, theirs()).is_none());
        assert!(ours.keys().is_none());
    }
}

#[test]
fn gcm_wins_when_the_peer_lists_cm_first() {
    let cert = certificate(false);
    let mut ours = Ours::new(DtlsRole::Server, of(&cert), SrtpProfiles::GcmOrCm);
    handshake(&mut ours, config(true, &[CM, GCM], Some(&cert))).unwrap();
    assert_eq!(ours.keys().unwrap().profile, Profile::Gcm);
}

#[test]
fn another_certificate_or_none_gets_no_keys() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut ours = Ours::new(role, of(&certificate(false)), SrtpProfiles::GcmOnly);
        let theirs = config(role == DtlsRole::Server, &[GCM], Some(&certificate(false)));
        assert!(handshake(&mut ours, theirs).is_none());
        assert_eq!(ours.closed(), Some(CloseReason::FingerprintMismatch));
    }
    let mut ours = Ours::new(DtlsRole::Server, of(&certificate(false)), SrtpProfiles::GcmOnly);
    assert!(handshake(&mut ours, config(true, &[GCM], None)).is_none());
    assert!(ours.keys().is_none());
    // A peer that does not ask for SRTP at all.
    let cert = certificate(false);
    let mut ours = Ours::new(DtlsRole::Server, of(&cert), SrtpProfiles::GcmOrCm);
    assert!(handshake(&mut ours, config(true, &[], Some(&cert))).is_none());
    assert!(ours.keys().is_none());
}

/// A record in the clear.
fn record(kind: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 254, 253, 0, 0, 0, 0, 0, 0, 0, number];
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

#[test]
fn a_forged_alert_does_not_end_a_handshake() {
    let cert = certificate(false);
    let mut ours = Ours::new(DtlsRole::Client, of(&cert), SrtpProfiles::GcmOnly);
    let now = epoch();
    ours.call(|dtls, wire| dtls.start(now, wire));
    assert_eq!(ours.handle(now, &record(21, 200, &[2, 40])), Err(DropReason::DtlsMalformed));
    assert_eq!((ours.sent.len(), ours.closed()), (1, None));
    handshake(&mut ours, config(false, &[GCM], Some(&cert))).expect("went on");
}

#[test]
fn a_client_hello_in_two_datagrams() {
    let now = epoch();
    let cert = certificate(false);
    let mut client = Endpoint::new(LOCAL, TransportProtocol::UDP, None);
    client.connect(now, PEER, Arc::new(config(true, &[CM], Some(&cert))), None).unwrap();
    let whole = client.poll_transmit().unwrap().message;
    let len = whole.len() - 25;
    let mut ours = Ours::new(DtlsRole::Server, of(&cert), SrtpProfiles::GcmOrCm);
    // The back alone is of no use, the front alone not enough.
    ours.handle(now, &piece(&whole, 1, 50..len)).unwrap();
    ours.handle(now, &piece(&whole, 0, 0..50)).unwrap();
    assert!(ours.sent.is_empty());
    ours.handle(now, &piece(&whole, 2, 50..len)).unwrap();
    assert_eq!(ours.sent.len(), 1, "HelloVerifyRequest");
    let _ = client.read(now, PEER, None, BytesMut::from(&ours.sent[0][..]));
    ours.sent.clear();
    // The second one, with the cookie, in pieces as well: GStreamer's OpenSSL cuts at 256 bytes.
    let whole = client.poll_transmit().unwrap().message;
    ours.handle(now, &piece(&whole, 3, 0..50)).unwrap();
    assert!(ours.sent.is_empty(), "no second HelloVerifyRequest");
    ours.handle(now, &piece(&whole, 4, 50..whole.len() - 25)).unwrap();
    assert!(ours.sent.len() > 1 || ours.sent[0].len() > 100, "our flight");
}

/// A part of the handshake message in the record `whole`, as a record of its own.
fn piece(whole: &[u8], number: u8, range: std::ops::Range<usize>) -> Vec<u8> {
    let (header, body) = whole[13..].split_at(12);
    let mut piece = header.to_vec();
    piece[6..9].copy_from_slice(&(range.start as u32).to_be_bytes()[1..]);
    piece[9..12].copy_from_slice(&(range.len() as u32).to_be_bytes()[1..]);
    piece.extend_from_slice(&body[range]);
    record(22, number, &piece)
}

/// A server's flight cut into datagrams of one record each, delivered backwards.
#[test]
fn a_client_waits_for_the_beginning_of_a_flight() {
    let now = epoch();
    let cert = certificate(false);
    let theirs = Arc::new(config(false, &[GCM], Some(&cert)));
    let mut peer = Endpoint::new(LOCAL, TransportProtocol::UDP, Some(theirs));
    let mut ours = Ours::new(DtlsRole::Client, of(&cert), SrtpProfiles::GcmOnly);
    ours.call(|dtls, wire| dtls.start(now, wire));
    for _ in 0..5 {
        for datagram in std::mem::take(&mut ours.sent) {
            peer.read(now, PEER, None, BytesMut::from(&datagram[..])).unwrap();
        }
        let mut records = Vec::new();
        while let Some(transmit) = peer.poll_transmit() {
            let mut rest = &transmit.message[..];
            while !rest.is_empty() {
                let len = 13 + usize::from(u16::from_be_bytes([rest[11], rest[12]]));
                records.push(rest[..len].to_vec());
                rest = &rest[len..];
            }
        }
        // Finished before ChangeCipherSpec is dropped by the engine and comes again.
        if records.len() > 2 {
            records.reverse();
        }
        for record in &records {
            let _ = ours.handle(now, record);
        }
    }
    assert!(ours.keys().is_some(), "{:?}", ours.closed());
}

#[test]
fn an_alert_and_then_silence_is_a_failure() {
    let mut ours = Ours::new(DtlsRole::Client, Fingerprint([0; 32]), SrtpProfiles::GcmOnly);
    let now = epoch();
    ours.call(|dtls, wire| dtls.start(now, wire));
    let _ = ours.handle(now, &record(21, 0, &[2, 40]));
    for tenths in 1..20 {
        let now = now + Duration::from_millis(100) * tenths;
        ours.call(|dtls, wire| dtls.handle_timeout(now, wire));
    }
    assert_eq!(ours.closed(), None);
    ours.call(|dtls, wire| dtls.handle_timeout(now + ALERT_GRACE, wire));
    assert_eq!(ours.closed(), Some(CloseReason::HandshakeFailed));
}

#[test]
fn client_hellos_do_not_disturb_a_client() {
    let now = epoch();
    let cert = certificate(false);
    let mut hello = Endpoint::new(LOCAL, TransportProtocol::UDP, None);
    hello.connect(now, PEER, Arc::new(config(true, &[GCM], Some(&cert))), None).unwrap();
    let hello = hello.poll_transmit().unwrap().message;
    let mut ours = Ours::new(DtlsRole::Client, of(&cert), SrtpProfiles::GcmOnly);
    ours.call(|dtls, wire| dtls.start(now, wire));
    for _ in 0..10_000 {
        assert_eq!(ours.handle(now, &hello), Err(DropReason::DtlsMalformed));
    }
    assert_eq!(ours.sent.len(), 1, "our own ClientHello and no answer");
    handshake(&mut ours, config(false, &[GCM], Some(&cert))).expect("not disturbed");
}

#[test]
fn fragments_are_bounded() {
    let cert = certificate(false);
    for role in [DtlsRole::Client, DtlsRole::Server] {
        let mut ours = Ours::new(role, of(&cert), SrtpProfiles::GcmOnly);
        let now = epoch();
        if role == DtlsRole::Client {
            ours.call(|dtls, wire| dtls.start(now, wire));
        } else {
            let mut client = Endpoint::new(LOCAL, TransportProtocol::UDP, None);
            client.connect(now, PEER, Arc::new(config(true, &[GCM], Some(&cert))), None).unwrap();
            ours.handle(now, &client.poll_transmit().unwrap().message).unwrap();
        }
        // Pieces of 16 MB Certificate messages that never complete.
        let mut refused = 0;
        for number in 0..64u8 {
            let mut body = vec![11, 255, 255, 255, 0, 2 + number % 8, 0, 0, number, 0, 4, 0];
            body.resize(12 + 1024, number);
            let dropped = ours.handle(now, &record(22, number, &body));
            refused += usize::from(dropped == Err(DropReason::DtlsHandshakeTooLarge));
        }
        assert_eq!((refused, ours.closed()), (1, Some(CloseReason::HandshakeFailed)), "{role:?}");
        assert_eq!(ours.handle(now, &record(22, 1, &[11; 30])), Err(DropReason::DtlsClosed));
        assert!(ours.dtls.engine.is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Garbage never panics out of the engine, and never connects.
    #[test]
    fn garbage(
        server: bool,
        datagrams in prop::collection::vec(
            (20u8..26, 0u8..3, prop::collection::vec(any::<u8>(), 0..120)), 1..30),
    ) {
        let role = if server { DtlsRole::Server } else { DtlsRole::Client };
        let mut ours = Ours::new(role, Fingerprint([0; 32]), SrtpProfiles::GcmOrCm);
        let mut now = epoch();
        ours.call(|dtls, wire| dtls.start(now, wire));
        for (kind, epoch, body) in datagrams {
            let mut datagram = record(kind, 1, &body);
            datagram[4] = epoch;
            let _ = ours.handle(now, &datagram);
            now += Duration::from_millis(300);
            ours.call(|dtls, wire| dtls.handle_timeout(now, wire));
        }
        prop_assert!(ours.keys().is_none());
        prop_assert!(ours.closed() != Some(CloseReason::Internal));
    }
}

/// Run a handshake against an openssl process over loopback. `None` without openssl.
fn openssl(role: DtlsRole, rsa: bool, profile: &str) -> Option<(Ours, String)> {
    let folder = std::env::temp_dir().join(format!("greenroom-{}-{rsa}", std::process::id()));
    std::fs::create_dir_all(&folder).ok()?;
    let file = |name: &str| folder.join(format!("{role:?}{name}")).to_string_lossy().into_owned();
    let (key, pem, der) = (file("key.pem"), file("cert.pem"), file("cert.der"));
    let kind: &[&str] = if rsa {
        &["-newkey", "rsa:2048"]
    } else {
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    };
    let request = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=peer"])
        .args(kind)
        .args(["-keyout", &key, "-out", &pem])
        .stderr(Stdio::null())
        .status();
    request.ok().filter(|status| status.success())?;
    let convert = Command::new("openssl")
        .args(["x509", "-in", &pem, "-outform", "DER", "-out", &der])
        .status();
    convert.ok().filter(|status| status.success())?;
    #[expect(clippy::disallowed_methods, reason = "a test reads its certificate")]
    let expected = fingerprint(&std::fs::read(&der).ok()?);

    #[expect(clippy::disallowed_methods, reason = "a test talks to openssl")]
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = bind();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let spare = bind();
    let theirs = spare.local_addr().unwrap().port();
    drop(spare);
    let mut command = Command::new("openssl");
    if role == DtlsRole::Client {
        command.args(["s_server", "-accept", &theirs.to_string(), "-Verify", "1"]);
    } else {
        let port = socket.local_addr().unwrap().port();
        command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]);
    }
    let child = command
        .args(["-dtls1_2", "-cert", &pem, "-key", &key, "-use_srtp", profile])
        .args(["-keymatexport", "EXTRACTOR-dtls_srtp", "-keymatexportlen", "60"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut ours = Ours::new(role, expected, SrtpProfiles::GcmOrCm);
    exchange(&mut ours, &socket, theirs);
    Some((ours, finish(child)))
}

fn exchange(ours: &mut Ours, socket: &UdpSocket, theirs: u16) {
    let start = epoch();
    let mut peer: Option<SocketAddr> = None;
    if ours.dtls.role == DtlsRole::Client {
        peer = Some(([127, 0, 0, 1], theirs).into());
        ours.call(|dtls, wire| dtls.start(start, wire));
    }
    let mut buffer = [0; 4096];
    let mut now = start;
    let mut after = 0;
    while now < start + Duration::from_secs(10) && after < 10 {
        if let Some(peer) = peer {
            for datagram in ours.sent.drain(..) {
                let _ = socket.send_to(&datagram, peer);
            }
        }
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            peer = Some(from);
            let _ = ours.handle(epoch(), &buffer[..len]);
        }
        now = epoch();
        ours.call(|dtls, wire| dtls.handle_timeout(now, wire));
        after += usize::from(ours.keys().is_some() || ours.closed().is_some());
    }
}

/// End the process and return what it printed.
fn finish(mut child: Child) -> String {
    let _ = child.kill();
    let mut text = String::new();
    let _ = child.stdout.take().unwrap().read_to_string(&mut text);
    let _ = child.wait();
    text
}

#[test]
fn openssl_peers() {
    for role in [DtlsRole::Client, DtlsRole::Server] {
        for (rsa, name, profile) in [
            (true, "SRTP_AEAD_AES_128_GCM", Profile::Gcm),
            (false, "SRTP_AES128_CM_SHA1_80", Profile::Cm),
        ] {
            let Some((ours, printed)) = openssl(role, rsa, name) else {
                return eprintln!("no openssl here: not tested");
            };
            let keys = ours.keys();
            let keys = keys.unwrap_or_else(|| panic!("{role:?} {name}: {:?}", ours.closed()));
            assert_eq!(keys.profile, profile);
            let Some((_, keying)) = printed.split_once("Keying material: ") else { continue };
            let keying: Vec<u8> = keying
                .as_bytes()
                .chunks(2)
                .map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            assert_same_keys(&ours, &keying[..profile.keying_len()]);
        }
    }
}
