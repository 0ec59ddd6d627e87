//! Seeded simulation of the media core: shards, peers and a bad network on one thread in virtual
//! time. A failure prints the seed; `SIM_SEED=n cargo test --test sim` replays it.

#![expect(clippy::disallowed_methods, reason = "virtual time needs a starting point")]

mod inside;
mod media;
mod pacing;
mod peer;
mod red;
mod reporter;
mod reports;
mod tracks;
mod uplink;
mod views;
mod voices;
mod world;

use std::time::Duration;

use signaling::media::{Audience, CloseReason, MediaEvent, MediaKind, RoomKey, Seat};

use greenroom::load::network::Conditions;
use greenroom::sfu::command::ShardCommand;
use greenroom::sfu::counters::Counters;
use greenroom::sfu::drop_reason::DropReason;
use media::{Media, facts};
use tracks::slots_out;
use world::{CLEAN, ROUGH, World};

const ROOM: RoomKey = RoomKey(1);

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIM_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

/// Frames of a viewer that arrived whole, from the first key frame on.
fn whole_frames(world: &World, viewer: usize) -> Vec<u32> {
    let watch = world.peers[viewer].watch();
    let key_frame = watch.received.values().position(|payload| facts(payload).3);
    let start = key_frame.expect("a viewer gets a key frame");
    assert!(start < 60, "and soon: {start} packets came before it");
    let mut frames: Vec<(u32, u16, u16)> = Vec::new();
    for payload in watch.received.values().skip(start) {
        let (frame, _, packets, _) = facts(payload);
        match frames.last_mut() {
            Some((last, got, _)) if *last == frame => *got += 1,
            _ => frames.push((frame, 1, packets)),
        }
    }
    assert!(frames.is_sorted_by_key(|(frame, ..)| *frame), "frames in order of their numbers");
    frames.into_iter().filter(|(_, got, of)| got == of).map(|(frame, ..)| frame).collect()
}

#[test]
fn clean_network_delivers_every_frame_on_every_shard() {
    let mut world = World::new(1, 2, CLEAN);
    let host = world.add_publisher(ROOM, 0, 5, 65_500);
    let viewers = [0, 1, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(5));
    for viewer in viewers {
        let frames = whole_frames(&world, viewer);
        assert!(frames.len() > 140, "{} frames", frames.len());
        assert!(frames.windows(2).all(|w| w[1] == w[0] + 1), "no frame missing");
        assert_eq!(world.peers[viewer].watch().repaired, 0);
        assert!(world.peers[viewer].watch().reports > 0, "sender reports for lip sync");
        let timestamps: Vec<u32> =
            world.peers[viewer].watch().timestamps.values().copied().collect();
        assert!(timestamps.windows(2).all(|w| matches!(w[1].wrapping_sub(w[0]), 0 | 3_000)));
    }
    let count =
        |of: fn(&Counters) -> u64| world.shards.iter().map(|s| of(s.counters())).sum::<u64>();
    let messages = count(|counters| counters.messages_out - counters.probe_packets);
    let packets = count(|counters| counters.packets_out - counters.probe_packets);
    assert_eq!(packets, messages * 5, "one message per viewer and frame");
    let index = world.peer_of(host);
    assert!(world.peers[index].publish().feedback > 50, "transport-wide feedback");
}

#[test]
fn loss_and_reordering_are_repaired() {
    for seed in seeds(8) {
        println!("SIM_SEED={seed}");
        let mut world = World::new(seed, 2, ROUGH);
        let host = world.add_publisher(ROOM, 0, 4, 65_000);
        let viewers = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        world.run_for(Duration::from_secs(10));
        for viewer in viewers {
            let frames = whole_frames(&world, viewer);
            let span = frames.last().unwrap() - frames.first().unwrap() + 1;
            let share = frames.len() as f64 / f64::from(span);
            assert!(share > 0.97, "seed {seed}: {share} of {span} frames whole");
            assert!(world.peers[viewer].watch().repaired > 0);
        }
        let index = world.peer_of(host);
        let publish = world.peers[index].publish();
        assert!(publish.nacked > 0, "the server asks the publisher again");
        assert!(publish.key_frame_requests <= 21, "seed {seed}: at most two a second");
    }
}

