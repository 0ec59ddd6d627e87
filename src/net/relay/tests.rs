#![expect(clippy::disallowed_methods, reason = "test shell")]

use std::time::Duration;

use super::*;
use crate::net::wait::Wait;

fn pair(capacity: usize) -> (Vec<Wait>, Vec<Relay<u32>>) {
    let waits: Vec<_> = (0..2).map(|_| Wait::new().expect("a waiter")).collect();
    let wakers: Vec<_> = waits.iter().map(Wait::waker).collect();
    (waits, Relay::connect(&wakers, capacity))
}

#[test]
fn what_is_pushed_arrives_in_order_with_its_shard() {
    let (_waits, mut relays) = pair(8);
    for n in 0..5 {
        relays[0].push(1, n).expect("room");
    }
    let mut got = Vec::new();
    assert!(relays[1].drain(3, |from, n| got.push((from, n))));
    assert!(!relays[1].drain(3, |from, n| got.push((from, n))));
    assert_eq!(got, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]);
}

#[test]
fn a_full_ring_refuses_and_recovers() {
    let (_waits, mut relays) = pair(2);
    assert_eq!(relays[1].push(0, 1), Ok(()));
    assert_eq!(relays[1].push(0, 2), Ok(()));
    assert_eq!(relays[1].push(0, 3), Err(3));
    relays[0].drain(1, |_, n| assert_eq!(n, 1));
    assert_eq!(relays[1].push(0, 4), Ok(()));
}

#[test]
fn nobody_relays_to_itself_or_to_nobody() {
    let (_waits, mut relays) = pair(2);
    assert_eq!(relays[0].push(0, 1), Err(1));
    assert_eq!(relays[0].push(2, 1), Err(1));
}

#[test]
fn a_push_wakes_the_other_shard_once() {
    let (mut waits, mut relays) = pair(8);
    relays[0].push(1, 1).expect("room");
    relays[0].push(1, 2).expect("room");
    relays[0].wake();
    // Returns at once instead of after the timeout; the second wait finds no further wake.
    let started = std::time::Instant::now();
    waits[1].wait(Some(Duration::from_secs(20))).expect("a wait");
    assert!(started.elapsed() < Duration::from_secs(10));
    relays[0].wake();
    waits[1].wait(Some(Duration::from_millis(1))).expect("a wait");
    let mut count = 0;
    relays[1].drain(8, |_, _| count += 1);
    assert_eq!(count, 2);
}
