//! A bad network between two network namespaces, for tests with real browsers: two TUN devices,
//! and a process that carries IP packets between them through `greenroom::load::network`.
//!
//! ```text
//! greenroom-link --server gr-server --client gr-client --down "rate=5m delay=50ms loss=0.05"
//! ```
//! Both devices are made where the program runs; who starts it moves each into its namespace and
//! gives it an address (`tests/browser/harness/link.mjs` does). Commands come as lines of standard
//! input and each is answered by one line of JSON; the program ends, and its devices with it, when
//! standard input does.
//!
//! | command | effect |
//! |---|---|
//! | `up WORDS`, `down WORDS`, `both WORDS` | change conditions; `Conditions::changed` lists the words |
//! | `outage up TIME`, and so on | lose everything from now on for that time, as `300ms` |
//! | `block udp`, `allow udp` | drop UDP both ways, as a firewall does without a word; or no more |
//! | `stats` | what happened in each direction since the last `stats` |

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("The link needs TUN devices and network namespaces: run it on Linux.");
}

#[cfg(target_os = "linux")]
mod carrier;
#[cfg(target_os = "linux")]
mod command;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    use clap::Parser;

    let options = carrier::Options::parse();
    carrier::run(&options)
}
