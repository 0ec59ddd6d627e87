//! Layers inside one stream, over a network that narrows and widens again.

use std::collections::BTreeMap;
use std::time::Duration;

use greenroom::load::network::Conditions;
use greenroom::sfu::drop_reason::DropReason;
use signaling::media::{Audience, Seat};

use super::media::{Inside, facts, layers};
use super::world::{CLEAN, ROUGH, World};
use super::{ROOM, seeds};

const WINDOW: Duration = Duration::from_millis(500);

/// What a viewer was shown in one window: frames a second, and the highest spatial layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    at: Duration,
    fps: usize,
    spatial: u8,
}

/// Frames that a viewer has, by number: (highest spatial layer, temporal layer, it is a key frame). `packets` a frame.
fn frames(world: &World, viewer: usize) -> BTreeMap<u32, (u8, u8, bool)> {
    let mut got: BTreeMap<u32, (u16, u8, u8, bool)> = BTreeMap::new();
    for payload in world.peers[viewer].watch().received.values().filter(|p| !p.is_empty()) {
        let (frame, _, packets, key_frame) = facts(payload);
        let (spatial, temporal) = layers(payload);
        let entry = got.entry(frame).or_insert((packets, 0, temporal, false));
        entry.0 -= 1;
        entry.1 = entry.1.max(spatial);
        entry.3 |= key_frame;
    }
    got.into_iter()
        .filter_map(|(frame, (missing, spatial, temporal, key_frame))| {
            // Of seven packets: one, two, four.
            let cut = match spatial {
                _ if missing == 0 => true,
                0 => missing == 6,
                1 => missing == 4,
                _ => false,
            };
            cut.then_some((frame, (spatial, temporal, key_frame)))
        })
        .collect()
}

/// The share of frames whose references the viewer has too, from the first key frame on.
fn with_references(world: &World, viewer: usize) -> f64 {
    let frames = frames(world, viewer);
    let (mut began, mut all, mut good) = (None, 0, 0);
    for (frame, (spatial, temporal, key_frame)) in &frames {
        if *key_frame {
            began = Some(*frame);
        }
        let Some(began) = began else { continue };
        let needed = match temporal {
            _ if *frame == began => None,
            0 => Some(frame - 4),
            1 => Some(frame - 2),
            _ => Some(frame - 1),
        };
        let has = |needed: u32| frames.get(&needed).is_some_and(|(shown, ..)| shown >= spatial);
        all += 1;
        good += u32::from(needed.is_none_or(has));
    }
    f64::from(good) / f64::from(all)
}

/// Run for `time` and note what the viewer is shown in each window of it.
fn watch(world: &mut World, viewer: usize, time: Duration) -> Vec<Seen> {
    (1..=(time.as_millis() / WINDOW.as_millis()) as u32)
        .map(|step| {
            let received =
                |world: &World| world.peers[viewer].watch().received.keys().next_back().copied();
            let before = received(world).unwrap_or(-1);
            world.run_for(WINDOW);
            let new = world.peers[viewer].watch().received.range(before + 1..);
            let new: Vec<_> = new.map(|(_, payload)| payload).filter(|p| !p.is_empty()).collect();
            let mut numbers: Vec<u32> = new.iter().map(|payload| facts(payload).0).collect();
            numbers.dedup();
            let spatial = new.iter().map(|payload| layers(payload).0).max().unwrap_or(0);
            Seen { at: WINDOW * step, fps: numbers.len() * 2, spatial }
        })
        .collect()
}

struct Case {
    inside: Inside,
    /// Packets a frame.
    packets: u16,
    /// Bit/s, and what fits: frames a second at most, and the highest spatial layer.
    narrow: (u64, usize, u8),
    top: u8,
}

const CASES: [Case; 3] = [
    // 0.3, 0.5 and 1.1 Mbit/s.
    Case { inside: Inside::Temporal, packets: 5, narrow: (700_000, 18, 0), top: 0 },
    // 0.2, 0.7 and 1.6 Mbit/s, half of it for half the frames.
    Case { inside: Inside::Svc, packets: 7, narrow: (600_000, 18, 1), top: 2 },
    Case { inside: Inside::Described, packets: 7, narrow: (600_000, 18, 1), top: 2 },
];

