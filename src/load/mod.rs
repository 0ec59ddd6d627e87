//! Load for any WHIP/WHEP server, and for Janus: what a forwarded packet costs, how late it comes,
//! how long a join takes.
//!
//! ```text
//! run -> engine (one thread, epoll) -> peer -> link (ICE, DTLS, SRTP), publisher | viewer -> report
//!            sessions (HTTP, on threads of their own) -> janus
//! ```
//! The client shares no STUN, DTLS-state or SRTP code with the server that it measures; what it
//! shares are the parsers of plain RTP and RTCP. `greenroom bench` and `examples/load` run it.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "I/O shell")]

mod engine;
pub mod floor;
mod histogram;
mod http;
mod janus;
mod link;
pub mod network;
mod options;
mod payload;
mod peer;
mod publisher;
mod report;
mod sdp;
mod sessions;
mod usage;
mod viewer;
mod wire;

pub use options::{Options, Profile};
pub use report::Report;

/// Run once, with the tokens that the options give.
///
/// # Errors
/// Nobody could publish, or nobody had media.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    run_as(options, sessions::tokens(options)?)
}

/// Run once, with these tokens: the publisher's, then those of the viewers.
///
/// # Errors
/// Nobody could publish, or nobody had media.
pub fn run_as(options: &Options, tokens: Vec<Option<String>>) -> anyhow::Result<Report> {
    options.check().map_err(|wrong| anyhow::anyhow!(wrong))?;
    let mut engine = engine::Engine::new(options, tokens)?;
    let report = engine.run();
    sessions::end(engine.into_sessions());
    report
}

/// The body of a page, for the metrics of a server that is loaded.
///
/// # Errors
/// Nobody answers, or with another status than 200.
pub fn get(url: &str) -> anyhow::Result<String> {
    let reply = http::request("GET", &http::Url::parse(url)?, &http::Caller::default(), "")?;
    anyhow::ensure!(reply.status == 200, "{url} answered {}", reply.status);
    Ok(reply.body)
}
