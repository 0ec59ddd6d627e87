//! The embedded store: one SQLite file with the ledger and everything that outlives a restart.
//!
//! One thread writes (`writer`), one reads; callers are async and never touch the disk. A reply
//! leaves only after the commit that holds it is durable.
#![expect(clippy::disallowed_methods, reason = "I/O shell")]

mod audit;
mod books;
mod coins;
mod gifts;
mod keys;
mod rooms;
mod schema;
mod token_file;
mod turn;
mod verify;
mod writer;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

pub use coins::{CoinMove, CoinOrder, TransferReceipt, Wallet};
pub use gifts::COMBO_GAP_MS;
pub use rooms::{AttemptRecord, Kept, KeptRoom, RoomRecord};
pub use schema::Durability;
pub use token_file::{KEY_FILE, dev_secret, parse_ttl};
pub use verify::VerifyReport;
pub use writer::QUEUE;

use crate::economy::gift::is_id;
use crate::economy::{GiftContent, GiftOrder, GiftReceipt, MoneyRefusal};
use crate::protocol::Refusal;
use crate::room::{GiftAsk, StoreWrite};
use turn::{Fault, Turn};
use writer::{Health, Once, Work, Writer};

/// The database's file name in the data folder.
pub const DATABASE_FILE: &str = "greenroom.db";
/// Reads that may wait; a read is microseconds, so this is never reached unless the disk hangs.
const READ_QUEUE: usize = 1024;

/// How long an answer about money is waited for. Past it the caller hears `in_progress` and asks
/// again with the same key. Trade: a disk that stalls for a moment is not noticed, one that hangs
/// does not hang the page with it.
pub const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Milliseconds since the Unix epoch; tests bring their own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

type ReadWork = Box<dyn FnOnce(&Connection, i64) + Send>;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// What a commit waits for.
    pub durability: Durability,
    /// The time.
    pub clock: Clock,
    /// Pages in the log after which the writer copies them into the database. Trade: a short log
    /// costs two more syncs each time, a long one is read again at the next start.
    pub checkpoint_pages: u32,
}

/// [`Options::checkpoint_pages`] by default: 4 MiB.
const CHECKPOINT_PAGES: u32 = 1024;

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            clock: Arc::new(unix_ms),
            checkpoint_pages: CHECKPOINT_PAGES,
        }
    }
}

/// What the writer has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    /// `false` = the ledger has stopped and answers `ledger_unavailable` until a restart.
    pub available: bool,
    /// Transactions committed.
    pub commits: u64,
    /// Pieces of work committed.
    pub done: u64,
    /// Pieces of work refused by rule.
    pub refused: u64,
    /// Pieces of work waiting or running, at most [`QUEUE`] and one group.
    pub waiting: u64,
}

/// A handle; clones share the file and its threads, which end with the last handle.
#[derive(Clone)]
pub struct Store {
    path: Arc<Path>,
    writes: SyncSender<Box<dyn Work>>,
    reads: SyncSender<ReadWork>,
    health: Arc<Health>,
    closed: watch::Receiver<()>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Open or create the database file.
    ///
    /// # Errors
    /// When the file cannot be used, is newer than this program, or another process has it.
    pub fn open(path: impl AsRef<Path>) -> anyhow::Result<Self> {
        Self::open_with(path, Options::default())
    }

