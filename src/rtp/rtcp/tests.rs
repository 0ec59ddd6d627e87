//! Round trips through our own builders and parsers, against `rtc-rtcp`, and over any bytes.

use proptest::prelude::*;
use rtc_rtcp::goodbye::Goodbye as OtherGoodbye;
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest as OtherFir;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc_rtcp::receiver_report::ReceiverReport as OtherReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport as OtherSenderReport;
use rtc_rtcp::source_description::SourceDescription;
use rtc_rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc_shared::marshal::Marshal;

use super::build::{self, MAX_COUNT};
use super::*;
use crate::rtp::error::RtpError;

/// The only packet of `bytes`, by us and by `rtc-rtcp`.
fn both<T: Clone + 'static>(bytes: &[u8]) -> (Packet<'_>, T) {
    let mut ours = packets(bytes);
    let packet = ours.next().expect("one").expect("well-formed");
    assert!(ours.next().is_none(), "only one");
    let theirs = rtc_rtcp::packet::unmarshal(&mut &bytes[..]).expect("rtc-rtcp reads it");
    let theirs = theirs[0].as_any().downcast_ref::<T>().expect("of the same type").clone();
    (packet, theirs)
}

fn built(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0xee];
    write(&mut out);
    assert_eq!(out.remove(0), 0xee, "builders append");
    assert!(out.len().is_multiple_of(4));
    out
}

fn report_block() -> impl Strategy<Value = ReportBlock> {
    (any::<(u32, u8, u32, u32, u32, u32)>(), -0x80_0000..0x80_0000).prop_map(
        |((ssrc, fraction_lost, highest_sequence, jitter, last_sr, delay), cumulative_lost)| {
            ReportBlock {
                ssrc,
                fraction_lost,
                cumulative_lost,
                highest_sequence,
                jitter,
                last_sr,
                delay_since_last_sr: delay,
            }
        },
    )
}

fn same_block(ours: &ReportBlock, theirs: &ReceptionReport) -> bool {
    (ours.ssrc, ours.fraction_lost, ours.cumulative_lost.cast_unsigned() & 0xff_ffff)
        == (theirs.ssrc, theirs.fraction_lost, theirs.total_lost)
        && (ours.highest_sequence, ours.jitter) == (theirs.last_sequence_number, theirs.jitter)
        && (ours.last_sr, ours.delay_since_last_sr) == (theirs.last_sender_report, theirs.delay)
}

