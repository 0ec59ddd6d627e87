//! The small REST surface: `GET /v1/live`, `POST /v1/revocations` and, in development mode,
//! `POST /v1/tokens`.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use signaling::protocol::{Code, Name, Refusal, RoomId, UserId};
use signaling::rooms::Card;
use signaling::token::{CLOCK_SKEW_S, Claims, MAX_LIFE_S, TokenRole};

use super::whip::bearer;
use super::{App, origin};

/// Coins of a user whom development mode sees for the first time: a hundred large gifts.
const STARTING_COINS: i64 = 10_000;

pub(super) fn routes(dev: bool) -> Router<App> {
    let routes = Router::new().route("/v1/live", get(live)).route("/v1/revocations", post(revoke));
    if dev { routes.route("/v1/tokens", post(tokens)) } else { routes }
}

/// Answer of `GET /v1/live`.
#[derive(Debug, Serialize)]
struct Live {
    /// Rooms on air, the fullest first.
    rooms: Vec<Card>,
}

async fn live(State(app): State<App>) -> Json<Live> {
    Json(Live { rooms: app.signaling.rooms().live() })
}

/// Body of `POST /v1/tokens`.
#[derive(Debug, Deserialize)]
struct TokenAsk {
    /// The room to enter; a new name when absent.
    room: Option<RoomId>,
    /// Name to be shown.
    #[serde(default)]
    name: String,
    /// `host` or `viewer`.
    #[serde(default = "viewer")]
    role: TokenRole,
    /// The same person as before, to keep wallet and seat; a new one when absent.
    user: Option<UserId>,
}

const fn viewer() -> TokenRole {
    TokenRole::Viewer
}

/// Body of `POST /v1/revocations`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Revocation {
    /// The id of one token.
    jti: Option<String>,
    /// Everything signed for a person.
    sub: Option<UserId>,
    /// Milliseconds since the epoch; by then every token of today has expired when absent.
    until: Option<u64>,
}

/// A backend takes tokens back: `Authorization: Bearer` with the role `service` or `admin`.
async fn revoke(
    State(app): State<App>,
    headers: HeaderMap,
    ask: Result<Json<Revocation>, JsonRejection>,
) -> Response {
    let done = async {
        let token = bearer::token(&headers).ok_or(Code::Unauthenticated)?;
        let (claims, _) = app.signaling.authenticate(token)?;
        if !matches!(claims.role, TokenRole::Admin | TokenRole::Service) || claims.room != "*" {
            return Err(Code::Forbidden.into());
        }
        let bad = |error: JsonRejection| Refusal::new(Code::BadRequest).because(error.body_text());
        let Json(Revocation { jti, sub, until }) = ask.map_err(bad)?;
        let sub = sub.map(|sub| sub.as_str().to_owned());
        let (Some(id), None) = (jti.clone().or(sub.clone()), jti.and(sub)) else {
            return Err(Refusal::new(Code::BadRequest).because("either jti or sub"));
        };
        let now_ms = app.signaling.rooms().clock().now_ms();
        let until = until.unwrap_or(now_ms + (MAX_LIFE_S + CLOCK_SKEW_S) * 1000);
        app.signaling.revoked().revoke(&id, now_ms, until).await
    };
    match done.await {
        Ok(()) => Json(serde_json::json!({})).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// Answer of `POST /v1/tokens`.
#[derive(Debug, Serialize)]
struct TokenGiven {
    token: String,
    user: UserId,
    room: RoomId,
    name: Name,
}

async fn tokens(
    State(app): State<App>,
    headers: HeaderMap,
    ask: Result<Json<TokenAsk>, JsonRejection>,
) -> Response {
    // A foreign page must not use the loopback server of whoever visits it.
    if !origin::allowed(&headers, &app.config.http.origins) {
        return refused(&Code::Forbidden.into());
    }
    let given = match ask {
        Ok(Json(ask)) => give(&app, ask).await,
        Err(error) => Err(Refusal::new(Code::BadRequest).because(error.body_text())),
    };
    match given {
        Ok(given) => Json(given).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

async fn give(app: &App, ask: TokenAsk) -> Result<TokenGiven, Refusal> {
    if !matches!(ask.role, TokenRole::Host | TokenRole::Viewer) {
        return Err(Refusal::new(Code::Forbidden).because("role is host or viewer"));
    }
    let internal = |_| Refusal::new(Code::Internal);
    let user = match ask.user {
        Some(user) => user,
        None => UserId::new(&format!("u_{}", random_id())).map_err(internal)?,
    };
    let room = match ask.room {
        Some(room) => room,
        None => RoomId::new(&format!("show-{}", random_id())).map_err(internal)?,
    };
    let name = Name::clean(&ask.name);
    let now_s = app.signaling.rooms().clock().now_ms() / 1000;
    let mut claims = Claims::new(room.as_str(), ask.role, user.as_str(), now_s + MAX_LIFE_S);
    claims.aud.clone_from(&app.config.tokens.audience);
    name.as_str().clone_into(&mut claims.name);
    claims.adult = true;
    let token = app.signaling.keys().sign(&claims)?;
    app.store.ensure_starting_coins(user.as_str(), STARTING_COINS).await?;
    Ok(TokenGiven { token, user, room, name })
}

/// Ten characters, 50 bits: enough for ids that nobody guesses within a show.
#[expect(clippy::disallowed_methods, reason = "I/O shell")]
fn random_id() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: [u8; 10] = rand::random();
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

/// A refusal as the body of an HTTP answer, `{"refusal":{…}}`.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let status = status(refusal.code);
    (status, Json(serde_json::json!({ "refusal": refusal }))).into_response()
}

/// The HTTP status of a refusal.
pub(super) const fn status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated | Code::TokenExpired => StatusCode::UNAUTHORIZED,
        Code::RoomNotFound | Code::NotFound | Code::SeatNotFound => StatusCode::NOT_FOUND,
        Code::RoomEnded | Code::GuestEnded => StatusCode::GONE,
        Code::BadRequest | Code::SdpInvalid | Code::UnknownType => StatusCode::BAD_REQUEST,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Conflict | Code::AlreadyJoined | Code::SeatOccupied => StatusCode::CONFLICT,
        Code::CodecUnsupported | Code::SlotsExceeded => StatusCode::NOT_ACCEPTABLE,
        Code::RateLimited | Code::SlowMode | Code::Cooldown => StatusCode::TOO_MANY_REQUESTS,
        Code::Overloaded | Code::RoomFull | Code::LedgerUnavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::FORBIDDEN,
    }
}
