use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const CLEAN: Conditions = Conditions::CLEAN;
const MS: Duration = Duration::from_millis(1);

#[expect(clippy::disallowed_methods, reason = "some start of virtual time")]
fn start() -> Instant {
    Instant::now()
}

/// What comes out, each with its time, when each moment that the direction names is used.
fn drain<P: Clone>(direction: &mut Direction<P>, until: Instant) -> Vec<(Instant, P)> {
    let mut out = Vec::new();
    while let Some(at) = direction.poll_timeout().filter(|at| *at <= until) {
        while let Some(packet) = direction.poll(at) {
            out.push((at, packet));
        }
    }
    out
}

/// `count` packets of `bytes`, one each `every`; all that comes out.
fn send(
    direction: &mut Direction<u32>,
    t0: Instant,
    count: u32,
    every: Duration,
    bytes: usize,
) -> Vec<(Instant, u32)> {
    let mut out = Vec::new();
    for number in 0..count {
        let now = t0 + every * number;
        out.extend(drain(direction, now));
        direction.push(now, bytes, number);
    }
    out.extend(drain(direction, t0 + every * count + 3_600_000 * MS));
    out
}

#[test]
fn a_clean_path_gives_back_at_once() {
    let t0 = start();
    let mut path = Direction::new(1, CLEAN);
    assert_eq!(path.poll_timeout(), None);
    path.push(t0, 1200, 'a');
    path.push(t0, 1200, 'b');
    assert_eq!(path.poll_timeout(), Some(t0));
    assert_eq!([path.poll(t0), path.poll(t0), path.poll(t0)], [Some('a'), Some('b'), None]);
}

#[test]
fn delay_and_the_time_on_the_wire_add_up() {
    let t0 = start();
    let conditions = Conditions { rate_bps: Some(1_000_000), delay: 50 * MS, ..CLEAN };
    let mut path = Direction::new(1, conditions);
    path.push(t0, 1250, 'a'); // 10 ms at 1 Mbit/s
    path.push(t0, 1250, 'b');
    assert_eq!(path.queue_delay(t0), 20 * MS);
    let out = drain(&mut path, t0 + 1000 * MS);
    assert_eq!(out, [(t0 + 60 * MS, 'a'), (t0 + 70 * MS, 'b')]);
    assert_eq!(path.counts().longest_wait, 20 * MS);
    assert_eq!(path.counts().mean_wait(), 15 * MS);
}

#[test]
fn the_queue_is_full_one_past_its_limit() {
    let t0 = start();
    let time = Conditions { rate_bps: Some(1_000_000), queue: Queue::Time(30 * MS), ..CLEAN };
    let bytes = Conditions { queue: Queue::Bytes(3750), ..time };
    for (conditions, held) in [(time, 4), (bytes, 3)] {
        let mut path = Direction::new(1, conditions);
        (0..10).for_each(|number| path.push(t0, 1250, number));
        assert_eq!(path.counts().lost_queue, 10 - held, "{conditions}");
        assert_eq!(drain(&mut path, t0 + 1000 * MS).len() as u64, held);
    }
    // An idle bottleneck takes any packet.
    let mut path = Direction::new(1, Conditions { queue: Queue::Bytes(100), ..time });
    path.push(t0, 1250, 0);
    assert_eq!(path.counts().lost_queue, 0);
}

