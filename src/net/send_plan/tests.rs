use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::sfu::egress::Path;

/// How the kernel of the test treats one message's destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Fine,
    /// Refuses everything to it.
    Refuses(i32),
    /// Refuses runs, takes single datagrams.
    NoSegmentation(i32),
    /// Refuses datagrams longer than this, and a run of them with this error.
    Mtu(usize, i32),
}

/// A kernel that knows a mood per message and how many pieces it takes before its buffer is full.
struct Kernel {
    moods: Vec<Mood>,
    room: usize,
    /// Bytes offsets sent, per message.
    sent: BTreeMap<usize, Vec<(usize, usize)>>,
    calls: usize,
}

impl Kernel {
    fn refusal(&self, piece: &Piece) -> Option<i32> {
        match self.moods[piece.message] {
            Mood::Fine => None,
            Mood::Refuses(errno) => Some(errno),
            Mood::NoSegmentation(errno) => (piece.datagrams() > 1).then_some(errno),
            Mood::Mtu(mtu, run) => {
                let errno = if piece.datagrams() > 1 { run } else { libc::EMSGSIZE };
                (piece.segment.min(piece.len) > mtu).then_some(errno)
            }
        }
    }

    /// As Linux does: the error belongs to the first unsent message and is told only if nothing
    /// was sent.
    fn send(&mut self, pieces: &[Piece]) -> Result<usize, i32> {
        self.calls += 1;
        for (count, piece) in pieces.iter().enumerate() {
            let refusal = if self.room == 0 { Some(libc::EAGAIN) } else { self.refusal(piece) };
            if let Some(errno) = refusal {
                return if count == 0 { Err(errno) } else { Ok(count) };
            }
            self.room -= 1;
            self.sent.entry(piece.message).or_default().push((piece.start, piece.len));
        }
        Ok(pieces.len())
    }
}

fn messages(shape: &[(usize, usize, u8)]) -> Vec<Message> {
    let mut start = 0;
    shape
        .iter()
        .map(|&(len, segment, local)| {
            let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
            let message = Message { path: Path { local, remote }, start, len, segment };
            start += len;
            message
        })
        .collect()
}

fn run(plan: &mut SendPlan<'_>, kernel: &mut Kernel, limit: usize) -> SendCounters {
    let mut counters = SendCounters::default();
    let mut pieces = Vec::new();
    while plan.fill(&mut pieces, limit) {
        assert!(kernel.calls < 10_000, "the plan does not end");
        let answer = kernel.send(&pieces);
        plan.answer(&pieces, answer, &mut counters);
    }
    counters
}

fn kernel(moods: Vec<Mood>) -> Kernel {
    Kernel { moods, room: usize::MAX, sent: BTreeMap::new(), calls: 0 }
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        4 => Just(Mood::Fine),
        2 => prop::sample::select(vec![
            libc::EPERM, libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EADDRNOTAVAIL, libc::EACCES,
            libc::EMSGSIZE, libc::EINVAL, libc::EIO, libc::ECONNREFUSED, libc::EDESTADDRREQ,
        ]).prop_map(Mood::Refuses),
        1 => prop::sample::select(vec![libc::EINVAL, libc::EIO]).prop_map(Mood::NoSegmentation),
        1 => (1usize..1500, prop::sample::select(vec![libc::EMSGSIZE, libc::EINVAL]))
            .prop_map(|(mtu, run)| Mood::Mtu(mtu, run)),
    ]
}

fn shape() -> impl Strategy<Value = (usize, usize, u8)> {
    (1usize..1400, 1usize..40, 1usize..1400, 0u8..2).prop_map(|(segment, count, last, local)| {
        (segment * (count - 1) + last.min(segment), segment, local)
    })
}

