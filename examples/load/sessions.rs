//! Opening and ending sessions: HTTP on threads of its own, so that media never waits for it.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::http::{Caller, Url, request};
use crate::options::Options;
use crate::sdp::Answer;

/// Requests at once: enough for a join storm, few enough to be light.
const THREADS: usize = 16;

/// What to do.
pub struct Ask {
    pub index: usize,
    pub endpoint: Url,
    pub caller: Caller,
    pub offer: String,
}

/// A session that is open.
pub struct Session {
    pub index: usize,
    /// When the request began.
    pub asked: Instant,
    pub answer: Answer,
    /// For `DELETE`, with who asks.
    pub url: Option<(Url, Caller)>,
}

/// The threads.
pub struct Sessions {
    asks: Sender<Ask>,
    opened: Receiver<(usize, anyhow::Result<Session>)>,
}

impl Sessions {
    /// Start them; each result is announced by a byte on `wake`.
    pub fn start(wake: &UnixStream) -> anyhow::Result<Self> {
        let (asks, waiting) = channel::<Ask>();
        let (done, opened) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..THREADS {
            let (waiting, done, mut wake) = (waiting.clone(), done.clone(), wake.try_clone()?);
            std::thread::spawn(move || {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(ask) = next else { return };
                    let index = ask.index;
                    if done.send((index, open(ask))).is_err() {
                        return;
                    }
                    // A full pipe wakes the reader just as well.
                    let _ = wake.write(&[1]);
                }
            });
        }
        Ok(Self { asks, opened })
    }

    pub fn ask(&self, ask: Ask) {
        // The threads live as long as this half.
        let _ = self.asks.send(ask);
    }

    /// The next result that is there.
    pub fn poll(&self) -> Option<(usize, anyhow::Result<Session>)> {
        self.opened.try_recv().ok()
    }
}

fn open(ask: Ask) -> anyhow::Result<Session> {
    let asked = Instant::now();
    let reply = request("POST", &ask.endpoint, &ask.caller, &ask.offer)?;
    if reply.status != 201 && reply.status != 200 {
        bail!("POST answered {}: {}", reply.status, reply.body.trim());
    }
    let preferred = ask.endpoint.address()?.ip();
    let answer = Answer::parse(&reply.body, Some(preferred))?;
    let url = match reply.location {
        Some(location) => Some((ask.endpoint.join(&location)?, ask.caller)),
        None => None,
    };
    Ok(Session { index: ask.index, asked, answer, url })
}

/// End sessions, as well as it goes.
pub fn end(urls: Vec<(Url, Caller)>) {
    let chunk = urls.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        for part in urls.chunks(chunk) {
            scope.spawn(move || {
                for (url, caller) in part {
                    let _ = request("DELETE", url, caller, "");
                }
            });
        }
    });
}

/// The tokens of everybody, the publisher's first. Before any clock runs.
pub fn tokens(options: &Options) -> anyhow::Result<Vec<Option<String>>> {
    (0..=options.viewers)
        .map(|index| match (options.fixed_token(index), options.token_command(index)) {
            (Some(token), _) => Ok(Some(token)),
            (None, Some(command)) => run(&command).map(Some),
            (None, None) => Ok(None),
        })
        .collect()
}

fn run(command: &str) -> anyhow::Result<String> {
    let output = Command::new("sh").args(["-c", command]).output()?;
    if !output.status.success() {
        bail!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let token = String::from_utf8(output.stdout).context("a token is text")?;
    Ok(token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_commands() {
        assert_eq!(run("echo ' a.b '").unwrap(), "a.b");
        assert!(run("echo no >&2; false").is_err());
    }
}
