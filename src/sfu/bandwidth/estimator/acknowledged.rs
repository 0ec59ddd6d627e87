//! What arrives at the viewer, and what was sent of the same, in bit/s.
//!
//! Follows libwebrtc `modules/congestion_controller/goog_cc/robust_throughput_estimator.cc`, with
//! cells of arrivals instead of packets, and a shorter window.

use super::MessageArrival;

/// Arrivals within this share a cell.
const CELL_US: i32 = 20_000;
/// Cells kept: a window at a full rate, and some seconds at a trickle.
const CELLS: usize = 40;
/// The window reaches back this far, if it has enough packets. libwebrtc has 1 s; half of that
/// notices a drop of capacity half a second sooner, and still averages 15 frames.
const WINDOW_US: i32 = 500_000;
/// Packets that make a window.
const WINDOW_PACKETS: u32 = 20;
/// Fewest packets that say anything.
const REQUIRED_PACKETS: u32 = 10;
/// Longest window: after a pause the past does not count.
const MAX_WINDOW_US: i32 = 5_000_000;
/// Shortest span a rate is taken over. A peer that acknowledges a single burst, or packs all
/// arrivals into an instant, gains nothing by it.
const MIN_SPAN_US: i32 = 150_000;

/// Times are microseconds modulo 2^32; only differences of a few seconds are taken.
#[derive(Debug, Clone, Copy)]
struct Cell {
    sent_first: i32,
    sent_last: i32,
    arrived_first: i32,
    arrived_last: i32,
    bytes: u32,
    /// Bytes of what was sent last, and of the packet that arrived first: at a steady rate they fall
    /// outside of the span between the first and the last.
    sent_last_bytes: u32,
    arrived_first_bytes: u16,
    packets: u16,
}

const _: () = assert!(size_of::<Cell>() == 28);

impl Cell {
    const EMPTY: Self = Self {
        sent_first: 0,
        sent_last: 0,
        arrived_first: 0,
        arrived_last: 0,
        bytes: 0,
        sent_last_bytes: 0,
        arrived_first_bytes: 0,
        packets: 0,
    };

    fn of(message: &MessageArrival) -> Self {
        Self {
            sent_first: message.sent as i32,
            sent_last: message.sent as i32,
            arrived_first: message.first_arrival as i32,
            arrived_last: message.last_arrival as i32,
            bytes: message.bytes,
            sent_last_bytes: message.bytes,
            arrived_first_bytes: message.packet_bytes,
            packets: message.packets,
        }
    }

    fn add(&mut self, other: &Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.packets = self.packets.saturating_add(other.packets);
        if is_before(other.sent_first, self.sent_first) {
            self.sent_first = other.sent_first;
        }
        if is_before(self.sent_last, other.sent_last) {
            self.sent_last = other.sent_last;
            self.sent_last_bytes = other.sent_last_bytes;
        } else if self.sent_last == other.sent_last {
            self.sent_last_bytes += other.sent_last_bytes;
        }
        if is_before(other.arrived_first, self.arrived_first) {
            self.arrived_first = other.arrived_first;
            self.arrived_first_bytes = other.arrived_first_bytes;
        }
        if is_before(self.arrived_last, other.arrived_last) {
            self.arrived_last = other.arrived_last;
        }
    }
}

fn is_before(a: i32, b: i32) -> bool {
    a.wrapping_sub(b) < 0
}

/// Rates of one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Throughput {
    /// What arrives, and never more than what was sent.
    pub acknowledged: f64,
    /// What was sent of it.
    pub sent: f64,
}

/// The newest arrivals of one path.
#[derive(Debug)]
pub(super) struct Acknowledged {
    cells: [Cell; CELLS],
    /// Where the oldest is, and how many there are.
    first: u8,
    len: u8,
}

impl Acknowledged {
    pub fn new() -> Self {
        Self { cells: [Cell::EMPTY; CELLS], first: 0, len: 0 }
    }

    fn cell(&self, at: u8) -> &Cell {
        &self.cells[(usize::from(self.first) + usize::from(at)) % CELLS]
    }

    fn iter(&self) -> impl Iterator<Item = &Cell> {
        (0..self.len).map(|at| self.cell(at))
    }

    /// The next message in the order of sending.
    pub fn add(&mut self, message: &MessageArrival) {
        let new = Cell::of(message);
        if let Some(last) = self.len.checked_sub(1) {
            let at = (usize::from(self.first) + usize::from(last)) % CELLS;
            let cell = &mut self.cells[at];
            // What comes out of order goes where the newest is.
            if new.arrived_first.wrapping_sub(cell.arrived_first) < CELL_US {
                cell.add(&new);
                return;
            }
        }
        if usize::from(self.len) == CELLS {
            self.pop();
        }
        self.cells[(usize::from(self.first) + usize::from(self.len)) % CELLS] = new;
        self.len += 1;
    }

    fn pop(&mut self) {
        self.first = ((usize::from(self.first) + 1) % CELLS) as u8;
        self.len -= 1;
    }

