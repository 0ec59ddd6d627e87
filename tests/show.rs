//! A show over real sockets, as far as it goes without media: rooms, members, bans, the end.

#![expect(clippy::disallowed_methods, reason = "tests are a shell")]

mod common;

use common::{Client, Fixture, text};
use serde_json::{Value, json};

/// The cheapest gift: (id, price).
async fn gift(client: &mut Client) -> (String, u64) {
    let catalog = client.ok("gift.catalog", json!({})).await;
    let first = &catalog["gifts"][0];
    (text(&first["id"]), first["coins"].as_u64().expect("price"))
}

async fn coins(client: &mut Client) -> u64 {
    client.ok("wallet.get", json!({})).await["coins"].as_u64().expect("coins")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_makes_the_room_and_a_viewer_waits_in_it() {
    let server = Fixture::start().await;
    let (mut early, _) = server.hello("r1", "viewer", "Early").await;
    let ask = json!({"room": "r1", "media": false});
    assert_eq!(early.refused("room.join", ask.clone()).await, "room_not_found");
    let (_host, host, state) = server.join("r1", "host", "Hana").await;
    assert_eq!(state["room"]["state"], "preview");
    assert_eq!(state["room"]["host"]["user"], host);
    assert_eq!(state["you"]["role"], "host");
    assert_eq!(state["media"], Value::Null);
    let state = early.ok("room.join", ask.clone()).await;
    assert_eq!(state["you"]["role"], "viewer");
    assert_eq!(state["staff"], Value::Null);
    assert_eq!(early.refused("room.join", ask.clone()).await, "already_joined");
    early.ok("room.leave", json!({})).await;
    assert_eq!(early.refused("room.leave", json!({})).await, "not_joined");
    early.ok("room.join", ask).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_of_another_name_is_refused() {
    let server = Fixture::start().await;
    let (_host, ..) = server.join("r1", "host", "Hana").await;
    let (mut other, _) = server.hello("r1", "host", "Mallory").await;
    let ask = json!({"room": "r1", "media": false});
    assert_eq!(other.refused("room.join", ask).await, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_and_join_may_be_sent_at_once_and_the_offer_comes_with_the_reply() {
    let server = Fixture::start().await;
    let (token, _) = server.token("r1", "host", "Hana").await;
    let mut host = server.connect().await;
    let hello = host.begin("hello", json!({"token": token, "v": 1})).await;
    let join = host.begin("room.join", json!({"room": "r1"})).await;
    assert_eq!(host.reply(hello).await["ok"], true);
    let reply = host.reply(join).await;
    let sdp = text(&reply["data"]["media"]["sdp"]);
    assert!(sdp.starts_with("v=0\r\n") && sdp.contains("a=ice-lite"), "{sdp}");
    assert!(text(&reply["data"]["media"]["transport"]).starts_with('t'));
    let transport = reply["data"]["media"]["transport"].clone();
    let bad = json!({"transport": transport, "sdp": "v=0\r\nnonsense"});
    assert_eq!(host.refused("media.answer", bad).await, "sdp_invalid");
    assert_eq!(host.refused("media.offer", json!({"sdp": "x"})).await, "sdp_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_sees_who_is_here_and_chat_waits_for_the_show() {
    let server = Fixture::start().await;
    let (mut host, ..) = server.join("r1", "host", "Hana").await;
    let (mut viewer, user, _) = server.join("r1", "viewer", "Vera").await;
    let members = host.ok("member.list", json!({})).await;
    assert!(members["members"].as_array().expect("list").iter().any(|m| m["user"] == user));
    assert_eq!(viewer.refused("member.list", json!({})).await, "forbidden");
    let early = json!({"key": "k1", "text": "hello"});
    assert_eq!(viewer.refused("chat.send", early).await, "room_not_live");
    let long = json!({"key": "k2", "text": "x".repeat(201)});
    assert_eq!(viewer.refused("chat.send", long).await, "too_large");
    let history = host.ok("chat.history", json!({"limit": 10})).await;
    assert_eq!(history["msgs"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_before_the_show_is_live() {
    let server = Fixture::start().await;
    let (mut host, host_id, _) = server.join("r1", "host", "Hana").await;
    let (mut viewer, ..) = server.join("r1", "viewer", "Vera").await;
    let (id, price) = gift(&mut viewer).await;
    assert_eq!(coins(&mut viewer).await, 10_000);
    let send = json!({"key": "g1", "giftId": id, "price": price, "count": 1, "to": host_id});
    assert_eq!(viewer.refused("gift.send", send).await, "room_not_live");
    assert_eq!(viewer.refused("guest.request", json!({"media": "av"})).await, "room_not_live");
    assert_eq!(host.refused("guest.invite", json!({"user": "nobody"})).await, "room_not_live");
    assert_eq!(viewer.refused("room.start", json!({})).await, "host_only");
    host.ok("room.start", json!({"title": "Songs"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_acts_at_once_and_outlives_the_show() {
    let server = Fixture::start().await;
    let (mut host, host_id, _) = server.join("r1", "host", "Hana").await;
    let (mut viewer, user, _) = server.join("r1", "viewer", "Vera").await;
    assert_eq!(viewer.refused("mod.ban", json!({"user": user})).await, "forbidden");
    host.ok("mod.ban", json!({"user": user})).await;
    let (said, code) = viewer.until_closed().await;
    assert!(said.iter().any(|m| m["type"] == "bye" && m["data"]["reason"] == "banned"), "{said:?}");
    assert_eq!(code, Some(1008));
    let ask = json!({"room": "r1", "media": false});
    let mut back = server.hello_as("r1", "viewer", &user).await;
    assert_eq!(back.refused("room.join", ask.clone()).await, "banned");
    host.ok("room.end", json!({})).await;
    host.until_closed().await;
    let mut host = server.hello_as("r1", "host", &host_id).await;
    host.ok("room.join", ask.clone()).await;
    assert_eq!(back.refused("room.join", ask).await, "banned");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_room_is_told_and_a_new_one_may_follow() {
    let server = Fixture::start().await;
    let (mut host, host_id, _) = server.join("r1", "host", "Hana").await;
    let (mut viewer, ..) = server.join("r1", "viewer", "Vera").await;
    host.ok("room.end", json!({})).await;
    let (said, code) = viewer.until_closed().await;
    assert!(said.iter().any(|m| m["type"] == "room.ended"), "{said:?}");
    assert!(said.iter().any(|m| m["data"]["reason"] == "room_ended"), "{said:?}");
    assert_eq!(code, Some(1000));
    let (mut late, _) = server.hello("r1", "viewer", "Late").await;
    let ask = json!({"room": "r1", "media": false});
    assert_eq!(late.refused("room.join", ask.clone()).await, "room_ended");
    let mut host = server.hello_as("r1", "host", &host_id).await;
    assert_eq!(host.ok("room.join", ask.clone()).await["room"]["state"], "preview");
    late.ok("room.join", ask).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_room_is_full() {
    let server = Fixture::with(|config| config.limits.viewers_per_room = 2).await;
    let (_host, ..) = server.join("r1", "host", "Hana").await;
    let (mut viewer, ..) = server.join("r1", "viewer", "Vera").await;
    let (mut late, _) = server.hello("r1", "viewer", "Late").await;
    let ask = json!({"room": "r1", "media": false});
    assert_eq!(late.refused("room.join", ask.clone()).await, "room_full");
    viewer.ok("room.leave", json!({})).await;
    late.ok("room.join", ask).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_during_a_show_ends_no_show_and_takes_no_time() {
    let mut server = Fixture::start().await;
    let (mut host, ..) = server.join("r1", "host", "Hana").await;
    let (mut viewer, ..) = server.join("r1", "viewer", "Vera").await;
    let start = std::time::Instant::now();
    server.stop().await;
    assert!(start.elapsed().as_secs() < 3, "{:?}", start.elapsed());
    for client in [&mut host, &mut viewer] {
        let (said, code) = client.until_closed().await;
        assert!(!said.iter().any(|m| m["type"] == "room.ended"), "{said:?}");
        assert_eq!(code, Some(1012));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_is_let_go_and_nobody_waits_for_them() {
    let server = Fixture::with(|config| config.limits.commands_burst = 1_000_000).await;
    let (mut host, ..) = server.join("r1", "host", "Hana").await;
    let (mut reader, ..) = server.join("r1", "viewer", "Vera").await;
    let (token, slow_user) = server.token("r1", "viewer", "Slow").await;
    let mut slow = server.connect_narrow(4096).await;
    slow.ok("hello", json!({"token": token, "v": 1})).await;
    let ask = json!({"room": "r1", "media": false});
    slow.ok("room.join", ask.clone()).await;
    let sessions = async |count: u32| {
        let (.., metrics) = server.get("/metrics", "").await;
        metrics.contains(&format!("greenroom_sessions {count}\n"))
    };
    assert!(sessions(3).await);

    // From here on `slow` reads nothing. Each update is half a kilobyte to everybody.
    let mut updates = 0;
    while sessions(3).await {
        for _ in 0..50 {
            updates += 1;
            let title = format!("title {updates}");
            host.ok("room.update", json!({"title": title})).await;
            reader.event("room.updated", |data| data["title"] == title.as_str()).await;
        }
        assert!(updates < 10_000, "nothing bounds what waits for a stalled reader");
    }
    assert!(sessions(2).await && updates > 100, "after {updates}");
    let members = host.ok("member.list", json!({})).await;
    let listed = |user: &str| members["members"].to_string().contains(user);
    assert!(!listed(&slow_user), "{members}");

    // It reads what the kernel had, then the end, and comes back to a room without gaps.
    let (said, code) = slow.until_closed().await;
    let told = said.iter().any(|m| m["type"] == "bye" && m["data"]["reason"] == "slow_consumer");
    assert!(matches!(code, None | Some(1013)) && told == (code == Some(1013)), "{code:?}");
    let mut back = server.hello_as("r1", "viewer", &slow_user).await;
    let state = back.ok("room.join", ask).await;
    assert_eq!(state["room"]["title"], format!("title {updates}"));
}
