//! Which simulcast layers of a publisher anybody takes. Those that nobody takes for a while are given up: the publisher is asked
//! to send them no more, and to go on as soon as somebody wants one. Pure: what is sent and what is watched in, what
//! to ask for out.
//!
//! A layer that rests at our wish is not one that has vanished: it goes on being a choice, at what it cost
//! last, and who chooses it keeps what they see until it comes. A publisher that does not do as it is asked (WHIP has no
//! words for it) changes nothing: what is sent is not at rest.

use std::time::{Duration, Instant};

use crate::rtp::track::MAX_LAYERS;

use super::bandwidth::allocation::Layers;
use super::thinning::POINTS;

/// How long nobody must have taken a layer. Trade: the publisher's uplink and encoder work for nothing for so long, and
/// a viewer at the border of two layers does not have it stopped and begun each time.
const UNWATCHED: Duration = Duration::from_secs(3);
/// How long a layer may take to begin again before it counts as vanished. Trade: its encoder has to start, over a bad uplink
/// that takes a second or two; who waits for it sees a lower one meanwhile.
const WAKES_WITHIN: Duration = Duration::from_secs(3);
/// A publisher that sends nothing at all for so long is asked for everything again: what it is to begin with when it is back
/// cannot be known.
const SILENT: Duration = Duration::from_secs(2);

/// What was asked of one layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Ask {
    /// To be sent.
    #[default]
    Wanted,
    /// To be sent, but nobody has taken it since then.
    Idle(Instant),
    /// Not to be sent; what it cost.
    Rest([u32; POINTS]),
    /// To be sent again, and it has until then to begin; what it cost.
    Waking(Instant, [u32; POINTS]),
}

/// The layers of one publisher.
#[derive(Debug, Default)]
pub struct Interest {
    asks: [Ask; MAX_LAYERS],
    /// When any of them was sent last.
    sent: Option<Instant>,
}

impl Interest {
    /// What the layers cost was measured (0 = not sent). Those at rest are written in as what they cost last. `true` = the
    /// publisher must be told of [`Self::active`].
    pub fn follow(
        &mut self,
        now: Instant,
        layers: &mut Layers,
        watched: [bool; MAX_LAYERS],
    ) -> bool {
        let before = self.active();
        let lowest = (0..MAX_LAYERS)
            .filter(|layer| layers.whole_bps(*layer) > 0)
            .min_by_key(|layer| layers.whole_bps(*layer));
        if lowest.is_some() {
            self.sent = Some(now);
        }
        let silent = self.sent.is_none_or(|sent| sent + SILENT <= now);
        for (layer, ask) in self.asks.iter_mut().enumerate() {
            let sent = layers.whole_bps(layer) > 0;
            let given_up = sent && !watched[layer] && lowest != Some(layer);
            *ask = match *ask {
                _ if silent => Ask::Wanted,
                Ask::Wanted if given_up => Ask::Idle(now),
                Ask::Idle(_) if !given_up => Ask::Wanted,
                Ask::Idle(since) if since + UNWATCHED <= now => Ask::Rest(layers.bps[layer]),
                Ask::Rest(bps) if watched[layer] => Ask::Waking(now + WAKES_WITHIN, bps),
                Ask::Waking(until, _) if sent || until <= now => Ask::Wanted,
                ask => ask,
            };
            let kept = match *ask {
                Ask::Rest(bps) | Ask::Waking(_, bps) if !sent && lowest.is_some() => Some(bps),
                _ => None,
            };
            layers.resting[layer] = kept.is_some();
            if let Some(bps) = kept {
                layers.bps[layer] = bps;
            }
        }
        self.active() != before
    }

    /// Somebody wants this layer. `true` = the publisher must be told of [`Self::active`].
    pub fn want(&mut self, now: Instant, layer: u8) -> bool {
        let Some(ask) = self.asks.get_mut(usize::from(layer)) else { return false };
        let Ask::Rest(bps) = *ask else { return false };
        *ask = Ask::Waking(now + WAKES_WITHIN, bps);
        true
    }

