//! What a viewer is sent leaves at a pace that its network takes.

use std::time::Duration;

use greenroom::load::network::{Conditions, Queue};
use greenroom::sfu::drop_reason::DropReason;
use signaling::media::{Audience, Seat};

use super::media::facts;
use super::world::{CLEAN, World};
use super::{ROOM, present_layer, seeds, whole_frames};

const DELAY: Duration = Duration::from_millis(20);

fn dropped(world: &World, reason: DropReason) -> u64 {
    world.shards.iter().map(|shard| shard.counters().dropped(reason)).sum()
}

fn again(world: &World) -> u64 {
    world.shards.iter().map(|shard| shard.counters().retransmissions).sum()
}

#[test]
fn a_key_frame_larger_than_the_queue_of_the_network_loses_nothing() {
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        // 75 KB fit into the queue; a key frame has 115.
        let queue = Queue::Time(Duration::from_millis(120));
        let narrow = Conditions { rate_bps: Some(5_000_000), queue, delay: DELAY, ..CLEAN };
        let mut world = World::new(seed, 2, narrow);
        let host = world.add_publisher(ROOM, 0, 8, 100);
        let publisher = world.peer_of(host);
        world.peers[publisher].publish().key_packets = Some(120);
        world.links[publisher].up.set(world.now, CLEAN);
        let viewer = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        world.run_for(Duration::from_secs(4));
        world.links[viewer].down.take_counts();
        for _ in 0..5 {
            world.peers[publisher].publish().key_frame_wanted = true;
            world.run_for(Duration::from_secs(1));
        }
        let counts = world.links[viewer].down.take_counts();
        assert!(counts.delivered > 5 * (120 + 29 * 8), "{counts:?}");
        assert_eq!(counts.lost_queue, 0);
        let (frame, ..) = facts(world.peers[viewer].watch().received.values().next_back().unwrap());
        assert!(frame + 6 >= 9 * 30, "not behind for long: frame {frame}");
        assert_eq!(dropped(&world, DropReason::PacedOut), 0);
    }
}

#[test]
fn a_network_too_slow_for_the_least_there_is_neither_fills_its_queue_nor_asks_for_key_frames_all_the_time()
 {
    for seed in seeds(2) {
        println!("SIM_SEED={seed}");
        let wide = Conditions { rate_bps: Some(10_000_000), delay: DELAY, ..CLEAN };
        let mut world = World::new(seed, 2, wide);
        // 920 kbit/s.
        let host = world.add_publisher(ROOM, 0, 4, 100);
        let publisher = world.peer_of(host);
        world.peers[publisher].publish().key_packets = Some(16);
        let slow = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        let other = world.add_viewer(ROOM, 1, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        world.run_for(Duration::from_secs(4));
        let rate = Conditions { rate_bps: Some(150_000), ..wide };
        world.links[slow].down.set(world.now, rate);
        let before = world.peers[publisher].publish().key_frame_requests;
        world.run_for(Duration::from_secs(20));
        assert!(dropped(&world, DropReason::PacedOut) > 0, "given up by name");
        let asked = world.peers[publisher].publish().key_frame_requests - before;
        assert!(asked <= 8, "{asked} key frames in 20 s for one viewer's sake");
        assert_eq!(
            whole_frames(&world, other).len(),
            other_frames(&world, other),
            "the other has it all"
        );

        world.links[slow].down.set(world.now, wide);
        world.run_for(Duration::from_secs(18));
        let from = world.peers[slow].watch().received.len();
        world.run_for(Duration::from_secs(2));
        let got = world.peers[slow].watch().received.len() - from;
        assert!(got >= 55 * 4, "live again: {got} packets in 2 s");
    }
}

/// Frames from the first to the last that came.
fn other_frames(world: &World, viewer: usize) -> usize {
    let frames = whole_frames(world, viewer);
    (frames[frames.len() - 1] - frames[0] + 1) as usize
}

#[test]
fn what_a_viewer_loses_of_a_layer_that_it_is_about_to_leave_is_not_sent_again() {
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        let queue = Queue::Time(Duration::from_millis(300));
        let far = Duration::from_millis(50);
        let wide = Conditions { rate_bps: Some(5_000_000), queue, delay: far, ..CLEAN };
        let mut world = World::new(seed, 2, wide);
        // Layers of 460, 920 and 1850 kbit/s.
        let host = world.add_layers(ROOM, 0, 2);
        let publisher = world.peer_of(host);
        let slow = Conditions { delay: Duration::from_millis(150), ..CLEAN };
        world.links[publisher].up.set(world.now, slow);
        let viewer = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        world.run_for(Duration::from_secs(8));
        assert_eq!(present_layer(&world, viewer), 8);
        let before = again(&world);
        let narrow = Conditions { rate_bps: Some(600_000), ..wide };
        world.links[viewer].down.set(world.now, narrow);
        let begin = world.now;
        while present_layer(&world, viewer) == 8 {
            world.run_for(Duration::from_millis(20));
        }
        let took = world.now - begin;
        assert!(took <= Duration::from_millis(1_200), "a lower layer after {took:?}");
        assert!(dropped(&world, DropReason::NackOvertaken) > 20, "refused by name");
        assert_eq!(again(&world), before);
    }
}

#[test]
fn what_a_break_of_300_ms_lost_is_sent_again_once() {
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        let queue = Queue::Time(Duration::from_millis(300));
        let far = Duration::from_millis(50);
        let narrow = Conditions { rate_bps: Some(2_000_000), queue, delay: far, ..CLEAN };
        let mut world = World::new(seed, 2, narrow);
        // 1.3 Mbit/s: 54 packets are lost, and take 200 ms to come again.
        let host = world.add_publisher(ROOM, 0, 6, 100);
        let publisher = world.peer_of(host);
        world.links[publisher].up.set(world.now, CLEAN);
        let viewer = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        world.run_for(Duration::from_secs(6));
        let before = again(&world);
        let end = world.now + Duration::from_millis(300);
        world.links[viewer].down.outage(world.now, end);
        world.links[viewer].up.outage(world.now, end);
        world.run_for(Duration::from_secs(1));
        let sent = again(&world) - before;
        println!("{sent} sent again");
        assert!((45..=62).contains(&sent), "{sent} of 54 sent again");
        assert!(world.peers[viewer].watch().missing(60).is_empty(), "and all of it came");
    }
}
