//! A media plane with two shards over real sockets and threads, and light peers in tasks of their
//! own; optionally in a network namespace where loopback has other properties.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use greenroom::metrics::Metrics;
use greenroom::net::plane::{MediaConfig, MediaPlane};
use greenroom::net::socket::BufferSizes;
use greenroom::sfu::transport::IceCredentials;
use rtc_shared::tcp_framing::{TcpFrameDecoder, frame_packet};
use signaling::media::{Audience, MediaCommand, MediaHandle, RoomKey, Seat, TransportId};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use crate::media::{Media, Publish, RTX_PT, TRANSPORT_CC, VIDEO_PT, Watch};
use crate::peer::Peer;

const ROOM: RoomKey = RoomKey(1);
/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(40);

/// A host on air and a server.
pub struct Show {
    media: MediaHandle,
    metrics: Metrics,
    _plane: MediaPlane,
    next: u16,
    _host: Running,
}

/// By what a peer reaches the server.
pub enum Wire {
    Udp(UdpSocket, SocketAddr),
    Tcp(TcpStream, TcpFrameDecoder),
}

impl Wire {
    /// To the server's candidate of this family.
    async fn udp(answer: &str, v6: bool) -> Self {
        let own: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let socket = UdpSocket::bind((own, 0)).await.expect("a socket");
        Self::Udp(socket, candidate(answer, "udp", v6))
    }

    /// To the server's candidate over IPv4; the kernel keeps little that was not read.
    async fn tcp(answer: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
        let stream = socket.connect(candidate(answer, "tcp", false)).await.expect("connects");
        stream.set_nodelay(true).expect("no delay");
        Self::Tcp(stream, TcpFrameDecoder::new())
    }

