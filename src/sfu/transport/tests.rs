//! Two transports against each other in virtual time, over a network that loses, and one transport
//! against strangers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::stun::tests::Check;
use super::*;
use crate::sfu::egress::Batch;

const PASSWORD: &str = super::stun::tests::PASSWORD;

#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

fn path(port: u16) -> Path {
    Path { local: 0, remote: ([192, 0, 2, 1], port).into() }
}

fn ice(ufrag: &str) -> IceCredentials {
    IceCredentials { ufrag: ufrag.into(), password: PASSWORD.into() }
}

fn remote(shared: &Shared, role: DtlsRole) -> Remote {
    Remote { ice: ice("remote"), fingerprint: shared.fingerprint(), role }
}

/// Two transports; 0 is the DTLS client.
struct Pair {
    now: Instant,
    ends: [Transport; 2],
    paths: [Path; 2],
    events: [Vec<TransportEvent>; 2],
    /// Datagrams under way by arrival and order: to whom, what.
    wire: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sent: u64,
    lost_per_256: u64,
    /// Up to this much later than others: datagrams overtake.
    jitter_ms: u64,
    random: u64,
}

const DELAY: Duration = Duration::from_millis(20);

impl Pair {
    fn new(profiles: [SrtpProfiles; 2], lost_per_256: u64, seed: u64) -> Self {
        Self::with_remotes(profiles, lost_per_256, seed, |_, _| {})
    }

    /// `bend` may change what each end believes of the other.
    fn with_remotes(
        profiles: [SrtpProfiles; 2],
        lost_per_256: u64,
        seed: u64,
        bend: impl Fn(usize, &mut Remote),
    ) -> Self {
        let now = epoch();
        let shared = [0, 1].map(|_| Arc::new(Shared::generate().unwrap()));
        let roles = [DtlsRole::Client, DtlsRole::Server];
        let ends = [0, 1].map(|n| {
            let mut remote = remote(&shared[1 - n], roles[n]);
            bend(n, &mut remote);
            let setup = TransportSetup {
                local_ice: ice("local"),
                remote: Some(remote),
                srtp: profiles[n],
                data_channels: true,
            };
            Transport::new(now, setup, &shared[n])
        });
        let mut pair = Self {
            now,
            ends,
            paths: [path(1), path(2)],
            events: Default::default(),
            wire: BTreeMap::new(),
            sent: 0,
            lost_per_256,
            jitter_ms: 0,
            random: seed | 1,
        };
        pair.check(0);
        pair.check(1);
        pair
    }

    fn lossless() -> Self {
        Self::new([SrtpProfiles::GcmOnly; 2], 0, 1)
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 20
    }

    /// Call one end with an egress whose datagrams go to the other.
    fn with<T>(
        &mut self,
        end: usize,
        call: impl FnOnce(&mut Transport, &mut Egress<'_>) -> T,
    ) -> T {
        let mut batch = Batch::new();
        let mut out = Vec::new();
        let mut sink = |batch: &mut Batch| {
            for message in &batch.messages {
                out.push(batch.bytes[message.start..message.start + message.len].to_vec());
            }
            batch.clear();
        };
        let mut egress = Egress::new(&mut batch, &mut sink);
        let result = call(&mut self.ends[end], &mut egress);
        egress.flush();
        for datagram in out {
            self.sent += 1;
            if self.random() % 256 >= self.lost_per_256 {
                let jitter = Duration::from_millis(self.random() % (self.jitter_ms + 1));
                let arrival = self.now + DELAY + jitter;
                self.wire.insert((arrival, self.sent), (1 - end, datagram));
            }
        }
        while let Some(event) = self.ends[end].poll_event() {
            self.events[end].push(event);
        }
        result
    }

    /// A browser's connectivity check towards one end.
    fn check(&mut self, end: usize) {
        let bytes = Check::default().write([9; 12]);
        let (now, from) = (self.now, self.paths[end]);
        let request = StunRequest::parse(&bytes).unwrap();
        self.with(end, |transport, egress| {
            transport.handle_stun(now, from, &request, egress).unwrap()
        });
    }

    fn deliver(&mut self, end: usize, mut datagram: Vec<u8>) {
        let (now, from) = (self.now, self.paths[end]);
        match datagram.first() {
            Some(20..=63) => {
                let _ = self.with(end, |transport, egress| {
                    transport.handle_dtls(now, from, &datagram, egress)
                });
            }
            Some(128..=191) => {
                let rtcp = datagram.get(1).is_some_and(|kind| (192..224).contains(kind));
                let end = &mut self.ends[end];
                let opened = if rtcp {
                    end.open_rtcp(now, from, &mut datagram)
                } else {
                    end.open_rtp(now, from, &mut datagram)
                };
                assert!(opened.is_ok());
            }
            _ => {}
        }
    }

    /// Advance to the next thing that happens, at most to `until`. False = nothing before that.
    fn step(&mut self, until: Instant) -> bool {
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        let timers = self.ends.iter().filter_map(Transport::poll_timeout).min();
        let next = [arrival, timers].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = until;
            return false;
        };
        self.now = next.max(self.now);
        while let Some(entry) = self.wire.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (end, datagram) = entry.remove();
            self.deliver(end, datagram);
        }
        let now = self.now;
        for end in 0..2 {
            self.with(end, |transport, egress| transport.handle_timeout(now, egress));
        }
        true
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        // A browser checks its path every few seconds.
        while self.now < until {
            let pause = (self.now + Duration::from_secs(2)).min(until);
            while self.step(pause) {}
            if self.ends.iter().all(|end| !end.closed) {
                self.check(0);
                self.check(1);
            }
        }
    }

    fn connected(&self) -> bool {
        self.events.iter().all(|events| events.contains(&TransportEvent::Connected))
    }

    fn data_open(&self) -> bool {
        let open = TransportEvent::DataOpen(Channel::Gifts);
        self.events.iter().all(|events| events.contains(&open))
    }

    fn send(&mut self, end: usize, channel: Channel, bytes: &Bytes) -> Result<(), DropReason> {
        let now = self.now;
        self.with(end, |transport, egress| transport.send_data(now, channel, bytes, egress))
    }

    fn gifts(&self, end: usize) -> Vec<&[u8]> {
        let gift = |event| match event {
            &TransportEvent::Data(Channel::Gifts, ref bytes) => Some(&bytes[..]),
            _ => None,
        };
        self.events[end].iter().filter_map(gift).collect()
    }
}

