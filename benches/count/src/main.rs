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
    let mut rig = Rig::new(VIEWERS, Profile::Gcm);
    rig.warm_up();
    let mut allocations = 0;
    for _ in 0..FRAMES {
        let mut frame = rig.frame();
        allocations += allocation_counter::measure(|| measured(&mut rig, &mut frame)).count_total;
    }
    let Sent { calls, messages, packets, bytes } = rig.sent;
    let expected = u64::from(VIEWERS) * u64::from(FRAME_PACKETS) * FRAMES;
    let per_packet = |n: u64| n as f64 / packets as f64;
    println!("frames {FRAMES}, viewers {VIEWERS}, packets forwarded {packets} of {expected}");
    println!("bytes per packet        {:.1}", per_packet(bytes));
    println!("packets per message     {:.2}", packets as f64 / messages as f64);
    println!("messages per send call  {:.2}", messages as f64 / calls as f64);
    println!("send calls per packet   {:.4}", per_packet(calls));
    println!("allocations             {allocations}");
    let checks = [
        ("every packet is forwarded", packets == expected),
        ("a frame is one message", messages * u64::from(FRAME_PACKETS) == packets),
        ("sixteen messages are one call", calls * 16 == messages),
        ("nothing is allocated", allocations == 0),
    ];
    let failed = checks.iter().filter(|(_, holds)| !holds).map(|(name, _)| name);
    let failed = failed.inspect(|name| println!("FAILED: {name}")).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The function that `scripts/count` tells callgrind to count in, by this name.
#[inline(never)]
fn measured(rig: &mut Rig, frame: &mut [Vec<u8>]) {
    rig.forward(frame);
}
