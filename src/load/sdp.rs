//! The offers and answers we make, and the part of the server's half we need.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};

/// Payload types of our offers; an answer keeps them.
pub const VIDEO_PT: u8 = 96;
pub const AUDIO_PT: u8 = 111;
/// Of repairs of the video.
const RTX_PT: u8 = 97;
/// Header extension id of the transport-wide number.
pub const TRANSPORT_CC: u8 = 3;
const TRANSPORT_CC_URI: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// ICE user name fragment and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub ufrag: String,
    pub password: String,
}

/// Our side of a session.
pub struct Ours {
    pub local: Credentials,
    pub fingerprint: String,
    /// SSRCs of video and audio of a publisher; `None` for a viewer.
    pub sends: Option<[u32; 2]>,
    pub audio: bool,
    /// A viewer's: it reports what arrives, and takes repairs in a stream of their own.
    pub feedback: bool,
}

impl Ours {
    /// An offer: the server chooses who begins the handshake.
    pub fn offer(&self) -> String {
        let mids: &[(&str, &str)] = &[("0", "video"), ("1", "audio")];
        self.write(&mids[..if self.audio { 2 } else { 1 }], "actpass", None)
    }

    /// The answer of a viewer to the server's offer, from our socket at `own`. As browsers do,
    /// we begin the handshake.
    pub fn answer(&self, offer: &str, own: SocketAddr) -> anyhow::Result<String> {
        let mut sections = Vec::new();
        for line in offer.lines().map(str::trim_end) {
            if let Some(media) = line.strip_prefix("m=") {
                sections.push(("", media.split(' ').next().unwrap_or_default()));
            } else if let (Some(mid), Some(last)) =
                (line.strip_prefix("a=mid:"), sections.last_mut())
            {
                last.0 = mid;
            }
        }
        if !sections.iter().all(|(_, kind)| matches!(*kind, "audio" | "video")) {
            bail!("the offer has a section that is neither audio nor video");
        }
        Ok(self.write(&sections, "active", Some(own)))
    }

    fn write(&self, sections: &[(&str, &str)], setup: &str, own: Option<SocketAddr>) -> String {
        let mids: Vec<&str> = sections.iter().map(|(mid, _)| *mid).collect();
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
             a=group:BUNDLE {}\r\na=msid-semantic:WMS *\r\n",
            mids.join(" ")
        );
        for (mid, kind) in sections {
            self.section(&mut sdp, mid, *kind == "video", setup);
            if let Some(own) = own {
                sdp += &format!("a={}\r\na=end-of-candidates\r\n", host_candidate(own));
            }
        }
        sdp
    }

    fn section(&self, sdp: &mut String, mid: &str, video: bool, setup: &str) {
        let Credentials { ufrag, password } = &self.local;
        let direction = if self.sends.is_some() { "sendonly" } else { "recvonly" };
        let (kind, pt, codec) = if video {
            ("video", VIDEO_PT, "VP8/90000")
        } else {
            ("audio", AUDIO_PT, "opus/48000/2")
        };
        let reports = video && self.feedback;
        let rtx = if reports { format!(" {RTX_PT}") } else { String::new() };
        *sdp += &format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF {pt}{rtx}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:{setup}\r\na=mid:{mid}\r\na={direction}\r\n\
             a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:{pt} {codec}\r\n",
            self.fingerprint
        );
        if let Some(ssrcs) = self.sends {
            let ssrc = ssrcs[usize::from(!video)];
            *sdp += &format!("a=msid:load {kind}\r\na=ssrc:{ssrc} cname:load\r\n");
            *sdp += &format!("a=ssrc:{ssrc} msid:load {kind}\r\n");
        }
        for feedback in ["nack", "nack pli", "ccm fir"].iter().filter(|_| video) {
            *sdp += &format!("a=rtcp-fb:{VIDEO_PT} {feedback}\r\n");
        }
        if reports {
            *sdp += &format!(
                "a=rtcp-fb:{VIDEO_PT} transport-cc\r\na=extmap:{TRANSPORT_CC} {TRANSPORT_CC_URI}\r\n\
                 a=rtpmap:{RTX_PT} rtx/90000\r\na=fmtp:{RTX_PT} apt={VIDEO_PT}\r\n"
            );
        }
    }
}

/// A candidate line without `a=`.
pub fn host_candidate(own: SocketAddr) -> String {
    format!("candidate:1 1 udp 2130706431 {} {} typ host", own.ip(), own.port())
}

/// The server's half, offer or answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theirs {
    pub ice: Credentials,
    /// The server waits for our ClientHello.
    pub passive: bool,
    /// The server decides which pair is used (RFC 8445 6.1.1): it made the offer and is no lite
    /// agent.
    pub controls: bool,
    /// Where to send.
    pub candidate: SocketAddr,
}

