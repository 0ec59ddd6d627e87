//! Transport-wide feedback: what was told is what arrived, to us and to `rtc-rtcp`.

use proptest::prelude::*;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;

use super::build::{FeedbackHeader, transport_feedback};
use super::*;
use crate::rtp::error::RtpError;

const HEADER: FeedbackHeader = FeedbackHeader { sender_ssrc: 1, media_ssrc: 2, feedback_count: 7 };

fn read(bytes: &[u8]) -> Result<TransportFeedback<'_>, RtpError> {
    match packets(bytes).next().expect("one packet")? {
        Packet::TransportFeedback(feedback) => Ok(feedback),
        other => panic!("not feedback: {other:?}"),
    }
}

/// All feedback packets for `arrivals`, as a caller makes them.
fn build_all(mut base: u64, mut arrivals: &[(u64, i64)]) -> Vec<(usize, Vec<u8>)> {
    let mut all = Vec::new();
    while !arrivals.is_empty() {
        let mut out = Vec::new();
        let covered = transport_feedback(&mut out, HEADER, base, arrivals);
        assert!(covered > 0, "no progress");
        assert!(out.len() <= 1024, "{} bytes", out.len());
        base = arrivals[covered - 1].0 + 1;
        arrivals = &arrivals[covered..];
        all.push((covered, out));
    }
    all
}

fn received(bytes: &[u8]) -> Vec<(u16, i64)> {
    let feedback = read(bytes).expect("well-formed");
    let statuses = feedback.statuses();
    let arrivals: Vec<_> =
        statuses.filter_map(|status| Some((status.sequence, status.arrival_us?))).collect();
    assert!(feedback.arrivals().eq(arrivals.iter().copied()), "two walks, one story");
    arrivals
}

/// What `rtc-rtcp` makes of it: packets spoken of, and arrival times in microseconds.
fn received_by_rtc(bytes: &[u8]) -> (u16, u16, Vec<i64>) {
    let all = rtc_rtcp::packet::unmarshal(&mut &bytes[..]).expect("rtc-rtcp reads it");
    let feedback = all[0].as_any().downcast_ref::<TransportLayerCc>().expect("feedback");
    let mut at = i64::from(feedback.reference_time) * 64_000;
    let times = feedback.recv_deltas.iter().map(|delta| {
        at += delta.delta;
        at
    });
    (feedback.base_sequence_number, feedback.packet_status_count, times.collect())
}

/// Streams with losses, bursts, pauses and reordering.
fn stream() -> impl Strategy<Value = Vec<(u64, i64)>> {
    let gap = prop_oneof![20 => Just(0_u64), 3 => 1..4_u64, 1 => 5..60_u64, 1 => 5_000..30_000_u64];
    let delay = prop_oneof![
        10 => 0..60_000_i64,
        5 => 0..500_i64,
        2 => 60_000..9_000_000_i64,
        1 => -70_000..0_i64,
    ];
    (0..200_000_u64, 0..2_000_000_000_000_i64, proptest::collection::vec((gap, delay), 1..400))
        .prop_map(|(mut sequence, mut at, steps)| {
            let arrivals = steps.into_iter().map(|(gap, delay)| {
                sequence += gap + 1;
                at = (at + delay).max(0);
                (sequence, at)
            });
            arrivals.collect()
        })
}

proptest! {
    #[test]
    fn feedback_tells_every_arrival_to_the_tick(arrivals in stream(), lead in 0..40_u64) {
        let base = arrivals[0].0.saturating_sub(lead);
        let mut told = Vec::new();
        for (covered, bytes) in build_all(base, &arrivals) {
            let ours = received(&bytes);
            prop_assert_eq!(ours.len(), covered);
            let feedback = read(&bytes).expect("well-formed");
            let (their_base, their_count, theirs) = received_by_rtc(&bytes);
            prop_assert_eq!(their_base, feedback.base_sequence);
            prop_assert_eq!(their_count, feedback.status_count);
            // They read the reference time as unsigned: compare within its period.
            let period = 64_000_i64 << 24;
            let ours_modulo = ours.iter().map(|(_, at)| at.rem_euclid(period));
            prop_assert!(ours_modulo.eq(theirs.iter().map(|at| at.rem_euclid(period))));
            told.extend(ours);
        }
        let period = 64_000_i64 << 24;
        let expected = arrivals.iter().map(|(sequence, at)| {
            (*sequence as u16, (at.div_euclid(250) * 250).rem_euclid(period))
        });
        prop_assert!(told.iter().map(|(s, at)| (*s, at.rem_euclid(period))).eq(expected));
    }

    #[test]
    fn unsorted_arrivals_never_hang_or_lie(
        base in 0..1_000_u64,
        arrivals in proptest::collection::vec((0..70_000_u64, 0..1_000_000_000_i64), 0..60),
    ) {
        let mut out = Vec::new();
        let covered = transport_feedback(&mut out, HEADER, base, &arrivals);
        prop_assert!(covered > 0 || arrivals.is_empty());
        if !out.is_empty() {
            let known: Vec<u16> = arrivals.iter().map(|(sequence, _)| *sequence as u16).collect();
            prop_assert!(received(&out).iter().all(|(sequence, _)| known.contains(sequence)));
        }
    }

    #[test]
    fn any_feedback_body_is_walked_to_its_count(
        mut body in proptest::collection::vec(any::<u8>(), 16..160),
        count in prop_oneof![0..100_u16, any::<u16>()],
    ) {
        body.truncate(body.len() / 4 * 4);
        body[10..12].copy_from_slice(&count.to_be_bytes());
        let words = (body.len() / 4) as u8;
        let bytes = [&[0x8f, 205, 0, words][..], &body].concat();
        if let Ok(feedback) = read(&bytes) {
            let statuses: Vec<_> = feedback.statuses().collect();
            prop_assert_eq!(statuses.len(), usize::from(count));
            let arrived = statuses.iter().filter_map(|s| Some((s.sequence, s.arrival_us?)));
            prop_assert!(feedback.arrivals().eq(arrived));
        }
    }
}

