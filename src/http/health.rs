//! `/healthz` (the process turns), `/readyz` (send it people) and `/metrics`.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::App;
use crate::metrics;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(numbers))
}

/// Ready = ports bound (or there would be no answer), not stopping, and the ledger writable.
async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    if app.signaling.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    if !app.store.stats().available {
        return (StatusCode::SERVICE_UNAVAILABLE, "the ledger has stopped: see the log\n");
    }
    (StatusCode::OK, "ready\n")
}

async fn numbers(State(app): State<App>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], app.metrics.render())
}
