//! HTTP: the web demo, `/ws`, WHIP and WHEP, the small REST surface, metrics and health.
//!
//! [`app`] is a plain `axum` router that tests can call without a socket; [`serve`] puts it
//! behind the limits of a public listener.

mod api;
pub mod connects;
mod health;
pub(crate) mod numbers;
mod origin;
mod pages;
mod security;
pub mod serve;
pub mod whip;
mod ws;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use signaling::server::Signaling;
use signaling::store::Store;

use crate::config::Config;
use crate::metrics::Metrics;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// All options.
    pub config: Arc<Config>,
    /// Sessions and rooms.
    pub signaling: Signaling,
    /// The embedded database.
    pub store: Store,
    /// Everything `/metrics` shows.
    pub metrics: Metrics,
    /// How often one address may come.
    pub connects: connects::Connects,
}

/// Every route of the server.
pub fn app(state: App) -> Router {
    let policy = security::policy(&state.config.http.embed);
    Router::new()
        .merge(health::routes())
        .merge(api::routes(state.config.dev))
        .merge(ws::routes())
        .merge(whip::routes(whip::Whip::new(state.signaling.clone(), state.connects.clone())))
        .merge(pages::routes())
        .layer(DefaultBodyLimit::max(state.config.limits.sdp_message_bytes))
        .layer(from_fn_with_state(policy, security::headers))
        .with_state(state)
}
