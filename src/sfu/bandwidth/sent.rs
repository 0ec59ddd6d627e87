//! What went to one viewer: send time and size by transport-wide sequence number, so that feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01) can be read.
//!
//! Follows libwebrtc `modules/congestion_controller/rtp/transport_feedback_adapter.cc`, which keeps
//! a map of packets; here one record of 16 bytes stands for a whole message of packets, because we
//! send a frame as one message.

use std::time::Instant;

/// Packets one record can hold: the width of its bit sets. Most messages are shorter; a longer one
/// takes several records.
const RECORD_PACKETS: u16 = 16;

/// Records of a log in use: 4 KiB, the whole price of most viewers; one whose packets carry no numbers has none. One publisher's video and sound
/// are 60 messages a second or fewer, so they last 4 s: a queue of 2 s, the round trip and a feedback
/// interval, with something to spare.
const FIRST_CAPACITY: usize = 256;

/// Records of the largest log. A viewer of eight publishers sends 450 messages a second; 1024 records
/// of them last 2.3 s. Must stay below half the sequence range divided by [`RECORD_PACKETS`].
const MAX_CAPACITY: usize = 1024;
const _: () = assert!(MAX_CAPACITY * (RECORD_PACKETS as usize) < 0x8000);

/// A record overwritten at this age without having been reported says that the log is too short.
const WANTED_AGE_US: u32 = 2_000_000;

/// Nothing older than this is looked up: far past any queue, and far below the 71 minutes after
/// which 32 bits of microseconds repeat.
const FORGET_US: u64 = 60_000_000;

/// Marks the packets of one bandwidth probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeId(std::num::NonZeroU8);

impl ProbeId {
    /// The id after this one; they go round.
    #[must_use]
    pub(super) fn next(previous: Option<Self>) -> Self {
        let value = previous.map_or(0, |id| id.0.get()).wrapping_add(1);
        Self(std::num::NonZeroU8::new(value).unwrap_or(std::num::NonZeroU8::MIN))
    }
}

/// Packets of equal size that left at the same time under consecutive numbers.
#[derive(Debug, Clone, Copy)]
struct Record {
    sent_us: u32,
    first: u16,
    packet_bytes: u16,
    /// Bit n: packet n is known to have arrived.
    arrived: u16,
    /// Bit n: some feedback spoke of packet n. What a lost feedback was to tell is not a loss.
    reported: u16,
    count: u8,
    probe: Option<ProbeId>,
}

// The fan-out writes one of these for every viewer and frame: a quarter of a cache line.
const _: () = assert!(size_of::<Record>() == 16);

impl Record {
    const EMPTY: Self = Self {
        sent_us: 0,
        first: 0,
        packet_bytes: 0,
        arrived: 0,
        reported: 0,
        count: 0,
        probe: None,
    };

    /// Which of its packets has this number.
    fn position(&self, sequence: u16) -> Option<u16> {
        let at = sequence.wrapping_sub(self.first);
        (at < u16::from(self.count)).then_some(at)
    }

    /// Bits of its packets with numbers in `base..base + count`.
    fn bits_in(&self, base: u16, count: u16) -> u16 {
        let all = low_bits(u32::from(self.count));
        let ahead = self.first.wrapping_sub(base);
        if ahead < 0x8000 {
            let left = u32::from(count).saturating_sub(u32::from(ahead));
            return all & low_bits(left);
        }
        let behind = u32::from(base.wrapping_sub(self.first));
        all & low_bits(behind + u32::from(count)) & !low_bits(behind)
    }
}

const fn low_bits(count: u32) -> u16 {
    if count >= 16 { u16::MAX } else { (1 << count) - 1 }
}

/// Where a packet is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentPacket {
    /// Its message: equal for packets of one record.
    pub record: u32,
    bit: u16,
    /// Microseconds since it left.
    pub age_us: u32,
    /// Its size.
    pub bytes: u16,
    /// The probe it belongs to.
    pub probe: Option<ProbeId>,
}

/// What an arrival told about a packet adds to what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The first word of it.
    Arrived,
    /// It had been given up as lost.
    ArrivedLate,
    /// Told before.
    Repeated,
}

/// Packets whose fate is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Packets some feedback spoke of.
    pub packets: u32,
    /// Of these, those that did not arrive.
    pub lost_packets: u32,
    /// Bytes of `packets`.
    pub bytes: u64,
    /// Bytes of `lost_packets`.
    pub lost_bytes: u64,
    /// Age of the oldest and of the newest of them, microseconds.
    pub oldest_us: u32,
    /// See `oldest_us`.
    pub newest_us: u32,
}

