//! A server on free ports with its own data folder, and a small protocol client.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use greenroom::Server;
use greenroom::config::Config;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longer than anything here takes on a busy machine; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running server; its folder goes with it.
pub struct Fixture {
    pub server: Option<Server>,
    pub addr: SocketAddr,
    pub folder: PathBuf,
}

impl Fixture {
    /// With the defaults, on free ports.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// With changes to the defaults.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("greenroom-{}-{n}", std::process::id()));
        Self::over(folder, change).await
    }

    /// Stop, and start again over the same folder, on other ports.
    pub async fn restart(&mut self) {
        self.stop().await;
        let again = async {
            // The file is free when the last task that held it has ended.
            loop {
                match Self::try_over(self.folder.clone(), |_| ()).await {
                    Ok(server) => break server,
                    Err(error) => assert!(error.to_string().contains("another"), "{error:#}"),
                }
            }
        };
        let server = timeout(PATIENCE, again).await.expect("the folder is free in time");
        (self.addr, self.server) = (server.addr, Some(server));
    }

    async fn over(folder: PathBuf, change: impl FnOnce(&mut Config)) -> Self {
        let server = Self::try_over(folder.clone(), change).await.expect("the server starts");
        Self { addr: server.addr, server: Some(server), folder }
    }

    async fn try_over(folder: PathBuf, change: impl FnOnce(&mut Config)) -> anyhow::Result<Server> {
        let mut config = Config { data_dir: folder, ..Config::default() };
        config.http.bind = SocketAddr::from(([127, 0, 0, 1], 0));
        config.media.port = 0;
        config.media.shards = 1;
        config.media.addresses = vec![[127, 0, 0, 1].into()];
        change(&mut config);
        Server::start(config).await
    }

    /// One plain HTTP exchange: status, header text in lower case, body.
    pub async fn http(&self, request: &str) -> (u16, String, String) {
        let (status, head, body) = self.exchange(request).await;
        (status, head.to_lowercase(), body)
    }

    /// One plain HTTP exchange: status, header text, body.
    pub async fn exchange(&self, request: &str) -> (u16, String, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let mut stream = TcpStream::connect(self.addr).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time").expect("reads");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, head.to_owned(), body.to_owned())
    }

    /// `GET path`, with more header lines.
    pub async fn get(&self, path: &str, headers: &str) -> (u16, String, String) {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        self.http(&request).await
    }

    /// A development token: (token, user).
    pub async fn token(&self, room: &str, role: &str, name: &str) -> (String, String) {
        self.ask_token(&json!({"room": room, "role": role, "name": name})).await
    }

    async fn ask_token(&self, body: &Value) -> (String, String) {
        let body = body.to_string();
        let request = format!(
            "POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, _, body) = self.http(&request).await;
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).expect("JSON");
        (text(&body["token"]), text(&body["user"]))
    }

    /// A WebSocket, nothing said yet.
    pub async fn connect(&self) -> Client {
        self.connect_from(None).await.expect("upgrades")
    }

    /// A WebSocket from a page of this origin.
    pub async fn connect_from(&self, origin: Option<&str>) -> Result<Client, tungstenite::Error> {
        let mut request = format!("ws://{}/ws", self.addr).into_client_request()?;
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().expect("header"));
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        Ok(Client { socket, next_id: 1, events: Vec::new() })
    }

    /// A WebSocket whose client keeps `buffer` bytes that it has not read.
    pub async fn connect_narrow(&self, buffer: u32) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(buffer).expect("a small buffer");
        let stream = socket.connect(self.addr).await.expect("connects");
        let url = format!("ws://{}/ws", self.addr);
        let stream = MaybeTlsStream::Plain(stream);
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("upgrades");
        Client { socket, next_id: 1, events: Vec::new() }
    }

    /// The same person again, with a new token.
    pub async fn hello_as(&self, room: &str, role: &str, user: &str) -> Client {
        let body = json!({"room": room, "role": role, "name": "Again", "user": user});
        let (token, _) = self.ask_token(&body).await;
        let mut client = self.connect().await;
        client.ok("hello", json!({"token": token, "v": 1, "client": "test/1"})).await;
        client
    }

    /// Somebody who has said hello: the client and the user id.
    pub async fn hello(&self, room: &str, role: &str, name: &str) -> (Client, String) {
        let (token, user) = self.token(room, role, name).await;
        let mut client = self.connect().await;
        client.ok("hello", json!({"token": token, "v": 1, "client": "test/1"})).await;
        (client, user)
    }

    /// Somebody in a room, without media: the client, the user id and the state.
    pub async fn join(&self, room: &str, role: &str, name: &str) -> (Client, String, Value) {
        let (mut client, user) = self.hello(room, role, name).await;
        let state = client.ok("room.join", json!({"room": room, "media": false})).await;
        (client, user, state)
    }

    /// Stop the server; it must not take longer than its drain time and a little.
    pub async fn stop(&mut self) {
        let server = self.server.take().expect("runs");
        timeout(PATIENCE, server.shutdown()).await.expect("stops in time");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One end of a WebSocket.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u32,
    /// Events that came while something else was awaited.
    events: Vec<Value>,
}