/// A feedback packet on `count` packets from these chunks and deltas.
fn feedback(count: u16, tail: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff];
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 1, 7]);
    bytes.extend_from_slice(tail);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[3] = (bytes.len() / 4 - 1) as u8;
    bytes
}

#[test]
fn chunks_of_every_form_and_wrapping_numbers() {
    // A run of 2 small, one-bit vector 01..., two-bit vector large, lost, small.
    let tail = [0x20, 2, 0x90, 0x00, 0xe1, 0x00, 4, 8, 255, 0xff, 0xfe, 1];
    let bytes = feedback(2 + 14 + 3, &tail);
    let statuses: Vec<_> = read(&bytes).expect("well-formed").statuses().collect();
    assert_eq!(statuses.len(), 19);
    assert_eq!(statuses[0], FeedbackStatus { sequence: 0xffff, arrival_us: Some(65_000) });
    assert_eq!(statuses[1], FeedbackStatus { sequence: 0, arrival_us: Some(67_000) });
    assert_eq!(statuses[2].arrival_us, None);
    assert_eq!(statuses[3].arrival_us, Some(67_000 + 255 * 250));
    assert_eq!(statuses[16].arrival_us, Some(67_000 + 253 * 250));
    assert_eq!(statuses[17].arrival_us, None);
    assert_eq!(statuses[18], FeedbackStatus { sequence: 17, arrival_us: Some(67_000 + 254 * 250) });
}

#[test]
fn lies_are_refused() {
    for (count, tail) in [
        (1, &[][..]),                        // no chunk at all
        (1, &[0x60, 1, 0, 0]),               // run of the reserved symbol
        (1, &[0xf0, 0, 0, 0]),               // reserved symbol in a vector
        (1, &[0x20, 0, 0x20, 1]),            // a run of nothing
        (8, &[0x20, 8, 1, 1]),               // deltas missing
        (2, &[0x40, 2, 0, 1]),               // large deltas missing
        (60_000, &[0x1f, 0xff, 0x1f, 0xff]), // chunks missing
        (2, &[0x20, 1]),                     // one symbol for two packets, then padding
    ] {
        let found = read(&feedback(count, tail)).map(|feedback| feedback.status_count);
        assert_eq!(found, Err(RtpError::BadFeedback), "{count} {tail:x?}");
    }
    // Symbols behind the last packet may be anything: nothing is read of them.
    assert!(read(&feedback(1, &[0xdf, 0xff, 4, 0])).is_ok());
}

#[test]
fn the_largest_count_is_walked_once() {
    let runs: Vec<u8> = [0x1f, 0xff].repeat(9);
    let bytes = feedback(65_535, &runs);
    let feedback = read(&bytes).expect("all lost");
    assert_eq!(feedback.statuses().count(), 65_535);
    assert!(feedback.statuses().all(|status| status.arrival_us.is_none()));
}

#[test]
fn a_steady_stream_is_told_in_runs() {
    let arrivals: Vec<(u64, i64)> = (0..100).map(|i| (i + 65_500, i as i64 * 1_000)).collect();
    let all = build_all(65_500, &arrivals);
    assert_eq!(all.len(), 1);
    // Header 20, one run chunk 2, 100 deltas of one byte, padding 2.
    assert_eq!(all[0].1.len(), 20 + 2 + 100 + 2);
    let first = received(&all[0].1)[0];
    assert_eq!(first, (65_500, 0));
}

#[test]
fn a_pause_longer_than_a_delta_starts_the_next_feedback() {
    let arrivals = [(10, 0), (11, 20_000_000)];
    let all = build_all(5, &arrivals);
    assert_eq!(all.iter().map(|(covered, _)| *covered).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(received(&all[1].1), [(11, 20_000_000)]);
    let lost: Vec<_> = read(&all[0].1).expect("ours").statuses().collect();
    assert_eq!(lost.len(), 6, "five lost before the first");
}

#[test]
fn no_arrivals_no_feedback() {
    let mut out = Vec::new();
    assert_eq!(transport_feedback(&mut out, HEADER, 5, &[]), 0);
    assert_eq!(transport_feedback(&mut out, HEADER, 5, &[(4, 0)]), 1);
    assert!(out.is_empty());
}
