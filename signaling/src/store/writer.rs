//! The one thread that writes. It takes what waits in its queue as one transaction, each piece of
//! work in its own savepoint, and answers only after the commit has returned.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{oneshot, watch};

use super::audit::Chain;
use super::schema::{Checkpoint, checkpoint};
use super::turn::{Fault, Turn};
use super::{Clock, keys};
use crate::economy::MoneyRefusal;

/// Pieces of work that may wait. Trade: at 10 000 gifts/s it is 0.4 s of work, so that a slow disk
/// shows as `overloaded` before it shows as a hung page.
pub const QUEUE: usize = 4096;
/// Most pieces of work in one commit. Trade: the first one waits for the last one.
const GROUP: usize = 256;
/// Longest time to collect one group; see [`GROUP`].
const GROUP_TIME: Duration = Duration::from_millis(5);
/// Shortest time between two sweeps of old keys, milliseconds.
const SWEEP_EVERY_MS: i64 = 10_000;

/// What the writer has done, for `/metrics` and `/readyz`.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// A commit or a write failed; nothing is written until a restart.
    pub(super) stopped: AtomicBool,
    /// Transactions committed.
    pub(super) commits: AtomicU64,
    /// Pieces of work committed.
    pub(super) done: AtomicU64,
    /// Pieces of work refused by rule.
    pub(super) refused: AtomicU64,
    /// Pieces of work waiting or running.
    pub(super) waiting: AtomicU64,
}

/// A piece of work on its way through the writer.
pub(super) trait Work: Send {
    /// Do it, inside a savepoint.
    fn run(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault>;
    /// The transaction's fate is known: answer. `failed` overrides the work's own result.
    fn answer(self: Box<Self>, failed: Option<MoneyRefusal>);
}

/// Where an answer goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, MoneyRefusal>>;

/// A closure as [`Work`].
pub(super) struct Once<F, T> {
    run: Option<F>,
    result: Option<Result<T, MoneyRefusal>>,
    answer: Answer<T>,
}

impl<F, T> Once<F, T> {
    pub(super) fn new(run: F, answer: Answer<T>) -> Self {
        Self { run: Some(run), result: None, answer }
    }
}

impl<F, T> Work for Once<F, T>
where
    F: FnOnce(&mut Turn<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    fn run(&mut self, turn: &mut Turn<'_>) -> Result<(), Fault> {
        let Some(run) = self.run.take() else { return Ok(()) };
        match run(turn) {
            Ok(value) => {
                self.result = Some(Ok(value));
                Ok(())
            }
            Err(fault) => {
                let refusal = match fault {
                    Fault::Refused(refusal) => refusal,
                    Fault::Sql(_) => MoneyRefusal::LedgerUnavailable,
                };
                self.result = Some(Err(refusal));
                Err(fault)
            }
        }
    }

    fn answer(self: Box<Self>, failed: Option<MoneyRefusal>) {
        let result = match failed {
            Some(refusal) => Err(refusal),
            None => self.result.unwrap_or(Err(MoneyRefusal::LedgerUnavailable)),
        };
        // Nobody may be waiting any more; what is committed stays committed.
        drop(self.answer.send(result));
    }
}

/// The writer's state; [`Writer::run`] is its thread.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) queue: Receiver<Box<dyn Work>>,
    pub(super) clock: Clock,
    /// Pages in the log before they are copied into the database.
    pub(super) checkpoint_pages: u32,
    pub(super) health: Arc<Health>,
    /// Held while this thread lives, so that no second process writes to the file.
    pub(super) lock: File,
    /// Dropped last: whoever watches it knows that the file is closed.
    pub(super) closed: watch::Sender<()>,
}

impl Writer {
    /// Until every handle is gone.
    pub(super) fn run(self) {
        let mut last_stamp = last_stamp(&self.conn);
        let mut swept_at = i64::MIN;
        let mut checkpoint_at = self.checkpoint_pages;
        while let Ok(first) = self.queue.recv() {
            let mut group = Vec::with_capacity(GROUP);
            let result = self.commit_group(first, &mut group, &mut last_stamp, &mut swept_at);
            let failed = match result {
                Ok(()) => None,
                Err(error) => Some(self.failure(&error)),
            };
            self.health.waiting.fetch_sub(group.len() as u64, Ordering::Relaxed);
            for work in group {
                work.answer(failed);
            }
            // The group is durable without it and is not kept waiting; the next one must not be
            // accepted after it has failed.
            if failed.is_none()
                && let Err(error) = self.shorten_log(&mut checkpoint_at)
            {
                self.stop(&error);
            }
            if self.health.stopped.load(Ordering::Acquire) {
                break;
            }
        }
        let Self { conn, queue, health, lock, closed, .. } = self;
        if !health.stopped.load(Ordering::Acquire)
            && let Err(error) = checkpoint(&conn, Checkpoint::Truncate)
        {
            tracing::error!(%error, "the disk is not well; the log is kept for the next start");
        }
        // After a failure nobody gets to use this handle again.
        drop(conn);
        refuse_everything(&queue, &health);
        drop(lock);
        drop(closed);
    }