impl Client {
    /// Send text as it is.
    pub async fn send(&mut self, text: &str) {
        self.try_send(text).await.expect("sends");
    }

    /// The same to a server that may have closed already.
    pub async fn try_send(&mut self, text: &str) -> Result<(), impl std::error::Error + use<>> {
        self.socket.send(Message::text(text)).await
    }

    /// Begin the closing handshake.
    pub async fn close(&mut self) {
        let frame = CloseFrame { code: 1000.into(), reason: "done".into() };
        self.socket.send(Message::Close(Some(frame))).await.expect("sends");
    }

    /// Send a command without waiting; its id.
    pub async fn begin(&mut self, kind: &str, data: Value) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"id": id, "type": kind, "data": data}).to_string()).await;
        id
    }

    /// The reply to command `id`; events are kept.
    pub async fn reply(&mut self, id: u32) -> Value {
        let patient = timeout(PATIENCE, self.find_reply(id)).await;
        patient.unwrap_or_else(|_| panic!("no reply to {id} in time"))
    }

    async fn find_reply(&mut self, id: u32) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|close| {
                panic!("closed with {close:?} while waiting for the reply to {id}")
            });
            if message["id"] == id {
                return message;
            }
            self.events.push(message);
        }
    }

    /// Do a command that must succeed; its `data`.
    pub async fn ok(&mut self, kind: &str, data: Value) -> Value {
        let id = self.begin(kind, data).await;
        let reply = self.reply(id).await;
        assert_eq!(reply["ok"], true, "{kind}: {reply}");
        reply["data"].clone()
    }

    /// Do a command that must be refused; the code.
    pub async fn refused(&mut self, kind: &str, data: Value) -> String {
        let id = self.begin(kind, data).await;
        let reply = self.reply(id).await;
        assert_eq!(reply["ok"], false, "{kind}: {reply}");
        text(&reply["refusal"]["code"])
    }

    /// The next event of this type for which `wanted` holds.
    pub async fn event(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let fits = |event: &Value| event["type"] == kind && wanted(&event["data"]);
        if let Some(at) = self.events.iter().position(fits) {
            return self.events.remove(at);
        }
        loop {
            let message = self.next().await.unwrap_or_else(|close| {
                panic!("closed with {close:?} while waiting for {kind}: {:?}", self.events)
            });
            if fits(&message) {
                return message;
            }
            self.events.push(message);
        }
    }

    /// The next message, or how the connection was closed.
    pub async fn next(&mut self) -> Result<Value, Option<CloseFrame>> {
        timeout(PATIENCE, self.receive()).await.expect("something in time")
    }

    async fn receive(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("JSON"));
                }
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => (),
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The events that came while something else was awaited.
    pub fn heard(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    /// Read until the connection is closed: what was said, and the close code.
    pub async fn until_closed(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut said = std::mem::take(&mut self.events);
        loop {
            match self.next().await {
                Ok(message) => said.push(message),
                Err(frame) => return (said, frame.map(|frame| frame.code.into())),
            }
        }
    }
}

/// A JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
