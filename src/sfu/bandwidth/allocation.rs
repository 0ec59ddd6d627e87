//! Which simulcast layer each of a viewer's slots gets, and which of the layers inside it. Pure arithmetic over what they cost.
//!
//! From the best down, a track is given with fewer frames first (once), then as the next cheaper picture, that with all
//! frames first; only the cheapest picture of all is thinned as far as it goes. So 30 frames a second become 15 before the
//! picture gets smaller, and 7 only where nothing smaller is sent.
//!
//! What a viewer says of its tiles caps that: no picture larger than the smallest that covers the tile.

use std::cmp::Reverse;

use signaling::media::{Seat, TileSize};

use crate::rtp::codec::PictureSize;
use crate::rtp::track::MAX_LAYERS;
use crate::sfu::thinning::{LEVELS, POINTS, Point};

/// How far over the estimate the present choice may be before a viewer falls to a cheaper one, in percent. A dearer one
/// must fit whole.
///
/// Trade: an estimate swings by several percent, and where one packet in twenty is lost by chance it is held at what
/// arrives; without the margin a viewer at the border would climb and fall, a key frame each time. More would let
/// a queue grow for longer where the network is narrower.
const STAY_MARGIN_PERCENT: u64 = 10;

/// A layer inside a stream counts if it adds at least this part of the stream, one in so many. Less is not worth a choice,
/// and what a layer leaves in the averages fades within seconds once it is not sent any more.
const WORTH: u64 = 64;

/// Part of a tile's width and height that a picture must have to cover it, in percent.
///
/// Trade: scaled up by a quarter a picture is a little soft, and mostly the next one has four times its pixels; less
/// would be seen, more would send 1280 pixels to a tile of 700 where 640 are at hand.
const COVERS_PERCENT: u32 = 80;

/// A cost has moved if it did by more than this part of itself, one in so many.
///
/// Trade: measured costs swing by several percent with what is filmed. Each time all viewers of a publisher are looked at,
/// microseconds each; until the viewer's next turn it may be over its budget by this part.
const MOVED: u32 = 8;

/// Sizes of the pictures of one simulcast layer by spatial level; unknown until a key frame tells them.
pub type Sizes = [Option<PictureSize>; LEVELS];

/// What the layers of one track cost now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Layers {
    /// Bit/s by simulcast layer, in the order of the offer, and by operating point; headers included, 0 = not being sent.
    pub bps: [[u32; POINTS]; MAX_LAYERS],
    /// How large their pictures are.
    pub sizes: [Sizes; MAX_LAYERS],
    /// Which of them the publisher does not send because nobody took them: their cost is what it was, and they come when they
    /// are wanted.
    pub resting: [bool; MAX_LAYERS],
    /// Of which of them the upper spatial layers are of use only to who reads dependency descriptors.
    pub need_descriptors: [bool; MAX_LAYERS],
}

/// What of a track a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The simulcast layer.
    pub layer: u8,
    /// The layers inside it.
    pub point: Point,
}

impl Choice {
    /// All of the first layer.
    pub const FIRST: Self = Self { layer: 0, point: Point::ALL };
}

impl Layers {
    /// What can be chosen for a tile and its bit/s, the worst first. A size that is not known is no reason to leave
    /// something out.
    fn options(&self, tile: Option<TileSize>) -> Vec<(Choice, u64)> {
        let mut pictures = Vec::with_capacity(MAX_LAYERS * LEVELS);
        for layer in 0..MAX_LAYERS as u8 {
            let across = |spatial| Choice { layer, point: Point { spatial, ..Point::ALL } };
            pictures.extend(self.rising(across).into_iter().map(|(choice, bps)| (bps, choice)));
        }
        if let Some(tile) = tile {
            let sizes = pictures.iter().filter_map(|(_, choice)| self.size(*choice));
            let enough = sizes.filter(|size| covers(*size, tile)).map(PictureSize::area).min();
            let fits = |area: u32| enough.is_none_or(|enough| area <= enough);
            pictures.retain(|(_, choice)| self.size(*choice).is_none_or(|size| fits(size.area())));
        }
        pictures.sort_by_key(|(bps, choice)| (*bps, choice.layer, choice.point.spatial));
        let mut options = Vec::with_capacity(pictures.len() * LEVELS);
        for (rank, (_, picture)) in pictures.into_iter().enumerate() {
            let point = picture.point;
            let slower = |temporal| Choice { point: Point { temporal, ..point }, ..picture };
            let rates = self.rising(slower);
            let left_out = if rank == 0 { 0 } else { rates.len().saturating_sub(2) };
            options.extend(rates.into_iter().skip(left_out));
        }
        options
    }

