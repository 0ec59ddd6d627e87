//! Janus's videoroom over its HTTP API: one session and handle per peer, as each browser has.
//!
//! ```text
//! publisher   create, attach, create room, joinandconfigure(offer) -> answer, trickle
//! viewer      create, attach, join(feed) -> offer, start(answer)
//! ```
//! Replies of the plugin come by a long poll on the session, on the same connection as the requests.

use std::net::UdpSocket;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};

use crate::load::http::{Caller, Connection, Url};
use crate::load::sdp::{Ours, Theirs, host_candidate};
use crate::net::client;

/// Between signs of life of a session; Janus ends it after 60 s without any.
const KEEP_ALIVE: Duration = Duration::from_secs(40);
/// Events of others (`webrtcup`, `media`) that may come before the one we wait for.
const PATIENCE: usize = 20;

/// One videoroom of one server.
pub struct Janus {
    pub url: Url,
    room: u64,
    /// The publisher's id, once it is there.
    feed: OnceLock<u64>,
    sessions: Mutex<Vec<(Url, Caller)>>,
}

impl Janus {
    /// `url` is the server's, `http://127.0.0.1:8088/janus` as packaged.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url.trim_end_matches('/'))?;
        let room = 1_000_000 + u64::from(std::process::id());
        Ok(Self { url, room, feed: OnceLock::new(), sessions: Mutex::default() })
    }

    /// Open a session: the server's half, our socket, and the session's URL.
    pub fn open(&self, caller: &Caller, ours: &Ours) -> anyhow::Result<(Theirs, UdpSocket, Url)> {
        let mut handle = Handle::attach(&self.url, caller)?;
        let url = handle.session.clone();
        let known = (url.clone(), caller.clone());
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(known);
        let (theirs, socket) = if ours.sends.is_some() {
            self.publish(&mut handle, caller, ours)?
        } else {
            self.watch(&mut handle, caller, ours)?
        };
        Ok((theirs, socket, url))
    }

    fn publish(
        &self,
        handle: &mut Handle,
        caller: &Caller,
        ours: &Ours,
    ) -> anyhow::Result<(Theirs, UdpSocket)> {
        handle.message(
            json!({
                "request": "create", "room": self.room, "permanent": false, "publishers": 2,
                "bitrate": 0, "videocodec": "vp8", "audiocodec": "opus", "record": false,
            }),
            None,
        )?;
        let join = json!({
            "request": "joinandconfigure", "ptype": "publisher", "room": self.room,
            "display": "load",
        });
        handle.message(join, Some(("offer", ours.offer())))?;
        let event = handle.event()?;
        let feed = event["plugindata"]["data"]["id"].as_u64().context("the publisher has no id")?;
        let _ = self.feed.set(feed);
        let theirs = theirs(&event, &self.url)?;
        let socket = open(&theirs, caller)?;
        let candidate = host_candidate(socket.local_addr()?);
        handle.post(json!({
            "janus": "trickle",
            "candidates": [
                { "sdpMid": "0", "sdpMLineIndex": 0, "candidate": candidate },
                { "completed": true },
            ],
        }))?;
        Ok((theirs, socket))
    }

    fn watch(
        &self,
        handle: &mut Handle,
        caller: &Caller,
        ours: &Ours,
    ) -> anyhow::Result<(Theirs, UdpSocket)> {
        let feed = self.feed.get().context("nobody publishes")?;
        let join = json!({
            "request": "join", "ptype": "subscriber", "room": self.room,
            "streams": [{ "feed": feed }],
        });
        handle.message(join, None)?;
        let event = handle.event()?;
        let offer = event["jsep"]["sdp"].as_str().context("no offer")?;
        let theirs = theirs(&event, &self.url)?;
        let socket = open(&theirs, caller)?;
        let answer = ours.answer(offer, socket.local_addr()?)?;
        handle.message(json!({ "request": "start" }), Some(("answer", answer)))?;
        Ok((theirs, socket))
    }

    /// Keep all sessions alive; runs until the process ends.
    pub fn keep_alive(&self) {
        loop {
            std::thread::sleep(KEEP_ALIVE);
            let known = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for (url, caller) in known {
                // A session that is lost shows as one without media.
                let _ = one(&url, &caller, "keepalive");
            }
        }
    }
}

/// End a session.
pub fn end(session: &Url, caller: &Caller) -> anyhow::Result<()> {
    one(session, caller, "destroy")
}

fn one(session: &Url, caller: &Caller, what: &str) -> anyhow::Result<()> {
    let mut connection = Connection::open(session, caller)?;
    let body = json!({ "janus": what, "transaction": what }).to_string();
    checked(connection.json("POST", &session.path, &body)?).map(drop)
}

/// Janus offers no loopback addresses, so callers from there use whichever address fits.
fn open(theirs: &Theirs, caller: &Caller) -> std::io::Result<UdpSocket> {
    let server = theirs.candidate;
    client::open(server, caller.source.filter(|_| server.ip().is_loopback()))
}