    /// Which layers are to be sent, in the order of the offer.
    #[must_use]
    pub fn active(&self) -> [bool; MAX_LAYERS] {
        self.asks.map(|ask| !matches!(ask, Ask::Rest(_)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

    const TICK: Duration = Duration::from_millis(200);
    const CAMERA: [u32; MAX_LAYERS] = [150_000, 500_000, 1_500_000];

    struct Show {
        now: Instant,
        interest: Interest,
        layers: Layers,
    }

    impl Show {
        fn new() -> Self {
            let (now, interest) = (Instant::now(), Interest::default());
            Self { now, interest, layers: Layers::default() }
        }

        /// The layers that are sent are so many bit/s, for `time`; how often the publisher was told.
        fn run(&mut self, time: Duration, sent: [u32; 3], watched: [bool; 3]) -> usize {
            let ticks = time.as_millis() / TICK.as_millis();
            (0..ticks).filter(|_| self.tick(sent, watched)).count()
        }

        fn tick(&mut self, sent: [u32; 3], watched: [bool; 3]) -> bool {
            self.now += TICK;
            self.layers = Layers { bps: sent.map(|bps| [bps; POINTS]), ..Layers::default() };
            self.interest.follow(self.now, &mut self.layers, watched)
        }

        fn costs(&self) -> [u32; 3] {
            std::array::from_fn(|layer| self.layers.whole_bps(layer))
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const NOBODY: [bool; 3] = [false; 3];
    const LOWEST: [bool; 3] = [true, false, false];

    #[test]
    fn what_nobody_takes_rests_and_stays_a_choice_but_never_the_lowest() {
        let mut show = Show::new();
        assert_eq!(show.run(SECOND * 3, CAMERA, NOBODY), 0);
        assert_eq!(show.interest.active(), [true; 3]);
        assert_eq!(show.run(TICK, CAMERA, NOBODY), 1);
        assert_eq!(show.interest.active(), LOWEST);
        assert_eq!(show.layers.resting, NOBODY, "it is still sent");
        assert_eq!(show.run(SECOND * 60, [150_000, 0, 0], NOBODY), 0);
        assert_eq!(show.costs(), CAMERA);
        assert_eq!(show.layers.resting, [false, true, true]);
        assert!(!show.interest.want(show.now, 0));
        assert!(show.interest.want(show.now, 2), "at once");
        assert!(!show.interest.want(show.now, 2), "and once");
        assert_eq!(show.interest.active(), [true, false, true]);
        assert!(!show.tick([150_000, 0, 0], [true, false, true]));
        assert!(show.layers.resting[2], "until it comes");
        assert!(!show.tick([150_000, 0, 900_000], [true, false, true]));
        assert_eq!(
            (show.costs(), show.layers.resting),
            ([150_000, 500_000, 900_000], [false, true, false])
        );
    }

    #[test]
    fn the_lowest_is_the_cheapest_wherever_it_stands_in_the_offer() {
        let mut show = Show::new();
        show.run(SECOND * 4, [1_500_000, 500_000, 150_000], NOBODY);
        assert_eq!(show.interest.active(), [false, false, true]);
    }

    #[test]
    fn a_layer_that_does_not_wake_has_vanished() {
        let mut show = Show::new();
        show.run(SECOND * 4, CAMERA, LOWEST);
        show.tick([150_000, 0, 0], [true, false, true]);
        assert_eq!(show.interest.active(), [true, false, true], "a relayed wish shows here");
        show.run(SECOND * 2, [150_000, 0, 0], [true, false, true]);
        assert_eq!(show.costs(), CAMERA);
        show.run(SECOND * 2, [150_000, 0, 0], [true, false, true]);
        assert_eq!(show.costs(), [150_000, 500_000, 0]);
        assert_eq!(show.interest.active(), [true, false, true], "and may come by itself");
    }

    #[test]
    fn what_the_publisher_gave_up_itself_is_not_asked_to_rest() {
        let mut show = Show::new();
        show.run(SECOND * 10, [150_000, 500_000, 0], LOWEST);
        assert_eq!(show.interest.active(), [true, false, true]);
        assert_eq!(show.costs(), [150_000, 500_000, 0]);
    }

    #[test]
    fn who_takes_a_layer_now_and_then_keeps_it() {
        let mut show = Show::new();
        for _ in 0..5 {
            assert_eq!(show.run(TICK * 14, CAMERA, LOWEST), 0);
            assert_eq!(show.run(TICK, CAMERA, [true; 3]), 0);
        }
    }

    #[test]
    fn a_publisher_that_falls_silent_begins_with_everything() {
        let mut show = Show::new();
        show.run(SECOND * 4, CAMERA, LOWEST);
        assert_eq!(show.run(SECOND, [0; 3], LOWEST), 0);
        assert_eq!(show.costs(), [0; 3], "nothing can be chosen");
        show.run(TICK, [150_000, 0, 0], LOWEST);
        assert_eq!(show.costs(), CAMERA, "a short break");
        assert_eq!(show.run(SECOND * 3, [0; 3], LOWEST), 1);
        assert_eq!(show.interest.active(), [true; 3]);
    }

    #[test]
    fn a_publisher_that_does_not_do_as_it_is_asked_changes_nothing() {
        let mut show = Show::new();
        assert_eq!(show.run(SECOND * 60, CAMERA, LOWEST), 1, "told once");
        assert_eq!((show.costs(), show.layers.resting), (CAMERA, NOBODY));
    }
}
