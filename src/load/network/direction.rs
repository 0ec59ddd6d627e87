//! One direction of a path.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Conditions, Counts, Queue};

/// A packet in front of the bottleneck.
#[derive(Debug)]
struct Waiting<P> {
    bytes: usize,
    since: Instant,
    packet: P,
}

/// A packet behind the bottleneck.
#[derive(Debug)]
struct Travelling<P> {
    due: Instant,
    /// Decides among packets of one moment.
    order: u64,
    bytes: usize,
    packet: P,
}

/// One direction of a path. Calls must come with times that do not go back.
#[derive(Debug)]
pub struct Direction<P> {
    conditions: Conditions,
    /// Conditions to come, by time.
    steps: VecDeque<(Instant, Conditions)>,
    /// From, until.
    outages: Vec<(Instant, Instant)>,
    queue: VecDeque<Waiting<P>>,
    queued_bytes: usize,
    /// When the first of the queue is through the bottleneck; only with a queue that is not empty.
    head_leaves: Option<Instant>,
    /// The two-state model's state.
    in_burst: bool,
    travelling: BinaryHeap<Travelling<P>>,
    last_due: Option<Instant>,
    order: u64,
    rng: StdRng,
    counts: Counts,
}

impl<P> Direction<P> {
    /// A direction whose chances follow from `seed` and the sequence of packets.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            conditions,
            steps: VecDeque::new(),
            outages: Vec::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            head_leaves: None,
            in_burst: false,
            travelling: BinaryHeap::new(),
            last_due: None,
            order: 0,
            rng: StdRng::seed_from_u64(seed),
            counts: Counts::default(),
        }
    }

    /// The conditions in force.
    #[must_use]
    pub const fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Later conditions, each in force from its time on. They must be in order of time and later
    /// than those scheduled before.
    pub fn schedule(&mut self, steps: impl IntoIterator<Item = (Instant, Conditions)>) {
        self.steps.extend(steps);
        debug_assert!(self.steps.iter().is_sorted_by_key(|(at, _)| *at), "steps in order of time");
    }

    /// Lose everything that leaves the bottleneck from `from` until before `until`.
    pub fn outage(&mut self, from: Instant, until: Instant) {
        self.outages.push((from, until));
    }

    /// How long a packet that came now would wait for the bottleneck.
    #[must_use]
    pub fn queue_delay(&self, now: Instant) -> Duration {
        let (Some(leaves), Some(head)) = (self.head_leaves, self.queue.front()) else {
            return Duration::ZERO;
        };
        leaves.saturating_duration_since(now) + self.service(self.queued_bytes - head.bytes)
    }

    /// Bytes in front of the bottleneck, those on its wire included.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Packets that were neither delivered nor lost so far, copies included.
    #[must_use]
    pub fn on_their_way(&self) -> usize {
        self.queue.len() + self.travelling.len()
    }

    /// What happened since the last [`Direction::take_counts`].
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What happened since the last call; counting begins anew.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// When to poll next; `None` while nothing is on its way. A poll may come too early, with
    /// jitter, but never too late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let travelling = self.travelling.peek().map(|first| first.due);
        let Some(leaves) = self.head_leaves else { return travelling };
        // The next conditions may be faster.
        let leaving = match self.steps.front() {
            Some((step, _)) if *step <= leaves + self.conditions.delay => leaves.min(*step),
            _ => leaves + self.conditions.delay,
        };
        Some(travelling.map_or(leaving, |due| due.min(leaving)))
    }

    /// How long these bytes take on the wire of the bottleneck.
    fn service(&self, bytes: usize) -> Duration {
        let Some(rate) = self.conditions.rate_bps else { return Duration::ZERO };
        let nanos = bytes as u128 * 8 * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn is_full_for(&self, now: Instant, bytes: usize) -> bool {
        !self.queue.is_empty()
            && match self.conditions.queue {
                Queue::Time(limit) => self.queue_delay(now) > limit,
                Queue::Bytes(limit) => self.queued_bytes + bytes > limit,
            }
    }
}

impl<P: Clone> Direction<P> {
    /// Change the conditions now, for packets that wait too: the rest of the queue leaves at the
    /// new rate. Scheduled conditions stay scheduled.
    pub fn set(&mut self, now: Instant, conditions: Conditions) {
        self.advance(now);
        self.apply(now, conditions);
        self.advance(now);
    }

