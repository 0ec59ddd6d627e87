//! The command line.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Load a WHIP/WHEP server, or Janus, on Linux: one publisher, many viewers, each with a socket, ICE, DTLS and
/// SRTP of its own, all on one thread.
///
/// Media is synthetic VP8 (and Opus) whose payload carries a number and a send time, so that
/// viewers measure delay, loss, order and corruption. Use it on machines you own.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
pub struct Options {
    /// Server; sessions open at URL/whip/ROOM and URL/whep/ROOM
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Publish here instead of URL/whip/ROOM, for servers with other paths
    #[arg(long)]
    pub whip_url: Option<String>,
    /// Watch here instead of URL/whep/ROOM
    #[arg(long)]
    pub whep_url: Option<String>,
    /// Load Janus's videoroom instead, at this URL of its HTTP API (http://127.0.0.1:8088/janus)
    #[arg(long, value_name = "URL", conflicts_with_all = ["whip_url", "whep_url"])]
    pub janus: Option<String>,
    /// Room to publish and watch
    #[arg(long, default_value = "load")]
    pub room: String,
    /// Bearer token of everybody
    #[arg(long)]
    token: Option<String>,
    /// Bearer token of the publisher
    #[arg(long)]
    host_token: Option<String>,
    /// Bearer token of every viewer
    #[arg(long)]
    viewer_token: Option<String>,
    /// Shell command that prints a token; {room}, {role} (host, viewer) and {sub} are replaced
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,
    /// Viewers
    #[arg(long, default_value_t = 10)]
    pub viewers: usize,
    /// Viewers that begin to join per second
    #[arg(long, default_value_t = 50.0)]
    pub ramp: f64,
    /// Seconds the publisher sends before the first viewer joins
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds measured, from when everybody has media
    #[arg(long, default_value_t = 20.0)]
    duration: f64,
    /// Frames per second
    #[arg(long, default_value_t = 30.0)]
    pub fps: f64,
    /// Ten seconds into the measurement, send this many times as many frames: overload, which nobody could join under
    #[arg(long)]
    pub surge: Option<u32>,
    /// What the `--faulty` viewers do from two seconds into the measurement on
    #[arg(long, value_enum, default_value_t = Fault::Unread)]
    pub fault: Fault,
    /// More viewers, who join as the others do and then behave badly; the figures are of the others
    #[arg(long, default_value_t = 0, conflicts_with = "wake")]
    pub faulty: usize,
    /// Packets of one frame
    #[arg(long, default_value_t = 5)]
    pub packets_per_frame: u16,
    /// Bytes of one SRTP packet: RTP header, payload and GCM tag
    #[arg(long, default_value_t = 1200)]
    pub packet_bytes: usize,
    /// Send the packets of a frame evenly over the frame time, instead of at once
    #[arg(long)]
    pub spread: bool,
    /// Send 50 audio packets of 80 bytes a second too
    #[arg(long)]
    pub audio: bool,
    /// Come from one address, as viewers behind one NAT do. Otherwise a server on 127.0.0.1 sees
    /// each viewer at another address of 127.0.0.0/8, so that its limits per address see viewers
    #[arg(long)]
    pub one_address: bool,
    /// Let each packet wake the client inside the server's send call, as sockets in an epoll set
    /// do, instead of reading viewers' sockets by time
    #[arg(long)]
    pub wake: bool,
    /// Let everybody connect by ICE-TCP, not by UDP. A packet's arrival is then the read of it: with
    /// `--wake` that is soon, without it delays are up to 12 ms too long and the server's CPU is right
    #[arg(long, conflicts_with = "janus")]
    pub tcp: bool,
    /// Let every viewer tell what arrives (transport-wide congestion control), as often as Chromium does
    #[arg(long, conflicts_with = "janus")]
    pub feedback: bool,
    /// SRTP protection
    #[arg(long, value_enum, default_value_t = Profile::Gcm)]
    pub profile: Profile,
    /// Process of the server: measures its CPU time and memory
    #[arg(long)]
    pub pid: Option<u32>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// What `use_srtp` of our handshakes offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// AEAD_AES_128_GCM
    Gcm,
    /// AES128_CM_HMAC_SHA1_80
    Cm,
}

/// How a viewer behaves badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Its socket stays open and nobody reads it or answers.
    Unread,
    /// Its socket closes, without goodbye.
    Vanish,
    /// It asks for all that it got lately again, 50 times a second.
    Nack,
}