    /// The levels of one kind that add something. The highest of them stands for all above it, so that a level that is
    /// sent from now on is taken.
    fn rising(&self, at: impl Fn(u8) -> Choice) -> Vec<(Choice, u64)> {
        let top = at(LEVELS as u8 - 1);
        let all = self.cost(top);
        let mut levels: Vec<(Choice, u64)> = Vec::with_capacity(LEVELS);
        for choice in (0..LEVELS as u8).map(at) {
            let bps = self.cost(choice);
            let below = levels.last().map_or(0, |(_, bps)| *bps);
            if bps > below + all / WORTH {
                levels.push((choice, bps));
            }
        }
        if let Some(best) = levels.last_mut() {
            *best = (top, all);
        }
        levels
    }

    /// As they are to a viewer who reads no dependency descriptors: of streams that need them the lowest spatial layer alone.
    #[must_use]
    pub fn undescribed(mut self) -> Self {
        let streams = self.bps.iter_mut().zip(&mut self.sizes).zip(self.need_descriptors);
        for ((bps, sizes), _) in streams.filter(|(_, needs)| *needs) {
            let lowest: [u32; LEVELS] = std::array::from_fn(|temporal| bps[temporal]);
            bps.chunks_exact_mut(LEVELS).for_each(|points| points.copy_from_slice(&lowest));
            *sizes = [sizes[0]; LEVELS];
        }
        self
    }

    /// Without what rests: what a viewer who sees nothing yet can begin with.
    #[must_use]
    pub fn awake(mut self) -> Self {
        for (bps, resting) in self.bps.iter_mut().zip(self.resting) {
            if resting {
                *bps = [0; POINTS];
            }
        }
        self
    }

    /// What all of a simulcast layer costs, bit/s.
    #[must_use]
    pub fn whole_bps(&self, layer: usize) -> u32 {
        self.bps.get(layer).map_or(0, |points| points[Point::ALL.index()])
    }

    /// Something costs more or less than in `before` by enough to choose anew, or is of another size, or rests or not.
    #[must_use]
    pub fn differ(&self, before: &Self) -> bool {
        let far = |(now, then): (&u32, &u32)| now.abs_diff(*then) > then / MOVED;
        let moved = |(now, then): (&[u32; POINTS], &[u32; POINTS])| now.iter().zip(then).any(far);
        self.sizes != before.sizes
            || self.resting != before.resting
            || self.need_descriptors != before.need_descriptors
            || self.bps.iter().zip(&before.bps).any(moved)
    }

    fn size(&self, choice: Choice) -> Option<PictureSize> {
        let sizes = self.sizes.get(usize::from(choice.layer))?;
        *sizes.get(usize::from(choice.point.spatial))?
    }

    fn cost(&self, choice: Choice) -> u64 {
        let points = self.bps.get(usize::from(choice.layer));
        points.map_or(0, |points| points[choice.point.index()]).into()
    }
}

fn covers(picture: PictureSize, tile: TileSize) -> bool {
    let enough = |has: u16, of: u16| u32::from(has) * 100 >= u32::from(of) * COVERS_PERCENT;
    enough(picture.width, tile.width) && enough(picture.height, tile.height)
}

/// One slot that shows a track with layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Index of the slot.
    pub slot: usize,
    /// The seat it shows.
    pub seat: Seat,
    /// That seat has the floor.
    pub speaks: bool,
    /// How large the viewer shows it; `None` = it did not say.
    pub tile: Option<TileSize>,
    /// What it can show.
    pub layers: Layers,
    /// What it shows now, if it has begun.
    pub present: Option<Choice>,
    /// What it is to show: the answer.
    pub chosen: Choice,
    /// What the best for its tile costs, bit/s: part of the answer.
    pub best_bps: u64,
}

