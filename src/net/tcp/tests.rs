//! A media plane on loopback, and clients that speak to its TCP port by hand: those that may, and those
//! that attack it.
#![expect(clippy::disallowed_methods, reason = "test shell")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use signaling::media::{
    AddressedMediaEvent, CloseReason, MediaCommand, MediaHandle, RoomKey, TransportId,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::framing::{HEADER, MAX_FRAME, frame, split};
use super::*;
use crate::metrics::Metrics;
use crate::net::plane::{MediaConfig, MediaPlane};
use crate::net::testing::{attribute, binding_request, publish_offer};

mod pseudo_tls;

const DEADLINE: Duration = Duration::from_secs(20);
/// The least the server takes for what lasts `patience`.
const PATIENCE: Duration = Duration::from_millis(500);
const SUCCESS: [u8; 2] = [0x01, 0x01];

struct Plane {
    media: MediaHandle,
    metrics: Metrics,
    plane: MediaPlane,
    _events: mpsc::Receiver<AddressedMediaEvent>,
}

/// A transport that waits for its client.
struct Offered {
    id: TransportId,
    sdp: String,
    username: String,
    password: String,
}

impl Offered {
    fn request(&self, transaction: u8) -> Vec<u8> {
        binding_request(&self.username, &self.password, [transaction; 12])
    }
}

impl Plane {
    fn start(shards: usize, change: impl FnOnce(&mut TcpConfig)) -> Self {
        let mut tcp = TcpConfig { patience: PATIENCE, ..TcpConfig::default() };
        change(&mut tcp);
        let addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let config = MediaConfig { shards, addresses, port: 0, tcp, ..MediaConfig::default() };
        let metrics = Metrics::new();
        let (media, events, plane) = MediaPlane::start(&config, &metrics).expect("a media plane");
        Self { media, metrics, plane, _events: events }
    }

    fn address(&self, v6: bool) -> SocketAddr {
        let mut addresses = self.plane.tcp_addresses().iter();
        *addresses.find(|address| address.is_ipv6() == v6).expect("a listener")
    }

    async fn offer(&self) -> Offered {
        self.offer_to(false).await
    }

    async fn offer_to(&self, foreign: bool) -> Offered {
        let (reply, id) = oneshot::channel();
        assert!(self.media.send(MediaCommand::Allocate { reply }).await);
        let id = within(id).await.expect("an id");
        let answer = within(self.media.ask(|reply| MediaCommand::OpenPublish {
            room: RoomKey(3),
            transport: id,
            sdp: publish_offer("abcd", "actpass"),
            lost_after_ms: 5_000,
            foreign,
            reply,
        }));
        let sdp = answer.await.expect("an answer").sdp;
        let username = format!("{}:abcd", attribute(&sdp, "ice-ufrag"));
        let password = attribute(&sdp, "ice-pwd").to_owned();
        Offered { id, sdp, username, password }
    }

    async fn connect(&self) -> Client {
        Client::to(self.address(false)).await
    }

    /// A client that was let in.
    async fn inside(&self, offered: &Offered) -> Client {
        let mut client = self.connect().await;
        client.send(&framed(&offered.request(1))).await;
        assert_eq!(client.datagram().await[..2], SUCCESS);
        client
    }

    /// The value of a metric, once it is `expected`.
    async fn counts(&self, series: &str, expected: u64) {
        let begun = Instant::now();
        loop {
            let text = self.metrics.render();
            let line = text.lines().find_map(|line| line.strip_prefix(series));
            let value = line.map(str::trim);
            if value == Some(&*expected.to_string()) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{series} is {value:?}, not {expected}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn refused(&self, reason: &str, expected: u64) {
        let series = format!("greenroom_tcp_refused_total{{reason=\"{reason}\"}}");
        self.counts(&series, expected).await;
    }

    async fn dropped(&self, reason: &str, expected: u64) {
        let series = format!("greenroom_dropped_total{{reason=\"{reason}\"}}");
        self.counts(&series, expected).await;
    }
}

/// One connection to the port.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn to(address: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.expect("connects");
        Self { stream, read: Vec::new() }
    }

