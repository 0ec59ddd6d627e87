//! How much one viewer's slot may ask for again.

use std::time::{Duration, Instant};

use super::drop_reason::DropReason;

/// Retransmissions per second and viewer in the long run. Trade: repairs 4 % loss of a 2 500
/// packets/s stream, and a NACK storm buys an attacker no more than this.
const PER_SECOND: f64 = 100.0;
/// Retransmissions that may be saved up for one burst of losses: half a second of 5 Mbit/s.
const SAVED_PACKETS: f64 = 256.0;
/// Share of a viewer's media bytes that may be spent on retransmissions.
const SHARE: f64 = 0.25;
/// Bytes that may be saved up, and what a new viewer starts with. Trade: with 64 KiB, what a
/// 2.5 Mbit/s stream loses in 300 ms was repaired only 0.8 s later, as the share came in.
const SAVED_BYTES: f64 = 256.0 * 1024.0;
/// Wait between two retransmissions of one packet while the round trip is unknown.
const INTERVAL: Duration = Duration::from_millis(40);
/// No longer than this is a repair taken to wait in the network behind others. Trade: an estimate that has just
/// collapsed would say half a minute, and a picture that misses a packet for so long is asked for anew anyway.
const MAX_QUEUED: Duration = Duration::from_millis(500);
/// Repaired numbers remembered per viewer, each in the place of its last bits: what a burst loses
/// follows each other. As many as may be saved up, so that one burst fits.
const MEMORY: usize = SAVED_PACKETS as usize;

/// Retransmission budget and memory; made at a viewer's first NACK.
#[derive(Debug)]
pub struct Repair {
    packets: f64,
    bytes: f64,
    refilled: Instant,
    octets_at_refill: u64,
    /// When all that was sent again is through the viewer's network.
    through_at: Instant,
    /// What was sent again, and until when its arrival cannot have been missed.
    recent: [(u64, Instant); MEMORY],
}

/// The way to the viewer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way {
    /// There and back, if it was measured.
    pub round_trip: Option<Duration>,
    /// Bit/s that it takes, if that is estimated.
    pub bps: Option<u64>,
}

impl Way {
    fn takes(&self, bytes: usize) -> Duration {
        let nanoseconds = self.bps.map_or(0, |bps| bytes as u64 * 8_000_000_000 / bps.max(1));
        Duration::from_nanos(nanoseconds)
    }
}

impl Repair {
    /// A full budget for a slot that has sent `octets` of media.
    #[must_use]
    pub fn new(now: Instant, octets: u64) -> Self {
        Self {
            packets: SAVED_PACKETS,
            bytes: SAVED_BYTES,
            refilled: now,
            octets_at_refill: octets,
            through_at: now,
            recent: [(u64::MAX, now); MEMORY],
        }
    }

    /// Take one retransmission of `bytes` of packet `index` from the budget of a slot that has sent
    /// `octets` of media.
    ///
    /// A receiver asks again after a round trip, also for what still waits in the network behind the other
    /// repairs of a burst: sending that twice would keep the picture away for as long again.
    ///
    /// # Errors
    /// `nack_repeated` until it could have arrived and been missed, `nack_budget` when it is used up.
    pub fn spend(
        &mut self,
        now: Instant,
        index: u64,
        bytes: usize,
        octets: u64,
        way: Way,
    ) -> Result<(), DropReason> {
        let place = index as usize % MEMORY;
        let (before, until) = self.recent[place];
        if before == index && now < until {
            return Err(DropReason::NackRepeated);
        }
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.packets = (self.packets + elapsed * PER_SECOND).min(SAVED_PACKETS);
        let media = octets.saturating_sub(self.octets_at_refill) as f64;
        self.octets_at_refill = octets;
        self.bytes = (self.bytes + media * SHARE).min(SAVED_BYTES);
        if self.packets < 1.0 || self.bytes < bytes as f64 {
            return Err(DropReason::NackBudget);
        }
        self.packets -= 1.0;
        self.bytes -= bytes as f64;
        let through_at = self.through_at.max(now) + way.takes(bytes);
        self.through_at = through_at.min(now + MAX_QUEUED);
        let until = self.through_at + way.round_trip.unwrap_or(INTERVAL);
        self.recent[place] = (index, until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 1100;
    const WAY: Way = Way { round_trip: Some(Duration::from_millis(100)), bps: None };
    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::disallowed_methods, reason = "some start of virtual time")]
    fn full() -> (Repair, Instant) {
        let now = Instant::now();
        (Repair::new(now, 0), now)
    }

