//! HTTP: the web demo, `/ws`, WHIP and WHEP, the small REST surface, metrics and health.
//!
//! [`app`] is a plain `axum` router that tests can call without a socket; [`serve`] puts it
//! behind the limits of a public listener.

mod health;
mod origin;
mod pages;
mod security;
pub mod serve;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use tokio::sync::watch;

use crate::config::Config;

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct App {
    /// All options.
    pub config: Arc<Config>,
    /// Turns true when a planned stop begins.
    pub draining: watch::Receiver<bool>,
}

/// Every route of the server.
pub fn app(state: App) -> Router {
    Router::new()
        .merge(health::routes())
        .merge(pages::routes())
        .layer(DefaultBodyLimit::max(state.config.limits.sdp_message_bytes))
        .layer(from_fn(security::headers))
        .with_state(state)
}