    async fn send(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            within(self.stream.writable()).await.expect("open");
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("the server closed: {error}"),
            }
        }
    }

    /// `false` = the other end closed.
    async fn more(&mut self) -> bool {
        let mut bytes = [0; 65_536];
        loop {
            within(self.stream.readable()).await.expect("a socket");
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) => {
                    self.read.extend_from_slice(&bytes[..count]);
                    return true;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
    }

    fn take(&mut self, limit: usize) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        split(&mut self.read, |datagram| found.push(datagram.to_vec())).expect("good frames");
        found.truncate(limit);
        let taken: usize = found.iter().map(|datagram| HEADER + datagram.len()).sum();
        self.read.drain(..taken);
        found
    }

    async fn datagram(&mut self) -> Vec<u8> {
        loop {
            if let Some(datagram) = self.take(1).pop() {
                return datagram;
            }
            assert!(self.more().await, "closed instead of an answer");
        }
    }

    /// The answer to our request of this number; our DTLS comes in between.
    async fn answer(&mut self, transaction: u8) -> Vec<u8> {
        loop {
            let datagram = self.datagram().await;
            if datagram.get(8..20) == Some(&[transaction; 12]) {
                return datagram;
            }
        }
    }

    /// Closed by the server without a word, and how long that took.
    async fn is_closed(&mut self) -> Duration {
        let begun = Instant::now();
        assert!(!self.more().await, "it said {:02x?}", self.read);
        begun.elapsed()
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(frame(&mut out, datagram, datagram.len().max(1)), 1);
    out
}

#[tokio::test]
async fn one_port_leads_to_the_shard_of_every_transport_over_ipv4_and_ipv6() {
    let plane = Plane::start(3, |_| ());
    let mut clients = Vec::new();
    for (number, v6) in [(1, false), (2, true), (3, false), (4, true)] {
        let offered = plane.offer().await;
        let (ip, port) = (plane.address(v6).ip(), plane.address(v6).port());
        let candidate = format!(" {ip} {port} typ host tcptype passive\r\n");
        assert!(offered.sdp.contains(&candidate), "no{candidate} in {}", offered.sdp);
        let mut client = Client::to(plane.address(v6)).await;
        // Cut where a network may cut it.
        let request = framed(&offered.request(number));
        let (head, tail) = request.split_at(1 + usize::from(number) * 9);
        client.send(head).await;
        client.send(tail).await;
        let answer = client.datagram().await;
        assert_eq!((&answer[..2], &answer[8..20]), (&SUCCESS[..], &[number; 12][..]));
        // We are told the address we come from: XOR-MAPPED-ADDRESS is the first attribute.
        let own = client.stream.local_addr().expect("an address");
        let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
        assert_eq!((answer[25], port), (if v6 { 2 } else { 1 }, own.port()));
        client.send(&framed(&offered.request(number + 100))).await;
        client.answer(number + 100).await;
        clients.push((client, offered));
    }
    plane.counts("greenroom_tcp_connections", 4).await;
    within(plane.plane.shutdown()).await;
    for (mut client, _) in clients {
        client.is_closed().await;
    }
}

#[tokio::test]
async fn whoever_says_anything_else_than_an_authentic_request_is_closed_without_a_word() {
    let plane = Plane::start(1, |_| ());
    let offered = plane.offer().await;
    let wrong = binding_request(&offered.username, "not the password of this one", [1; 12]);
    let unknown = binding_request("nobodyknows:abcd", &offered.password, [2; 12]);
    let mut spoilt = offered.request(3);
    *spoilt.last_mut().expect("bytes") ^= 1;
    let mut response = offered.request(4);
    response[0] = 0x01;
    let attacks: [(&str, &[u8], &str); 10] = [
        ("HTTP", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", "not_stun"),
        ("TLS", &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00], "not_stun"),
        ("a giant frame", &[0xFF, 0xFF, 0x00], "not_stun"),
        ("one byte too large", &((MAX_FRAME + 1) as u16).to_be_bytes(), "not_stun"),
        ("an empty frame", &[0, 0], "not_stun"),
        ("RTP", &framed(&[0x80; 40]), "not_stun"),
        ("a response", &framed(&response), "not_stun"),
        ("an unknown transport", &framed(&unknown), "stun_unknown_ufrag"),
        ("a wrong password", &framed(&wrong), "stun_integrity"),
        ("a changed request", &framed(&spoilt), "stun_integrity"),
    ];
    let mut counted = std::collections::HashMap::new();
    for (name, bytes, reason) in attacks {
        println!("{name}");
        let mut client = plane.connect().await;
        client.send(bytes).await;
        // At once, not when its time is over.
        assert!(client.is_closed().await < PATIENCE, "{name}");
        let count = counted.entry(reason).or_insert(0);
        *count += 1;
        plane.refused(reason, *count).await;
    }
    drop(plane.connect().await);
    plane.refused("gone", 1).await;
    plane.counts("greenroom_tcp_connections", 0).await;
    plane.counts("greenroom_datagrams_in_total", 0).await;
    // Nobody else is harmed.
    plane.inside(&offered).await;
}

