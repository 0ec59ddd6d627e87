//! The requests.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName, LINK, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use signaling::protocol::{Answer, Code, Command, IceServer, MediaOffer, RoomId};
use signaling::room::{Carrier, Identity};

use super::super::serve::Connection;
use super::conditions::Condition;
use super::problem::Problem;
use super::session::{Opened, Patched, Session};
use super::{Protocol, Whip, bearer};
use crate::rtp::sdp::{Fragment, PublishOffer, WhepOffer};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

type Body = Result<Bytes, BytesRejection>;
type From = Option<Extension<Connection>>;

/// `?seat=1`: the seat a player shows; the host's without it.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    #[serde(default)]
    seat: u8,
}

/// `POST /whip/{room}`.
pub(super) async fn publish(
    State(whip): State<Whip>,
    Path(room): Path<String>,
    from: From,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    whip.admit(from)?;
    let who = whip.authenticate(&headers, &room)?;
    let offer = content(&headers, body, SDP)?;
    // Looked at before the room is: an offer that can never be answered must not open one.
    let remote_ufrag = PublishOffer::parse(&offer)?.peer().ufrag.clone();
    whip.open(Protocol::Whip, Carrier::Whip, &room, who, offer, remote_ufrag).await
}

/// `POST /whep/{room}?seat=0`.
pub(super) async fn play(
    State(whip): State<Whip>,
    Path(room): Path<String>,
    shown: Result<Query<Shown>, QueryRejection>,
    from: From,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    whip.admit(from)?;
    let who = whip.authenticate(&headers, &room)?;
    let Query(Shown { seat }) = shown.map_err(|_| Code::BadRequest)?;
    let offer = content(&headers, body, SDP)?;
    let remote_ufrag = WhepOffer::parse(&offer)?.peer().ufrag.clone();
    whip.open(Protocol::Whep, Carrier::Whep { seat }, &room, who, offer, remote_ufrag).await
}

/// `PATCH` of a session.
pub(super) async fn patch(
    State(whip): State<Whip>,
    Path((room, session)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let session = whip.session(&headers, uri.path(), &room, &session)?;
    let fragment = Fragment::parse(&content(&headers, body, FRAGMENT)?)?;
    let condition = Condition::of(&headers).ok_or_else(|| {
        Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            Code::BadRequest,
            "If-Match with the session's ETag, or *, is required.",
        )
    })?;
    Ok(match session.patch(condition, fragment).await? {
        Patched::Noted => StatusCode::NO_CONTENT.into_response(),
        Patched::Restarted { fragment, tag } => {
            let headers = [(CONTENT_TYPE, FRAGMENT.to_owned()), (ETAG, format!("\"{tag}\""))];
            (StatusCode::OK, headers, fragment).into_response()
        }
    })
}

/// `DELETE` of a session.
pub(super) async fn delete(
    State(whip): State<Whip>,
    Path((room, session)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    whip.session(&headers, uri.path(), &room, &session)?.delete().await;
    Ok(StatusCode::OK.into_response())
}

impl Whip {
    /// Count this request against the rate of its address.
    fn admit(&self, from: From) -> Result<(), Problem> {
        let from = from.as_ref().map(|Extension(from)| from);
        Ok(self.connects.admit(from, self.signaling.rooms().clock().now_ms())?)
    }

    /// Who asks, if a token for this room says so.
    fn authenticate(&self, headers: &HeaderMap, room: &str) -> Result<Identity, Problem> {
        let token = bearer::token(headers).ok_or(Code::Unauthenticated)?;
        let (claims, who) = self.signaling.authenticate(token)?;
        if claims.covers(room) { Ok(who) } else { Err(Code::Forbidden.into()) }
    }

    /// A session of whoever asks. One of somebody else does not exist for them.
    fn session(
        &self,
        headers: &HeaderMap,
        path: &str,
        room: &str,
        id: &str,
    ) -> Result<Session, Problem> {
        let who = self.authenticate(headers, room)?;
        let protocol = if path.starts_with("/whip/") { Protocol::Whip } else { Protocol::Whep };
        let found = self.sessions.get(id).filter(|session| {
            session.protocol == protocol
                && session.room.as_str() == room
                && session.user == who.user
        });
        Ok(found.ok_or(Code::NotFound)?.clone())
    }

    /// Enter the room, offer, and keep what the answer made.
    async fn open(
        &self,
        protocol: Protocol,
        carrier: Carrier,
        room: &str,
        who: Identity,
        offer: String,
        remote_ufrag: String,
    ) -> Result<Response, Problem> {
        if self.signaling.is_draining() {
            return Err(Code::Overloaded.into());
        }
        let room = RoomId::new(room).map_err(|_| Code::RoomNotFound)?;
        let user = who.user.clone();
        let servers = self.signaling.ice_servers(&user);
        let links: Vec<_> = servers.iter().flat_map(ice_server_links).collect();
        let participant = self.signaling.rooms().enter(&room, who, carrier).await?;
        let command = Command::MediaOffer(MediaOffer { sdp: offer });
        let Answer::Media(answered) = participant.command(command).await? else {
            return Err(Code::Internal.into());
        };
        let tag = ice_ufrag(&answered.sdp).ok_or(Code::Internal)?.to_owned();
        let opened = Opened {
            protocol,
            room: room.clone(),
            user,
            participant,
            media: self.signaling.rooms().media().clone(),
            transport: answered.transport.0,
            tag: tag.clone(),
            remote_ufrag,
        };
        let id = opened.start(&self.sessions);
        let base = match protocol {
            Protocol::Whip => "whip",
            Protocol::Whep => "whep",
        };
        let headers = [
            (CONTENT_TYPE, SDP.to_owned()),
            (LOCATION, format!("/{base}/{room}/{id}")),
            (ETAG, format!("\"{tag}\"")),
        ];
        Ok((StatusCode::CREATED, headers, AppendHeaders(links), answered.sdp).into_response())
    }
}

/// The `Link` headers of an ICE server, one for each URL (RFC 9725 section 4.6). Neither a checked URL
/// nor what we make of an id holds what would have to be escaped.
fn ice_server_links(server: &IceServer) -> impl Iterator<Item = (HeaderName, String)> {
    let credentials = match (&server.username, &server.credential) {
        (Some(username), Some(credential)) => format!(
            "; username=\"{username}\"; credential=\"{credential}\"; credential-type=\"password\""
        ),
        _ => String::new(),
    };
    let links = server.urls.iter();
    links.map(move |url| (LINK, format!("<{url}>; rel=\"ice-server\"{credentials}")))
}

/// Our user name fragment in our own answer.
fn ice_ufrag(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"))
}

/// The body as text, if it is of this media type.
fn content(headers: &HeaderMap, body: Body, media_type: &str) -> Result<String, Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(media_type) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::BadRequest,
            &format!("The body must be {media_type}."),
        ));
    }
    let bytes = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        _ => Code::BadRequest,
    })?;
    String::from_utf8(bytes.into()).map_err(|_| Code::SdpInvalid.into())
}
