//! The media plane over real sockets and threads, with an independent client at both ends.

mod client;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use greenroom::metrics::Metrics;
use greenroom::net::plane::{MediaConfig, MediaPlane};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use signaling::media::{
    AddressedMediaEvent, Audience, Channel, CloseReason, MediaCommand, MediaEvent, MediaHandle,
    MediaKind, RoomKey, Seat, TransportId,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use webrtc::data_channel::DataChannel;

use client::{Client, Network, Seen, pump, track, video_payload};

const ROOM: RoomKey = RoomKey(1);
const DEADLINE: Duration = Duration::from_secs(20);

/// The room side of a media plane with two shards.
struct Show {
    media: MediaHandle,
    events: mpsc::Receiver<AddressedMediaEvent>,
    plane: MediaPlane,
    metrics: Metrics,
}

impl Show {
    fn start() -> Self {
        let metrics = Metrics::new();
        let config = MediaConfig {
            shards: 2,
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            port: 0,
            ..MediaConfig::default()
        };
        let (media, events, plane) = MediaPlane::start(&config, &metrics).expect("a media plane");
        Self { media, events, plane, metrics }
    }

    async fn allocate(&self) -> TransportId {
        let (reply, id) = oneshot::channel();
        assert!(self.media.send(MediaCommand::Allocate { reply }).await);
        timeout(DEADLINE, id).await.expect("in time").expect("an id")
    }

    async fn publish(&self, client: &mut Client, offer: String) -> TransportId {
        let transport = self.allocate().await;
        let answer = self.media.ask(|reply| MediaCommand::OpenPublish {
            room: ROOM,
            transport,
            sdp: offer,
            lost_after_ms: 5_000,
            foreign: false,
            reply,
        });
        let answer = timeout(DEADLINE, answer).await.expect("in time").expect("an answer");
        assert!(answer.audio && answer.video, "{}", answer.sdp);
        client.accept(answer.sdp).await;
        transport
    }

    async fn watch(&self, network: Network) -> (TransportId, Client, Vec<Arc<dyn DataChannel>>) {
        let transport = self.allocate().await;
        let offer = self.media.ask(|reply| MediaCommand::OpenWatch {
            room: ROOM,
            transport,
            guest_seats: 2,
            backstage: false,
            own_seat: None,
            audio_top: None,
            reply,
        });
        let offer = timeout(DEADLINE, offer).await.expect("in time").expect("an offer");
        let mut client = Client::new(network).await;
        let (sdp, channels) = client.answer(offer).await;
        let done = self.media.ask(|reply| MediaCommand::WatchAnswer { transport, sdp, reply });
        timeout(DEADLINE, done).await.expect("in time").expect("accepted");
        (transport, client, channels)
    }

    async fn set_seat(&self, source: Option<TransportId>, audience: Audience) {
        let (done, applied) = oneshot::channel();
        let done = Some(done);
        let command =
            MediaCommand::SetSeat { room: ROOM, seat: Seat::HOST, source, audience, done };
        assert!(self.media.send(command).await);
        timeout(DEADLINE, applied).await.expect("in time").expect("applied");
    }

    async fn set_gate(&self, transport: TransportId, kind: MediaKind, open: bool) {
        let (done, applied) = oneshot::channel();
        let command = MediaCommand::SetGate { transport, kind, open, done: Some(done) };
        assert!(self.media.send(command).await);
        timeout(DEADLINE, applied).await.expect("in time").expect("applied");
    }

    /// A host whose sound and picture everybody may get, its transport, and what sends them.
    async fn go_live(&mut self, network: Network) -> (Client, TransportId, JoinHandle<()>) {
        let mut host = Client::new(network).await;
        let (audio, video) = (track(RtpCodecKind::Audio), track(RtpCodecKind::Video));
        let offer = host.offer(&[audio.clone(), video.clone()]).await;
        let source = self.publish(&mut host, offer).await;
        self.event(source, |event| matches!(event, MediaEvent::Connected).then_some(())).await;
        let pump = pump(audio, video);
        // Audio and video, in either order.
        for _ in 0..2 {
            let ready =
                |event: &MediaEvent| matches!(event, MediaEvent::MediaReady(_)).then_some(());
            self.event(source, ready).await;
        }
        self.set_seat(Some(source), Audience::Everyone).await;
        (host, source, pump)
    }

    /// Wait for an event of `transport` that `want` takes.
    async fn event<T>(
        &mut self,
        transport: TransportId,
        mut want: impl FnMut(&MediaEvent) -> Option<T>,
    ) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the plane lives");
                if event.transport == transport
                    && let Some(found) = want(&event.event)
                {
                    return found;
                }
            }
        };
        timeout(DEADLINE, wait).await.expect("the event in time")
    }
}

/// The frame and part a received video packet says it is, checked against what was sent.
fn video_part(seen: Seen) -> Option<(u32, u8, u16)> {
    let Seen::Packet(RtpCodecKind::Video, packet) = seen else { return None };
    let payload = &packet.payload;
    let at = match payload[0] {
        0x00 => 1,
        _ if payload[1] & 1 == 0 => 11,
        _ => 4,
    };
    let number = u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"));
    let part = payload[at + 4];
    assert_eq!(payload[..], video_payload(number, part.into()), "the payload changed on its way");
    Some((number, part, packet.header.sequence_number))
}

