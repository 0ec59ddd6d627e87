//! Names of accounts. Each has one currency and one side of zero it never crosses.

use std::fmt;
use std::str::FromStr;

use super::gift::is_id;

/// What a balance counts. Whole units only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Currency {
    /// What viewers hold and spend.
    Coin,
    /// What creators earn: one per coin spent on them.
    Diamond,
}

impl Currency {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Coin, Self::Diamond];

    /// As stored: `COIN` or `DIA`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Coin => "COIN",
            Self::Diamond => "DIA",
        }
    }
}

/// One balance in one currency. `Display` and `FromStr` are the stored names; ids hold no `:`, so
/// no two accounts share a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// Counterpart of all coins ever issued; never above zero.
    CoinIssued,
    /// Coins set aside for promotion.
    PromoBudget,
    /// Coins a user bought.
    UserPaid(String),
    /// Coins a user was given, in lots with an expiry.
    UserPromo(String),
    /// What a charged-back buyer owes; never above zero.
    UserDebt(String),
    /// The pot of a Coin Drop.
    EscrowDrop(String),
    /// The price of a paid wish.
    EscrowWish(String),
    /// Coins spent on gifts.
    CoinRedeemed,
    /// Coins expired.
    Expired,
    /// Counterpart of all Diamonds ever issued; never above zero.
    DiamondIssued,
    /// Diamonds a creator earned, on hold.
    CreatorPending(String),
    /// Diamonds a creator can be paid.
    CreatorAvailable(String),
    /// Diamonds in a running payout: creator, payout.
    CreatorPayout(String, String),
    /// Diamonds paid.
    PaidOut,
    /// Diamonds taken back by an admin decision.
    Forfeited,
}

impl Account {
    /// What this account counts.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        match self {
            Self::CoinIssued
            | Self::PromoBudget
            | Self::UserPaid(_)
            | Self::UserPromo(_)
            | Self::UserDebt(_)
            | Self::EscrowDrop(_)
            | Self::EscrowWish(_)
            | Self::CoinRedeemed
            | Self::Expired => Currency::Coin,
            Self::DiamondIssued
            | Self::CreatorPending(_)
            | Self::CreatorAvailable(_)
            | Self::CreatorPayout(..)
            | Self::PaidOut
            | Self::Forfeited => Currency::Diamond,
        }
    }

    /// `true` for the counterparts and debts, which are at or below zero; all others are at or
    /// above it.
    #[must_use]
    pub const fn may_be_negative(&self) -> bool {
        matches!(self, Self::CoinIssued | Self::DiamondIssued | Self::UserDebt(_))
    }

    /// May this account hold `balance`?
    #[must_use]
    pub const fn allows(&self, balance: i64) -> bool {
        if self.may_be_negative() { balance <= 0 } else { balance >= 0 }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoinIssued => f.write_str("sys:coin_issued"),
            Self::PromoBudget => f.write_str("sys:promo_budget"),
            Self::UserPaid(user) => write!(f, "user:{user}:paid"),
            Self::UserPromo(user) => write!(f, "user:{user}:promo"),
            Self::UserDebt(user) => write!(f, "user:{user}:debt"),
            Self::EscrowDrop(id) => write!(f, "escrow:drop:{id}"),
            Self::EscrowWish(id) => write!(f, "escrow:wish:{id}"),
            Self::CoinRedeemed => f.write_str("sys:coin_redeemed"),
            Self::Expired => f.write_str("sys:expired"),
            Self::DiamondIssued => f.write_str("sys:dia_issued"),
            Self::CreatorPending(user) => write!(f, "creator:{user}:pending"),
            Self::CreatorAvailable(user) => write!(f, "creator:{user}:available"),
            Self::CreatorPayout(user, id) => write!(f, "creator:{user}:payout:{id}"),
            Self::PaidOut => f.write_str("sys:paid_out"),
            Self::Forfeited => f.write_str("sys:forfeited"),
        }
    }
}

/// Not the name of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an account")]
pub struct UnknownAccount;

impl FromStr for Account {
    type Err = UnknownAccount;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = name.split(':').collect();
        let id = |text: &str| if is_id(text) { Ok(text.to_owned()) } else { Err(UnknownAccount) };
        match parts.as_slice() {
            ["sys", "coin_issued"] => Ok(Self::CoinIssued),
            ["sys", "promo_budget"] => Ok(Self::PromoBudget),
            ["user", user, "paid"] => Ok(Self::UserPaid(id(user)?)),
            ["user", user, "promo"] => Ok(Self::UserPromo(id(user)?)),
            ["user", user, "debt"] => Ok(Self::UserDebt(id(user)?)),
            ["escrow", "drop", drop] => Ok(Self::EscrowDrop(id(drop)?)),
            ["escrow", "wish", wish] => Ok(Self::EscrowWish(id(wish)?)),
            ["sys", "coin_redeemed"] => Ok(Self::CoinRedeemed),
            ["sys", "expired"] => Ok(Self::Expired),
            ["sys", "dia_issued"] => Ok(Self::DiamondIssued),
            ["creator", user, "pending"] => Ok(Self::CreatorPending(id(user)?)),
            ["creator", user, "available"] => Ok(Self::CreatorAvailable(id(user)?)),
            ["creator", user, "payout", payout] => Ok(Self::CreatorPayout(id(user)?, id(payout)?)),
            ["sys", "paid_out"] => Ok(Self::PaidOut),
            ["sys", "forfeited"] => Ok(Self::Forfeited),
            _ => Err(UnknownAccount),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn every_account() -> Vec<Account> {
        let id = || "a_B-9".to_owned();
        vec![
            Account::CoinIssued,
            Account::PromoBudget,
            Account::UserPaid(id()),
            Account::UserPromo(id()),
            Account::UserDebt(id()),
            Account::EscrowDrop(id()),
            Account::EscrowWish(id()),
            Account::CoinRedeemed,
            Account::Expired,
            Account::DiamondIssued,
            Account::CreatorPending(id()),
            Account::CreatorAvailable(id()),
            Account::CreatorPayout(id(), "p1".into()),
            Account::PaidOut,
            Account::Forfeited,
        ]
    }

    #[test]
    fn names_are_unique_and_come_back() {
        let accounts = every_account();
        let mut names: Vec<_> = accounts.iter().map(ToString::to_string).collect();
        for (account, name) in accounts.iter().zip(&names) {
            assert_eq!(name.parse().as_ref(), Ok(account));
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), accounts.len());
    }

    #[test]
    fn names_that_are_no_account() {
        for name in
            ["", "sys", "sys:", "user::paid", "user:a b:paid", "user:a:paid:", "USER:a:paid"]
        {
            assert_eq!(name.parse::<Account>(), Err(UnknownAccount), "{name}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_only_accepts_what_it_prints(name in ".{0,40}") {
            if let Ok(account) = name.parse::<Account>() {
                prop_assert_eq!(account.to_string(), name);
            }
        }
    }
}
