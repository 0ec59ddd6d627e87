//! One participant's secure link: ICE, DTLS, SRTP and data channels. The only folder that imports
//! the WebRTC stack.
//!
//! Sans-IO: datagrams go in by `handle_*` and `open_*`, out through the lent [`Egress`]; time is an
//! argument; what happened waits in [`Transport::poll_event`]. The caller's demux must pass DTLS,
//! RTP and RTCP only from addresses that [`Transport::handle_stun`] reported as validated.

mod dtls;
mod ice;
mod sctp;
mod srtp;
mod stun;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use signaling::media::{Channel, CloseReason};

use self::dtls::{Dtls, DtlsEvent, DtlsShared, Keys, Wire};
use self::ice::IceAgent;
pub use self::ice::StunOutcome;
use self::sctp::{DataChannels, SctpShared};
pub use self::srtp::{Profile, SrtpSender};
use self::srtp::{Receiver, SrtcpSender};
pub use self::stun::StunRequest;
use crate::sfu::drop_reason::DropReason;
use crate::sfu::egress::{Egress, Path};

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

/// The peer's half of a session, known from its offer or (for a watch transport) its answer.
#[derive(Debug, Clone)]
pub struct Remote {
    /// Its ICE credentials.
    pub ice: IceCredentials,
    /// The fingerprint its certificate must have.
    pub fingerprint: Fingerprint,
    /// Our DTLS role towards it.
    pub role: DtlsRole,
}

/// Which SRTP protection profiles a handshake may end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrtpProfiles {
    /// `SRTP_AEAD_AES_128_GCM` only: 4.3 times cheaper, and every browser has it.
    GcmOnly,
    /// GCM first, `SRTP_AES128_CM_HMAC_SHA1_80` for peers that know nothing else.
    GcmOrCm,
}

/// ICE and DTLS must be up this long after the transport was made.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(15);
/// An established transport ends this long after its last authenticated packet.
const LIFETIME: Duration = Duration::from_secs(30);

/// What all transports of a process share: our certificate and the prepared configurations.
#[derive(Debug)]
pub struct Shared {
    dtls: Arc<DtlsShared>,
    sctp: Arc<SctpShared>,
}

impl Shared {
    /// Generate a certificate.
    ///
    /// # Errors
    /// If the crypto provider fails, which it does on no supported platform.
    pub fn generate() -> anyhow::Result<Self> {
        Ok(Self { dtls: Arc::new(DtlsShared::generate()?), sctp: Arc::new(SctpShared::new()) })
    }

    /// SHA-256 of our certificate, for the SDP.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.dtls.fingerprint()
    }
}

/// What a transport is made of.
#[derive(Debug, Clone)]
pub struct TransportSetup {
    /// Our ICE credentials.
    pub local_ice: IceCredentials,
    /// The peer's half, or `None` until its answer.
    pub remote: Option<Remote>,
    /// SRTP profiles to allow.
    pub srtp: SrtpProfiles,
    /// Whether data channels are set up.
    pub data_channels: bool,
}

/// What happened to a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportEvent {
    /// ICE and DTLS are up; [`Transport::srtp_sender`] has keys.
    Connected,
    /// The end. Nothing follows, and nothing is sent any more.
    Closed(CloseReason),
    /// A data channel can carry data; for [`Channel::Events`] also after an overflow, when its
    /// buffer is empty again and the viewer can be sent a snapshot.
    DataOpen(Channel),
    /// A text message of the peer; valid UTF-8.
    Data(Channel, Bytes),
    /// A channel passed its buffer limit. `Effects`: a frame was dropped (told once until a frame
    /// fits again). `Events`: nothing is sent until [`TransportEvent::DataOpen`]. `Gifts`: closed.
    DataOverflow(Channel),
}

struct Srtp {
    sender: SrtpSender,
    rtcp: SrtcpSender,
    receiver: Receiver,
}

