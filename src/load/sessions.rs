//! Opening and ending sessions: HTTP on threads of its own, so that media never waits for it.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::load::http::{Caller, Url, request};
use crate::load::janus::{self, Janus};
use crate::load::options::Options;
use crate::load::sdp::{Ours, Theirs};
use crate::load::wire::{Tcp, Wire};
use crate::net::client;

/// Requests at once: enough for a join storm, few enough to be light.
const THREADS: usize = 16;

/// What to do.
pub struct Ask {
    pub index: usize,
    pub server: Server,
    pub caller: Caller,
    pub ours: Ours,
    /// Local address for the media, if not whichever fits.
    pub source: Option<IpAddr>,
    /// Media goes over TCP.
    pub tcp: bool,
}

/// Where, and in which words.
#[derive(Clone)]
pub enum Server {
    /// WHIP or WHEP.
    Whip(Url),
    /// Janus's videoroom.
    Janus(Arc<Janus>),
}

impl Server {
    pub fn url(&self) -> &Url {
        match self {
            Self::Whip(url) => url,
            Self::Janus(janus) => &janus.url,
        }
    }
}

/// A session that is open.
pub struct Session {
    pub index: usize,
    /// When the request began.
    pub asked: Instant,
    pub theirs: Theirs,
    pub wire: Wire,
    pub end: Option<End>,
}

/// How to end a session: with which request, as whom.
pub struct End {
    pub url: Url,
    pub caller: Caller,
    pub janus: bool,
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
    let Ask { index, server, caller, ours, source, tcp } = ask;
    let asked = Instant::now();
    let endpoint = match server {
        Server::Whip(endpoint) => endpoint,
        Server::Janus(janus) => {
            let (theirs, socket, url) = janus.open(&caller, &ours)?;
            let end = Some(End { url, caller, janus: true });
            return Ok(Session { index, asked, theirs, wire: Wire::Udp(socket), end });
        }
    };
    let reply = request("POST", &endpoint, &caller, &ours.offer())?;
    if reply.status != 201 && reply.status != 200 {
        bail!("POST answered {}: {}", reply.status, reply.body.trim());
    }
    let theirs = Theirs::parse(&reply.body, Some(endpoint.address()?.ip()), tcp)?;
    let end = match reply.location {
        Some(location) => Some(End { url: endpoint.join(&location)?, caller, janus: false }),
        None => None,
    };
    // An address of loopback leads to loopback only.
    let source = source.filter(|_| theirs.candidate.ip().is_loopback());
    let wire = match tcp {
        false => client::open(theirs.candidate, source).map(Wire::Udp),
        true => Tcp::connect(theirs.candidate, source).map(Box::new).map(Wire::Tcp),
    };
    let wire = wire.context("a socket; see `ulimit -n`")?;
    Ok(Session { index, asked, theirs, wire, end })
}

/// End sessions, as well as it goes.
pub fn end(ends: Vec<End>) {
    let chunk = ends.len().div_ceil(THREADS).max(1);
    std::thread::scope(|scope| {
        for part in ends.chunks(chunk) {
            scope.spawn(move || {
                for End { url, caller, janus } in part {
                    if *janus {
                        let _ = janus::end(url, caller);
                    } else {
                        let _ = request("DELETE", url, caller, "");
                    }
                }
            });
        }
    });
}

/// The tokens of everybody, the publisher's first. Before any clock runs.
pub fn tokens(options: &Options) -> anyhow::Result<Vec<Option<String>>> {
    (0..=options.watching())
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
