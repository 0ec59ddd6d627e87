//! Viewers who asked for the loudest voices only.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use greenroom::sfu::command::{ALL_VOICES, ShardCommand};
use signaling::media::{Audience, CloseReason, MediaKind, Seat, TransportId};

use super::ROOM;
use super::seeds;
use super::world::{CLEAN, World};

const QUIET: u8 = 70;
const SPEAKS: u8 = 25;
/// A packet every 20 ms, the way to the server and on, and a moment of waiting for video to travel with.
const PACKET: Duration = Duration::from_millis(20);
const WAY: Duration = Duration::from_millis(20);

struct Show {
    world: World,
    /// Host and five guests, on two shards.
    speakers: Vec<TransportId>,
}

impl Show {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed, 2, CLEAN);
        let mut speakers = Vec::new();
        for seat in 0..6_u8 {
            let late = Duration::from_millis(u64::from(seat) * 3);
            let speaker = world.add_speaker(ROOM, (seat + seed as u8) % 2, 1, 9, Some(late));
            world.set_seat(ROOM, Seat(seat), Some(speaker), Audience::Everyone);
            speakers.push(speaker);
        }
        let mut show = Self { world, speakers };
        (0..6).for_each(|seat| show.says(seat, QUIET));
        show
    }

    fn says(&mut self, seat: usize, minus_dbov: u8) {
        let peer = self.world.peer_of(self.speakers[seat]);
        let sound = self.world.peers[peer].publish().sound.as_mut().expect("sound");
        sound.level = Some(minus_dbov);
    }

    fn listener(&mut self, shard: u8, top: u8) -> usize {
        let seats: Vec<Seat> = (0..6).map(Seat).collect();
        let listener = self.world.add_listener(ROOM, shard, &seats);
        self.prefer(listener, top);
        listener
    }

    fn prefer(&mut self, listener: usize, top: u8) {
        let id = self.world.transport_of(listener);
        self.world.command_all(&ShardCommand::PreferVoices { id, top });
    }

    fn run(&mut self, time: Duration) {
        self.world.run_for(time);
    }

    /// Seats of which something came since then.
    fn heard(&mut self, listener: usize, since: Instant) -> Vec<usize> {
        let voices = self.world.peers[listener].watch().voices.values().enumerate();
        let heard = voices.filter(|(_, voice)| voice.last().is_some_and(|(at, ..)| *at > since));
        heard.map(|(seat, _)| seat).collect()
    }

    /// Seats that are heard now.
    fn present(&mut self, listener: usize) -> Vec<usize> {
        self.run(WAY);
        let since = self.world.now;
        self.run(PACKET * 2);
        self.heard(listener, since)
    }

    fn packets(&mut self, listener: usize) -> usize {
        self.world.peers[listener].watch().voices.values().map(Vec::len).sum()
    }

    /// Numbers of every slot go on without a hole, also where its seat was not heard for a while.
    fn seamless(&mut self, listener: usize) -> Vec<usize> {
        let voices = &self.world.peers[listener].watch().voices;
        for (ssrc, voice) in voices {
            for pair in voice.windows(2) {
                let ((_, before, _), (_, after, _)) = (pair[0], pair[1]);
                assert_eq!(before.wrapping_add(1), after, "{ssrc}");
            }
        }
        voices.values().map(Vec::len).collect()
    }
}

#[test]
fn host_and_whoever_speaks_are_heard_from_the_second_packet_on_and_never_more_than_asked_for() {
    for seed in seeds(2) {
        println!("SIM_SEED={seed}");
        let mut show = Show::new(seed);
        let listeners = [show.listener(0, 3), show.listener(1, 3)];
        let everything = show.listener(1, ALL_VOICES);
        show.run(Duration::from_secs(2));
        for listener in listeners {
            assert_eq!(show.present(listener), [0, 1, 2]);
            assert_eq!(show.present(everything), [0, 1, 2, 3, 4, 5]);
        }
        // Who speaks, and who is heard then.
        let turns = [(5, true, vec![0, 1, 5]), (4, true, vec![0, 4, 5])];
        let pauses =
            [(5, false, vec![0, 4, 5]), (3, true, vec![0, 3, 4]), (3, false, vec![0, 3, 4])];
        for (seat, speaks, expected) in turns.into_iter().chain(pauses) {
            show.says(seat, if speaks { SPEAKS } else { QUIET });
            let since = show.world.now;
            // The packet that is about to be made, the second, and their way.
            show.run(PACKET * 2 + WAY);
            for listener in listeners {
                assert!(show.heard(listener, since).contains(&seat), "{seat}");
            }
            show.run(Duration::from_millis(500));
            let before = listeners.map(|listener| show.packets(listener));
            show.run(Duration::from_secs(1));
            let after = listeners.map(|listener| show.packets(listener));
            for (before, after) in before.into_iter().zip(after) {
                let packets = after - before;
                assert!((145..=153).contains(&packets), "{packets} packets of three voices");
            }
            for listener in listeners {
                assert_eq!(show.present(listener), expected, "after {seat}: {speaks}");
            }
        }
        for listener in listeners {
            let packets = show.seamless(listener);
            assert!(packets[0] > packets[5] + 100, "{packets:?}");
        }
        let all: BTreeSet<usize> = show.seamless(everything).into_iter().collect();
        let (first, last) = (all.first().expect("six"), all.last().expect("six"));
        assert!(last - first < 5, "{all:?}");
    }
}