proptest! {
    /// Whatever the kernel refuses, every datagram it would take is sent exactly once, in order,
    /// and every other one is counted.
    #[test]
    fn one_bad_destination_never_stalls_a_batch(
        batch in prop::collection::vec((shape(), mood()), 1..20),
        segmentation: bool,
        limit in 1usize..70,
    ) {
        let (shapes, moods): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let messages = messages(&shapes);
        let mut kernel = kernel(moods);
        let mut plan = SendPlan::new(&messages, 0, segmentation);
        let counters = run(&mut plan, &mut kernel, limit);

        let mut total = 0;
        for (index, message) in messages.iter().enumerate() {
            let sent = kernel.sent.remove(&index).unwrap_or_default();
            if message.path.local != 0 {
                prop_assert!(sent.is_empty(), "sent by the wrong socket");
                continue;
            }
            total += message.segments() as u64;
            let mut at = message.start;
            for (start, len) in &sent {
                prop_assert!(*start >= at, "sent twice or out of order");
                at = start + len;
            }
            let bytes: usize = sent.iter().map(|(_, len)| len).sum();
            match kernel.moods[index] {
                Mood::Fine | Mood::NoSegmentation(_) => prop_assert_eq!(bytes, message.len),
                Mood::Refuses(_) => prop_assert_eq!(bytes, 0),
                Mood::Mtu(mtu, _) if message.segment <= mtu => {
                    prop_assert_eq!(bytes, message.len);
                }
                Mood::Mtu(mtu, _) => {
                    let last = message.len - message.segment * (message.segments() - 1);
                    prop_assert_eq!(bytes, if last <= mtu { last } else { 0 }, "what fits is sent");
                }
            }
        }
        let dropped: u64 = counters.drops().iter().map(|(_, count)| count).sum();
        prop_assert_eq!(counters.datagrams + dropped, total);
        prop_assert_eq!(counters.buffer_full, 0);
        let broken = kernel.moods.iter().any(|mood| matches!(mood, Mood::NoSegmentation(_)));
        prop_assert!(broken || !plan.halted_segmentation(), "a narrow path is no fault of it");
        prop_assert_eq!(counters.runs.iter().sum::<u64>(), counters.messages);
    }

    /// A full buffer ends the batch: nothing is sent twice and nothing is forgotten.
    #[test]
    fn a_full_buffer_drops_the_rest_and_counts_it(
        shapes in prop::collection::vec(shape(), 1..20),
        segmentation: bool,
        room in 0usize..20,
    ) {
        let messages = messages(&shapes);
        let mut kernel = kernel(vec![Mood::Fine; messages.len()]);
        kernel.room = room;
        let mut plan = SendPlan::new(&messages, 0, segmentation);
        let counters = run(&mut plan, &mut kernel, CALL_PIECES);
        let total: usize = messages
            .iter()
            .filter(|message| message.path.local == 0)
            .map(Message::segments)
            .sum();
        prop_assert!(counters.messages <= room as u64);
        prop_assert_eq!(counters.datagrams + counters.buffer_full, total as u64);
    }
}

#[test]
fn a_whole_batch_is_one_call() {
    let messages = messages(&[(6_000, 1_200, 0); 16]);
    let mut kernel = kernel(vec![Mood::Fine; 16]);
    let counters = run(&mut SendPlan::new(&messages, 0, true), &mut kernel, CALL_PIECES);
    assert_eq!((counters.calls, counters.messages, counters.datagrams), (1, 16, 80));
    assert_eq!(counters.runs[3], 16);
}

#[test]
fn a_device_without_segmentation_halts_it_and_loses_nothing() {
    let messages = messages(&[(3_000, 1_200, 0), (2_000, 1_000, 0), (100, 100, 0)]);
    let mut kernel = kernel(vec![Mood::NoSegmentation(libc::EIO); 3]);
    let mut plan = SendPlan::new(&messages, 0, true);
    let counters = run(&mut plan, &mut kernel, CALL_PIECES);
    assert!(plan.halted_segmentation());
    assert_eq!((counters.messages, counters.datagrams), (6, 6));
    // The refused run, its three datagrams singly, the rest.
    assert_eq!(counters.calls, 3);
}

#[test]
fn a_run_that_fails_singly_too_does_not_halt_segmentation() {
    let messages = messages(&[(3_000, 1_000, 0), (3_000, 1_000, 0)]);
    let mut kernel = kernel(vec![Mood::Refuses(libc::EINVAL), Mood::Fine]);
    let mut plan = SendPlan::new(&messages, 0, true);
    let counters = run(&mut plan, &mut kernel, CALL_PIECES);
    assert!(!plan.halted_segmentation());
    assert_eq!((counters.messages, counters.datagrams, counters.failed), (1, 3, 3));
    assert_eq!(counters.last_error, Some(libc::EINVAL));
}

#[test]
fn interruptions_and_silence_end() {
    let messages = messages(&[(10, 10, 0), (10, 10, 0)]);
    for answer in [Err(libc::EINTR), Ok(0)] {
        let mut plan = SendPlan::new(&messages, 0, true);
        let (mut counters, mut pieces) = (SendCounters::default(), Vec::new());
        while plan.fill(&mut pieces, CALL_PIECES) {
            plan.answer(&pieces, answer, &mut counters);
            assert!(counters.calls < 100);
        }
        assert_eq!(counters.drops().iter().map(|(_, count)| count).sum::<u64>(), 2);
    }
}

#[test]
fn runs_longer_than_the_kernel_takes_are_cut() {
    let messages = messages(&[(200 * 100, 100, 0), (60 * 1_200, 1_200, 0)]);
    let mut kernel = kernel(vec![Mood::Fine; 2]);
    let counters = run(&mut SendPlan::new(&messages, 0, true), &mut kernel, CALL_PIECES);
    assert_eq!(counters.datagrams, 260);
    assert_eq!(counters.messages, 4 + 2);
}