    /// Between two groups, when the log is long: the only place where it is copied into the
    /// database. `SQLite` would do it inside `COMMIT` and say nothing of a failed sync.
    fn shorten_log(&self, checkpoint_at: &mut u32) -> rusqlite::Result<()> {
        if checkpoint(&self.conn, Checkpoint::Count)? < *checkpoint_at {
            return Ok(());
        }
        // A reader may keep part of it; that part is not tried again with every commit.
        let left = checkpoint(&self.conn, Checkpoint::Passive)?;
        *checkpoint_at = left.saturating_add(self.checkpoint_pages);
        Ok(())
    }

    fn commit_group(
        &self,
        first: Box<dyn Work>,
        group: &mut Vec<Box<dyn Work>>,
        last_stamp: &mut i64,
        swept_at: &mut i64,
    ) -> rusqlite::Result<()> {
        let started = Instant::now();
        let mut next = Some(first);
        // Whatever fails, the work is in the group and gets an answer.
        let begun = self.conn.prepare_cached("BEGIN IMMEDIATE").and_then(|mut s| s.execute([]));
        if let Err(error) = begun {
            group.extend(next);
            return Err(error);
        }
        let now = (self.clock)().max(*last_stamp);
        *last_stamp = now;
        let mut failed = None;
        let mut turn = match Chain::head(&self.conn) {
            Ok(chain) => Turn { conn: &self.conn, now, chain },
            Err(error) => {
                group.extend(next);
                return Err(error);
            }
        };
        while let Some(mut work) = next.take() {
            let result = run_one(&mut turn, &mut *work, &self.health);
            group.push(work);
            if let Err(error) = result {
                failed = Some(error);
                break;
            }
            if group.len() < GROUP && started.elapsed() < GROUP_TIME {
                next = self.queue.try_recv().ok();
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if now.saturating_sub(*swept_at) > SWEEP_EVERY_MS {
            *swept_at = now;
            if let Err(Fault::Sql(error)) = keys::sweep(&turn) {
                return Err(error);
            }
        }
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.health.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A lock held by somebody else passes; anything else is never tried again on this file.
    fn failure(&self, error: &rusqlite::Error) -> MoneyRefusal {
        let busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
        if busy && self.conn.is_autocommit() {
            tracing::warn!(%error, "the database is locked by somebody else");
            return MoneyRefusal::LedgerUnavailable;
        }
        self.stop(error);
        MoneyRefusal::LedgerUnavailable
    }

    fn stop(&self, error: &rusqlite::Error) {
        tracing::error!(%error, "the ledger has stopped; restart when the disk is well");
        self.health.stopped.store(true, Ordering::Release);
    }
}

fn refuse_everything(queue: &Receiver<Box<dyn Work>>, health: &Health) {
    while let Ok(work) = queue.recv() {
        health.waiting.fetch_sub(1, Ordering::Relaxed);
        work.answer(Some(MoneyRefusal::LedgerUnavailable));
    }
}

/// Run one piece of work in its savepoint. `Err` = the whole transaction is lost.
fn run_one(turn: &mut Turn<'_>, work: &mut dyn Work, health: &Health) -> rusqlite::Result<()> {
    let conn = turn.conn;
    let chain = turn.chain;
    conn.prepare_cached("SAVEPOINT work")?.execute([])?;
    match work.run(turn) {
        Ok(()) => {
            conn.prepare_cached("RELEASE work")?.execute([])?;
            health.done.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        Err(Fault::Refused(_)) => {
            health.refused.fetch_add(1, Ordering::Relaxed);
        }
        Err(fault) if fault.is_constraint() => {
            tracing::error!(?fault, "the schema refused what the rules above it allowed");
        }
        Err(Fault::Sql(error)) => return Err(error),
    }
    conn.prepare_cached("ROLLBACK TO work")?.execute([])?;
    conn.prepare_cached("RELEASE work")?.execute([])?;
    turn.chain = chain;
    Ok(())
}

/// Stamps never go back, also not over a restart with a clock set back.
fn last_stamp(conn: &Connection) -> i64 {
    conn.query_row("SELECT at FROM audit ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
        .unwrap_or(i64::MIN)
}
