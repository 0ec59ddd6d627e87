use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::economy::{GiftContent, GiftTarget, HostShare, MAX_GIFT_COUNT};

/// A model of the ledger: balances in a map, refusing what an account may not hold.
#[derive(Debug, Clone, Default)]
struct Books(BTreeMap<Account, i64>);

impl Books {
    fn balance(&self, account: &Account) -> i64 {
        self.0.get(account).copied().unwrap_or(0)
    }

    fn apply(&mut self, transfer: &Transfer) {
        for entry in transfer.entries() {
            let balance = self.0.entry(entry.account.clone()).or_default();
            *balance = balance.checked_add(entry.amount).expect("within 64 bits");
            assert!(entry.account.allows(*balance), "{} holds {balance}", entry.account);
        }
    }

    fn purse(&self, user: &str) -> Purse {
        Purse {
            promo: self.balance(&Account::UserPromo(user.into())),
            paid: self.balance(&Account::UserPaid(user.into())),
        }
    }

    fn total(&self, currency: Currency) -> i64 {
        self.0.iter().filter(|(account, _)| account.currency() == currency).map(|(_, b)| b).sum()
    }
}

fn order(from: &str, to: &str, price: i64, count: u32) -> GiftOrder {
    GiftOrder {
        key: "k".into(),
        from: from.into(),
        content: GiftContent {
            room: "r".into(),
            gift: "firefly".into(),
            price,
            count,
            to: GiftTarget::Seat(0),
        },
        to_user: to.into(),
        seat: 0,
        combo: true,
        attempt: None,
        host_share: None,
    }
}

fn shared(from: &str, price: i64, count: u32, bps: u16) -> GiftOrder {
    GiftOrder {
        attempt: Some("g1".into()),
        host_share: Some(HostShare { host: "host".into(), bps }),
        ..order(from, "guest", price, count)
    }
}

#[test]
fn host_share_by_hand() {
    let mut share = ShareTotal::default();
    let parts: Vec<_> = (0..10).map(|_| share.add(1, 3_000).expect("small")).collect();
    assert_eq!(parts, [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]);
    assert_eq!(share, ShareTotal { cum: 10, host: 3 });
}

#[test]
fn a_host_gets_no_part_of_their_own_gift() {
    let mut share = ShareTotal::default();
    let purse = Purse { promo: 0, paid: 100 };
    let (_, split) =
        Transfer::gift(&shared("host", 100, 1, 5_000), purse, &mut share).expect("enough coins");
    assert_eq!((split.host, split.recipient), (0, 100));
    assert_eq!(share, ShareTotal::default());
}

#[test]
fn the_hosts_part_comes_out_of_paid_coins_first() {
    let purse = Purse { promo: 70, paid: 100 };
    let (_, split) =
        Transfer::gift(&shared("ana", 100, 1, 5_000), purse, &mut ShareTotal::default())
            .expect("enough coins");
    assert_eq!((split.promo, split.paid, split.host, split.host_from_paid), (70, 30, 50, 30));
}

#[test]
fn refusals_change_nothing() {
    let mut share = ShareTotal { cum: 5, host: 2 };
    let before = share;
    let purse = Purse { promo: 3, paid: 6 };
    for (order, refusal) in [
        (shared("ana", 10, 1, 5_000), MoneyRefusal::InsufficientFunds),
        (order("ana", "ana", 1, 1), MoneyRefusal::RecipientIsSender),
        (order("ana", "bob", 0, 1), MoneyRefusal::BadRequest),
        (order("ana", "bob", -1, 1), MoneyRefusal::BadRequest),
        (order("ana", "bob", 1, 0), MoneyRefusal::BadRequest),
        (order("ana", "bob", 1, MAX_GIFT_COUNT + 1), MoneyRefusal::BadRequest),
        (order("ana", "bob", i64::MAX, 2), MoneyRefusal::BadRequest),
        (order("ana", "bob:paid", 1, 1), MoneyRefusal::BadRequest),
        (order("", "bob", 1, 1), MoneyRefusal::BadRequest),
        (shared("ana", 1, 1, 10_001), MoneyRefusal::BadRequest),
    ] {
        assert_eq!(Transfer::gift(&order, purse, &mut share), Err(refusal), "{order:?}");
        assert_eq!(share, before);
    }
}

