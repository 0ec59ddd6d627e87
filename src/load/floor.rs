//! The yardstick: what sealing and sending alone cost on this machine, by the server's own send
//! call, to as many sockets, read the same way.
//!
//! What a server adds to it is receiving, deciding and rewriting; what lies in it is the kernel and
//! the cipher.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use clap::Args;
use serde_json::{Value, json};

use crate::net::client::{self, Datagrams};
use crate::net::send_counters::SendCounters;
use crate::net::socket::BufferSizes;
use crate::net::thread::cpu_time_us;
use crate::net::udp::{SendArena, Socket};
use crate::sfu::egress::{Batch, Egress, Path};

const HEADER: usize = 12;
const TAG: usize = 16;
/// Frames sent before the measurement.
const WARM_UP: u32 = 10;
/// Between two rounds of reads, and the rounds in which every socket is read once.
const READ_STEP: Duration = Duration::from_millis(1);
const READ_STEPS: usize = 12;

/// What to measure.
#[derive(Debug, Clone, Args)]
#[command(max_term_width = 100)]
pub struct FloorOptions {
    /// Sockets to send to; may be a list
    #[arg(long, value_delimiter = ',', default_value = "100,400")]
    pub viewers: Vec<usize>,
    /// Packets of one message; may be a list
    #[arg(long, value_delimiter = ',', default_value = "1,2,5,10")]
    pub packets_per_frame: Vec<usize>,
    /// Frames per second
    #[arg(long, default_value_t = 30.0)]
    pub fps: f64,
    /// Bytes of one packet: RTP header, payload and GCM tag
    #[arg(long, default_value_t = 1200)]
    pub packet_bytes: usize,
    /// Seconds of each of the two parts, sending alone and sending what was sealed
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Send here instead of to sockets of our own: an address behind a device that takes packets
    /// and drops them, such as a dummy or ifb one. Leaves out what receiving costs
    #[arg(long, value_name = "ADDRESS")]
    pub blackhole: Option<IpAddr>,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// Thread CPU per packet that reached its socket, µs.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    /// Sockets sent to.
    pub viewers: usize,
    /// Packets of one message.
    pub packets_per_frame: usize,
    /// Sending alone.
    pub send_us: f64,
    /// AES-128-GCM sealing with one key per socket, and sending.
    pub seal_and_send_us: f64,
}

impl Floor {
    /// Measure one row.
    ///
    /// # Errors
    /// Out of descriptors, or options that make no sense.
    pub fn measure(
        options: &FloorOptions,
        viewers: usize,
        packets_per_frame: usize,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            (1..=10_000).contains(&viewers)
                && (1..=50).contains(&packets_per_frame)
                && (100..=1300).contains(&options.packet_bytes)
                && (1.0..=1000.0).contains(&options.fps)
                && (0.1..=3600.0).contains(&options.seconds),
            "1 to 10000 viewers, 1 to 50 packets of 100 to 1300 bytes, 1 to 1000 frames/s"
        );
        let part = |seal| Part { options, viewers, packets_per_frame, seal }.run();
        Ok(Self {
            viewers,
            packets_per_frame,
            send_us: part(false)?,
            seal_and_send_us: part(true)?,
        })
    }

    /// As one object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "viewers": self.viewers,
            "packets_per_frame": self.packets_per_frame,
            "send_us_per_packet": self.send_us,
            "seal_and_send_us_per_packet": self.seal_and_send_us,
        })
    }
}

/// The head of the table that [`line()`] fills.
pub const HEAD: &str = " viewers  packets a message  send µs/packet  seal + send µs/packet";

/// One row for people.
#[must_use]
pub fn line(floor: &Floor) -> String {
    format!(
        "{:>8} {:>18} {:>15.2} {:>22.2}",
        floor.viewers, floor.packets_per_frame, floor.send_us, floor.seal_and_send_us
    )
}

/// CPU time of the sending thread and the packets it sent in that time; those of the warm-up too.
struct Sent {
    us: u64,
    packets: u64,
    all: u64,
}

struct Part<'a> {
    options: &'a FloorOptions,
    viewers: usize,
    packets_per_frame: usize,
    seal: bool,
}

