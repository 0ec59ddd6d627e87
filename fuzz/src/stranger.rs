//! Whoever may send to a shard: checks with and without the right password, from many addresses, over UDP and TCP,
//! and any bytes. Nothing panics, only an authentic check is answered, once, and no bytes go elsewhere.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::hmac;
use greenroom::sfu::Sfu;
use greenroom::sfu::command::{Purpose, ShardCommand, TransportSpec};
use greenroom::sfu::egress::{Batch, ConnectionId, Egress, Path};
use greenroom::sfu::transport::{
    DtlsRole, Fingerprint, IceCredentials, Remote, SrtpProfiles, StunRequest,
};
use signaling::media::{CloseReason, MediaEvent, TransportId};

use super::cores::{Cores, ROOM};
use super::script::Script;

const MAX_STEPS: usize = 400;
const PASSWORD: &str = "password-of-the-server";
/// Transports that may be spoken to.
const TRANSPORTS: u8 = 4;

/// The target.
pub fn stranger(data: &[u8]) {
    let mut script = Script(data);
    let mut street = Street::new();
    for _ in 0..MAX_STEPS {
        let Some(step) = script.step() else { break };
        street.step(step, &mut script);
    }
    street.pass(Duration::from_secs(31));
    // Nobody was ever let in: no keys, and no transport without them lasts.
    assert_eq!(street.core.transports(), 0);
    assert_eq!(street.core.counters().handshakes, 0);
}

struct Street {
    core: Sfu,
    now: std::time::Instant,
    handled: u64,
    /// Where an authentic check came from.
    authentic: BTreeSet<Path>,
    restarts: u8,
}

impl Street {
    fn new() -> Self {
        let Cores { cores, now, .. } = Cores::new(1, 7);
        let core = cores.into_iter().next().expect("one shard");
        let mut street = Self { core, now, handled: 0, authentic: BTreeSet::new(), restarts: 0 };
        for number in 0..TRANSPORTS {
            street.add(number);
        }
        street
    }

    fn add(&mut self, number: u8) {
        // One whose answer has not come, and both DTLS roles.
        let role = if number == 1 { DtlsRole::Client } else { DtlsRole::Server };
        let ice = IceCredentials { ufrag: "peer".into(), password: "p".repeat(22) };
        let remote = Remote { ice, fingerprint: Fingerprint([number; 32]), role };
        let spec = TransportSpec {
            id: TransportId::new(0, number.into()),
            room: ROOM,
            local_ice: IceCredentials { ufrag: ufrag(number, 0), password: PASSWORD.into() },
            remote: (number != 0).then_some(remote),
            srtp: if number == 2 { SrtpProfiles::GcmOnly } else { SrtpProfiles::GcmOrCm },
            data_channels: true,
            lost_after: Duration::from_secs(3),
            purpose: Purpose::Watch { tracks: Vec::new(), backstage: false, own_seat: None },
        };
        self.act(None, |core, now, egress| {
            core.handle_command(now, ShardCommand::AddTransport(Box::new(spec)), egress);
        });
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let path = place(script.byte());
        match step % 8 {
            0 => self.pass(Duration::from_millis(10 * u64::from(script.byte()))),
            1 | 2 => {
                let request = request(script);
                self.datagram(path, request);
            }
            3 | 4 => self.datagram(path, script.block().to_vec()),
            5 => {
                // A DTLS record with a true length.
                let mut record = vec![20 + script.byte() % 6, 0xfe, 0xfd, 0, script.byte() % 3];
                record.extend_from_slice(&[0, 0, 0, 0, 0, script.byte()]);
                let body = script.block();
                record.extend_from_slice(&(body.len() as u16).to_be_bytes());
                record.extend_from_slice(body);
                self.datagram(path, record);
            }
            6 => {
                self.core.path_closed(path);
                let _ = self.core.sends_on(&path);
            }
            _ => {
                let number = script.byte() % TRANSPORTS;
                self.restarts = self.restarts.wrapping_add(1) % 4;
                let ufrag = ufrag(number, self.restarts);
                let local = IceCredentials { ufrag, password: PASSWORD.into() };
                let id = TransportId::new(0, number.into());
                self.act(None, |core, now, egress| {
                    let command = ShardCommand::RestartIce { id, local, remote: None };
                    core.handle_command(now, command, egress);
                });
            }
        }
    }

