//! Data channels against a bare `rtc-sctp` peer, honest and hostile.

use proptest::prelude::*;
use rtc_sctp::Chunks;

use super::*;

#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

/// Our channels and a bare engine, no loss, no delay.
struct Talk {
    now: Instant,
    ours: DataChannels,
    endpoint: Endpoint,
    peer: Option<(AssociationHandle, Association)>,
    open: bool,
    received: Vec<(u16, Chunks)>,
    /// The last packet the peer sent, for replays.
    last: Bytes,
}

impl Talk {
    fn new() -> Self {
        let now = epoch();
        let shared = Arc::new(SctpShared::new());
        let server = ServerConfig::new(TransportConfig::default());
        Self {
            now,
            ours: DataChannels::new(now, shared.clone(), true),
            endpoint: Endpoint::new(
                PEER,
                TransportProtocol::UDP,
                shared.endpoint.clone(),
                Some(Arc::new(server)),
            ),
            peer: None,
            open: false,
            received: Vec::new(),
            last: Bytes::new(),
        }
    }

    fn peer_connects(&mut self) {
        // More streams and larger messages than we allow.
        let config = ClientConfig::new(TransportConfig::default());
        self.peer = Some(self.endpoint.connect(self.now, config, PEER).unwrap());
    }

    fn connected() -> Self {
        let mut talk = Self::new();
        talk.peer_connects();
        talk.run(5);
        assert!(talk.open);
        talk.ours.events.clear();
        talk
    }

    /// Packets the peer has to send.
    fn peer_packets(&mut self) -> Vec<Bytes> {
        let mut out = Vec::new();
        if let Some((_, peer)) = self.peer.as_mut() {
            while let Some(transmit) = peer.poll_transmit(self.now) {
                if let Payload::RawEncode(packets) = transmit.message {
                    out.extend(packets);
                }
            }
        }
        out
    }