proptest! {
    #[test]
    fn sender_reports(
        (ssrc, ntp, rtp_timestamp, packets, octets) in any::<(u32, u64, u32, u32, u32)>(),
        blocks in proptest::collection::vec(report_block(), 0..40),
    ) {
        let info = SenderInfo { ssrc, ntp, rtp_timestamp, packets, octets };
        let bytes = built(|out| build::sender_report(out, &info, &blocks));
        let (ours, theirs) = both::<OtherSenderReport>(&bytes);
        let Packet::SenderReport(ours) = ours else { panic!("{ours:?}") };
        let kept = &blocks[..blocks.len().min(MAX_COUNT)];
        prop_assert_eq!(ours.info, info);
        prop_assert!(ours.reports.eq(kept.iter().copied()));
        prop_assert_eq!((theirs.ssrc, theirs.ntp_time, theirs.rtp_time), (ssrc, ntp, rtp_timestamp));
        prop_assert_eq!((theirs.packet_count, theirs.octet_count), (packets, octets));
        prop_assert!(kept.iter().zip(&theirs.reports).all(|(ours, theirs)| same_block(ours, theirs)));
    }

    #[test]
    fn receiver_reports(own: u32, blocks in proptest::collection::vec(report_block(), 0..40)) {
        let bytes = built(|out| build::receiver_report(out, own, &blocks));
        let (ours, theirs) = both::<OtherReceiverReport>(&bytes);
        let Packet::ReceiverReport { ssrc, reports } = ours else { panic!("{ours:?}") };
        let kept = &blocks[..blocks.len().min(MAX_COUNT)];
        prop_assert_eq!((ssrc, theirs.ssrc), (own, own));
        prop_assert!(reports.eq(kept.iter().copied()));
        prop_assert_eq!(theirs.reports.len(), kept.len());
        prop_assert!(kept.iter().zip(&theirs.reports).all(|(ours, theirs)| same_block(ours, theirs)));
    }

    #[test]
    fn nacks_name_exactly_what_was_lost(
        (sender, media, start) in any::<(u32, u32, u16)>(),
        steps in proptest::collection::vec(prop_oneof![0..3_u16, 0..40_u16, 0..300_u16], 1..120),
    ) {
        let lost: Vec<u16> = steps.iter().scan(start, |at, step| {
            *at = at.wrapping_add(*step);
            Some(*at)
        }).collect();
        let bytes = built(|out| build::nack(out, sender, media, lost.iter().copied()));
        let (ours, theirs) = both::<TransportLayerNack>(&bytes);
        let Packet::Nack(ours) = ours else { panic!("{ours:?}") };
        let mut unique = lost;
        unique.dedup();
        prop_assert_eq!((ours.sender_ssrc, ours.media_ssrc), (sender, media));
        prop_assert!(ours.lost().eq(unique.iter().copied()));
        let theirs = theirs.nacks.iter().flat_map(|pair| pair.packet_list());
        prop_assert!(theirs.eq(unique.iter().copied()));
    }

    #[test]
    fn nacks_of_rtc_rtcp_are_read_alike(
        mut lost in proptest::collection::btree_set(any::<u16>(), 1..80),
    ) {
        lost.insert(7);
        let lost: Vec<u16> = lost.into_iter().collect();
        let nacks = nack_pairs_from_sequence_numbers(&lost);
        let other = TransportLayerNack { sender_ssrc: 1, media_ssrc: 2, nacks };
        let bytes = other.marshal().expect("writes");
        let (ours, _) = both::<TransportLayerNack>(&bytes);
        let Packet::Nack(ours) = ours else { panic!("{ours:?}") };
        prop_assert!(ours.lost().eq(lost));
    }

    #[test]
    fn rembs_round_down_to_eighteen_bits(
        sender: u32,
        bitrate in prop_oneof![any::<u64>(), 0..10_000_000_u64],
        ssrcs in proptest::collection::vec(any::<u32>(), 0..300),
    ) {
        let bytes = built(|out| build::remb(out, sender, bitrate, &ssrcs));
        let Some(Ok(Packet::Remb(ours))) = packets(&bytes).next() else { panic!("a REMB") };
        prop_assert!(ours.bitrate_bps <= bitrate);
        prop_assert!(bitrate - ours.bitrate_bps <= bitrate >> 17);
        prop_assert!(ours.ssrcs.eq(ssrcs.iter().copied().take(255)));
        let (_, theirs) = both::<ReceiverEstimatedMaximumBitrate>(&bytes);
        prop_assert_eq!(theirs.bitrate, ours.bitrate_bps as f32);
        prop_assert_eq!(theirs.sender_ssrc, sender);
    }

    #[test]
    fn names_of_any_length_end_on_a_word(ssrc: u32, name in "[a-z]{0,300}") {
        let bytes = built(|out| build::cname(out, ssrc, &name));
        let (ours, theirs) = both::<SourceDescription>(&bytes);
        prop_assert!(matches!(ours, Packet::SourceDescription));
        prop_assert_eq!(theirs.chunks[0].source, ssrc);
        prop_assert_eq!(&theirs.chunks[0].items[0].text[..], &name.as_bytes()[..name.len().min(255)]);
    }

    #[test]
    fn goodbyes_and_intra_requests(ssrcs in proptest::collection::vec(any::<u32>(), 1..40)) {
        let bytes = built(|out| build::goodbye(out, &ssrcs));
        let (ours, theirs) = both::<OtherGoodbye>(&bytes);
        let Packet::Goodbye(ours) = ours else { panic!("{ours:?}") };
        let kept = &ssrcs[..ssrcs.len().min(MAX_COUNT)];
        prop_assert!(ours.ssrcs.eq(kept.iter().copied()));
        prop_assert_eq!(&theirs.sources[..], kept);

        let requests: Vec<FullIntraRequest> = kept.iter().enumerate()
            .map(|(index, &ssrc)| FullIntraRequest { ssrc, sequence: index as u8 }).collect();
        let bytes = built(|out| build::full_intra(out, 5, &requests));
        let (ours, theirs) = both::<OtherFir>(&bytes);
        let Packet::FullIntra(ours) = ours else { panic!("{ours:?}") };
        prop_assert_eq!(ours.sender_ssrc, 5);
        prop_assert!(ours.requests().eq(requests.iter().copied()));
        prop_assert!(theirs.fir.iter().map(|entry| (entry.ssrc, entry.sequence_number))
            .eq(requests.iter().map(|request| (request.ssrc, request.sequence))));
    }

    /// Whatever comes, the walk ends, and every view stays inside the bytes it was made of.
    #[test]
    fn any_bytes_are_walked_to_an_end(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 198..210_u8, count in 0..32_u8, padded: bool, words in 0..60_u8,
    ) {
        if let [first, second, high, low, ..] = &mut bytes[..] {
            (*first, *second) = (0x80 | count | (u8::from(padded) << 5), kind);
            (*high, *low) = (0, words);
        }
        let mut seen = 0;
        for packet in packets(&bytes) {
            seen += 1;
            match packet {
                Ok(Packet::SenderReport(report)) => prop_assert!(report.reports.count() <= 31),
                Ok(Packet::ReceiverReport { reports, .. }) => prop_assert!(reports.count() <= 31),
                Ok(Packet::Nack(nack)) => prop_assert!(nack.lost().count() <= 17 * bytes.len() / 4),
                Ok(Packet::FullIntra(fir)) => prop_assert!(fir.requests().count() * 8 <= bytes.len()),
                Ok(Packet::Remb(remb)) => prop_assert!(remb.ssrcs.count() * 4 <= bytes.len()),
                Ok(Packet::Goodbye(bye)) => prop_assert!(bye.ssrcs.count() * 4 <= bytes.len()),
                Ok(Packet::TransportFeedback(feedback)) => {
                    prop_assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
                }
                Ok(_) | Err(_) => {}
            }
        }
        prop_assert!(seen <= bytes.len() / 4 + 1);
    }
}