    /// The rates now, if enough has arrived.
    pub fn rates(&mut self) -> Option<Throughput> {
        let mut packets: u32 = self.iter().map(|cell| u32::from(cell.packets)).sum();
        while self.len > 1 {
            let span =
                self.cell(self.len - 1).arrived_last.wrapping_sub(self.cell(0).arrived_first);
            let first = u32::from(self.cell(0).packets);
            let enough = span > WINDOW_US && packets - first >= WINDOW_PACKETS;
            if !enough && span <= MAX_WINDOW_US {
                break;
            }
            packets -= first;
            self.pop();
        }
        (packets >= REQUIRED_PACKETS).then(|| self.measure())
    }

    fn measure(&self) -> Throughput {
        let mut whole = *self.cell(0);
        let (mut gap, mut second_gap) = (0, 0);
        for at in 1..self.len {
            let cell = self.cell(at);
            let between = cell.arrived_first.wrapping_sub(whole.arrived_last);
            if between > gap {
                (gap, second_gap) = (between, gap);
            } else {
                second_gap = second_gap.max(between);
            }
            whole.add(cell);
        }
        let sent_bytes = whole.bytes - whole.sent_last_bytes.min(whole.bytes);
        let sent = rate(sent_bytes, whole.sent_last.wrapping_sub(whole.sent_first));
        // The path may have stood still for a moment, which says nothing of its rate. What that
        // overestimates is bounded by what was sent.
        let arrived = whole.arrived_last.wrapping_sub(whole.arrived_first) - gap + second_gap;
        let arrived_bytes = whole.bytes - u32::from(whole.arrived_first_bytes).min(whole.bytes);
        Throughput { acknowledged: rate(arrived_bytes, arrived).min(sent), sent }
    }

    /// The receiver's clock jumped.
    pub fn forget(&mut self) {
        self.len = 0;
    }
}

fn rate(bytes: u32, span_us: i32) -> f64 {
    f64::from(bytes) * 8e6 / f64::from(span_us.max(MIN_SPAN_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sent_ms: i64, first_ms: i64, last_ms: i64, packets: u16) -> MessageArrival {
        MessageArrival {
            sent: sent_ms * 1000,
            first_arrival: first_ms * 1000,
            last_arrival: last_ms * 1000,
            bytes: u32::from(packets) * 1200,
            packet_bytes: 1200,
            packets,
            ..MessageArrival::default()
        }
    }

    fn near(measured: f64, expected: f64) {
        assert!((measured / expected - 1.0).abs() < 0.07, "{measured} instead of {expected}");
    }

    #[test]
    fn frames_on_a_free_path_arrive_as_fast_as_they_are_sent() {
        let mut acknowledged = Acknowledged::new();
        assert_eq!(acknowledged.rates(), None);
        for frame in 0..100 {
            acknowledged.add(&message(frame * 33, frame * 33 + 50, frame * 33 + 53, 10));
        }
        let rates = acknowledged.rates().expect("enough");
        near(rates.acknowledged, 12_000.0 * 8.0 / 0.033);
        near(rates.sent, 12_000.0 * 8.0 / 0.033);
    }

    #[test]
    fn a_full_path_is_measured_at_its_own_rate() {
        let mut acknowledged = Acknowledged::new();
        for frame in 0..60 {
            // 12 kB every 33 ms through a path that takes 66 ms for them.
            acknowledged.add(&message(frame * 33, frame * 66 + 50, frame * 66 + 110, 10));
        }
        let rates = acknowledged.rates().expect("enough");
        near(rates.acknowledged, 12_000.0 * 8.0 / 0.066);
        near(rates.sent, 12_000.0 * 8.0 / 0.033);
    }

    #[test]
    fn a_stall_of_the_path_is_not_a_lower_rate() {
        let mut acknowledged = Acknowledged::new();
        for frame in 0..12_i64 {
            let held = if (6..9).contains(&frame) { 9 * 33 + 50 } else { frame * 33 + 50 };
            acknowledged.add(&message(frame * 33, held, held + 3, 10));
        }
        near(acknowledged.rates().expect("enough").acknowledged, 12_000.0 * 8.0 / 0.033);
    }

    #[test]
    fn lies_about_time_and_acknowledging_one_burst_gain_nothing() {
        let mut acknowledged = Acknowledged::new();
        for frame in 0..30 {
            acknowledged.add(&message(frame * 33, 50, 50, 10));
        }
        near(acknowledged.rates().expect("enough").acknowledged, 12_000.0 * 8.0 / 0.033);
        let mut acknowledged = Acknowledged::new();
        acknowledged.add(&message(0, 50, 50, 10));
        acknowledged.add(&message(1, 50, 50, 10));
        let burst = acknowledged.rates().expect("enough");
        assert!(burst.acknowledged <= 24_000.0 * 8.0 / 0.15, "{burst:?}");
    }

    #[test]
    fn the_past_leaves_the_window() {
        let mut acknowledged = Acknowledged::new();
        for frame in 0..60 {
            acknowledged.add(&message(frame * 33, frame * 33 + 50, frame * 33 + 53, 10));
        }
        for frame in 60..90 {
            acknowledged.add(&message(frame * 33, frame * 33 + 50, frame * 33 + 50, 2));
        }
        near(acknowledged.rates().expect("enough").acknowledged, 2_400.0 * 8.0 / 0.033);
    }
}
