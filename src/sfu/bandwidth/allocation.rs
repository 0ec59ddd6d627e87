//! Which simulcast layer each of a viewer's slots gets. Pure arithmetic over what the layers cost.

use crate::rtp::track::MAX_LAYERS;

/// Room that a dearer layer must leave in the estimate before a viewer climbs to it, in percent.
///
/// Trade: an estimate swings by several percent; without the margin a viewer at the border would climb and
/// fall, a key frame each time. More would leave a picture worse than the network allows.
const CLIMB_MARGIN_PERCENT: u64 = 15;

/// What the layers of one track cost now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layers {
    /// Bit/s by layer, headers included, in the order of the offer; 0 = not being sent.
    pub bps: [u32; MAX_LAYERS],
}

impl Layers {
    /// The layers being sent, the cheapest first.
    fn rising(&self) -> impl DoubleEndedIterator<Item = (u8, u64)> {
        let mut layers: [(u8, u64); MAX_LAYERS] =
            std::array::from_fn(|layer| (layer as u8, self.cost(layer as u8)));
        layers.sort_by_key(|(layer, bps)| (*bps, *layer));
        layers.into_iter().filter(|(_, bps)| *bps > 0)
    }

    /// What the dearest layer being sent costs, bit/s.
    #[must_use]
    pub fn best_bps(&self) -> u64 {
        self.bps.iter().copied().max().unwrap_or(0).into()
    }

    fn cost(&self, layer: u8) -> u64 {
        self.bps.get(usize::from(layer)).copied().unwrap_or(0).into()
    }
}

/// One slot that shows a track with layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Index of the slot.
    pub slot: usize,
    /// What it can show.
    pub layers: Layers,
    /// The layer it shows now, if it has begun.
    pub present: Option<u8>,
    /// The layer it is to show: the answer.
    pub chosen: u8,
}

impl Demand {
    /// What the chosen layer costs, bit/s.
    #[must_use]
    pub fn chosen_bps(&self) -> u64 {
        self.layers.cost(self.chosen)
    }
}

/// Choose a layer for each demand, the most important first: all get the cheapest, whatever it costs,
/// then what is left of `budget_bps` lifts them in order. `None` = no estimate, everybody gets the best.
pub fn divide(demands: &mut [Demand], budget_bps: Option<u64>) {
    let Some(budget) = budget_bps else {
        for demand in demands {
            demand.chosen = demand.layers.rising().next_back().map_or(demand.chosen, |(l, _)| l);
        }
        return;
    };
    let mut spent = 0;
    for demand in demands.iter_mut() {
        if let Some((layer, bps)) = demand.layers.rising().next() {
            demand.chosen = layer;
            spent += bps;
        }
    }
    for demand in demands {
        let base = demand.layers.cost(demand.chosen);
        let others = spent - base;
        let shown = demand.present.map_or(0, |layer| demand.layers.cost(layer));
        let affordable = |bps: u64| {
            let climbs = bps > shown;
            let needed = if climbs { bps * (100 + CLIMB_MARGIN_PERCENT) / 100 } else { bps };
            others + needed <= budget
        };
        if let Some((layer, bps)) = demand.layers.rising().rev().find(|(_, bps)| affordable(*bps)) {
            demand.chosen = layer;
            spent = others + bps;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn demand(bps: [u32; 3], present: Option<u8>) -> Demand {
        Demand { slot: 0, layers: Layers { bps }, present, chosen: 0 }
    }

    fn chosen(demands: &[Demand], budget: Option<u64>) -> Vec<u8> {
        let mut demands = demands.to_vec();
        divide(&mut demands, budget);
        demands.iter().map(|demand| demand.chosen).collect()
    }

    const CAMERA: [u32; 3] = [150_000, 500_000, 1_500_000];

    #[test]
    fn without_an_estimate_everybody_gets_the_best_that_is_sent() {
        assert_eq!(chosen(&[demand(CAMERA, None)], None), [2]);
        assert_eq!(chosen(&[demand([150_000, 500_000, 0], Some(2))], None), [1]);
        assert_eq!(chosen(&[demand([1_500_000, 500_000, 150_000], None)], None), [0], "any order");
    }

    #[test]
    fn the_first_climbs_before_the_second() {
        let two = [demand(CAMERA, Some(0)), demand(CAMERA, Some(0))];
        assert_eq!(chosen(&two, Some(100_000)), [0, 0], "the cheapest, whatever it costs");
        assert_eq!(chosen(&two, Some(800_000)), [1, 0]);
        assert_eq!(chosen(&two, Some(2_000_000)), [2, 0]);
        assert_eq!(chosen(&two, Some(3_500_000)), [2, 2]);
    }

    #[test]
    fn climbing_needs_a_margin_and_staying_does_not() {
        let at = |present, budget| chosen(&[demand(CAMERA, Some(present))], Some(budget))[0];
        assert_eq!(at(1, 1_500_000), 1);
        assert_eq!(at(1, 1_724_999), 1);
        assert_eq!(at(1, 1_725_000), 2, "15 % more");
        assert_eq!(at(2, 1_500_000), 2, "it fits as it is");
        assert_eq!(at(2, 1_499_999), 1);
    }

    proptest! {
        #[test]
        fn only_layers_that_are_sent_are_chosen_and_the_budget_holds_if_the_cheapest_do(
            tracks in proptest::collection::vec((proptest::array::uniform3(0u32..3_000_000), 0u8..4), 0..10),
            budget in 0u64..10_000_000,
        ) {
            let demands: Vec<Demand> = tracks
                .iter()
                .map(|(bps, present)| demand(*bps, (*present < 3).then_some(*present)))
                .collect();
            let picks = chosen(&demands, Some(budget));
            let mut cost = 0;
            let mut cheapest = 0;
            for (demand, pick) in demands.iter().zip(&picks) {
                let sent = demand.layers.bps.iter().any(|bps| *bps > 0);
                prop_assert!(!sent || demand.layers.cost(*pick) > 0);
                cost += demand.layers.cost(*pick);
                cheapest += demand.layers.rising().next().map_or(0, |(_, bps)| bps);
            }
            prop_assert!(cost <= budget.max(cheapest));
        }
    }
}
