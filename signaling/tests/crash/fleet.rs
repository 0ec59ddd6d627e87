//! The clients: each has one gift on its way, sends it again after every crash until it is
//! answered, and remembers what it was told.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::Random;
use super::child::{self, Line};

pub(crate) const CLIENTS: usize = 50;
/// A child that does not answer for this long is broken, not slow.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn user(n: usize) -> String {
    format!("user_{n}")
}

pub(crate) struct Fleet {
    /// The database.
    pub(crate) path: PathBuf,
    /// Every order ever sent.
    pub(crate) sent: HashMap<String, Line>,
    /// Replies, as first told.
    pub(crate) acked: HashMap<String, String>,
    /// Keys of each client in the order of their replies.
    pub(crate) in_order: Vec<Vec<String>>,
    /// Keys that were refused and not sent again.
    pub(crate) refused: HashSet<String>,
    /// Answers of the last server that it cannot use its disk.
    pub(crate) unavailable: usize,
    waiting: Vec<Line>,
    next: u64,
}

impl Fleet {
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut fleet = Self {
            path,
            sent: HashMap::new(),
            acked: HashMap::new(),
            in_order: vec![Vec::new(); CLIENTS],
            refused: HashSet::new(),
            unavailable: 0,
            waiting: Vec::new(),
            next: 0,
        };
        for n in 0..CLIENTS {
            let line = fleet.new_order(n, 0);
            fleet.waiting.push(line);
        }
        fleet
    }

    fn new_order(&mut self, client: usize, coins: u64) -> Line {
        self.next += 1;
        let line = Line {
            key: format!("k{}", self.next),
            from: user(client),
            coins: 1 + (coins % 20) as i64,
            to_guest: self.next.is_multiple_of(3),
        };
        self.sent.insert(line.key.clone(), line.clone());
        line
    }

    /// Start the server, resend everything unanswered, go on, and kill it at a random moment.
    pub(crate) fn run_until_killed(
        &mut self,
        random: &mut Random,
        environment: &[(String, String)],
    ) {
        self.unavailable = 0;
        let mut child = self.spawn(environment);
        let answers = read_answers(&mut child);
        let mut orders = child.stdin.take().expect("a pipe");
        for line in self.waiting.clone() {
            send(&mut orders, &line);
        }
        // One time in three the start itself may be hit.
        let started = random.below(3) == 0;
        let mut deadline = Instant::now() + PATIENCE;
        let mut answered = started;
        if started {
            deadline = Instant::now() + Duration::from_micros(random.below(150_000));
        }
        loop {
            match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => {
                    if !answered {
                        answered = true;
                        deadline = Instant::now() + Duration::from_micros(random.below(150_000));
                    }
                    for line in self.note(&answer, random) {
                        send(&mut orders, &line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the server ended by itself"),
            }
        }
        assert!(answered, "the server did not answer within {PATIENCE:?}");
        child.kill().expect("SIGKILL");
        child.wait().expect("gone");
        // What it wrote before it died was told.
        while let Ok(answer) = answers.recv() {
            self.note(&answer, random);
        }
    }

    fn spawn(&self, environment: &[(String, String)]) -> Child {
        Command::new(std::env::current_exe().expect("this test"))
            .args(["child_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(child::PATH, &self.path)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child process")
    }

    /// Take one answer down; returns what that client sends next.
    fn note(&mut self, answer: &str, random: &mut Random) -> Vec<Line> {
        let mut words = answer.splitn(3, ' ');
        let (Some(verdict), Some(key), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            panic!("the server said: {answer}");
        };
        let line =
            self.sent.get(key).unwrap_or_else(|| panic!("the server said: {answer}")).clone();
        let client: usize = line.from["user_".len()..].parse().expect("a client");
        match verdict {
            "ACK" => {
                if let Some(before) = self.acked.get(key) {
                    assert_eq!(before, rest, "{key}: another reply than before");
                    return Vec::new();
                }
                self.acked.insert(key.into(), rest.into());
                self.in_order[client].push(key.into());
            }
            // Nobody knows whether it is there; the next server does.
            "NO" if rest == "ledger_unavailable" => {
                self.unavailable += 1;
                return Vec::new();
            }
            "NO" => {
                assert_eq!(rest, "insufficient_funds", "{key}");
                assert!(!self.acked.contains_key(key), "{key}: accepted, then refused");
                self.refused.insert(key.into());
            }
            _ => panic!("the server said: {answer}"),
        }
        self.waiting.retain(|waiting| waiting.key != key);
        let next = self.new_order(client, random.below(20));
        self.waiting.push(next.clone());
        // Now and then a gift that was answered is sent again.
        let again = (verdict == "ACK" && random.below(4) == 0).then_some(line);
        again.into_iter().chain([next]).collect()
    }
}

/// A write to a server that is gone fails; the order is sent again to the next one.
fn send(orders: &mut ChildStdin, line: &Line) {
    drop(orders.write_all(line.encode().as_bytes()));
}

fn read_answers(child: &mut Child) -> Receiver<String> {
    let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
    let (answers, receiver) = channel();
    std::thread::spawn(move || {
        // A line without its end was cut off by the kill: it was not told.
        for line in stderr.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if answers.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
