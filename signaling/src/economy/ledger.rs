//! Double entry: every movement of money is a [`Transfer`] whose entries sum to zero in each
//! currency. Pure; balances come in as arguments.

use super::gift::is_id;
use super::{Account, Currency, GiftOrder, MoneyRefusal};

/// One account's part of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose balance changes.
    pub account: Account,
    /// By how much; never zero.
    pub amount: i64,
}

/// What a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferKind {
    /// Coins bought by a user.
    TopUp,
    /// Coins set aside for promotion.
    PromoBudget,
    /// Coins given to a user out of the promotion budget.
    PromoGrant,
    /// A gift: coins redeemed, as many Diamonds issued.
    Gift,
    /// Promo coins past their date return to the budget.
    PromoExpire,
}

impl TransferKind {
    /// The stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::PromoBudget => "promo_budget",
            Self::PromoGrant => "promo_grant",
            Self::Gift => "gift",
            Self::PromoExpire => "promo_expire",
        }
    }
}

/// An immutable, all-or-nothing set of entries. Made only by functions that keep every rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    kind: TransferKind,
    entries: Vec<Entry>,
}

/// What a sender can spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purse {
    /// Given coins that have not expired.
    pub promo: i64,
    /// Bought coins.
    pub paid: i64,
}

/// The host share of one attempt so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShareTotal {
    /// Coins of all gifts of this attempt.
    pub cum: i64,
    /// Diamonds the host got out of them.
    pub host: i64,
}

/// How one gift was split; stored with it, because refunds and holds need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GiftSplit {
    /// Coins in total.
    pub coins: i64,
    /// Out of promo coins.
    pub promo: i64,
    /// Out of paid coins.
    pub paid: i64,
    /// Diamonds for the host.
    pub host: i64,
    /// Of the host's, those out of paid coins; the host's part is taken from them first.
    pub host_from_paid: i64,
    /// Diamonds for the recipient.
    pub recipient: i64,
}

impl ShareTotal {
    /// Add a gift of `coins`; returns the host's part of it. The sum over an attempt is
    /// `floor(cum * bps / 10000)` however the gifts were cut.
    ///
    /// # Errors
    /// `bad_request` when the total leaves 64 bits.
    pub fn add(&mut self, coins: i64, bps: u16) -> Result<i64, MoneyRefusal> {
        let cum = self.cum.checked_add(coins).ok_or(MoneyRefusal::BadRequest)?;
        let due = i128::from(cum) * i128::from(bps.min(10_000)) / 10_000;
        let due = i64::try_from(due).map_err(|_| MoneyRefusal::BadRequest)?;
        // A rate that fell in between never takes anything back, one that rose never gives the
        // host more than this gift.
        let part = due.saturating_sub(self.host).clamp(0, coins);
        *self = Self { cum, host: self.host.checked_add(part).ok_or(MoneyRefusal::BadRequest)? };
        Ok(part)
    }
}

impl Transfer {
    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> TransferKind {
        self.kind
    }

    /// Its entries, one per account.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// `sys:coin_issued` -> `user:paid`.
    ///
    /// # Errors
    /// `bad_request`: not an id, or coins below 1.
    pub fn top_up(user: &str, coins: i64) -> Result<Self, MoneyRefusal> {
        let to = Account::UserPaid(checked_id(user)?);
        Self::between(TransferKind::TopUp, Account::CoinIssued, to, coins)
    }

    /// `sys:coin_issued` -> `sys:promo_budget`.
    ///
    /// # Errors
    /// `bad_request`: coins below 1.
    pub fn promo_budget(coins: i64) -> Result<Self, MoneyRefusal> {
        Self::between(TransferKind::PromoBudget, Account::CoinIssued, Account::PromoBudget, coins)
    }

    /// `sys:promo_budget` -> `user:promo`.
    ///
    /// # Errors
    /// `bad_request`, or `budget_exceeded` when `budget` is less than `coins`.
    pub fn promo_grant(user: &str, coins: i64, budget: i64) -> Result<Self, MoneyRefusal> {
        let to = Account::UserPromo(checked_id(user)?);
        let transfer = Self::between(TransferKind::PromoGrant, Account::PromoBudget, to, coins)?;
        if budget < coins { Err(MoneyRefusal::BudgetExceeded) } else { Ok(transfer) }
    }

    /// `user:promo` -> `sys:promo_budget`, for what is left of a lot past its date.
    ///
    /// # Errors
    /// `bad_request`: not an id, or coins below 1.
    pub fn promo_expire(user: &str, coins: i64) -> Result<Self, MoneyRefusal> {
        let from = Account::UserPromo(checked_id(user)?);
        Self::between(TransferKind::PromoExpire, from, Account::PromoBudget, coins)
    }