#[test]
fn the_queue_leaves_at_the_new_rate() {
    let t0 = start();
    let slow = Conditions { rate_bps: Some(100_000), queue: Queue::Time(1000 * MS), ..CLEAN };
    let fast = Conditions { rate_bps: Some(1_000_000), ..slow };
    // 100 ms each; after 50 ms the second half of the first goes ten times as fast.
    let expected = [(t0 + 55 * MS, 0), (t0 + 65 * MS, 1), (t0 + 75 * MS, 2)];
    let mut by_hand = Direction::new(1, slow);
    let mut by_step = Direction::new(1, slow);
    by_step.schedule([(t0 + 50 * MS, fast)]);
    for number in 0..3 {
        by_hand.push(t0, 1250, number);
        by_step.push(t0, 1250, number);
    }
    by_hand.set(t0 + 50 * MS, fast);
    assert_eq!(drain(&mut by_hand, t0 + 1000 * MS), expected);
    assert_eq!(drain(&mut by_step, t0 + 1000 * MS), expected);

    let mut freed = Direction::new(1, slow);
    (0..3).for_each(|number| freed.push(t0, 1250, number));
    freed.set(t0 + 50 * MS, CLEAN);
    assert_eq!(drain(&mut freed, t0 + 50 * MS).len(), 3, "no bottleneck, no queue");
}

#[test]
fn a_late_poll_loses_no_time() {
    let t0 = start();
    let conditions = Conditions { rate_bps: Some(1_000_000), delay: 5 * MS, ..CLEAN };
    let mut path = Direction::new(1, conditions);
    (0..10).for_each(|number| path.push(t0, 1250, number));
    assert_eq!(std::iter::from_fn(|| path.poll(t0 + 54 * MS)).count(), 4);
    assert_eq!(path.queue_delay(t0 + 54 * MS), 46 * MS);
}

#[test]
fn an_outage_loses_what_leaves_meanwhile() {
    let t0 = start();
    let mut path = Direction::new(1, CLEAN);
    path.outage(t0 + 10 * MS, t0 + 20 * MS);
    let numbers: Vec<_> = send(&mut path, t0, 30, MS, 100).iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers, (0..10).chain(20..30).collect::<Vec<_>>());
    assert_eq!(path.counts().lost_outage, 10);
}

#[test]
fn the_mtu_is_the_largest_that_passes() {
    let t0 = start();
    let mut path = Direction::new(1, Conditions { mtu: 1280, ..CLEAN });
    path.push(t0, 1280, 'a');
    path.push(t0, 1281, 'b');
    assert_eq!([path.poll(t0), path.poll(t0)], [Some('a'), None]);
    assert_eq!(path.counts().lost_mtu, 1);
}

#[test]
fn losses_are_as_frequent_as_said() {
    let t0 = start();
    let mut path = Direction::new(7, Conditions { loss: 0.05, ..CLEAN });
    send(&mut path, t0, 20_000, MS, 100);
    let lost = path.counts().lost_random;
    assert!((900..1100).contains(&lost), "{lost} of 20 000");
}

#[test]
fn bursts_are_as_long_as_said() {
    let t0 = start();
    // A share of 0.01 / (0.01 + 0.2) = 4.8 % in runs of 5 on average.
    let burst = Burst { enter: 0.01, leave: 0.2, loss: 1.0 };
    let mut path = Direction::new(7, Conditions { burst: Some(burst), ..CLEAN });
    let out = send(&mut path, t0, 50_000, MS, 100);
    let runs = out.windows(2).filter(|pair| pair[1].1 > pair[0].1 + 1).count() as f64;
    let lost = path.counts().lost_burst as f64;
    assert!((2000.0..2800.0).contains(&lost), "{lost} of 50 000");
    assert!((4.5..5.5).contains(&(lost / runs)), "{} a run", lost / runs);
}

#[test]
fn a_packet_held_back_is_passed() {
    let t0 = start();
    let conditions = Conditions { delay: 10 * MS, reorder: 0.1, reorder_by: 5 * MS, ..CLEAN };
    let mut path = Direction::new(3, conditions);
    let out = send(&mut path, t0, 1000, MS, 100);
    let passed = out.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
    assert!(path.counts().held_back > 50 && passed > 50, "{:?}", path.counts());
    assert_eq!(out.len(), 1000);
}

