//! The carriers of one participant together: WebSocket and data channels of a whole server, with
//! an independent WebRTC client.

#[path = "../loopback/client.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod client;
#[path = "../common/mod.rs"]
mod common;

use std::sync::Arc;

use client::{Client as Peer, Seen, pump, track};
use common::{Client, Fixture, text};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use webrtc::data_channel::DataChannel;

const GIFTS: u16 = 0;
const EVENTS: u16 = 1;

/// A host on air.
struct Host {
    socket: Client,
    user: String,
    _peer: Peer,
    pump: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Publish sound and picture.
async fn publish(socket: &mut Client) -> (Peer, JoinHandle<()>) {
    let mut peer = Peer::new(client::Network::Udp).await;
    let (audio, video) = (track(RtpCodecKind::Audio), track(RtpCodecKind::Video));
    let offer = peer.offer(&[audio.clone(), video.clone()]).await;
    let answer = socket.ok("media.offer", json!({"sdp": offer})).await;
    peer.accept(text(&answer["sdp"])).await;
    (peer, pump(audio, video))
}

async fn host(server: &Fixture) -> Host {
    let (mut socket, user, _) = server.join("r1", "host", "Hana").await;
    let (peer, pump) = publish(&mut socket).await;
    socket.ok("room.start", json!({})).await;
    socket.event("room.live", |_| true).await;
    Host { socket, user, _peer: peer, pump }
}

/// A viewer with media and data channels.
struct Viewer {
    socket: Client,
    peer: Peer,
    channels: Vec<Arc<dyn DataChannel>>,
    state: Value,
}

async fn viewer(server: &Fixture) -> Viewer {
    let (mut socket, _) = server.hello("r1", "viewer", "Vera").await;
    let state = socket.ok("room.join", json!({"room": "r1"})).await;
    let media = &state["media"];
    let mut peer = Peer::new(client::Network::Udp).await;
    let (sdp, channels) = peer.answer(text(&media["sdp"])).await;
    let answer = json!({"transport": media["transport"], "sdp": sdp});
    socket.ok("media.answer", answer).await;
    peer.until(|seen| matches!(seen, Seen::Open(GIFTS)).then_some(())).await;
    Viewer { socket, peer, channels, state }
}

impl Viewer {
    /// Send a command over the gifts channel.
    async fn tap(&self, id: u32, kind: &str, data: &Value) {
        let command = json!({"id": id, "type": kind, "data": data}).to_string();
        self.channels[usize::from(GIFTS)].send_text(&command).await.expect("sent");
    }

