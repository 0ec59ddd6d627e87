//! The cores of two shards in virtual time.

use std::time::Duration;

use greenroom::sfu::SfuConfig;
use greenroom::sfu::drop_reason::DropReason;
use greenroom::sfu::handshakes::{MAX_WAITING, STEPS_PER_TURN};
use signaling::media::{Audience, CloseReason, MediaEvent, RoomKey, Seat, TransportId};

use crate::media::{Media, facts};
use crate::world::{CLEAN, World};

const ROOM: RoomKey = RoomKey(1);

/// A show on two shards, the host on the first: the world, the host and `viewers` on alternating
/// shards, all with media.
fn show(seed: u64, packets: u16, viewers: usize) -> (World, TransportId, Vec<usize>) {
    let mut world = World::new(seed, 2, CLEAN);
    let host = world.add_publisher(ROOM, 0, packets, 65_000);
    let viewers = (0..viewers).map(|i| world.add_viewer(ROOM, (i % 2) as u8, Seat::HOST)).collect();
    world.set_seat(ROOM, Seat::HOST, Some(host), Audience::Everyone);
    world.run_for(Duration::from_secs(2));
    (world, host, viewers)
}

/// Every packet from this viewer's first on arrived, none by retransmission, up to the newest but
/// what is under way. The number of packets.
fn got_everything(world: &World, viewer: usize, newest_frame: u32) -> usize {
    let watch = world.peers[viewer].watch();
    let numbers: Vec<i64> = watch.received.keys().copied().collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "viewer {viewer} has a hole");
    assert_eq!(watch.repaired, 0, "viewer {viewer} had to ask");
    let (newest, ..) = facts(watch.received.values().next_back().expect("media"));
    assert!(newest + 2 >= newest_frame, "viewer {viewer} is at {newest} of {newest_frame}");
    numbers.len()
}

fn frame_of(world: &mut World, host: TransportId) -> u32 {
    let index = world.peer_of(host);
    world.peers[index].publish().frame
}

fn dropped(world: &World, reason: DropReason) -> u64 {
    world.shards.iter().map(|shard| shard.counters().dropped(reason)).sum()
}

fn retransmissions(world: &World) -> u64 {
    world.shards.iter().map(|shard| shard.counters().retransmissions).sum()
}

fn messages(world: &World) -> u64 {
    world.shards.iter().map(|shard| shard.counters().messages_out).sum()
}

/// Media messages are one for each frame and viewer, and one for each repeat, since there were
/// `before` frames, messages and repeats; what is under way at the ends apart.
fn assert_one_message_a_frame(
    world: &mut World,
    host: TransportId,
    before: Before,
    viewers: usize,
) {
    let now = Before::of(world, host);
    let (frames, viewers) = (u64::from(now.frames - before.frames), viewers as u64);
    let media = (now.messages - before.messages) - (now.repeats - before.repeats);
    let expected = (frames - 1) * viewers..=(frames + 1) * viewers;
    assert!(expected.contains(&media), "{media} messages: {frames} frames, {viewers} viewers");
}

#[derive(Clone, Copy)]
struct Before {
    frames: u32,
    messages: u64,
    repeats: u64,
}

impl Before {
    fn of(world: &mut World, host: TransportId) -> Self {
        let (messages, repeats) = (messages(world), retransmissions(world));
        Self { frames: frame_of(world, host), messages, repeats }
    }
}

#[test]
fn a_thousand_viewers_that_vanish_cost_nobody_a_packet_and_leave_nothing_behind() {
    let (mut world, host, viewers) = show(1, 1, 1_050);
    let (staying, leaving) = viewers.split_at(50);
    for viewer in leaving {
        world.peers[*viewer].silent = true;
    }
    world.run_for(Duration::from_secs(17));
    let sent = dropped(&world, DropReason::NoConsent);
    assert!(sent > 0, "without consent nothing is sent, by name");
    let before = Before::of(&mut world, host);
    world.run_for(Duration::from_secs(16));
    assert_one_message_a_frame(&mut world, host, before, staying.len());
    let newest = frame_of(&mut world, host);
    for viewer in staying {
        got_everything(&world, *viewer, newest);
    }
    for viewer in leaving {
        let id = world.transport_of(*viewer);
        let timeout = |e: &MediaEvent| matches!(e, MediaEvent::Closed(CloseReason::Timeout));
        assert!(world.saw(id, timeout), "viewer {viewer} is gone");
    }
    let left: usize = world.shards.iter().map(|shard| shard.transports()).sum();
    assert_eq!(left, 1 + staying.len());
}

#[test]
fn nack_storm_costs_its_budget_and_every_refusal_has_a_name() {
    const STORMING: usize = 50;
    const SECONDS: u64 = 3;
    let (mut world, host, viewers) = show(2, 1, 1_000);
    let (storming, calm) = viewers.split_at(STORMING);
    for viewer in storming {
        if let Media::Watch(watch) = &mut world.peers[*viewer].media {
            watch.storms = true;
        }
    }
    let before = Before::of(&mut world, host);
    world.run_for(Duration::from_secs(SECONDS));
    assert_one_message_a_frame(&mut world, host, before, viewers.len());
    let newest = frame_of(&mut world, host);
    for viewer in calm {
        got_everything(&world, *viewer, newest);
    }
    let asked: u64 = storming.iter().map(|viewer| world.peers[*viewer].watch().asked).sum();
    assert!(asked > 100_000, "a storm: {asked}");
    let repeated = retransmissions(&world);
    // A hundred a second each, and what a viewer has saved up.
    let budget = STORMING as u64 * (100 * SECONDS + 256);
    assert!(repeated > 0 && repeated <= budget, "{repeated} of {budget}");
    let reasons = [
        DropReason::NackBudget,
        DropReason::NackRepeated,
        DropReason::NackTooLate,
        DropReason::NackUnknown,
    ];
    let refused: u64 = reasons.iter().map(|reason| dropped(&world, *reason)).sum();
    assert!(dropped(&world, DropReason::NackBudget) > 0);
    assert!(dropped(&world, DropReason::NackRepeated) > 0);
    let under_way = 64 * STORMING as u64;
    assert!(repeated + refused <= asked && repeated + refused + under_way >= asked);
    let index = world.peer_of(host);
    assert_eq!(world.peers[index].publish().nacked, 0, "the publisher hears nothing of it");
}

