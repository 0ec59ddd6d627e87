//! A publisher whose packets are lost on their way to the server.

use std::time::Duration;

use signaling::media::{Audience, MediaEvent, Seat};

use greenroom::load::network::Conditions;

use crate::world::{CLEAN, World};
use crate::{ROOM, seeds, whole_frames};

/// Far, and three packets of ten are lost on the way up.
const LOSSY: Conditions =
    Conditions { delay: Duration::from_millis(50), loss: 0.3, ..Conditions::CLEAN };
const FAR: Conditions = Conditions { loss: 0.0, ..LOSSY };
const PACKETS: u16 = 4;
const SECONDS: u64 = 20;

#[test]
fn an_uplink_that_loses_is_repaired_without_asking_twice_and_viewers_learn_for_how_long_to_wait() {
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        let mut world = World::new(seed, 2, CLEAN);
        let host = world.add_publisher(ROOM, 0, PACKETS, 65_000);
        let viewers = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        let publisher = world.peer_of(host);
        world.links[publisher].down.set(world.now, FAR);
        world.links[publisher].up.set(world.now, FAR);
        world.run_for(Duration::from_secs(3));
        let told = |world: &World, expected: fn(u16) -> bool| {
            let fits =
                |event: &MediaEvent| matches!(event, MediaEvent::RepairsTake(ms) if expected(*ms));
            world.saw(host, fits)
        };
        assert!(!told(&world, |_| true), "nothing was lost yet");
        world.links[publisher].up.set(world.now, LOSSY);
        world.run_for(Duration::from_secs(SECONDS));
        for viewer in viewers {
            let frames = whole_frames(&world, viewer);
            let span = frames.last().unwrap() - frames.first().unwrap() + 1;
            let share = frames.len() as f64 / f64::from(span);
            assert!(share > 0.97, "seed {seed}: {share} of {span} frames whole");
        }
        // One round trip after a frame was noticed to be missing, and some were lost again.
        assert!(told(&world, |ms| (250..=500).contains(&ms)), "seed {seed}");
        let publish = world.peers[publisher].publish();
        let sent = SECONDS as f64 * 30.0 * f64::from(PACKETS);
        // Each of them 1 / 0.7 times.
        let asked = f64::from(publish.nacked) / (0.3 * sent);
        assert!((1.2..1.6).contains(&asked), "seed {seed}: each lost packet {asked} times");
        assert!(publish.key_frame_requests <= 10, "{}", publish.key_frame_requests);
        world.links[publisher].up.set(world.now, FAR);
        world.run_for(Duration::from_secs(12));
        assert!(told(&world, |ms| ms == 0), "seed {seed}: it is over");
    }
}