#[test]
fn picture_loss() {
    let bytes = built(|out| build::picture_loss(out, 1, 2));
    let (ours, theirs) = both::<PictureLossIndication>(&bytes);
    assert!(matches!(ours, Packet::PictureLoss { sender_ssrc: 1, media_ssrc: 2 }));
    assert_eq!((theirs.sender_ssrc, theirs.media_ssrc), (1, 2));
}

#[test]
fn a_compound_packet_is_walked_in_order_and_cut_by_name() {
    let mut bytes = Vec::new();
    build::receiver_report(&mut bytes, 1, &[ReportBlock::default()]);
    build::cname(&mut bytes, 1, "greenroom");
    build::nack(&mut bytes, 1, 2, [5, 6]);
    build::picture_loss(&mut bytes, 1, 2);
    bytes.extend_from_slice(&[0x81, 207, 0, 1, 0, 0, 0, 9]); // XR
    build::goodbye(&mut bytes, &[1]);
    let whole: Vec<_> = packets(&bytes).map(|packet| packet.expect("well-formed")).collect();
    assert!(matches!(
        whole[..],
        [
            Packet::ReceiverReport { ssrc: 1, .. },
            Packet::SourceDescription,
            Packet::Nack(_),
            Packet::PictureLoss { .. },
            Packet::Other { packet_type: 207, format: 1 },
            Packet::Goodbye(_),
        ]
    ));
    for len in 0..bytes.len() {
        let walked: Vec<_> = packets(&bytes[..len]).collect();
        let good = walked.iter().take_while(|packet| packet.is_ok()).count();
        match walked.get(good) {
            Some(packet) => assert_eq!(packet.as_ref().err(), Some(&RtpError::RtcpCutShort)),
            None => assert!([0, 32, 52, 68, 80, 88].contains(&len), "cut at {len}"),
        }
        assert!(walked.len() <= good + 1, "nothing behind a lying length");
    }
}