#[test]
fn mute_lets_not_one_packet_out_and_unmute_starts_with_a_key_frame() {
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        let mut world = World::new(seed, 2, ROUGH);
        let host = world.add_publisher(ROOM, 0, 4, 1);
        let viewers = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        world.run_for(Duration::from_secs(3));
        world.command_all(&ShardCommand::SetGate { id: host, kind: MediaKind::Video, open: false });
        let before: u64 = world.shards.iter().map(|s| s.counters().packets_out).sum();
        let muted_at = world.peers[viewers[1]].watch().received.len();
        world.run_for(Duration::from_secs(2));
        let after: u64 = world.shards.iter().map(|s| s.counters().packets_out).sum();
        assert_eq!(before, after, "seed {seed}: retransmissions included");
        assert!(world.shards[0].counters().dropped(DropReason::Gate) > 100);
        world.command_all(&ShardCommand::SetGate { id: host, kind: MediaKind::Video, open: true });
        world.run_for(Duration::from_secs(3));
        for viewer in viewers {
            let payloads: Vec<_> = world.peers[viewer].watch().received.values().collect();
            let gap = payloads.windows(2).find(|w| facts(w[1]).0 > facts(w[0]).0 + 30);
            let (frame, packet, _, key_frame) = facts(gap.expect("media again")[1]);
            assert!(key_frame, "seed {seed}: frame {frame} packet {packet} after the mute");
        }
        assert!(world.peers[viewers[1]].watch().received.len() > muted_at + 200);
    }
}