#[test]
fn a_narrow_network_gets_fewer_frames_then_a_smaller_picture_and_all_again_when_it_widens() {
    for (seed, case) in seeds(3).into_iter().flat_map(|seed| CASES.iter().map(move |c| (seed, c))) {
        println!("SIM_SEED={seed} {:?}", case.inside);
        let wide =
            Conditions { rate_bps: Some(5_000_000), delay: Duration::from_millis(20), ..CLEAN };
        let mut world = World::new(seed, 2, wide);
        let host = world.add_layered(ROOM, 0, case.packets, case.inside);
        // A host on a good line: each frame comes at once.
        let (now, publisher) = (world.now, world.peer_of(host));
        world.links[publisher].up.set(now, CLEAN);
        let narrowed = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        let other = world.add_viewer(ROOM, 1, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        let all = |seen: &Seen| seen.fps >= 28 && seen.spatial == case.top;
        let beginning = watch(&mut world, narrowed, Duration::from_secs(8));
        assert!(beginning[12..].iter().all(all), "{beginning:?}");

        let (rate, fps, spatial) = case.narrow;
        let now = world.now;
        world.links[narrowed].down.set(now, Conditions { rate_bps: Some(rate), ..wide });
        let narrow = watch(&mut world, narrowed, Duration::from_secs(12));
        // A smaller picture than that fits at any rate.
        let fits =
            |seen: &&Seen| seen.spatial < spatial || seen.spatial == spatial && seen.fps <= fps + 2;
        let down = narrow.iter().find(fits).expect("less");
        assert!(down.at <= Duration::from_millis(2_000), "{narrow:?}");
        let settled = &narrow[8..];
        assert!(settled.iter().filter(fits).count() * 10 >= settled.len() * 8, "{settled:?}");
        assert!(settled.iter().all(|seen| seen.fps >= 6), "it goes on: {settled:?}");

        let now = world.now;
        world.links[narrowed].down.set(now, wide);
        let again = watch(&mut world, narrowed, Duration::from_secs(10));
        let last = again.iter().rposition(|seen| !all(seen)).map_or(0, |at| at + 1);
        assert!(again.get(last).is_some_and(|seen| seen.at <= Duration::from_secs(8)), "{again:?}");

        let numbers: Vec<u16> =
            world.peers[narrowed].watch().frame_numbers.values().copied().collect();
        assert_eq!(numbers.is_empty(), case.inside != Inside::Described);
        let backwards = |pair: &&[u16]| pair[1].wrapping_sub(pair[0]) > 0x7fff;
        assert_eq!(numbers.windows(2).find(backwards), None, "frame numbers only rise");
        let share = with_references(&world, narrowed);
        assert!(share > 0.95, "{share} of its frames have their references");
        assert_eq!(with_references(&world, other), 1.0);
        assert_eq!(world.peers[other].watch().repaired, 0, "nobody else is affected");
        assert_eq!(world.peers[publisher].publish().nacked, 0, "what is left out is not missed");
        let counters = world.shards.iter().map(|shard| shard.counters());
        let left_out: u64 = counters.map(|c| c.dropped(DropReason::LayerNotTaken)).sum();
        assert!(left_out > 0);
    }
}

#[test]
fn what_a_publisher_loses_is_repaired_for_those_who_take_a_part() {
    for seed in seeds(4) {
        println!("SIM_SEED={seed}");
        for case in &CASES {
            let mut world = World::new(seed, 2, ROUGH);
            let host = world.add_layered(ROOM, 0, case.packets, case.inside);
            let viewer = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
            world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
            world.run_for(Duration::from_secs(4));
            let now = world.now;
            let narrow = Conditions { rate_bps: Some(400_000), ..ROUGH };
            world.links[viewer].down.set(now, narrow);
            world.run_for(Duration::from_secs(10));
            let fillers: u64 = world.shards.iter().map(|shard| shard.counters().fillers).sum();
            assert!(fillers > 0, "holes are filled late, some with what the viewer does not take");
            let missing = world.peers[viewer].watch().missing(200).len();
            assert!(missing < 30, "seed {seed}: {missing} of 200 are missing");
            let share = with_references(&world, viewer);
            assert!(share > 0.8, "seed {seed}: {share} of its frames have their references");
        }
    }
}

#[test]
fn random_loss_on_a_network_that_is_wide_enough_takes_no_frames_away() {
    for seed in seeds(12) {
        println!("SIM_SEED={seed}");
        let delay = Duration::from_millis(50);
        let lossy = Conditions { rate_bps: Some(5_000_000), delay, loss: 0.05, ..CLEAN };
        let mut world = World::new(seed, 2, lossy);
        // 2.3 Mbit/s.
        let host = world.add_layered(ROOM, 0, 10, Inside::Temporal);
        let publisher = world.peer_of(host);
        world.links[publisher].up.set(world.now, CLEAN);
        world.links[publisher].down.set(world.now, CLEAN);
        let viewer = world.add_viewer(ROOM, (seed % 2) as u8, Seat::HOST);
        world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
        let seen = watch(&mut world, viewer, Duration::from_secs(12));
        assert!(seen[6..].iter().all(|seen| seen.fps >= 28), "{seen:?}");
    }
}
