//! What a viewer looks at decides what it is sent.

use std::time::Duration;

use greenroom::load::network::Conditions;
use greenroom::sfu::command::ShardCommand;
use signaling::media::{Audience, Seat, TileSize, TransportId};

use super::media::facts;
use super::world::{CLEAN, World};
use super::{ROOM, layers_are_seamless, present_layer, seeds};

/// Three simulcast layers of 1, 2 and 4 packets a frame: 320x180, 640x360 and 1280x720.
fn camera(world: &mut World, shard: u8) -> TransportId {
    let host = world.add_layers(ROOM, shard, 1);
    let peer = world.peer_of(host);
    let publish = world.peers[peer].publish();
    publish.size = Some((320, 180));
    for (layer, size) in publish.layers.iter_mut().zip([(640, 360), (1280, 720)]) {
        layer.size = Some(size);
    }
    host
}

fn prefer(world: &mut World, viewer: usize, size: Option<(u16, u16)>) {
    let size = size.map(|(width, height)| TileSize { width, height });
    let id = world.transport_of(viewer);
    world.command_all(&ShardCommand::PreferLayer { id, seat: Seat::HOST, size });
}

fn pause(world: &mut World, viewer: usize, on: bool) {
    let id = world.transport_of(viewer);
    world.command_all(&ShardCommand::PauseVideo { id, seats: vec![Seat::HOST], on });
}

fn key_frame_requests(world: &mut World, publisher: usize) -> u32 {
    let publish = world.peers[publisher].publish();
    let others: u32 = publish.layers.iter().map(|layer| layer.key_frame_requests).sum();
    publish.key_frame_requests + others
}

#[test]
fn a_small_tile_gets_a_small_layer_and_a_large_one_the_best_again() {
    let mut world = World::new(41, 2, CLEAN);
    let host = camera(&mut world, 0);
    let publisher = world.peer_of(host);
    let viewers = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
    let other = world.add_viewer(ROOM, 1, Seat::HOST);
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(4));
    // Said again and again, as by a tile that is being dragged, it costs the publisher nothing.
    let steps = [(Some((360, 200)), 1), (Some((420, 300)), 2), (Some((3_000, 20)), 4), (None, 4)];
    for (size, layer) in steps {
        let before = world.peers[publisher].publish().key_frame_requests;
        for viewer in viewers {
            prefer(&mut world, viewer, size);
            prefer(&mut world, viewer, size);
        }
        world.run_for(Duration::from_millis(1_500));
        assert_eq!(viewers.map(|v| present_layer(&world, v)), [layer; 2], "for {size:?}");
        assert_eq!(present_layer(&world, other), 4, "nobody else is affected");
        let asked = world.peers[publisher].publish().key_frame_requests - before;
        assert!(asked <= 2, "{asked} key frames of one layer for {size:?}");
    }
    viewers.iter().for_each(|viewer| layers_are_seamless(&world, *viewer));
    // Who joins and says so at once is not sent the best first.
    let late = world.add_viewer(ROOM, 1, Seat::HOST);
    prefer(&mut world, late, Some((160, 90)));
    world.run_for(Duration::from_secs(2));
    let received = world.peers[late].watch().received.values();
    assert!(received.map(|payload| facts(payload).2).all(|packets| packets == 1));
}

