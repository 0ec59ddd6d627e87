use std::sync::mpsc;

use rusqlite::params;

use super::*;

/// Keep the writer busy until the returned sender is used or dropped. It is when this returns: what is written
/// from now on waits.
async fn block(store: &Store) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (release, wait) = mpsc::channel::<()>();
    let (begun, begins) = tokio::sync::oneshot::channel::<()>();
    let store = store.clone();
    let task = tokio::spawn(async move {
        let blocked = store.write(move |_| {
            drop(begun);
            let _released = wait.recv();
            Ok(())
        });
        blocked.await.expect("released");
    });
    let _dropped = begins.await;
    (release, task)
}

/// Wait for an event of another thread, with a deadline.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    let result = tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await;
    assert!(result.is_ok(), "{what} did not happen");
}

/// One group commit with good, refused and schema-breaking work in it: only the good stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_gift_does_not_touch_its_neighbours() {
    let folder = test_folder("savepoints");
    let store = TestClock::new().open(&folder);
    fund(&store, "ana", 100).await;
    fund(&store, "bob", 3).await;
    let (release, blocked) = block(&store).await;
    let mut tasks = Vec::new();
    for n in 0..20 {
        let (sender, waiting) = (if n % 2 == 0 { "ana" } else { "bob" }, n + 2);
        let gift = store.clone();
        tasks
            .push(tokio::spawn(async move { gift.gift(order(sender, &format!("k{n}"), 5)).await }));
        until("queued", || store.stats().waiting == waiting).await;
    }
    // Half-done work that the schema refuses: the account row it made is undone with it.
    let breaking = {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .write(|turn| {
                    turn.conn.execute("INSERT INTO account (name, currency, may_be_negative) VALUES ('x', 'COIN', 0)", [])?;
                    turn.conn.execute("UPDATE account SET balance = -1 WHERE name = 'x'", [])?;
                    Ok(())
                })
                .await
        })
    };
    until("queued", || store.stats().waiting == 22).await;
    let before = store.stats().commits;
    drop(release);
    blocked.await.expect("released");
    let mut balances = Vec::new();
    for (n, task) in tasks.into_iter().enumerate() {
        let result = task.await.expect("no panic");
        match n % 2 {
            0 => balances.push(result.expect("rich").balance),
            _ => assert_eq!(result, Err(MoneyRefusal::InsufficientFunds)),
        }
    }
    // Who is counted as waiting may be overtaken on the last step into the queue.
    balances.sort_unstable();
    assert!(balances.into_iter().eq((1..=10).map(|n| 45 + 5 * n)));
    assert_eq!(breaking.await.expect("no panic"), Err(MoneyRefusal::LedgerUnavailable));
    // The blocker's own commit, and as a rule one for all the others.
    assert!(store.stats().commits - before <= 4, "{:?}", store.stats());
    assert!(store.stats().available);
    assert_eq!((coins(&store, "ana").await, coins(&store, "bob").await), (50, 3));
    let report = assert_clean(&store);
    assert_eq!((report.gifts, report.transfers), (10, 12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_overloaded() {
    let folder = test_folder("queue");
    let store = TestClock::new().open(&folder);
    let (release, blocked) = block(&store).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..=QUEUE {
        let store = store.clone();
        tasks.spawn(async move { store.flush().await });
    }
    let first = tasks.join_next().await.expect("one").expect("no panic");
    assert_eq!(first, Err(MoneyRefusal::Overloaded));
    drop(release);
    blocked.await.expect("released");
    let mut done = 0;
    while let Some(result) = tasks.join_next().await {
        done += usize::from(result.expect("no panic").is_ok());
    }
    assert_eq!(done, QUEUE);
    assert_eq!(store.flush().await, Ok(()));
    until("idle", || store.stats().waiting == 0).await;
}

/// Round C in small: the disk is full. Gifts stop for good; what was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_ledger_until_a_restart() {
    let folder = test_folder("full");
    let clock = TestClock::new();
    let store = clock.open(&folder);
    fund(&store, "ana", 1_000_000).await;
    let limited = store.write(|turn| {
        let pages: i64 = turn.conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let limit = format!("PRAGMA max_page_count = {}", pages + 4);
        turn.conn.query_row(&limit, [], |_| Ok(()))?;
        Ok(())
    });
    limited.await.expect("set");
    let mut acked = Vec::new();
    let refusal = loop {
        let key = format!("k{}", acked.len());
        match store.gift(order("ana", &key, 1)).await {
            Ok(receipt) => acked.push((key, receipt.reply)),
            Err(refusal) => break refusal,
        }
        assert!(acked.len() < 5_000, "the limit was never reached");
    };
    assert_eq!(refusal, MoneyRefusal::LedgerUnavailable);
    assert!(!store.stats().available);
    assert_eq!(store.gift(order("ana", "k0", 1)).await, Err(MoneyRefusal::LedgerUnavailable));
    assert_eq!(coins(&store, "ana").await, 1_000_000 - acked.len() as i64, "reads go on");
    assert!(!acked.is_empty());
    store.close().await;

    let store = clock.open(&folder);
    for (key, reply) in &acked {
        let again = store.gift(order("ana", key, 1)).await.expect("stored");
        assert!(again.replayed && again.reply == *reply);
    }
    assert_eq!(assert_clean(&store).gifts, acked.len() as u64);
}

#[tokio::test]
async fn the_schema_itself_refuses() {
    let folder = test_folder("schema");
    let store = TestClock::new().open(&folder);
    fund(&store, "ana", 100).await;
    store.gift(order("ana", "k", 7)).await.expect("accepted");
    store.close().await;
    let conn =
        schema::open_writer(&database_path(folder.path()), Durability::Normal).expect("opens");
    for sql in [
        "UPDATE account SET balance = balance - 94 WHERE name = 'user:ana:paid'",
        "UPDATE account SET balance = 1 WHERE name = 'sys:coin_issued'",
        "UPDATE account SET may_be_negative = 1 WHERE name = 'user:ana:paid'",
        "UPDATE account SET balance = 0.5 WHERE name = 'user:ana:paid'",
        "UPDATE account SET balance = 9223372036854775807 + 1",
        "DELETE FROM account WHERE name = 'user:ana:paid'",
        "INSERT INTO account (name, currency, may_be_negative, balance) VALUES ('x', 'COIN', 0, 5)",
        "UPDATE transfer SET kind = 'top_up'",
        "DELETE FROM transfer",
        "UPDATE entry SET amount = amount + 1",
        "DELETE FROM entry",
        "INSERT INTO entry VALUES (99, 1, 1)",
        "INSERT INTO entry VALUES (1, 99, 1)",
        "INSERT INTO entry SELECT transfer, account, 5 FROM entry",
        "UPDATE gift SET coins = 1",
        "DELETE FROM gift",
        "UPDATE idempotency SET reply = x'00'",
        "INSERT INTO idempotency SELECT id + 1, scope, key, content_hash, reply, room, transfer, at FROM idempotency",
        "UPDATE audit SET actor = 'eve'",
        "DELETE FROM audit",
        "INSERT INTO gift SELECT 1, room, 'a', 'a', 0, gift, 1, 1, 1, 0, 1, NULL, NULL, 0, 0, 'c' FROM gift",
        "INSERT INTO gift SELECT 1, room, 'a', 'b', 0, gift, 1, 2, 1, 0, 1, NULL, NULL, 0, 0, 'c' FROM gift",
    ] {
        let result = conn.execute(sql, []);
        assert!(matches!(result, Err(rusqlite::Error::SqliteFailure(..))), "{sql}: {result:?}");
    }
    assert!(verify_file(&database_path(folder.path())).expect("reads").is_clean());
}

/// Whoever can open the file can drop triggers; then verify says so.
#[tokio::test]
async fn verify_finds_what_was_changed_by_hand() {
    for (found, sql) in [
        ("L11", "UPDATE account SET balance = balance + 1 WHERE name = 'user:ana:paid'"),
        (
            "L1:",
            "DROP TRIGGER entry_no_update; UPDATE entry SET amount = amount + 1 WHERE transfer = 2",
        ),
        ("chain", "DROP TRIGGER audit_no_update; UPDATE audit SET actor = 'eve' WHERE seq = 1"),
        ("chain", "DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE seq = 2"),
        ("exactly one audit row", "DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE seq = 3"),
        ("L5", "UPDATE combo SET n = n + 1"),
        ("L8", "UPDATE gift_share SET host = host + 1"),
        (
            "L3",
            "DROP TRIGGER idempotency_no_update; UPDATE idempotency SET reply = x'7B7D' WHERE id = 1",
        ),
        (
            "L3",
            "DROP TRIGGER idempotency_no_update; UPDATE idempotency SET reply = x'7B' WHERE id = 1",
        ),
        ("no gift", "DROP TRIGGER gift_no_delete; DELETE FROM gift WHERE transfer = 2"),
    ] {
        let folder = test_folder("tamper");
        let store = TestClock::new().open(&folder);
        fund(&store, "ana", 100).await;
        store.gift(order("ana", "k1", 7)).await.expect("accepted");
        store.gift(guest_order("ana", "k2", 10, 3_000)).await.expect("accepted");
        assert_clean(&store);
        store.close().await;
        let path = database_path(folder.path());
        let conn = Connection::open(&path).expect("opens");
        conn.execute_batch(sql).expect(sql);
        drop(conn);
        let report = verify_file(&path).expect("reads");
        assert!(report.faults.iter().any(|fault| fault.contains(found)), "{sql}: {report:?}");
    }
}

#[tokio::test]
async fn only_one_process_writes() {
    let folder = test_folder("lock");
    let store = TestClock::new().open(&folder);
    let error = Store::open(database_path(folder.path())).expect_err("locked");
    assert!(error.to_string().contains("another greenroom"), "{error}");
    store.close().await;
    Store::open(database_path(folder.path())).expect("free again").close().await;
}

#[tokio::test]
async fn a_newer_file_is_not_touched() {
    let folder = test_folder("newer");
    let path = database_path(folder.path());
    TestClock::new().open(&folder).close().await;
    let conn = Connection::open(&path).expect("opens");
    conn.execute_batch("PRAGMA user_version = 99").expect("set");
    drop(conn);
    let error = format!("{:#}", Store::open(&path).expect_err("newer"));
    assert!(error.contains("use a newer program"), "{error}");
    assert!(verify_file(&folder.path().join("none.db")).is_err());
}

/// A reader that was stopped for long must not make the writer wait or fail.
#[tokio::test]
async fn a_long_read_does_not_stop_the_writer() {
    let folder = test_folder("reader");
    let store = TestClock::new().open(&folder);
    fund(&store, "ana", 100).await;
    let conn = schema::open_reader(&database_path(folder.path())).expect("opens");
    conn.execute_batch("BEGIN").expect("begins");
    let before: i64 = conn
        .query_row("SELECT count(*) FROM gift WHERE price > ?1", params![0], |row| row.get(0))
        .expect("reads");
    store.gift(order("ana", "k", 7)).await.expect("accepted");
    assert_eq!((before, coins(&store, "ana").await), (0, 93));
    assert!(conn.execute("DELETE FROM promo_lot", []).is_err(), "a reader cannot write");
}