    /// Give the path a packet of this many bytes (headers included, as far as the caller wants
    /// the rate and the MTU to count them).
    pub fn push(&mut self, now: Instant, bytes: usize, packet: P) {
        self.advance(now);
        self.counts.sent += 1;
        self.counts.sent_bytes += bytes as u64;
        if bytes > self.conditions.mtu {
            self.counts.lost_mtu += 1;
            return;
        }
        if self.is_full_for(now, bytes) {
            self.counts.lost_queue += 1;
            return;
        }
        if self.queue.is_empty() {
            self.head_leaves = Some(now + self.service(bytes));
        }
        self.queue.push_back(Waiting { bytes, since: now, packet });
        self.queued_bytes += bytes;
        self.advance(now);
    }

    /// The next packet that has arrived by now; call until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<P> {
        self.advance(now);
        if self.travelling.peek()?.due > now {
            return None;
        }
        let first = self.travelling.pop()?;
        self.counts.delivered += 1;
        self.counts.delivered_bytes += first.bytes as u64;
        Some(first.packet)
    }

    /// Let the bottleneck work until now, each packet and each step at its own time.
    fn advance(&mut self, now: Instant) {
        loop {
            let step = self.steps.front().map(|(at, _)| *at).filter(|at| *at <= now);
            let leaves = self.head_leaves.filter(|at| *at <= now);
            match (step, leaves) {
                (Some(step), leaves) if leaves.is_none_or(|leaves| step < leaves) => {
                    let Some((at, conditions)) = self.steps.pop_front() else { return };
                    self.apply(at, conditions);
                }
                (_, Some(leaves)) => self.leave(leaves),
                (_, None) => return,
            }
        }
    }

    fn apply(&mut self, at: Instant, conditions: Conditions) {
        let old = std::mem::replace(&mut self.conditions, conditions).rate_bps;
        let Some(leaves) = self.head_leaves.as_mut() else { return };
        let left = leaves.saturating_duration_since(at);
        let left = match (old, conditions.rate_bps) {
            (Some(old), Some(new)) => left.mul_f64(old.max(1) as f64 / new.max(1) as f64),
            _ => Duration::ZERO,
        };
        *leaves = at + left;
    }

    /// The first of the queue is through the bottleneck.
    fn leave(&mut self, at: Instant) {
        let Some(Waiting { bytes, since, packet }) = self.queue.pop_front() else {
            self.head_leaves = None;
            return;
        };
        self.queued_bytes -= bytes;
        self.head_leaves = self.queue.front().map(|next| at + self.service(next.bytes));
        let waited = at.saturating_duration_since(since);
        self.counts.served += 1;
        self.counts.waited += waited;
        self.counts.longest_wait = self.counts.longest_wait.max(waited);
        self.travel(at, bytes, packet);
    }

    fn travel(&mut self, at: Instant, bytes: usize, packet: P) {
        // As many chances are drawn for each packet, whatever the conditions: a change of one
        // condition leaves the luck in the others as it was.
        let [moved, burst, random, held, doubled, jitter] =
            std::array::from_fn(|_| self.rng.random::<f64>());
        if self.is_lost(at, moved, burst, random) {
            return;
        }
        let ordered = (at + self.conditions.delay + self.conditions.jitter.mul_f64(jitter))
            .max(self.last_due.unwrap_or(at));
        let due = if held < self.conditions.reorder {
            self.counts.held_back += 1;
            ordered + self.conditions.reorder_by
        } else {
            self.last_due = Some(ordered);
            ordered
        };
        if doubled < self.conditions.duplicate {
            self.counts.duplicated += 1;
            self.arrive(due, bytes, packet.clone());
        }
        self.arrive(due, bytes, packet);
    }

    fn is_lost(&mut self, at: Instant, moved: f64, burst: f64, random: f64) -> bool {
        let Conditions { burst: model, loss, .. } = self.conditions;
        let in_burst = model.is_some_and(|model| {
            self.in_burst = if self.in_burst { moved >= model.leave } else { moved < model.enter };
            self.in_burst && burst < model.loss
        });
        self.in_burst &= model.is_some();
        self.outages.retain(|(_, until)| *until > at);
        let lost = if self.outages.iter().any(|(from, _)| *from <= at) {
            &mut self.counts.lost_outage
        } else if in_burst {
            &mut self.counts.lost_burst
        } else if random < loss {
            &mut self.counts.lost_random
        } else {
            return false;
        };
        *lost += 1;
        true
    }

    fn arrive(&mut self, due: Instant, bytes: usize, packet: P) {
        self.order += 1;
        self.travelling.push(Travelling { due, order: self.order, bytes, packet });
    }
}

/// The earliest is the greatest, for the heap.
impl<P> Ord for Travelling<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.order).cmp(&(self.due, self.order))
    }
}

impl<P> PartialOrd for Travelling<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> PartialEq for Travelling<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<P> Eq for Travelling<P> {}
