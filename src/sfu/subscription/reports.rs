//! Sender reports of a slot, translated from its publisher's, and what the viewer reports of them.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::SenderInfo;

use super::super::relay::ClockPair;
use super::super::slab::PublicationId;
use super::Subscription;

impl Subscription {
    /// Whether a sender report should follow the packets just sent: the first after an anchor, so
    /// that the player can line up audio and video at once.
    pub fn take_report_due(&mut self) -> bool {
        std::mem::take(&mut self.report_due)
    }

    /// Sender report for this slot, translated from the publisher's clock pair, which was taken
    /// `age` ago. `None` before anything of the publication went out.
    pub fn sender_report(
        &mut self,
        now: Instant,
        publication: PublicationId,
        clock: ClockPair,
        age: Duration,
    ) -> Option<SenderInfo> {
        let anchor = self.anchor.filter(|anchor| anchor.publication == publication)?;
        let micros = age.as_micros() as u64;
        let ntp = clock.ntp.wrapping_add(((micros as u128) << 32).div_euclid(1_000_000) as u64);
        let ticks = micros * u64::from(self.clock_rate()) / 1_000_000;
        let rtp = clock.rtp.wrapping_add(ticks as u32).wrapping_add(anchor.timestamp_offset);
        self.reported = Some(((ntp >> 16) as u32, now));
        Some(SenderInfo {
            ssrc: self.ssrc,
            ntp,
            rtp_timestamp: rtp,
            packets: self.packets as u32,
            octets: self.octets as u32,
        })
    }

    /// A receiver report about this slot: learn the round trip (RFC 3550 6.4.1).
    pub fn note_receiver_report(
        &mut self,
        now: Instant,
        last_sr: u32,
        delay_since_last_sr: u32,
    ) -> Option<Duration> {
        if let Some((ntp, at)) = self.reported
            && ntp == last_sr
        {
            let held = Duration::from_micros(u64::from(delay_since_last_sr) * 1_000_000 / 65_536);
            let elapsed = now.saturating_duration_since(at);
            self.round_trip = Some(
                elapsed
                    .saturating_sub(held)
                    .clamp(Duration::from_millis(5), Duration::from_millis(500)),
            );
        }
        self.round_trip
    }
}