    /// How many of these are granted.
    fn granted(
        repair: &mut Repair,
        now: Instant,
        octets: u64,
        lost: std::ops::Range<u64>,
    ) -> usize {
        lost.filter(|index| repair.spend(now, *index, BYTES, octets, WAY).is_ok()).count()
    }

    #[test]
    fn what_300_ms_lose_is_repaired_at_once_and_again_after_a_round_trip() {
        let (mut repair, now) = full();
        // 2.5 Mbit/s.
        let lost = 0..85;
        assert_eq!(granted(&mut repair, now, 0, lost.clone()), 85);
        let early = lost.clone().map(|i| repair.spend(now + 99 * MS, i, BYTES, 0, WAY));
        assert!(early.into_iter().all(|spent| spent == Err(DropReason::NackRepeated)));
        assert_eq!(granted(&mut repair, now + 100 * MS, 0, lost), 85);
    }

    #[test]
    fn what_waits_in_the_network_behind_other_repairs_is_not_sent_twice() {
        let (mut repair, now) = full();
        let way = Way { bps: Some(5_000_000), ..WAY };
        let ask = |repair: &mut Repair, after: u32| {
            let spent = (0..85).map(|index| repair.spend(now + after * MS, index, BYTES, 0, way));
            spent.filter(Result::is_ok).count()
        };
        // 85 of them take 149.6 ms.
        assert_eq!(ask(&mut repair, 0), 85);
        assert_eq!(ask(&mut repair, 101), 0);
        assert_eq!(ask(&mut repair, 102), 1, "the first one was lost");
        assert_eq!(ask(&mut repair, 251), 84);
    }

    #[test]
    fn an_estimate_that_has_collapsed_does_not_refuse_for_ever() {
        let (mut repair, now) = full();
        let way = Way { bps: Some(30_000), ..WAY };
        let ask =
            |repair: &mut Repair, after: u32| repair.spend(now + after * MS, 9, BYTES, 0, way);
        assert!((0..9).all(|index| repair.spend(now, index, BYTES, 0, way).is_ok()));
        assert_eq!(ask(&mut repair, 0), Ok(()));
        assert_eq!(ask(&mut repair, 599), Err(DropReason::NackRepeated));
        assert_eq!(ask(&mut repair, 600), Ok(()));
    }

    #[test]
    fn a_storm_gets_what_was_saved_and_then_its_rate() {
        let (mut repair, now) = full();
        let saved = SAVED_PACKETS as usize;
        let octets = 100 << 20;
        let small = |repair: &mut Repair, at, index| repair.spend(at, index, 10, octets, WAY);
        assert!((0..256).all(|index| small(&mut repair, now, index).is_ok()));
        assert_eq!(small(&mut repair, now, 256), Err(DropReason::NackBudget));
        let second = (0..100_000u64)
            .filter(|i| small(&mut repair, now + Duration::from_micros(i * 10), 1000 + i).is_ok())
            .count();
        assert!((99..=100).contains(&second), "{second} in the second after {saved}");
    }

    #[test]
    fn bytes_end_with_what_was_saved_and_come_back_as_a_share_of_the_media() {
        let (mut repair, now) = full();
        let fit = SAVED_BYTES as usize / BYTES;
        assert_eq!(granted(&mut repair, now, 0, 0..256), fit);
        assert_eq!(repair.spend(now, 999, BYTES, 0, WAY), Err(DropReason::NackBudget));
        let more = granted(&mut repair, now + 1000 * MS, 400 * BYTES as u64, 1000..2000);
        assert!((100..=101).contains(&more), "{more} of a quarter of 400");
    }
}