#[tokio::test]
async fn who_speaks_too_slowly_is_closed_when_its_time_is_over() {
    let plane = Plane::start(1, |_| ());
    let offered = plane.offer().await;
    let request = framed(&offered.request(1));
    for said in [0, 1, 2, request.len() - 1] {
        let mut client = plane.connect().await;
        client.send(&request[..said]).await;
        let waited = client.is_closed().await;
        assert!(waited > PATIENCE / 2, "after {waited:?} with {said} bytes");
    }
    plane.refused("no_stun", 4).await;
}

#[tokio::test]
async fn an_address_holds_so_many_connections_and_no_more() {
    let plane = Plane::start(1, |tcp| tcp.per_address = 3);
    let offered = plane.offer().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(plane.inside(&offered).await);
    }
    let mut refused = plane.connect().await;
    assert!(refused.is_closed().await < PATIENCE);
    plane.refused("per_address", 1).await;
    // Another address has its own.
    let mut other = Client::to(plane.address(true)).await;
    other.send(&framed(&offered.request(2))).await;
    assert_eq!(other.datagram().await[..2], SUCCESS);
    drop(held.pop());
    plane.counts("greenroom_tcp_connections", 3).await;
    plane.inside(&offered).await;
}

#[tokio::test]
async fn without_a_limit_per_address_only_the_places_count() {
    let plane = Plane::start(1, |tcp| tcp.per_address = 0);
    let offered = plane.offer().await;
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(plane.inside(&offered).await);
    }
    plane.refused("per_address", 0).await;
}

#[tokio::test]
async fn when_all_places_are_taken_the_silent_go_first_and_then_nobody_more_comes() {
    let plane = Plane::start(1, |tcp| {
        (tcp.connections, tcp.patience) = (3, DEADLINE);
    });
    let offered = plane.offer().await;
    let mut silent = Vec::new();
    for count in 1..=3 {
        silent.push(plane.connect().await);
        plane.counts("greenroom_tcp_connections", count).await;
    }
    // One more than there are places, and it knows the word.
    let first = plane.inside(&offered).await;
    plane.refused("connections", 1).await;
    silent.remove(0).is_closed().await;
    let second = plane.inside(&offered).await;
    let third = plane.inside(&offered).await;
    for mut client in silent {
        client.is_closed().await;
    }
    plane.refused("connections", 3).await;
    // Now all three may be here.
    let mut refused = plane.connect().await;
    refused.is_closed().await;
    plane.refused("connections", 4).await;
    for mut client in [first, second, third] {
        client.send(&framed(&offered.request(9))).await;
        client.answer(9).await;
    }
}

#[tokio::test]
async fn a_connection_ends_with_its_transport() {
    let plane = Plane::start(1, |tcp| tcp.patience = 2 * DEADLINE);
    let (offered, other) = (plane.offer().await, plane.offer().await);
    let mut stays = plane.inside(&other).await;
    let mut ends = plane.inside(&offered).await;
    let (transport, reason) = (offered.id, CloseReason::Requested);
    assert!(plane.media.send(MediaCommand::Close { transport, reason }).await);
    while ends.more().await {}
    stays.send(&framed(&other.request(7))).await;
    // DTLS, which we did not answer, came in between.
    stays.answer(7).await;
    // Its name is forgotten at the door too.
    let mut again = plane.connect().await;
    again.send(&framed(&offered.request(1))).await;
    again.is_closed().await;
    plane.refused("stun_unknown_ufrag", 1).await;
}

#[tokio::test]
async fn a_connection_that_is_not_the_way_media_goes_is_closed_after_a_while() {
    let plane = Plane::start(1, |_| ());
    let offered = plane.offer().await;
    let mut loser = plane.inside(&offered).await;
    // The newest nomination wins.
    let mut winner = plane.inside(&offered).await;
    while loser.more().await {}
    plane.counts("greenroom_tcp_connections", 1).await;
    winner.send(&framed(&offered.request(7))).await;
    winner.answer(7).await;
}

