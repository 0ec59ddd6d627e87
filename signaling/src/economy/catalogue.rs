//! The gifts that ship with the product: 24, from 1 to 10 000 coins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MoneyRefusal;

/// Does a repeated tap grow one counter?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GiftKind {
    /// Consecutive sends show as one growing counter.
    Combo,
    /// Each send is shown on its own.
    Single,
}

/// How much of the screen a gift gets.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GiftTier {
    /// A line in the corner.
    Small,
    /// An animation at the recipient's tile.
    Medium,
    /// An animation over the lower half.
    Large,
    /// Full screen.
    Legendary,
}

/// One catalogue item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Gift {
    /// Stable id, `[a-z_]+`.
    pub id: &'static str,
    /// English display name.
    pub name: &'static str,
    /// Price of one, whole coins, at least 1.
    pub coins: i64,
    /// Combo or single.
    pub kind: GiftKind,
    /// Display size.
    pub tier: GiftTier,
    /// The page's animation of this gift.
    pub effect: &'static str,
}

/// What can be sent, with its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Catalogue {
    /// Goes up with every change of a gift.
    pub version: u32,
    /// Ascending by price.
    pub gifts: &'static [Gift],
}

impl Catalogue {
    /// The built-in catalogue.
    pub const BUILT_IN: Self = Self { version: 1, gifts: GIFTS };

    /// The gift with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&'static Gift> {
        self.gifts.iter().find(|gift| gift.id == id)
    }

    /// The gift with this id at the price the sender saw.
    ///
    /// # Errors
    /// `gift_unavailable` or `price_changed`.
    pub fn at_price(&self, id: &str, price: i64) -> Result<&'static Gift, MoneyRefusal> {
        let gift = self.find(id).ok_or(MoneyRefusal::GiftUnavailable)?;
        if gift.coins == price { Ok(gift) } else { Err(MoneyRefusal::PriceChanged) }
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::BUILT_IN
    }
}

const fn combo(
    id: &'static str,
    name: &'static str,
    coins: i64,
    tier: GiftTier,
    effect: &'static str,
) -> Gift {
    Gift { id, name, coins, kind: GiftKind::Combo, tier, effect }
}

const fn single(
    id: &'static str,
    name: &'static str,
    coins: i64,
    tier: GiftTier,
    effect: &'static str,
) -> Gift {
    Gift { id, name, coins, kind: GiftKind::Single, tier, effect }
}

use GiftTier::{Large, Legendary, Medium, Small};

const GIFTS: &[Gift] = &[
    combo("firefly", "Firefly", 1, Small, "float"),
    combo("clover", "Lucky Clover", 1, Small, "float"),
    combo("tea_cup", "Cup of Tea", 2, Small, "steam"),
    combo("paper_plane", "Paper Plane", 5, Small, "glide"),
    combo("high_five", "High Five", 5, Small, "pop"),
    combo("sunflower", "Sunflower", 10, Small, "bloom"),
    combo("donut", "Glazed Donut", 15, Small, "pop"),
    combo("balloon", "Red Balloon", 20, Small, "float"),
    combo("maraca", "Maracas", 30, Small, "shake"),
    combo("lantern", "Paper Lantern", 50, Medium, "float"),
    combo("confetti", "Confetti Popper", 99, Medium, "burst"),
    combo("disco_ball", "Disco Ball", 150, Medium, "spin"),
    combo("bouquet", "Wild Bouquet", 199, Medium, "bloom"),
    combo("hot_mic", "Golden Mic", 299, Medium, "shine"),
    single("hammock", "Garden Hammock", 399, Medium, "sway"),
    single("carousel", "Carousel", 500, Large, "spin"),
    single("koi_pond", "Koi Pond", 699, Large, "ripple"),
    single("food_truck", "Food Truck", 999, Large, "drive"),
    single("glasshouse", "Glasshouse", 1_500, Large, "bloom"),
    single("fireworks", "Fireworks", 2_000, Large, "burst"),
    single("hot_air", "Hot-Air Balloon", 3_000, Large, "rise"),
    single("aurora", "Aurora", 5_000, Legendary, "aurora"),
    single("comet", "Comet", 7_500, Legendary, "comet"),
    single("evergreen", "Evergreen", 10_000, Legendary, "forest"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalogue_is_ordered_unique_and_in_range() {
        let catalogue = Catalogue::default();
        assert_eq!(catalogue.gifts.len(), 24);
        assert!(catalogue.gifts.windows(2).all(|pair| pair[0].coins <= pair[1].coins));
        assert!(catalogue.gifts.windows(2).all(|pair| pair[0].tier <= pair[1].tier));
        let mut ids: Vec<_> = catalogue.gifts.iter().map(|gift| gift.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), catalogue.gifts.len());
        for gift in catalogue.gifts {
            assert!((1..=10_000).contains(&gift.coins), "{}", gift.id);
            assert!(crate::economy::gift::is_id(gift.id) && gift.name.is_ascii());
        }
    }

    #[test]
    fn the_price_seen_must_be_the_price() {
        let catalogue = Catalogue::default();
        assert_eq!(catalogue.at_price("aurora", 5_000).map(|gift| gift.name), Ok("Aurora"));
        assert_eq!(catalogue.at_price("aurora", 4_999), Err(MoneyRefusal::PriceChanged));
        assert_eq!(catalogue.at_price("aurorae", 5_000), Err(MoneyRefusal::GiftUnavailable));
    }
}
