//! DTLS 1.2 (RFC 6347, RFC 5764) by `rtc-dtls`, one engine per peer.
//!
//! The engine sees a constant peer address, so a path change cannot break it, and only records that
//! [`records::sift`] lets through. We decide when it retransmits: its own interval is constant and
//! ends the handshake after seven.
//!
//! Every call into the engine runs under `catch_unwind`: a panic in it is a bug of ours or its, but
//! may end only this peer ([`CloseReason::Internal`]). After a panic the engine is dropped, so the
//! `AssertUnwindSafe` hides no state that is used again.

mod records;
mod shared;

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile as EngineProfile;
use rtc_shared::TransportProtocol;
use signaling::media::CloseReason;

use self::records::{Filter, Sifted, sift};
pub(super) use self::shared::DtlsShared;
use self::shared::fingerprint;
use crate::sfu::drop_reason::DropReason;
use crate::sfu::egress::{Egress, Path};
use crate::sfu::transport::srtp::{Master, Profile};
use crate::sfu::transport::{DtlsRole, Fingerprint, SrtpProfiles};

/// First retransmission, then doubling. Trade: most paths answer within 150 ms, and a lost flight
/// is the most visible delay of a join; slower paths see one spare flight.
const FIRST_RETRANSMIT: Duration = Duration::from_millis(150);
/// Past three doublings a path is not slow but lossy, and waiting longer helps nobody.
const LAST_RETRANSMIT: Duration = Duration::from_secs(1);
/// Retransmissions of one flight the engine makes before it gives up the handshake.
const ENGINE_RETRANSMITS: u8 = 7;
/// Handshake bytes from one peer. A certificate chain of 4 KB sent five times fits.
const MAX_HANDSHAKE: usize = 32 * 1024;
/// Bytes kept of a flight whose beginning is missing; the rest of it comes again.
const MAX_HELD: usize = 8 * 1024;
/// Engines per handshake: one that died of a forged alert or record gets successors.
const MAX_ENGINES: u8 = 4;
/// After a fatal alert in the clear, which anybody can forge, the peer has this long to show that
/// its handshake goes on.
const ALERT_GRACE: Duration = Duration::from_secs(2);
/// Where the engine believes the peer is.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5684);
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5685);

/// The keys of a finished handshake.
pub(super) struct Keys {
    pub(super) profile: Profile,
    /// What we seal with.
    pub(super) local: Master,
    /// What we open with.
    pub(super) remote: Master,
}

/// What an engine call led to.
pub(super) enum DtlsEvent {
    /// The handshake is complete and the certificate is the right one.
    Connected(Box<Keys>),
    /// A decrypted application record: one SCTP packet.
    Data(Bytes),
    /// The end.
    Closed(CloseReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No engine yet, or a dead one to be replaced at `retransmit_at` (client) or by the next
    /// ClientHello (server).
    Idle,
    Handshaking,
    Complete,
    Closed,
}

/// One peer's DTLS association.
pub(super) struct Dtls {
    shared: Arc<DtlsShared>,
    role: DtlsRole,
    expected: Fingerprint,
    profiles: SrtpProfiles,
    engine: Option<Box<Endpoint>>,
    state: State,
    engines: u8,
    handshake_bytes: usize,
    /// Handshake messages of the peer below this number are answered.
    answered: u16,
    /// Messages of its present flight that came: bit n = `answered` + n.
    seen: u16,
    /// Records of a flight whose first message has not come.
    held: BytesMut,
    held_messages: u16,
    /// The beginning of a client's ClientHello.
    hello: Vec<u8>,
    /// The datagrams of our last flight while the handshake runs: what is sent again when the
    /// engine's timer was stopped by a half-received flight.
    flight: Vec<BytesMut>,
    retransmit_at: Option<Instant>,
    retransmits: u8,
    backoff: Duration,
    alerted: Option<Instant>,
}

impl Dtls {
    pub(super) fn new(
        shared: Arc<DtlsShared>,
        role: DtlsRole,
        expected: Fingerprint,
        profiles: SrtpProfiles,
    ) -> Self {
        Self {
            shared,
            role,
            expected,
            profiles,
            engine: None,
            state: State::Idle,
            engines: 0,
            handshake_bytes: 0,
            answered: 0,
            seen: 0,
            held: BytesMut::new(),
            held_messages: 0,
            hello: Vec::new(),
            flight: Vec::new(),
            retransmit_at: None,
            retransmits: 0,
            backoff: FIRST_RETRANSMIT,
            alerted: None,
        }
    }

