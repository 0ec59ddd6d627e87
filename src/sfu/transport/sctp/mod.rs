//! Data channels (RFC 8831) over SCTP by `rtc-sctp`, pre-negotiated: ids 0, 1 and 2, no DCEP.
//!
//! The state is made when the peer's INIT arrives, or when it has not come for a while and we send
//! ours: a transport that never uses data costs nothing here. As with DTLS, a panic in the engine
//! ends only this peer.

mod scan;

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig,
    EndpointEvent, Event, Payload, PayloadProtocolIdentifier, ReliabilityType, ServerConfig,
    StreamEvent, TimerConfig, TransportConfig,
};
use rtc_shared::TransportProtocol;
use signaling::media::{Channel, CloseReason};

use self::scan::{STREAMS, scan};
use crate::sfu::drop_reason::DropReason;
use crate::sfu::transport::TransportEvent;

/// The largest message either way, as in the signaling protocol.
const MAX_MESSAGE: usize = 16 * 1024;
/// Bytes of unread messages a peer can make us hold.
const RECEIVE_BUFFER: u32 = 128 * 1024;
/// We send an INIT ourselves if the peer has not this long after the handshake. Trade: browsers
/// send theirs at once, and two INITs that cross cost an association; peers that wait for the DTLS
/// client to begin lose this much.
const INITIATE_AFTER: Duration = Duration::from_millis(500);
/// Associations a peer may go through on one transport.
const MAX_ASSOCIATIONS: u8 = 8;
/// Reset requests per association. Three channels are closed once.
const MAX_RECONFIGS: u32 = 64;
/// Refused packets and messages after which the peer is closed for abuse.
const MAX_REFUSED: u32 = 1024;

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);
const CHANNELS: [Channel; STREAMS as usize] = [Channel::Gifts, Channel::Events, Channel::Effects];

/// Unacknowledged and unsent bytes per viewer and channel before its overflow rule applies.
const fn buffer_limit(channel: Channel) -> usize {
    match channel {
        Channel::Gifts | Channel::Events => 64 * 1024,
        Channel::Effects => 16 * 1024,
    }
}

/// The engine's configurations, the same for all transports.
#[derive(Debug)]
pub(super) struct SctpShared {
    endpoint: Arc<EndpointConfig>,
    transport: TransportConfig,
    server: Arc<ServerConfig>,
}