    /// Promo coins before paid ones -> `sys:coin_redeemed`, and as many Diamonds from
    /// `sys:dia_issued` to the recipient and the host. `share` moves on with it.
    ///
    /// A host who gives to their own guest gets no part back: that would be a gift to oneself.
    ///
    /// # Errors
    /// As [`GiftOrder::check`], or `insufficient_funds`.
    pub fn gift(
        order: &GiftOrder,
        purse: Purse,
        share: &mut ShareTotal,
    ) -> Result<(Self, GiftSplit), MoneyRefusal> {
        let coins = order.check()?;
        let promo = purse.promo.clamp(0, coins);
        let paid = coins - promo;
        if paid > purse.paid {
            return Err(MoneyRefusal::InsufficientFunds);
        }
        let sharing = order.host_share.as_ref().filter(|share| share.host != order.from);
        let mut total = *share;
        let host = match sharing {
            Some(sharing) => total.add(coins, sharing.bps)?,
            None => 0,
        };
        let split = GiftSplit {
            coins,
            promo,
            paid,
            host,
            host_from_paid: host.min(paid),
            recipient: coins - host,
        };
        let mut entries = vec![
            Entry { account: Account::UserPromo(order.from.clone()), amount: -promo },
            Entry { account: Account::UserPaid(order.from.clone()), amount: -paid },
            Entry { account: Account::CoinRedeemed, amount: coins },
            Entry { account: Account::DiamondIssued, amount: -coins },
            Entry {
                account: Account::CreatorPending(order.to_user.clone()),
                amount: split.recipient,
            },
        ];
        if let Some(sharing) = sharing {
            let account = Account::CreatorPending(sharing.host.clone());
            entries.push(Entry { account, amount: host });
        }
        let transfer = Self::new(TransferKind::Gift, entries)?;
        *share = total;
        Ok((transfer, split))
    }

    fn between(
        kind: TransferKind,
        from: Account,
        to: Account,
        amount: i64,
    ) -> Result<Self, MoneyRefusal> {
        if amount < 1 {
            return Err(MoneyRefusal::BadRequest);
        }
        Self::new(
            kind,
            vec![Entry { account: from, amount: -amount }, Entry { account: to, amount }],
        )
    }

    /// One entry per account, none of zero, zero in each currency.
    fn new(kind: TransferKind, entries: Vec<Entry>) -> Result<Self, MoneyRefusal> {
        let mut merged: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match merged.iter_mut().find(|other| other.account == entry.account) {
                Some(other) => {
                    let sum = other.amount.checked_add(entry.amount);
                    other.amount = sum.ok_or(MoneyRefusal::BadRequest)?;
                }
                None => merged.push(entry),
            }
        }
        merged.retain(|entry| entry.amount != 0);
        let transfer = Self { kind, entries: merged };
        assert!(transfer.sums_to_zero(), "a {} does not balance: {transfer:?}", kind.name());
        assert!(!transfer.entries.is_empty(), "a {} moves nothing", kind.name());
        Ok(transfer)
    }

    fn sums_to_zero(&self) -> bool {
        Currency::ALL.iter().all(|&currency| {
            let of = self.entries.iter().filter(|entry| entry.account.currency() == currency);
            of.map(|entry| i128::from(entry.amount)).sum::<i128>() == 0
        })
    }
}

/// What is left of one grant of promo coins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromoLot {
    /// The lot's row.
    pub id: i64,
    /// Coins left.
    pub left: i64,
    /// Milliseconds since the Unix epoch.
    pub expires_at: i64,
}

/// Take `coins` out of `lots`, soonest expiry first. Returns (lot, coins taken).
///
/// # Errors
/// `insufficient_funds` when the lots hold less.
pub fn spend_lots(lots: &[PromoLot], coins: i64) -> Result<Vec<(i64, i64)>, MoneyRefusal> {
    let mut order: Vec<&PromoLot> = lots.iter().collect();
    order.sort_by_key(|lot| (lot.expires_at, lot.id));
    let mut missing = coins;
    let mut taken = Vec::new();
    for lot in order {
        let take = lot.left.clamp(0, missing);
        if take > 0 {
            taken.push((lot.id, take));
            missing -= take;
        }
    }
    if missing == 0 { Ok(taken) } else { Err(MoneyRefusal::InsufficientFunds) }
}

fn checked_id(user: &str) -> Result<String, MoneyRefusal> {
    if is_id(user) { Ok(user.to_owned()) } else { Err(MoneyRefusal::BadRequest) }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