impl Demand {
    /// What the choice costs, bit/s.
    #[must_use]
    pub fn chosen_bps(&self) -> u64 {
        self.layers.cost(self.chosen)
    }

    /// What it takes now, bit/s; 0 of a slot that shows nothing yet.
    #[must_use]
    pub fn present_bps(&self) -> u64 {
        self.present.map_or(0, |present| self.layers.cost(present))
    }

    /// What was chosen is less than what it shows, and not being sent at present.
    #[must_use]
    pub fn falls_to_rest(&self) -> bool {
        let rests = self.layers.resting.get(usize::from(self.chosen.layer)) == Some(&true);
        rests && self.chosen_bps() < self.present_bps()
    }

    fn options(&self) -> Vec<(Choice, u64)> {
        self.layers.options(self.tile)
    }

    /// The most important first: a tile of twice the pixels before the other, so that a spotlight comes first;
    /// where that does not decide, the host, its screen, the guest who has the floor, then the others. Who says nothing
    /// of a tile shows it large.
    fn rank(&self) -> (Reverse<u32>, u8) {
        let area = |tile: TileSize| u32::from(tile.width) * u32::from(tile.height);
        let doublings = self.tile.map_or(u32::BITS, |tile| area(tile).checked_ilog2().unwrap_or(0));
        let seat = match self.seat {
            Seat::HOST => 0,
            Seat::SCREEN => 1,
            Seat(_) if self.speaks => 2,
            Seat(guest) => guest.saturating_add(2),
        };
        (Reverse(doublings), seat)
    }
}

