//! Load for any WHIP/WHEP server, and for Janus: what a forwarded packet costs, how late it comes, how long a join
//! takes.
//!
//! ```text
//! cargo run --release --example load -- --viewers 100 --pid "$(pgrep -n greenroom)" \
//!     --token-command 'greenroom token --room {room} --role {role} --sub {sub}'
//! ```
//! `docs/performance.md` says how to read the result; `scripts/bench` does it all.
//!
//! ```text
//! main -> engine (one thread, epoll) -> link (ICE, DTLS, SRTP) -> publisher | viewer -> report
//!             sessions (HTTP, on threads of their own) -> janus
//! ```
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "I/O shell")]
#![allow(missing_docs, reason = "a program, not a library")]

#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod histogram;
#[cfg(target_os = "linux")]
mod http;
#[cfg(target_os = "linux")]
mod janus;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod payload;
#[cfg(target_os = "linux")]
mod publisher;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod sdp;
#[cfg(target_os = "linux")]
mod sessions;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(target_os = "linux")]
mod usage;
#[cfg(target_os = "linux")]
mod viewer;

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("The load generator needs epoll, recvmmsg and /proc: run it on Linux.");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn run() -> anyhow::Result<()> {
    use clap::Parser;

    let options = options::Options::parse();
    options.check().map_err(|wrong| anyhow::anyhow!(wrong))?;
    let tokens = sessions::tokens(&options)?;
    let mut engine = engine::Engine::new(&options, tokens)?;
    let report = engine.run();
    sessions::end(engine.into_sessions());
    let report = report?;
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}