    /// Send the ClientHello if that is our part and it has not been sent.
    pub(super) fn start(&mut self, now: Instant, out: &mut Wire<'_, '_>) {
        if self.state == State::Idle && self.engines == 0 && self.role == DtlsRole::Client {
            self.connect(now, out);
        }
    }

    fn connect(&mut self, now: Instant, out: &mut Wire<'_, '_>) {
        let config = match self.profiles {
            SrtpProfiles::GcmOnly => &self.shared.client_gcm,
            SrtpProfiles::GcmOrCm => &self.shared.client_gcm_or_cm,
        };
        let mut engine = Box::new(Endpoint::new(LOCAL, TransportProtocol::UDP, None));
        let config = config.clone();
        match guard(|| engine.connect(now, PEER, config, None)) {
            Some(Ok(())) => self.install(engine),
            _ => return self.close_as(CloseReason::Internal, out),
        }
        self.transmit(now, out);
    }

    fn install(&mut self, engine: Box<Endpoint>) {
        self.engine = Some(engine);
        self.engines += 1;
        self.state = State::Handshaking;
        self.answered = 0;
        self.seen = 0;
        self.held.clear();
        self.held_messages = 0;
        self.backoff = FIRST_RETRANSMIT;
    }

    /// Feed a datagram from a validated path.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        datagram: &[u8],
        out: &mut Wire<'_, '_>,
    ) -> Result<(), DropReason> {
        if self.state == State::Closed {
            return Err(DropReason::DtlsClosed);
        }
        let sifted = sift(
            datagram,
            Filter {
                client: self.role == DtlsRole::Client,
                complete: self.state == State::Complete,
                answered: self.answered,
            },
        );
        if sifted.repeated && sifted.records.is_empty() {
            self.repeat_hello_verify(out);
            return Ok(());
        }
        if sifted.alert && self.state == State::Handshaking {
            self.alerted = self.alerted.or(Some(now + ALERT_GRACE));
        }
        if sifted.records.is_empty() {
            return Err(DropReason::DtlsMalformed);
        }
        self.alerted = self.alerted.filter(|_| sifted.handshake_bytes == 0);
        let kept = sifted.handshake_bytes + sifted.hoarded_bytes;
        self.handshake_bytes += kept;
        if self.handshake_bytes > MAX_HANDSHAKE && kept > 0 {
            if self.state != State::Complete && sifted.handshake_bytes > 0 {
                self.close_as(CloseReason::HandshakeFailed, out);
            }
            return Err(DropReason::DtlsHandshakeTooLarge);
        }
        if self.state == State::Idle {
            return self.first_hello(now, &sifted, out);
        }
        if self.too_early(&sifted) {
            if self.held.len() < MAX_HELD {
                self.held.extend_from_slice(&sifted.records);
                self.held_messages |= sifted.messages;
            }
            return Ok(());
        }
        if !sifted.hello.is_empty() {
            // A piece of the second ClientHello would make the engine repeat its
            // HelloVerifyRequest, which looks like an answer to the piece.
            let Some((_, records)) = self.whole_hello(&sifted) else { return Ok(()) };
            self.seen |= sifted.messages;
            return self.read(now, records, out);
        }
        self.seen |= sifted.messages | std::mem::take(&mut self.held_messages);
        let mut records = sifted.records;
        records.unsplit(std::mem::take(&mut self.held));
        self.read(now, records, out)
    }

    /// Whether these belong to a flight whose first datagram was overtaken or lost. The engine
    /// would take them for a fatal error or answer the flight before once more.
    fn too_early(&self, sifted: &Sifted) -> bool {
        self.state == State::Handshaking
            && sifted.messages != 0
            && (self.seen | sifted.messages) & 1 == 0
    }

    /// Put a ClientHello together and make the server's engine for it, with the SRTP profile the
    /// client can do: an engine of our own choice would take the client's first, which is AES-CM.
    fn first_hello(
        &mut self,
        now: Instant,
        sifted: &Sifted,
        out: &mut Wire<'_, '_>,
    ) -> Result<(), DropReason> {
        const GCM: u16 = EngineProfile::Srtp_Aead_Aes_128_Gcm as u16;
        const CM: u16 = EngineProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 as u16;
        if self.role != DtlsRole::Server || sifted.hello.is_empty() {
            return Err(DropReason::DtlsMalformed);
        }
        let Some((hello, records)) = self.whole_hello(sifted) else { return Ok(()) };
        let offered = records::srtp_profiles(&hello).ok_or(DropReason::DtlsMalformed)?;
        let cm = self.profiles == SrtpProfiles::GcmOrCm
            && offered.contains(&CM)
            && !offered.contains(&GCM);
        let config = if cm { &self.shared.server_cm } else { &self.shared.server_gcm };
        let engine = Endpoint::new(LOCAL, TransportProtocol::UDP, Some(config.clone()));
        self.install(Box::new(engine));
        self.seen = 1;
        self.read(now, records, out)
    }

