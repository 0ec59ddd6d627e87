//! WHIP and WHEP sessions against a whole server: real rooms, a real media plane, no packets.

mod common;

use common::{Fixture, PATIENCE};
use greenroom::rtp::sdp::Fragment;
use serde_json::{Value, json};

const PUBLISHER: &str = include_str!("corpus/sdp/publish/ffmpeg.sdp");
const PLAYER: &str = include_str!("corpus/sdp/whep/aiortc-recv.sdp");
/// The user name fragment of `PUBLISHER`.
const UFRAG: &str = "8d1d9551";

/// One answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// A header's value, as it was sent.
    fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let found = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix));
        &found.unwrap_or_else(|| panic!("no {name} in {}", self.head))[prefix.len()..]
    }

    fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).expect("a JSON refusal");
        body["code"].as_str().expect("a code").to_owned()
    }
}

/// Whoever has this token.
struct Peer<'a> {
    fixture: &'a Fixture,
    token: String,
}

impl Peer<'_> {
    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             authorization: Bearer {}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            self.token,
            body.len()
        );
        let (status, head, body) = self.fixture.exchange(&request).await;
        Answer { status, head, body }
    }

    async fn post(&self, path: &str, offer: &str) -> Answer {
        self.send("POST", path, "content-type: application/sdp\r\n", offer).await
    }

    /// A session, which must open.
    async fn open(&self, path: &str, offer: &str) -> Answer {
        let answer = self.post(path, offer).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer
    }

    async fn patch(&self, path: &str, condition: Option<&str>, fragment: &str) -> Answer {
        let mut headers = "content-type: application/trickle-ice-sdpfrag\r\n".to_owned();
        if let Some(condition) = condition {
            headers += &format!("if-match: {condition}\r\n");
        }
        self.send("PATCH", path, &headers, fragment).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", "").await
    }
}

async fn peer<'a>(fixture: &'a Fixture, room: &str, role: &str) -> Peer<'a> {
    let (token, _) = fixture.token(room, role, role).await;
    Peer { fixture, token }
}

fn fragment(ufrag: &str) -> String {
    format!(
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
         a=candidate:1 1 udp 2130706431 192.0.2.1 51556 typ host\r\na=end-of-candidates\r\n",
        "p".repeat(24)
    )
}

/// RFC 9725 section 4.6.
#[tokio::test]
async fn publishers_and_players_read_of_the_turn_server_in_links() {
    let fixture = Fixture::with(|config| {
        config.media.turn_urls =
            vec!["turn:a.example".into(), "turns:a.example?transport=tcp".into()];
        config.media.turn_secret = "a secret of the TURN server".into();
    })
    .await;
    let host = peer(&fixture, "show", "host").await;
    let viewer = peer(&fixture, "show", "viewer").await;
    let published = host.open("/whip/show", PUBLISHER).await;
    for answer in [published, viewer.open("/whep/show", PLAYER).await] {
        let links: Vec<_> =
            answer.head.lines().filter_map(|line| line.strip_prefix("link: ")).collect();
        assert_eq!(links.len(), 2, "{}", answer.head);
        for (link, url) in links.iter().zip(["turn:a.example", "turns:a.example?transport=tcp"]) {
            let rest = link.strip_prefix(&format!("<{url}>; rel=\"ice-server\"; username=\""));
            let (username, rest) =
                rest.expect("a user name").split_once("\"; credential=\"").expect("both");
            assert!(
                username
                    .split_once(':')
                    .is_some_and(|(at, user)| at.len() == 10 && !user.is_empty())
            );
            // Base64 of twenty bytes.
            assert_eq!(rest.len(), 28 + "\"; credential-type=\"password\"".len(), "{rest}");
            assert!(rest.ends_with("=\"; credential-type=\"password\""), "{rest}");
        }
    }
    let plain = Fixture::start().await;
    let alone = peer(&plain, "show", "host").await.open("/whip/show", PUBLISHER).await;
    assert!(!alone.head.contains("link: "), "none is named where none is configured");
}