#[test]
fn sound_rides_with_the_video_and_comes_once_in_order() {
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        let mut world = World::new(seed, 2, CLEAN);
        // Every fifth packet then comes just before a frame.
        let late = Duration::from_millis(2 + seed % 4);
        let host = world.add_speaker(ROOM, 0, 5, 65_500, Some(late));
        // Enough viewers on each shard for waiting to pay.
        let viewers: Vec<_> = (0..40).map(|n| world.add_viewer(ROOM, n % 2, Seat::HOST)).collect();
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        world.run_for(Duration::from_secs(6));
        let index = world.peer_of(host);
        let sent = world.peers[index].publish().sound.as_ref().unwrap().sent;
        for viewer in viewers {
            let heard = &world.peers[viewer].watch().sound;
            assert!(heard.len() as u32 + 60 > sent, "seed {seed}: {} of {sent}", heard.len());
            for pair in heard.windows(2) {
                let ((before, said), (after, says)) = (pair[0], pair[1]);
                assert_eq!((before.wrapping_add(1), said + 1), (after, says), "seed {seed}");
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
fn a_rider_of_a_muted_microphone_is_not_sent() {
    let mut world = World::new(9, 2, CLEAN);
    let host = world.add_speaker(ROOM, 0, 5, 1, Some(Duration::from_millis(2)));
    for n in 0..32 {
        world.add_viewer(ROOM, n % 2, Seat::HOST);
    }
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    let sent = |world: &World| world.shards.iter().map(|s| s.counters().packets_out).sum::<u64>();
    let close = |kind, open| ShardCommand::SetGate { id: host, kind, open };
    // At every phase of sound to picture, which repeats after 100 ms: one packet of five waits.
    for phase in 0..25 {
        world.run_for(Duration::from_millis(100 + phase * 4));
        world.command_all(&close(MediaKind::Audio, false));
        let rides = world.shards.iter().map(|s| s.counters().rides).sum::<u64>();
        assert!(rides > 32 * 5, "they do ride");
        world.run_for(Duration::from_millis(40));
        let still = world.shards.iter().map(|s| s.counters().rides).sum::<u64>();
        assert_eq!(rides, still, "phase {phase}: with the next frame");
        world.command_all(&close(MediaKind::Video, false));
        let before = sent(&world);
        world.run_for(Duration::from_millis(40));
        assert_eq!(before, sent(&world), "phase {phase}: by itself");
        world.command_all(&close(MediaKind::Audio, true));
        world.command_all(&close(MediaKind::Video, true));
    }
}

#[test]
fn replacing_the_source_keeps_numbers_continuous() {
    let mut world = World::new(3, 2, CLEAN);
    let first = world.add_publisher(ROOM, 0, 3, 100);
    let second = world.add_publisher(ROOM, 1, 3, 40_000);
    let viewers = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat(1)));
    world.set_seat(ROOM, Seat(1), Some(first), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    world.set_seat(ROOM, Seat(1), None, Audience::Nobody);
    let out: u64 = world.shards.iter().map(|s| s.counters().packets_out).sum();
    world.run_for(Duration::from_millis(500));
    let still: u64 = world.shards.iter().map(|s| s.counters().packets_out).sum();
    assert_eq!(out, still, "an emptied slot is silent at once");
    world.set_seat(ROOM, Seat(1), Some(second), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    for viewer in viewers {
        let watch = world.peers[viewer].watch();
        let sequences: Vec<i64> = watch.received.keys().copied().collect();
        assert!(sequences.windows(2).all(|w| w[1] == w[0] + 1), "no hole for a NACK storm");
        let timestamps: Vec<u32> = watch.timestamps.values().copied().collect();
        assert!(timestamps.windows(2).all(|w| w[1].wrapping_sub(w[0]) < 90_000));
        assert!(sequences.len() > 300);
    }
}

#[test]
fn publisher_that_changes_its_ssrc_goes_on() {
    let mut world = World::new(9, 2, CLEAN);
    let host = world.add_publisher(ROOM, 0, 3, 60_000);
    let viewers = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    let index = world.peer_of(host);
    let publish = world.peers[index].publish();
    let changed_at = publish.frame;
    // Numbers that would all be too old for the stream before.
    (publish.ssrc, publish.sequence) = (77, 30_000);
    world.run_for(Duration::from_secs(2));
    for viewer in viewers {
        let frames = whole_frames(&world, viewer);
        let after = frames.iter().filter(|frame| **frame >= changed_at).count();
        assert!(after > 50, "{after} frames of the new stream");
        let sequences: Vec<i64> = world.peers[viewer].watch().received.keys().copied().collect();
        assert!(sequences.windows(2).all(|w| w[1] == w[0] + 1), "numbers go on");
    }
}

#[test]
fn audience_decides_who_receives() {
    let mut world = World::new(4, 1, CLEAN);
    let guest = world.add_publisher(ROOM, 0, 2, 9);
    let viewer = world.add_viewer(ROOM, 0, Seat(1));
    let other_room = world.add_viewer(RoomKey(2), 0, Seat(1));
    world.set_seat(ROOM, Seat(1), Some(guest), Audience::Backstage);
    world.run_for(Duration::from_secs(1));
    assert!(world.peers[viewer].watch().received.is_empty());
    let id = world.transport_of(viewer);
    world.command_all(&ShardCommand::SetViewer { id, backstage: true, own_seat: None });
    world.run_for(Duration::from_secs(1));
    assert!(!world.peers[viewer].watch().received.is_empty());
    let seen = world.peers[viewer].watch().received.len();
    world.command_all(&ShardCommand::SetViewer { id, backstage: true, own_seat: Some(Seat(1)) });
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.peers[viewer].watch().received.len(), seen, "never one's own seat");
    assert!(world.peers[other_room].watch().received.is_empty(), "nobody hears another room");
}

#[test]
fn key_frame_storm_reaches_the_publisher_twice_a_second() {
    let mut world = World::new(5, 2, CLEAN);
    let host = world.add_publisher(ROOM, 0, 2, 9);
    let viewers: Vec<usize> = (0..20).map(|i| world.add_viewer(ROOM, i % 2, Seat::HOST)).collect();
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    let index = world.peer_of(host);
    let before = world.peers[index].publish().key_frame_requests;
    for _ in 0..100 {
        for viewer in &viewers {
            if let Media::Watch(watch) = &mut world.peers[*viewer].media {
                watch.key_frame_wanted = true;
            }
        }
        world.run_for(Duration::from_millis(50));
    }
    let asked = world.peers[index].publish().key_frame_requests - before;
    assert!((5..=11).contains(&asked), "{asked} requests in 5 s");
}

#[test]
fn joiner_begins_with_the_latest_frames_and_lands_on_the_live_ones() {
    let mut world = World::new(7, 2, CLEAN);
    let host = world.add_publisher(ROOM, 0, 3, 9);
    let early = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    // Everyone who joins inside the time for which requests are merged shares one key frame.
    let index = world.peer_of(host);
    let before = world.peers[index].publish().key_frame_requests;
    let replays = |world: &World| world.shards.iter().map(|s| s.counters().replays).sum::<u64>();
    let replays_before = replays(&world);
    let first = world.add_viewer(ROOM, 1, Seat::HOST);
    world.run_for(Duration::from_millis(400));
    let late = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
    world.run_for(Duration::from_millis(60));
    assert_eq!(world.peers[index].publish().key_frame_requests, before + 1);
    assert_eq!(replays(&world), replays_before + 2);
    world.run_for(Duration::from_secs(1));
    let newest = |world: &World, viewer: usize| *whole_frames(world, viewer).last().unwrap();
    for viewer in late.into_iter().chain([first]) {
        let frames = whole_frames(&world, viewer);
        assert!(frames.windows(2).all(|w| w[1] == w[0] + 1), "no hole at the hand-over");
        assert_eq!(newest(&world, viewer), newest(&world, early[0]), "as live as an old viewer");
        let timestamps: Vec<u32> =
            world.peers[viewer].watch().timestamps.values().copied().collect();
        let steps: Vec<u32> = timestamps.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
        assert!(steps.iter().all(|step| matches!(step, 0 | 90..=94 | 3_000)), "{steps:?}");
        assert!(steps.iter().filter(|step| **step == 3_000).count() > 25, "then live spacing");
    }
}

#[test]
fn a_viewer_that_answers_again_goes_on_unless_the_payload_types_are_others() {
    let mut world = World::new(9, 1, CLEAN);
    let host = world.add_publisher(ROOM, 0, 3, 9);
    let viewer = world.add_viewer(ROOM, 0, Seat::HOST);
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    let index = world.peer_of(host);
    let before = world.peers[index].publish().key_frame_requests;
    let mut slots = slots_out(Seat::HOST, world.peers[viewer].watch().ssrc);
    slots.extend(slots_out(Seat(1), 900_000));
    world.answer(viewer, slots.clone());
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.peers[index].publish().key_frame_requests, before, "nothing new is needed");
    let frames = whole_frames(&world, viewer);
    assert!(
        frames.windows(2).all(|w| w[1] == w[0] + 1),
        "nobody noticed that there are more slots"
    );
    slots[1].rtx_ssrc = None;
    world.answer(viewer, slots);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.peers[index].publish().key_frame_requests, before + 1, "another stream");
    let newest = world.peers[index].publish().frame;
    assert!(*whole_frames(&world, viewer).last().unwrap() + 2 >= newest, "and it goes on");
}