/// Wait until frames flow: `count` video packets in a row without a gap, from a key frame on.
async fn sees_video(client: &mut Client, count: usize) {
    let (mut last, mut run): (Option<(u32, u8, u16)>, usize) = (None, 0);
    client
        .until(|seen| {
            let (number, part, seq) = video_part(seen)?;
            match last {
                None => assert_eq!((number % 30, part), (0, 0), "it starts with a key frame"),
                // A probe is a repair nobody asked for; the client hands out the packet again.
                Some((_, _, before)) if before.wrapping_sub(seq) < 64 => return None,
                Some((_, _, before)) => {
                    assert_eq!(seq, before.wrapping_add(1), "numbers without a gap");
                }
            }
            last = Some((number, part, seq));
            run += 1;
            (run == count).then_some(())
        })
        .await;
}

async fn sees_audio(client: &mut Client, count: usize) {
    let mut heard = 0;
    client
        .until(|seen| {
            heard += usize::from(matches!(seen, Seen::Packet(RtpCodecKind::Audio, _)));
            (heard >= count).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_seen_and_heard_on_every_shard_until_muted() {
    let mut show = Show::start();
    let (_host, source, pump) = show.go_live(Network::Udp).await;

    let (near, mut first, _channels) = show.watch(Network::Udp).await;
    let (far, mut second, _more) = show.watch(Network::Udp).await;
    assert_ne!(near.shard(), far.shard(), "viewers are spread over shards");
    for viewer in [&mut first, &mut second] {
        sees_video(viewer, 30).await;
        sees_audio(viewer, 10).await;
    }

    // After the command is done, only what is under way may still arrive: the viewers' own
    // queues. Sound must stop while the picture goes on.
    show.set_gate(source, MediaKind::Audio, false).await;
    for viewer in [&mut first, &mut second] {
        while viewer.seen.try_recv().is_ok() {}
        let mut frames = 0;
        let mut sounds = 0;
        viewer
            .until(|seen| {
                sounds += usize::from(matches!(seen, Seen::Packet(RtpCodecKind::Audio, _)));
                frames += usize::from(video_part(seen).is_some());
                (frames > 90).then_some(())
            })
            .await;
        assert!(sounds <= 3, "{sounds} packets of sound in a second after the mute");
    }

    pump.abort();
    timeout(DEADLINE, show.plane.shutdown()).await.expect("it stops in time");
    let text = show.metrics.render();
    assert!(text.contains("greenroom_handshakes_total 3\n"), "{text}");
    assert!(!text.contains("greenroom_relayed_in_total 0\n"), "no shard was crossed: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_channels_carry_both_ways() {
    let mut show = Show::start();
    let (id, mut viewer, channels) = show.watch(Network::Udp).await;
    show.event(id, |event| matches!(event, MediaEvent::DataOpen(Channel::Gifts)).then_some(()))
        .await;
    viewer.until(|seen| matches!(seen, Seen::Open(0)).then_some(())).await;
    channels[0].send_text(r#"{"type":"gift.send"}"#).await.expect("sent");
    let bytes = show
        .event(id, |event| match event {
            MediaEvent::Data(Channel::Gifts, bytes) => Some(bytes.clone()),
            _ => None,
        })
        .await;
    assert_eq!(bytes, r#"{"type":"gift.send"}"#.as_bytes());

    for channel in [Channel::Events, Channel::Effects] {
        let bytes = Bytes::from_static(b"{\"type\":\"room.event\"}");
        assert!(show.media.send(MediaCommand::BroadcastData { room: ROOM, channel, bytes }).await);
        let (from, bytes) = viewer
            .until(|seen| match seen {
                Seen::Message(from, bytes) => Some((from, bytes)),
                _ => None,
            })
            .await;
        assert_eq!(from, channel as u16);
        assert_eq!(bytes, b"{\"type\":\"room.event\"}");
    }

    assert!(show.media.send(MediaCommand::CloseRoom { room: ROOM }).await);
    let reason = show
        .event(id, |event| match event {
            MediaEvent::Closed(reason) => Some(*reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, CloseReason::Requested);
    timeout(DEADLINE, show.plane.shutdown()).await.expect("it stops in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_udp_a_host_is_seen_and_heard_and_viewers_see_over_one_tcp_port() {
    let mut show = Show::start();
    let (_host, _, pump) = show.go_live(Network::TcpOnly).await;
    let (near, mut first, channels) = show.watch(Network::TcpOnly).await;
    let (far, mut second, _more) = show.watch(Network::TcpOnly).await;
    let (_, mut third, _other) = show.watch(Network::Udp).await;
    assert_ne!(near.shard(), far.shard(), "one port leads to both");
    for viewer in [&mut first, &mut second, &mut third] {
        sees_video(viewer, 30).await;
        sees_audio(viewer, 10).await;
    }
    channels[0].send_text("gift").await.expect("sent");
    let data =
        |event: &MediaEvent| matches!(event, MediaEvent::Data(Channel::Gifts, _)).then_some(());
    show.event(near, data).await;

    pump.abort();
    let text = show.metrics.render();
    assert!(text.contains("greenroom_tcp_connections 3\n"), "{text}");
    assert!(text.contains("greenroom_dropped_total{reason=\"tcp_buffer_full\"} 0\n"), "{text}");
    timeout(DEADLINE, show.plane.shutdown()).await.expect("it stops in time");
    let text = show.metrics.render();
    assert!(text.contains("greenroom_handshakes_total 4\n"), "{text}");
}