#[test]
fn a_hidden_tile_is_sent_no_video_and_begins_again_as_for_a_new_viewer() {
    let mut world = World::new(42, 2, CLEAN);
    let host = world.add_speaker(ROOM, 0, 3, 65_500, Some(Duration::ZERO));
    let hides = world.add_viewer(ROOM, 0, Seat::HOST);
    let other = world.add_viewer(ROOM, 0, Seat::HOST);
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(3));
    let publisher = world.peer_of(host);
    pause(&mut world, hides, true);
    world.run_for(Duration::from_millis(20));
    let watch = world.peers[hides].watch();
    let (video, sound) = (watch.received.len(), watch.sound.len());
    world.run_for(Duration::from_secs(5));
    let watch = world.peers[hides].watch();
    assert_eq!(watch.received.len(), video, "probes and repairs included");
    assert!(watch.sound.len() - sound > 240, "sound goes on");
    let counts = world.links[hides].down.take_counts();
    assert!(counts.delivered > 0);

    // With a fresh key frame in the cache nobody has to be asked.
    world.peers[publisher].publish().key_frame_wanted = true;
    world.run_for(Duration::from_millis(200));
    let before = key_frame_requests(&mut world, publisher);
    pause(&mut world, hides, false);
    world.run_for(Duration::from_millis(50));
    assert_eq!(key_frame_requests(&mut world, publisher), before);
    world.run_for(Duration::from_secs(2));
    let watch = world.peers[hides].watch();
    let numbers: Vec<i64> = watch.received.keys().copied().collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "numbers go on without a gap");
    let shown: Vec<_> = watch.received.values().skip(video).map(|p| facts(p)).collect();
    assert!(shown[0].3, "from a key frame on");
    assert!(shown.windows(2).all(|w| w[1].0 - w[0].0 <= 1), "all of what follows it");
    let newest = world.peers[publisher].publish().frame;
    assert!(shown.last().is_some_and(|last| last.0 + 2 >= newest), "as live as any");
    let times: Vec<u32> = world.peers[hides].watch().timestamps.values().copied().collect();
    let elapsed = times[times.len() - 1].wrapping_sub(times[0]);
    // 3 + 5 + 2 s and a little.
    assert!((890_000..940_000).contains(&elapsed), "its time went on: {elapsed} ticks");
    assert_eq!(world.peers[hides].watch().repaired, 0);
    assert_eq!(world.peers[other].watch().repaired, 0);
}

#[test]
fn the_last_tile_of_a_shard_that_hides_ends_the_relay_and_asks_once_when_it_is_back() {
    let mut world = World::new(43, 2, CLEAN);
    let host = world.add_publisher(ROOM, 0, 3, 9);
    let viewer = world.add_viewer(ROOM, 1, Seat::HOST);
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    pause(&mut world, viewer, true);
    let relayed = world.shards[0].counters().relayed_out;
    // A seat that is filled anew while it is hidden stays hidden.
    world.set_seat(ROOM, Seat::HOST, None, Audience::Nobody);
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    let video = world.peers[viewer].watch().received.len();
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.shards[0].counters().relayed_out, relayed);
    assert!(world.peers[viewer].watch().received.len() <= video + 3, "what was on its way");
    let publisher = world.peer_of(host);
    let before = key_frame_requests(&mut world, publisher);
    let video = world.peers[viewer].watch().received.len();
    pause(&mut world, viewer, false);
    world.run_for(Duration::from_secs(1));
    assert_eq!(key_frame_requests(&mut world, publisher), before + 1);
    let mut received = world.peers[viewer].watch().received.values().skip(video);
    assert!(received.next().is_some_and(|first| facts(first).3));
    assert!(received.count() > 80);
}

/// Run for `time`; the publisher sends what it is told that somebody takes, a moment later.
fn run_obeying(world: &mut World, host: TransportId, time: Duration) {
    const LATER: Duration = Duration::from_millis(50);
    let peer = world.peer_of(host);
    for _ in 0..time.as_millis() / LATER.as_millis() {
        if let Some(wanted) = world.layers_wanted(host).map(<[bool]>::to_vec) {
            let publish = world.peers[peer].publish();
            assert!(wanted[0], "the lowest always is");
            for (layer, wanted) in publish.layers.iter_mut().zip(&wanted[1..]) {
                layer.paused = !wanted;
            }
        }
        world.run_for(LATER);
    }
}