/// The messages sent to one viewer in the last seconds.
#[derive(Debug)]
pub struct SentLog {
    epoch: Instant,
    records: Box<[Record]>,
    /// Records ever written; the next one goes to this place, modulo the capacity.
    next: u32,
    /// The oldest record still here.
    oldest: u32,
    /// Everything before this is settled.
    settled: u32,
    /// What the next feedback settles: everything before what the last one spoke of. Never before `settled`.
    settle_next: u32,
    last_note_us: u64,
    bytes: u64,
    cramped: bool,
}

impl SentLog {
    /// Nothing sent yet; times count from `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            records: Box::default(),
            next: 0,
            oldest: 0,
            settled: 0,
            settle_next: 0,
            last_note_us: 0,
            bytes: 0,
            cramped: false,
        }
    }

    /// A message of `count` packets of `packet_bytes` each left at `now` under the transport-wide
    /// numbers from `first` on, which continue those of the message before. `packet_bytes` is the
    /// payload of a UDP datagram. `probe`: the probe that is under way, whatever the packets carry.
    ///
    /// On the hot path: no allocation after the first, a few nanoseconds.
    #[inline]
    pub fn note(
        &mut self,
        now: Instant,
        first: u16,
        count: u16,
        packet_bytes: u16,
        probe: Option<ProbeId>,
    ) {
        let now_us = self.micros(now);
        if now_us > self.last_note_us + FORGET_US {
            self.forget();
        }
        if self.records.is_empty() {
            self.records = vec![Record::EMPTY; FIRST_CAPACITY].into_boxed_slice();
        }
        self.last_note_us = now_us;
        self.bytes += u64::from(count) * u64::from(packet_bytes);
        let mut written = 0;
        while written < count {
            let part = (count - written).min(RECORD_PACKETS);
            self.push(Record {
                sent_us: now_us as u32,
                first: first.wrapping_add(written),
                packet_bytes,
                count: part as u8,
                probe,
                ..Record::EMPTY
            });
            written += part;
        }
    }

    /// Bytes ever noted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
    }

    fn push(&mut self, record: Record) {
        if self.next.wrapping_sub(self.oldest) as usize == self.records.len() {
            let (oldest, settled) = (self.oldest, self.settled);
            if settled == oldest
                && let Some(lost) = self.record(oldest)
            {
                self.cramped |= record.sent_us.wrapping_sub(lost.sent_us) < WANTED_AGE_US;
                self.settled = settled.wrapping_add(1);
                // What is gone cannot be settled by the next feedback, however late it comes.
                if self.settle_next == settled {
                    self.settle_next = self.settled;
                }
            }
            self.oldest = oldest.wrapping_add(1);
        }
        let next = self.next;
        if let Some(place) = self.record_mut(next) {
            *place = record;
        }
        self.next = next.wrapping_add(1);
    }

    fn forget(&mut self) {
        self.oldest = self.next;
        self.settled = self.next;
        self.settle_next = self.next;
    }

    fn record(&self, at: u32) -> Option<&Record> {
        self.records.get(at as usize & self.records.len().wrapping_sub(1))
    }

    fn record_mut(&mut self, at: u32) -> Option<&mut Record> {
        let mask = self.records.len().wrapping_sub(1);
        self.records.get_mut(at as usize & mask)
    }

    fn len(&self) -> u32 {
        self.next.wrapping_sub(self.oldest)
    }

    /// The first record from `oldest` on that does not lie wholly before `sequence`.
    fn seek(&self, sequence: u16) -> u32 {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let before = self.record(self.oldest.wrapping_add(middle)).is_some_and(|record| {
                let end = record.first.wrapping_add(u16::from(record.count));
                // `end` is behind the record: at most `sequence` means wholly before it.
                sequence.wrapping_sub(end) < 0x8000
            });
            if before { low = middle + 1 } else { high = middle }
        }
        self.oldest.wrapping_add(low)
    }

    /// The present on the log's clock: microseconds modulo 2^32.
    pub(super) fn clock(&self, now: Instant) -> u32 {
        self.micros(now) as u32
    }

    /// Look up a number. `near` is where the one before it was found: numbers in feedback ascend.
    pub(super) fn find(&self, clock: u32, sequence: u16, near: u32) -> Option<SentPacket> {
        let is_here = |at: u32| {
            (at.wrapping_sub(self.oldest) < self.len())
                .then(|| self.record(at))
                .flatten()
                .and_then(|record| Some((at, record, record.position(sequence)?)))
        };
        let (at, record, bit) = is_here(near)
            .or_else(|| is_here(near.wrapping_add(1)))
            .or_else(|| is_here(self.seek(sequence)))?;
        Some(SentPacket {
            record: at,
            bit,
            age_us: clock.wrapping_sub(record.sent_us),
            bytes: record.packet_bytes,
            probe: record.probe,
        })
    }

    /// A packet is said to have arrived.
    pub(super) fn acknowledge(&mut self, packet: &SentPacket) -> News {
        let late = self.settled.wrapping_sub(packet.record).wrapping_sub(1) < u32::MAX / 2;
        let Some(record) = self.record_mut(packet.record) else { return News::Repeated };
        let bit = 1 << packet.bit;
        if record.arrived & bit != 0 {
            return News::Repeated;
        }
        record.arrived |= bit;
        let lost = late && record.reported & bit != 0;
        record.reported |= bit;
        if lost { News::ArrivedLate } else { News::Arrived }
    }

    /// A feedback spoke of `count` numbers from `base` on. Decides the fate of what the feedback
    /// before it spoke of: one more has passed for what the network put out of order.
    pub(super) fn settle(&mut self, clock: u32, base: u16, count: u16) -> Settled {
        let mut settled = Settled::default();
        while self.settled != self.settle_next {
            if let Some(record) = self.record(self.settled) {
                settled.add(record, clock);
            }
            self.settled = self.settled.wrapping_add(1);
        }
        // A record is visited if it ends behind `base`, so at most all records are.
        let count = count.min(0x7fff);
        let mut at = self.seek(base);
        while at != self.next {
            let Some(record) = self.record_mut(at) else { break };
            let bits = record.bits_in(base, count);
            if bits == 0 {
                break;
            }
            record.reported |= bits;
            at = at.wrapping_add(1);
        }
        let last = at.wrapping_sub(1);
        if last.wrapping_sub(self.settled) < self.len() {
            self.settle_next = last;
        }
        settled
    }

    /// Lengthen the log if it lost what feedback had not spoken of. Not on the hot path: allocates,
    /// twice in a log's life at most.
    pub(super) fn make_room(&mut self) {
        if !std::mem::take(&mut self.cramped) || self.records.len() >= MAX_CAPACITY {
            return;
        }
        let capacity = self.records.len() * 2;
        let mut longer = vec![Record::EMPTY; capacity].into_boxed_slice();
        for at in 0..self.len() {
            let index = self.oldest.wrapping_add(at);
            if let Some((place, record)) =
                longer.get_mut(index as usize & (capacity - 1)).zip(self.record(index))
            {
                *place = *record;
            }
        }
        self.records = longer;
    }
}