#[test]
fn connects_in_two_round_trips_and_opens_the_channels() {
    let mut pair = Pair::lossless();
    let start = pair.now;
    while !pair.connected() {
        assert!(pair.step(start + Duration::from_secs(1)));
    }
    // rtc-dtls as server asks for a cookie: three flights each way, nothing waits.
    assert!(pair.now - start <= DELAY * 6, "{:?}", pair.now - start);
    pair.run(Duration::from_secs(1));
    assert!(pair.data_open());
    assert_eq!(pair.ends[0].srtp_sender().unwrap().overhead(), 16);
}

#[test]
fn media_and_reports_open_at_the_other_end() {
    let mut pair = Pair::lossless();
    pair.run(Duration::from_secs(1));
    let mut packet = vec![0x80, 96, 0, 7, 0, 0, 0, 1, 0, 0, 0, 5];
    let header = packet.clone();
    packet.clear();
    pair.ends[1].srtp_sender().unwrap().seal_rtp(&header, b"frame", &[], 7, &mut packet);
    let (now, paths) = (pair.now, pair.paths);
    assert_eq!(pair.ends[0].open_rtp(now, paths[0], &mut packet).unwrap()[12..], *b"frame");
    let report = [0x80, 201, 0, 1, 0, 0, 0, 5];
    pair.with(0, |transport, egress| transport.send_rtcp(&report, egress));
    let (_, sealed) = pair.wire.values().next_back().unwrap();
    let mut sealed = sealed.clone();
    assert_eq!(pair.ends[1].open_rtcp(now, paths[1], &mut sealed).unwrap(), report);
}

#[test]
fn aes_cm_only_if_both_allow_it() {
    let mut pair = Pair::new([SrtpProfiles::GcmOrCm; 2], 0, 1);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ends[0].srtp_sender().unwrap().overhead(), 16);
}

#[test]
fn close_notify_ends_the_other_side() {
    let mut pair = Pair::lossless();
    pair.run(Duration::from_secs(1));
    let now = pair.now;
    pair.with(0, |transport, egress| transport.close(now, egress));
    pair.run(Duration::from_secs(1));
    assert!(pair.events[1].contains(&TransportEvent::Closed(CloseReason::PeerClosed)));
    assert!(!pair.events[0].iter().any(|event| matches!(event, TransportEvent::Closed(_))));
    assert_eq!((pair.ends[0].poll_timeout(), pair.ends[1].poll_timeout()), (None, None));
}

#[test]
fn a_path_change_moves_everything() {
    let mut pair = Pair::lossless();
    pair.run(Duration::from_secs(1));
    pair.paths[0] = path(77);
    let now = pair.now;
    let stranger =
        pair.with(0, |transport, egress| transport.handle_dtls(now, path(77), &[22; 40], egress));
    assert_eq!(stranger, Err(DropReason::UnknownAddress));
    pair.check(0);
    assert_eq!(pair.ends[0].path(), Some(path(77)));
    pair.send(1, Channel::Gifts, &Bytes::from_static(b"after the move")).unwrap();
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.gifts(0), [b"after the move"]);
}

