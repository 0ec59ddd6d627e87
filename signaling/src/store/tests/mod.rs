use std::sync::atomic::AtomicI64;

use super::*;
use crate::economy::{GiftTarget, HostShare};

mod failure;
mod gifts;
mod kept;
mod model;

/// A clock that stands still until it is told.
#[derive(Clone)]
struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000)))
    }

    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    fn open(&self, folder: &TestFolder) -> Store {
        let clock = self.clone();
        // NORMAL: these tests are about rules; what FULL is for, tests/crash.rs shows.
        let options = Options {
            durability: Durability::Normal,
            clock: Arc::new(move || clock.now()),
            ..Options::default()
        };
        Store::open_with(database_path(folder.path()), options).expect("opens")
    }
}

fn order(from: &str, key: &str, coins: i64) -> GiftOrder {
    GiftOrder {
        key: key.into(),
        from: from.into(),
        content: GiftContent {
            room: "r1".into(),
            gift: "firefly".into(),
            price: coins,
            count: 1,
            to: GiftTarget::Seat(0),
        },
        to_user: "host".into(),
        seat: 0,
        combo: true,
        attempt: None,
        host_share: None,
    }
}

fn guest_order(from: &str, key: &str, coins: i64, bps: u16) -> GiftOrder {
    GiftOrder {
        to_user: "guest".into(),
        seat: 1,
        attempt: Some("g1".into()),
        host_share: Some(HostShare { host: "host".into(), bps }),
        ..order(from, key, coins)
    }
}

async fn fund(store: &Store, user: &str, coins: i64) {
    store.ensure_starting_coins(user, coins).await.expect("funded");
}

async fn coins(store: &Store, user: &str) -> i64 {
    store.wallet(user).await.expect("reads").coins
}

fn assert_clean(store: &Store) -> VerifyReport {
    let report = store.verify().expect("reads");
    assert!(report.is_clean(), "{report:?}");
    report
}

/// A folder of one test, gone with it.
pub(super) fn test_folder(name: &str) -> TestFolder {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("greenroom-{}-{name}-{n}", std::process::id()));
    fs::create_dir_all(&path).expect("a temporary folder");
    TestFolder(path)
}

pub(super) struct TestFolder(PathBuf);

impl TestFolder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