/// One ICE + DTLS + SRTP + SCTP link.
pub struct Transport {
    shared: Arc<Shared>,
    ice: IceAgent,
    remote: Option<Remote>,
    profiles: SrtpProfiles,
    data_channels: bool,
    deadline: Instant,
    dtls: Option<Dtls>,
    srtp: Option<Box<Srtp>>,
    data: Option<DataChannels>,
    events: VecDeque<TransportEvent>,
    closed: bool,
}

impl Transport {
    /// A transport nobody has connected to yet.
    #[must_use]
    pub fn new(now: Instant, setup: TransportSetup, shared: &Arc<Shared>) -> Self {
        let mut transport = Self {
            shared: shared.clone(),
            ice: IceAgent::new(setup.local_ice),
            remote: None,
            profiles: setup.srtp,
            data_channels: setup.data_channels,
            deadline: now + HANDSHAKE_DEADLINE,
            dtls: None,
            srtp: None,
            data: None,
            events: VecDeque::new(),
            closed: false,
        };
        if let Some(remote) = setup.remote {
            transport.adopt_remote(&remote);
        }
        transport
    }

    fn adopt_remote(&mut self, remote: &Remote) {
        if ice::remote_changed(self.remote.as_ref(), remote) && self.srtp.is_none() {
            self.dtls = Some(Dtls::new(
                self.shared.dtls.clone(),
                remote.role,
                remote.fingerprint,
                self.profiles,
            ));
        }
        self.remote = Some(remote.clone());
    }

    /// The peer's half, from its answer. Starts the handshake if an address is validated already.
    /// After the handshake a changed fingerprint or role is ignored: keys stay bound to the first.
    pub fn set_remote(&mut self, now: Instant, remote: &Remote, egress: &mut Egress<'_>) {
        if !self.closed {
            self.adopt_remote(remote);
            self.start_dtls(now, egress);
        }
    }

    /// Accept new ICE credentials. The old ones die when a check with the new ones arrives.
    pub fn restart_ice(&mut self, local: IceCredentials, remote: Option<IceCredentials>) {
        self.ice.restart(local);
        if let (Some(known), Some(ice)) = (self.remote.as_mut(), remote) {
            known.ice = ice;
        }
    }

    /// Answer a Binding request whose ufrag is this transport's.
    ///
    /// # Errors
    /// The reason nothing was answered: [`DropReason::StunIntegrity`],
    /// [`DropReason::StunUnknownUfrag`] (dead after a restart) or [`DropReason::StunMalformed`].
    pub fn handle_stun(
        &mut self,
        now: Instant,
        path: Path,
        request: &StunRequest<'_>,
        egress: &mut Egress<'_>,
    ) -> Result<StunOutcome, DropReason> {
        if self.closed {
            return Err(DropReason::StunUnknownUfrag);
        }
        let outcome = self.ice.handle(now, path, request, egress)?;
        self.start_dtls(now, egress);
        Ok(outcome)
    }

    fn start_dtls(&mut self, now: Instant, egress: &mut Egress<'_>) {
        if self.ice.selected().is_some() {
            self.with_dtls(now, None, egress, |dtls, wire| dtls.start(now, wire));
        }
    }

