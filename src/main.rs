//! The `greenroom` binary: configuration, start, and a clean stop.

mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    init_log();
    let done = match &cli.command {
        None | Some(Command::Serve) => cli::serve::run(&cli),
        Some(Command::Token(token)) => cli::token::run(&cli, token),
        Some(Command::Ledger(ledger)) => cli::ledger::run(&cli, ledger),
        #[cfg(target_os = "linux")]
        Some(Command::Bench(bench)) => cli::bench::run(&cli, bench),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("greenroom: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Human-readable lines on stderr; `GREENROOM_LOG` filters (`info`, `debug`, `greenroom=trace`)
/// and `GREENROOM_LOG_JSON=1` makes them JSON.
fn init_log() {
    use tracing_subscriber::EnvFilter;

    let filter = EnvFilter::try_from_env("GREENROOM_LOG").unwrap_or_else(|_| {
        // The engines of peers report every malformed packet; one peer must not fill the log.
        EnvFilter::new("warn,greenroom=info,signaling=info,rtc_dtls=off,rtc_sctp=off,rtc_srtp=off")
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var("GREENROOM_LOG_JSON").is_ok_and(|value| value == "1");
    if json { log.json().init() } else { log.init() }
}
