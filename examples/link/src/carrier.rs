//! The devices, and what goes on between them.
#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use greenroom::load::network::{Conditions, Link};
use serde_json::json;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::command::{Command, Totals};

/// Bytes of the largest IP packet that a device hands over: what Ethernet carries. A narrower
/// path is the model's `mtu`, which drops without a word as a bad path does.
const DEVICE_MTU: u16 = 1500;

/// Packets that may wait in a device until its thread reads them: a key frame of a second's
/// bytes at 20 Mbit/s. A device drops what is past it, and no count of ours would show it.
const DEVICE_PACKETS: u32 = 2000;

/// IANA's number of the protocol.
const UDP: u8 = 17;

/// A bad network between two TUN devices.
#[derive(Debug, Parser)]
pub struct Options {
    /// Name of the device on the server's side
    #[arg(long, default_value = "gr-server")]
    server: String,
    /// Name of the device on the client's side
    #[arg(long, default_value = "gr-client")]
    client: String,
    /// Conditions from the client to the server, as "rate=5m delay=50ms loss=0.05"
    #[arg(long, default_value = "", value_parser = conditions)]
    up: Conditions,
    /// Conditions from the server to the client
    #[arg(long, default_value = "", value_parser = conditions)]
    down: Conditions,
    /// Seed of losses and jitter
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn conditions(words: &str) -> Result<Conditions, String> {
    Conditions::CLEAN.changed(words)
}

enum Event {
    FromClient(Vec<u8>),
    FromServer(Vec<u8>),
    Line(String),
    End,
}

/// Carry packets until standard input ends.
///
/// # Errors
/// A device cannot be made or read.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let server = device(&options.server)?;
    let client = device(&options.client)?;
    let (sender, events) = channel();
    read(server.clone(), sender.clone(), Event::FromServer);
    read(client.clone(), sender.clone(), Event::FromClient);
    thread::spawn(move || commands(&sender));
    println!("{}", json!({ "ready": { "server": options.server, "client": options.client } }));
    let link = Link::new(options.seed, options.up, options.down);
    Carrier { server, client, link, totals: Totals::default() }.run(&events)
}

fn device(name: &str) -> anyhow::Result<Arc<SyncDevice>> {
    let device = DeviceBuilder::new()
        .name(name)
        .mtu(DEVICE_MTU)
        .with(|linux| {
            linux.tx_queue_len(DEVICE_PACKETS);
        })
        .enable(false)
        .build_sync()
        .with_context(|| format!("TUN device {name} (needs root or CAP_NET_ADMIN)"))?;
    Ok(Arc::new(device))
}

/// A thread of its own per device: it sleeps in `read`, so that a packet has its true time.
fn read(device: Arc<SyncDevice>, events: Sender<Event>, from: fn(Vec<u8>) -> Event) {
    thread::spawn(move || {
        let mut buffer = vec![0; usize::from(DEVICE_MTU)];
        loop {
            let sent = match device.recv(&mut buffer) {
                Ok(bytes) => events.send(from(buffer[..bytes].to_vec())),
                Err(error) => {
                    eprintln!("reading a device: {error}");
                    events.send(Event::End)
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
}

fn commands(events: &Sender<Event>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if events.send(Event::Line(line)).is_err() {
            return;
        }
    }
    // The loop may have ended already.
    let _ = events.send(Event::End);
}

struct Carrier {
    server: Arc<SyncDevice>,
    client: Arc<SyncDevice>,
    link: Link<Vec<u8>>,
    totals: Totals,
}

impl Carrier {
    fn run(mut self, events: &Receiver<Event>) -> anyhow::Result<()> {
        loop {
            let event = match self.link.poll_timeout() {
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => events.recv().map_err(RecvTimeoutError::from),
            };
            let now = Instant::now();
            match event {
                Ok(Event::FromClient(packet)) if self.is_blocked(&packet) => {
                    self.totals.blocked.up += 1;
                }
                Ok(Event::FromServer(packet)) if self.is_blocked(&packet) => {
                    self.totals.blocked.down += 1;
                }
                Ok(Event::FromClient(packet)) => self.link.up.push(now, packet.len(), packet),
                Ok(Event::FromServer(packet)) => self.link.down.push(now, packet.len(), packet),
                Ok(Event::Line(line)) => self.obey(now, &line),
                Ok(Event::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Some(packet) = self.link.up.poll(now) {
                self.totals.refused.up += u64::from(self.server.send(&packet).is_err());
            }
            while let Some(packet) = self.link.down.poll(now) {
                self.totals.refused.down += u64::from(self.client.send(&packet).is_err());
            }
        }
    }

    /// By the protocol field of IPv4, or IPv6 without extension headers.
    fn is_blocked(&self, packet: &[u8]) -> bool {
        let protocol = match packet.first().map_or(0, |byte| byte >> 4) {
            4 => packet.get(9),
            6 => packet.get(6),
            _ => None,
        };
        self.totals.udp_blocked && protocol == Some(&UDP)
    }

    fn obey(&mut self, now: Instant, line: &str) {
        let answer = Command::parse(line)
            .and_then(|command| command.obey(now, &mut self.link, &mut self.totals));
        println!("{}", answer.unwrap_or_else(|why| json!({ "error": why })));
    }
}
