//! The hello in front of the frames, if it is on.

use super::*;
use crate::net::tcp::hello;

impl Client {
    /// The other half of pseudo-TLS.
    async fn hello(&mut self) {
        while self.read.len() < hello::SERVER.len() {
            assert!(self.more().await, "closed instead of a hello");
        }
        let theirs: Vec<u8> = self.read.drain(..hello::SERVER.len()).collect();
        assert_eq!(theirs, hello::SERVER);
    }
}

#[tokio::test]
async fn behind_its_hello_a_client_of_pseudo_tls_is_like_any_other() {
    let plane = Plane::start(2, |tcp| tcp.hello = true);
    let mut inside = Vec::new();
    for number in 0..=hello::CLIENT.len() {
        let offered = plane.offer().await;
        let mut client = plane.connect().await;
        let (head, tail) = hello::CLIENT.split_at(number);
        client.send(head).await;
        client.send(tail).await;
        client.hello().await;
        client.send(&framed(&offered.request(1))).await;
        assert_eq!(client.datagram().await[..2], SUCCESS);
        inside.push(client);
    }
    plane.counts("greenroom_tcp_hellos_total", inside.len() as u64).await;
    plane.counts("greenroom_tcp_connections", inside.len() as u64).await;
}

#[tokio::test]
async fn a_hello_comes_byte_by_byte_or_with_what_follows() {
    let plane = Plane::start(1, |tcp| tcp.hello = true);
    let offered = plane.offer().await;
    let mut slow = plane.connect().await;
    slow.stream.set_nodelay(true).expect("a socket");
    for byte in hello::CLIENT {
        slow.send(&[byte]).await;
    }
    slow.hello().await;
    slow.send(&framed(&offered.request(1))).await;
    assert_eq!(slow.datagram().await[..2], SUCCESS);
    let mut fast = plane.connect().await;
    fast.send(&[&hello::CLIENT[..], &framed(&offered.request(2))].concat()).await;
    fast.hello().await;
    fast.answer(2).await;
    // Who needs none comes in without.
    plane.inside(&offered).await;
    plane.counts("greenroom_tcp_hellos_total", 2).await;
}

#[tokio::test]
async fn one_wrong_byte_of_a_hello_ends_the_connection_without_a_word() {
    let plane = Plane::start(1, |tcp| tcp.hello = true);
    for at in 1..hello::CLIENT.len() {
        let mut client = plane.connect().await;
        let mut spoilt = hello::CLIENT;
        spoilt[at] ^= 0x10;
        // What would make it whole does not have to come.
        client.send(&spoilt[..=at]).await;
        assert!(client.is_closed().await < PATIENCE, "{at}");
        plane.refused("not_hello", at as u64).await;
    }
    let mut other = plane.connect().await;
    other.send(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await;
    assert!(other.is_closed().await < PATIENCE);
    plane.refused("not_stun", 1).await;
    plane.counts("greenroom_tcp_hellos_total", 0).await;
    plane.counts("greenroom_tcp_connections", 0).await;
}

#[tokio::test]
async fn a_stranger_gets_the_fixed_hello_and_no_byte_more() {
    let plane = Plane::start(1, |tcp| (tcp.hello, tcp.per_address) = (true, 2));
    let wrong = plane.offer().await;
    let wrong = binding_request(&wrong.username, "not the password of this one", [1; 12]);
    for (bytes, reason) in [
        (hello::CLIENT.to_vec(), "not_stun"),
        (b"GET / HTTP/1.1\r\n".to_vec(), "not_stun"),
        (framed(&wrong), "stun_integrity"),
    ] {
        let mut client = plane.connect().await;
        client.send(&hello::CLIENT).await;
        client.hello().await;
        client.send(&bytes).await;
        assert!(client.is_closed().await < PATIENCE, "{reason}");
    }
    plane.refused("not_stun", 2).await;
    plane.refused("stun_integrity", 1).await;
    // Its time is over as everybody's is, and it takes a place like everybody.
    for len in [1, hello::CLIENT.len() - 1, hello::CLIENT.len()] {
        let mut client = plane.connect().await;
        let mut beside = plane.connect().await;
        client.send(&hello::CLIENT[..len]).await;
        let mut refused = plane.connect().await;
        assert!(refused.is_closed().await < PATIENCE, "a third of two");
        if len == hello::CLIENT.len() {
            client.hello().await;
        }
        let waited = client.is_closed().await;
        assert!(waited > PATIENCE / 2, "after {waited:?} with {len} bytes");
        beside.is_closed().await;
        plane.counts("greenroom_tcp_connections", 0).await;
    }
    plane.refused("no_stun", 6).await;
    plane.refused("per_address", 3).await;
}

#[tokio::test]
async fn without_the_option_a_hello_is_answered_by_nothing_and_offered_to_nobody() {
    let plane = Plane::start(1, |_| ());
    assert!(!plane.offer().await.sdp.contains("ssltcp"));
    let mut client = plane.connect().await;
    client.send(&hello::CLIENT).await;
    assert!(client.is_closed().await < PATIENCE);
    plane.refused("not_stun", 1).await;
}

#[tokio::test]
async fn pseudo_tls_is_offered_to_our_own_clients_and_not_to_those_of_whip() {
    let plane = Plane::start(1, |tcp| tcp.hello = true);
    let port = plane.address(false).port();
    let ours = plane.offer().await.sdp;
    let candidate =
        format!("a=candidate:5 1 ssltcp 1520418815 127.0.0.1 {port} typ host tcptype passive");
    assert!(ours.contains(&candidate), "no {candidate} in {ours}");
    assert!(!plane.offer_to(true).await.sdp.contains("ssltcp"));
}
