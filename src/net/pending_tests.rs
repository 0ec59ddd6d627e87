//! The wake protocol between shards under `loom`: the interleavings of a few threads, and every
//! value their loads may return by the memory model. A work item slept over leaves all threads
//! blocked, which `loom` reports as a deadlock.
//!
//! `pending.rs` is compiled a second time here, over `loom`'s atomics. The rings are modelled as
//! `rtrb` is written (a slot, then the tail with `Release`; the tail with `Acquire`, then the slot),
//! the eventfd as a counter that `read` sets to zero and a wait that ends when it is not.

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicUsize;
use loom::sync::{Condvar, Mutex};
use loom::thread;

/// What `pending.rs` finds as `super::atomic`.
mod atomic {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};
}

#[path = "pending.rs"]
#[allow(clippy::duplicate_mod, reason = "compiled again, over other atomics")]
mod pending;

use atomic::{AtomicBool, Ordering};
use pending::Pending;

const ITEMS: usize = 3;

/// Times that a thread of a model with three is interrupted where it would not wait by itself.
const PREEMPTIONS: usize = 3;

/// A single-producer ring that never wraps.
struct Ring {
    slots: [UnsafeCell<usize>; ITEMS],
    tail: AtomicUsize,
}

impl Ring {
    fn new() -> Self {
        Self { slots: std::array::from_fn(|_| UnsafeCell::new(0)), tail: AtomicUsize::new(0) }
    }

    fn push(&self, at: usize, item: usize) {
        self.slots[at].with_mut(|slot| write(slot, item));
        self.tail.store(at + 1, Ordering::Release);
    }

    /// Take what is there from `head` on; the new head.
    fn drain(&self, head: usize, sum: &mut usize) -> usize {
        let tail = self.tail.load(Ordering::Acquire);
        for slot in &self.slots[head..tail] {
            *sum += slot.with(read);
        }
        tail
    }
}

#[expect(unsafe_code, reason = "the cell of the model is raw")]
fn write(slot: *mut usize, item: usize) {
    // SAFETY: `loom` hands out a valid pointer and fails the test if another thread uses it too.
    unsafe { *slot = item }
}

#[expect(unsafe_code, reason = "the cell of the model is raw")]
fn read(slot: *const usize) -> usize {
    // SAFETY: as in `write`.
    unsafe { *slot }
}

/// An eventfd and the wait for it.
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
    }

    fn silence(&self) {
        *self.rung.lock().unwrap() = false;
    }
}

/// How the sleeper answers the bell.
type Answer = fn(&Bell, &Flag);

/// The flag as it is, or a wrong one.
enum Flag {
    Real(Pending),
    /// Lowered by a plain store.
    Stored(AtomicBool),
}

impl Flag {
    fn raise(&self) -> bool {
        match self {
            Self::Real(pending) => pending.raise(),
            Self::Stored(flag) => !flag.swap(true, Ordering::AcqRel),
        }
    }

    fn lower(&self) {
        match self {
            Self::Real(pending) => pending.lower(),
            Self::Stored(flag) => flag.store(false, Ordering::Release),
        }
    }
}

struct Shard {
    rings: Vec<Ring>,
    flag: Flag,
    bell: Bell,
}

/// `pushes[n]` items from producer `n`, each with a wake of its own; the sleeper must get them all.
fn model(pushes: &'static [usize], flag: fn() -> Flag, answer: Answer) {
    let mut builder = loom::model::Builder::new();
    // With three threads every interleaving takes hours; the errors below need one.
    builder.preemption_bound = (pushes.len() > 1).then_some(PREEMPTIONS);
    builder.check(move || {
        #[expect(clippy::arc_with_non_send_sync, reason = "the threads of a model are one")]
        let shard = Arc::new(Shard {
            rings: pushes.iter().map(|_| Ring::new()).collect(),
            flag: flag(),
            bell: Bell { rung: Mutex::new(false), heard: Condvar::new() },
        });
        let producers: Vec<_> = (0..pushes.len())
            .map(|producer| {
                let shard = Arc::clone(&shard);
                thread::spawn(move || {
                    for item in 0..pushes[producer] {
                        shard.rings[producer].push(item, item + 1);
                        if shard.flag.raise() {
                            shard.bell.ring();
                        }
                    }
                })
            })
            .collect();
        let (mut heads, mut sum) = (vec![0; pushes.len()], 0);
        while heads != pushes {
            shard.bell.wait();
            answer(&shard.bell, &shard.flag);
            for (ring, head) in shard.rings.iter().zip(&mut heads) {
                *head = ring.drain(*head, &mut sum);
            }
        }
        assert_eq!(sum, pushes.iter().map(|n| n * (n + 1) / 2).sum::<usize>());
        for producer in producers {
            producer.join().unwrap();
        }
    });
}

fn real() -> Flag {
    Flag::Real(Pending::new())
}

/// As `wait.rs` does it.
fn in_order(bell: &Bell, flag: &Flag) {
    bell.silence();
    flag.lower();
}

#[test]
fn what_is_pushed_is_seen_without_a_further_wake() {
    model(&[ITEMS], real, in_order);
}

#[test]
fn a_push_that_finds_the_flag_up_is_seen_too() {
    model(&[1, 1], real, in_order);
    model(&[2, 1], real, in_order);
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_finds_a_bell_silenced_after_the_flag() {
    model(&[ITEMS], real, |bell, flag| {
        flag.lower();
        bell.silence();
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_model_finds_a_flag_lowered_by_a_plain_store() {
    model(&[1, 1], || Flag::Stored(AtomicBool::new(false)), in_order);
}
