use super::*;
use crate::protocol::{GuestId, RoomId, Summary, UserId};
use crate::room::{ConnId, ReplyTo, Via};

fn room(name: &str) -> RoomId {
    RoomId::new(name).expect("an id")
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("an id")
}

fn opened(name: &str, host: &str, at: u64) -> StoreWrite {
    StoreWrite::RoomOpened { room: room(name), host: user(host), title: "Tea".into(), at }
}

fn ended(name: &str, at: u64) -> StoreWrite {
    let summary = Summary::default();
    StoreWrite::RoomEnded { room: room(name), reason: "host_ended", summary, at }
}

#[tokio::test]
async fn rooms_bans_and_mutes_outlive_a_restart() {
    let folder = test_folder("rooms");
    let clock = TestClock::new();
    let now = clock.now().unsigned_abs();
    let store = clock.open(&folder);
    let (r1, mod_1, troll) = (room("r1"), user("mod_1"), user("troll"));
    let keep = async |write| store.keep(write).await.expect("kept");
    keep(opened("r1", "host", now)).await;
    keep(StoreWrite::RoomLive { room: r1.clone(), at: now + 5 }).await;
    keep(opened("r2", "host", now + 6)).await;
    keep(ended("r2", now + 7)).await;
    let ban = |until| StoreWrite::Ban {
        room: r1.clone(),
        actor: mod_1.clone(),
        user: troll.clone(),
        until,
        at: now,
    };
    keep(ban(Some(now + 1_000))).await;
    keep(ban(None)).await;
    let mute = |name: &str, until| StoreWrite::ChatMute {
        room: r1.clone(),
        actor: mod_1.clone(),
        user: user(name),
        until,
        at: now,
    };
    keep(mute("loud", now + 1_000)).await;
    keep(mute("quiet", now + 60_000)).await;
    let (title, settings) = ("Coffee".to_owned(), r#"{"a":1}"#.to_owned());
    keep(StoreWrite::Settings { room: r1.clone(), title, settings }).await;
    store
        .save_moderator("r1", "mod_1", &["user.ban".into(), "user.kick".into()])
        .await
        .expect("kept");
    let attempt = AttemptRecord {
        room: "r1".into(),
        guest: "g1".into(),
        user: "ana".into(),
        record: "{}".into(),
    };
    keep(attempt_of("g1", "ana")).await;
    assert_eq!(store.has_ended("r1").await, Ok(false));
    assert_eq!(store.has_ended("r2").await, Ok(true));
    assert_eq!(store.has_ended("r3").await, Ok(false));
    store.close().await;

    clock.advance(1_000);
    let store = clock.open(&folder);
    let rooms = store.open_rooms().await.expect("reads");
    let expected = RoomRecord {
        room: "r1".into(),
        host: "host".into(),
        title: "Coffee".into(),
        settings: r#"{"a":1}"#.into(),
        opened_at: now as i64,
        started_at: Some(now as i64 + 5),
    };
    assert_eq!(rooms.len(), 1);
    assert_eq!(rooms[0].room, expected);
    let kept = &rooms[0].kept;
    assert_eq!(kept.bans, [("troll".into(), None)]);
    assert_eq!(kept.chat_mutes, [("quiet".into(), Some(now as i64 + 60_000))]);
    assert_eq!(kept.moderators, [("mod_1".into(), vec!["user.ban".into(), "user.kick".into()])]);
    assert_eq!(kept.attempts, [attempt]);
    // Four moderation actions, each with its row.
    assert_eq!(assert_clean(&store).audit_rows, 4);
}

fn attempt_of(guest: &str, name: &str) -> StoreWrite {
    let guest = GuestId::new(guest).expect("valid");
    StoreWrite::Attempt { room: room("r1"), guest, user: user(name), record: "{}".into() }
}

#[tokio::test]
async fn a_room_name_is_free_again_after_the_show_and_the_ban_stays() {
    let folder = test_folder("slug");
    let store = TestClock::new().open(&folder);
    let keep = async |write| store.keep(write).await.expect("kept");
    keep(opened("r1", "host", 1)).await;
    keep(StoreWrite::Ban {
        room: room("r1"),
        actor: user("host"),
        user: user("troll"),
        until: None,
        at: 2,
    })
    .await;
    keep(attempt_of("g1", "ana")).await;
    keep(ended("r1", 3)).await;
    keep(ended("r1", 4)).await;
    keep(opened("r1", "host", 5)).await;
    keep(opened("r1", "host", 6)).await;
    let rooms = store.open_rooms().await.expect("reads");
    assert_eq!(rooms.len(), 1);
    assert_eq!(rooms[0].room.opened_at, 5, "the same host goes on");
    assert_eq!(rooms[0].kept.bans.len(), 1);
    assert!(rooms[0].kept.attempts.is_empty());
    keep(opened("r1", "other", 7)).await;
    assert_eq!(store.open_rooms().await.expect("reads")[0].room.host, "other");
}

#[tokio::test]
async fn the_deny_list_persists_until_its_date() {
    let folder = test_folder("deny");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    let until = clock.now() + 1_000;
    store.revoke("jti-1", until).await.expect("kept");
    store.revoke("jti-1", until - 500).await.expect("kept");
    assert_eq!(store.revoke("a b", until).await, Err(MoneyRefusal::BadRequest));
    store.close().await;
    let store = clock.open(&folder);
    assert_eq!(store.revocations().await, Ok(vec![("jti-1".into(), until)]));
    clock.advance(1_000);
    assert_eq!(store.revocations().await, Ok(Vec::new()));
}

#[tokio::test]
async fn accepted_rules_are_kept() {
    let folder = test_folder("rules");
    let store = TestClock::new().open(&folder);
    for version in ["1", "2"] {
        let write = StoreWrite::RulesAccepted { user: user("ana"), version: version.into(), at: 1 };
        store.keep(write).await.expect("kept");
    }
    assert_eq!(store.rules_accepted("ana").await, Ok(Some("2".into())));
    assert_eq!(store.rules_accepted("bob").await, Ok(None));
}

/// A repeated key outranks whatever the room says now.
#[tokio::test]
async fn a_paid_gift_is_never_refused_later() {
    let folder = test_folder("settle");
    let store = TestClock::new().open(&folder);
    fund(&store, "ana", 100).await;
    let ask = |key: &str, verdict| GiftAsk {
        to: ReplyTo { conn: ConnId(1), id: 7, via: Via::Connection },
        order: order("ana", key, 7),
        verdict,
    };
    let gone: Refusal = MoneyRefusal::RecipientGone.into();
    let first = store.settle(&ask("k1", Ok(()))).await.expect("accepted");
    let again = store.settle(&ask("k1", Err(gone.clone()))).await.expect("stored");
    assert_eq!(again.reply, first.reply);
    assert_eq!(store.settle(&ask("k2", Err(gone.clone()))).await, Err(gone));
    assert!(!store.settle(&ask("k2", Ok(()))).await.expect("unused").replayed);
}

#[tokio::test]
async fn starting_coins_come_once() {
    let folder = test_folder("start");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    assert_eq!(store.ensure_starting_coins("ana", 10_000).await, Ok(true));
    assert_eq!(store.ensure_starting_coins("ana", 10_000).await, Ok(false));
    store.close().await;
    clock.advance(10 * keys::KEY_LIFE_MS);
    let store = clock.open(&folder);
    assert_eq!(store.ensure_starting_coins("ana", 10_000).await, Ok(false));
    assert_eq!(coins(&store, "ana").await, 10_000);
    assert_eq!(coins(&store, "nobody").await, 0);
}
