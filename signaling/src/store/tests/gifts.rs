use super::*;

/// Attack 37: balance 100, 64 senders of 100 at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn double_spend() {
    let folder = test_folder("double");
    let store = TestClock::new().open(&folder);
    fund(&store, "ana", 100).await;
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.gift(order("ana", &format!("k{n}"), 100)).await })
        })
        .collect();
    let mut accepted = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(receipt) => {
                assert_eq!(receipt.balance, 0);
                accepted += 1;
            }
            Err(refusal) => assert_eq!(refusal, MoneyRefusal::InsufficientFunds),
        }
    }
    assert_eq!(accepted, 1);
    assert_eq!(coins(&store, "ana").await, 0);
    assert_eq!(store.wallet("host").await.expect("reads").diamonds, 100);
    assert_eq!(assert_clean(&store).gifts, 1);
}

/// Attack 36: one key 100 times at once, then again after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replay() {
    let folder = test_folder("replay");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    fund(&store, "ana", 1_000).await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.gift(order("ana", "k", 7)).await })
        })
        .collect();
    let mut receipts = Vec::new();
    for task in tasks {
        receipts.push(task.await.expect("no panic").expect("accepted"));
    }
    assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 1);
    assert!(receipts.iter().all(|receipt| receipt.reply == receipts[0].reply));
    assert_eq!(coins(&store, "ana").await, 993);
    store.close().await;

    let store = clock.open(&folder);
    let again = store.gift(order("ana", "k", 7)).await.expect("stored");
    assert!(again.replayed && again.reply == receipts[0].reply);
    assert_eq!(assert_clean(&store).gifts, 1);
}

#[tokio::test]
async fn a_key_means_one_thing_for_one_sender() {
    let folder = test_folder("mismatch");
    let store = TestClock::new().open(&folder);
    fund(&store, "ana", 100).await;
    fund(&store, "bob", 100).await;
    store.gift(order("ana", "k", 7)).await.expect("accepted");
    let mismatch = Err(MoneyRefusal::IdempotencyMismatch);
    assert_eq!(store.gift(order("ana", "k", 8)).await, mismatch);
    let mut other = order("ana", "k", 7);
    other.content.to = GiftTarget::User("host".into());
    assert_eq!(store.gift(other).await, mismatch);
    assert!(!store.gift(order("bob", "k", 7)).await.expect("own scope").replayed);
    // Who sat there meanwhile is not the sender's content: a repeat is still a repeat.
    let moved = GiftOrder { to_user: "carl".into(), ..order("ana", "k", 7) };
    assert!(store.gift(moved).await.expect("stored").replayed);
    assert_eq!(assert_clean(&store).gifts, 2);
}

#[tokio::test]
async fn a_refused_key_stays_unused() {
    let folder = test_folder("refused");
    let store = TestClock::new().open(&folder);
    fund(&store, "ana", 5).await;
    assert_eq!(store.gift(order("ana", "k", 7)).await, Err(MoneyRefusal::InsufficientFunds));
    assert_eq!(store.recall("ana", "k", &order("ana", "k", 7).content).await, Ok(None));
    store.top_up("shop", "t1", "ana", 2).await.expect("topped up");
    let receipt = store.gift(order("ana", "k", 7)).await.expect("enough now");
    assert!(!receipt.replayed);
    assert_eq!(
        receipt.reply.as_ref(),
        br#"{"transferId":"t3","balance":0,"comboId":"c3","comboTotal":1}"#
    );
    assert_clean(&store);
}

/// Attack 38.
#[tokio::test]
async fn amounts_out_of_range_change_nothing() {
    let folder = test_folder("amounts");
    let store = TestClock::new().open(&folder);
    fund(&store, "ana", 100).await;
    for coins in [0, -1, i64::MIN] {
        assert_eq!(store.gift(order("ana", "k", coins)).await, Err(MoneyRefusal::BadRequest));
        let top_up = store.top_up("shop", "k", "ana", coins).await;
        assert_eq!(top_up, Err(MoneyRefusal::BadRequest));
    }
    assert_eq!(store.gift(order("ana", "k", i64::MAX)).await, Err(MoneyRefusal::InsufficientFunds));
    let mut many = order("ana", "k", i64::MAX);
    many.content.count = 2;
    assert_eq!(store.gift(many).await, Err(MoneyRefusal::BadRequest));
    let own = GiftOrder { to_user: "ana".into(), ..order("ana", "k", 1) };
    assert_eq!(store.gift(own).await, Err(MoneyRefusal::RecipientIsSender));
    // L15: the second one would leave 64 bits.
    store.top_up("shop", "big", "bob", i64::MAX - 100).await.expect("fits");
    assert_eq!(store.top_up("shop", "k", "bob", 101).await, Err(MoneyRefusal::BadRequest));
    assert_eq!(coins(&store, "ana").await, 100);
    assert_eq!(assert_clean(&store).transfers, 2);
}

