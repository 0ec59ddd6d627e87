use std::net::Ipv4Addr;
use std::time::Duration;

use signaling::media::{
    Audience, CloseReason, MediaAnswer, MediaCommand, MediaEvent, RoomKey, Seat, TransportId,
};
use signaling::protocol::Refusal;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::net::testing::{attribute, binding_request, publish_offer};

const DEADLINE: Duration = Duration::from_secs(20);
const ROOM: RoomKey = RoomKey(3);

fn loopback(shards: usize) -> MediaConfig {
    let addresses = vec![Ipv4Addr::LOCALHOST.into()];
    MediaConfig { shards, addresses, port: 0, ..MediaConfig::default() }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

async fn allocate(media: &MediaHandle) -> TransportId {
    let (reply, id) = oneshot::channel();
    assert!(media.send(MediaCommand::Allocate { reply }).await);
    within(id).await.expect("an id")
}

async fn publish(media: &MediaHandle, transport: TransportId) -> Result<MediaAnswer, Refusal> {
    within(media.ask(|reply| MediaCommand::OpenPublish {
        room: ROOM,
        transport,
        sdp: publish_offer("abcd", "actpass"),
        lost_after_ms: 5_000,
        foreign: false,
        reply,
    }))
    .await
}

/// Check a candidate as a browser does; the answer must come from the address that was asked.
async fn check(answer: &MediaAnswer, password: &str) -> Vec<u8> {
    let candidate = attribute(&answer.sdp, "candidate");
    let mut words = candidate.split(' ');
    let (ip, port) = (words.nth(4).expect("an address"), words.next().expect("a port"));
    let to: SocketAddr = format!("{ip}:{port}").parse().expect("a candidate address");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let username = format!("{}:abcd", answer.ice_ufrag);
    let request = binding_request(&username, password, [9; 12]);
    socket.send_to(&request, to).await.expect("sent");
    let mut bytes = [0; 2048];
    let (len, from) = within(socket.recv_from(&mut bytes)).await.expect("an answer");
    assert_eq!(from, to, "the answer has another source");
    bytes[..len].to_vec()
}

#[tokio::test]
async fn a_binding_request_to_a_published_ufrag_is_answered_by_every_shard() {
    let metrics = Metrics::new();
    let (media, mut events, plane) =
        MediaPlane::start(&loopback(3), &metrics).expect("a media plane");
    let mut shards = Vec::new();
    for _ in 0..3 {
        let id = allocate(&media).await;
        shards.push(id.shard());
        let answer = publish(&media, id).await.expect("an answer");
        let password = attribute(&answer.sdp, "ice-pwd").to_owned();
        let response = check(&answer, &password).await;
        assert_eq!(response[..2], [0x01, 0x01], "not a Binding success response");
        assert_eq!(response[8..20], [9; 12], "another transaction");
    }
    shards.sort_unstable();
    assert_eq!(shards, [0, 1, 2]);

    within(plane.shutdown()).await;
    let mut ended = Vec::new();
    while let Some(event) = within(events.recv()).await {
        if let MediaEvent::Closed(reason) = event.event {
            assert_eq!((event.room, reason), (ROOM, CloseReason::Shutdown));
            ended.push(event.transport.shard());
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [0, 1, 2], "every room hears of the end");
    let text = metrics.render();
    assert!(text.contains("greenroom_datagrams_in_total 3\n"), "{text}");
    assert!(text.contains("greenroom_transports{shard=\"0\"} 0\n"), "{text}");
}

#[tokio::test]
async fn what_is_not_authentic_is_counted_and_not_answered() {
    let metrics = Metrics::new();
    let (media, _events, plane) = MediaPlane::start(&loopback(1), &metrics).expect("a media plane");
    let answer = publish(&media, allocate(&media).await).await.expect("an answer");
    let to = plane.addresses().next().expect("a shard")[0];
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let username = format!("{}:abcd", answer.ice_ufrag);
    let wrong = binding_request(&username, "not the password of this one", [1; 12]);
    let unknown = binding_request("nobodyknows:abcd", "whatever", [2; 12]);
    let right = binding_request(&username, attribute(&answer.sdp, "ice-pwd"), [3; 12]);
    for bytes in [b"".as_slice(), b"\x80\x60 no keys", &wrong, &unknown, &right] {
        socket.send_to(bytes, to).await.expect("sent");
    }
    let mut bytes = [0; 2048];
    let len = within(socket.recv(&mut bytes)).await.expect("an answer");
    assert!(len > 20);
    assert_eq!(bytes[8..20], [3; 12], "something else was answered");
    within(plane.shutdown()).await;
    let text = metrics.render();
    for reason in ["unknown_kind", "unknown_address", "stun_integrity", "stun_unknown_ufrag"] {
        let line = format!("greenroom_dropped_total{{reason=\"{reason}\"}} 1\n");
        assert!(text.contains(&line), "no {line} in {text}");
    }
}

#[tokio::test]
async fn a_command_for_all_shards_is_done_when_all_have_it() {
    let (media, _events, plane) =
        MediaPlane::start(&loopback(4), &Metrics::new()).expect("a media plane");
    for seat in 0..8 {
        let (done, applied) = oneshot::channel();
        let command = MediaCommand::SetSeat {
            room: ROOM,
            seat: Seat(seat),
            source: None,
            audience: Audience::Everyone,
            done: Some(done),
        };
        assert!(media.send(command).await);
        within(applied).await.expect("applied on four shards");
    }
    within(plane.shutdown()).await;
}

#[tokio::test]
async fn a_closed_transport_is_forgotten_by_all() {
    let (media, mut events, plane) =
        MediaPlane::start(&loopback(1), &Metrics::new()).expect("a media plane");
    let id = allocate(&media).await;
    publish(&media, id).await.expect("an answer");
    let reason = CloseReason::Requested;
    assert!(media.send(MediaCommand::Close { transport: id, reason }).await);
    let event = within(events.recv()).await.expect("an event");
    assert!(matches!(event.event, MediaEvent::Closed(CloseReason::Requested)), "{event:?}");
    // The director hears of the end before the room does.
    let restart = media.ask(|reply| MediaCommand::RestartIce { transport: id, sdp: None, reply });
    let refused = within(restart).await.expect_err("it is gone");
    assert_eq!(refused.code, signaling::protocol::Code::NotFound);
    within(plane.shutdown()).await;
}

#[tokio::test]
async fn a_taken_port_says_what_to_change() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let port = taken.local_addr().expect("an address").port();
    let config = MediaConfig { port, ..loopback(1) };
    let error = MediaPlane::start(&config, &Metrics::new()).expect_err("the port is taken");
    let text = format!("{error:#}");
    assert!(text.contains(&format!("port {port}/udp is in use on 127.0.0.1")), "{text}");
    assert!(text.contains("media.port"), "{text}");
}

#[test]
fn the_public_address_is_offered_first_with_the_shards_port() {
    let public_ip = Some(IpAddr::from([198, 51, 100, 7]));
    let config = MediaConfig { public_ip, ..MediaConfig::default() };
    let local = ["10.0.0.2:7883", "[fd00::2]:7883", "127.0.0.1:7883"]
        .map(|text| text.parse::<SocketAddr>().expect("an address"));
    let offered = config.candidates(&local);
    assert_eq!(offered[0], SocketAddr::from(([198, 51, 100, 7], 7883)));
    assert_eq!(offered[1..], local);
}

#[test]
fn a_failed_thread_says_why() {
    assert_eq!(supervise(|| Ok(())), Ok(()));
    let panicked = supervise(|| panic!("shard {} fell over", 3));
    assert_eq!(panicked, Err("shard 3 fell over".to_owned()));
    let failed = supervise(|| Err(io::Error::from(ErrorKind::OutOfMemory)));
    assert!(failed.is_err_and(|text| text.starts_with("waiting for datagrams")));
}