#[test]
fn one_lying_body_does_not_hide_the_next_packet() {
    let mut bytes = vec![0x9f, 201, 0, 1, 0, 0, 0, 1]; // 31 report blocks, none there
    build::picture_loss(&mut bytes, 1, 2);
    let walked: Vec<_> = packets(&bytes).collect();
    assert!(matches!(
        walked[..],
        [Err(RtpError::RtcpBodyTooShort), Ok(Packet::PictureLoss { .. })]
    ));
}

#[test]
fn lies_have_names() {
    for (bytes, expected) in [
        (&[0x80][..], RtpError::RtcpCutShort),
        (&[0x80, 200, 0xff, 0xff], RtpError::RtcpCutShort),
        (&[0x40, 200, 0, 0], RtpError::BadVersion),
        (&[0x80, 200, 0, 0], RtpError::RtcpBodyTooShort),
        (&[0x80, 201, 0, 0], RtpError::RtcpBodyTooShort),
        (&[0x81, 203, 0, 0], RtpError::RtcpBodyTooShort),
        (&[0xa0, 203, 0, 0], RtpError::BadPadding),
        (&[0xa0, 203, 0, 1, 0, 0, 0, 0], RtpError::BadPadding),
        (&[0xa0, 203, 0, 1, 0, 0, 0, 5], RtpError::BadPadding),
        // SDES: an item longer than the packet; no end marker.
        (&[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 200, b'a', 0], RtpError::RtcpBodyTooShort),
        (&[0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, b'a', b'b'], RtpError::RtcpBodyTooShort),
        // REMB: one SSRC announced, none there.
        (
            &[0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0, 0, 1],
            RtpError::RtcpBodyTooShort,
        ),
    ] {
        assert_eq!(packets(bytes).next().and_then(Result::err), Some(expected), "{bytes:x?}");
    }
}

#[test]
fn an_application_message_that_is_no_remb_is_passed_over() {
    let bytes = [0x8f, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, b'A', b'F', b'B', b'?'];
    assert!(matches!(
        packets(&bytes).next(),
        Some(Ok(Packet::Other { packet_type: 206, format: 15 }))
    ));
}

#[test]
fn a_remb_beyond_sixty_four_bits_saturates() {
    let mut bytes = built(|out| build::remb(out, 1, 1, &[]));
    bytes[17..20].copy_from_slice(&[0xff, 0xff, 0xff]);
    let Some(Ok(Packet::Remb(remb))) = packets(&bytes).next() else { panic!("a REMB") };
    assert_eq!(remb.bitrate_bps, u64::MAX);
}

#[test]
fn a_nack_for_everything_is_cut_to_one_datagram() {
    let bytes = built(|out| build::nack(out, 1, 2, (0..60_000).step_by(17)));
    assert!(bytes.len() <= 1100);
    assert!(packets(&bytes).next().expect("one").is_ok());
    assert!(built(|out| build::nack(out, 1, 2, [])).is_empty());
}

#[test]
fn a_sender_report_of_ffmpeg() {
    let bytes = [
        0x80, 0xc8, 0x00, 0x06, 0xbd, 0xdf, 0x27, 0x82, 0xee, 0xb0, 0xd6, 0xfd, 0x33, 0x33, 0x33,
        0x33, 0xd4, 0x0f, 0x2a, 0xc8, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let Some(Ok(Packet::SenderReport(report))) = packets(&bytes).next() else { panic!("an SR") };
    let info = SenderInfo {
        ssrc: 0xbddf_2782,
        ntp: 0xeeb0_d6fd_3333_3333,
        rtp_timestamp: 0xd40f_2ac8,
        packets: 0,
        octets: 0,
    };
    assert_eq!(report.info, info);
    assert_eq!(report.reports.count(), 0);
}
