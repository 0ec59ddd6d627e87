//! The routes without a socket, in front of real rooms; the test is the media plane.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use signaling::limits::Limits;
use signaling::media::{MediaCommand, MediaHandle};
use signaling::rooms::Rooms;
use signaling::server::{Revoked, Signaling};
use signaling::store::Store;
use signaling::token::{Claims, TokenKeys, TokenRole};
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use super::super::connects::Connects;
use super::{Whip, routes};

const OFFER: &str = include_str!("../../../tests/corpus/sdp/publish/ffmpeg.sdp");

/// Rigs made so far, for the names of their folders.
static RIGS: AtomicU32 = AtomicU32::new(0);

struct Rig {
    app: Router,
    keys: TokenKeys,
    now_s: u64,
    draining: watch::Sender<bool>,
    _media: mpsc::Receiver<MediaCommand>,
    _folder: Folder,
}

/// A folder of this test, removed with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Rig {
    fn new() -> Self {
        let number = RIGS.fetch_add(1, Ordering::Relaxed);
        let name = format!("greenroom-whip-{}-{number}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).expect("a folder");
        let store = Store::open(folder.0.join("greenroom.db")).expect("a store");
        let keys = TokenKeys::new(&[7; 32]).expect("keys");
        let (handle, media) = MediaHandle::channel();
        let revoked = Revoked::empty(store.clone());
        let rooms = Rooms::new(handle, store, Limits::default());
        let now_s = rooms.clock().now_ms() / 1000;
        let (draining, watched) = watch::channel(false);
        let (signaling, _) =
            Signaling::new(rooms, keys.clone(), Limits::default(), revoked, watched);
        let app = routes(Whip::new(signaling, Connects::new(0))).with_state(());
        Self { app, keys, now_s, draining, _media: media, _folder: folder }
    }

    fn token(&self, room: &str, role: TokenRole, sub: &str) -> String {
        let claims = Claims::new(room, role, sub, self.now_s + 600);
        self.keys.sign(&claims).expect("a token")
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().oneshot(request).await.expect("axum never fails")
    }

    /// Send and expect a refusal.
    async fn refused(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.send(request).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("a JSON refusal");
        assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()));
        (status, body["code"].as_str().expect("a code").to_owned())
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).expect("a request")
}

fn post(path: &str, token: &str, body: &str) -> Request<Body> {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/sdp")];
    request(Method::POST, path, &headers, body)
}