#[test]
fn amounts_are_positive() {
    for coins in [0, -1, i64::MIN] {
        assert_eq!(Transfer::top_up("ana", coins), Err(MoneyRefusal::BadRequest));
        assert_eq!(Transfer::promo_budget(coins), Err(MoneyRefusal::BadRequest));
        assert_eq!(Transfer::promo_grant("ana", coins, 5), Err(MoneyRefusal::BadRequest));
        assert_eq!(Transfer::promo_expire("ana", coins), Err(MoneyRefusal::BadRequest));
    }
    assert_eq!(Transfer::promo_grant("ana", 6, 5), Err(MoneyRefusal::BudgetExceeded));
    assert!(Transfer::top_up("ana", i64::MAX).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    TopUp(u8, i64),
    Budget(i64),
    Grant(u8, i64),
    Expire(u8, i64),
    Gift { from: u8, to: u8, price: i64, count: u32, bps: Option<u16> },
}

fn step() -> impl Strategy<Value = Step> {
    let coins = 1..5_000_i64;
    prop_oneof![
        (0..4_u8, coins.clone()).prop_map(|(user, coins)| Step::TopUp(user, coins)),
        coins.clone().prop_map(Step::Budget),
        (0..4_u8, coins.clone()).prop_map(|(user, coins)| Step::Grant(user, coins)),
        (0..4_u8, coins).prop_map(|(user, coins)| Step::Expire(user, coins)),
        (0..4_u8, 0..4_u8, 1..300_i64, 1..9_u32, prop::option::of(0..=10_000_u16))
            .prop_map(|(from, to, price, count, bps)| Step::Gift { from, to, price, count, bps }),
    ]
}

fn gift_order(from: u8, to: u8, price: i64, count: u32, bps: Option<u16>) -> GiftOrder {
    let mut order = order(&format!("u{from}"), &format!("u{to}"), price, count);
    if let Some(bps) = bps {
        order.attempt = Some("g1".into());
        order.host_share = Some(HostShare { host: "host".into(), bps });
    }
    order
}

fn make(books: &Books, step: &Step, share: &mut ShareTotal) -> Result<Transfer, MoneyRefusal> {
    match *step {
        Step::TopUp(user, coins) => Transfer::top_up(&format!("u{user}"), coins),
        Step::Budget(coins) => Transfer::promo_budget(coins),
        Step::Grant(user, coins) => {
            let budget = books.balance(&Account::PromoBudget);
            Transfer::promo_grant(&format!("u{user}"), coins, budget)
        }
        Step::Expire(user, coins) => {
            let user = format!("u{user}");
            Transfer::promo_expire(&user, coins.min(books.purse(&user).promo))
        }
        Step::Gift { from, to, price, count, bps } => {
            let order = gift_order(from, to, price, count, bps);
            Transfer::gift(&order, books.purse(&order.from), share).map(|(transfer, _)| transfer)
        }
    }
}

proptest! {
    /// L1, L2, L4, L14: whatever is accepted balances, keeps every account on its side of zero
    /// (Books asserts it), and redeems as many coins as it issues Diamonds.
    #[test]
    fn books_always_balance(steps in prop::collection::vec(step(), 1..60)) {
        let mut books = Books::default();
        let mut share = ShareTotal::default();
        for step in &steps {
            let Ok(transfer) = make(&books, step, &mut share) else { continue };
            prop_assert!(transfer.sums_to_zero());
            books.apply(&transfer);
            prop_assert_eq!(books.total(Currency::Coin), 0);
            prop_assert_eq!(books.total(Currency::Diamond), 0);
            prop_assert_eq!(
                books.balance(&Account::CoinRedeemed),
                -books.balance(&Account::DiamondIssued)
            );
        }
    }

    /// L8 and 6.4: host + recipient = gift, and the host's sum does not depend on the cut.
    #[test]
    fn host_share_is_exact_however_it_is_cut(
        gifts in prop::collection::vec((1..400_i64, 1..30_u32), 1..40),
        bps in 0..=10_000_u16,
    ) {
        let mut share = ShareTotal::default();
        let (mut coins, mut host) = (0, 0);
        for (price, count) in gifts {
            let purse = Purse { promo: 1, paid: i64::MAX };
            let order = shared("ana", price, count, bps);
            let (_, split) = Transfer::gift(&order, purse, &mut share).expect("rich");
            prop_assert_eq!(split.host + split.recipient, split.coins);
            prop_assert_eq!(split.promo + split.paid, split.coins);
            prop_assert!(split.host >= 0 && split.recipient >= 0);
            coins += split.coins;
            host += split.host;
        }
        prop_assert_eq!(host, coins * i64::from(bps) / 10_000);
        prop_assert_eq!(share, ShareTotal { cum: coins, host });
    }

    /// L14: promo before paid, and never more than there is.
    #[test]
    fn promo_before_paid(promo in 0..500_i64, paid in 0..500_i64, price in 1..1_500_i64) {
        let result =
            Transfer::gift(&order("ana", "bob", price, 1), Purse { promo, paid }, &mut ShareTotal::default());
        match result {
            Ok((_, split)) => {
                prop_assert_eq!(split.promo, promo.min(price));
                prop_assert!(split.paid <= paid);
            }
            Err(refusal) => {
                prop_assert_eq!(refusal, MoneyRefusal::InsufficientFunds);
                prop_assert!(promo + paid < price);
            }
        }
    }

    /// L15: any price, count, balance and running total ends in a transfer or a refusal.
    #[test]
    fn overflow_is_a_refusal(
        price in any::<i64>(), count in any::<u32>(), promo in any::<i64>(), paid in any::<i64>(),
        cum in 0..i64::MAX, bps in any::<u16>(),
    ) {
        let host = i64::try_from(i128::from(cum) * i128::from(bps.min(10_000)) / 10_000).expect("smaller");
        let mut share = ShareTotal { cum, host };
        let purse = Purse { promo, paid };
        if let Ok((transfer, split)) = Transfer::gift(&shared("ana", price, count, bps), purse, &mut share) {
            prop_assert!(transfer.sums_to_zero());
            prop_assert_eq!(Some(split.coins), price.checked_mul(i64::from(count)));
        }
    }

    /// Lots: soonest expiry first, exactly the amount, never more than a lot holds.
    #[test]
    fn lots_are_spent_soonest_first(
        lots in prop::collection::vec((0..100_i64, 0..50_i64), 0..8), coins in 0..500_i64,
    ) {
        let lots: Vec<_> = lots.into_iter().enumerate()
            .map(|(id, (left, expires_at))| PromoLot { id: id as i64, left, expires_at }).collect();
        let sum: i64 = lots.iter().map(|lot| lot.left).sum();
        match spend_lots(&lots, coins) {
            Err(_) => prop_assert!(sum < coins),
            Ok(taken) => {
                prop_assert_eq!(taken.iter().map(|(_, take)| take).sum::<i64>(), coins);
                let last = taken.last().map(|&(id, _)| lots[id as usize].expires_at);
                for lot in &lots {
                    let take = taken.iter().find(|(id, _)| *id == lot.id).map_or(0, |(_, take)| *take);
                    prop_assert!(take <= lot.left);
                    // A lot that ends before the last one used is used up.
                    prop_assert!(take == lot.left || last.is_none_or(|last| lot.expires_at >= last));
                }
            }
        }
    }
}