#[test]
fn nothing_from_before_going_live_is_replayed() {
    let mut world = World::new(8, 1, CLEAN);
    let guest = world.add_publisher(ROOM, 0, 2, 9);
    let staff = world.add_viewer(ROOM, 0, Seat(1));
    let viewer = world.add_viewer(ROOM, 0, Seat(1));
    let id = world.transport_of(staff);
    world.command_all(&ShardCommand::SetViewer { id, backstage: true, own_seat: None });
    world.set_seat(ROOM, Seat(1), Some(guest), Audience::Backstage);
    world.run_for(Duration::from_millis(400));
    let index = world.peer_of(guest);
    let on_air_at = world.peers[index].publish().frame;
    world.set_seat(ROOM, Seat(1), Some(guest), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    let frames = whole_frames(&world, viewer);
    assert!(frames[0] >= on_air_at, "frame {} was shot backstage", frames[0]);
}

#[test]
fn vanished_publisher_is_lost_then_closed_and_nothing_remains() {
    let mut world = World::new(6, 1, CLEAN);
    let host = world.add_publisher(ROOM, 0, 2, 9);
    let viewer = world.add_viewer(ROOM, 0, Seat::HOST);
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    let index = world.peer_of(host);
    world.peers[index].silent = true;
    world.run_for(Duration::from_secs(4));
    assert!(world.saw(host, |e| matches!(e, MediaEvent::Lost)));
    world.peers[index].silent = false;
    world.run_for(Duration::from_secs(2));
    assert!(world.saw(host, |e| matches!(e, MediaEvent::Back)));
    world.peers[index].silent = true;
    world.run_for(Duration::from_secs(33));
    assert!(world.saw(host, |e| matches!(e, MediaEvent::Closed(CloseReason::Timeout))));
    let id = world.transport_of(viewer);
    world.command_all(&ShardCommand::Close { id, reason: CloseReason::Requested });
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.shards[0].transports(), 0);
}