#[tokio::test]
async fn combos_grow_while_taps_are_close() {
    let folder = test_folder("combo");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    fund(&store, "ana", 1_000).await;
    let tap = async |key: &str, coins, combo| {
        let order = GiftOrder { combo, ..order("ana", key, coins) };
        let receipt = store.gift(order).await.expect("accepted");
        (receipt.combo, receipt.combo_total)
    };
    let (first, n) = tap("k1", 1, true).await;
    assert_eq!(n, 1);
    clock.advance(COMBO_GAP_MS);
    assert_eq!(tap("k2", 1, true).await, (first.clone(), 2));
    assert_eq!(tap("k1", 1, true).await, (first.clone(), 1), "a repeat keeps its reply");
    let (other, n) = tap("k3", 2, true).await;
    assert!(other != first && n == 1, "another price is another combo");
    clock.advance(COMBO_GAP_MS + 1);
    let (second, n) = tap("k4", 1, true).await;
    assert!(second != first && n == 1);
    let (single, _) = tap("k5", 1, false).await;
    assert!(single != second, "a single gift joins no combo");
    assert_clean(&store);
}

#[tokio::test]
async fn the_host_share_is_kept_per_attempt_and_fixed() {
    let folder = test_folder("share");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    fund(&store, "ana", 1_000).await;
    for n in 0..5 {
        store.gift(guest_order("ana", &format!("a{n}"), 1, 3_000)).await.expect("accepted");
    }
    store.close().await;
    let store = clock.open(&folder);
    // Another rate than the guest agreed to is not used.
    for n in 0..5 {
        store.gift(guest_order("ana", &format!("b{n}"), 1, 9_000)).await.expect("accepted");
    }
    assert_eq!(store.wallet("host").await.expect("reads").diamonds, 3);
    assert_eq!(store.wallet("guest").await.expect("reads").diamonds, 7);
    // The host's own gift gives the host nothing back and does not count.
    fund(&store, "host", 10).await;
    store.gift(guest_order("host", "h", 10, 3_000)).await.expect("accepted");
    assert_eq!(store.wallet("host").await.expect("reads").diamonds, 3);
    assert_clean(&store);
}

#[tokio::test]
async fn promo_coins_go_first_and_expire() {
    let folder = test_folder("promo");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    let give = async |key: &str, what| {
        let order = CoinOrder { key: key.into(), actor: "shop".into(), what };
        store.move_coins(order).await.map(|receipt| receipt.replayed)
    };
    let grant = |coins, ms| CoinMove::PromoGrant {
        user: "ana".into(),
        coins,
        expires_at: clock.now() + ms,
    };
    assert_eq!(give("g0", grant(10, 1_000)).await, Err(MoneyRefusal::BudgetExceeded));
    assert_eq!(give("b", CoinMove::PromoBudget { coins: 100 }).await, Ok(false));
    let (late, soon) = (grant(10, 2_000), grant(10, 1_000));
    assert_eq!(give("g1", late.clone()).await, Ok(false));
    assert_eq!(give("g2", soon).await, Ok(false));
    assert_eq!(give("g1", late).await, Ok(true), "once per key");
    fund(&store, "ana", 5).await;
    assert_eq!(store.gift(order("ana", "k1", 12)).await.expect("enough").balance, 13);
    // 2 of the later lot are gone; the rest of it expires.
    clock.advance(2_000);
    assert_eq!(
        store.wallet("ana").await.expect("reads"),
        Wallet { coins: 5, promo: 0, diamonds: 0 }
    );
    assert_eq!(store.gift(order("ana", "k2", 6)).await, Err(MoneyRefusal::InsufficientFunds));
    assert_eq!(store.expire_promo().await, Ok(1));
    assert_eq!(store.expire_promo().await, Ok(0));
    assert_eq!(store.gift(order("ana", "k3", 5)).await.expect("paid coins").balance, 0);
    assert_clean(&store);
}

#[tokio::test]
async fn keys_live_a_day_and_as_long_as_their_room() {
    let folder = test_folder("keys");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    let at = |clock: &TestClock| clock.now().unsigned_abs();
    let room = crate::protocol::RoomId::new("r1").expect("an id");
    let host = crate::protocol::UserId::new("host").expect("an id");
    let opened =
        StoreWrite::RoomOpened { room: room.clone(), host, title: "t".into(), at: at(&clock) };
    store.keep(opened).await.expect("kept");
    fund(&store, "ana", 100).await;
    store.gift(order("ana", "k", 7)).await.expect("accepted");
    clock.advance(keys::KEY_LIFE_MS + 1);
    store.flush().await.expect("sweeps");
    assert!(store.gift(order("ana", "k", 7)).await.expect("room is open").replayed);
    let ended = StoreWrite::RoomEnded {
        room,
        reason: "host_ended",
        summary: crate::protocol::Summary::default(),
        at: at(&clock),
    };
    store.keep(ended).await.expect("kept");
    clock.advance(60_000);
    store.flush().await.expect("sweeps");
    assert!(!store.gift(order("ana", "k", 7)).await.expect("forgotten").replayed);
    assert_clean(&store);
}

#[tokio::test]
async fn stamps_never_go_back() {
    let folder = test_folder("stamps");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    fund(&store, "ana", 100).await;
    let first = store.gift(order("ana", "k1", 1)).await.expect("accepted").committed_at;
    clock.advance(-3_600_000);
    let second = store.gift(order("ana", "k2", 1)).await.expect("accepted").committed_at;
    store.close().await;
    let store = clock.open(&folder);
    let third = store.gift(order("ana", "k3", 1)).await.expect("accepted").committed_at;
    assert!(first <= second && second <= third, "{first} {second} {third}");
    assert_clean(&store);
}
