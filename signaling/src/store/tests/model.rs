use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    TopUp {
        user: u8,
        coins: i64,
    },
    /// `key` repeats, with the same or another content.
    Gift {
        from: u8,
        to: u8,
        key: u8,
        coins: i64,
        shared: bool,
    },
    Reopen,
    Wait {
        ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_u8, 1..60_i64).prop_map(|(user, coins)| Step::TopUp { user, coins }),
        12 => (0..3_u8, 0..4_u8, 0..12_u8, 1..30_i64, any::<bool>()).prop_map(
            |(from, to, key, coins, shared)| Step::Gift { from, to, key, coins, shared }
        ),
        1 => Just(Step::Reopen),
        2 => (-5_000..5_000_i64).prop_map(|ms| Step::Wait { ms }),
    ]
}

#[derive(Default)]
struct Model {
    coins: HashMap<String, i64>,
    diamonds: i64,
    given: HashMap<(String, String), (GiftContent, Bytes)>,
}

impl Model {
    fn expect(&self, order: &GiftOrder) -> Result<Option<&Bytes>, MoneyRefusal> {
        if order.from == order.to_user {
            return Err(MoneyRefusal::RecipientIsSender);
        }
        match self.given.get(&(order.from.clone(), order.key.clone())) {
            Some((content, reply)) if *content == order.content => Ok(Some(reply)),
            Some(_) => Err(MoneyRefusal::IdempotencyMismatch),
            None if self.coins.get(&order.from).copied().unwrap_or(0) < order.content.price => {
                Err(MoneyRefusal::InsufficientFunds)
            }
            None => Ok(None),
        }
    }
}

fn order_of(from: u8, to: u8, key: u8, coins: i64, shared: bool) -> GiftOrder {
    let mut order = order(&format!("u{from}"), &format!("k{key}"), coins);
    order.to_user = format!("u{to}");
    order.content.to = GiftTarget::User(order.to_user.clone());
    if shared {
        order.attempt = Some(format!("g{to}"));
        order.host_share = Some(HostShare { host: "u0".into(), bps: 3_333 });
    }
    order
}

async fn give(store: &Store, model: &mut Model, order: GiftOrder) {
    let expected = model.expect(&order).map(Option::<&Bytes>::cloned);
    let result = store.gift(order.clone()).await;
    match (expected, result) {
        (Err(expected), Err(refusal)) => assert_eq!(refusal, expected),
        (Ok(Some(reply)), Ok(receipt)) => {
            assert!(receipt.replayed);
            assert_eq!(receipt.reply, reply, "L3");
        }
        (Ok(None), Ok(receipt)) => {
            assert!(!receipt.replayed);
            let balance = model.coins.entry(order.from.clone()).or_default();
            *balance -= order.content.price;
            model.diamonds += order.content.price;
            assert_eq!(receipt.balance, *balance);
            model.given.insert((order.from, order.key), (order.content, receipt.reply));
        }
        (expected, result) => panic!("expected {expected:?}, got {result:?}"),
    }
}

async fn run(steps: Vec<Step>) {
    let folder = test_folder("model");
    let clock = TestClock::new();
    let mut store = clock.open(&folder);
    let mut model = Model::default();
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::TopUp { user, coins } => {
                let user = format!("u{user}");
                store.top_up("shop", &format!("t{n}"), &user, coins).await.expect("booked");
                *model.coins.entry(user).or_default() += coins;
            }
            Step::Gift { from, to, key, coins, shared } => {
                give(&store, &mut model, order_of(from, to, key, coins, shared)).await;
            }
            Step::Reopen => {
                store.close().await;
                store = clock.open(&folder);
            }
            Step::Wait { ms } => clock.advance(ms),
        }
    }
    let mut diamonds = 0;
    for user in ["u0", "u1", "u2", "u3"] {
        let wallet = store.wallet(user).await.expect("reads");
        assert_eq!(wallet.coins, model.coins.get(user).copied().unwrap_or(0), "{user}");
        diamonds += wallet.diamonds;
    }
    assert_eq!(diamonds, model.diamonds, "L4, L8");
    let report = assert_clean(&store);
    assert_eq!(report.gifts, model.given.len() as u64);
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// L1-L5, L8, L11: the store against a map, with repeated keys, restarts and a clock that
    /// jumps both ways.
    #[test]
    fn the_store_agrees_with_a_map(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(run(steps));
    }
}