#[test]
fn a_lost_first_key_frame_is_asked_for_when_nobody_watches() {
    let mut world = World::new(12, 1, CLEAN);
    let guest = world.add_publisher(ROOM, 0, 3, 9);
    let index = world.peer_of(guest);
    world.peers[index].publish().lose_first_key_frame();
    world.run_for(Duration::from_secs(1));
    let ready = |event: &MediaEvent| matches!(event, MediaEvent::MediaReady(MediaKind::Video));
    assert!(world.saw(guest, ready), "the seat need not wait for its timer");
    assert_eq!(world.peers[index].publish().key_frame_requests, 1);
}

/// Packets a frame has in the layer that a viewer sees at present; 0 before the first.
fn present_layer(world: &World, viewer: usize) -> u16 {
    world.peers[viewer].watch().received.values().next_back().map_or(0, |newest| facts(newest).2)
}

/// From its first key frame on a viewer of layers has no hole, every layer it changed to began with a key
/// frame, and its time went on.
fn layers_are_seamless(world: &World, viewer: usize) {
    let watch = world.peers[viewer].watch();
    let start = watch.received.values().position(|payload| facts(payload).3).expect("a key frame");
    let numbers: Vec<i64> = watch.received.keys().skip(start).copied().collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "no number is missing");
    let mut before: Option<(u16, u32, u32)> = None;
    for (payload, timestamp) in watch.received.values().zip(watch.timestamps.values()).skip(start) {
        let (frame, _, packets, key_frame) = facts(payload);
        if let Some((layer, newest, time)) = before {
            assert!(layer == packets || key_frame, "a layer begins with a key frame");
            let ahead = timestamp.wrapping_sub(time);
            let follows = layer != packets || (ahead == 0) == (frame == newest);
            assert!(
                // 0.6 s: the longest a viewer's layer may be gone.
                ahead <= 54_000 && follows,
                "frame {frame} of layer {packets} is {ahead} ticks behind {newest} of {layer}"
            );
        }
        before = Some((packets, frame, *timestamp));
    }
}

#[test]
fn viewers_follow_the_layers_that_are_sent() {
    let mut world = World::new(31, 2, CLEAN);
    let host = world.add_layers(ROOM, 0, 1);
    let viewers = [0, 0, 1, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(3));
    let publisher = world.peer_of(host);
    let pause = |world: &mut World, layer: usize, paused: bool| {
        world.peers[publisher].publish().layers[layer].paused = paused;
    };
    let all_see = |world: &World, packets: u16| {
        assert_eq!(viewers.map(|viewer| present_layer(world, viewer)), [packets; 4]);
    };
    all_see(&world, 4);
    // The publisher's uplink gives out: its best layers end, one after the other.
    pause(&mut world, 1, true);
    world.run_for(Duration::from_millis(1_500));
    all_see(&world, 2);
    pause(&mut world, 0, true);
    world.run_for(Duration::from_millis(1_500));
    all_see(&world, 1);
    pause(&mut world, 1, false);
    pause(&mut world, 0, false);
    world.run_for(Duration::from_secs(3));
    all_see(&world, 4);
    viewers.iter().for_each(|viewer| layers_are_seamless(&world, *viewer));
    // Whoever joins now begins with the best at once.
    let late = world.add_viewer(ROOM, 1, Seat::HOST);
    world.run_for(Duration::from_secs(2));
    assert_eq!(present_layer(&world, late), 4);
    let publish = world.peers[publisher].publish();
    let asked: u32 = publish.layers.iter().map(|layer| layer.key_frame_requests).sum();
    assert!(asked + publish.key_frame_requests <= 16, "{asked} key frames were asked for");
}