impl Options {
    /// Everybody who watches: peers 1 to this.
    #[must_use]
    pub fn watching(&self) -> usize {
        self.viewers + self.faulty
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// What does not, in words.
    pub fn check(&self) -> Result<(), String> {
        let seconds = [self.warm_up, self.duration];
        if seconds.iter().any(|s| !s.is_finite() || *s < 0.0 || *s > 86_400.0) {
            return Err("--warm-up and --duration are 0 to 86400 seconds".into());
        }
        if !(0.1..=1000.0).contains(&self.fps) || !(0.1..=100_000.0).contains(&self.ramp) {
            return Err("--fps is 0.1 to 1000, --ramp 0.1 to 100000".into());
        }
        if !(100..=1400).contains(&self.packet_bytes) {
            return Err("--packet-bytes is 100 to 1400".into());
        }
        if !(1..=500).contains(&self.packets_per_frame) {
            return Err("--packets-per-frame is 1 to 500".into());
        }
        if self.surge.is_some_and(|factor| !(1..=1000).contains(&factor)) {
            return Err("--surge is 1 to 1000".into());
        }
        if self.viewers == 0 || self.viewers > 10_000 || self.faulty > 10_000 {
            return Err("--viewers is 1 to 10000, --faulty at most that".into());
        }
        Ok(())
    }

    /// How long the publisher sends before the first viewer joins.
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }

    /// How long is measured.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.duration)
    }

    /// From one frame to the next.
    #[must_use]
    pub fn frame_time(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.fps)
    }

    /// Where peer `index` opens its session; 0 is the publisher.
    pub fn endpoint(&self, index: usize) -> String {
        let (other, kind) =
            if index == 0 { (&self.whip_url, "whip") } else { (&self.whep_url, "whep") };
        other
            .clone()
            .unwrap_or_else(|| format!("{}/{kind}/{}", self.url.trim_end_matches('/'), self.room))
    }

    /// The local address that peer `index` uses to reach `server`, if not whichever fits.
    pub fn source(&self, index: usize, server: IpAddr) -> Option<IpAddr> {
        let own = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + index as u32);
        (!self.one_address && server == Ipv4Addr::LOCALHOST).then_some(own.into())
    }

    /// The token of peer `index`, if it has a fixed one.
    pub fn fixed_token(&self, index: usize) -> Option<String> {
        let own = if index == 0 { &self.host_token } else { &self.viewer_token };
        own.clone().or_else(|| self.token.clone())
    }

    /// The command that prints the token of peer `index`.
    pub fn token_command(&self, index: usize) -> Option<String> {
        let (role, sub) = if index == 0 {
            // A host has a seat in one room at a time, so each room gets its own.
            ("host", format!("host-{}", self.room))
        } else {
            ("viewer", format!("load-{index}"))
        };
        let command = self.token_command.as_ref()?;
        let command = command.replace("{room}", &self.room).replace("{role}", role);
        Some(command.replace("{sub}", &sub))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(more: &[&str]) -> Options {
        Options::parse_from(["load"].iter().chain(more))
    }

    #[test]
    fn endpoints_and_tokens() {
        let plain = options(&["--url", "http://h:1/", "--room", "r", "--token", "t"]);
        assert_eq!(plain.endpoint(0), "http://h:1/whip/r");
        assert_eq!(plain.endpoint(7), "http://h:1/whep/r");
        assert_eq!(plain.fixed_token(0).as_deref(), Some("t"));
        let other =
            options(&["--whep-url", "http://h/x", "--token-command", "t {role} {sub} {room}"]);
        assert_eq!(other.endpoint(1), "http://h/x");
        assert_eq!(other.token_command(3).as_deref(), Some("t viewer load-3 load"));
        assert_eq!(other.token_command(0).as_deref(), Some("t host host-load load"));
    }

    #[test]
    fn every_viewer_has_an_address_on_loopback() {
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(options(&[]).source(255, local), Some([127, 0, 1, 1].into()));
        assert_eq!(options(&[]).source(1, [10, 0, 0, 1].into()), None);
        assert_eq!(options(&["--one-address"]).source(1, local), None);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(options(&[]).check().is_ok());
        for bad in [
            ["--viewers", "0"],
            ["--fps", "0"],
            ["--packet-bytes", "10"],
            ["--duration", "NaN"],
            ["--faulty", "10001"],
        ] {
            assert!(options(&bad).check().is_err(), "{bad:?}");
        }
    }
}
