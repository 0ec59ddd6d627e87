//! The server that is measured: a child process of the same binary with a folder of its own.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "I/O shell")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, anyhow, bail};
use greenroom::config::{Config, Override, Source};
use greenroom::{keys, load};
use signaling::token::{Claims, TokenRole};

use crate::cli::serve::{FORCED, Signals};

/// Seconds that a token is good for: longer than any row takes.
const TOKEN_LIFE_S: u64 = 3600;

/// What must not outlive this process: the server and its folder. One at a time.
static RUNNING: Mutex<Option<Running>> = Mutex::new(None);

struct Running {
    process: process::Child,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nobody is connected any more, or nobody will miss it, so there is nothing to drain.
        let _ = self.process.kill();
        let _ = self.process.wait();
        remove(&self.folder);
    }
}

/// End the server that runs, if one does.
fn end() {
    drop(RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// From now on a signal ends the server too, and then this process.
pub(super) fn end_on_signal() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut signals = Signals::listen()?;
    drop(guard);
    std::thread::spawn(move || {
        runtime.block_on(signals.next());
        end();
        process::exit(FORCED);
    });
    Ok(())
}

/// The running server. Dropped, it ends and its folder goes away.
pub(super) struct Child {
    pid: u32,
    folder: PathBuf,
    url: String,
}

impl Child {
    /// Start it, with more settings as `--set` takes them, and wait until it listens.
    pub(super) fn start(set: &[String]) -> anyhow::Result<Self> {
        let folder = new_folder()?;
        let started = Self::spawn(&folder, set);
        let (process, stdout) = started.inspect_err(|_| remove(&folder))?;
        let mut server = Self { pid: process.id(), folder: folder.clone(), url: String::new() };
        let running = Running { process, folder };
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        let mut lines = BufReader::new(stdout).lines();
        while let Some(Ok(line)) = lines.next() {
            let page = line.trim().strip_prefix("Page").map(str::trim);
            if let Some(page) = page.and_then(|page| page.strip_prefix("http://localhost:")) {
                server.url = format!("http://127.0.0.1:{page}");
                // A pipe that nobody reads would stop it.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(server);
            }
        }
        Err(server.explain(anyhow!("the server did not start")))
    }

    fn spawn(
        folder: &PathBuf,
        set: &[String],
    ) -> anyhow::Result<(process::Child, process::ChildStdout)> {
        let config = folder.join("greenroom.toml");
        // Empty, so that no other is found.
        File::create(&config)?;
        let program = std::env::current_exe().context("this program's own path")?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GREENROOM_") {
                command.env_remove(name);
            }
        }
        command.arg("--config").arg(&config).arg("--data-dir").arg(folder.join("data"));
        command.args(["--http-bind", "127.0.0.1:0", "--media-port", "0"]);
        // Joins are measured, so the room must let them in.
        for own in ["media.addresses=127.0.0.1", "limits.joins_per_second=10000"] {
            command.args(["--set", own]);
        }
        for more in set {
            command.args(["--set", more]);
        }
        let log = File::create(folder.join("log"))?;
        let mut process = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start the server")?;
        let stdout = process.stdout.take().context("its output")?;
        Ok((process, stdout))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Tokens of the host and of so many viewers.
    pub(super) fn tokens(&self, room: &str, viewers: usize) -> anyhow::Result<Vec<Option<String>>> {
        let data = self.folder.join("data").to_string_lossy().into_owned();
        let config = Config::load(&Source {
            file: Some(self.folder.join("greenroom.toml")),
            environment: Vec::new(),
            overrides: vec![Override { key: "data_dir".into(), value: data }],
        })?;
        let keys = keys::load(&config)?;
        let until = super::super::token::now_s()? + TOKEN_LIFE_S;
        let token = |index: usize| {
            let (role, sub) = match index {
                0 => (TokenRole::Host, "host".to_owned()),
                _ => (TokenRole::Viewer, format!("load-{index}")),
            };
            let mut claims = Claims::new(room, role, &sub, until);
            claims.aud.clone_from(&config.tokens.audience);
            keys.sign(&claims).map(Some).map_err(|_| anyhow!("a token"))
        };
        (0..=viewers).map(token).collect()
    }

    /// Messages and datagrams sent so far; over TCP, those of media.
    pub(super) fn sent(&self, tcp: bool) -> anyhow::Result<(f64, f64)> {
        let text = load::get(&format!("{}/metrics", self.url))?;
        let value = |name: &str| -> anyhow::Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.with_context(|| format!("no metric {name}"))?.trim().parse().context("a number")
        };
        let (messages, datagrams) = match tcp {
            false => ("greenroom_run_datagrams_count", "greenroom_run_datagrams_sum"),
            true => ("greenroom_media_messages_total", "greenroom_packets_out_total"),
        };
        Ok((value(messages)?, value(datagrams)?))
    }

    /// The error, with what the server said last.
    pub(super) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(10).collect();
        if last.is_empty() {
            return error;
        }
        let last: Vec<&str> = last.into_iter().rev().collect();
        error.context(format!("the server said:\n{}", last.join("\n")))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        end();
    }
}

fn new_folder() -> anyhow::Result<PathBuf> {
    let base = std::env::temp_dir();
    for number in 0..1000 {
        let folder = base.join(format!("greenroom-bench-{}-{number}", process::id()));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| folder.display().to_string()),
        }
    }
    bail!("no free folder in {}", base.display())
}

fn remove(folder: &PathBuf) {
    let _ = std::fs::remove_dir_all(folder);
}