    fn datagram(&mut self, path: Path, mut bytes: Vec<u8>) {
        self.handled += 1;
        let request = StunRequest::parse(&bytes).ok();
        if request.is_some_and(|request| request.check_integrity(PASSWORD).is_ok()) {
            self.authentic.insert(path);
        }
        self.act(Some((path, bytes.len())), |core, now, egress| {
            core.handle_datagram(now, path, &mut bytes, egress);
            core.flush(now, egress);
        });
        assert_eq!(self.core.counters().datagrams_in, self.handled);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut wakes = 0;
        while self.core.poll_timeout().is_some_and(|due| due <= self.now) {
            self.act(None, |core, now, egress| {
                core.handle_timeout(now, egress);
                core.flush(now, egress);
            });
            wakes += 1;
            assert!(wakes < 1000, "the core wakes up again and again");
        }
    }

    /// Do something to the core. `from` = where a datagram of so many bytes came from.
    fn act(
        &mut self,
        from: Option<(Path, usize)>,
        act: impl FnOnce(&mut Sfu, std::time::Instant, &mut Egress<'_>),
    ) {
        let mut out = Vec::new();
        let mut batch = Batch::new();
        let mut sink = |batch: &mut Batch| {
            out.extend(batch.messages.iter().map(|message| (message.path, message.len)));
            batch.clear();
        };
        let mut egress = Egress::new(&mut batch, &mut sink);
        act(&mut self.core, self.now, &mut egress);
        egress.flush();
        for (path, _) in &out {
            assert!(self.authentic.contains(path), "sent to where no check came from: {path:?}");
        }
        if let Some((from, len)) = from.filter(|(from, _)| !self.authentic.contains(from)) {
            assert!(out.is_empty(), "{len} bytes of a stranger at {from:?} are answered");
        }
        while let Some(event) = self.core.poll_event() {
            assert!(!matches!(event.event, MediaEvent::Closed(CloseReason::Internal)));
        }
    }
}

fn ufrag(transport: u8, restart: u8) -> String {
    format!("s{transport}{restart}")
}

/// Some addresses, some of them on one host; UDP and TCP.
fn place(byte: u8) -> Path {
    let port = 5000 + u16::from(byte >> 2 & 7);
    let v6 = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), port));
    let v4 = SocketAddr::from(([192, 0, 2, byte >> 5], port));
    match byte & 3 {
        0 | 1 => Path { local: 0, remote: v4 },
        2 => Path { local: 1, remote: v6 },
        _ => Path::tcp(v4, ConnectionId { slot: byte.into(), generation: 1 }),
    }
}

/// A Binding request as the input wants it: attributes of its own before and behind the HMAC, which is right or not.
fn request(script: &mut Script<'_>) -> Vec<u8> {
    let (form, who) = (script.byte(), script.byte());
    let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend_from_slice(&[form; 12]);
    let name = format!("{}:peer", ufrag(who & 3, who >> 2 & 3));
    attribute(&mut bytes, 0x0006, name.as_bytes());
    if form & 1 != 0 {
        attribute(&mut bytes, 0x0025, &[]);
    }
    for _ in 0..form >> 1 & 3 {
        let kind = script.word();
        attribute(&mut bytes, kind, script.block());
    }
    let length = bytes.len() - 20 + 24;
    bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    let password = if form & 8 == 0 { PASSWORD } else { "somebody else's password" };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let mac = hmac::sign(&key, &bytes);
    attribute(&mut bytes, 0x0008, mac.as_ref());
    for _ in 0..form >> 4 & 3 {
        let kind = script.word();
        attribute(&mut bytes, kind, script.block());
    }
    let length = bytes.len() - 20;
    bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    bytes
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
