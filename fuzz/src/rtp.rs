//! RTP, RTCP and payload descriptors: no panic, nothing outside the input, every walk ends.

use greenroom::rtp::codec::{PictureShift, describe, patch, picture_sizes};
use greenroom::rtp::dependency::{Reader, frame_number, shift_frame_number};
use greenroom::rtp::extensions::{AudioLevel, token, transport_sequence};
use greenroom::rtp::packet::{PacketKind, RtpHeader};
use greenroom::rtp::red::primary;
use greenroom::rtp::rtcp::build::{FeedbackHeader, transport_feedback};
use greenroom::rtp::rtcp::{Packet, packets};
use greenroom::rtp::rtx;
use greenroom::rtp::seq::{SequenceExtender, TimestampExtender};
use greenroom::rtp::track::Codec;

/// A datagram as RTP: header, extension, padding, RTX.
pub fn rtp_packet(data: &[u8]) {
    let _ = PacketKind::of(data);
    let Ok(header) = RtpHeader::parse(data) else { return };
    let sum = header.header_len + header.payload_len() + usize::from(header.padding_len);
    assert_eq!(sum, data.len());
    assert_eq!(header.payload(data).len(), header.payload_len());
    for element in header.extensions(data) {
        assert!(element.data.len() <= header.header_len);
        let _ = transport_sequence(element.data);
        let _ = AudioLevel::parse(element.data);
        assert!(token(element.data).is_none_or(|text| !text.is_empty() && text.is_ascii()));
    }
    if let Ok(original) = rtx::unwrap(header, data, 96, 1) {
        assert_eq!(original.payload_len() + rtx::OSN_LEN, header.payload_len());
    }
}

/// A datagram as RTCP: every view of every packet is read to its end.
pub fn rtcp(data: &[u8]) {
    for packet in packets(data) {
        let read = match packet {
            Ok(Packet::SenderReport(report)) => report.reports.count(),
            Ok(Packet::ReceiverReport { reports, .. }) => reports.count(),
            Ok(Packet::Goodbye(goodbye)) => goodbye.ssrcs.count(),
            Ok(Packet::Nack(nack)) => nack.lost().count() / 17,
            Ok(Packet::FullIntra(fir)) => fir.requests().count(),
            Ok(Packet::Remb(remb)) => remb.ssrcs.count(),
            Ok(Packet::TransportFeedback(feedback)) => {
                assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
                let arrived = feedback.statuses().filter_map(|s| Some((s.sequence, s.arrival_us?)));
                assert!(feedback.arrivals().eq(arrived));
                feedback.arrivals().count() / 4
            }
            Ok(_) | Err(_) => 0,
        };
        assert!(read * 4 <= data.len());
    }
}

/// The body of a transport-cc feedback packet, so that the fuzzer need not find the header.
pub fn twcc(data: &[u8]) {
    let words = data.len() / 4;
    let Ok(length) = u16::try_from(words) else { return };
    let mut packet = vec![0x8f, 205];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&data[..words * 4]);
    rtcp(&packet);
}

/// Arrivals, four bytes each (gap, then delay in 250 us, signed): what is built tells them exactly.
pub fn twcc_build(data: &[u8]) {
    let (mut sequence, mut ticks) = (70_000_u64, 1_000_000_i64);
    let (steps, _) = data.as_chunks::<4>();
    let arrivals: Vec<(u64, i64)> = steps
        .iter()
        .map(|&[gap_high, gap_low, delay_high, delay_low]| {
            sequence += u64::from(u16::from_be_bytes([gap_high, gap_low])) + 1;
            ticks = (ticks + i64::from(i16::from_be_bytes([delay_high, delay_low]))).max(0);
            (sequence, ticks * 250)
        })
        .collect();
    let (mut rest, mut base, mut out) = (&arrivals[..], 70_000, Vec::new());
    while !rest.is_empty() {
        out.clear();
        let header = FeedbackHeader { sender_ssrc: 1, media_ssrc: 2, feedback_count: 0 };
        let covered = transport_feedback(&mut out, header, base, rest);
        assert!(covered > 0 && out.len() <= 1024);
        let Some(Ok(Packet::TransportFeedback(feedback))) = packets(&out).next() else {
            panic!("built feedback does not parse");
        };
        // The reference time is 24 bits: times repeat every 2^24 * 64 ms.
        let period = 64_000_i64 << 24;
        let told = feedback.arrivals().map(|(sequence, at)| (sequence, at.rem_euclid(period)));
        let (now, later) = rest.split_at(covered);
        assert!(told.eq(now.iter().map(|&(s, at)| (s as u16, at.rem_euclid(period)))));
        base = now.last().map_or(base, |(sequence, _)| sequence + 1);
        rest = later;
    }
}

