//! Limits, golden examples, and the documents generated from the types.

#![expect(clippy::disallowed_methods, reason = "reads and renews files of the repository")]

mod document;
mod limits;

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn fixture(name: &str) -> String {
    let path = root().join("fixtures").join(format!("{name}.json"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("every message has an example: {} ({error})", path.display())
    })
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Compare with the committed file, or renew it with `UPDATE=1`.
fn same_as_file(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, text).expect("written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == text, "{path} is stale: run `UPDATE=1 cargo test -p signaling protocol`");
}

#[test]
fn the_schema_is_generated_from_the_types() {
    let text = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    same_as_file("schema.json", &text);
}

#[test]
fn every_command_has_an_example_that_survives_a_round_trip() {
    for kind in Command::TYPES {
        let text = fixture(&format!("command.{kind}"));
        let command = Envelope::parse(&text).expect(kind).command().expect(kind);
        assert_eq!(command.kind(), *kind);
        let mut back = serde_json::to_value(&command).expect("JSON");
        back["id"] = json(&text)["id"].clone();
        assert_eq!(back, json(&text), "{kind}");
    }
}

#[test]
fn every_event_has_an_example_that_survives_a_round_trip() {
    for kind in Event::TYPES {
        let text = fixture(&format!("event.{kind}"));
        let event: EventMessage = serde_json::from_str(&text).expect(kind);
        assert_eq!(event.event.kind(), *kind);
        assert_eq!(json(&event.to_json()), json(&text), "{kind}");
    }
}

fn round<T: Serialize + DeserializeOwned>(data: &Value) -> Value {
    let typed: T = serde_json::from_value(data.clone()).expect("the type of the reply");
    serde_json::to_value(typed).expect("JSON")
}

type Round = fn(&Value) -> Value;

/// The commands whose reply has content, with its type.
const REPLIES: &[(&str, &str, Round)] = &[
    ("hello", "Welcome", round::<Welcome>),
    ("room.join", "Joined", round::<Joined>),
    ("room.resync", "Resynced", round::<Resynced>),
    ("ping", "Pong", round::<Pong>),
    ("media.offer", "MediaSession", round::<MediaSession>),
    ("media.grow", "Grown", round::<Grown>),
    ("media.restart", "MediaSession", round::<MediaSession>),
    ("member.list", "MemberList", round::<MemberList>),
    ("guest.request", "GuestOpened", round::<GuestOpened>),
    ("guest.invite", "GuestOpened", round::<GuestOpened>),
    ("guest.accept", "GuestGranted", round::<GuestGranted>),
    ("guest.approve", "GuestSeated", round::<GuestSeated>),
    ("guest.list", "GuestList", round::<GuestList>),
    ("chat.send", "ChatSent", round::<ChatSent>),
    ("chat.history", "ChatHistory", round::<ChatHistory>),
    ("gift.catalog", "GiftCatalog", round::<GiftCatalog>),
    ("gift.send", "GiftReceipt", round::<GiftReceipt>),
    ("wallet.get", "Wallet", round::<Wallet>),
];

#[test]
fn every_reply_with_content_has_an_example_that_survives_a_round_trip() {
    for (kind, _, round) in REPLIES {
        let reply = json(&fixture(&format!("reply.{kind}")));
        assert_eq!(round(&reply["data"]), reply["data"], "{kind}");
    }
}

#[test]
fn a_refusal_reads_as_documented() {
    let text = fixture("refusal");
    let refusal: Refusal = serde_json::from_value(json(&text)["refusal"].clone()).expect("typed");
    assert_eq!(json(&Reply::new(7, Err(refusal)).to_json()), json(&text));
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).expect("JSON"), code.as_str());
        assert_eq!(Code::named(code.as_str()), Some(*code));
    }
}

#[test]
fn limits_in_the_welcome_are_the_limits_in_force() {
    let text = fixture("reply.hello");
    let limits: Limits =
        serde_json::from_value(json(&text)["data"]["limits"].clone()).expect("typed");
    assert_eq!(limits, Limits::default());
}