    /// The next message of a channel.
    async fn hears(&mut self, channel: u16) -> Value {
        self.peer
            .until(|seen| match seen {
                Seen::Message(from, bytes) if from == channel => {
                    Some(serde_json::from_slice(&bytes).expect("JSON"))
                }
                _ => None,
            })
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gift_key_on_both_carriers_is_one_gift() {
    let server = Fixture::start().await;
    let mut host = host(&server).await;
    let mut viewer = viewer(&server).await;
    let catalog = viewer.socket.ok("gift.catalog", json!({})).await;
    let (id, price) = (&catalog["gifts"][0]["id"], catalog["gifts"][0]["coins"].as_i64());
    let price = price.expect("a price");
    let gift = |key: &str, count: u32| json!({"key": key, "giftId": id, "price": price, "count": count, "to": host.user});

    // First over the WebSocket, again over the channel.
    let receipt = viewer.socket.ok("gift.send", gift("k1", 2)).await;
    viewer.tap(70, "gift.send", &gift("k1", 2)).await;
    let reply = viewer.hears(GIFTS).await;
    assert_eq!((&reply["id"], &reply["data"]), (&json!(70), &receipt));
    // First over the channel, again over the WebSocket.
    viewer.tap(71, "gift.send", &gift("k2", 1)).await;
    let reply = viewer.hears(GIFTS).await;
    assert_eq!((&reply["id"], &reply["ok"]), (&json!(71), &json!(true)), "{reply}");
    assert_eq!(viewer.socket.ok("gift.send", gift("k2", 1)).await, reply["data"]);
    // The same key for something else.
    viewer.tap(72, "gift.send", &gift("k2", 3)).await;
    let refused = viewer.hears(GIFTS).await;
    assert_eq!(refused["refusal"]["code"], "idempotency_mismatch");

    viewer.tap(73, "wallet.get", &json!({})).await;
    let left = 10_000 - 3 * price;
    assert_eq!(viewer.hears(GIFTS).await["data"]["coins"], left);
    // Both ends are told what they hold now.
    viewer.socket.event("wallet.updated", |wallet| wallet["coins"] == left).await;
    host.socket.event("wallet.updated", |wallet| wallet["diamonds"] == 3 * price).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbered_events_change_carrier_without_a_gap() {
    let server = Fixture::start().await;
    let mut host = host(&server).await;
    let mut viewer = viewer(&server).await;
    let mut wait = viewer.state["seq"].as_u64().expect("seq");

    // Until the server knows that the channel is open, events come over the WebSocket.
    let (mut on_socket, mut on_channel) = (Vec::new(), Vec::<Value>::new());
    while on_channel.is_empty() {
        host.socket.ok("room.update", json!({"title": "one more"})).await;
        // A reply comes after every event before it.
        viewer.socket.ok("ping", json!({})).await;
        on_socket.extend(viewer.socket.heard().iter().filter_map(|event| event["seq"].as_u64()));
        while let Ok(seen) = viewer.peer.seen.try_recv() {
            if let Seen::Message(EVENTS, bytes) = seen {
                on_channel.push(serde_json::from_slice(&bytes).expect("JSON"));
            }
        }
    }
    for n in 0..5 {
        host.socket.ok("room.update", json!({"title": format!("title {n}")})).await;
    }
    while on_channel.last().is_none_or(|event| event["data"]["title"] != "title 4") {
        let event = viewer.hears(EVENTS).await;
        on_channel.push(event);
    }
    viewer.socket.ok("ping", json!({})).await;
    let late = viewer.socket.heard();
    assert!(!late.iter().any(|event| event["data"]["title"] == "title 4"), "once: {late:?}");
    let on_channel = on_channel.iter().map(|event| event["seq"].as_u64().expect("numbered"));
    for seq in on_socket.into_iter().chain(on_channel) {
        assert!(seq <= wait + 1, "a gap between {wait} and {seq}");
        wait = wait.max(seq);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gifts_channel_has_no_rate_of_its_own() {
    let change = |config: &mut greenroom::config::Config| {
        config.limits.commands_per_second = 1;
        config.limits.commands_burst = 30;
    };
    let server = Fixture::with(change).await;
    let _host = host(&server).await;
    let mut viewer = viewer(&server).await;
    for _ in 0..25 {
        viewer.socket.ok("ping", json!({})).await;
    }
    let mut passed = 0;
    for id in 0..100 {
        viewer.tap(id, "wallet.get", &json!({})).await;
    }
    let refusal = loop {
        let reply = viewer.hears(GIFTS).await;
        if reply["ok"] != true {
            break reply["refusal"].clone();
        }
        passed += 1;
    };
    assert_eq!(refusal["code"], "rate_limited");
    assert!(passed < 25, "{passed} passed: the WebSocket has used up most of the burst");
    assert_eq!(viewer.socket.until_closed().await.1, Some(1013), "a flood ends the connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_on_air_keeps_seat_and_mute_over_a_restart_of_the_server() {
    let mut server = Fixture::start().await;
    let mut host = host(&server).await;
    host.socket.ok("room.update", json!({"guest": {"countdownMs": 0}})).await;
    let (mut guest, user, _) = server.join("r1", "viewer", "Gil").await;
    guest.ok("rules.accept", json!({"version": "1"})).await;
    let asked = guest.ok("guest.request", json!({"media": "av"})).await;
    host.socket.ok("guest.approve", json!({"guestId": asked["guestId"]})).await;
    let resume = guest.event("guest.granted", |_| true).await["data"]["resumeToken"].clone();
    let (_peer, pump) = publish(&mut guest).await;
    let live = |data: &Value| data["seat"] == 1 && data["state"] == "live";
    guest.event("seat.updated", live).await;
    let mute = json!({"guestId": asked["guestId"], "kinds": ["audio"], "hard": true});
    host.socket.ok("guest.mute", mute).await;

    server.restart().await;
    pump.abort();
    let ask = json!({"room": "r1", "media": false});
    let mut viewer = server.join("r1", "viewer", "Vera").await;
    let (room, seat) = (&viewer.2["room"], &viewer.2["seats"][1]);
    assert_eq!((&room["state"], &room["host"]["name"]), (&json!("paused"), &json!("Hana")));
    assert_eq!((&seat["state"], &seat["name"]), (&json!("reconnecting"), &json!("Gil")));
    let mut guest = server.hello_as("r1", "viewer", &user).await;
    let wrong = json!({"room": "r1", "media": false, "resume": "nonsense"});
    assert_eq!(guest.refused("room.join", wrong).await, "resume_invalid");
    let with = json!({"room": "r1", "media": false, "resume": resume});
    let state = guest.ok("room.join", with).await;
    assert_eq!(state["you"]["guest"]["locked"], json!(["audio"]), "{}", state["you"]);
    let (_peer, pump) = publish(&mut guest).await;
    let back = viewer.0.event("seat.updated", live).await;
    assert_eq!((&back["data"]["audio"], &back["data"]["video"]), (&json!(false), &json!(true)));
    pump.abort();
    let mut again = server.hello_as("r1", "host", &host.user).await;
    let state = again.ok("room.join", ask).await;
    assert_eq!(state["you"]["role"], "host");
    let (_peer, pump) = publish(&mut again).await;
    viewer.0.event("room.resumed", |_| true).await;
    pump.abort();
}
