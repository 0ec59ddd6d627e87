//! Counts what a forwarded packet takes in numbers that do not depend on the machine's speed:
//! messages, send calls and allocations per packet, which must not grow, and (run by
//! `scripts/count` under callgrind) instructions.

#[path = "../../rig/mod.rs"]
mod rig;

use std::process::ExitCode;

use greenroom::sfu::transport::Profile;
use rig::{FRAME_PACKETS, Rig, Sent};

/// Viewers and frames: enough that what happens once per frame is a small part.
const VIEWERS: u16 = 64;
const FRAMES: u64 = 30;

fn main() -> ExitCode {
    if cfg!(debug_assertions) {
        eprintln!("debug builds remember every nonce, which allocates: build with --release");
        return ExitCode::FAILURE;
    }
    let ok = [(1, false), (2, false), (2, true)].map(|(shards, sound)| count(shards, sound));
    if ok.iter().all(|ok| *ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Count on so many shards, with or without a packet of sound for each frame; whether everything
/// is as it must be.
fn count(shards: u8, sound: bool) -> bool {
    let mut rig = Rig::on(shards, VIEWERS, Profile::Gcm);
    rig.sound = sound;
    rig.warm_up();
    let relayed = rig.cores[0].counters().relayed_out;
    let mut allocations = 0;
    for _ in 0..FRAMES {
        let mut frame = rig.frame();
        let forward = || {
            if shards == 1 && !sound {
                measured(&mut rig, &mut frame)
            } else {
                rig.forward(&mut frame)
            }
        };
        allocations += allocation_counter::measure(forward).count_total;
    }
    let relayed = rig.cores[0].counters().relayed_out - relayed;
    let Sent { calls, messages, packets, bytes } = rig.sent;
    let in_frame = u64::from(FRAME_PACKETS) + u64::from(sound);
    let expected = u64::from(VIEWERS) * in_frame * FRAMES;
    println!(
        "shards {shards}, frames {FRAMES}, viewers {VIEWERS}, packets forwarded {packets} of {expected}"
    );
    println!("bytes per packet        {:.1}", bytes as f64 / packets as f64);
    println!("packets per message     {:.2}", packets as f64 / messages as f64);
    println!("messages per send call  {:.2}", messages as f64 / calls as f64);
    println!("send calls per packet   {:.4}", calls as f64 / packets as f64);
    println!("relays per frame        {:.2}", relayed as f64 / FRAMES as f64);
    println!("allocations             {allocations}");
    let checks = [
        ("every packet is forwarded", packets == expected),
        ("a frame and its sound are one message", messages * in_frame == packets),
        ("sixteen messages are one call", calls * 16 == messages),
        (
            "frame and sound cross once to each other shard",
            relayed == FRAMES * u64::from(shards - 1) * (1 + u64::from(sound)),
        ),
        ("nothing is allocated", allocations == 0),
    ];
    let failed = checks.iter().filter(|(_, holds)| !holds).map(|(name, _)| name);
    failed.inspect(|name| println!("FAILED: {name}")).count() == 0
}

/// The function that `scripts/count` tells callgrind to count in, by this name.
#[inline(never)]
fn measured(rig: &mut Rig, frame: &mut [Vec<u8>]) {
    rig.forward(frame);
}
