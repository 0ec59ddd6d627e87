//! `GET /ws`: the upgrade; the session itself is `signaling::server`'s.

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};

use super::serve::Connection;
use super::{App, api, origin};

/// Read buffer of one socket. Trade: a command is a few hundred bytes, an SDP takes four reads;
/// the library's 128 KiB would be half of a viewer's memory.
const READ_BUFFER: usize = 4 * 1024;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ws", get(upgrade))
}

async fn upgrade(
    State(app): State<App>,
    connection: Option<Extension<Connection>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !origin::allowed(&headers, &app.config.http.origins) {
        return (StatusCode::FORBIDDEN, "This page may not connect here (http.origins).\n")
            .into_response();
    }
    if app.signaling.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "The server is stopping.\n").into_response();
    }
    let from = connection.as_ref().map(|Extension(from)| from);
    let now_ms = app.signaling.rooms().clock().now_ms();
    if let Err(refusal) = app.connects.admit(from, now_ms) {
        return api::refused(&refusal);
    }
    let admission = connection.map(|Extension(connection)| connection.unauthenticated);
    let limit = app.config.limits.sdp_message_bytes;
    upgrade
        // One byte more than allowed: such a message still gets its named refusal.
        .max_message_size(limit + 1)
        .max_frame_size(limit + 1)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .on_upgrade(move |socket| async move { app.signaling.session(socket, admission).await })
}