fn theirs(event: &Value, url: &Url) -> anyhow::Result<Theirs> {
    let sdp = event["jsep"]["sdp"].as_str().with_context(|| format!("no SDP in {event}"))?;
    Theirs::parse(sdp, Some(url.address()?.ip()), false)
}

/// A reply, if it reports no error of Janus or of the plugin.
fn checked(reply: Value) -> anyhow::Result<Value> {
    let data = &reply["plugindata"]["data"];
    let error = [&reply["error"]["reason"], &data["error"]].into_iter().find_map(Value::as_str);
    match error.map(str::to_owned) {
        Some(error) => bail!("Janus says: {error}"),
        None => Ok(reply),
    }
}

/// A session with one handle of the videoroom plugin.
struct Handle {
    connection: Connection,
    session: Url,
    path: String,
    asked: u32,
}

impl Handle {
    fn attach(server: &Url, caller: &Caller) -> anyhow::Result<Self> {
        let connection = Connection::open(server, caller)?;
        let (session, path) = (server.clone(), server.path.clone());
        let mut handle = Self { connection, session, path, asked: 0 };
        let id = |reply: &Value| reply["data"]["id"].as_u64().context("no id");
        let session = id(&handle.post(json!({ "janus": "create" }))?)?;
        handle.path = format!("{}/{session}", handle.path);
        handle.session.path.clone_from(&handle.path);
        let plugin = "janus.plugin.videoroom";
        let attached = id(&handle.post(json!({ "janus": "attach", "plugin": plugin }))?)?;
        handle.path = format!("{}/{attached}", handle.path);
        Ok(handle)
    }

    fn post(&mut self, mut body: Value) -> anyhow::Result<Value> {
        self.asked += 1;
        body["transaction"] = json!(self.asked.to_string());
        checked(self.connection.json("POST", &self.path, &body.to_string())?)
    }

    fn message(&mut self, body: Value, jsep: Option<(&str, String)>) -> anyhow::Result<Value> {
        let mut message = json!({ "janus": "message", "body": body });
        if let Some((kind, sdp)) = jsep {
            message["jsep"] = json!({ "type": kind, "sdp": sdp });
        }
        self.post(message)
    }

    /// The plugin's next event with an SDP.
    fn event(&mut self) -> anyhow::Result<Value> {
        for _ in 0..PATIENCE {
            let event = checked(self.connection.json("GET", &self.session.path, "")?)?;
            if event["jsep"].is_object() {
                return Ok(event);
            }
        }
        Err(anyhow!("Janus sent no SDP"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn errors_of_both_kinds() {
        assert!(checked(json!({ "janus": "success" })).is_ok());
        for bad in [
            json!({ "janus": "error", "error": { "code": 458, "reason": "No such session" } }),
            json!({ "plugindata": { "data": { "error_code": 426, "error": "No such room" } } }),
        ] {
            assert!(checked(bad).unwrap_err().to_string().contains("No such"));
        }
    }

    /// Answers each request on one connection with the next of `replies`; gives what was asked.
    fn server(replies: Vec<Value>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/janus", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            for reply in replies {
                let (mut request, mut bytes) = (String::new(), [0; 4096]);
                let whole =
                    |request: &str| request.starts_with("GET") || request.trim_end().ends_with('}');
                while !whole(&request) {
                    let count = stream.read(&mut bytes).unwrap();
                    assert!(count > 0, "cut: {request}");
                    request += std::str::from_utf8(&bytes[..count]).unwrap();
                }
                let body = reply.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).unwrap();
                asked.push(request);
            }
            asked
        });
        (url, asked)
    }

    #[test]
    fn a_viewer_answers_the_offer() {
        let offer = "a=ice-ufrag:u\r\na=ice-pwd:p\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
                     a=setup:actpass\r\na=mid:v\r\na=candidate:1 1 udp 9 127.0.0.1 9 typ host\r\n";
        let (url, asked) = server(vec![
            json!({ "janus": "success", "data": { "id": 11 } }),
            json!({ "janus": "success", "data": { "id": 22 } }),
            json!({ "janus": "ack" }),
            json!({ "janus": "keepalive" }),
            json!({ "janus": "event", "jsep": { "type": "offer", "sdp": offer } }),
            json!({ "janus": "ack" }),
        ]);
        let janus = Janus::new(&url).unwrap();
        janus.feed.set(5).unwrap();
        let local =
            crate::load::sdp::Credentials { ufrag: "abcd".into(), password: "p".repeat(24) };
        let ours =
            Ours { local, fingerprint: "AA".into(), sends: None, audio: false, feedback: false };
        let (theirs, socket, session) = janus.open(&Caller::default(), &ours).unwrap();
        assert!(theirs.controls && theirs.passive);
        assert!(session.path.ends_with("/janus/11"));
        let asked = asked.join().unwrap();
        assert!(asked[1].starts_with("POST /janus/11 ") && asked[2].contains("\"feed\":5"));
        assert!(asked[3].starts_with("GET /janus/11 "));
        let own = format!(" {} typ host", socket.local_addr().unwrap().port());
        assert!(asked[5].contains(&own) && asked[5].contains("a=setup:active"));
    }
}
