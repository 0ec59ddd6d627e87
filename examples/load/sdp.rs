//! The offers we make and the part of an answer we need.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};

/// Payload types of our offers; an answer keeps them.
pub const VIDEO_PT: u8 = 96;
pub const AUDIO_PT: u8 = 111;

/// ICE user name fragment and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub ufrag: String,
    pub password: String,
}

/// What an offer says.
pub struct Offer<'a> {
    pub local: &'a Credentials,
    pub fingerprint: &'a str,
    /// SSRCs of video and audio of a publisher; `None` for a viewer.
    pub sends: Option<[u32; 2]>,
    pub audio: bool,
}

impl Offer<'_> {
    pub fn write(&self) -> String {
        let mids = if self.audio { "0 1" } else { "0" };
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
             a=group:BUNDLE {mids}\r\na=msid-semantic:WMS *\r\n"
        );
        self.section(&mut sdp, 0, "video", VIDEO_PT, "VP8/90000");
        for feedback in ["nack", "nack pli", "ccm fir"] {
            sdp += &format!("a=rtcp-fb:{VIDEO_PT} {feedback}\r\n");
        }
        if self.audio {
            self.section(&mut sdp, 1, "audio", AUDIO_PT, "opus/48000/2");
        }
        sdp
    }

    fn section(&self, sdp: &mut String, mid: usize, kind: &str, pt: u8, codec: &str) {
        let Credentials { ufrag, password } = self.local;
        let direction = if self.sends.is_some() { "sendonly" } else { "recvonly" };
        *sdp += &format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF {pt}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:{mid}\r\na={direction}\r\n\
             a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:{pt} {codec}\r\n",
            self.fingerprint
        );
        if let Some(ssrcs) = self.sends {
            let ssrc = ssrcs[mid];
            *sdp += &format!("a=msid:load {kind}\r\na=ssrc:{ssrc} cname:load\r\n");
            *sdp += &format!("a=ssrc:{ssrc} msid:load {kind}\r\n");
        }
    }
}

/// The server's half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub ice: Credentials,
    /// The server waits for our ClientHello.
    pub passive: bool,
    /// Where to send.
    pub candidate: SocketAddr,
}

impl Answer {
    /// Read an answer. Of several UDP host candidates the one at `preferred` wins, then the first.
    pub fn parse(sdp: &str, preferred: Option<IpAddr>) -> anyhow::Result<Self> {
        let value = |name: &str| {
            let found = sdp.lines().find_map(|line| line.trim_end().strip_prefix(name));
            found.with_context(|| format!("the answer has no {name}"))
        };
        let candidates: Vec<SocketAddr> =
            sdp.lines().filter_map(|line| candidate(line.trim_end())).collect();
        let at_preferred = candidates.iter().find(|addr| Some(addr.ip()) == preferred);
        let first = candidates.iter().find(|addr| addr.is_ipv4());
        let passive = match value("a=setup:")? {
            "passive" => true,
            "active" => false,
            other => bail!("the answer says a=setup:{other}"),
        };
        Ok(Self {
            ice: Credentials {
                ufrag: value("a=ice-ufrag:")?.to_owned(),
                password: value("a=ice-pwd:")?.to_owned(),
            },
            passive,
            candidate: *at_preferred.or(first).context("the answer has no UDP candidate")?,
        })
    }
}

/// `a=candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host`.
fn candidate(line: &str) -> Option<SocketAddr> {
    let mut words = line.strip_prefix("a=candidate:")?.split(' ').skip(1);
    let (component, transport) = (words.next()?, words.next()?);
    let address = words.nth(1)?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    let udp = component == "1" && transport.eq_ignore_ascii_case("udp");
    udp.then(|| SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use greenroom::rtp::sdp::{PublishOffer, WhepOffer};

    use super::*;

    const FINGERPRINT: &str = "CA:63:80:1C:7F:95:A9:A3:CC:67:28:09:EC:11:6D:ED:9D:AC:7B:22:9A:47:\
                               21:63:E0:D4:55:C2:67:8A:DB:E8";

    #[test]
    fn offers_are_understood() {
        let local = Credentials { ufrag: "load0001".into(), password: "p".repeat(24) };
        for audio in [false, true] {
            let mut offer =
                Offer { local: &local, fingerprint: FINGERPRINT, sends: Some([11, 22]), audio };
            let sdp = offer.write();
            assert_eq!(PublishOffer::parse(&sdp).unwrap().peer().ufrag, "load0001");
            assert_eq!(sdp.matches("a=ssrc:22 ").count(), if audio { 2 } else { 0 });
            offer.sends = None;
            assert_eq!(WhepOffer::parse(&offer.write()).unwrap().peer().ufrag, "load0001");
        }
    }

    #[test]
    fn answers() {
        let sdp = "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:passive\r\n\
                   a=candidate:1 1 tcp 9 127.0.0.1 9 typ host tcptype passive\r\n\
                   a=candidate:1 1 udp 9 10.0.0.2 7882 typ host\r\n\
                   a=candidate:2 1 UDP 8 127.0.0.1 7882 typ host\r\n";
        let answer = Answer::parse(sdp, Some([127, 0, 0, 1].into())).unwrap();
        assert_eq!(answer.candidate.to_string(), "127.0.0.1:7882");
        assert!(answer.passive && answer.ice.ufrag == "u" && answer.ice.password == "p");
        let answer = Answer::parse(sdp, None).unwrap();
        assert_eq!(answer.candidate.to_string(), "10.0.0.2:7882");
        assert!(Answer::parse("v=0\r\na=setup:passive\r\n", None).is_err());
    }
}