    /// Open with other than the default options; errors as [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> anyhow::Result<Self> {
        let path = path.as_ref();
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the data folder {}", folder.display()))?;
        }
        let lock = lock_file(path)?;
        let conn = schema::open_writer(path, options.durability)?;
        let reader = schema::open_reader(path)?;
        let health = Arc::new(Health::default());
        let (writes, queue) = sync_channel(QUEUE);
        let (reads, read_queue) = sync_channel(READ_QUEUE);
        let clock = options.clock;
        let (ended, closed) = watch::channel(());
        let writer = Writer {
            conn,
            queue,
            clock: clock.clone(),
            checkpoint_pages: options.checkpoint_pages,
            health: health.clone(),
            lock,
            closed: ended,
        };
        spawn("ledger", move || writer.run())?;
        spawn("ledger-read", move || read(&reader, &read_queue, &clock))?;
        Ok(Self { path: path.into(), writes, reads, health, closed })
    }

    /// Give. Returns after the gift is durable; the same key with the same content gets the stored
    /// receipt, whatever has happened since.
    ///
    /// A room that wants to refuse a gift in its turn asks [`Store::recall`] first, because a
    /// repeated key outranks every other rule.
    ///
    /// # Errors
    /// `bad_request`, `recipient_is_sender`, `insufficient_funds`, `idempotency_mismatch`,
    /// `overloaded`, `ledger_unavailable`: the key stays unused unless the disk failed in the very
    /// moment; `in_progress`: not known yet. Asking again with the same key is right for all.
    pub async fn gift(&self, order: GiftOrder) -> Result<GiftReceipt, MoneyRefusal> {
        in_time(self.write(move |turn| gifts::give(turn, &order))).await
    }

    /// The receipt of an earlier gift with this key. Goes through the writer, so that a gift that
    /// is still running is waited for.
    ///
    /// # Errors
    /// `idempotency_mismatch`, `overloaded`, `ledger_unavailable`.
    pub async fn recall(
        &self,
        from: &str,
        key: &str,
        content: &GiftContent,
    ) -> Result<Option<GiftReceipt>, MoneyRefusal> {
        let (from, key, content) = (from.to_owned(), key.to_owned(), content.clone());
        in_time(self.write(move |turn| gifts::recall(turn.conn, &from, &key, &content))).await
    }

    /// What a user holds.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn wallet(&self, user: &str) -> Result<Wallet, MoneyRefusal> {
        let user = user.to_owned();
        self.read(move |conn, now| coins::wallet(conn, &user, now)).await
    }

    /// A top-up, promotion budget or promotion grant of a service; exactly once per key.
    ///
    /// # Errors
    /// `bad_request`, `budget_exceeded`, `idempotency_mismatch`, `overloaded`,
    /// `ledger_unavailable`, `in_progress`.
    pub async fn move_coins(&self, order: CoinOrder) -> Result<TransferReceipt, MoneyRefusal> {
        in_time(self.write(move |turn| coins::apply(turn, &order))).await
    }

    /// Coins a user bought; see [`Store::move_coins`].
    ///
    /// # Errors
    /// As [`Store::move_coins`].
    pub async fn top_up(
        &self,
        actor: &str,
        key: &str,
        user: &str,
        coins: i64,
    ) -> Result<TransferReceipt, MoneyRefusal> {
        let what = CoinMove::TopUp { user: user.into(), coins };
        self.move_coins(CoinOrder { key: key.into(), actor: actor.into(), what }).await
    }

    /// Development mode: a new user's first coins, once in the life of the file. `true` = new.
    ///
    /// # Errors
    /// `bad_request`, `overloaded`, `ledger_unavailable`.
    pub async fn ensure_starting_coins(
        &self,
        user: &str,
        coins: i64,
    ) -> Result<bool, MoneyRefusal> {
        let user = user.to_owned();
        self.write(move |turn| coins::starting_coins(turn, &user, coins)).await
    }

    /// Return expired promo coins to the budget, some hundred lots at a time; returns how many.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn expire_promo(&self) -> Result<usize, MoneyRefusal> {
        self.write(coins::expire_promo).await
    }

    /// The ledger's answer to a room's [`GiftAsk`]: the stored receipt of a key that is known,
    /// whatever the verdict says, else the verdict's refusal or the gift.
    ///
    /// # Errors
    /// The verdict's refusal, or as [`Store::gift`].
    pub async fn settle(&self, ask: &GiftAsk) -> Result<GiftReceipt, Refusal> {
        let order = &ask.order;
        match &ask.verdict {
            Ok(()) => Ok(self.gift(order.clone()).await?),
            Err(refusal) => {
                let earlier = self.recall(&order.from, &order.key, &order.content).await?;
                earlier.ok_or_else(|| refusal.clone())
            }
        }
    }

    /// Keep what a room wants kept, with a row in the audit trail if somebody moderated. Returns
    /// when it is durable.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn keep(&self, write: StoreWrite) -> Result<(), MoneyRefusal> {
        self.write(move |turn| rooms::keep(turn, &write)).await
    }

    /// Make or change a moderator; no permissions = not a moderator any more.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn save_moderator(
        &self,
        room: &str,
        user: &str,
        perms: &[String],
    ) -> Result<(), MoneyRefusal> {
        let (room, user, perms) = (room.to_owned(), user.to_owned(), perms.join(" "));
        self.write(move |turn| rooms::save_moderator(turn.conn, &room, &user, &perms)).await
    }

    /// Every room that has not ended, with what it kept; for a start.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn open_rooms(&self) -> Result<Vec<KeptRoom>, MoneyRefusal> {
        self.read(rooms::open_rooms).await
    }

    /// Whether a show of this name has been and is over.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn has_ended(&self, room: &str) -> Result<bool, MoneyRefusal> {
        let room = room.to_owned();
        self.read(move |conn, _| rooms::has_ended(conn, &room)).await
    }

    /// What is kept under a room's name, also from earlier shows; for a room that is made.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn kept(&self, room: &str) -> Result<Kept, MoneyRefusal> {
        let room = room.to_owned();
        self.read(move |conn, now| rooms::kept(conn, &room, now)).await
    }

    /// The version of the house rules a user has accepted.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn rules_accepted(&self, user: &str) -> Result<Option<String>, MoneyRefusal> {
        let user = user.to_owned();
        self.read(move |conn, _| rooms::rules_accepted(conn, &user)).await
    }

    /// Deny a token by its `jti` or `sub` until `until` (milliseconds since the Unix epoch).
    ///
    /// # Errors
    /// `bad_request`, `overloaded`, `ledger_unavailable`.
    pub async fn revoke(&self, id: &str, until: i64) -> Result<(), MoneyRefusal> {
        if !is_id(id) {
            return Err(MoneyRefusal::BadRequest);
        }
        let id = id.to_owned();
        self.write(move |turn| rooms::revoke(turn, &id, until)).await
    }

    /// The deny-list: (`jti` or `sub`, until).
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn revocations(&self) -> Result<Vec<(String, i64)>, MoneyRefusal> {
        self.read(rooms::revocations).await
    }

    /// Everything asked for before this call is durable or refused.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn flush(&self) -> Result<(), MoneyRefusal> {
        self.write(|_| Ok(())).await
    }

    /// Give up this handle and wait until the file is closed, which it is when the last handle is
    /// gone. A process that ends without it loses nothing.
    pub async fn close(self) {
        let mut closed = self.closed.clone();
        drop(self);
        // An error is the news: the sender is gone.
        while closed.changed().await.is_ok() {}
    }

    /// What the writer has done, for `/metrics` and `/readyz`.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let health = &self.health;
        StoreStats {
            available: !health.stopped.load(Ordering::Acquire),
            commits: health.commits.load(Ordering::Relaxed),
            done: health.done.load(Ordering::Relaxed),
            refused: health.refused.load(Ordering::Relaxed),
            waiting: health.waiting.load(Ordering::Relaxed),
        }
    }

    /// Recompute every balance and walk the audit chain. Blocks the caller for as long as it takes
    /// to read the file, on a connection of its own.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn verify(&self) -> anyhow::Result<VerifyReport> {
        verify_file(&self.path)
    }

    async fn write<T, F>(&self, run: F) -> Result<T, MoneyRefusal>
    where
        T: Send + 'static,
        F: FnOnce(&mut Turn<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.health.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.writes.try_send(Box::new(Once::new(run, answer))) {
            self.health.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(match error {
                TrySendError::Full(_) => MoneyRefusal::Overloaded,
                TrySendError::Disconnected(_) => MoneyRefusal::LedgerUnavailable,
            });
        }
        result.await.unwrap_or(Err(MoneyRefusal::LedgerUnavailable))
    }

    async fn read<T, F>(&self, run: F) -> Result<T, MoneyRefusal>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, i64) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let work: ReadWork = Box::new(move |conn, now| {
            // Nobody may be waiting any more.
            drop(answer.send(run(conn, now)));
        });
        self.reads.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => MoneyRefusal::Overloaded,
            TrySendError::Disconnected(_) => MoneyRefusal::LedgerUnavailable,
        })?;
        match result.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "a read of the database failed");
                Err(MoneyRefusal::LedgerUnavailable)
            }
            Err(_) => Err(MoneyRefusal::LedgerUnavailable),
        }
    }
}

