//! What a peer with keys says on its data channels: SCTP (RFC 9260), by hand, so that the input decides every chunk.
//! No packet makes an engine panic, what comes out is text within its limit, and abuse ends only its own transport.

use std::time::Duration;

use greenroom::sfu::command::{Purpose, ShardCommand};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use signaling::media::{Channel, CloseReason};

use super::cores::{Cores, Setup};
use super::script::Script;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const SACK: u8 = 3;
const COOKIE_ECHO: u8 = 10;
const COOKIE: u16 = 7;
/// The tag we choose for ourselves, and our first number.
const OUR_TAG: u32 = 0x0101_0101;
const FIRST: u32 = u32::MAX - 5;
const MAX_STEPS: usize = 200;
/// The largest message either way.
const MAX_MESSAGE: usize = 16 * 1024;

/// The target.
pub fn data(bytes: &[u8]) {
    let mut script = Script(bytes);
    let form = script.byte();
    let mut talk = Talk::new();
    if form & 1 == 0 {
        talk.associate();
    }
    for _ in 0..MAX_STEPS {
        let Some(step) = script.step() else { break };
        talk.step(step, &mut script);
        talk.read();
    }
    talk.cores.pass(Duration::from_secs(2));
    talk.read();
    talk.cores.check();
    assert!(talk.cores.told.closed.iter().all(|(_, reason)| {
        matches!(reason, CloseReason::Abuse | CloseReason::PeerClosed | CloseReason::Timeout)
    }));
}

struct Talk {
    cores: Cores,
    /// The tag the server wants to be called by.
    tag: u32,
    /// Our next number, the newest of the server.
    next: u32,
    newest: u32,
    cookie: Vec<u8>,
}

impl Talk {
    fn new() -> Self {
        let mut cores = Cores::new(1, 1);
        let purpose = Purpose::Watch { tracks: Vec::new(), backstage: false, own_seat: None };
        let profile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
        cores.add(0, purpose, Setup { profile, data_channels: true, connects: false });
        cores.connect();
        Self { cores, tag: 0, next: FIRST, newest: 0, cookie: Vec::new() }
    }

    fn send(&mut self, packet: &[u8]) {
        let now = self.cores.now;
        self.cores.members[0].peer.send_data(now, packet);
        self.cores.send_waiting(0);
    }