impl Part<'_> {
    fn run(&self) -> anyhow::Result<f64> {
        let own = match self.options.blackhole {
            None => IpAddr::from(Ipv4Addr::LOCALHOST),
            // Whichever address leads there.
            Some(address) => client::open(SocketAddr::new(address, 9), None)?.local_addr()?.ip(),
        };
        let socket = Socket::bind(SocketAddr::new(own, 0), BufferSizes::default())?;
        if let Some(address) = self.options.blackhole {
            let remotes: Vec<SocketAddr> =
                (0..self.viewers).map(|n| SocketAddr::new(address, 20_000 + n as u16)).collect();
            let sent = self.send(&socket, &remotes)?;
            return Ok(sent.us as f64 / sent.packets.max(1) as f64);
        }
        let sockets = (0..self.viewers).map(|index| {
            let own = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + index as u32);
            client::open(socket.address(), Some(own.into()))
        });
        let sockets = sockets.collect::<Result<Vec<UdpSocket>, _>>()?;
        let remotes =
            sockets.iter().map(UdpSocket::local_addr).collect::<Result<Vec<SocketAddr>, _>>()?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| read(&sockets, &over));
            let sent = self.send(&socket, &remotes);
            // What is on its way was paid for.
            thread::sleep(READ_STEP * 2 * READ_STEPS as u32);
            over.store(true, Ordering::Relaxed);
            let read = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
            let sent = sent?;
            // All frames arrive alike, so what was lost counts against the measured ones too.
            let arrived = read as f64 / sent.all.max(1) as f64;
            Ok(sent.us as f64 / (sent.packets as f64 * arrived).max(1.0))
        })
    }

    fn send(&self, socket: &Socket, remotes: &[SocketAddr]) -> anyhow::Result<Sent> {
        let mut keys = Vec::new();
        for index in 0..remotes.len() {
            let bytes: [u8; 16] = std::array::from_fn(|at| (index >> (at % 4)) as u8);
            let key = UnboundKey::new(&AES_128_GCM, &bytes);
            keys.push(LessSafeKey::new(key.map_err(|_| anyhow::anyhow!("no key"))?));
        }
        let (mut arena, mut batch) = (SendArena::new(), Batch::new());
        let mut counters = SendCounters::default();
        let gap = Duration::from_secs_f64(1.0 / self.options.fps);
        let frames = WARM_UP + (self.options.seconds * self.options.fps).ceil() as u32;
        let start = Instant::now();
        let (mut before, mut warm) = (0, 0);
        for frame in 0..frames {
            thread::sleep((start + gap * frame).saturating_duration_since(Instant::now()));
            if frame == WARM_UP {
                (before, warm) = (total_us(), counters.datagrams);
            }
            let now = Instant::now();
            let mut sink = |batch: &mut Batch| {
                socket.send_batch(&mut arena, batch, 0, now, &mut counters);
                batch.clear();
            };
            let mut egress = Egress::new(&mut batch, &mut sink);
            for (remote, key) in remotes.iter().zip(&keys) {
                self.message(&mut egress, *remote, key, frame)?;
            }
            egress.flush();
        }
        let us = total_us() - before;
        Ok(Sent { us, packets: counters.datagrams - warm, all: counters.datagrams })
    }

    fn message(
        &self,
        egress: &mut Egress,
        remote: SocketAddr,
        key: &LessSafeKey,
        frame: u32,
    ) -> anyhow::Result<()> {
        static PAYLOAD: [u8; 1500] = [0x5a; 1500];
        let size = self.options.packet_bytes;
        let start = egress.begin();
        for packet in 0..self.packets_per_frame {
            let out = egress.buffer();
            let at = out.len();
            let number = (frame * 64 + packet as u32).to_be_bytes();
            out.extend_from_slice(&[0x80, 96, number[2], number[3], 0, 0, 0, 0, 0, 0, 0, 1]);
            out.extend_from_slice(&PAYLOAD[..size - HEADER - TAG]);
            if !self.seal {
                out.extend_from_slice(&PAYLOAD[..TAG]);
                continue;
            }
            let mut nonce = [0; 12];
            nonce[8..].copy_from_slice(&number);
            let (header, body) = out[at..].split_at_mut(HEADER);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body);
            out.extend_from_slice(tag.map_err(|_| anyhow::anyhow!("sealing"))?.as_ref());
        }
        egress.commit(Path { local: 0, remote }, start, size);
        Ok(())
    }
}

fn total_us() -> u64 {
    let (user, system) = cpu_time_us();
    user + system
}

/// Packets that arrived.
fn read(sockets: &[UdpSocket], over: &AtomicBool) -> std::io::Result<u64> {
    let (mut datagrams, mut count) = (Datagrams::new(), 0);
    while !over.load(Ordering::Relaxed) {
        for part in sockets.chunks(sockets.len().div_ceil(READ_STEPS)) {
            for socket in part {
                datagrams.drain(socket, |_, _| count += 1)?;
            }
            thread::sleep(READ_STEP);
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_one() {
        let options = FloorOptions {
            viewers: vec![],
            packets_per_frame: vec![],
            fps: 200.0,
            packet_bytes: 1200,
            seconds: 0.2,
            blackhole: None,
            json: false,
        };
        let floor = Floor::measure(&options, 20, 5).unwrap();
        assert!(floor.send_us > 0.0 && floor.seal_and_send_us > 0.0, "{floor:?}");
        assert!(line(&floor).trim_start().starts_with("20 "));
        assert!(Floor::measure(&options, 0, 5).is_err());
    }
}