#[test]
fn words_say_all_conditions() {
    let words = "rate=800k queue=1.5s delay=50ms jitter=4ms loss=0.05 duplicate=0.01 \
                 burst=0.01:0.3:1 reorder=0.02:30ms mtu=1280";
    let conditions = CLEAN.changed(words).unwrap();
    let expected = Conditions {
        rate_bps: Some(800_000),
        queue: Queue::Time(1500 * MS),
        delay: 50 * MS,
        jitter: 4 * MS,
        loss: 0.05,
        burst: Some(Burst { enter: 0.01, leave: 0.3, loss: 1.0 }),
        reorder: 0.02,
        reorder_by: 30 * MS,
        duplicate: 0.01,
        mtu: 1280,
    };
    assert_eq!(conditions, expected);
    assert_eq!(CLEAN.changed(&conditions.to_string()), Ok(conditions));
    assert_eq!(conditions.changed(&CLEAN.to_string()), Ok(CLEAN));
    assert_eq!(CLEAN.changed("rate=5m queue=64000b").unwrap().queue, Queue::Bytes(64_000));
    for wrong in [
        "rate",
        "rate=",
        "rate=fast",
        "rate=-1",
        "loss=1.1",
        "loss=nan",
        "delay=50",
        "delay=-1ms",
        "burst=0.1:0.2",
        "burst=0.1:0.2:0.3:0.4",
        "reorder=0.1",
        "speed=1",
        "mtu=-3",
        "queue=9é",
    ] {
        assert!(CLEAN.changed(wrong).is_err_and(|why| why.contains(wrong)), "{wrong}");
    }
}

#[test]
fn the_two_directions_have_luck_of_their_own() {
    let t0 = start();
    let mut link = Link::symmetric(5, Conditions { loss: 0.3, delay: MS, ..CLEAN });
    link.down.push(t0, 10, 0);
    assert!(link.poll_timeout().is_none_or(|at| at == t0 + MS));
    assert_ne!(send(&mut link.up, t0, 100, MS, 10), send(&mut link.down, t0 + MS, 100, MS, 10));
}

fn any_conditions() -> impl Strategy<Value = Conditions> {
    let chance = || prop_oneof![Just(0.0), Just(1.0), 0.0..0.3];
    let time = |ms: u64| (0..ms * 1000).prop_map(Duration::from_micros);
    let queue =
        prop_oneof![time(500).prop_map(Queue::Time), (0..100_000usize).prop_map(Queue::Bytes)];
    let burst = (chance(), chance(), chance()).prop_map(|(enter, leave, loss)| Burst {
        enter,
        leave,
        loss,
    });
    let rate = prop_oneof![Just(Some(0)), (50_000..20_000_000u64).prop_map(Some), Just(None)];
    (
        (rate, queue, time(200), time(50)),
        (chance(), prop::option::of(burst), chance(), time(40), chance(), 500..1500usize),
    )
        .prop_map(|((rate_bps, queue, delay, jitter), rest)| {
            let (loss, burst, reorder, reorder_by, duplicate, mtu) = rest;
            Conditions {
                rate_bps,
                queue,
                delay,
                jitter,
                loss,
                burst,
                reorder,
                reorder_by,
                duplicate,
                mtu,
            }
        })
}

/// The packet before which conditions change, and the conditions.
type Changes = Vec<(usize, Conditions)>;

/// Packets as the time since the one before and their size, and conditions at some of them.
fn any_run() -> impl Strategy<Value = (Vec<(u64, usize)>, Changes)> {
    let packets = prop::collection::vec((0..20_000u64, 1..1500usize), 1..200);
    (packets, prop::collection::vec((0..200usize, any_conditions()), 1..5))
}