#[test]
fn a_stalled_shard_loses_nothing_and_the_other_does_not_wait() {
    let (mut world, host, viewers) = show(3, 1, 1_000);
    for stalled in [0, 1] {
        let before = Before::of(&mut world, host);
        let seen: Vec<usize> =
            viewers.iter().map(|v| world.peers[*v].watch().received.len()).collect();
        world.stall(stalled, Duration::from_millis(100));
        for (viewer, seen) in viewers.iter().zip(seen) {
            let more = world.peers[*viewer].watch().received.len() - seen;
            // The host's media comes in by the first shard.
            if stalled == 1 && viewer % 2 == viewers[0] % 2 {
                assert!(more >= 2, "viewer {viewer} of the other shard went on: {more}");
            }
        }
        world.run_for(Duration::from_secs(1));
        assert_one_message_a_frame(&mut world, host, before, viewers.len());
        let newest = frame_of(&mut world, host);
        assert!(newest > before.frames + 28);
        let got: Vec<usize> =
            viewers.iter().map(|viewer| got_everything(&world, *viewer, newest)).collect();
        assert!(got.iter().all(|n| n.abs_diff(got[0]) <= 1), "{got:?}");
    }
}

#[test]
fn handshakes_wait_for_the_end_of_a_turn_and_get_their_share_of_it() {
    let (mut world, ..) = show(7, 5, 2);
    let joining = world.add_viewer(ROOM, 0, Seat::HOST);
    // Its check is answered, its handshake is not done.
    world.run_for(Duration::from_millis(8));
    assert!(!world.peers[joining].connected());
    let steps = |world: &World| dropped(world, DropReason::DtlsMalformed);
    // A record of DTLS that is none.
    let junk = vec![22; 40];
    let before = steps(&world);
    world.turn(joining, vec![junk.clone(); MAX_WAITING]);
    assert_eq!(steps(&world) - before, STEPS_PER_TURN as u64, "one turn, one share");
    assert_eq!(dropped(&world, DropReason::HandshakeQueueFull), 0, "all find room");
    world.turn(joining, vec![junk; STEPS_PER_TURN + 1]);
    assert_eq!(dropped(&world, DropReason::HandshakeQueueFull), 1, "the one past the limit");
    assert_eq!(steps(&world) - before, 2 * STEPS_PER_TURN as u64);
    // Nothing waits for another datagram, and the others' joins come through.
    let other = world.add_viewer(ROOM, 0, Seat::HOST);
    world.run_for(Duration::from_secs(3));
    assert!(world.peers[other].connected());
    assert_eq!(steps(&world) - before, (MAX_WAITING + STEPS_PER_TURN) as u64);
}

#[test]
fn media_that_waited_too_long_is_dropped_by_name_and_nothing_else_is() {
    let (mut world, ..) = show(8, 5, 2);
    let late = SfuConfig::default().late;
    let (media, check) = ([0x80; 60], [0; 20]);
    let core = &mut world.shards[0];
    assert!(!core.refuses_late(late, &media), "at the limit");
    assert!(core.refuses_late(late + Duration::from_nanos(1), &media), "past it");
    assert!(!core.refuses_late(late * 2, &check), "a check answers a question that still stands");
    assert_eq!(dropped(&world, DropReason::ReceivedLate), 1);
}

#[test]
fn a_shard_that_stalls_for_too_long_sends_what_it_missed_only_to_those_who_ask() {
    let (mut world, host, viewers) = show(9, 5, 4);
    let stalled = SfuConfig::default().late * 2;
    world.stall(1, stalled);
    world.run_for(Duration::from_secs(2));
    assert!(dropped(&world, DropReason::ReceivedLate) > 0);
    let newest = frame_of(&mut world, host);
    for viewer in viewers {
        let watch = world.peers[viewer].watch();
        let (frame, ..) = facts(watch.received.values().next_back().expect("media"));
        assert!(frame + 2 >= newest, "viewer {viewer} is live again");
    }
}

#[test]
fn media_right_behind_the_last_step_of_a_handshake_finds_its_keys() {
    let mut world = World::new(10, 1, CLEAN);
    let host = world.add_publisher(ROOM, 0, 5, 65_000);
    // What arrives while the shard stalls is handled in one turn: the steps, and the first frames behind them.
    world.run_for(Duration::from_millis(8));
    for _ in 0..20 {
        world.stall(0, Duration::from_millis(25));
    }
    world.run_for(Duration::from_secs(1));
    let index = world.peer_of(host);
    assert!(world.peers[index].connected());
    assert_eq!(dropped(&world, DropReason::NoKeys), 0);
}