    fn peer_handles(&mut self, packet: Bytes) {
        match self.endpoint.handle(self.now, PEER, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.peer = Some((handle, association));
            }
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                self.peer.as_mut().unwrap().1.handle_event(event);
            }
            _ => {}
        }
        let Some((_, peer)) = self.peer.as_mut() else { return };
        while let Some(event) = peer.poll() {
            match event {
                Event::Connected => {
                    self.open = true;
                    for id in 0..10 {
                        let _ = peer.open_stream(id, PayloadProtocolIdentifier::String);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => {
                    while let Ok(Some(chunks)) = peer.stream(id).unwrap().read() {
                        self.received.push((id, chunks));
                    }
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, rounds: u32) {
        for _ in 0..rounds {
            for packet in self.peer_packets() {
                self.last = packet.clone();
                let _ = self.ours.handle(self.now, packet);
            }
            for packet in std::mem::take(&mut self.ours.packets) {
                self.peer_handles(packet);
            }
            self.now += Duration::from_millis(210);
            self.ours.handle_timeout(self.now);
            if let Some((_, peer)) = self.peer.as_mut() {
                peer.handle_timeout(self.now);
            }
        }
    }

    fn peer_sends(&mut self, id: u16, ppi: PayloadProtocolIdentifier, bytes: &[u8]) {
        let (_, peer) = self.peer.as_mut().unwrap();
        peer.stream(id).unwrap().write_with_ppi(self.now, bytes, ppi).unwrap();
    }
}

const TEXT: PayloadProtocolIdentifier = PayloadProtocolIdentifier::String;

#[test]
fn a_peer_that_connects_and_one_that_waits() {
    for connects in [true, false] {
        let mut talk = Talk::new();
        if connects {
            talk.peer_connects();
        }
        talk.run(8);
        assert!(talk.open, "peer connects: {connects}");
        assert_eq!(talk.ours.events, CHANNELS.map(TransportEvent::DataOpen));
        talk.ours.send(talk.now, Channel::Events, &Bytes::from_static(b"hello")).unwrap();
        talk.peer_sends(0, TEXT, b"gift");
        talk.run(2);
        assert!(
            talk.ours
                .events
                .contains(&TransportEvent::Data(Channel::Gifts, Bytes::from_static(b"gift")))
        );
        let (id, chunks) = &talk.received[0];
        assert_eq!((*id, chunks.ppi, chunks.len()), (1, TEXT, 5));
    }
}

#[test]
fn effects_are_unordered_and_not_retransmitted() {
    let mut talk = Talk::connected();
    talk.ours.send(talk.now, Channel::Effects, &Bytes::from_static(b"lost")).unwrap();
    talk.ours.packets.clear();
    talk.run(12);
    assert!(talk.received.is_empty());
    talk.ours.send(talk.now, Channel::Effects, &Bytes::from_static(b"total")).unwrap();
    talk.run(2);
    let (id, chunks) = &talk.received[0];
    assert_eq!((*id, &chunks.to_payload(9).unwrap()[..]), (2, &b"total"[..]));
}

#[test]
fn a_repeated_init_gets_the_same_answer() {
    let mut talk = Talk::new();
    talk.peer_connects();
    let init = talk.peer_packets().remove(0);
    for _ in 0..100 {
        assert_eq!(talk.ours.handle(talk.now, init.clone()), Ok(()));
    }
    let answers = std::mem::take(&mut talk.ours.packets);
    assert_eq!(answers.len(), 100);
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    talk.peer_handles(answers[0].clone());
    talk.run(3);
    assert!(talk.open && talk.ours.associations == 1);
    // Once established nothing starts anew.
    assert_eq!(talk.ours.handle(talk.now, init), Err(DropReason::DataRefused));
}

#[test]
fn only_text_on_the_gift_channel_is_taken() {
    let mut talk = Talk::connected();
    talk.peer_sends(0, PayloadProtocolIdentifier::Binary, b"binary");
    talk.peer_sends(0, PayloadProtocolIdentifier::Dcep, &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    talk.peer_sends(0, PayloadProtocolIdentifier::StringEmpty, &[0]);
    talk.peer_sends(0, TEXT, &[0xFF, 0xFE]);
    talk.peer_sends(1, TEXT, b"events are ours");
    talk.peer_sends(2, TEXT, b"effects are ours");
    talk.peer_sends(0, TEXT, &[b'x'; MAX_MESSAGE + 1]);
    talk.run(12);
    assert_eq!((talk.ours.events.len(), talk.ours.refused), (0, 7));
    talk.peer_sends(0, TEXT, &[b'x'; MAX_MESSAGE]);
    talk.run(12);
    assert!(matches!(
        &talk.ours.events[..],
        [TransportEvent::Data(Channel::Gifts, bytes)] if bytes.len() == MAX_MESSAGE
    ));
}

#[test]
fn other_streams_do_not_exist() {
    let mut talk = Talk::connected();
    talk.peer_sends(7, TEXT, b"another channel");
    for packet in talk.peer_packets() {
        assert_eq!(talk.ours.handle(talk.now, packet), Err(DropReason::DataRefused));
    }
    let link = talk.ours.link().unwrap();
    assert_eq!(link.association.stream_ids().len(), 3);
}

#[test]
fn abuse_ends_the_peer() {
    let mut talk = Talk::connected();
    for _ in 0..MAX_REFUSED {
        assert_eq!(
            talk.ours.handle(talk.now, Bytes::from_static(&[0; 20])),
            Err(DropReason::DataRefused)
        );
    }
    assert!(talk.ours.events.is_empty());
    let _ = talk.ours.handle(talk.now, Bytes::from_static(&[0; 20]));
    assert_eq!(talk.ours.events, [TransportEvent::Closed(CloseReason::Abuse)]);
    assert!(talk.ours.engine.is_none() && talk.ours.poll_timeout().is_none());
}

#[test]
fn a_closed_channel_stays_closed() {
    let mut talk = Talk::connected();
    let (_, peer) = talk.peer.as_mut().unwrap();
    peer.stream(1).unwrap().close(talk.now).unwrap();
    talk.run(6);
    let closed = talk.ours.send(talk.now, Channel::Events, &Bytes::from_static(b"x"));
    assert_eq!(closed, Err(DropReason::DataClosed));
    assert_eq!(talk.ours.send(talk.now, Channel::Gifts, &Bytes::from_static(b"x")), Ok(()));
}

#[test]
fn an_abort_frees_the_association() {
    let mut talk = Talk::connected();
    talk.peer.as_mut().unwrap().1.abort().unwrap();
    talk.run(2);
    assert!(talk.ours.link().is_none());
    let closed = talk.ours.send(talk.now, Channel::Gifts, &Bytes::from_static(b"x"));
    assert_eq!(closed, Err(DropReason::DataClosed));
}

/// CRC-32C as SCTP wants it in a packet whose bytes 8-12 are zero.
fn checksum(packet: &mut [u8]) {
    packet[8..12].fill(0);
    let mut crc = !0u32;
    for byte in packet.iter() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { 0x82F6_3B78 ^ (crc >> 1) } else { crc >> 1 };
        }
    }
    packet[8..12].copy_from_slice(&(!crc).to_le_bytes());
}

/// A chunk: its type, flags, and a value that may happen to make sense.
fn chunk() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    let kinds = vec![0u8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192, 255];
    let byte = prop_oneof![Just(0u8), 0u8..16, any::<u8>()];
    // Values of words whose first half is small look like parameters.
    let words = prop::collection::vec((byte.clone(), 0u8..3, byte, 0u8..24), 0..8);
    let words = words.prop_map(|words| words.iter().flat_map(|w| [w.0, w.1, w.2, w.3]).collect());
    let value = prop_oneof![prop::collection::vec(any::<u8>(), 0..40), words];
    (prop::sample::select(kinds), prop_oneof![Just(0u8), any::<u8>()], value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Packets with good tags and checksums but any chunks never panic out and never grow streams.
    #[test]
    fn hostile_chunks(
        packets in prop::collection::vec(prop::collection::vec(chunk(), 1..4), 1..20),
    ) {
        let mut talk = Talk::connected();
        talk.peer_sends(0, TEXT, b"for its header");
        talk.run(1);
        let header = talk.last.slice(..12);
        for chunks in packets {
            let mut packet = header.to_vec();
            for (kind, flags, body) in chunks {
                packet.extend_from_slice(&[kind, flags]);
                packet.extend_from_slice(&(body.len() as u16 + 4).to_be_bytes());
                packet.extend_from_slice(&body);
                packet.resize(packet.len().next_multiple_of(4), 0);
            }
            checksum(&mut packet);
            let _ = talk.ours.handle(talk.now, Bytes::from(packet));
            talk.now += Duration::from_millis(100);
            talk.ours.handle_timeout(talk.now);
            let panicked = TransportEvent::Closed(CloseReason::Internal);
            prop_assert!(!talk.ours.events.contains(&panicked));
            if let Some(link) = talk.ours.link() {
                prop_assert!(link.association.stream_ids().len() <= 3);
            }
        }
    }
}