#[test]
fn layers_that_nobody_takes_rest_at_the_publisher_and_come_back_for_who_wants_them() {
    for seed in seeds(2) {
        println!("SIM_SEED={seed}");
        let mut world = World::new(seed, 2, CLEAN);
        let host = camera(&mut world, 0);
        // The one is on the publisher's shard, or on the other.
        let viewer = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        run_obeying(&mut world, host, Duration::from_secs(6));
        assert_eq!(present_layer(&world, viewer), 4);
        assert_eq!(world.layers_wanted(host), Some(&[true, false, true][..]));
        let wide = world.links[viewer].down.take_counts();
        assert!(wide.delivered > 0);

        prefer(&mut world, viewer, Some((320, 180)));
        run_obeying(&mut world, host, Duration::from_secs(9));
        assert_eq!(present_layer(&world, viewer), 1);
        assert_eq!(world.layers_wanted(host), Some(&[true, false, false][..]));
        let publisher = world.peer_of(host);
        world.links[publisher].up.take_counts();
        run_obeying(&mut world, host, Duration::from_secs(1));
        let sent = world.links[publisher].up.take_counts();
        assert!(sent.delivered < 60, "one layer of one packet a frame: {sent:?}");

        prefer(&mut world, viewer, None);
        assert_eq!(world.layers_wanted(host), Some(&[true, false, true][..]), "at once");
        let asked = key_frame_requests(&mut world, publisher);
        run_obeying(&mut world, host, Duration::from_millis(700));
        assert_eq!(present_layer(&world, viewer), 4);
        assert!(key_frame_requests(&mut world, publisher) <= asked + 1);
        layers_are_seamless(&world, viewer);

        // Nobody looks at all, then somebody joins: at first they see what there is.
        pause(&mut world, viewer, true);
        run_obeying(&mut world, host, Duration::from_secs(9));
        assert_eq!(world.layers_wanted(host), Some(&[true, false, false][..]));
        let late = world.add_viewer(ROOM, 1, Seat::HOST);
        world.run_for(Duration::from_millis(600));
        assert_eq!(present_layer(&world, late), 1);
        run_obeying(&mut world, host, Duration::from_millis(700));
        assert_eq!(present_layer(&world, late), 4);
        layers_are_seamless(&world, late);
    }
}

#[test]
fn a_layer_that_rests_and_then_does_not_come_leaves_its_viewers_where_they_are() {
    let mut world = World::new(44, 2, CLEAN);
    let host = camera(&mut world, 0);
    let viewer = world.add_viewer(ROOM, 1, Seat::HOST);
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    prefer(&mut world, viewer, Some((320, 180)));
    run_obeying(&mut world, host, Duration::from_secs(9));
    prefer(&mut world, viewer, None);
    // The uplink does not carry the best any more, and the browser says nothing.
    let publisher = world.peer_of(host);
    let before = key_frame_requests(&mut world, publisher);
    world.run_for(Duration::from_secs(10));
    assert_eq!(present_layer(&world, viewer), 1);
    layers_are_seamless(&world, viewer);
    let asked = key_frame_requests(&mut world, publisher) - before;
    assert!(asked <= 2, "{asked} key frames asked of what does not come");
    // It comes by itself.
    run_obeying(&mut world, host, Duration::from_secs(2));
    assert_eq!(present_layer(&world, viewer), 4);
}

#[test]
fn a_network_that_narrows_while_the_lower_layer_rests_gets_the_lowest_at_once_and_that_one_soon() {
    // Layers of 230, 460 and 930 kbit/s.
    for seed in seeds(2) {
        println!("SIM_SEED={seed}");
        let wide =
            Conditions { rate_bps: Some(5_000_000), delay: Duration::from_millis(20), ..CLEAN };
        let mut world = World::new(seed, 2, wide);
        let host = camera(&mut world, 0);
        let publisher = world.peer_of(host);
        world.links[publisher].up.set(world.now, CLEAN);
        let viewer = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        run_obeying(&mut world, host, Duration::from_secs(12));
        assert_eq!(present_layer(&world, viewer), 4);
        assert_eq!(world.layers_wanted(host), Some(&[true, false, true][..]));

        world.links[viewer].down.set(world.now, Conditions { rate_bps: Some(600_000), ..wide });
        let down = when(&mut world, host, viewer, |layer| layer < 4);
        assert!(down <= Duration::from_millis(1_500), "a lower layer after {down:?}");
        let middle = when(&mut world, host, viewer, |layer| layer == 2);
        assert!(middle <= Duration::from_secs(8), "the middle one {middle:?} later");
        run_obeying(&mut world, host, Duration::from_secs(8));
        assert!(present_layer(&world, viewer) <= 2);

        world.links[viewer].down.set(world.now, wide);
        let best = when(&mut world, host, viewer, |layer| layer == 4);
        assert!(best <= Duration::from_secs(8), "the best layer again after {best:?}");
    }
}

/// How long it takes until the viewer is shown such a layer.
fn when(
    world: &mut World,
    host: TransportId,
    viewer: usize,
    shown: impl Fn(u16) -> bool,
) -> Duration {
    let begin = world.now;
    while !shown(present_layer(world, viewer)) {
        run_obeying(world, host, Duration::from_millis(50));
        let took = world.now - begin;
        assert!(took < Duration::from_secs(20), "not within {took:?}");
    }
    world.now - begin
}
