//! `greenroom`: start, say where, wait for a signal, drain.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::Context;
use greenroom::Server;
use greenroom::config::Config;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Cli;

/// Exit code of a stop that was forced by a second signal: 128 + SIGINT, as shells report it.
pub(super) const FORCED: i32 = 130;

/// Run the server until a signal.
pub(crate) fn run(cli: &Cli) -> anyhow::Result<()> {
    let config = cli.options.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let server = Server::start(config.clone()).await?;
    print_welcome(&config, &server);
    signals.next().await;
    eprintln!("Stopping: sessions are told to come back. A second signal stops at once.");
    tokio::select! {
        () = server.shutdown() => Ok(()),
        () = signals.next() => std::process::exit(FORCED),
    }
}

/// Ctrl-C and SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

/// What runs where, and what to do next. On stdout, so that it shows whatever the log filter is.
fn print_welcome(config: &Config, server: &Server) {
    let addr = server.addr;
    let host = if addr.ip().is_loopback() { "localhost".to_owned() } else { addr.ip().to_string() };
    let page = format!("http://{host}:{}", addr.port());
    println!("Greenroom {} is running.", env!("CARGO_PKG_VERSION"));
    println!();
    println!("  Page     {page}");
    println!("  Studio   {page}/studio");
    println!("  Media    {}", media(server));
    println!("  Data     {}", config.data_dir.display());
    if config.dev {
        println!("  Mode     development: everybody who opens the page gets a token and coins");
    } else {
        println!("  Mode     production: tokens come from your backend, or `greenroom token`");
    }
    println!();
    println!("Next: open {page}/studio, go live, and open the room link in another window.");
    println!("Stop with Ctrl-C.");
}

/// `UDP 7882-7883, TCP 7882 on 127.0.0.1, 192.168.1.5`.
fn media(server: &Server) -> String {
    let udp = range(server.media_addrs.iter().flatten().map(SocketAddr::port));
    let tcp = range(server.media_tcp_addrs.iter().map(SocketAddr::port));
    let addresses: BTreeSet<String> =
        server.media_addrs.iter().flatten().map(|addr| addr.ip().to_string()).collect();
    let addresses = addresses.into_iter().collect::<Vec<_>>().join(", ");
    format!("UDP {udp}, TCP {tcp} on {addresses}")
}

fn range(ports: impl Iterator<Item = u16>) -> String {
    let ports: BTreeSet<u16> = ports.collect();
    match (ports.first(), ports.last()) {
        (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
        (Some(only), _) => only.to_string(),
        _ => "none".to_owned(),
    }
}
