//! Every option of the server, typed, with its default.
//!
//! Sources, later ones win: the built-in defaults, `greenroom.toml` (or `--config`), environment
//! variables `GREENROOM_<SECTION>_<KEY>`, the command line. An unknown key is an error that names
//! it: a misspelt limit must not silently become the default.

mod load;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
pub use signaling::limits::Limits;
use signaling::protocol::{MESSAGE_BYTES, SDP_MESSAGE_BYTES};
use signaling::turn::{Turn, is_turn_url};

pub use load::{Override, Source};

use crate::sfu::SfuConfig;

/// Less and a part of a frame (16 packets) would never fit behind another.
const MIN_TCP_BUFFER: usize = 64 * 1024;

/// Browsers try them all, and warn from the fifth on.
const MOST_TURN_URLS: usize = 4;
/// The output of SHA-1, below which a key is what is guessed (RFC 2104 section 3).
const MIN_TURN_SECRET: usize = 20;
/// A week.
const MOST_TURN_TTL_S: u64 = 604_800;

/// All options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Development mode: anyone who reaches the page gets a token and coins; loopback only.
    pub dev: bool,
    /// Folder of the database and the generated keys; created if missing.
    pub data_dir: PathBuf,
    /// Pages, WebSocket, WHIP/WHEP and metrics.
    pub http: Http,
    /// Media over UDP and TCP.
    pub media: Media,
    /// Room tokens.
    pub tokens: Tokens,
    /// Limits of the signaling side.
    pub limits: Limits,
}

/// The `[http]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port of the HTTP server.
    pub bind: SocketAddr,
    /// Other origins whose pages may open `/ws`, as `https://shop.example`; the server's own is
    /// always allowed.
    pub origins: Vec<String>,
    /// Origins whose pages may show ours in a frame, as `https://shop.example`; the server's own
    /// is always allowed.
    pub embed: Vec<String>,
    /// Bytes of a request's header; past it 431.
    pub header_bytes: usize,
    /// Milliseconds a client may take to send a header, and a connection may idle.
    pub header_ms: u64,
    /// Milliseconds a planned stop may take before connections are cut.
    pub drain_ms: u64,
}

/// The `[media]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// UDP port of the first shard; each further shard takes the next port. 0 = any free ones, also for
    /// TCP.
    pub port: u16,
    /// TCP port of all shards, for clients whose network lets no UDP through; 0 = none.
    pub tcp_port: u16,
    /// Answer libwebrtc's pseudo-TLS on it, and offer that to clients of the room protocol.
    pub tcp_hello: bool,
    /// TCP connections in all.
    pub tcp_connections: u32,
    /// TCP connections of one address; 0 = no limit.
    pub tcp_per_address: u32,
    /// Milliseconds a TCP connection may be of no use: before its first valid STUN request, and when its
    /// client has chosen another way.
    pub tcp_idle_ms: u64,
    /// Bytes that wait for one slow TCP connection.
    pub tcp_buffer_bytes: usize,
    /// Media threads; 0 = one per core.
    pub shards: u8,
    /// Local addresses to listen on; empty = loopback and every LAN address.
    pub addresses: Vec<IpAddr>,
    /// The address clients reach this machine at when it is behind a one-to-one NAT; empty = none.
    #[serde(with = "empty_is_none")]
    pub public_ip: Option<IpAddr>,
    /// TURN servers that clients are told of, as `turns:turn.example:443?transport=tcp`; empty = none.
    pub turn_urls: Vec<String>,
    /// Secret shared with those TURN servers (coturn: `static-auth-secret`).
    pub turn_secret: String,
    /// Seconds that a client's TURN credentials are good for.
    pub turn_ttl_seconds: u64,
    /// Bits per second that one publisher may send; what is past it is dropped and counted.
    pub uplink_bps: u64,
    /// Packets per second that one publisher may send.
    pub uplink_packets: u32,
    /// Milliseconds that a part of a frame waits for the rest when a publisher sends it spread.
    pub hold_ms: u8,
    /// Milliseconds that media may have waited unread when the server is overloaded; what is older is dropped.
    pub late_ms: u16,
    /// Milliseconds that a frame may wait for its turn at a viewer's pace, before that viewer begins anew with a key frame.
    pub behind_ms: u16,
    /// Bits per second that a new viewer is sent at first.
    pub downlink_start_bps: u64,
    /// Most bits per second that one viewer is sent of what comes in layers.
    pub downlink_max_bps: u64,
    /// Take sound that repeats itself (RED) from publishers.
    pub audio_red: bool,
}

