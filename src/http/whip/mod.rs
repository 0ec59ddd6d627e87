//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): publish and watch with one HTTP request.
//!
//! | request | answer |
//! |---|---|
//! | `POST /whip/{room}` with an offer | 201, an answer, `Location` of the session, `ETag` of its ICE |
//! | `POST /whep/{room}?seat=0` with an offer | the same, for a player of one seat |
//! | `PATCH` the session with an SDP fragment | 204 for candidates (an ICE-lite server needs none), 200 and a fragment for an ICE restart |
//! | `DELETE` the session | 200; the publication or the player is gone |
//!
//! Both are carriers like the WebSocket: they enter a room as a
//! [`Participant`](signaling::rooms::Participant), and the room decides. A refusal is a JSON body
//! `{code, message, ...}` with the same codes as on the WebSocket and a status that fits.
//!
//! Pages of any origin may call these routes: what authorizes is a token that a page must hold,
//! never a cookie.

pub(super) mod bearer;
mod conditions;
mod problem;
mod requests;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, LINK, LOCATION};
use axum::http::{HeaderValue, Method};
use axum::routing::{patch, post};
use dashmap::DashMap;
use signaling::server::Signaling;
use tower_http::cors::{Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;

use super::connects::Connects;
use crate::rtp::sdp::MAX_SDP_BYTES;
use session::Session;

/// What the handlers share; cheap to clone.
#[derive(Clone)]
pub struct Whip {
    signaling: Signaling,
    connects: Connects,
    /// Open sessions by the last part of their URL: 128 random bits.
    sessions: Arc<DashMap<String, Session>>,
}

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Whip,
    Whep,
}

impl Whip {
    /// Over the rooms of `signaling`, as often as `connects` allows.
    #[must_use]
    pub fn new(signaling: Signaling, connects: Connects) -> Self {
        Self { signaling, connects, sessions: Arc::default() }
    }
}

/// The routes, with their own state.
pub fn routes<S: Clone + Send + Sync + 'static>(state: Whip) -> Router<S> {
    let endpoints = Router::new()
        .route("/whip/{room}", post(requests::publish))
        .route("/whep/{room}", post(requests::play))
        .layer(cors(Method::POST))
        .layer(accept("accept-post", "application/sdp"));
    let sessions = Router::new()
        .route("/whip/{room}/{session}", patch(requests::patch).delete(requests::delete))
        .route("/whep/{room}/{session}", patch(requests::patch).delete(requests::delete))
        .layer(cors(Method::PATCH))
        .layer(accept("accept-patch", "application/trickle-ice-sdpfrag"));
    endpoints.merge(sessions).layer(DefaultBodyLimit::max(MAX_SDP_BYTES)).with_state(state)
}

/// Any page may ask, send its token and read where its session is.
fn cors(method: Method) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([method, Method::DELETE, Method::OPTIONS])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, IF_MATCH])
        .expose_headers([LOCATION, ETAG, LINK])
}

/// What a 415 should have been (RFC 9725 section 4.2 asks for it on `OPTIONS` too).
fn accept(name: &'static str, media_type: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    let name = HeaderName::from_static(name);
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(media_type))
}