#[test]
fn the_wrong_certificate_gets_no_keys() {
    for wrong in 0..2 {
        let mut pair = Pair::with_remotes([SrtpProfiles::GcmOnly; 2], 0, 1, |end, remote| {
            remote.fingerprint.0[31] ^= u8::from(end == wrong);
        });
        pair.run(Duration::from_secs(3));
        let mismatch = TransportEvent::Closed(CloseReason::FingerprintMismatch);
        assert_eq!(pair.events[wrong], [mismatch]);
        assert!(pair.ends[wrong].srtp_sender().is_none());
    }
}

#[test]
fn a_watch_transport_starts_when_the_answer_comes() {
    let shared = Arc::new(Shared::generate().unwrap());
    let now = epoch();
    let setup = TransportSetup {
        local_ice: ice("local"),
        remote: None,
        srtp: SrtpProfiles::GcmOnly,
        data_channels: true,
    };
    let mut transport = Transport::new(now, setup, &shared);
    let mut sent = Vec::new();
    let mut batch = Batch::new();
    let mut sink = |batch: &mut Batch| {
        for message in &batch.messages {
            sent.push(batch.bytes[message.start]);
        }
        batch.clear();
    };
    let mut egress = Egress::new(&mut batch, &mut sink);
    let bytes = Check::default().write([9; 12]);
    let request = StunRequest::parse(&bytes).unwrap();
    transport.handle_stun(now, path(1), &request, &mut egress).unwrap();
    let early = transport.handle_dtls(now, path(1), &[22; 40], &mut egress);
    assert_eq!(early, Err(DropReason::NoKeys));
    transport.set_remote(now, &remote(&shared, DtlsRole::Client), &mut egress);
    // Again, as after growing: the handshake goes on.
    transport.set_remote(now, &remote(&shared, DtlsRole::Client), &mut egress);
    egress.flush();
    assert_eq!(sent, [1, 22], "a STUN answer, then one ClientHello");
}

#[test]
fn deadlines() {
    let mut pair = Pair::new([SrtpProfiles::GcmOnly; 2], 256, 1);
    pair.run(Duration::from_secs(16));
    let late = [TransportEvent::Closed(CloseReason::HandshakeTimeout)];
    assert_eq!(pair.events, [late.to_vec(), late.to_vec()]);

    let mut pair = Pair::lossless();
    pair.run(Duration::from_secs(1));
    pair.lost_per_256 = 256;
    let last = pair.ends[0].last_authenticated().unwrap();
    pair.events[0].clear();
    while pair.step(last + LIFETIME - Duration::from_millis(1)) {}
    assert!(!pair.ends[0].may_send(pair.now) && pair.events[0].is_empty());
    while pair.step(last + LIFETIME) {}
    assert_eq!(pair.events[0], [TransportEvent::Closed(CloseReason::Timeout)]);
}

#[test]
fn a_full_gift_buffer_closes_events_pause_and_effects_drop() {
    let mut pair = Pair::lossless();
    pair.run(Duration::from_secs(1));
    pair.lost_per_256 = 256;
    let kib = Bytes::from(vec![b'x'; 1024]);
    for (channel, fits) in [(Channel::Gifts, 64), (Channel::Events, 64), (Channel::Effects, 16)] {
        pair.events[1].clear();
        for n in 0..fits {
            assert_eq!(pair.send(1, channel, &kib), Ok(()), "{channel:?} {n}");
        }
        assert_eq!(pair.send(1, channel, &kib), Err(DropReason::DataBufferFull));
        assert_eq!(pair.events[1], [TransportEvent::DataOverflow(channel)]);
        let again = pair.send(1, channel, &kib).unwrap_err();
        let closed = channel == Channel::Gifts;
        let expected = if closed { DropReason::DataClosed } else { DropReason::DataBufferFull };
        assert_eq!((again, pair.events[1].len()), (expected, 1));
    }
    pair.lost_per_256 = 0;
    pair.events[1].clear();
    pair.run(Duration::from_secs(20));
    assert!(pair.events[1].contains(&TransportEvent::DataOpen(Channel::Events)));
    assert_eq!(pair.send(1, Channel::Events, &kib), Ok(()));
    assert_eq!(pair.send(1, Channel::Effects, &kib), Ok(()));
    let large = Bytes::from(vec![b'x'; 16 * 1024 + 1]);
    assert_eq!(pair.send(1, Channel::Events, &large), Err(DropReason::DataRefused));
}

#[test]
fn a_cut_of_fourteen_seconds_heals() {
    let mut pair = Pair::lossless();
    pair.run(Duration::from_secs(1));
    pair.lost_per_256 = 256;
    pair.send(1, Channel::Gifts, &Bytes::from_static(b"sent in the cut")).unwrap();
    pair.run(Duration::from_secs(14));
    pair.lost_per_256 = 0;
    pair.run(Duration::from_secs(17));
    assert_eq!(pair.gifts(0), [b"sent in the cut"]);
}