#[tokio::test]
async fn a_publisher_comes_restarts_and_goes() {
    let fixture = Fixture::start().await;
    let host = peer(&fixture, "show", "host").await;
    let opened = host.open("/whip/show", PUBLISHER).await;
    assert_eq!(opened.header("content-type"), "application/sdp");
    assert!(opened.body.starts_with("v=0\r\n") && opened.body.contains("a=setup:active\r\n"));
    let (path, tag) = (opened.header("location"), opened.header("etag"));
    assert!(path.starts_with("/whip/show/") && path.len() > "/whip/show/".len() + 20, "{path}");
    assert!(opened.body.contains(&format!("a=ice-ufrag:{}\r\n", tag.trim_matches('"'))));

    let trickled = host.patch(path, Some(tag), &fragment(UFRAG)).await;
    assert_eq!((trickled.status, trickled.body.as_str()), (204, ""));
    let restarted = host.patch(path, Some("*"), &fragment("newUfrag")).await;
    assert_eq!(restarted.status, 200, "{}", restarted.body);
    assert_eq!(restarted.header("content-type"), "application/trickle-ice-sdpfrag");
    let new = restarted.header("etag");
    assert_ne!(new, tag);
    let ours = Fragment::parse(&restarted.body).expect("a fragment");
    assert_eq!(ours.ufrag.as_deref(), Some(new.trim_matches('"')));
    assert!(ours.candidates > 0 && ours.credentials.is_some());
    assert_eq!(host.patch(path, Some(tag), &fragment("newUfrag")).await.status, 412, "old tag");
    assert_eq!(host.patch(path, Some(new), &fragment("newUfrag")).await.status, 204);

    assert_eq!(host.delete(path).await.status, 200);
    assert_eq!(host.delete(path).await.status, 404);
    let again = host.open("/whip/show", PUBLISHER).await;
    assert_ne!(again.header("location"), path);
}

#[tokio::test]
async fn patches_that_are_refused() {
    let fixture = Fixture::start().await;
    let host = peer(&fixture, "show", "host").await;
    let opened = host.open("/whip/show", PUBLISHER).await;
    let (path, tag) = (opened.header("location"), opened.header("etag"));
    assert_eq!(host.patch(path, None, &fragment(UFRAG)).await.status, 428);
    assert_eq!(host.patch(path, Some("\"other\""), &fragment(UFRAG)).await.status, 412);
    assert_eq!(host.patch(path, Some(tag), "hello").await.status, 400);
    assert_eq!(host.patch(path, Some(tag), "a=ice-ufrag:abcd\r\n").await.status, 400);
    let sdp = host.send("PATCH", path, "content-type: application/sdp\r\n", PUBLISHER).await;
    assert_eq!(sdp.status, 415);
    assert_eq!(sdp.header("accept-patch"), "application/trickle-ice-sdpfrag");
    let get = host.send("GET", path, "", "").await;
    assert_eq!((get.status, get.header("allow")), (405, "PATCH,DELETE"));

    let other = peer(&fixture, "show", "host").await;
    assert_eq!(other.delete(path).await.status, 404, "somebody else's session");
    let wrong = path.replace("/whip/", "/whep/");
    assert_eq!(host.delete(&wrong).await.status, 404, "the other protocol's session");
    assert_eq!(host.delete(path).await.status, 200, "nothing of that harmed it");
}

#[tokio::test]
async fn a_second_publisher_gets_a_clear_answer() {
    let fixture = Fixture::start().await;
    let host = peer(&fixture, "show", "host").await;
    let first = host.open("/whip/show", PUBLISHER).await;
    let second = host.post("/whip/show", PUBLISHER).await;
    assert_eq!((second.status, second.code().as_str()), (409, "conflict"));
    let viewer = peer(&fixture, "show", "viewer").await;
    let refused = viewer.post("/whip/show", PUBLISHER).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "publish_not_granted"));
    assert_eq!(host.delete(first.header("location")).await.status, 200);
    host.open("/whip/show", PUBLISHER).await;
}

#[tokio::test]
async fn players_come_and_go() {
    let fixture = Fixture::start().await;
    let host = peer(&fixture, "show", "host").await;
    host.open("/whip/show", PUBLISHER).await;
    let viewer = peer(&fixture, "show", "viewer").await;
    let opened = viewer.open("/whep/show?seat=0", PLAYER).await;
    assert!(opened.body.contains("a=sendonly\r\n") && opened.body.contains("a=setup:passive\r\n"));
    let path = opened.header("location");
    assert!(path.starts_with("/whep/show/"), "{path}");
    let restarted = viewer.patch(path, Some("*"), &fragment("newUfrag")).await;
    assert_eq!(restarted.status, 200, "{}", restarted.body);
    assert_eq!(viewer.delete(path).await.status, 200);
    let nowhere = peer(&fixture, "nowhere", "viewer").await.post("/whep/nowhere", PLAYER).await;
    assert_eq!((nowhere.status, nowhere.code().as_str()), (404, "room_not_found"));
}

#[tokio::test]
async fn the_end_of_the_show_is_the_end_of_its_sessions() {
    let fixture = Fixture::start().await;
    let host = peer(&fixture, "show", "host").await;
    let mut page = fixture.connect().await;
    page.ok("hello", json!({"token": host.token, "v": 1, "client": "test/1"})).await;
    page.ok("room.join", json!({"room": "show", "media": false})).await;
    let opened = host.open("/whip/show", PUBLISHER).await;
    page.ok("room.end", json!({})).await;
    let path = opened.header("location").to_owned();
    let gone = async {
        while host.patch(&path, Some("*"), &fragment(UFRAG)).await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the session ends with the show");
}
