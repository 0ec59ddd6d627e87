//! A viewer's join without its handshake: the server's offer or answer, the client's SDP read, the
//! transport made in the core, and its end.
//!
//! `cargo bench --bench join`
#![expect(clippy::disallowed_methods, reason = "criterion measures time, and reads the corpus")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use greenroom::net::negotiation::{Address, Identity, Negotiation};
use greenroom::sfu::command::ShardCommand;
use greenroom::sfu::egress::{Batch, Egress};
use greenroom::sfu::transport::{Fingerprint, IceCredentials, Shared};
use greenroom::sfu::{Sfu, SfuConfig};
use signaling::media::{CloseReason, RoomKey, Seat, TransportId};

/// A core and what a join needs.
struct Server {
    core: Sfu,
    batch: Batch,
    now: Instant,
    fingerprint: Fingerprint,
    candidates: Vec<SocketAddr>,
    next: u64,
}

impl Server {
    fn new() -> Self {
        let shared = Arc::new(Shared::generate().expect("a certificate"));
        Self {
            fingerprint: shared.fingerprint(),
            core: Sfu::new(SfuConfig::default(), 0, shared, 1),
            batch: Batch::new(),
            now: Instant::now(),
            candidates: vec![SocketAddr::from(([192, 0, 2, 1], 7882))],
            next: 0,
        }
    }

    fn next(&mut self) -> (Address, (IceCredentials, u64)) {
        self.next += 1;
        let ufrag = format!("server{}", self.next);
        let ice = IceCredentials { ufrag, password: "password-of-the-server".to_owned() };
        (Address { id: TransportId::new(0, self.next), room: RoomKey(1) }, (ice, self.next))
    }

    fn command(&mut self, command: ShardCommand) {
        let mut sink = |batch: &mut Batch| batch.clear();
        let mut egress = Egress::new(&mut self.batch, &mut sink);
        self.core.handle_command(self.now, command, &mut egress);
        egress.flush();
        while self.core.poll_event().is_some() {}
    }

    fn close(&mut self, id: TransportId) {
        self.command(ShardCommand::Close { id, reason: CloseReason::Requested });
    }
}

fn corpus(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/sdp").join(file);
    String::from_utf8(std::fs::read(path).expect("a description")).expect("text")
}

fn join(c: &mut Criterion) {
    let mut group = c.benchmark_group("join");
    let offer = corpus("whep/chromium-recv.sdp");
    let mut server = Server::new();
    let mut ssrc = 0u32;
    let mut ssrc = || {
        ssrc = ssrc.wrapping_add(1) | 1;
        ssrc
    };
    group.bench_function("whep: offer, answer, transport, close", |b| {
        b.iter(|| {
            let (address, ours) = server.next();
            let id = address.id;
            let identity = Identity {
                fingerprint: server.fingerprint,
                candidates: &server.candidates,
                tcp_candidates: &server.candidates,
                ssltcp_candidates: &[],
                audio_red: true,
            };
            let (_, step) =
                Negotiation::whep(address, &offer, Seat::HOST, ours, identity, &mut ssrc)
                    .expect("a player's offer");
            server.command(step.command);
            server.close(id);
            step.reply.sdp.len()
        });
    });
    let answer = corpus("watch-answer/chromium-2.sdp");
    group.bench_function("watch: offer with two guests, transport, answer, close", |b| {
        b.iter(|| {
            let (address, ours) = server.next();
            let id = address.id;
            let identity = Identity {
                fingerprint: server.fingerprint,
                candidates: &server.candidates,
                tcp_candidates: &server.candidates,
                ssltcp_candidates: &[],
                audio_red: true,
            };
            let (mut negotiation, step) =
                Negotiation::watch(address, (2, false, None), ours, identity, &mut ssrc);
            server.command(step.command);
            let accepted = negotiation.watch_answer(id, &answer).expect("a viewer's answer");
            server.command(accepted);
            server.close(id);
            step.reply.len()
        });
    });
    group.finish();
}

criterion_group!(benches, join);
criterion_main!(benches);
