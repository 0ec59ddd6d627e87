//! A slot behind the live frames: at its beginning, and while a large frame leaves at the viewer's pace.
//!
//! Nothing is queued for it. Its place in the publication's ring says what comes next, and until it has caught up
//! the live frames pass it by.

use std::time::{Duration, Instant};

use super::super::counters::Counters;
use super::super::drop_reason::DropReason;
use super::super::egress::Egress;
use super::super::slab::{Slab, SlabRing};
use super::{Link, Subscription};

impl Subscription {
    /// Whether live frames pass it by.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// Whether it needs a key frame to go on.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.anchor.is_some()
    }

    /// Begin with what is kept since a fresh key frame instead of waiting for the next one. What does not fit the
    /// viewer's pace follows by [`Self::catch_up`]. `false` = there is nothing, or this slot has begun already.
    pub fn replay(
        &mut self,
        now: Instant,
        ring: &SlabRing,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) -> bool {
        let gop = ring.gop(now);
        let (Some(first), Some(last)) = (gop.clone().next(), gop.last()) else { return false };
        if self.anchor.is_some() || self.anchored(now, first, Some(last.timestamp)).is_err() {
            return false;
        }
        self.behind = serial(ring, first);
        self.catch_up(now, ring, Duration::MAX, link, egress, counters);
        true
    }

    /// The viewer's pace does not allow this slab now, which is its publication's newest: it and what follows wait in
    /// the ring.
    ///
    /// # Errors
    /// Why it would not have been sent anyway.
    pub fn fall_behind(
        &mut self,
        now: Instant,
        slab: &Slab,
        ring: &SlabRing,
    ) -> Result<(), DropReason> {
        self.anchored_in_time(now, slab)?;
        self.behind = Some(serial(ring, slab).ok_or(DropReason::TooLate)?);
        Ok(())
    }

    /// Send what waits, as far as the viewer's pace allows. What has waited for longer than `longest` is given up,
    /// with all behind it: the slot then begins anew with a key frame.
    pub fn catch_up(
        &mut self,
        now: Instant,
        ring: &SlabRing,
        longest: Duration,
        link: &mut Link<'_>,
        egress: &mut Egress<'_>,
        counters: &mut Counters,
    ) -> CaughtUp {
        while let Some(serial) = self.behind {
            if serial >= ring.end() {
                self.behind = None;
                break;
            }
            // It is gone after a mute, or where two seconds are more than the ring holds.
            let Some(slab) = ring.at(serial) else {
                self.give_up(ring, counters);
                break;
            };
            if now.saturating_duration_since(slab.arrived) > longest {
                self.give_up(ring, counters);
                return CaughtUp::GaveUp;
            }
            if !link.may_send(now) {
                return CaughtUp::NotYet;
            }
            self.behind = Some(serial + 1);
            if let Err(reason) = self.forward(now, slab, link, egress, counters) {
                counters.drop(reason);
            }
        }
        CaughtUp::Live
    }

    /// Forget what waits, by name. What comes then is another stream, so that no number is missing.
    pub fn give_up(&mut self, ring: &SlabRing, counters: &mut Counters) {
        let Some(serial) = self.behind.take() else { return };
        self.anchor = None;
        let kept = (serial..ring.end()).filter_map(|serial| ring.at(serial));
        counters.drops(DropReason::PacedOut, kept.map(|slab| slab.packets().len() as u32).sum());
    }
}

/// How far [`Subscription::catch_up`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaughtUp {
    /// It gets the live frames from here on.
    Live,
    /// Something waits for its turn.
    NotYet,
    /// It begins anew.
    GaveUp,
}

fn serial(ring: &SlabRing, slab: &Slab) -> Option<u64> {
    ring.serial_of(slab.packets().first()?.sequence)
}
