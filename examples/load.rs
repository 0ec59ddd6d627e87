//! Load for any WHIP/WHEP server, and for Janus: what a forwarded packet costs, how late it comes,
//! how long a join takes.
//!
//! ```text
//! cargo run --release --example load -- --viewers 100 --pid "$(pgrep -n greenroom)" \
//!     --token-command 'greenroom token --room {room} --role {role} --sub {sub}'
//! ```
//! `docs/performance.md` says how to read the result; `src/load` does the work.
#![allow(missing_docs, reason = "a program, not a library")]

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("The load generator needs epoll, recvmmsg and /proc: run it on Linux.");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use clap::Parser;
    use greenroom::load::{Options, run};

    let options = Options::parse();
    match run(&options) {
        Ok(report) if options.json => println!("{}", report.json()),
        Ok(report) => print!("{}", report.table()),
        Err(error) => {
            eprintln!("load: {error:#}");
            return std::process::ExitCode::FAILURE;
        }
    }
    std::process::ExitCode::SUCCESS
}
