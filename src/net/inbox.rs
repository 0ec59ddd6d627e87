//! The way into a shard: a bounded channel of commands and a wake.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::net::wait::Waker;
use crate::sfu::command::ShardCommand;

/// Commands waiting for one shard.
///
/// Trade: a shard applies hundreds in a turn, so this is a few milliseconds of the largest join
/// storm; a full inbox makes the director wait, and with it whoever asks for more.
pub const INBOX_COMMANDS: usize = 1024;

/// Fires when every shard that got a clone has applied the command: the last one to call
/// [`Done::applied`] sends.
#[derive(Debug, Clone)]
pub struct Done(Arc<oneshot::Sender<()>>);

impl Done {
    /// Wrap the sender to be fired.
    #[must_use]
    pub fn new(sender: oneshot::Sender<()>) -> Self {
        Self(Arc::new(sender))
    }

    /// This holder is done.
    pub fn applied(self) {
        if let Some(sender) = Arc::into_inner(self.0) {
            // Nobody may be interested any more.
            let _ = sender.send(());
        }
    }
}

/// A command and whom to tell.
#[derive(Debug)]
pub struct Input {
    /// What to do.
    pub command: ShardCommand,
    /// Told when it is done and everything sent before it has left.
    pub done: Option<Done>,
}

/// The director's end of one shard's inbox.
#[derive(Debug, Clone)]
pub struct Inbox {
    sender: mpsc::Sender<Input>,
    waker: Waker,
}

impl Inbox {
    /// An inbox whose shard is woken by `waker`, and the shard's end of it.
    #[must_use]
    pub fn new(waker: Waker) -> (Self, mpsc::Receiver<Input>) {
        let (sender, receiver) = mpsc::channel(INBOX_COMMANDS);
        (Self { sender, waker }, receiver)
    }

    /// Queue a command, waiting while the inbox is full. `false` = the shard has stopped.
    pub async fn send(&self, command: ShardCommand, done: Option<Done>) -> bool {
        let sent = self.sender.send(Input { command, done }).await.is_ok();
        self.waker.wake();
        sent
    }
}
