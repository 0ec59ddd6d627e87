//! The protocol over real sockets: identity, limits and what happens past them.

#![expect(clippy::disallowed_methods, reason = "tests are a shell")]

mod common;

use std::time::{Duration, SystemTime};

use common::Fixture;
use serde_json::{Value, json};
use signaling::protocol::UserId;
use signaling::store::dev_secret;
use signaling::token::{Claims, TokenKeys, TokenRole};
use signaling::turn::Turn;

/// A command of exactly `size` bytes.
fn sized(kind: &str, size: usize) -> String {
    let empty = json!({"id": 1, "type": kind, "data": {"pad": ""}}).to_string();
    json!({"id": 1, "type": kind, "data": {"pad": "x".repeat(size - empty.len())}}).to_string()
}

fn has_bye(said: &[Value], reason: &str) -> bool {
    said.iter().any(|m| m["type"] == "bye" && m["data"]["reason"] == reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_says_who_i_am_and_what_i_may() {
    let server = Fixture::start().await;
    let (token, user) = server.token("r1", "viewer", "Ana").await;
    let mut client = server.connect().await;
    let welcome = client.ok("hello", json!({"token": token, "v": 1})).await;
    assert_eq!(welcome["you"]["user"], user);
    assert_eq!(welcome["you"]["name"], "Ana");
    assert_eq!(welcome["you"]["role"], "viewer");
    assert_eq!(welcome["limits"]["messageBytes"], 16384);
    assert!(client.ok("ping", json!({})).await["ts"].as_u64().is_some());
    assert_eq!(client.refused("hello", json!({"token": token, "v": 1})).await, "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_names_the_turn_server_with_credentials_of_ones_own() {
    let urls =
        ["turn:turn.example:3478", "turns:turn.example:443?transport=tcp"].map(str::to_owned);
    let secret = "a secret of the TURN server";
    let server = Fixture::with(|config| {
        config.media.turn_urls = urls.to_vec();
        config.media.turn_secret = secret.to_owned();
        config.media.turn_ttl_seconds = 600;
    })
    .await;
    let (token, user) = server.token("r1", "viewer", "Ana").await;
    let mut client = server.connect().await;
    let welcome = client.ok("hello", json!({"token": token, "v": 1})).await;
    let given = welcome["iceServers"].as_array().expect("a list");
    assert_eq!(given.len(), 1);
    assert_eq!(given[0]["urls"], json!(urls));
    let name = given[0]["username"].as_str().expect("a name");
    let (expiry, whose) = name.split_once(':').expect("expiry:user");
    assert_eq!(whose, user);
    let expiry: u64 = expiry.parse().expect("seconds");
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    assert!((now + 590..=now + 600).contains(&expiry), "{expiry}, now {now}");
    let user = UserId::new(&user).expect("an id");
    let known = Turn::new(urls.to_vec(), secret, 0).ice_server(&user, expiry);
    assert_eq!(given[0], serde_json::to_value(known).expect("JSON"));
    assert!(!welcome.to_string().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_hello_before_hello() {
    let server = Fixture::start().await;
    let mut client = server.connect().await;
    for kind in ["room.join", "room.leave", "wallet.get", "token.refresh", "guest.leave"] {
        let data = json!({"room": "r1", "token": "x"});
        assert_eq!(client.refused(kind, data).await, "unauthenticated", "{kind}");
    }
    assert_eq!(client.refused("no.such", json!({})).await, "unknown_type");
    assert_eq!(client.refused("room.join", json!({"room": "../x"})).await, "bad_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_old_tokens() {
    let server = Fixture::start().await;
    let folder = &server.folder;
    let keys = TokenKeys::new(&dev_secret(folder).expect("key")).expect("keys");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("clock").as_secs();
    let good = Claims::new("r1", TokenRole::Viewer, "ana", now + 60);
    let expired = keys.sign(&Claims { exp: now - 1, ..good.clone() }).expect("signs");
    let foreign = TokenKeys::new(&[7; 32]).expect("keys").sign(&good).expect("signs");
    let other_aud = keys.sign(&Claims { aud: "else".into(), ..good.clone() }).expect("signs");
    let mut client = server.connect().await;
    for (token, code) in [
        (expired.as_str(), "token_expired"),
        (foreign.as_str(), "unauthenticated"),
        (other_aud.as_str(), "unauthenticated"),
        ("", "unauthenticated"),
        ("a.b.c", "unauthenticated"),
    ] {
        assert_eq!(client.refused("hello", json!({"token": token, "v": 1})).await, code);
    }
    let token = keys.sign(&good).expect("signs");
    assert_eq!(
        client.refused("hello", json!({"token": token, "v": 2})).await,
        "unsupported_version"
    );
    client.ok("hello", json!({"token": token, "v": 1})).await;
    assert_eq!(client.refused("room.join", json!({"room": "r2"})).await, "forbidden");
    assert_eq!(client.refused("room.join", json!({"room": "r1"})).await, "room_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_and_a_refresh_keeps_the_connection() {
    let server = Fixture::start().await;
    let keys = TokenKeys::new(&dev_secret(&server.folder).expect("key")).expect("keys");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("clock").as_secs();
    let sign =
        |sub, exp| keys.sign(&Claims::new("r1", TokenRole::Viewer, sub, exp)).expect("signs");
    let mut short = server.connect().await;
    let mut long = server.connect().await;
    short.ok("hello", json!({"token": sign("ana", now + 2), "v": 1})).await;
    long.ok("hello", json!({"token": sign("bo", now + 2), "v": 1})).await;
    let other = json!({"token": sign("ana", now + 60)});
    assert_eq!(long.refused("token.refresh", other).await, "forbidden");
    long.ok("token.refresh", json!({"token": sign("bo", now + 60)})).await;
    let (said, code) = short.until_closed().await;
    assert!(has_bye(&said, "token_expired"), "{said:?}");
    assert_eq!(code, Some(1008));
    long.ok("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn message_size_at_the_limit_and_one_past_it() {
    let server = Fixture::start().await;
    let mut client = server.connect().await;
    client.send(&sized("ping", 16 * 1024)).await;
    assert_eq!(client.reply(1).await["ok"], true);
    client.send(&sized("ping", 16 * 1024 + 1)).await;
    let (said, code) = client.until_closed().await;
    assert_eq!(said[0]["refusal"]["code"], "too_large", "{said:?}");
    assert_eq!(code, Some(1009));
}

#[tokio::test(flavor = "multi_thread")]
async fn sdp_message_size_at_the_limit_and_one_past_it() {
    let server = Fixture::start().await;
    let mut client = server.connect().await;
    client.send(&sized("media.offer", 64 * 1024)).await;
    assert_eq!(client.reply(1).await["refusal"]["code"], "bad_request", "no sdp in it");
    client.send(&sized("media.offer", 64 * 1024 + 1)).await;
    assert_eq!(client.until_closed().await.1, Some(1009));
    let mut other = server.connect().await;
    // Past what is read at all the server is gone before the client has sent it: the reset may
    // overtake the close frame, but nothing else may happen.
    let _ = other.try_send(&"x".repeat(1 << 20)).await;
    assert!(matches!(other.until_closed().await.1, Some(1009) | None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_is_answered() {
    let server = Fixture::start().await;
    let (mut client, _) = server.hello("r1", "host", "Hanna").await;
    client.close().await;
    assert!(client.next().await.expect_err("closed").is_some(), "a close frame, not a cut line");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_depth_and_garbage() {
    let server = Fixture::start().await;
    let mut client = server.connect().await;
    let deep =
        format!(r#"{{"id":1,"type":"ping","data":{{"a":{}1{}}}}}"#, "[".repeat(9), "]".repeat(9));
    client.send(&deep).await;
    assert_eq!(client.reply(1).await["refusal"]["code"], "bad_request");
    for garbage in ["", "{", "null", "[]", r#"{"id":-1,"type":"ping"}"#, r#"{"type":"ping"}"#] {
        client.send(garbage).await;
    }
    client.ok("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_passes_a_flood_is_closed() {
    let server = Fixture::with(|config| config.limits.commands_per_second = 1).await;
    let mut client = server.connect().await;
    for id in 1..=100 {
        client.send(&json!({"id": id, "type": "ping"}).to_string()).await;
    }
    for id in 1..=100 {
        assert_eq!(client.reply(id).await["ok"], true, "{id} is inside the burst");
    }
    for id in 101..=140 {
        client.send(&json!({"id": id, "type": "ping"}).to_string()).await;
    }
    let (said, code) = client.until_closed().await;
    assert!(said.iter().any(|m| m["refusal"]["code"] == "rate_limited"), "{said:?}");
    assert!(said.iter().any(|m| m["refusal"]["retryAfterMs"].as_u64() > Some(0)));
    assert_eq!(code, Some(1013));
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_of_one_address_at_the_limit_and_one_past_it() {
    let server = Fixture::with(|config| config.limits.connects_per_second = 3).await;
    let mut inside = Vec::new();
    let refused = loop {
        match server.connect_from(None).await {
            Ok(client) => inside.push(client),
            Err(error) => break error,
        }
    };
    assert!(inside.len() >= 3, "{} were let in", inside.len());
    let tokio_tungstenite::tungstenite::Error::Http(response) = refused else {
        panic!("{refused}")
    };
    assert_eq!(response.status(), 429);
    let body = response.into_body().unwrap_or_default();
    assert!(String::from_utf8_lossy(&body).contains("rate_limited"));
    let whip =
        "POST /whip/r1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (status, head, _) = server.http(whip).await;
    assert_eq!(status, 429, "{head}");
    assert!(head.contains("retry-after") && head.contains("access-control-allow-origin"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_of_one_room_at_the_limit_and_one_past_it() {
    let server = Fixture::with(|config| config.limits.joins_per_second = 2).await;
    let (_host, ..) = server.join("r1", "host", "Hana").await;
    let (mut viewer, ..) = server.join("r1", "viewer", "Vera").await;
    viewer.ok("room.leave", json!({})).await;
    let ask = json!({"room": "r1", "media": false});
    let mut joined = 0;
    let refusal = loop {
        let id = viewer.begin("room.join", ask.clone()).await;
        let reply = viewer.reply(id).await;
        if reply["ok"] != true {
            break reply["refusal"].clone();
        }
        joined += 1;
        viewer.ok("room.leave", json!({})).await;
        assert!(joined < 20, "no limit");
    };
    assert_eq!(refusal["code"], "rate_limited");
    tokio::time::sleep(Duration::from_millis(refusal["retryAfterMs"].as_u64().expect("ms"))).await;
    viewer.ok("room.join", ask).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_before_hello_is_closed() {
    let server = Fixture::with(|config| config.limits.hello_ms = 300).await;
    let mut client = server.connect().await;
    let (said, code) = client.until_closed().await;
    assert!(has_bye(&said, "protocol_error"));
    assert_eq!(code, Some(1008));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_pings_stays() {
    let server = Fixture::with(|config| config.limits.ping_ms = 50).await;
    let (mut client, _) = server.hello("r1", "viewer", "Ana").await;
    // The client library answers pings while it reads; ten keep-alive periods of reading.
    let quiet = tokio::time::timeout(Duration::from_millis(500), client.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    client.ok("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_pages_may_not_connect() {
    let server = Fixture::with(|c| c.http.origins = vec!["https://shop.example".into()]).await;
    let own = format!("http://{}", server.addr);
    for origin in [None, Some(own.as_str()), Some("https://shop.example")] {
        assert!(server.connect_from(origin).await.is_ok(), "{origin:?}");
    }
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        assert!(server.connect_from(Some(origin)).await.is_err(), "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_of_one_address_are_few_and_friends_many() {
    let server = Fixture::with(|config| config.limits.sockets_per_address = 3).await;
    let mut friends = Vec::new();
    for _ in 0..5 {
        friends.push(server.hello("r1", "viewer", "Ana").await);
    }
    let mut strangers = Vec::new();
    // The connections that fetched the tokens may still be closing.
    while strangers.len() < 3 {
        strangers.extend(server.connect_from(None).await);
    }
    assert!(server.connect_from(None).await.is_err(), "one past the limit");
    drop(strangers);
    for (friend, _) in &mut friends {
        friend.ok("ping", json!({})).await;
    }
}

/// `POST /v1/revocations` with this token: the status.
async fn revoke(server: &Fixture, token: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let request = format!(
        "POST /v1/revocations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    server.http(&request).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_tokens_are_refused_everywhere_at_once_and_after_a_restart() {
    let mut server = Fixture::start().await;
    let keys = TokenKeys::new(&dev_secret(&server.folder).expect("key")).expect("keys");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("clock").as_secs();
    let sign = |sub: &str, role, room: &str, jti: Option<&str>| {
        let jti = jti.map(str::to_owned);
        keys.sign(&Claims { jti, ..Claims::new(room, role, sub, now + 600) }).expect("signs")
    };
    let (one, two) = (
        sign("ana", TokenRole::Viewer, "r1", Some("one")),
        sign("ana", TokenRole::Viewer, "r1", Some("two")),
    );
    let bob = sign("bob", TokenRole::Host, "r1", None);
    let hello = |token: &str| json!({"token": token, "v": 1});
    let mut sessions = [server.connect().await, server.connect().await, server.connect().await];
    for (session, token) in sessions.iter_mut().zip([&one, &two, &bob]) {
        session.ok("hello", hello(token)).await;
    }
    let service = sign("backend", TokenRole::Service, "*", None);
    for weak in [&bob, &sign("x", TokenRole::Service, "r1", None)] {
        assert_eq!(revoke(&server, weak, &json!({"sub": "ana"})).await, 403);
    }
    for bad in [json!({}), json!({"sub": "a", "jti": "b"}), json!({"jti": "a b"})] {
        assert_eq!(revoke(&server, &service, &bad).await, 400, "{bad}");
    }
    assert_eq!(revoke(&server, &service, &json!({"jti": "one"})).await, 200);
    let [first, second, host] = &mut sessions;
    let (said, code) = first.until_closed().await;
    assert!(has_bye(&said, "token_expired") && code == Some(1008), "{said:?}");
    second.ok("ping", json!({})).await;
    assert_eq!(second.refused("token.refresh", json!({"token": one})).await, "unauthenticated");
    assert_eq!(revoke(&server, &service, &json!({"sub": "bob"})).await, 200);
    assert_eq!(host.until_closed().await.1, Some(1008));
    second.ok("ping", json!({})).await;
    let whip = format!(
        "POST /whip/r1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\
         authorization: Bearer {bob}\r\n\r\n"
    );
    assert_eq!(server.http(&whip).await.0, 401);

    server.restart().await;
    for (token, accepted) in [(&one, false), (&bob, false), (&two, true)] {
        let mut client = server.connect().await;
        let id = client.begin("hello", hello(token)).await;
        assert_eq!(client.reply(id).await["ok"], accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_everybody_and_ends_soon() {
    let mut server = Fixture::start().await;
    let (mut client, _) = server.hello("r1", "viewer", "Ana").await;
    let mut stranger = server.connect().await;
    server.stop().await;
    let (said, code) = client.until_closed().await;
    assert_eq!(said[0]["type"], "server.draining");
    assert!(said.iter().any(|m| m["type"] == "bye" && m["data"]["retry"] == true), "{said:?}");
    assert_eq!(code, Some(1012));
    assert_eq!(stranger.until_closed().await.1, Some(1012));
    assert!(server.connect_from(None).await.is_err());
}