#[tokio::test]
async fn when_the_connection_in_use_breaks_another_takes_over() {
    let plane = Plane::start(1, |_| ());
    let offered = plane.offer().await;
    let mut spare = plane.inside(&offered).await;
    let used = plane.inside(&offered).await;
    drop(used);
    plane.counts("greenroom_tcp_connections", 1).await;
    // It would be closed by now if media did not go there.
    let closed = timeout(4 * PATIENCE, async { while spare.more().await {} }).await;
    assert!(closed.is_err(), "closed though it is the only one");
    spare.send(&framed(&offered.request(7))).await;
    spare.answer(7).await;
    // A client with no connection left comes back with another, and is still the same.
    drop(spare);
    plane.counts("greenroom_tcp_connections", 0).await;
    let mut back = plane.inside(&offered).await;
    back.send(&framed(&offered.request(8))).await;
    back.answer(8).await;
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection_after_those_before_it() {
    let plane = Plane::start(1, |_| ());
    let offered = plane.offer().await;
    let mut client = plane.inside(&offered).await;
    let mut bytes = framed(&offered.request(2));
    bytes.extend(framed(&[0x80; MAX_FRAME]));
    bytes.extend(((MAX_FRAME + 1) as u16).to_be_bytes());
    client.send(&bytes).await;
    client.answer(2).await;
    while client.more().await {}
    plane.dropped("tcp_frame_too_large", 1).await;
    // The largest one was taken, as what it is.
    plane.dropped("no_keys", 1).await;
    plane.counts("greenroom_tcp_connections", 0).await;
}

#[tokio::test]
async fn who_does_not_read_loses_whole_datagrams_by_name_and_holds_no_more_than_the_limit() {
    const REQUESTS: usize = 60_000;
    let plane = Plane::start(1, |tcp| tcp.backlog = 64 * 1024);
    let offered = plane.offer().await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a small buffer");
    let stream = within(socket.connect(plane.address(false))).await.expect("connects");
    let mut client = Client { stream, read: Vec::new() };
    let request = framed(&offered.request(1));
    client.send(&request.repeat(REQUESTS)).await;
    // All was read and answered, or dropped by name, before one answer is read here.
    plane.counts("greenroom_datagrams_in_total", REQUESTS as u64).await;
    let dropped = dropped_now(&plane);
    assert!(dropped > 1000, "{dropped} dropped");
    let answer = framed(&answer_of(&plane).await).len();
    let mut answers = 0;
    while answers + dropped < REQUESTS {
        // DTLS of ours is among them, whole as well.
        answers += client.take(usize::MAX).iter().filter(|got| got[..2] == SUCCESS).count();
        if answers + dropped < REQUESTS {
            assert!(client.more().await, "{answers} answers and {dropped} dropped");
        }
    }
    // Our receive buffer, the kernel's unsent bytes and one more segment, and the backlog.
    let held = answers * answer;
    assert!(held < 1 << 20, "{held} bytes were held for somebody who does not read");
    // It reads again, so it is served again.
    client.send(&framed(&offered.request(7))).await;
    client.answer(7).await;
}

fn dropped_now(plane: &Plane) -> usize {
    let text = plane.metrics.render();
    let series = "greenroom_dropped_total{reason=\"tcp_buffer_full\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(series)).expect("the series");
    line.parse().expect("a number")
}

/// An answer, to know its length.
async fn answer_of(plane: &Plane) -> Vec<u8> {
    let offered = plane.offer().await;
    let mut client = plane.connect().await;
    client.send(&framed(&offered.request(1))).await;
    client.datagram().await
}

#[tokio::test]
async fn with_port_0_there_is_no_tcp_and_no_candidate() {
    let plane = Plane::start(1, |tcp| tcp.port = 0);
    assert!(plane.plane.tcp_addresses().is_empty());
    assert!(!plane.offer().await.sdp.contains("tcptype"));
}

#[tokio::test]
async fn a_taken_port_says_what_to_change() {
    let taken = door::listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a listener");
    let port = taken.local_addr().expect("an address").port();
    // Any UDP port that is free, found by taking it.
    let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let free = udp.local_addr().expect("an address").port();
    drop(udp);
    let config = MediaConfig {
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        port: free,
        tcp: TcpConfig { port, ..TcpConfig::default() },
        ..MediaConfig::default()
    };
    let error = MediaPlane::start(&config, &Metrics::new()).expect_err("the port is taken");
    let text = format!("{error:#}");
    assert!(text.contains(&format!("port {port}/tcp is in use on 127.0.0.1")), "{text}");
    assert!(text.contains("media.tcp_port"), "{text}");
}