/// The `[tokens]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// HS256 secret shared with the backend that signs tokens, at least 32 bytes; empty = a key
    /// generated in the data folder.
    pub secret: String,
    /// The `aud` a token must carry.
    pub audience: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dev: true,
            data_dir: PathBuf::from("./greenroom-data"),
            http: Http::default(),
            media: Media::default(),
            tokens: Tokens::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            origins: Vec::new(),
            embed: Vec::new(),
            header_bytes: 16 * 1024,
            header_ms: 10_000,
            drain_ms: 3000,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        let SfuConfig { uplink_bps, uplink_packets, hold, late, behind, downlink } =
            SfuConfig::default();
        Self {
            port: 7882,
            tcp_port: 7882,
            tcp_hello: false,
            tcp_connections: 2000,
            tcp_per_address: 256,
            tcp_idle_ms: 5000,
            tcp_buffer_bytes: 256 * 1024,
            shards: 0,
            addresses: Vec::new(),
            public_ip: None,
            turn_urls: Vec::new(),
            turn_secret: String::new(),
            turn_ttl_seconds: 86_400,
            uplink_bps,
            uplink_packets,
            hold_ms: hold.as_millis() as u8,
            late_ms: late.as_millis() as u16,
            behind_ms: behind.as_millis() as u16,
            downlink_start_bps: downlink.start_bps,
            downlink_max_bps: downlink.max_bps,
            audio_red: true,
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self { secret: String::new(), audience: "greenroom".to_owned() }
    }
}

impl Config {
    /// Read all sources and check the result.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value of the wrong type or out of range; the
    /// message names the key and where it came from.
    pub fn load(source: &Source) -> anyhow::Result<Self> {
        let config = load::merge(source)?;
        config.check()?;
        Ok(config)
    }

