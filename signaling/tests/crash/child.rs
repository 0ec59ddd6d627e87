//! The process that is killed: a store behind a line protocol. Orders come in on stdin, answers
//! go out on stderr (stdout is the test harness's).

use std::io::{BufRead, Write};
use std::path::Path;

use signaling::economy::{GiftContent, GiftOrder, GiftTarget, HostShare};
use signaling::store::{Durability, Options, Store};
use tokio::sync::mpsc;

/// Environment: the database; its presence makes this process the child.
pub(crate) const PATH: &str = "GREENROOM_CRASH_CHILD";
/// Environment: `full` (default) or `normal`.
pub(crate) const DURABILITY: &str = "GREENROOM_CRASH_DURABILITY";

/// Environment: which sync fails; see the shim.
pub(crate) const SICK: &str = "GREENROOM_FAIL_SYNC";
/// Pages in the log before it is copied: few, so that every round has several checkpoints.
const CHECKPOINT: u32 = 48;

/// One order on the wire: `key sender coins to_guest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) from: String,
    pub(crate) coins: i64,
    pub(crate) to_guest: bool,
}

impl Line {
    pub(crate) fn encode(&self) -> String {
        format!("{} {} {} {}\n", self.key, self.from, self.coins, u8::from(self.to_guest))
    }

    fn decode(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut next = || words.next().map(String::from);
        Some(Self {
            key: next()?,
            from: next()?,
            coins: next()?.parse().ok()?,
            to_guest: next()? == "1",
        })
    }

    fn order(&self) -> GiftOrder {
        let (to_user, seat) = if self.to_guest { ("guest", 1) } else { ("host", 0) };
        GiftOrder {
            key: self.key.clone(),
            from: self.from.clone(),
            content: GiftContent {
                room: "r1".into(),
                gift: "firefly".into(),
                price: self.coins,
                count: 1,
                to: GiftTarget::Seat(seat),
            },
            to_user: to_user.into(),
            seat,
            combo: true,
            attempt: self.to_guest.then(|| "g1".into()),
            host_share: self.to_guest.then(|| HostShare { host: "host".into(), bps: 3_333 }),
        }
    }
}

/// Coins of client `n`: every fifth is poor, so that refusals are part of the game.
pub(crate) fn starting_coins(n: usize) -> i64 {
    if n.is_multiple_of(5) { 40 } else { 1_000_000_000 }
}

pub(crate) fn serve(path: &Path) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let durability = match std::env::var(DURABILITY).as_deref() {
            Ok("normal") => Durability::Normal,
            _ => Durability::Full,
        };
        let (lines, mut orders) = mpsc::unbounded_channel();
        std::thread::spawn(move || read_orders(&lines));
        let options = Options { durability, checkpoint_pages: CHECKPOINT, ..Options::default() };
        let store = match Store::open_with(path, options) {
            Ok(store) => store,
            Err(error) => {
                // A server does not start on a sick disk; a client sees that it is not there.
                let sick = std::env::var_os(SICK).is_some();
                assert!(sick, "opens after any crash: {error:#}");
                while let Some(line) = orders.recv().await {
                    tell(&format!("NO {} ledger_unavailable\n", line.key));
                }
                return;
            }
        };
        let starting = (0..super::fleet::CLIENTS).map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let user = super::fleet::user(n);
                // On a sick disk nothing is booked, and every gift is refused as well.
                let _ = store.ensure_starting_coins(&user, starting_coins(n)).await;
            })
        });
        for task in starting.collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
        while let Some(line) = orders.recv().await {
            let store = store.clone();
            tokio::spawn(async move { answer(&store, &line).await });
        }
    });
}

fn read_orders(lines: &mpsc::UnboundedSender<Line>) {
    for text in std::io::stdin().lock().lines() {
        let Some(line) = text.ok().and_then(|text| Line::decode(&text)) else { return };
        if lines.send(line).is_err() {
            return;
        }
    }
}

async fn answer(store: &Store, line: &Line) {
    let text = match store.gift(line.order()).await {
        Ok(receipt) => {
            format!("ACK {} {}\n", line.key, String::from_utf8_lossy(&receipt.reply))
        }
        Err(refusal) => format!("NO {} {}\n", line.key, refusal.code()),
    };
    tell(&text);
}

/// One write, below PIPE_BUF: the other end sees all of it or nothing.
fn tell(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}