impl Settled {
    fn add(&mut self, record: &Record, clock: u32) {
        let reported = record.reported.count_ones();
        if reported == 0 {
            return;
        }
        let age = clock.wrapping_sub(record.sent_us);
        if self.packets == 0 {
            self.oldest_us = age;
        }
        self.newest_us = age;
        let lost = (record.reported & !record.arrived).count_ones();
        self.packets += reported;
        self.lost_packets += lost;
        self.bytes += u64::from(reported) * u64::from(record.packet_bytes);
        self.lost_bytes += u64::from(lost) * u64::from(record.packet_bytes);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use std::time::Duration;

    use super::*;

    fn arrive(log: &mut SentLog, now: Instant, sequence: u16) -> Option<News> {
        let packet = log.find(log.clock(now), sequence, 0)?;
        Some(log.acknowledge(&packet))
    }

    #[test]
    fn numbers_lead_to_send_times_and_sizes_across_the_wrap() {
        let start = Instant::now();
        let mut log = SentLog::new(start);
        let mut sequence = 65_530_u16;
        for message in 0..10_u16 {
            let at = start + Duration::from_millis(u64::from(message) * 33);
            log.note(at, sequence, 3, 1000 + message, None);
            sequence = sequence.wrapping_add(3);
        }
        let now = start + Duration::from_millis(400);
        for packet in 0..30_u16 {
            let found =
                log.find(log.clock(now), 65_530_u16.wrapping_add(packet), 0).expect("was sent");
            assert_eq!(found.bytes, 1000 + packet / 3);
            assert_eq!(found.age_us, 400_000 - u32::from(packet / 3) * 33_000);
        }
        assert_eq!(log.find(log.clock(now), 65_529, 0), None, "before the first");
        assert_eq!(log.find(log.clock(now), sequence, 0), None, "not sent yet");
    }

    #[test]
    fn feedback_that_pauses_for_longer_than_the_log_settles_no_more_than_the_log_holds() {
        let start = Instant::now();
        let mut log = SentLog::new(start);
        let note = |log: &mut SentLog, sequence: u16| log.note(start, sequence, 1, 1000, None);
        note(&mut log, 0);
        note(&mut log, 1);
        log.settle(log.clock(start), 0, 2);
        let last = u16::try_from(FIRST_CAPACITY).expect("few") + 2;
        for sequence in 2..=last {
            note(&mut log, sequence);
            assert!(log.settle_next.wrapping_sub(log.settled) <= log.len(), "{sequence}");
        }
        assert_eq!(log.settle(log.clock(start), last, 1), Settled::default());
        assert_eq!(log.settle(log.clock(start), last, 1).packets, 0);
        assert!(log.settle_next.wrapping_sub(log.settled) <= log.len());
    }

    #[test]
    fn a_long_message_takes_several_records_and_loses_nothing() {
        let start = Instant::now();
        let mut log = SentLog::new(start);
        log.note(start, 100, 50, 1200, None);
        assert_eq!(log.len(), 4);
        assert_eq!(log.bytes(), 60_000);
        for sequence in 100..150 {
            assert_eq!(arrive(&mut log, start, sequence), Some(News::Arrived), "{sequence}");
            assert_eq!(arrive(&mut log, start, sequence), Some(News::Repeated), "{sequence}");
        }
        assert_eq!(arrive(&mut log, start, 150), None);
    }

    #[test]
    fn losses_are_what_feedback_spoke_of_without_an_arrival() {
        let start = Instant::now();
        let mut log = SentLog::new(start);
        for message in 0..4 {
            log.note(start, message * 10, 10, 1000, None);
        }
        // The first feedback tells of 0..20 that 3 and 12 are missing; nothing is decided yet.
        for sequence in (0..20).filter(|sequence| ![3, 12].contains(sequence)) {
            arrive(&mut log, start, sequence);
        }
        assert_eq!(log.settle(log.clock(start), 0, 20), Settled::default());
        // 3 comes out of order before the second feedback decides; that one was never sent for 20..30.
        assert_eq!(arrive(&mut log, start, 3), Some(News::Arrived));
        for sequence in 30..40 {
            arrive(&mut log, start, sequence);
        }
        let first = log.settle(log.clock(start), 30, 10);
        assert_eq!((first.packets, first.lost_packets, first.lost_bytes), (10, 0, 0));
        log.note(start, 40, 10, 1000, None);
        let second = log.settle(log.clock(start), 40, 10);
        assert_eq!((second.packets, second.lost_packets, second.bytes), (10, 1, 10_000));
        assert_eq!(arrive(&mut log, start, 12), Some(News::ArrivedLate));
    }

    #[test]
    fn feedback_about_everything_costs_no_more_than_the_log() {
        let start = Instant::now();
        let mut log = SentLog::new(start);
        for message in 0..300 {
            log.note(start, message * 4, 4, 500, None);
        }
        log.settle(log.clock(start), 0, 65_535);
        let settled = log.settle(log.clock(start), 1196, 4);
        assert!(settled.packets <= 256 * 4, "{settled:?}");
        assert_eq!(settled.lost_packets, settled.packets);
    }

    #[test]
    fn a_busy_log_grows_to_its_limit_and_a_quiet_one_does_not() {
        let start = Instant::now();
        let mut log = SentLog::new(start);
        for message in 0..1000_u64 {
            log.note(start + Duration::from_millis(message * 33), message as u16, 1, 90, None);
            log.make_room();
        }
        assert_eq!(log.records.len(), FIRST_CAPACITY);
        let mut log = SentLog::new(start);
        for message in 0..10_000_u64 {
            let now = start + Duration::from_millis(message);
            log.note(now, message as u16, 1, 90, None);
            log.make_room();
            assert!(log.find(log.clock(now), message as u16, 0).is_some());
        }
        assert_eq!(log.records.len(), MAX_CAPACITY);
        let now = start + Duration::from_millis(9_999);
        let oldest = 10_000 - MAX_CAPACITY as u16;
        assert!(log.find(log.clock(now), oldest, 0).is_some());
        assert!(log.find(log.clock(now), oldest - 1, 0).is_none());
    }

    #[test]
    fn a_pause_forgets_what_was_before() {
        let start = Instant::now();
        let mut log = SentLog::new(start);
        log.note(start, 0, 5, 100, None);
        let later = start + Duration::from_secs(61);
        log.note(later, 5, 5, 100, None);
        assert!(log.find(log.clock(later), 2, 0).is_none());
        assert!(log.find(log.clock(later), 7, 0).is_some());
    }
}