#[test]
fn layers_under_loss_are_repaired_and_muted_together() {
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        let mut world = World::new(seed, 2, ROUGH);
        let host = world.add_layers(ROOM, 0, 1);
        let viewers = [0, 1].map(|shard| world.add_viewer(ROOM, shard, Seat::HOST));
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        world.run_for(Duration::from_secs(6));
        for viewer in viewers {
            assert!(world.peers[viewer].watch().missing(300).len() < 12);
        }
        world.command_all(&ShardCommand::SetGate { id: host, kind: MediaKind::Video, open: false });
        world.run_for(Duration::from_millis(200));
        let count = |world: &World| viewers.map(|v| world.peers[v].watch().received.len());
        let before = count(&world);
        world.run_for(Duration::from_secs(2));
        assert_eq!(count(&world), before, "no layer passes a closed gate");
    }
}

/// When, in the last `window`, the viewer's picture first had frames of `packets` packets for good.
fn settled_at(samples: &[(Duration, u16)], packets: u16) -> Option<Duration> {
    let last_other = samples.iter().rposition(|(_, layer)| *layer != packets);
    samples.get(last_other.map_or(0, |at| at + 1)).map(|(at, _)| *at)
}

/// Run for `time` and note every 50 ms which layer the viewer sees.
fn sample(world: &mut World, viewer: usize, time: Duration) -> Vec<(Duration, u16)> {
    const STEP: Duration = Duration::from_millis(50);
    (1..=(time.as_millis() / STEP.as_millis()) as u32)
        .map(|step| {
            world.run_for(STEP);
            (STEP * step, present_layer(world, viewer))
        })
        .collect()
}

#[test]
fn a_narrow_network_gets_a_lower_layer_and_the_best_again_when_it_widens() {
    // Layers of 230, 460 and 930 kbit/s.
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        let wide =
            Conditions { rate_bps: Some(5_000_000), delay: Duration::from_millis(20), ..CLEAN };
        let mut world = World::new(seed, 2, wide);
        let host = world.add_layers(ROOM, 0, 1);
        let narrowed = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        let other = world.add_viewer(ROOM, 1, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        let beginning = sample(&mut world, narrowed, Duration::from_secs(8));
        let best = settled_at(&beginning, 4).expect("the best layer");
        assert!(best <= Duration::from_secs(5), "the best layer after {best:?}");

        let now = world.now;
        world.links[narrowed].down.set(now, Conditions { rate_bps: Some(600_000), ..wide });
        let narrow = sample(&mut world, narrowed, Duration::from_secs(15));
        let down = narrow.iter().find(|(_, layer)| *layer < 4).expect("a lower layer").0;
        assert!(down <= Duration::from_millis(1_500), "a lower layer after {down:?}");
        let highest =
            narrow.iter().filter(|(at, _)| at.as_secs() >= 5).map(|(_, layer)| *layer).max();
        assert!(highest <= Some(2), "what does not fit is not tried: {highest:?}");

        let now = world.now;
        world.links[narrowed].down.set(now, wide);
        let again = sample(&mut world, narrowed, Duration::from_secs(10));
        let best = settled_at(&again, 4).expect("the best layer again");
        assert!(best <= Duration::from_secs(8), "the best layer after {best:?}");
        assert_eq!(present_layer(&world, other), 4, "nobody else is affected");
        assert_eq!(world.peers[other].watch().repaired, 0);
    }
}
