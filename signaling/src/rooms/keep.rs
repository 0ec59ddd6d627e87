//! What a room wants kept, in order, and the wait for it.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::economy::MoneyRefusal;
use crate::protocol::Refusal;
use crate::room::StoreWrite;
use crate::store::Store;

/// How long a reply waits for the disk. Past it the client is told to try again.
const DURABLE: Duration = Duration::from_secs(5);
/// Tries while the writer's queue is full, and the wait between them.
const TRIES: u32 = 20;
const RETRY: Duration = Duration::from_millis(50);

/// One write, and who waits for it.
type Row = (StoreWrite, oneshot::Sender<Result<(), Refusal>>);

/// Keeps a room's writes in the order it made them: a ban and its end must not change places.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Unbounded, since a room's writes are its own decisions, a few per minute, and losing one
    /// would bring back somebody who was removed.
    rows: mpsc::UnboundedSender<Row>,
    /// The last write; the ones before it are durable when it is.
    last: Option<oneshot::Receiver<Result<(), Refusal>>>,
}

impl Keeper {
    /// Start the task that writes; it ends when the keeper is gone and all is written.
    pub(crate) fn start(store: Store) -> Self {
        let (rows, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(store, receiver));
        Self { rows, last: None }
    }

    /// Write this after all before it.
    pub(crate) fn keep(&mut self, write: StoreWrite) {
        let (done, last) = oneshot::channel();
        // The task ends only after this sender.
        let _ = self.rows.send((write, done));
        self.last = Some(last);
    }

    /// Wait until everything kept so far is on the disk.
    ///
    /// # Errors
    /// `ledger_unavailable` or `overloaded`: the last write is not there.
    pub(crate) async fn durable(&mut self) -> Result<(), Refusal> {
        let Some(last) = self.last.take() else { return Ok(()) };
        match timeout(DURABLE, last).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(MoneyRefusal::LedgerUnavailable.into()),
            Err(_) => Err(Refusal::overloaded()),
        }
    }

    /// Forget whom to wait for: the step that made the writes is over without a reply.
    pub(crate) fn step_over(&mut self) {
        self.last = None;
    }
}

async fn run(store: Store, mut rows: mpsc::UnboundedReceiver<Row>) {
    while let Some((write, done)) = rows.recv().await {
        let result = write_one(&store, write).await.map_err(Refusal::from);
        if let Err(refusal) = &result {
            tracing::error!(code = refusal.code.as_str(), "a room's record was not kept");
        }
        // Nobody waits for most writes.
        let _ = done.send(result);
    }
}

async fn write_one(store: &Store, write: StoreWrite) -> Result<(), MoneyRefusal> {
    for _ in 1..TRIES {
        match store.keep(write.clone()).await {
            Err(MoneyRefusal::Overloaded) => sleep(RETRY).await,
            result => return result,
        }
    }
    store.keep(write).await
}
