//! Real sockets and shard threads.

use std::process::Command;

use greenroom::net::socket::BufferSizes;

use crate::media::facts;
use crate::net::{Running, Show, in_own_network};
use crate::peer::Peer;

/// Holes in what a viewer got, `settled` newest numbers not looked at.
fn holes(peer: &Peer, settled: i64) -> Vec<i64> {
    let received = &peer.watch().received;
    let (Some(first), Some(last)) = (received.keys().next(), received.keys().next_back()) else {
        return vec![0];
    };
    (*first..last - settled).filter(|number| !received.contains_key(number)).collect()
}

/// Packets by their place in the frame.
fn by_place(peer: &Peer) -> [usize; 5] {
    let mut count = [0; 5];
    for payload in peer.watch().received.values() {
        count[usize::from(facts(payload).1)] += 1;
    }
    count
}

async fn all_have(viewers: &mut [Running], count: usize) {
    for viewer in viewers {
        viewer.has(count).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_stop_reading_or_close_their_socket_cost_nobody_a_packet() {
    let mut show = Show::start(BufferSizes::default(), |_| ()).await;
    let mut viewers = Vec::new();
    for _ in 0..24 {
        viewers.push(show.watch(false).await);
    }
    all_have(&mut viewers, 50).await;
    let (mut deaf, mut reading) = (Vec::new(), Vec::new());
    for (n, viewer) in viewers.into_iter().enumerate() {
        match n % 3 {
            0 => reading.push(viewer),
            // Its socket stays open, unread: the kernel drops what does not fit.
            1 => deaf.push(viewer.stop().await),
            // Its socket is closed: the kernel answers with ICMP.
            _ => drop(viewer.stop().await),
        }
    }
    let before = reading[0].received();
    all_have(&mut reading, before + 600).await;
    for viewer in reading {
        let (peer, _) = viewer.stop().await;
        assert_eq!(holes(&peer, 40), [0; 0]);
    }
    for reason in ["send_failed", "send_unreachable", "send_buffer_full", "send_too_large"] {
        assert_eq!(show.metric("greenroom_dropped_total", reason), 0.0, "{reason}");
    }
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_viewers_that_stop_reading_lose_whole_messages_by_name_and_cost_nobody_a_packet() {
    let mut show = Show::start(BufferSizes::default(), |_| ()).await;
    let (mut reading, mut stopping) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        reading.push(show.watch_by_tcp().await);
        stopping.push(show.watch_by_tcp().await);
    }
    reading.push(show.watch(false).await);
    all_have(&mut reading, 50).await;
    all_have(&mut stopping, 50).await;
    assert_eq!(show.metric("greenroom_dropped_total", "tcp_buffer_full"), 0.0);
    let mut deaf = Vec::new();
    for viewer in stopping {
        deaf.push(viewer.stop().await);
    }
    // Five seconds of media; two fill what is held for who does not read.
    let before = reading[0].received();
    all_have(&mut reading, before + 750).await;
    let lost = show.metric("greenroom_dropped_total", "tcp_buffer_full");
    println!("dropped for those who do not read: {lost}");
    assert!(lost > 500.0, "{lost} dropped by name");
    for viewer in reading {
        let (peer, _) = viewer.stop().await;
        assert_eq!(holes(&peer, 40), [0; 0]);
    }
    // They read again: what was held is whole (the peers would not open anything else), and what is sent
    // now comes again.
    for (peer, wire) in deaf {
        let held = peer.watch().received.len();
        let mut back = Running::start(peer, wire);
        back.has(held + 600).await;
        back.stop().await;
    }
}

#[test]
fn a_path_too_narrow_for_some_packets_gets_the_others_and_the_rest_get_all() {
    // 1252 bytes of UDP fit over IPv4, 1232 over IPv6.
    let setup = "set -e; ip link set lo mtu 1280; ip link set lo up";
    let name = "sockets::a_path_too_narrow_for_some_packets_gets_the_others_and_the_rest_get_all";
    in_own_network(name, setup, async {
        let mut show = Show::start(BufferSizes::default(), |publish| {
            // 1240 bytes with header and tag.
            publish.second = Some(1212);
        })
        .await;
        let (mut wide, mut narrow) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            wide.push(show.watch(false).await);
            narrow.push(show.watch(true).await);
        }
        all_have(&mut wide, 500).await;
        all_have(&mut narrow, 400).await;
        for viewer in wide {
            let (peer, _) = viewer.stop().await;
            assert_eq!(holes(&peer, 40), [0; 0]);
        }
        for viewer in narrow {
            let (peer, _) = viewer.stop().await;
            let count = by_place(&peer);
            println!("over the narrow path, by place in the frame: {count:?}");
            assert_eq!(count[1], 0, "does not fit");
            // The third shares its message with the second.
            assert!(count[0] > 90, "{count:?}");
            assert!([2, 3, 4].iter().all(|at| count[0].abs_diff(count[*at]) <= 5), "{count:?}");
        }
        assert!(show.metric("greenroom_dropped_total", "send_too_large") > 100.0);
        assert_eq!(show.metric("greenroom_segmentation_halts_total", ""), 0.0, "no fault of GSO");
    });
}

#[test]
fn a_full_socket_buffer_drops_by_name_and_all_recover() {
    // A third of what is sent fits through.
    let setup = "set -e; ip link set lo up; tc qdisc add dev lo root tbf rate 9mbit burst 30k limit 2000000; \
                 tc qdisc del dev lo root";
    let name = "sockets::a_full_socket_buffer_drops_by_name_and_all_recover";
    in_own_network(name, setup, async {
        let buffers = BufferSizes { send: 32 << 10, receive: 1 << 20 };
        let mut show = Show::start(buffers, |_| ()).await;
        let mut viewers = Vec::new();
        for _ in 0..20 {
            viewers.push(show.watch(false).await);
        }
        all_have(&mut viewers, 50).await;
        assert_eq!(show.metric("greenroom_dropped_total", "send_buffer_full"), 0.0);
        tc("qdisc add dev lo root tbf rate 9mbit burst 30k limit 2000000");
        let before: Vec<usize> = viewers.iter().map(Running::received).collect();
        // The first viewer's part of the link's rate takes some seconds for this.
        let most = before[0] + 150;
        viewers[0].has(most).await;
        let during: Vec<usize> =
            viewers.iter().zip(&before).map(|(v, before)| v.received() - before).collect();
        println!("packets by viewer while the buffer was full: {during:?}");
        let [first, .., last] = [0, 5, 10, 15].map(|at| during[at..at + 5].iter().sum::<usize>());
        assert!(last * 10 > first * 6, "whoever joined last is not the one who pays: {during:?}");
        let full = show.metric("greenroom_dropped_total", "send_buffer_full");
        assert!(full > 100.0, "{full} dropped by name");
        tc("qdisc del dev lo root");
        let now: Vec<usize> = viewers.iter().map(Running::received).collect();
        for (viewer, now) in viewers.iter_mut().zip(now) {
            viewer.has(now + 300).await;
        }
        let late = show.metric("greenroom_dropped_total", "send_buffer_full");
        println!("dropped: {full} while full, {late} in all");
        for viewer in viewers {
            let (peer, _) = viewer.stop().await;
            // The newest second has no hole: nothing is left over from the fault.
            let newest = *peer.watch().received.keys().next_back().expect("media");
            assert!(holes(&peer, 40).iter().all(|hole| *hole < newest - 190));
        }
    });
}

fn tc(command: &str) {
    let status = Command::new("tc").args(command.split(' ')).status();
    assert!(status.expect("tc").success(), "tc {command}");
}
