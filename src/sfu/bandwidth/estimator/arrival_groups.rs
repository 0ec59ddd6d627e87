//! Groups of packets sent together, and how much further apart they arrived than they were sent.
//!
//! Follows libwebrtc `modules/congestion_controller/goog_cc/inter_arrival_delta.cc`. One deviation:
//! a group's time is that of its *first* packet there, not of its last. libwebrtc's pacer spreads a
//! frame, so that its last packet tells of the queue; we send a frame as one burst, whose last packet
//! tells of the frame's size. The first one waits for exactly what the frames before left behind.

use super::{MessageArrival, Micros};

/// Packets sent within this belong to one group.
const GROUP_US: Micros = 5_000;
/// Packets that arrive this close to each other, closer than they were sent, are one burst of the
/// network's.
const BURST_US: Micros = 5_000;
/// Longest burst.
const MAX_BURST_US: Micros = 100_000;
/// Groups in a row that arrived in the wrong order before everything starts again.
const MAX_REORDERED: u8 = 3;

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: Micros,
    last_sent: Micros,
    first_arrival: Micros,
    last_arrival: Micros,
}

/// Between two groups, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Deltas {
    /// Between their send times, milliseconds.
    pub sent_ms: f64,
    /// Between their arrivals, milliseconds.
    pub arrival_ms: f64,
    /// Arrival of the later one.
    pub arrival: Micros,
}

/// The group being filled and the one before.
#[derive(Debug, Default)]
pub(super) struct ArrivalGroups {
    previous: Option<Group>,
    current: Option<Group>,
    reordered: u8,
}

impl ArrivalGroups {
    /// The next message in the order of sending; deltas when it begins a new group.
    pub fn add(&mut self, message: &MessageArrival) -> Option<Deltas> {
        let Some(current) = &mut self.current else {
            self.current = Some(Group::of(message));
            return None;
        };
        if message.sent < current.first_sent {
            return None;
        }
        if !current.is_over(message) {
            current.last_sent = current.last_sent.max(message.sent);
            current.first_arrival = current.first_arrival.min(message.first_arrival);
            current.last_arrival = current.last_arrival.max(message.last_arrival);
            return None;
        }
        let ended = *current;
        *current = Group::of(message);
        let previous = self.previous.replace(ended)?;
        let arrival = ended.first_arrival - previous.first_arrival;
        if arrival < 0 {
            self.reordered += 1;
            if self.reordered >= MAX_REORDERED {
                *self = Self::default();
            } else {
                self.previous = Some(previous);
            }
            return None;
        }
        self.reordered = 0;
        Some(Deltas {
            sent_ms: (ended.first_sent - previous.first_sent) as f64 / 1e3,
            arrival_ms: arrival as f64 / 1e3,
            arrival: ended.first_arrival,
        })
    }
}

impl Group {
    fn of(message: &MessageArrival) -> Self {
        Self {
            first_sent: message.sent,
            last_sent: message.sent,
            first_arrival: message.first_arrival,
            last_arrival: message.last_arrival,
        }
    }

    /// The message begins another group.
    fn is_over(&self, message: &MessageArrival) -> bool {
        let sent = message.sent - self.last_sent;
        let arrival = message.first_arrival - self.last_arrival;
        let burst = sent == 0
            || ((0..=BURST_US).contains(&arrival)
                && arrival < sent
                && message.first_arrival - self.first_arrival < MAX_BURST_US);
        !burst && message.sent - self.first_sent > GROUP_US
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sent_ms: i64, first_ms: i64, last_ms: i64) -> MessageArrival {
        MessageArrival {
            sent: sent_ms * 1000,
            first_arrival: first_ms * 1000,
            last_arrival: last_ms * 1000,
            ..MessageArrival::default()
        }
    }

    #[test]
    fn frames_of_any_size_on_an_empty_path_show_no_delay() {
        let mut groups = ArrivalGroups::default();
        let mut seen = 0;
        for frame in 0..30 {
            // Every fifth frame is large: its last packet comes 25 ms after its first.
            let length = if frame % 5 == 0 { 25 } else { 3 };
            let sent = frame * 33;
            if let Some(deltas) = groups.add(&message(sent, sent + 40, sent + 40 + length)) {
                assert_eq!(deltas.sent_ms, deltas.arrival_ms);
                seen += 1;
            }
        }
        assert_eq!(seen, 28);
    }

    #[test]
    fn messages_within_five_milliseconds_are_one_group() {
        let mut groups = ArrivalGroups::default();
        assert_eq!(groups.add(&message(0, 10, 10)), None);
        assert_eq!(groups.add(&message(5, 15, 15)), None);
        assert_eq!(groups.add(&message(33, 50, 50)), None);
        let deltas = groups.add(&message(66, 90, 90)).expect("two groups are over");
        assert_eq!((deltas.sent_ms, deltas.arrival_ms), (33.0, 40.0));
    }

    #[test]
    fn a_burst_of_the_network_is_one_group() {
        let mut groups = ArrivalGroups::default();
        groups.add(&message(0, 10, 10));
        groups.add(&message(20, 70, 70));
        // Sent 20 ms apart, held up somewhere, and let go together.
        assert_eq!(groups.add(&message(40, 72, 72)).map(|deltas| deltas.arrival_ms), None);
        assert_eq!(groups.add(&message(60, 74, 74)), None);
        let deltas = groups.add(&message(100, 110, 110)).expect("over");
        assert_eq!((deltas.sent_ms, deltas.arrival_ms), (20.0, 60.0));
    }

    #[test]
    fn groups_out_of_order_are_passed_over() {
        let mut groups = ArrivalGroups::default();
        groups.add(&message(0, 100, 100));
        groups.add(&message(33, 20, 20));
        assert_eq!(groups.add(&message(66, 140, 140)), None);
        let deltas = groups.add(&message(99, 180, 180)).expect("in order again");
        assert_eq!((deltas.sent_ms, deltas.arrival_ms), (66.0, 40.0));
    }
}
