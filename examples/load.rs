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
mod cli {
    use clap::{Parser, Subcommand};
    use greenroom::load::floor::{self, Floor, FloorOptions};
    use greenroom::load::{Options, run};

    #[derive(Debug, Parser)]
    #[command(args_conflicts_with_subcommands = true, max_term_width = 100)]
    pub struct Cli {
        #[command(subcommand)]
        command: Option<Command>,
        #[command(flatten)]
        load: Options,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        /// Measure what sealing and sending alone cost on this machine, without a server
        Floor(FloorOptions),
    }

    pub fn main() -> anyhow::Result<()> {
        let cli = Cli::parse();
        if let Some(Command::Floor(options)) = &cli.command {
            return floor(options);
        }
        let report = run(&cli.load)?;
        if cli.load.json {
            println!("{}", report.json());
        } else {
            print!("{}", report.table());
        }
        Ok(())
    }

    fn floor(options: &FloorOptions) -> anyhow::Result<()> {
        if !options.json {
            println!("{}", floor::HEAD);
        }
        for viewers in &options.viewers {
            for packets in &options.packets_per_frame {
                let row = Floor::measure(options, *viewers, *packets)?;
                if options.json {
                    println!("{}", row.json());
                } else {
                    println!("{}", floor::line(&row));
                }
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    if let Err(error) = cli::main() {
        eprintln!("load: {error:#}");
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}
