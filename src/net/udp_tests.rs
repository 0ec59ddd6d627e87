//! Round trips over real loopback sockets.
#![expect(clippy::disallowed_methods, reason = "test shell")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::send_counters::SendCounters;
use super::socket::BufferSizes;
use super::udp::{ReceiveArena, SendArena, Socket};
use super::wait::Wait;
use crate::sfu::egress::{Batch, Egress, Path};

const DEADLINE: Duration = Duration::from_secs(10);

fn socket(ip: IpAddr) -> Socket {
    Socket::bind(SocketAddr::new(ip, 0), BufferSizes::default()).expect("a loopback socket")
}

fn localhost() -> Socket {
    socket(Ipv4Addr::LOCALHOST.into())
}

/// Send what `fill` queues, as socket 0.
fn send(from: &Socket, fill: impl FnOnce(&mut Egress<'_>)) -> SendCounters {
    let (mut arena, mut counters, mut batch) =
        (SendArena::new(), SendCounters::default(), Batch::new());
    let mut sink = |batch: &mut Batch| {
        from.send_batch(&mut arena, batch, 0, Instant::now(), &mut counters);
    };
    let mut egress = Egress::new(&mut batch, &mut sink);
    fill(&mut egress);
    egress.flush();
    counters
}

/// Receive until `count` datagrams are there, or fail.
fn receive(socket: &Socket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let (mut arena, mut got) = (ReceiveArena::new(), Vec::new());
    let mut wait = Wait::new().expect("a waiter");
    wait.watch(socket.fd(), 0).expect("a watch");
    let deadline = Instant::now() + DEADLINE;
    while got.len() < count {
        let left = deadline.checked_duration_since(Instant::now());
        wait.wait(Some(left.expect("all datagrams before the deadline"))).expect("a wait");
        socket
            .receive_batch(&mut arena, |origin, bytes| got.push((origin.remote, bytes.to_vec())))
            .expect("a receive");
    }
    got
}

/// `count` datagrams of `segment` bytes, the last of `last`, each filled with its number.
fn datagrams(count: usize, segment: usize, last: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| vec![n as u8; if n + 1 == count { last } else { segment }]).collect()
}

fn message(egress: &mut Egress<'_>, to: SocketAddr, datagrams: &[Vec<u8>]) {
    let start = egress.begin();
    for datagram in datagrams {
        egress.buffer().extend_from_slice(datagram);
    }
    egress.commit(Path { local: 0, remote: to }, start, datagrams[0].len());
}

#[test]
fn runs_of_one_to_sixteen_arrive_as_they_were_cut() {
    let receiver = localhost();
    let sender = localhost();
    let source = sender.address();
    for count in 1..=16 {
        for last in [1, 700, 1_200] {
            let sent = datagrams(count, 1_200, last);
            let counters = send(&sender, |egress| message(egress, receiver.address(), &sent));
            assert_eq!(counters.datagrams, count as u64);
            assert_eq!(counters.drops().map(|(_, count)| count), [0; 6]);
            let got = receive(&receiver, count);
            assert!(got.iter().all(|(from, _)| *from == source), "the wrong source address");
            let got: Vec<_> = got.into_iter().map(|(_, bytes)| bytes).collect();
            assert_eq!(got, sent, "{count} datagrams, the last of {last} bytes");
        }
    }
}

#[test]
fn runs_of_different_sizes_share_a_batch() {
    let receivers: Vec<_> = (0..16).map(|_| localhost()).collect();
    let sender = localhost();
    let runs: Vec<_> = (0..16).map(|n| datagrams(n % 5 + 1, 300 + 50 * n, 1 + 10 * n)).collect();
    let counters = send(&sender, |egress| {
        for (receiver, run) in receivers.iter().zip(&runs) {
            message(egress, receiver.address(), run);
        }
    });
    assert_eq!(counters.datagrams, runs.iter().map(|run| run.len() as u64).sum::<u64>());
    for (receiver, run) in receivers.iter().zip(&runs) {
        let got: Vec<_> = receive(receiver, run.len()).into_iter().map(|(_, b)| b).collect();
        assert_eq!(got, *run);
    }
}

#[test]
fn an_unroutable_viewer_in_the_middle_costs_only_itself() {
    let (receiver, sender) = (localhost(), localhost());
    // A socket bound to 127.0.0.1 cannot reach this documentation address.
    let unroutable = SocketAddr::from(([203, 0, 113, 1], 9));
    let run = datagrams(3, 500, 400);
    let counters = send(&sender, |egress| {
        message(egress, receiver.address(), &run);
        message(egress, unroutable, &run);
        message(egress, receiver.address(), &run);
    });
    assert_eq!(receive(&receiver, 6).len(), 6);
    let dropped: u64 = counters.drops().iter().map(|(_, count)| count).sum();
    assert_eq!((counters.datagrams, dropped), (6, 3));
}

#[test]
fn ipv6_works_where_the_machine_has_it() {
    let ip = IpAddr::from(Ipv6Addr::LOCALHOST);
    let Ok(receiver) = Socket::bind(SocketAddr::new(ip, 0), BufferSizes::default()) else { return };
    let sender = socket(ip);
    let run = datagrams(4, 900, 30);
    send(&sender, |egress| message(egress, receiver.address(), &run));
    let got: Vec<_> = receive(&receiver, 4).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(got, run);
}

#[test]
fn a_batch_is_sent_only_by_its_own_socket() {
    let (receiver, sender) = (localhost(), localhost());
    let path = Path { local: 1, remote: receiver.address() };
    let counters = send(&sender, |egress| egress.datagram(path, b"other socket"));
    assert_eq!((counters.calls, counters.datagrams), (0, 0));
}

#[cfg(all(target_os = "linux", not(feature = "portable-udp")))]
#[test]
fn a_run_is_one_message_and_the_kernel_says_when_it_came() {
    let (receiver, sender) = (localhost(), localhost());
    let run = datagrams(10, 1_200, 1_000);
    let counters = send(&sender, |egress| message(egress, receiver.address(), &run));
    assert_eq!((counters.calls, counters.messages, counters.datagrams), (1, 1, 10));
    let mut arena = ReceiveArena::new();
    let mut wait = Wait::new().expect("a waiter");
    wait.watch(receiver.fd(), 0).expect("a watch");
    assert!(wait.wait(Some(DEADLINE)).expect("a wait").contains(0));
    let mut count = 0;
    let mut stamps = Vec::new();
    receiver
        .receive_batch(&mut arena, |origin, _| {
            count += 1;
            stamps.extend(origin.stamp);
        })
        .expect("a receive");
    stamps.dedup();
    // Glued again by GRO: one slot, one stamp, which each of its datagrams carries.
    assert_eq!((count, arena.stamps().collect()), (10, stamps));
}