    /// Feed a DTLS datagram from a validated path.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn handle_dtls(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &[u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        if self.closed {
            return Err(DropReason::DtlsClosed);
        }
        if !self.ice.is_validated(path) {
            return Err(DropReason::UnknownAddress);
        }
        // Before the answer there is no fingerprint to hold the peer to; it will send again.
        self.with_dtls(now, Some(path), egress, |dtls, wire| dtls.handle(now, bytes, wire))
            .unwrap_or(Err(DropReason::NoKeys))
    }

    /// Run a DTLS call, for a datagram from somewhere or for none, and then everything it led to.
    fn with_dtls<T>(
        &mut self,
        now: Instant,
        from: Option<Path>,
        egress: &mut Egress<'_>,
        call: impl FnOnce(&mut Dtls, &mut Wire<'_, '_>) -> T,
    ) -> Option<T> {
        let dtls = self.dtls.as_mut()?;
        let mut wire = Wire { path: self.ice.selected(), egress, events: Vec::new() };
        let result = call(dtls, &mut wire);
        let events = std::mem::take(&mut wire.events);
        for event in events {
            match event {
                DtlsEvent::Connected(keys) => self.connected(now, &keys),
                DtlsEvent::Closed(reason) => self.end(reason),
                DtlsEvent::Data(packet) => {
                    if let Some(path) = from {
                        self.ice.heard(now, path);
                    }
                    if let Some(data) = self.data.as_mut() {
                        // Refusals are counted inside; the record itself was fine.
                        let _ = data.handle(now, packet);
                    }
                }
            }
        }
        self.flush_data(now, egress);
        Some(result)
    }

    fn connected(&mut self, now: Instant, keys: &Keys) {
        let srtp = (|| {
            Ok::<_, aws_lc_rs::error::Unspecified>(Srtp {
                sender: SrtpSender::new(keys.profile, &keys.local)?,
                rtcp: SrtcpSender::new(keys.profile, &keys.local)?,
                receiver: Receiver::new(keys.profile, &keys.remote)?,
            })
        })();
        let Ok(srtp) = srtp else { return self.end(CloseReason::Internal) };
        self.ice.authenticated(now);
        self.srtp = Some(Box::new(srtp));
        if self.data_channels {
            let yields = self.remote.as_ref().is_some_and(|peer| peer.role == DtlsRole::Client);
            self.data = Some(DataChannels::new(now, self.shared.sctp.clone(), yields));
        }
        self.events.push_back(TransportEvent::Connected);
    }

    /// Encrypt what SCTP has to send and pass on what it reports.
    fn flush_data(&mut self, now: Instant, egress: &mut Egress<'_>) {
        let Some(data) = self.data.as_mut() else { return };
        let packets = std::mem::take(&mut data.packets);
        let events = std::mem::take(&mut data.events);
        if let Some(dtls) = self.dtls.as_mut() {
            let mut wire = Wire { path: self.ice.selected(), egress, events: Vec::new() };
            packets.iter().for_each(|packet| dtls.write(now, packet, &mut wire));
        }
        for event in events {
            match event {
                TransportEvent::Closed(reason) => self.end(reason),
                event if !self.closed => self.events.push_back(event),
                _ => {}
            }
        }
    }

    /// Check, authenticate and decrypt an RTP packet from a validated path in place. The result is plain RTP.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn open_rtp<'a>(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &'a mut [u8],
    ) -> Result<&'a mut [u8], DropReason> {
        let srtp = self.srtp.as_mut().ok_or(DropReason::NoKeys)?;
        let plain = srtp.receiver.open_rtp(bytes)?;
        self.ice.heard(now, path);
        Ok(plain)
    }

    /// Check, authenticate and decrypt an RTCP compound packet from a validated path in place.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn open_rtcp<'a>(
        &mut self,
        now: Instant,
        path: Path,
        bytes: &'a mut [u8],
    ) -> Result<&'a mut [u8], DropReason> {
        let srtp = self.srtp.as_mut().ok_or(DropReason::NoKeys)?;
        let plain = srtp.receiver.open_rtcp(bytes)?;
        self.ice.heard(now, path);
        Ok(plain)
    }

    /// What seals RTP for this peer, once keys exist.
    #[must_use]
    pub fn srtp_sender(&self) -> Option<&SrtpSender> {
        self.srtp.as_deref().map(|srtp| &srtp.sender)
    }

    /// What protects media in both directions, once keys exist.
    #[must_use]
    pub fn profile(&self) -> Option<Profile> {
        self.srtp_sender().map(SrtpSender::profile)
    }

    /// Seal and queue an RTCP compound packet; dropped if there are no keys or no path.
    pub fn send_rtcp(&mut self, plain: &[u8], egress: &mut Egress<'_>) {
        let (Some(srtp), Some(path)) = (self.srtp.as_mut(), self.ice.selected()) else { return };
        let start = egress.begin();
        srtp.rtcp.seal(plain, egress.buffer());
        let len = egress.buffer().len() - start;
        egress.commit(path, start, len);
    }

    /// Send a text message on a data channel, at most 16 KiB.
    ///
    /// # Errors
    /// [`DropReason::DataClosed`], [`DropReason::DataBufferFull`] (see
    /// [`TransportEvent::DataOverflow`]) or [`DropReason::DataRefused`] for its size.
    pub fn send_data(
        &mut self,
        now: Instant,
        channel: Channel,
        bytes: &Bytes,
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let data = self.data.as_mut().ok_or(DropReason::DataClosed)?;
        let result = data.send(now, channel, bytes);
        self.flush_data(now, egress);
        result
    }

    /// Tell the peer (close_notify) and be closed. Emits no event: the caller knows.
    pub fn close(&mut self, now: Instant, egress: &mut Egress<'_>) {
        if let Some(dtls) = self.dtls.as_mut() {
            let mut wire = Wire { path: self.ice.selected(), egress, events: Vec::new() };
            dtls.close(now, &mut wire);
        }
        self.release();
    }

    fn end(&mut self, reason: CloseReason) {
        if !self.closed {
            self.release();
            self.events.push_back(TransportEvent::Closed(reason));
        }
    }

    fn release(&mut self) {
        self.closed = true;
        self.dtls = None;
        self.srtp = None;
        self.data = None;
    }

    /// Advance to `now`: retransmissions, consent, deadlines.
    pub fn handle_timeout(&mut self, now: Instant, egress: &mut Egress<'_>) {
        if self.closed {
            return;
        }
        if now >= self.expiry() {
            let reason = match self.srtp {
                Some(_) => CloseReason::Timeout,
                None => CloseReason::HandshakeTimeout,
            };
            return self.end(reason);
        }
        self.with_dtls(now, None, egress, |dtls, wire| dtls.handle_timeout(now, wire));
        if let Some(data) = self.data.as_mut() {
            data.handle_timeout(now);
        }
        self.flush_data(now, egress);
    }

    /// When the transport ends if nothing more arrives.
    fn expiry(&self) -> Instant {
        match (&self.srtp, self.ice.last_authenticated()) {
            (Some(_), Some(last)) => last + LIFETIME,
            _ => self.deadline,
        }
    }

    /// When [`Self::handle_timeout`] is due. May be earlier than necessary: the lifetime is moved
    /// by every packet, so the caller need not re-arm its timer for each.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let dtls = self.dtls.as_ref().and_then(Dtls::poll_timeout);
        let data = self.data.as_ref().and_then(DataChannels::poll_timeout);
        [dtls, data, Some(self.expiry())].into_iter().flatten().min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    /// The path to send on: the last nominated one, or the first validated before any is; another one that the
    /// peer is heard from when it is silent.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.ice.selected()
    }

    /// A path is over, for a reason that only the shell can see.
    pub fn forget_path(&mut self, path: Path) {
        self.ice.forget(path);
    }

    /// Whether a valid check came from this path in the present ICE session.
    #[must_use]
    pub fn is_validated(&self, path: Path) -> bool {
        self.ice.is_validated(path)
    }

    /// Whether media may be sent: there is a path, and the peer's consent is younger than 15 s.
    #[must_use]
    pub fn may_send(&self, now: Instant) -> bool {
        !self.closed && self.ice.may_send(now)
    }

    /// When the last packet arrived that only this peer can have made.
    #[must_use]
    pub fn last_authenticated(&self) -> Option<Instant> {
        self.ice.last_authenticated()
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("path", &self.path()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
