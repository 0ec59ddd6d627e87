//! Packet index estimation (RFC 3711 3.3.1) and the replay window (3.3.2).

use crate::sfu::drop_reason::DropReason;

/// Packets a late one may lie behind the newest and still be taken. Trade: 1024 packets are 8 s of
/// a 1 Mbit/s video, longer than any retransmission; 128 bytes per SSRC.
pub(super) const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// The newest index seen and which of the [`WINDOW`] before it were.
#[derive(Debug, Clone, Default)]
pub(super) struct ReplayWindow {
    newest: Option<u64>,
    seen: [u64; WORDS],
}

/// Why an index is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replayed;

impl ReplayWindow {
    /// The 48-bit index of a sequence number: the one nearest to the newest index.
    pub(super) fn estimate(&self, seq: u16) -> u64 {
        let Some(newest) = self.newest else { return u64::from(seq) };
        let roc = newest >> 16;
        let distance = i32::from(seq) - i32::from(newest as u16);
        let roc = if distance > 0x8000 && roc > 0 {
            roc - 1
        } else if distance < -0x8000 {
            roc + 1
        } else {
            roc
        };
        (roc << 16) | u64::from(seq)
    }

    /// Whether `index` may be accepted. Changes nothing: the packet is not authentic yet.
    pub(super) fn check(&self, index: u64) -> Result<(), Replayed> {
        match self.newest {
            None => Ok(()),
            Some(newest) if index > newest => Ok(()),
            Some(newest) if newest - index >= WINDOW => Err(Replayed),
            Some(_) if self.bit(index) => Err(Replayed),
            Some(_) => Ok(()),
        }
    }

    /// Mark an authenticated index that [`Self::check`] allowed.
    pub(super) fn accept(&mut self, index: u64) {
        match self.newest {
            None => self.newest = Some(index),
            Some(newest) if index > newest => {
                if index - newest >= WINDOW {
                    self.seen = [0; WORDS];
                } else {
                    // Bits between the old and the new end belong to indexes a window ago.
                    for skipped in newest + 1..=index {
                        self.seen[Self::word(skipped)] &= !Self::mask(skipped);
                    }
                }
                self.newest = Some(index);
            }
            Some(_) => {}
        }
        self.seen[Self::word(index)] |= Self::mask(index);
    }

    fn bit(&self, index: u64) -> bool {
        self.seen[Self::word(index)] & Self::mask(index) != 0
    }

    const fn word(index: u64) -> usize {
        (index % WINDOW / 64) as usize
    }

    const fn mask(index: u64) -> u64 {
        1 << (index % 64)
    }
}

/// SSRCs tracked per peer and direction; a peer sends a handful.
const MAX_SSRCS: usize = 64;

/// A replay window per SSRC, each made only after a packet of it was authenticated.
#[derive(Debug, Default)]
pub(super) struct ReplayTable {
    windows: Vec<(u32, ReplayWindow)>,
}

impl ReplayTable {
    /// The window of `ssrc`, if it has one, after checking that another could be made.
    pub(super) fn find(&self, ssrc: u32) -> Result<Option<&ReplayWindow>, DropReason> {
        match self.windows.iter().find(|(known, _)| *known == ssrc) {
            Some((_, window)) => Ok(Some(window)),
            None if self.windows.len() >= MAX_SSRCS => Err(DropReason::TooManySsrcs),
            None => Ok(None),
        }
    }

    /// Mark an authenticated index.
    pub(super) fn accept(&mut self, ssrc: u32, index: u64) {
        match self.windows.iter_mut().find(|(known, _)| *known == ssrc) {
            Some((_, window)) => window.accept(index),
            None => {
                let mut window = ReplayWindow::default();
                window.accept(index);
                self.windows.push((ssrc, window));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The window agrees with a set that remembers everything.
        #[test]
        fn agrees_with_a_set(jumps in prop::collection::vec((-1500i64..1500, 0u8..4), 1..400)) {
            let mut window = ReplayWindow::default();
            let mut seen = BTreeSet::new();
            let mut at = 70_000i64;
            for (jump, scale) in jumps {
                at = (at + if scale == 0 { jump } else { jump.signum() * 3 + 1 }).max(0);
                let index = at as u64;
                let newest = seen.last().copied().unwrap_or(index);
                let fresh = !seen.contains(&index) && (index > newest || newest - index < WINDOW);
                prop_assert_eq!(window.check(index).is_ok(), fresh);
                if fresh {
                    window.accept(index);
                    seen.insert(index);
                }
            }
        }

        /// An index within half the sequence space of the newest is found from its low 16 bits.
        #[test]
        fn estimates_across_wraps(newest in 0u64..1 << 40, offset in -32_000i64..32_000) {
            let mut window = ReplayWindow::default();
            window.accept(newest);
            let Some(index) = newest.checked_add_signed(offset) else { return Ok(()) };
            prop_assert_eq!(window.estimate(index as u16), index);
        }
    }

    #[test]
    fn an_unseen_ssrc_past_the_limit_is_refused() {
        let mut table = ReplayTable::default();
        for ssrc in 0..MAX_SSRCS as u32 {
            assert!(table.find(ssrc).is_ok_and(|window| window.is_none()));
            table.accept(ssrc, 1);
        }
        assert_eq!(table.find(99).unwrap_err(), DropReason::TooManySsrcs);
        assert!(table.find(3).unwrap().is_some());
    }
}
