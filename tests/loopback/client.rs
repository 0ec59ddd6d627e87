//! A publisher and a viewer on the `webrtc` crate: an independent client over real sockets.
#![expect(clippy::disallowed_methods, reason = "test shell")]

use std::sync::Arc;
use std::time::Duration;

use rtc::media_stream::MediaStreamTrack;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use rtc_rtp::{Packet, header::Header};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceCandidateInit, RTCIceGatheringState, RTCSessionDescription, Registry,
    register_default_interceptors,
};

/// What a client saw.
#[derive(Debug)]
pub enum Seen {
    /// The description has all candidates.
    Gathered,
    /// A packet of a track of this kind.
    Packet(RtpCodecKind, Packet),
    /// A data channel opened.
    Open(u16),
    /// A message on it.
    Message(u16, Vec<u8>),
}

struct Handler(mpsc::UnboundedSender<Seen>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(Seen::Gathered);
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let seen = self.0.clone();
        tokio::spawn(async move {
            let kind = track.kind().await;
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let _ = seen.send(Seen::Packet(kind, packet));
                }
            }
        });
    }
}

/// What a client's network lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Udp,
    /// No UDP socket at all.
    TcpOnly,
}

/// A peer connection and what it sees.
pub struct Client {
    pub connection: Arc<dyn PeerConnection>,
    network: Network,
    pub seen: mpsc::UnboundedReceiver<Seen>,
    sender: mpsc::UnboundedSender<Seen>,
}

impl Client {
    pub async fn new(network: Network) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let mut engine = MediaEngine::default();
        engine.register_default_codecs().expect("codecs");
        let registry =
            register_default_interceptors(Registry::new(), &mut engine).expect("interceptors");
        let builder = PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler(sender.clone())));
        let builder = match network {
            Network::Udp => builder.with_udp_addrs(vec!["127.0.0.1:0"]),
            Network::TcpOnly => builder.with_tcp_addrs(vec!["127.0.0.1:0"]),
        };
        let connection = builder.build().await.expect("a peer connection");
        Self { connection: Arc::new(connection), network, seen, sender }
    }

    /// This client connects by TCP only to candidates that are trickled.
    async fn trickle(&self, sdp: &str) {
        let passive =
            |line: &&str| line.starts_with("a=candidate:") && line.contains("tcptype passive");
        let lines = sdp.lines().filter(passive).filter(|_| self.network == Network::TcpOnly);
        for line in lines {
            let candidate = line.trim_start_matches("a=").to_owned();
            let init = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
            self.connection.add_ice_candidate(init).await.expect("a candidate");
        }
    }

    /// The next thing it sees that `want` takes.
    pub async fn until<T>(&mut self, mut want: impl FnMut(Seen) -> Option<T>) -> T {
        let wait = async {
            loop {
                let seen = self.seen.recv().await.expect("the client lives");
                if let Some(found) = want(seen) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("seen in time")
    }

    async fn local_description(&mut self) -> String {
        self.until(|seen| matches!(seen, Seen::Gathered).then_some(())).await;
        self.connection.local_description().await.expect("a description").sdp
    }

    /// Offer these tracks.
    pub async fn offer(&mut self, tracks: &[Arc<TrackLocalStaticRTP>]) -> String {
        for track in tracks {
            self.connection.add_track(track.clone() as Arc<dyn TrackLocal>).await.expect("added");
        }
        let offer = self.connection.create_offer(None).await.expect("an offer");
        self.connection.set_local_description(offer).await.expect("set");
        self.local_description().await
    }

    pub async fn accept(&self, answer: String) {
        let description = RTCSessionDescription::answer(answer.clone()).expect("an SDP answer");
        self.connection.set_remote_description(description).await.expect("accepted");
        self.trickle(&answer).await;
    }

    /// Answer a watch offer, with the pre-negotiated channels.
    pub async fn answer(&mut self, offer: String) -> (String, Vec<Arc<dyn DataChannel>>) {
        let description = RTCSessionDescription::offer(offer.clone()).expect("an SDP offer");
        self.connection.set_remote_description(description).await.expect("accepted");
        let mut channels = Vec::new();
        for (id, label) in [(0, "gifts"), (1, "ev"), (2, "fx")] {
            let lossy = id == 2;
            let init = RTCDataChannelInit {
                negotiated: Some(id),
                ordered: !lossy,
                max_retransmits: lossy.then_some(0),
                ..RTCDataChannelInit::default()
            };
            let channel =
                self.connection.create_data_channel(label, Some(init)).await.expect("a channel");
            self.listen(id, channel.clone());
            channels.push(channel);
        }
        let answer = self.connection.create_answer(None).await.expect("an answer");
        self.connection.set_local_description(answer).await.expect("set");
        let answer = self.local_description().await;
        self.trickle(&offer).await;
        (answer, channels)
    }

    fn listen(&self, id: u16, channel: Arc<dyn DataChannel>) {
        let seen = self.sender.clone();
        tokio::spawn(async move {
            while let Some(event) = channel.poll().await {
                let _ = match event {
                    DataChannelEvent::OnOpen => seen.send(Seen::Open(id)),
                    DataChannelEvent::OnMessage(message) => {
                        seen.send(Seen::Message(id, message.data.to_vec()))
                    }
                    _ => Ok(()),
                };
            }
        });
    }
}

pub const AUDIO_SSRC: u32 = 0x0A0A_0A0A;
pub const VIDEO_SSRC: u32 = 0x0B0B_0B0B;

/// Opus or VP8, as the crate's default codecs have them.
pub fn track(kind: RtpCodecKind) -> Arc<TrackLocalStaticRTP> {
    let audio = kind == RtpCodecKind::Audio;
    let codec = RTCRtpCodec {
        mime_type: if audio { "audio/opus" } else { "video/VP8" }.to_owned(),
        clock_rate: if audio { 48_000 } else { 90_000 },
        channels: if audio { 2 } else { 0 },
        sdp_fmtp_line: if audio { "minptime=10;useinbandfec=1" } else { "" }.to_owned(),
        rtcp_feedback: Vec::new(),
    };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(if audio { AUDIO_SSRC } else { VIDEO_SSRC }),
            ..RTCRtpCodingParameters::default()
        },
        codec,
        ..RTCRtpEncodingParameters::default()
    };
    let name = kind.to_string();
    let track = MediaStreamTrack::new("host".into(), name.clone(), name, kind, vec![encoding]);
    Arc::new(TrackLocalStaticRTP::new(track))
}