#[tokio::test]
async fn a_token_for_the_room_is_needed() {
    let rig = Rig::new();
    let bare = |headers: &[(&str, &str)]| request(Method::POST, "/whip/show", headers, OFFER);
    for value in ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic YTpi"] {
        let (status, code) = rig.refused(bare(&[("authorization", value)])).await;
        assert_eq!((status, code.as_str()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
    }
    let response = rig.send(bare(&[])).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");

    let other = rig.token("other", TokenRole::Host, "ann");
    let refused = rig.refused(post("/whip/show", &other, OFFER)).await;
    assert_eq!(refused, (StatusCode::FORBIDDEN, "forbidden".into()));
    let old = Claims::new("show", TokenRole::Host, "ann", rig.now_s - 1);
    let old = rig.keys.sign(&old).expect("a token");
    let refused = rig.refused(post("/whip/show", &old, OFFER)).await;
    assert_eq!(refused, (StatusCode::UNAUTHORIZED, "token_expired".into()));
}

#[tokio::test]
async fn only_usable_sdp_gets_further() {
    let rig = Rig::new();
    let token = rig.token("show", TokenRole::Host, "ann");
    let bearer = format!("Bearer {token}");
    let as_type = |kind: &str| {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        request(Method::POST, "/whip/show", &headers, OFFER)
    };
    for wrong in ["", "text/plain", "application/json", "application/sdpx"] {
        let response = rig.send(as_type(wrong)).await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{wrong}");
        assert_eq!(response.headers()["accept-post"], "application/sdp");
    }
    let cases: [(&str, StatusCode, &str); 4] = [
        ("", StatusCode::BAD_REQUEST, "sdp_invalid"),
        ("hello", StatusCode::BAD_REQUEST, "sdp_invalid"),
        (&OFFER.replace("sha-256", "sha-1"), StatusCode::BAD_REQUEST, "sdp_invalid"),
        (&OFFER.replace("H264/", "H265/"), StatusCode::UNPROCESSABLE_ENTITY, "codec_unsupported"),
    ];
    for (body, status, code) in cases {
        assert_eq!(rig.refused(post("/whip/show", &token, body)).await, (status, code.into()));
    }
    let large = "x".repeat(64 * 1024 + 1);
    let refused = rig.refused(post("/whip/show", &token, &large)).await;
    assert_eq!(refused, (StatusCode::PAYLOAD_TOO_LARGE, "too_large".into()));
    let limit = "x".repeat(64 * 1024);
    let refused = rig.refused(post("/whip/show", &token, &limit)).await;
    assert_eq!(refused, (StatusCode::BAD_REQUEST, "sdp_invalid".into()));
    let mut invalid = post("/whip/show", &token, "");
    *invalid.body_mut() = Body::from(vec![0xff, 0xfe]);
    assert_eq!(rig.refused(invalid).await.1, "sdp_invalid");
    let refused = rig.refused(post("/whep/show?seat=x", &token, OFFER)).await;
    assert_eq!(refused, (StatusCode::BAD_REQUEST, "bad_request".into()));
}

#[tokio::test]
async fn pages_of_any_origin_may_ask() {
    let rig = Rig::new();
    for (path, method) in [
        ("/whip/show", "POST"),
        ("/whep/show", "POST"),
        ("/whip/show/id", "PATCH"),
        ("/whep/show/id", "DELETE"),
    ] {
        let headers = [
            ("origin", "https://elsewhere.example"),
            ("access-control-request-method", method),
            ("access-control-request-headers", "authorization,content-type,if-match"),
        ];
        let response = rig.send(request(Method::OPTIONS, path, &headers, "")).await;
        assert!(response.status().is_success(), "{path}");
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], "*", "{path}");
        let text = |name: &str| headers[name].to_str().expect("text").to_ascii_lowercase();
        assert!(text("access-control-allow-methods").contains(&method.to_ascii_lowercase()));
        for name in ["authorization", "content-type", "if-match"] {
            assert!(text("access-control-allow-headers").contains(name), "{path} {name}");
        }
    }
    let headers = [("origin", "https://elsewhere.example")];
    let response = rig.send(request(Method::POST, "/whip/show", &headers, "")).await;
    assert_eq!(response.headers()["access-control-allow-origin"], "*", "on refusals too");
    let exposed = response.headers()["access-control-expose-headers"].to_str().expect("text");
    for name in ["location", "etag", "link"] {
        assert!(exposed.to_ascii_lowercase().contains(name), "{exposed}");
    }
}

#[tokio::test]
async fn other_methods_are_named_in_allow() {
    let rig = Rig::new();
    for (method, path, allow) in [
        (Method::GET, "/whip/show", "POST"),
        (Method::PUT, "/whep/show", "POST"),
        (Method::GET, "/whip/show/id", "PATCH,DELETE"),
        (Method::POST, "/whep/show/id", "PATCH,DELETE"),
    ] {
        let response = rig.send(request(method.clone(), path, &[], "")).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert_eq!(response.headers()["allow"], allow, "{method} {path}");
    }
}

#[tokio::test]
async fn a_session_that_is_not_there() {
    let rig = Rig::new();
    let bearer = format!("Bearer {}", rig.token("show", TokenRole::Host, "ann"));
    for path in ["/whip/show/nothing", "/whep/show/nothing"] {
        let headers = [("authorization", bearer.as_str())];
        let refused = rig.refused(request(Method::DELETE, path, &headers, "")).await;
        assert_eq!(refused, (StatusCode::NOT_FOUND, "not_found".into()));
        let refused = rig.refused(request(Method::DELETE, path, &[], "")).await;
        assert_eq!(refused.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn nobody_comes_in_while_the_server_stops() {
    let rig = Rig::new();
    rig.draining.send_replace(true);
    let token = rig.token("show", TokenRole::Host, "ann");
    let refused = rig.refused(post("/whip/show", &token, OFFER)).await;
    assert_eq!(refused, (StatusCode::SERVICE_UNAVAILABLE, "overloaded".into()));
}

#[tokio::test]
async fn a_player_does_not_make_a_room() {
    let rig = Rig::new();
    let token = rig.token("nowhere", TokenRole::Viewer, "bob");
    let offer = include_str!("../../../tests/corpus/sdp/whep/aiortc-recv.sdp");
    let refused = rig.refused(post("/whep/nowhere", &token, offer)).await;
    assert_eq!(refused, (StatusCode::NOT_FOUND, "room_not_found".into()));
    let (status, _) = rig.refused(post("/whep/a%2Fb", &token, offer)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "the token is for another room");
}