/// Run it; what came out and when, and the direction as it is at the end.
fn run(
    seed: u64,
    packets: &[(u64, usize)],
    changes: &[(usize, Conditions)],
) -> (Vec<(Instant, usize)>, Direction<usize>, Instant) {
    let t0 = start();
    let mut now = t0;
    let mut path = Direction::new(seed, changes[0].1);
    let mut out = Vec::new();
    for (number, (after, bytes)) in packets.iter().enumerate() {
        now += Duration::from_micros(*after);
        out.extend(drain(&mut path, now));
        if let Some((_, conditions)) = changes.iter().find(|(at, _)| *at == number) {
            path.set(now, *conditions);
        }
        path.push(now, *bytes, number);
        let counts = path.counts();
        assert_eq!(
            counts.sent + counts.duplicated,
            counts.delivered + counts.lost() + path.on_their_way() as u64,
        );
    }
    path.set(now, Conditions { rate_bps: Some(1_000_000_000), ..*path.conditions() });
    out.extend(drain(&mut path, now + 60_000 * MS));
    (out, path, t0)
}

proptest! {
    #[test]
    fn nothing_gets_lost_without_a_name((packets, changes) in any_run(), seed: u64) {
        let (out, path, _) = run(seed, &packets, &changes);
        let counts = *path.counts();
        prop_assert_eq!(path.on_their_way(), 0);
        prop_assert_eq!(path.queued_bytes(), 0);
        prop_assert_eq!(counts.sent, packets.len() as u64);
        prop_assert_eq!(counts.delivered, out.len() as u64);
        prop_assert_eq!(counts.sent + counts.duplicated, counts.delivered + counts.lost());
    }

    #[test]
    fn one_seed_has_one_outcome((packets, changes) in any_run(), seed: u64) {
        let (first, _, t1) = run(seed, &packets, &changes);
        let (second, _, t2) = run(seed, &packets, &changes);
        let since = |out: &[(Instant, usize)], t0| {
            out.iter().map(|(at, number)| (*at - t0, *number)).collect::<Vec<_>>()
        };
        prop_assert_eq!(since(&first, t1), since(&second, t2));
    }

    #[test]
    fn order_is_kept_unless_packets_are_held_back((packets, changes) in any_run(), seed: u64) {
        let in_order: Vec<_> =
            changes.iter().map(|(at, c)| (*at, Conditions { reorder: 0.0, ..*c })).collect();
        let (out, ..) = run(seed, &packets, &in_order);
        prop_assert!(out.is_sorted_by_key(|(_, number)| *number));
        prop_assert!(out.is_sorted_by_key(|(at, _)| *at));
    }

    #[test]
    fn the_rate_is_held(packets in prop::collection::vec((0..3000u64, 1..1500usize), 2..300),
                        rate in 100_000..10_000_000u64, delay in 0..100u32) {
        let conditions = Conditions {
            rate_bps: Some(rate), delay: delay * MS, queue: Queue::Bytes(20_000), ..CLEAN
        };
        let mut path = Direction::new(1, conditions);
        let mut now = start();
        let mut out = Vec::new();
        for (after, bytes) in &packets {
            now += Duration::from_micros(*after);
            out.extend(drain(&mut path, now));
            path.push(now, *bytes, *bytes);
        }
        out.extend(drain(&mut path, now + 60_000 * MS));
        // Between any two arrivals there is time on the wire for the later ones.
        for pair in out.windows(2) {
            let wire = Duration::from_secs_f64(pair[1].1 as f64 * 8.0 / rate as f64);
            prop_assert!(pair[1].0 - pair[0].0 + Duration::from_nanos(2) >= wire);
        }
        // And while the queue is not empty, no time is wasted: what was sent at once and fits
        // leaves back to back.
        let mut burst = Direction::new(1, conditions);
        let t0 = start();
        (0..10).for_each(|_| burst.push(t0, 1000, ()));
        let last = drain(&mut burst, t0 + 60_000 * MS).last().unwrap().0 - t0;
        let wire = Duration::from_secs_f64(80_000.0 / rate as f64) + delay * MS;
        prop_assert!(last.abs_diff(wire) < Duration::from_micros(1), "{last:?} {wire:?}");
    }

    #[test]
    fn words_are_read_as_written(conditions in any_conditions()) {
        prop_assert_eq!(CLEAN.changed(&conditions.to_string()), Ok(conditions));
    }
}