/// Choose for each demand, and put the most important first: all get the cheapest, whatever it costs, then what is left of
/// `budget_bps` lifts them in that order. `None` = no estimate, everybody gets the best that its tile needs.
pub fn divide(demands: &mut [Demand], budget_bps: Option<u64>) {
    demands.sort_by_key(Demand::rank);
    let options: Vec<_> = demands.iter().map(Demand::options).collect();
    for (demand, options) in demands.iter_mut().zip(&options) {
        let best = options.last().copied();
        (demand.chosen, demand.best_bps) = best.unwrap_or((demand.chosen, 0));
    }
    let Some(budget) = budget_bps else { return };
    let mut spent = 0;
    for (demand, options) in demands.iter_mut().zip(&options) {
        if let Some((cheapest, bps)) = options.iter().min_by_key(|(_, bps)| *bps) {
            demand.chosen = *cheapest;
            spent += bps;
        }
    }
    for (demand, options) in demands.iter_mut().zip(options) {
        let base = demand.chosen_bps();
        let others = spent - base;
        let shown = demand.present_bps();
        let affordable = |bps: u64| {
            let percent = if bps == shown { 100 - STAY_MARGIN_PERCENT } else { 100 };
            others + bps * percent / 100 <= budget
        };
        if let Some((choice, bps)) = options.into_iter().rev().find(|(_, bps)| affordable(*bps)) {
            demand.chosen = choice;
            spent = others + bps;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Simulcast layers without layers inside.
    fn whole(bps: [u32; 3]) -> Layers {
        Layers { bps: bps.map(|bps| [bps; POINTS]), ..Layers::default() }
    }

    /// One stream, bit/s by spatial layer, of which `rates` percent are sent up to each temporal layer.
    fn svc(spatial: [u32; 3], rates: [u32; 3]) -> Layers {
        let at = |point: usize| spatial[point / LEVELS] / 100 * rates[point % LEVELS];
        let bps = [std::array::from_fn(at), [0; POINTS], [0; POINTS]];
        Layers { bps, ..Layers::default() }
    }

    fn layer(layer: u8) -> Choice {
        Choice { layer, point: Point::ALL }
    }

    fn point(spatial: u8, temporal: u8) -> Choice {
        Choice { layer: 0, point: Point { spatial, temporal } }
    }

    fn demand(layers: Layers, present: Option<Choice>) -> Demand {
        let seat = Seat::HOST;
        let chosen = Choice::FIRST;
        Demand { slot: 0, seat, speaks: false, tile: None, layers, present, chosen, best_bps: 0 }
    }

    fn chosen(demands: &[Demand], budget: Option<u64>) -> Vec<Choice> {
        let mut demands = demands.to_vec();
        divide(&mut demands, budget);
        demands.iter().map(|demand| demand.chosen).collect()
    }

    const CAMERA: [u32; 3] = [150_000, 500_000, 1_500_000];

    #[test]
    fn without_an_estimate_everybody_gets_the_best_that_is_sent() {
        let best = |bps| chosen(&[demand(whole(bps), None)], None)[0];
        assert_eq!(best(CAMERA), layer(2));
        assert_eq!(best([150_000, 500_000, 0]), layer(1));
        assert_eq!(best([1_500_000, 500_000, 150_000]), layer(0), "any order");
        assert_eq!(chosen(&[demand(svc(CAMERA, [50, 75, 100]), None)], None), [layer(0)]);
    }

    #[test]
    fn the_first_climbs_before_the_second() {
        let two = [demand(whole(CAMERA), Some(layer(0))), demand(whole(CAMERA), Some(layer(0)))];
        let layers = |budget| chosen(&two, Some(budget)).into_iter().map(|choice| choice.layer);
        assert!(layers(100_000).eq([0, 0]), "the cheapest, whatever it costs");
        assert!(layers(800_000).eq([1, 0]));
        assert!(layers(1_900_000).eq([2, 0]));
        assert!(layers(3_500_000).eq([2, 2]));
    }

    #[test]
    fn climbing_needs_room_and_staying_a_tenth_less() {
        let at = |present, budget| {
            chosen(&[demand(whole(CAMERA), Some(layer(present)))], Some(budget))[0].layer
        };
        assert_eq!(at(1, 1_500_000), 2, "it fits");
        assert_eq!(at(1, 1_499_999), 1);
        assert_eq!(at(2, 1_350_000), 2, "10 % less");
        assert_eq!(at(2, 1_349_999), 1);
    }

    #[test]
    fn frames_go_first_once_then_the_picture_and_the_cheapest_is_thinned_to_the_end() {
        let options: Vec<(Choice, u64)> = svc(CAMERA, [40, 60, 100]).options(None);
        let expected = [
            (point(0, 0), 60_000),
            (point(0, 1), 90_000),
            (point(0, 2), 150_000),
            (point(1, 1), 300_000),
            (point(1, 2), 500_000),
            (point(2, 1), 900_000),
            (point(2, 2), 1_500_000),
        ];
        assert_eq!(options, expected);
    }

    #[test]
    fn levels_that_are_not_sent_are_no_choice_and_the_highest_stands_for_all_above() {
        assert_eq!(whole([150_000, 0, 0]).options(None).len(), 1);
        assert!(Layers::default().options(None).is_empty());
        let options = |layers: Layers| layers.options(None).into_iter().map(|(choice, _)| choice);
        let half = svc([800_000; 3], [60, 100, 100]);
        assert!(options(half).eq([point(2, 0), point(2, 2)]), "one spatial layer, two temporal");
        let two = svc([200_000, 800_000, 800_000], [100; 3]);
        assert!(options(two).eq([point(0, 2), point(2, 2)]));
    }

    #[test]
    fn who_reads_no_descriptors_has_the_lowest_spatial_layer_of_a_stream_that_needs_them() {
        let inside = [sized(320, 180), sized(640, 360), sized(1280, 720)];
        let sizes = [inside; MAX_LAYERS];
        let av1 = Layers { sizes, need_descriptors: [true; 3], ..svc(CAMERA, [50, 100, 100]) };
        let lowest = [(point(2, 0), 75_000), (point(2, 2), 150_000)];
        assert_eq!(av1.undescribed().options(None), lowest, "the highest stands for all above");
        assert_eq!(av1.undescribed().options(tile(1280, 720)), lowest);
        assert_eq!(av1.undescribed().options(tile(16, 9)), lowest);
        assert_eq!(av1.undescribed().size(point(2, 2)), sized(320, 180));
        assert!(av1.options(None).len() > 2);
        let vp9 = Layers { need_descriptors: [false; 3], ..av1 };
        assert_eq!(vp9.undescribed(), vp9);
        assert!(vp9.differ(&av1));
    }

    #[test]
    fn a_cost_has_moved_by_more_than_an_eighth_or_when_it_begins_or_ends() {
        let moved = |bps: [u32; 3]| whole(bps).differ(&whole(CAMERA));
        assert!(!moved(CAMERA));
        assert!(!moved([150_000, 437_500, 1_687_500]), "an eighth");
        assert!(moved([150_000, 437_499, 1_500_000]));
        assert!(moved([150_000, 500_000, 1_687_501]));
        assert!(moved([150_000, 500_000, 0]));
        assert!(whole([1, 0, 0]).differ(&Layers::default()));
        assert!(Layers { resting: [false, true, false], ..whole(CAMERA) }.differ(&whole(CAMERA)));
        assert!(camera().differ(&whole(CAMERA)));
    }

    #[test]
    fn the_guest_who_has_the_floor_comes_before_other_guests_and_after_the_host() {
        let of = |seat: u8, speaks: bool| Demand {
            seat: Seat(seat),
            speaks,
            ..demand(whole(CAMERA), Some(layer(0)))
        };
        let mut demands = [of(3, false), of(4, true), of(0, false), of(9, false)];
        divide(&mut demands, Some(3_900_000));
        assert_eq!(demands.map(|demand| demand.seat.0), [0, 9, 4, 3]);
        assert_eq!(demands.map(|demand| demand.chosen.layer), [2, 2, 1, 0]);
        let large = Demand { tile: tile(1280, 720), ..of(3, false) };
        let small = Demand { tile: tile(640, 360), ..of(4, true) };
        let mut demands = [small, large];
        divide(&mut demands, Some(1_700_000));
        assert_eq!(demands.map(|demand| demand.seat.0), [3, 4], "a spotlight comes first");
    }

    fn sized(width: u16, height: u16) -> Option<PictureSize> {
        Some(PictureSize { width, height })
    }

    fn tile(width: u16, height: u16) -> Option<TileSize> {
        Some(TileSize { width, height })
    }

    /// 320x180, 640x360 and 1280x720.
    fn camera() -> Layers {
        let sizes = [1, 2, 4].map(|n| [sized(320 * n, 180 * n); LEVELS]);
        Layers { sizes, ..whole(CAMERA) }
    }

    #[test]
    fn a_tile_takes_the_smallest_picture_that_covers_it() {
        let layer_of = |layers: Layers, tile| {
            let mut demands = [Demand { tile, ..demand(layers, None) }];
            divide(&mut demands, Some(10_000_000));
            let best = demands[0].best_bps;
            assert_eq!(best, demands[0].chosen_bps(), "and no more is probed for");
            divide(&mut demands, None);
            assert_eq!(best, demands[0].chosen_bps(), "also where there is no estimate");
            demands[0].chosen
        };
        let of = |width, height| layer_of(camera(), tile(width, height)).layer;
        assert_eq!(of(320, 180), 0);
        assert_eq!(of(400, 225), 0, "scaled up by a quarter");
        assert_eq!(of(401, 225), 1);
        assert_eq!(of(180, 320), 1, "cropped to a portrait: its height counts");
        assert_eq!(of(800, 450), 1);
        assert_eq!(of(801, 450), 2);
        assert_eq!(of(4_000, 3_000), 2, "nothing covers it");
        assert_eq!(of(1, 1), 0);
        assert_eq!(layer_of(camera(), None).layer, 2);
        assert_eq!(layer_of(whole(CAMERA), tile(1, 1)).layer, 2, "sizes are not known");
        let mut half = camera();
        half.sizes[0] = Sizes::default();
        assert_eq!(layer_of(half, tile(320, 180)).layer, 1, "what may be large is no reason");
        let inside = [sized(320, 180), sized(640, 360), sized(1280, 720)];
        let svc = Layers { sizes: [inside; MAX_LAYERS], ..svc(CAMERA, [100; 3]) };
        assert_eq!(layer_of(svc, tile(640, 360)), point(1, 2));
        assert_eq!(layer_of(svc, tile(1_000, 500)), point(2, 2));
    }

    #[test]
    fn the_host_comes_before_guests_and_a_tile_of_twice_the_size_before_both() {
        let at = |seat: u8, tile| Demand { seat: Seat(seat), tile, ..demand(camera(), None) };
        let best = |mut demands: Vec<Demand>| {
            // Two lowest layers and the best one.
            divide(&mut demands, Some(1_900_000));
            demands.iter().max_by_key(|demand| demand.chosen_bps()).expect("one").seat
        };
        assert_eq!(best(vec![at(2, None), at(0, None), at(9, None)]), Seat::HOST);
        assert_eq!(best(vec![at(2, None), at(9, None), at(1, None)]), Seat::SCREEN);
        let large = tile(1_280, 720);
        assert_eq!(best(vec![at(0, tile(900, 507)), at(2, large), at(1, large)]), Seat(1));
        assert_eq!(best(vec![at(0, tile(1_279, 720)), at(2, large)]), Seat::HOST, "much the same");
        assert_eq!(best(vec![at(0, large), at(2, None)]), Seat(2), "it may be all of the screen");
    }

    fn layers() -> impl Strategy<Value = Layers> {
        let cells = proptest::array::uniform9(0u32..300_000);
        let stream = (any::<bool>(), cells).prop_map(|(sent, cells)| {
            let upto = |point: usize| {
                let (s, t) = (point / LEVELS, point % LEVELS);
                let taken = |cell: &usize| cell / LEVELS <= s && cell % LEVELS <= t;
                (0..POINTS).filter(taken).map(|cell| cells[cell]).sum::<u32>() * u32::from(sent)
            };
            std::array::from_fn(upto)
        });
        let side = || proptest::option::of(1u16..2_000);
        let sizes = proptest::array::uniform9((side(), side())).prop_map(|sizes| {
            let size = |(width, height): (Option<u16>, Option<u16>)| {
                Some(PictureSize { width: width?, height: height? })
            };
            let sizes = sizes.map(size);
            std::array::from_fn(|layer| std::array::from_fn(|level| sizes[layer * LEVELS + level]))
        });
        let bps = proptest::array::uniform3(stream);
        (bps, sizes).prop_map(|(bps, sizes)| Layers { bps, sizes, ..Layers::default() })
    }

    fn tiles() -> impl Strategy<Value = Option<TileSize>> {
        let side = 1u16..3_000;
        let size = (side.clone(), side).prop_map(|(width, height)| TileSize { width, height });
        proptest::option::of(size)
    }

    /// No picture that is known to cover the tile is smaller than the chosen one.
    fn is_capped(demand: &Demand) -> bool {
        let (Some(tile), Some(chosen)) = (demand.tile, demand.layers.size(demand.chosen)) else {
            return true;
        };
        let others = demand.layers.options(None).into_iter();
        let mut others = others.filter_map(|(choice, _)| demand.layers.size(choice));
        !others.any(|size| covers(size, tile) && size.area() < chosen.area())
    }

    proptest! {
        #[test]
        fn only_what_is_sent_is_chosen_and_the_budget_holds_if_the_cheapest_do(
            tracks in proptest::collection::vec((layers(), 0u8..4, 0u8..10, tiles()), 0..10),
            budget in 0u64..10_000_000,
        ) {
            let mut demands: Vec<Demand> = tracks
                .iter()
                .map(|(layers, present, seat, tile)| {
                    let demand = demand(*layers, (*present < 3).then(|| layer(*present)));
                    Demand { seat: Seat(*seat), tile: *tile, ..demand }
                })
                .collect();
            divide(&mut demands, Some(budget));
            prop_assert!(demands.is_sorted_by_key(Demand::rank));
            let picks: Vec<Choice> = demands.iter().map(|demand| demand.chosen).collect();
            let mut cost = 0;
            let mut cheapest = 0;
            for (demand, pick) in demands.iter().zip(&picks) {
                let sent = demand.best_bps > 0;
                prop_assert!(!sent || demand.layers.cost(*pick) > 0);
                prop_assert!(!sent || is_capped(demand));
                cost += demand.layers.cost(*pick);
                cheapest += demand.options().iter().map(|(_, bps)| *bps).min().unwrap_or(0);
            }
            prop_assert!(cost * 9 / 10 <= budget.max(cheapest));
        }
    }
}