    /// A ClientHello and its records, once all pieces are there. OpenSSL without a known MTU, as in
    /// GStreamer, cuts at 256 bytes.
    fn whole_hello(&mut self, sifted: &Sifted) -> Option<(Vec<u8>, BytesMut)> {
        let total = sifted.hello.first()?.total;
        for piece in &sifted.hello {
            if piece.offset == 0 {
                self.hello.clear();
                self.held.clear();
            }
            // Pieces that overtook each other come again in order.
            if piece.offset == self.hello.len() && self.hello.len() < total {
                self.hello.extend_from_slice(&piece.bytes);
            }
        }
        self.held.extend_from_slice(&sifted.records);
        (self.hello.len() >= total)
            .then(|| (std::mem::take(&mut self.hello), std::mem::take(&mut self.held)))
    }

    fn read(
        &mut self,
        now: Instant,
        records: BytesMut,
        out: &mut Wire<'_, '_>,
    ) -> Result<(), DropReason> {
        let Some(engine) = self.engine.as_mut() else { return Err(DropReason::DtlsClosed) };
        let Some(result) = guard(|| engine.read(now, PEER, None, records)) else {
            self.close_as(CloseReason::Internal, out);
            return Err(DropReason::DtlsMalformed);
        };
        if self.transmit(now, out) {
            // An answer to what came: the engine has these messages whole.
            self.answered = self.answered.saturating_add(self.seen.trailing_ones() as u16);
            self.seen = 0;
        }
        match result {
            Ok(events) => {
                events.into_iter().for_each(|event| self.event(event, out));
                Ok(())
            }
            Err(_) => {
                self.failed(now, out);
                Err(DropReason::DtlsMalformed)
            }
        }
    }

    fn event(&mut self, event: EndpointEvent, out: &mut Wire<'_, '_>) {
        match event {
            EndpointEvent::HandshakeComplete => self.complete(out),
            EndpointEvent::ApplicationData(data) if self.state == State::Complete => {
                out.events.push(DtlsEvent::Data(data.freeze()));
            }
            EndpointEvent::PeerClosed => self.close_as(CloseReason::PeerClosed, out),
            _ => {}
        }
    }

    fn complete(&mut self, out: &mut Wire<'_, '_>) {
        match self.export() {
            Ok(keys) => {
                self.state = State::Complete;
                self.flight = Vec::new();
                self.retransmit_at = None;
                out.events.push(DtlsEvent::Connected(Box::new(keys)));
            }
            Err(reason) => self.close_as(reason, out),
        }
    }