    /// Whether the values make sense together.
    ///
    /// # Errors
    /// The first that does not, with what to change.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !self.dev || self.http.bind.ip().is_loopback(),
            "dev mode gives a token to everybody who can reach the page, so it listens on loopback \
             only, but http.bind is {}: set `dev = false` (--dev false) to serve a network, or \
             bind 127.0.0.1",
            self.http.bind
        );
        let secret = self.tokens.secret.len();
        ensure!(
            secret == 0 || secret >= 32,
            "tokens.secret has {secret} bytes and needs at least 32: \
             `openssl rand -base64 48` makes a good one"
        );
        ensure!(!self.tokens.audience.is_empty(), "tokens.audience must not be empty");
        let last = usize::from(self.media.port) + self.media.shard_count() - 1;
        ensure!(
            self.media.port == 0 || last <= usize::from(u16::MAX),
            "media.port {} leaves no room for {} shards below 65536",
            self.media.port,
            self.media.shard_count()
        );
        ensure!(
            self.media.uplink_bps >= 64_000 && self.media.uplink_packets >= 50,
            "media.uplink_bps must be at least 64000 and media.uplink_packets at least 50: less is \
             no voice"
        );
        ensure!(
            self.media.tcp_port == 0
                || (self.media.tcp_connections > 0
                    && self.media.tcp_idle_ms >= 500
                    && self.media.tcp_buffer_bytes >= MIN_TCP_BUFFER),
            "media.tcp_connections must be at least 1, media.tcp_idle_ms at least 500 and \
             media.tcp_buffer_bytes at least {MIN_TCP_BUFFER}; media.tcp_port = 0 turns TCP off"
        );
        ensure!(self.media.hold_ms <= 20, "media.hold_ms must be at most 20: more would be seen");
        ensure!(
            self.media.late_ms >= 100,
            "media.late_ms must be at least 100: a short stall would lose media"
        );
        ensure!(
            (200..=2000).contains(&self.media.behind_ms),
            "media.behind_ms must be 200 to 2000: a key frame takes the former, and no packet is kept longer than the latter"
        );
        let (start, max) = (self.media.downlink_start_bps, self.media.downlink_max_bps);
        ensure!(start >= 100_000, "media.downlink_start_bps must be at least 100000");
        ensure!(start <= max, "media.downlink_max_bps must be at least media.downlink_start_bps");
        self.media.check_turn()?;
        for origin in &self.http.embed {
            let name = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]*".contains(&b);
            ensure!(
                name.is_some_and(|name| !name.is_empty() && name.bytes().all(plain)),
                "http.embed: {origin:?} is no origin like https://shop.example"
            );
        }
        ensure!(self.http.header_bytes >= 1024, "http.header_bytes must be at least 1024");
        let limits = &self.limits;
        ensure!(
            limits.message_bytes >= 1024 && limits.sdp_message_bytes >= limits.message_bytes,
            "limits.message_bytes must be at least 1024 and limits.sdp_message_bytes not below it"
        );
        ensure!(
            limits.message_bytes <= MESSAGE_BYTES && limits.sdp_message_bytes <= SDP_MESSAGE_BYTES,
            "limits.message_bytes and limits.sdp_message_bytes can only be lowered: the protocol \
             itself ends at {MESSAGE_BYTES} and {SDP_MESSAGE_BYTES}"
        );
        ensure!(
            limits.outbox_messages > 0 && limits.room_mailbox > 0,
            "limits.outbox_messages and limits.room_mailbox must be above 0"
        );
        let rates = [
            ("commands_per_second", limits.commands_per_second),
            ("commands_burst", limits.commands_burst),
            ("gifts_per_second", limits.gifts_per_second),
            ("gifts_burst", limits.gifts_burst),
            ("joins_per_second", limits.joins_per_second),
        ];
        for (name, rate) in rates {
            ensure!(rate > 0, "limits.{name} must be above 0");
        }
        Ok(())
    }
}

impl Media {
    /// Media threads to start.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        match self.shards {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get().min(255)),
            n => usize::from(n),
        }
    }

    /// The TURN server for clients, if there is one.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        let (urls, secret) = (&self.turn_urls, &self.turn_secret);
        (!urls.is_empty()).then(|| Turn::new(urls.clone(), secret, self.turn_ttl_seconds))
    }

    fn check_turn(&self) -> anyhow::Result<()> {
        for url in &self.turn_urls {
            ensure!(
                is_turn_url(url),
                "media.turn_urls: {url:?} is no TURN URL like turn:turn.example:3478 or \
                 turns:turn.example:443?transport=tcp"
            );
        }
        let (servers, secret) = (self.turn_urls.len(), self.turn_secret.len());
        ensure!(servers <= MOST_TURN_URLS, "media.turn_urls has more than {MOST_TURN_URLS} URLs");
        ensure!(
            (servers == 0) == (secret == 0),
            "media.turn_urls and media.turn_secret go together: clients need both"
        );
        ensure!(
            secret == 0 || secret >= MIN_TURN_SECRET,
            "media.turn_secret has {secret} bytes and needs at least {MIN_TURN_SECRET}: every client \
             sees what it signed, and could guess a short one; `openssl rand -hex 32` makes a good one"
        );
        ensure!(
            (60..=MOST_TURN_TTL_S).contains(&self.turn_ttl_seconds),
            "media.turn_ttl_seconds must be 60 to {MOST_TURN_TTL_S}: a join may take the former, and \
             whoever has a credential relays at your cost until it ends"
        );
        Ok(())
    }
}

/// `""` in TOML, which has no null, is `None`.
mod empty_is_none {
    use std::net::IpAddr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "the signature serde asks for")]
    pub(super) fn serialize<S: Serializer>(ip: &Option<IpAddr>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&ip.map(|ip| ip.to_string()).unwrap_or_default())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<IpAddr>, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| D::Error::custom(format!("{text:?} is no IP address")))
    }
}

/// The text of a file, with its name in the error.
fn read(path: &std::path::Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