/// Whatever happens to the work, it still happens once: the key sees to that.
async fn in_time<T>(
    work: impl Future<Output = Result<T, MoneyRefusal>>,
) -> Result<T, MoneyRefusal> {
    tokio::time::timeout(ANSWER_TIME, work).await.unwrap_or(Err(MoneyRefusal::InProgress))
}

/// `greenroom ledger verify`: check a file, also while a server uses it.
///
/// # Errors
/// When the file cannot be read.
pub fn verify_file(path: &Path) -> anyhow::Result<VerifyReport> {
    if !path.exists() {
        bail!("there is no database at {}", path.display());
    }
    let conn = schema::open_reader(path)?;
    verify::verify(&conn).with_context(|| format!("cannot read {}", path.display()))
}

/// The database's path in a data folder.
#[must_use]
pub fn database_path(folder: &Path) -> PathBuf {
    folder.join(DATABASE_FILE)
}

fn read(conn: &Connection, queue: &Receiver<ReadWork>, clock: &Clock) {
    while let Ok(work) = queue.recv() {
        work(conn, clock());
    }
}

/// Two writers would break the audit chain, so the second process does not start.
fn lock_file(path: &Path) -> anyhow::Result<File> {
    let name = schema::beside(path, ".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .with_context(|| format!("cannot open {}", name.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another greenroom uses {}: stop it, or choose another data folder",
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", name.display()))
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
        .with_context(|| format!("cannot start the thread {name}"))
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