/// Someone who can send from the peer's address, a thousand times a second from the first moment.
#[test]
fn a_spoofer_does_not_stop_the_handshake() {
    let record = |kind: u8, epoch: u8, number: u16, body: &[u8]| {
        let mut out = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0];
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(&(body.len() as u16).to_be_bytes());
        out.extend_from_slice(body);
        out
    };
    let mut pair = Pair::lossless();
    let (_, mut hello) = pair.wire.values().next_back().unwrap().clone();
    // Another client's random; its hello goes to the client's end only, see `first_hello`.
    hello[30] ^= 0xFF;
    let start = pair.now;
    let mut number = 500;
    while !pair.connected() {
        assert!(pair.now - start < Duration::from_secs(3), "{:?}", pair.events);
        let next = pair.now + Duration::from_millis(1);
        while pair.step(next) {}
        number += 1;
        for end in 0..2 {
            pair.deliver(end, record(21, 0, number, &[2, 40]));
            pair.deliver(end, record(21, 0, number, &[1, 0]));
            pair.deliver(end, record(23, 1, number, &[7; 4]));
            pair.deliver(end, record(22, 0, number, &[11, 0, 0, 9, 0, 30, 0, 0, 0, 0, 0, 9, 1]));
        }
        pair.deliver(0, hello.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is lost, the handshake completes in time and reliable messages arrive in order.
    #[test]
    fn loss_and_disorder_only_delay(seed: u64, lost_per_256 in 0u64..26, jitter_ms in 0u64..60) {
        let mut pair = Pair::new([SrtpProfiles::GcmOnly; 2], lost_per_256, seed);
        pair.jitter_ms = jitter_ms;
        pair.run(Duration::from_secs(14));
        prop_assert!(pair.connected(), "no handshake: {:?}", pair.events);
        for _ in 0..20 {
            if !pair.data_open() {
                pair.run(Duration::from_secs(5));
            }
        }
        prop_assert!(pair.data_open(), "no channels: {:?}", pair.events);
        let messages: Vec<_> = (0..20).map(|n| Bytes::from(vec![b'a' + n; 1 + 97 * n as usize])).collect();
        for message in &messages {
            pair.send(0, Channel::Gifts, message).unwrap();
            pair.send(1, Channel::Gifts, message).unwrap();
            let _ = pair.send(1, Channel::Effects, &Bytes::from_static(b"total"));
        }
        pair.run(Duration::from_secs(120));
        prop_assert_eq!(pair.gifts(0), messages.iter().map(|m| &m[..]).collect::<Vec<_>>());
        prop_assert_eq!(pair.gifts(1), messages.iter().map(|m| &m[..]).collect::<Vec<_>>());
    }

    /// Nobody without keys can end an established transport or be taken for its peer.
    #[test]
    fn strangers_bytes_change_nothing(
        datagrams in prop::collection::vec(
            (20u8..64, 0u8..3, prop::collection::vec(any::<u8>(), 0..100)), 1..40),
        replayed in any::<u64>(),
    ) {
        let mut pair = Pair::lossless();
        pair.run(Duration::from_millis(300));
        let bytes = Bytes::from_static(b"recorded");
        while !pair.data_open() {
            pair.run(Duration::from_millis(300));
        }
        pair.send(0, Channel::Gifts, &bytes).unwrap();
        let recorded = pair.wire.values().next_back().unwrap().1.clone();
        pair.run(Duration::from_secs(1));
        let alive = pair.ends[1].last_authenticated();
        let now = pair.now + Duration::from_secs(1);
        pair.now = now;
        for (n, (kind, epoch, body)) in datagrams.into_iter().enumerate() {
            let mut datagram = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0, 255, n as u8];
            datagram.extend_from_slice(&(body.len() as u16).to_be_bytes());
            datagram.extend_from_slice(&body);
            pair.deliver(1, datagram);
            let mut media = body;
            media.insert(0, 0x80);
            let path = pair.paths[1];
            prop_assert!(pair.ends[1].open_rtp(now, path, &mut media.clone()).is_err());
            prop_assert!(pair.ends[1].open_rtcp(now, path, &mut media).is_err());
            let mut bent = recorded.clone();
            let at = (replayed as usize + n) % bent.len();
            bent[at] ^= 1 + n as u8;
            pair.deliver(1, bent);
            pair.deliver(1, recorded.clone());
        }
        prop_assert_eq!(pair.ends[1].last_authenticated(), alive);
        prop_assert_eq!(pair.gifts(1).len(), 1);
        pair.send(0, Channel::Gifts, &bytes).unwrap();
        pair.run(Duration::from_secs(2));
        prop_assert_eq!(pair.gifts(1).len(), 2);
    }
}