impl Theirs {
    /// Read it. Of several host candidates of UDP, or passive ones of TCP, the one at `preferred` wins, then
    /// the first.
    pub fn parse(sdp: &str, preferred: Option<IpAddr>, tcp: bool) -> anyhow::Result<Self> {
        let value = |name: &str| {
            let found = sdp.lines().find_map(|line| line.trim_end().strip_prefix(name));
            found.with_context(|| format!("the server's SDP has no {name}"))
        };
        let candidates: Vec<SocketAddr> =
            sdp.lines().filter_map(|line| candidate(line.trim_end(), tcp)).collect();
        let at_preferred = candidates.iter().find(|addr| Some(addr.ip()) == preferred);
        let first = candidates.iter().find(|addr| addr.is_ipv4());
        let setup = value("a=setup:")?;
        let passive = match setup {
            "passive" | "actpass" => true,
            "active" => false,
            other => bail!("the server says a=setup:{other}"),
        };
        Ok(Self {
            ice: Credentials {
                ufrag: value("a=ice-ufrag:")?.to_owned(),
                password: value("a=ice-pwd:")?.to_owned(),
            },
            passive,
            controls: setup == "actpass" && value("a=ice-lite").is_err(),
            candidate: *at_preferred.or(first).with_context(|| {
                format!("the server has no {} candidate", if tcp { "TCP" } else { "UDP" })
            })?,
        })
    }
}

/// `a=candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host`.
fn candidate(line: &str, tcp: bool) -> Option<SocketAddr> {
    let mut words = line.strip_prefix("a=candidate:")?.split(' ').skip(1);
    let (component, transport) = (words.next()?, words.next()?);
    let address = words.nth(1)?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    let wanted = match tcp {
        false => transport.eq_ignore_ascii_case("udp"),
        true => transport.eq_ignore_ascii_case("tcp") && line.contains("tcptype passive"),
    };
    (wanted && component == "1").then(|| SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use crate::rtp::sdp::{PublishOffer, WhepOffer};

    use super::*;

    const FINGERPRINT: &str = "CA:63:80:1C:7F:95:A9:A3:CC:67:28:09:EC:11:6D:ED:9D:AC:7B:22:9A:47:\
                               21:63:E0:D4:55:C2:67:8A:DB:E8";

    fn ours(sends: Option<[u32; 2]>, audio: bool) -> Ours {
        let local = Credentials { ufrag: "load0001".into(), password: "p".repeat(24) };
        Ours { local, fingerprint: FINGERPRINT.into(), sends, audio, feedback: false }
    }

    #[test]
    fn offers_are_understood() {
        for audio in [false, true] {
            let mut ours = ours(Some([11, 22]), audio);
            let sdp = ours.offer();
            assert_eq!(PublishOffer::parse(&sdp).unwrap().peer().ufrag, "load0001");
            assert_eq!(sdp.matches("a=ssrc:22 ").count(), if audio { 2 } else { 0 });
            ours.sends = None;
            for feedback in [false, true] {
                ours.feedback = feedback;
                assert_eq!(WhepOffer::parse(&ours.offer()).unwrap().peer().ufrag, "load0001");
            }
        }
    }

    #[test]
    fn answers() {
        let sdp = "v=0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:passive\r\n\
                   a=candidate:1 1 tcp 9 127.0.0.1 9 typ host tcptype passive\r\n\
                   a=candidate:1 1 udp 9 10.0.0.2 7882 typ host\r\n\
                   a=candidate:2 1 UDP 8 127.0.0.1 7882 typ host\r\n";
        let answer = Theirs::parse(sdp, Some([127, 0, 0, 1].into()), false).unwrap();
        assert_eq!(answer.candidate.to_string(), "127.0.0.1:7882");
        assert!(answer.passive && answer.ice.ufrag == "u" && answer.ice.password == "p");
        let answer = Theirs::parse(sdp, None, false).unwrap();
        assert_eq!(answer.candidate.to_string(), "10.0.0.2:7882");
        assert_eq!(Theirs::parse(sdp, None, true).unwrap().candidate.port(), 9);
        assert!(Theirs::parse("v=0\r\na=setup:passive\r\n", None, false).is_err());
    }

    #[test]
    fn a_servers_offer_is_answered_section_by_section() {
        let offer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x\r\na=setup:actpass\r\n\
                     a=ice-ufrag:u\r\na=ice-pwd:p\r\nm=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:y\r\n\
                     a=candidate:2 1 UDP 8 10.0.0.2 9 typ host\r\n";
        let own = "10.0.0.3:77".parse().unwrap();
        let answer = ours(None, true).answer(offer, own).unwrap();
        let lines: Vec<&str> = answer
            .lines()
            .filter(|line| line.starts_with("m=") || line.starts_with("a=mid"))
            .collect();
        let [audio, video] = ["audio 9 UDP/TLS/RTP/SAVPF 111", "video 9 UDP/TLS/RTP/SAVPF 96"];
        assert_eq!(lines, [&format!("m={audio}"), "a=mid:x", &format!("m={video}"), "a=mid:y"]);
        assert!(answer.contains("BUNDLE x y\r\n") && answer.contains("10.0.0.3 77 typ host\r\n"));
        assert!(ours(None, true).answer("m=application 9 x\r\n", own).is_err());
        let theirs = Theirs::parse(offer, None, false).unwrap();
        assert!(theirs.passive && theirs.controls);
        let lite = Theirs::parse(&format!("a=ice-lite\r\n{offer}"), None, false).unwrap();
        assert!(!lite.controls);
    }
}