/// Packets of one video frame.
const FRAME_PACKETS: [usize; 3] = [1_100, 1_100, 400];

/// The payload of packet `part` of frame `number`: a VP8 descriptor and header, then bytes that
/// say what they are.
pub fn video_payload(number: u32, part: usize) -> Vec<u8> {
    let key_frame = number.is_multiple_of(30);
    let mut payload = vec![if part == 0 { 0x10 } else { 0x00 }];
    if part == 0 {
        let size = FRAME_PACKETS.iter().sum::<usize>() as u32;
        let tag = (size << 5) | 0x10 | u32::from(!key_frame);
        payload.extend(&tag.to_le_bytes()[..3]);
        if key_frame {
            payload.extend([0x9D, 0x01, 0x2A, 0x80, 0x02, 0xE0, 0x01]);
        }
    }
    payload.extend(number.to_be_bytes());
    payload.push(part as u8);
    payload.resize(FRAME_PACKETS[part], number as u8);
    payload
}

/// Send 30 frames and 50 audio packets a second until aborted.
pub fn pump(audio: Arc<TrackLocalStaticRTP>, video: Arc<TrackLocalStaticRTP>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let (mut audio_seq, mut video_seq, mut frame) = (100u16, 65_500u16, 0u32);
        loop {
            ticks.tick().await;
            let header = header(111, audio_seq, u32::from(audio_seq) * 960, AUDIO_SSRC, false);
            audio_seq = audio_seq.wrapping_add(1);
            let _ = audio.write_rtp(Packet { header, payload: vec![0xFC; 80].into() }).await;
            // Three frames in five ticks.
            if audio_seq % 5 < 3 {
                for part in 0..FRAME_PACKETS.len() {
                    let last = part + 1 == FRAME_PACKETS.len();
                    let header = header_of_video(video_seq, frame, last);
                    video_seq = video_seq.wrapping_add(1);
                    let payload = video_payload(frame, part).into();
                    let _ = video.write_rtp(Packet { header, payload }).await;
                }
                frame += 1;
            }
        }
    })
}

fn header_of_video(seq: u16, frame: u32, marker: bool) -> Header {
    header(96, seq, frame.wrapping_mul(3_000), VIDEO_SSRC, marker)
}

fn header(pt: u8, seq: u16, timestamp: u32, ssrc: u32, marker: bool) -> Header {
    Header {
        version: 2,
        marker,
        payload_type: pt,
        sequence_number: seq,
        timestamp,
        ssrc,
        ..Header::default()
    }
}