    async fn send(&self, datagram: &[u8]) {
        match self {
            Self::Udp(socket, server) => drop(socket.send_to(datagram, *server).await),
            Self::Tcp(stream, _) => {
                let framed = frame_packet(datagram);
                let mut rest = framed.as_slice();
                while !rest.is_empty() && stream.writable().await.is_ok() {
                    match stream.try_write(rest) {
                        Ok(taken) => rest = &rest[taken..],
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                }
            }
        }
    }

    /// Wait for something and give each datagram of it to `take`.
    async fn receive(&mut self, bytes: &mut [u8], mut take: impl FnMut(&[u8])) {
        match self {
            Self::Udp(socket, _) => {
                if let Ok(len) = socket.recv(bytes).await {
                    take(&bytes[..len]);
                }
            }
            Self::Tcp(stream, decoder) => {
                stream.readable().await.expect("a connection");
                match stream.try_read(bytes) {
                    Ok(0) => panic!("the server closed the connection"),
                    Ok(len) => decoder.extend_from_slice(&bytes[..len]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
                while let Some(datagram) = decoder.next_packet() {
                    take(&datagram);
                }
            }
        }
    }
}

/// A peer in its task.
pub struct Running {
    stop: watch::Sender<bool>,
    received: watch::Receiver<usize>,
    task: JoinHandle<(Peer, Wire)>,
}

impl Running {
    pub fn start(peer: Peer, wire: Wire) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (progress, received) = watch::channel(0);
        Self { stop, received, task: tokio::spawn(drive(peer, wire, stopped, progress)) }
    }

    /// Wait until it has `count` media packets.
    pub async fn has(&mut self, count: usize) {
        let enough = self.received.wait_for(|received| *received >= count);
        let seen = timeout(DEADLINE, enough).await;
        assert!(matches!(seen, Ok(Ok(_))), "{count} packets in time");
    }

    pub fn received(&self) -> usize {
        *self.received.borrow()
    }

    /// Stop reading; the socket stays open as long as it is kept.
    pub async fn stop(self) -> (Peer, Wire) {
        self.stop.send_replace(true);
        self.task.await.expect("the peer did not panic")
    }
}

async fn drive(
    mut peer: Peer,
    mut wire: Wire,
    mut stopped: watch::Receiver<bool>,
    progress: watch::Sender<usize>,
) -> (Peer, Wire) {
    let mut bytes = vec![0; 65_536];
    loop {
        if peer.next_tick() <= Instant::now() {
            peer.tick(Instant::now());
        }
        while let Some(datagram) = peer.out.pop_front() {
            wire.send(&datagram).await;
        }
        let due = peer.next_tick();
        tokio::select! {
            () = wire.receive(&mut bytes, |datagram| peer.receive(Instant::now(), datagram)) => {}
            () = sleep_until(due.into()) => {}
            _ = stopped.changed() => return (peer, wire),
        }
        if let Media::Watch(watch) = &peer.media {
            progress.send_replace(watch.received.len());
        }
    }
}

impl Show {
    /// With IPv4 and IPv6 loopback. `change` is done to the publisher's media.
    pub async fn start(buffers: BufferSizes, change: impl FnOnce(&mut Publish)) -> Self {
        let metrics = Metrics::new();
        let addresses: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let config =
            MediaConfig { shards: 2, addresses, port: 0, buffers, ..MediaConfig::default() };
        let (media, mut events, plane) =
            MediaPlane::start(&config, &metrics).expect("a media plane");
        tokio::spawn(async move { while events.recv().await.is_some() {} });

        let now = Instant::now();
        let mut publish = Publish::new(now, 1000, 5, 65_000);
        change(&mut publish);
        let (ssrc, rtx_ssrc) = (publish.ssrc, publish.rtx_ssrc);
        let mut peer = Peer::new(now, 0, unknown(), Media::Publish(publish));
        let offer = offer(&peer, "sendonly", Some((ssrc, rtx_ssrc)));
        let transport = allocate(&media).await;
        let answer = media.ask(|reply| MediaCommand::OpenPublish {
            room: ROOM,
            transport,
            sdp: offer,
            lost_after_ms: 5_000,
            foreign: true,
            reply,
        });
        let answer = timeout(DEADLINE, answer).await.expect("in time").expect("an answer").sdp;
        peer.remote = credentials(&answer);
        let host = Running::start(peer, Wire::udp(&answer, false).await);
        let (done, applied) = oneshot::channel();
        let command = MediaCommand::SetSeat {
            room: ROOM,
            seat: Seat::HOST,
            source: Some(transport),
            audience: Audience::Everyone,
            done: Some(done),
        };
        assert!(media.send(command).await);
        timeout(DEADLINE, applied).await.expect("in time").expect("applied");
        Self { media, metrics, _plane: plane, next: 1, _host: host }
    }

    /// One more viewer, over IPv6 or IPv4.
    pub async fn watch(&mut self, v6: bool) -> Running {
        let (peer, answer) = self.join().await;
        Running::start(peer, Wire::udp(&answer, v6).await)
    }

    /// One more viewer, over TCP.
    pub async fn watch_by_tcp(&mut self) -> Running {
        let (peer, answer) = self.join().await;
        Running::start(peer, Wire::tcp(&answer).await)
    }

    /// A viewer that knows the server's answer.
    async fn join(&mut self) -> (Peer, String) {
        let media = Media::Watch(Watch::default());
        let mut peer = Peer::new(Instant::now(), self.next, unknown(), media);
        self.next += 1;
        let sdp = offer(&peer, "recvonly", None);
        let transport = allocate(&self.media).await;
        let answer = self.media.ask(|reply| MediaCommand::OpenWhep {
            room: ROOM,
            transport,
            sdp,
            seat: Seat::HOST,
            reply,
        });
        let answer = timeout(DEADLINE, answer).await.expect("in time").expect("an answer").sdp;
        peer.remote = credentials(&answer);
        let group = value(&answer, "a=ssrc-group:FID ").expect("a stream and its repairs");
        let ssrcs: Vec<u32> = group.split(' ').map(|n| n.parse().expect("an SSRC")).collect();
        peer.media = Media::Watch(Watch::new(ssrcs[0], ssrcs[1]));
        (peer, answer)
    }

    /// A metric's sum over its labels that contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.metrics.render();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

async fn allocate(media: &MediaHandle) -> TransportId {
    let (reply, id) = oneshot::channel();
    assert!(media.send(MediaCommand::Allocate { reply }).await);
    timeout(DEADLINE, id).await.expect("in time").expect("an id")
}

/// Until the answer is there.
fn unknown() -> IceCredentials {
    IceCredentials { ufrag: String::new(), password: String::new() }
}

/// What FFmpeg would offer: one m-line, `setup:passive`.
fn offer(peer: &Peer, direction: &str, ssrcs: Option<(u32, u32)>) -> String {
    let fingerprint: Vec<String> = peer.fingerprint.0.iter().map(|b| format!("{b:02X}")).collect();
    let mut lines = vec![
        "v=0".to_owned(),
        "o=- 1 1 IN IP4 127.0.0.1".to_owned(),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        "a=group:BUNDLE 0".to_owned(),
        format!("m=video 9 UDP/TLS/RTP/SAVPF {VIDEO_PT} {RTX_PT}"),
        "c=IN IP4 0.0.0.0".to_owned(),
        "a=mid:0".to_owned(),
        format!("a=ice-ufrag:{}", peer.local.ufrag),
        format!("a=ice-pwd:{}", peer.local.password),
        format!("a=fingerprint:sha-256 {}", fingerprint.join(":")),
        "a=setup:passive".to_owned(),
        format!("a={direction}"),
        "a=rtcp-mux".to_owned(),
        format!("a=rtpmap:{VIDEO_PT} VP8/90000"),
        format!("a=rtcp-fb:{VIDEO_PT} nack"),
        format!("a=rtcp-fb:{VIDEO_PT} nack pli"),
        format!("a=rtpmap:{RTX_PT} rtx/90000"),
        format!("a=fmtp:{RTX_PT} apt={VIDEO_PT}"),
        format!(
            "a=extmap:{TRANSPORT_CC} \
             http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
        ),
    ];
    if let Some((ssrc, rtx)) = ssrcs {
        lines.push(format!("a=ssrc-group:FID {ssrc} {rtx}"));
        lines.push(format!("a=ssrc:{ssrc} cname:host"));
        lines.push(format!("a=ssrc:{rtx} cname:host"));
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

fn value<'a>(sdp: &'a str, prefix: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix(prefix))
}

fn credentials(answer: &str) -> IceCredentials {
    IceCredentials {
        ufrag: value(answer, "a=ice-ufrag:").expect("a ufrag").to_owned(),
        password: value(answer, "a=ice-pwd:").expect("a password").to_owned(),
    }
}

/// The server's first candidate of this protocol and family.
fn candidate(answer: &str, protocol: &str, v6: bool) -> SocketAddr {
    let candidates = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let mut addresses = candidates.filter_map(|candidate| {
        let fields: Vec<&str> = candidate.split(' ').collect();
        let address = SocketAddr::new(fields.get(4)?.parse().ok()?, fields.get(5)?.parse().ok()?);
        (fields.get(2) == Some(&protocol)).then_some(address)
    });
    addresses.find(|address| address.is_ipv6() == v6).expect("a candidate")
}

/// Run `body` in a process of its own whose loopback was set up by `setup` (a shell script), or say
/// that this needs rights or tools which are not here. `test` is the full name of the caller.
pub fn in_own_network(test: &str, setup: &str, body: impl Future<Output = ()>) {
    const INSIDE: &str = "GREENROOM_FAULTS_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().expect("a runtime").block_on(body);
        return;
    }
    let namespace = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-c"]);
        command
    };
    let probe = namespace().arg(setup).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: needs unshare, ip and tc, and the right to make a network namespace");
        return;
    }
    let output = namespace()
        .arg(format!("{setup}; exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("a process");
    // Its closing line is not one of ours to whoever counts them.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines().filter(|line| !line.starts_with("test ")).for_each(|line| println!("{line}"));
    assert!(output.status.success(), "{test} failed in its own network");
}