/// A run of sequence numbers and timestamps: extension keeps the low bits and stays near the top.
pub fn sequence(data: &[u8]) {
    let (mut numbers, mut times) = (SequenceExtender::new(), TimestampExtender::new());
    for &[a, b, c, d] in data.as_chunks::<4>().0 {
        let number = u16::from_be_bytes([a, b]);
        let extended = numbers.extend(number);
        assert_eq!(extended as u16, number);
        assert!(numbers.highest().is_some_and(|top| top - extended <= 1 << 15));
        let time = u32::from_be_bytes([a, b, c, d]);
        let extended = times.extend(time);
        assert_eq!(extended as u32, time);
        assert!(times.highest().is_some_and(|top| top - extended <= 1 << 31));
    }
}

/// A VP8 payload.
pub fn vp8(data: &[u8]) {
    descriptor(Codec::Vp8, data);
}

/// A VP9 payload.
pub fn vp9(data: &[u8]) {
    descriptor(Codec::Vp9, data);
}

/// An H.264 payload.
pub fn h264(data: &[u8]) {
    descriptor(Codec::H264, data);
}

/// An AV1 payload.
pub fn av1(data: &[u8]) {
    descriptor(Codec::Av1, data);
}

/// Dependency descriptors of successive packets of one stream, each behind a byte with its length.
pub fn dependency(data: &[u8]) {
    let mut reader = Reader::default();
    let mut rest = data;
    while let Some((len, behind)) = rest.split_first() {
        let (descriptor, next) = behind.split_at(usize::from(*len).min(behind.len()));
        rest = next;
        if let Ok(Some(frame)) = reader.read(descriptor) {
            assert!(frame.spatial < 4 && frame.temporal < 8);
            assert!((frame.temporal..8).contains(&frame.switch_up_to));
            assert_eq!(frame.opens & ((2 << frame.spatial) - 1), 0, "only layers above its own");
            // As it goes out: another frame number, and all else as it was.
            let mut shifted = descriptor.to_vec();
            shift_frame_number(&mut shifted, 0x1234);
            assert_eq!(frame_number(&shifted), Some(frame.number.wrapping_add(0x1234)));
            shift_frame_number(&mut shifted, 0x1234_u16.wrapping_neg());
            assert_eq!(shifted, descriptor);
        }
    }
}

/// A RED payload of Opus: what is accepted leaves some sound, and every header in front of it names Opus.
pub fn red(data: &[u8]) {
    const OPUS: u8 = 111;
    let Ok(start) = primary(data, OPUS) else { return };
    assert!((1..data.len()).contains(&start));
    let follow = data.iter().step_by(4).take_while(|first| **first & 0x80 != 0).count();
    let lengths = (0..follow).map(|block| {
        let header = &data[block * 4..block * 4 + 4];
        assert_eq!(header[0] & 0x7f, OPUS);
        usize::from(header[2] & 3) << 8 | usize::from(header[3])
    });
    assert_eq!(start, follow * 4 + 1 + lengths.sum::<usize>());
    assert_eq!(data[follow * 4], OPUS);
}

/// Patching there and back restores the payload and touches nothing behind the announced prefix.
fn descriptor(codec: Codec, data: &[u8]) {
    for size in picture_sizes(codec, data).into_iter().flatten() {
        assert!(size.area() > 0);
    }
    let Ok(facts) = describe(codec, data) else { return };
    let prefix_len = facts.patch_len();
    assert!(prefix_len <= data.len());
    assert!(!facts.key_frame_start || facts.frame_start);
    let mut payload = data.to_vec();
    let shift = PictureShift { picture_id: 0x1234, tl0_pic_idx: 0x56 };
    let back = PictureShift { picture_id: 0x1234_u16.wrapping_neg(), tl0_pic_idx: 0xaa };
    patch(&mut payload[..prefix_len], &facts, shift);
    let Ok(shifted) = describe(codec, &payload) else { panic!("a patched payload does not parse") };
    patch(&mut payload, &shifted, back);
    assert_eq!(payload, data);
}
