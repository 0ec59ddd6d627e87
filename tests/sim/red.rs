//! Sound in RED: who reads it hears through losses, and nobody else notices.

use std::collections::BTreeSet;
use std::time::Duration;

use greenroom::load::network::Conditions;
use signaling::media::{Audience, Seat};

use super::world::{CLEAN, World};
use super::{ROOM, present_layer, seeds};

/// A host whose sound comes in RED, just before some of the frames, and `viewers` of each kind on two shards: those who
/// read RED first.
fn show(seed: u64, viewers: u8) -> (World, usize, Vec<usize>, Vec<usize>) {
    let mut world = World::new(seed, 2, CLEAN);
    let late = Duration::from_millis(2 + seed % 4);
    let host = world.add_speaker(ROOM, 0, 5, 65_500, Some(late));
    let publisher = world.peer_of(host);
    world.peers[publisher].publish().sound.as_mut().unwrap().red = true;
    let read = (0..viewers).map(|n| world.add_red_viewer(ROOM, n % 2, Seat::HOST)).collect();
    let plain = (0..viewers).map(|n| world.add_viewer(ROOM, n % 2, Seat::HOST)).collect();
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    (world, publisher, read, plain)
}

fn sent(world: &mut World, publisher: usize) -> u32 {
    world.peers[publisher].publish().sound.as_ref().unwrap().sent
}

#[test]
fn everybody_hears_everything_once_and_who_reads_red_has_it_twice() {
    for seed in seeds(3) {
        println!("SIM_SEED={seed}");
        let (mut world, publisher, read, plain) = show(seed, 20);
        world.run_for(Duration::from_secs(6));
        let sent = sent(&mut world, publisher);
        for viewer in read.iter().chain(&plain) {
            let watch = world.peers[*viewer].watch();
            assert!(watch.sound.len() as u32 + 60 > sent, "{} of {sent}", watch.sound.len());
            for pair in watch.sound.windows(2) {
                let ((before, said), (after, says)) = (pair[0], pair[1]);
                assert_eq!((before.wrapping_add(1), said + 1), (after, says));
            }
            if plain.contains(viewer) {
                assert!(watch.repeated.is_empty());
            } else {
                // The first of all has nothing before it.
                let before = watch.sound.iter().filter_map(|(_, says)| says.checked_sub(1));
                assert!(before.eq(watch.repeated.iter().copied()));
            }
        }
        for shard in &world.shards {
            let counters = shard.counters();
            let packets = u64::from(sent) * 20;
            assert!(counters.rides * 10 > packets, "{} of {packets} ride", counters.rides);
        }
    }
}

#[test]
fn a_lost_packet_is_in_the_next_one() {
    for seed in seeds(3) {
        println!("SIM_SEED={seed}");
        let (mut world, publisher, read, plain) = show(seed, 1);
        world.run_for(Duration::from_secs(2));
        for viewer in [read[0], plain[0]] {
            let now = world.now;
            world.links[viewer].down.set(now, Conditions { loss: 0.1, ..CLEAN });
        }
        let before = sent(&mut world, publisher);
        world.run_for(Duration::from_secs(60));
        let said: BTreeSet<u32> = (before..sent(&mut world, publisher) - 10).collect();
        let missed = |viewer: usize| {
            let watch = world.peers[viewer].watch();
            let whole = watch.sound.iter().map(|(_, count)| *count);
            let heard: BTreeSet<u32> = whole.chain(watch.repeated.iter().copied()).collect();
            said.difference(&heard).count() as f64 / said.len() as f64
        };
        let (read, plain) = (missed(read[0]), missed(plain[0]));
        assert!((0.07..0.13).contains(&plain), "{plain} without RED");
        assert!(read < 0.02, "{read} with RED: two in a row are one in a hundred");
    }
}

#[test]
fn red_is_left_out_where_it_would_take_something_from_the_picture() {
    let mut world = World::new(51, 2, CLEAN);
    let host = world.add_layers_in_red(ROOM, 0, 1);
    let viewer = world.add_red_viewer(ROOM, 1, Seat::HOST);
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(4));
    let heard = |world: &World| {
        let watch = world.peers[viewer].watch();
        (watch.sound.len(), watch.repeated.len())
    };
    // Layers of 230, 460 and 930 kbit/s: right above what the second needs there is no room for RED beside it, and with
    // the first there is again.
    let (mut left_out, mut all) = (0, 0);
    for rate in (0..20).map(|step| 660_000 - step * 10_000) {
        let now = world.now;
        world.links[viewer].down.set(now, Conditions { rate_bps: Some(rate), ..CLEAN });
        world.run_for(Duration::from_secs(4));
        let before = heard(&world);
        world.run_for(Duration::from_secs(1));
        let after = heard(&world);
        let (whole, repeats) = (after.0 - before.0, after.1 - before.1);
        let layer = present_layer(&world, viewer);
        println!("{rate}: layer {layer}, {repeats} repeats in {whole}");
        left_out += usize::from(layer == 2 && repeats < whole);
        all += usize::from(repeats == whole);
    }
    assert_eq!(present_layer(&world, viewer), 1);
    assert!(left_out > 0 && all >= 6, "left out at {left_out} rates, not at all at {all}");
    let now = world.now;
    world.links[viewer].down.set(now, CLEAN);
    world.run_for(Duration::from_secs(8));
    let before = heard(&world);
    world.run_for(Duration::from_secs(1));
    let after = heard(&world);
    assert_eq!(after.0 - before.0, after.1 - before.1, "all of it in RED again");
    let numbers = world.peers[viewer].watch().sound.windows(2);
    let gaps = numbers.filter(|pair| pair[0].0.wrapping_add(1) != pair[1].0).count();
    assert!(gaps < 50, "numbers go on but where the queue is full: {gaps} gaps");
}