    /// The SRTP keys, after the certificate was found to be the one of the SDP.
    fn export(&self) -> Result<Keys, CloseReason> {
        let state = self.engine.as_ref().and_then(|engine| engine.get_connection_state(PEER));
        let state = state.ok_or(CloseReason::Internal)?;
        let certificate = state.peer_certificates.first();
        if certificate.map(|der| fingerprint(der)) != Some(self.expected) {
            return Err(CloseReason::FingerprintMismatch);
        }
        let profile = match state.srtp_protection_profile() {
            EngineProfile::Srtp_Aead_Aes_128_Gcm => Profile::Gcm,
            EngineProfile::Srtp_Aes128_Cm_Hmac_Sha1_80
                if self.profiles == SrtpProfiles::GcmOrCm =>
            {
                Profile::Cm
            }
            _ => return Err(CloseReason::HandshakeFailed),
        };
        let keying = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.keying_len());
        let keying = keying.map_err(|_| CloseReason::Internal)?;
        let (client, server) =
            Master::split(profile, keying.as_ref()).ok_or(CloseReason::Internal)?;
        let (local, remote) = match self.role {
            DtlsRole::Client => (client, server),
            DtlsRole::Server => (server, client),
        };
        Ok(Keys { profile, local, remote })
    }

    /// The engine gave up on a record. An established association lives on; a handshake starts
    /// again, because one forged plain-text record must not be able to end it.
    fn failed(&mut self, now: Instant, out: &mut Wire<'_, '_>) {
        if self.state != State::Handshaking {
            return;
        }
        if self.engines >= MAX_ENGINES {
            return self.close_as(CloseReason::HandshakeFailed, out);
        }
        self.engine = None;
        self.flight.clear();
        self.state = State::Idle;
        self.answered = 0;
        self.retransmit_at = (self.role == DtlsRole::Client)
            .then(|| now + FIRST_RETRANSMIT * 2u32.pow(u32::from(self.engines)));
    }

    /// Encrypt an SCTP packet.
    pub(super) fn write(&mut self, now: Instant, data: &[u8], out: &mut Wire<'_, '_>) {
        if self.state != State::Complete {
            return;
        }
        let Some(engine) = self.engine.as_mut() else { return };
        match guard(|| engine.write(now, PEER, data)) {
            Some(_) => _ = self.transmit(now, out),
            None => self.close_as(CloseReason::Internal, out),
        }
    }

    /// Send close_notify and be closed, without an event.
    pub(super) fn close(&mut self, now: Instant, out: &mut Wire<'_, '_>) {
        if let Some(engine) = self.engine.as_mut()
            && self.state != State::Closed
        {
            let _ = guard(|| engine.close(now));
            self.transmit(now, out);
        }
        self.state = State::Closed;
        self.engine = None;
        self.retransmit_at = None;
    }

    fn close_as(&mut self, reason: CloseReason, out: &mut Wire<'_, '_>) {
        if self.state != State::Closed {
            out.events.push(DtlsEvent::Closed(reason));
        }
        self.state = State::Closed;
        self.engine = None;
        self.flight = Vec::new();
        self.retransmit_at = None;
    }

    /// Retransmit what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Wire<'_, '_>) {
        if self.alerted.is_some_and(|at| at <= now) && self.state == State::Handshaking {
            return self.close_as(CloseReason::HandshakeFailed, out);
        }
        if self.retransmit_at.is_none_or(|at| at > now) {
            return;
        }
        self.retransmit_at = None;
        if self.state == State::Idle {
            return self.connect(now, out);
        }
        self.backoff = (self.backoff * 2).min(LAST_RETRANSMIT);
        let Some(engine) = self.engine.as_mut() else { return };
        if engine.poll_timeout(&PEER).is_some() && self.retransmits < ENGINE_RETRANSMITS {
            // With fresh record numbers, as RFC 6347 4.2.4 wants.
            let (backoff, retransmits) = (self.backoff, self.retransmits + 1);
            match guard(|| engine.handle_timeout(PEER, now)) {
                Some(Ok(())) => {}
                Some(Err(_)) => return self.failed(now, out),
                None => return self.close_as(CloseReason::Internal, out),
            }
            self.transmit(now, out);
            (self.backoff, self.retransmits) = (backoff, retransmits);
        } else {
            // A part of the peer's flight stopped the engine's timer, or its patience is at an end:
            // send our flight again as it was.
            self.flight.iter().for_each(|datagram| out.send(datagram));
        }
        self.retransmit_at = Some(now + self.backoff);
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let alerted = self.alerted.filter(|_| self.state == State::Handshaking);
        [self.retransmit_at, alerted].into_iter().flatten().min()
    }

    /// Send what the engine has queued; during the handshake that is a flight. True if it was.
    fn transmit(&mut self, now: Instant, out: &mut Wire<'_, '_>) -> bool {
        let Some(engine) = self.engine.as_mut() else { return false };
        let mut sent = Vec::new();
        while let Some(datagram) = engine.poll_transmit() {
            // An alert in the clear ends the peer's handshake, and whatever upset the engine may
            // have been forged or merely come too early.
            if records::is_clear_alert(&datagram.message) {
                continue;
            }
            out.send(&datagram.message);
            sent.push(datagram.message);
        }
        if self.state != State::Handshaking || sent.is_empty() {
            return false;
        }
        self.flight = sent;
        self.retransmits = 0;
        self.backoff = FIRST_RETRANSMIT;
        // A HelloVerifyRequest is not retransmitted on a timer but when the ClientHello is.
        let verify = self.flight.first().is_some_and(|sent| records::is_hello_verify_request(sent));
        self.retransmit_at = (!verify).then(|| now + FIRST_RETRANSMIT);
        true
    }

    /// The client repeats its first ClientHello: our HelloVerifyRequest was lost.
    fn repeat_hello_verify(&self, out: &mut Wire<'_, '_>) {
        if let [verify] = &self.flight[..]
            && records::is_hello_verify_request(verify)
        {
            out.send(verify);
        }
    }
}

/// Run an engine call; `None` if it panicked.
fn guard<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// Where datagrams and events of an engine call go.
pub(super) struct Wire<'a, 'b> {
    pub(super) path: Option<Path>,
    pub(super) egress: &'a mut Egress<'b>,
    pub(super) events: Vec<DtlsEvent>,
}

impl Wire<'_, '_> {
    fn send(&mut self, datagram: &[u8]) {
        if let Some(path) = self.path {
            self.egress.datagram(path, datagram);
        }
    }
}

#[cfg(test)]
mod tests;