#[test]
fn each_viewer_hears_as_many_as_it_asked_for_and_may_change_its_mind() {
    let mut show = Show::new(51);
    let listeners: Vec<usize> = [1, 2, 6, ALL_VOICES].map(|top| show.listener(1, top)).to_vec();
    show.says(4, SPEAKS);
    show.run(Duration::from_secs(2));
    let present: Vec<_> = listeners.iter().map(|listener| show.present(*listener)).collect();
    assert_eq!(present, [vec![0], vec![0, 4], (0..6).collect(), (0..6).collect()]);
    show.prefer(listeners[0], 3);
    show.prefer(listeners[3], 2);
    assert_eq!(show.present(listeners[0]).len(), 3);
    assert_eq!(show.present(listeners[3]), [0, 4]);
    // Nobody asks any more.
    listeners.iter().for_each(|listener| show.prefer(*listener, ALL_VOICES));
    for listener in listeners {
        assert_eq!(show.present(listener), [0, 1, 2, 3, 4, 5]);
        show.seamless(listener);
    }
}

#[test]
fn a_guest_who_leaves_or_is_muted_gives_up_the_place_and_who_comes_speaks_for_it() {
    let mut show = Show::new(52);
    let listener = show.listener(0, 3);
    (4..6).for_each(|seat| show.says(seat, SPEAKS));
    show.run(Duration::from_secs(2));
    assert_eq!(show.present(listener), [0, 4, 5]);
    show.world.set_seat(ROOM, Seat(5), None, Audience::Nobody);
    assert_eq!(show.present(listener).len(), 3, "somebody else");
    show.says(3, SPEAKS);
    show.run(PACKET * 4);
    assert_eq!(show.present(listener), [0, 3, 4]);
    // Who comes back waits until it speaks.
    let back = show.speakers[5];
    show.says(5, QUIET);
    show.world.set_seat(ROOM, Seat(5), Some(back), Audience::Everyone);
    assert_eq!(show.present(listener), [0, 3, 4]);
    let gate = |open| ShardCommand::SetGate { id: show.speakers[4], kind: MediaKind::Audio, open };
    let (shut, open) = (gate(false), gate(true));
    show.world.command_all(&shut);
    show.run(Duration::from_millis(500));
    show.says(5, SPEAKS);
    show.run(PACKET * 4);
    assert_eq!(show.present(listener), [0, 3, 5]);
    show.world.command_all(&open);
    assert_eq!(show.present(listener), [0, 3, 5], "no louder than those who speak");
    show.says(3, QUIET);
    show.run(Duration::from_millis(500));
    assert_eq!(show.present(listener), [0, 4, 5]);
    show.seamless(listener);
}

#[test]
fn what_nobody_on_a_shard_listens_to_any_more_is_not_sent_there() {
    let mut show = Show::new(53);
    let listener = show.listener(1, 2);
    show.run(Duration::from_secs(2));
    // Also those who are not heard are followed.
    let relayed =
        |show: &Show| show.world.shards.iter().map(|s| s.counters().relayed_out).sum::<u64>();
    let before = relayed(&show);
    show.run(Duration::from_secs(1));
    let one = relayed(&show) - before;
    assert!((140..=160).contains(&one), "{one}: of the three on the other shard");
    let id = show.world.transport_of(listener);
    let reason = CloseReason::Requested;
    show.world.command_all(&ShardCommand::Close { id, reason });
    let before = relayed(&show);
    show.run(Duration::from_secs(5));
    assert_eq!(relayed(&show), before);
}
