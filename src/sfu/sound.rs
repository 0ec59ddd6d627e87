//! What a viewer's sound takes from its picture, and whether it may come in RED.

use std::time::Instant;

use signaling::media::MediaKind;

use super::bandwidth::allocation::{Demand, divide};
use super::session::{OutSlot, Place, Role};
use super::slots::subscription_in;
use super::{Sfu, session_mut};

/// What one sound slot takes, bit/s: Opus as browsers send it, with its headers.
pub(super) const SOUND_BPS: u64 = 60_000;
/// The same in RED, where each packet has the sound of the one before as well.
const RED_SOUND_BPS: u64 = 100_000;
/// How much of what is left beside sound in RED must do for the picture, percent. Trade: a picture is kept at a tenth
/// less than it takes, and RED in that tenth would lose packets until the picture falls, go, and come back; more would
/// keep it from viewers who have room.
const RED_SURE_PERCENT: u64 = 90;

/// Bits per second of video that a viewer's network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Beside its sound alone.
    pub beside_sound: u64,
    /// Beside its sound in RED, where it comes so and can be read.
    pub beside_red: u64,
}

impl Sfu {
    /// What is left for video; `None` = the viewer's client tells us nothing.
    pub(super) fn budget(&self, now: Instant, index: u32) -> Option<Budget> {
        let session = self.sessions.get(index as usize)?.as_ref()?;
        let (mut sound, mut red) = (0, 0);
        for slot in &self.watcher(index)?.slots {
            let (alone, in_red) = self.sound_bps(slot);
            (sound, red) = (sound + alone, red + in_red);
        }
        let total = session.downlink.as_ref()?.budget_bps(now)?;
        let (beside_sound, beside_red) = (total.saturating_sub(sound), total.saturating_sub(red));
        Some(Budget { beside_sound, beside_red })
    }

    /// Bits per second of a slot's sound, alone and in RED; 0 of a slot that is empty or shows video.
    fn sound_bps(&self, slot: &OutSlot) -> (u64, u64) {
        let Place::Attached { publication, .. } = slot.place else { return (0, 0) };
        if slot.track.kind != MediaKind::Audio {
            return (0, 0);
        }
        let publication = self.publications.get(publication as usize).and_then(Option::as_ref);
        let newest = publication.and_then(|publication| publication.ring.newest());
        let takes_red = slot.track.codecs.iter().any(|codec| codec.red_pt.is_some());
        match newest {
            Some(slab) if slab.redundancy > 0 && takes_red => (SOUND_BPS, RED_SOUND_BPS),
            _ => (SOUND_BPS, SOUND_BPS),
        }
    }

    /// Let a viewer's sound come in RED where that takes nothing from the picture; what is left for that, as `divide` takes it.
    pub(super) fn choose_sound(
        &mut self,
        now: Instant,
        index: u32,
        demands: &mut [Demand],
    ) -> Option<u64> {
        let budget = self.budget(now, index);
        let in_red = budget.is_none_or(|Budget { beside_sound, beside_red }| {
            let mut given = |bps| {
                divide(demands, Some(bps));
                demands.iter().map(Demand::chosen_bps).sum::<u64>()
            };
            let sure = beside_red * RED_SURE_PERCENT / 100;
            beside_red == beside_sound || given(sure) >= given(beside_sound)
        });
        self.set_red(index, in_red);
        budget.map(|budget| if in_red { budget.beside_red } else { budget.beside_sound })
    }

    fn set_red(&mut self, index: u32, on: bool) {
        let Some(session) = session_mut(&mut self.sessions, index) else { return };
        let Role::Watch(watcher) = &mut session.role else { return };
        let sound = |slot: &&mut OutSlot| slot.track.kind == MediaKind::Audio;
        for slot in watcher.slots.iter_mut().filter(sound) {
            if let Some(subscription) = subscription_in(&mut self.publications, &mut slot.place) {
                subscription.set_red(on);
            }
        }
    }
}
