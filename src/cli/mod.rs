//! The command line.

#[cfg(target_os = "linux")]
pub(crate) mod bench;
pub(crate) mod ledger;
pub(crate) mod serve;
pub(crate) mod token;

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Parser, Subcommand};
use greenroom::config::{Config, Override, Source};

/// A live-show server in one binary: host, guests, viewers, chat and gifts.
///
/// Without a command it starts the server, and without options it starts a development server on
/// http://localhost:8080 that gives a token to everybody who opens the page.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server (the default)
    Serve,
    /// Print a room token signed with this server's keys
    Token(token::Token),
    /// Check the gift ledger; works while a server runs
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// Measure what a forwarded packet costs on this machine
    #[cfg(target_os = "linux")]
    Bench(bench::Bench),
}

/// Options that every command understands.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Read this file instead of ./greenroom.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port of pages, WebSocket, WHIP and WHEP [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    http_bind: Option<String>,
    /// First UDP port of media; each media thread takes the next one [default: 7882]
    #[arg(long, global = true, value_name = "PORT")]
    media_port: Option<String>,
    /// Folder of the database and keys [default: ./greenroom-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Development mode: tokens and coins for everybody, loopback only [default: true]
    #[arg(long, global = true, value_name = "BOOL")]
    dev: Option<String>,
    /// Any option of greenroom.toml, such as `--set limits.outbox_messages=512`; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Options {
    /// The configuration from all sources.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let named = [
            ("http.bind", &self.http_bind),
            ("media.port", &self.media_port),
            ("data_dir", &self.data_dir),
            ("dev", &self.dev),
        ];
        let mut overrides: Vec<Override> = named
            .into_iter()
            .filter_map(|(key, value)| {
                value.as_ref().map(|value| Override { key: key.into(), value: value.clone() })
            })
            .collect();
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| anyhow!("--set {pair}: write it as --set key=value"))?;
            overrides.push(Override { key: key.trim().into(), value: value.trim().into() });
        }
        let environment = std::env::vars().collect();
        Config::load(&Source { file: self.config.clone(), environment, overrides })
            .context("configuration")
    }
}