    /// Chunks in a packet whose header is right.
    fn send_chunks(&mut self, tag: u32, chunks: &[u8]) {
        let mut packet = vec![0x13, 0x88, 0x13, 0x88];
        packet.extend_from_slice(&tag.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(chunks);
        let sum = crc32c(&packet).to_le_bytes();
        packet[8..12].copy_from_slice(&sum);
        self.send(&packet);
    }

    fn init(&mut self, our_tag: u32) {
        let mut init = chunk(INIT, 0, &our_tag.to_be_bytes());
        init.extend_from_slice(&[0, 2, 0, 0, 0, 3, 0, 3]);
        init.extend_from_slice(&FIRST.to_be_bytes());
        init[3] = init.len() as u8;
        self.send_chunks(0, &init);
        self.read();
    }

    fn associate(&mut self) {
        self.init(OUR_TAG);
        assert!(!self.cookie.is_empty(), "an INIT is answered");
        self.echo();
        self.read();
    }

    fn echo(&mut self) {
        let cookie = self.cookie.clone();
        self.send_chunks(self.tag, &chunk(COOKIE_ECHO, 0, &cookie));
    }

    /// What the server said.
    fn read(&mut self) {
        while let Some(packet) = self.cores.members[0].peer.data.pop_front() {
            let mut chunks = packet.get(12..).expect("a whole header");
            while let [kind, _, high, low, ..] = *chunks {
                let len = usize::from(u16::from_be_bytes([high, low]));
                let value = chunks.get(4..len).expect("a whole chunk");
                match kind {
                    0 => self.newest = word(value, 0),
                    INIT | INIT_ACK => {
                        self.tag = word(value, 0);
                        self.newest = word(value, 12).wrapping_sub(1);
                        self.cookie = cookie(&value[16..]).unwrap_or_default();
                    }
                    _ => {}
                }
                chunks = chunks.get(len.next_multiple_of(4)..).unwrap_or_default();
            }
        }
        for (_, message) in self.cores.told.data.drain(..) {
            assert!(message.len() <= MAX_MESSAGE && std::str::from_utf8(&message).is_ok());
        }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step % 10 {
            0 => self.cores.pass(Duration::from_millis(20 * u64::from(script.byte()))),
            1 | 2 => {
                let (kind, flags) = (script.byte(), script.byte());
                let chunk = chunk(kind, flags, script.block());
                self.send_chunks(self.tag, &chunk);
            }
            3 | 4 => self.message(script),
            5 => self.acknowledge(script),
            6 => {
                let channel =
                    [Channel::Gifts, Channel::Events, Channel::Effects][script.byte() as usize % 3];
                let bytes = vec![b'x'; usize::from(script.byte()) * 65 + 1].into();
                let id = self.cores.members[0].id;
                self.cores.command(0, ShardCommand::SendData { id, channel, bytes });
            }
            7 => match script.byte() {
                0 => self.echo(),
                tag => self.init(OUR_TAG.wrapping_mul(u32::from(tag))),
            },
            8 => {
                let mut chunks = Vec::new();
                for _ in 0..=script.byte() % 4 {
                    let (kind, flags) = (script.byte(), script.byte());
                    chunks.extend(chunk(kind, flags, script.block()));
                    chunks.resize(chunks.len().next_multiple_of(4), 0);
                }
                self.send_chunks(self.tag, &chunks);
            }
            _ => {
                let bytes = script.block().to_vec();
                match bytes.first() {
                    // As they are, or as chunks.
                    Some(0x13) => self.send(&bytes),
                    _ => self.send_chunks(self.tag, &bytes),
                }
            }
        }
    }

    /// A piece of a message: which stream, which protocol, how numbered, first or last.
    fn message(&mut self, script: &mut Script<'_>) {
        let (form, ahead, order) = (script.byte(), script.byte() as i8, script.byte());
        let ppi = [51, 53, 56, 57, 50, 0, 51, 51][usize::from(form >> 5)];
        let mut value = self.next.wrapping_add_signed(ahead.into()).to_be_bytes().to_vec();
        self.next = self.next.wrapping_add(u32::from(ahead == 0));
        value.extend_from_slice(&[0, form >> 3 & 3, 0, order, 0, 0, 0, ppi]);
        value.extend_from_slice(script.block());
        let more = if order & 0x80 != 0 { usize::from(script.byte()) * 4 } else { 0 };
        value.resize(value.len() + more, b'x');
        self.send_chunks(self.tag, &chunk(0, form & 7, &value));
    }

    /// How much of what the server sent has come, with holes of the input.
    fn acknowledge(&mut self, script: &mut Script<'_>) {
        let behind = script.byte() as i8;
        let window = u32::from(script.word());
        let holes = script.block();
        let mut value = self.newest.wrapping_add_signed(-i32::from(behind)).to_be_bytes().to_vec();
        value.extend_from_slice(&window.to_be_bytes());
        value.extend_from_slice(&((holes.len() / 4) as u16).to_be_bytes());
        value.extend_from_slice(&[0, 0]);
        value.extend_from_slice(&holes[..holes.len() / 4 * 4]);
        self.send_chunks(self.tag, &chunk(SACK, 0, &value));
    }
}

fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, flags];
    out.extend_from_slice(&((4 + value.len()) as u16).to_be_bytes());
    out.extend_from_slice(value);
    out
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(*bytes[at..].first_chunk().expect("four bytes of the server's"))
}

/// The state cookie among the parameters of an INIT ACK.
fn cookie(mut parameters: &[u8]) -> Option<Vec<u8>> {
    loop {
        let [a, b, c, d] = *parameters.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([c, d]));
        if u16::from_be_bytes([a, b]) == COOKIE {
            return parameters.get(4..len).map(<[u8]>::to_vec);
        }
        parameters = parameters.get(len.next_multiple_of(4)..)?;
    }
}

/// RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
        crc
    })
}