impl SctpShared {
    pub(super) fn new() -> Self {
        // The default stops retransmitting data for ever after five timeouts; the end of a
        // transport is decided by consent.
        let timers = TimerConfig { max_t3_rtx_retrans: usize::MAX, ..TimerConfig::default() };
        let transport = TransportConfig::default()
            .with_max_message_size(MAX_MESSAGE as u32)
            .with_max_receive_buffer_size(RECEIVE_BUFFER)
            .with_max_num_inbound_streams(STREAMS)
            .with_max_num_outbound_streams(STREAMS)
            .with_timer_config(timers);
        Self {
            endpoint: Arc::new(EndpointConfig::new()),
            server: Arc::new(ServerConfig::new(transport.clone())),
            transport,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChannelState {
    Closed,
    Open,
    /// Over its limit: nothing more until the buffer is empty.
    Stopped,
}

struct Link {
    handle: AssociationHandle,
    association: Association,
    /// The peer's INIT this answers: its tag and our INIT ACK, until established.
    answered: Option<(u32, Option<Bytes>)>,
    reconfigs: u32,
}

struct Engine {
    endpoint: Endpoint,
    link: Option<Link>,
}

/// The data channels of one transport.
pub(super) struct DataChannels {
    shared: Arc<SctpShared>,
    engine: Option<Box<Engine>>,
    channels: [ChannelState; STREAMS as usize],
    effects_overflow: bool,
    initiate_at: Option<Instant>,
    associations: u8,
    /// The last cumulative TSN we acknowledged.
    acknowledged: Option<u32>,
    refused: u32,
    dead: bool,
    /// When INITs cross, the peer's wins.
    yields: bool,
    /// SCTP packets to encrypt and send.
    pub(super) packets: Vec<Bytes>,
    /// What the transport should report.
    pub(super) events: Vec<TransportEvent>,
}

impl DataChannels {
    /// Made when the DTLS handshake completes. When both sides send an INIT at once, the engine
    /// would make two associations, so one INIT is ignored: `yields` = ours.
    pub(super) fn new(now: Instant, shared: Arc<SctpShared>, yields: bool) -> Self {
        Self {
            shared,
            engine: None,
            channels: [ChannelState::Closed; STREAMS as usize],
            effects_overflow: false,
            initiate_at: Some(now + INITIATE_AFTER),
            associations: 0,
            acknowledged: None,
            refused: 0,
            dead: false,
            yields,
            packets: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Feed one decrypted SCTP packet.
    pub(super) fn handle(&mut self, now: Instant, packet: Bytes) -> Result<(), DropReason> {
        if self.dead {
            return Err(DropReason::DataClosed);
        }
        let Some(scan) = scan(&packet, self.acknowledged) else { return self.refuse() };
        if let Some((tag, first_tsn)) = scan.init {
            return self.handle_init(now, tag, first_tsn, packet);
        }
        self.guarded(|this| this.feed(now, packet, scan.reconfigs))
    }

    fn handle_init(
        &mut self,
        now: Instant,
        tag: u32,
        first_tsn: u32,
        packet: Bytes,
    ) -> Result<(), DropReason> {
        self.initiate_at = None;
        let link = self.engine.as_ref().and_then(|engine| engine.link.as_ref());
        match link {
            Some(link) if !link.association.is_handshaking() => return self.refuse(),
            // The same INIT again: our answer was lost. The engine would make a second
            // association, so the answer is kept here.
            Some(Link { answered: Some((answered, ack)), .. }) if *answered == tag => {
                self.packets.extend(ack.clone());
                return Ok(());
            }
            Some(Link { answered: None, .. }) if !self.yields => return Ok(()),
            // Ours crossed with theirs, or they began anew.
            _ => {}
        }
        if self.associations >= MAX_ASSOCIATIONS {
            return self.refuse();
        }
        self.associations += 1;
        self.acknowledged = Some(first_tsn.wrapping_sub(1));
        self.guarded(|this| this.accept(now, tag, packet))
    }

    fn accept(&mut self, now: Instant, tag: u32, packet: Bytes) -> Result<(), DropReason> {
        let engine = Self::engine(&mut self.engine, &self.shared);
        if let Some(old) = engine.link.take() {
            engine.endpoint.handle_event(old.handle, EndpointEvent::drained());
        }
        match engine.endpoint.handle(now, PEER, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                engine.link =
                    Some(Link { handle, association, answered: Some((tag, None)), reconfigs: 0 });
            }
            _ => return self.refuse(),
        }
        let before = self.packets.len();
        self.drive(now);
        let ack = self.packets.get(before).cloned();
        if let Some(Link { answered: Some((_, slot)), .. }) = self.link() {
            *slot = ack;
        }
        Ok(())
    }

    fn feed(&mut self, now: Instant, packet: Bytes, reconfigs: u32) -> Result<(), DropReason> {
        let Some(engine) = self.engine.as_mut() else { return self.refuse() };
        let Some(link) = engine.link.as_mut() else { return self.refuse() };
        link.reconfigs += reconfigs;
        if link.reconfigs > MAX_RECONFIGS {
            return self.refuse();
        }
        match engine.endpoint.handle(now, PEER, None, packet) {
            Some((handle, DatagramEvent::AssociationEvent(event))) if handle == link.handle => {
                link.association.handle_event(event);
            }
            _ => return self.refuse(),
        }
        let refused = self.refused;
        self.drive(now);
        if self.refused > refused { Err(DropReason::DataRefused) } else { Ok(()) }
    }

    /// Send a text message.
    pub(super) fn send(
        &mut self,
        now: Instant,
        channel: Channel,
        bytes: &Bytes,
    ) -> Result<(), DropReason> {
        let at = usize::from(channel as u16);
        if bytes.len() > MAX_MESSAGE || bytes.is_empty() {
            return Err(DropReason::DataRefused);
        }
        self.guarded(|this| {
            let state = this.channels[at];
            let Some(link) = this.link().filter(|_| state != ChannelState::Closed) else {
                return Err(DropReason::DataClosed);
            };
            let mut stream =
                link.association.stream(channel as u16).map_err(|_| DropReason::DataClosed)?;
            let buffered = stream.buffered_amount().unwrap_or(0);
            let full = buffered + bytes.len() > buffer_limit(channel);
            if full || (state == ChannelState::Stopped && buffered > 0) {
                return this.overflow(now, channel);
            }
            stream
                .write_chunk_with_ppi(now, bytes, PayloadProtocolIdentifier::String)
                .map_err(|_| DropReason::DataClosed)?;
            if channel == Channel::Effects {
                this.effects_overflow = false;
            }
            this.drive(now);
            Ok(())
        })
    }

    /// The rule of a channel whose buffer is full.
    fn overflow(&mut self, now: Instant, channel: Channel) -> Result<(), DropReason> {
        let at = usize::from(channel as u16);
        let first = match channel {
            Channel::Effects => !std::mem::replace(&mut self.effects_overflow, true),
            Channel::Events => {
                std::mem::replace(&mut self.channels[at], ChannelState::Stopped)
                    == ChannelState::Open
            }
            Channel::Gifts => {
                self.channels[at] = ChannelState::Closed;
                if let Some(link) = self.link()
                    && let Ok(mut stream) = link.association.stream(channel as u16)
                {
                    let _ = stream.close(now);
                }
                self.drive(now);
                true
            }
        };
        if first {
            self.events.push(TransportEvent::DataOverflow(channel));
        }
        Err(DropReason::DataBufferFull)
    }

    /// Advance timers.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let _ = self.guarded(|this| {
            if this.initiate_at.is_some_and(|at| at <= now) {
                this.initiate_at = None;
                this.initiate(now);
            }
            if let Some(link) = this.link()
                && link.association.poll_timeout().is_some_and(|at| at <= now)
            {
                link.association.handle_timeout(now);
                this.drive(now);
            }
            Ok(())
        });
    }

    fn initiate(&mut self, now: Instant) {
        let config = ClientConfig::new(self.shared.transport.clone());
        let engine = Self::engine(&mut self.engine, &self.shared);
        if engine.link.is_some() {
            return;
        }
        if let Ok((handle, association)) = engine.endpoint.connect(now, config, PEER) {
            engine.link = Some(Link { handle, association, answered: None, reconfigs: 0 });
            self.associations += 1;
            // Learnt from the peer's INIT ACK only inside the engine; until our first SACK the
            // distance cannot be checked.
            self.acknowledged = None;
        }
        self.drive(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let link = self.engine.as_ref().and_then(|engine| engine.link.as_ref());
        let engine = link.and_then(|link| link.association.poll_timeout());
        [engine, self.initiate_at].into_iter().flatten().min()
    }

    /// Collect what the engine has to report and to send.
    fn drive(&mut self, now: Instant) {
        loop {
            let Some(link) = self.link() else { return };
            let Some(event) = link.association.poll() else { break };
            self.event(&event);
        }
        let Some(engine) = self.engine.as_mut() else { return };
        let Some(link) = engine.link.as_mut() else { return };
        while let Some(transmit) = link.association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.message {
                for packet in packets {
                    self.acknowledged = scan::acknowledged(&packet).or(self.acknowledged);
                    self.packets.push(packet);
                }
            }
        }
        // An accepted association calls itself closed until the peer's COOKIE ECHO.
        if link.association.is_closed() && link.answered.is_none() {
            let handle = link.handle;
            engine.link = None;
            engine.endpoint.handle_event(handle, EndpointEvent::drained());
            self.channels = [ChannelState::Closed; STREAMS as usize];
        }
    }

    fn event(&mut self, event: &Event) {
        match *event {
            Event::Connected => self.open(),
            Event::AssociationLost { id, .. } => {
                if let Some(state) = self.channels.get_mut(usize::from(id)) {
                    *state = ChannelState::Closed;
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read(id),
            Event::Stream(StreamEvent::BufferedAmountLow { id }) => self.drained(id),
            Event::HandshakeFailed { .. } => {
                if let Some(link) = self.link() {
                    let _ = link.association.abort();
                }
            }
            _ => {}
        }
    }

    /// The association is up: our three streams exist on both sides by agreement.
    fn open(&mut self) {
        let Some(link) = self.link() else { return };
        link.answered = None;
        for channel in CHANNELS {
            let id = channel as u16;
            let known = link.association.stream(id).is_ok();
            if !known
                && link.association.open_stream(id, PayloadProtocolIdentifier::String).is_err()
            {
                continue;
            }
            let Ok(mut stream) = link.association.stream(id) else { continue };
            let lossy = channel == Channel::Effects;
            let kind = if lossy { ReliabilityType::Rexmit } else { ReliabilityType::Reliable };
            let _ = stream.set_reliability_params(lossy, kind, 0);
        }
        self.channels = [ChannelState::Open; STREAMS as usize];
        self.events.extend(CHANNELS.map(TransportEvent::DataOpen));
    }

    fn read(&mut self, id: u16) {
        let mut refused = 0;
        let mut messages = Vec::new();
        if let Some(link) = self.link()
            && let Ok(mut stream) = link.association.stream(id)
        {
            while let Ok(Some(chunks)) = stream.read() {
                let text = chunks.ppi == PayloadProtocolIdentifier::String;
                let message = chunks.to_payload(MAX_MESSAGE).ok().filter(|_| text);
                match message.filter(|bytes| std::str::from_utf8(bytes).is_ok()) {
                    // The other two are ours to send on.
                    Some(bytes) if id == Channel::Gifts as u16 => messages.push(bytes.freeze()),
                    _ => refused += 1,
                }
            }
        }
        self.refused += refused;
        let messages = messages.into_iter();
        self.events.extend(messages.map(|bytes| TransportEvent::Data(Channel::Gifts, bytes)));
        self.close_abuser();
    }

    /// A stopped channel has nothing left to send: it opens again.
    fn drained(&mut self, id: u16) {
        if let (Some(state), Some(channel)) =
            (self.channels.get_mut(usize::from(id)), CHANNELS.get(usize::from(id)))
            && *state == ChannelState::Stopped
        {
            *state = ChannelState::Open;
            self.events.push(TransportEvent::DataOpen(*channel));
        }
    }

    fn refuse(&mut self) -> Result<(), DropReason> {
        self.refused += 1;
        self.close_abuser();
        Err(DropReason::DataRefused)
    }

    fn close_abuser(&mut self) {
        if self.refused > MAX_REFUSED && !self.dead {
            self.die(CloseReason::Abuse);
        }
    }

    fn die(&mut self, reason: CloseReason) {
        self.dead = true;
        self.engine = None;
        self.initiate_at = None;
        self.channels = [ChannelState::Closed; STREAMS as usize];
        self.events.push(TransportEvent::Closed(reason));
    }

    /// Run engine calls; a panic in them ends this peer only.
    fn guarded(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<(), DropReason>,
    ) -> Result<(), DropReason> {
        match catch_unwind(AssertUnwindSafe(|| call(self))) {
            Ok(result) => result,
            Err(_) => {
                self.die(CloseReason::Internal);
                Err(DropReason::DataRefused)
            }
        }
    }

    fn link(&mut self) -> Option<&mut Link> {
        self.engine.as_mut()?.link.as_mut()
    }

    fn engine<'a>(slot: &'a mut Option<Box<Engine>>, shared: &SctpShared) -> &'a mut Engine {
        slot.get_or_insert_with(|| {
            let endpoint = Endpoint::new(
                PEER,
                TransportProtocol::UDP,
                shared.endpoint.clone(),
                Some(shared.server.clone()),
            );
            Box::new(Engine { endpoint, link: None })
        })
    }
}

#[cfg(test)]
mod tests;
