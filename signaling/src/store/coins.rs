//! Coins coming in: bought, given, and expiring.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::books::{self, Cause};
use super::gifts::{purse, transfer_name};
use super::keys::{self, KeyRow};
use super::turn::{Fault, Turn};
use crate::economy::gift::{is_id, sha256};
use crate::economy::{Account, MoneyRefusal, Transfer};

/// Lots that end at the same sweep are expired together, at most this many.
const EXPIRE: u32 = 256;

/// What a user holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wallet {
    /// Everything that can be spent now: bought and given.
    pub coins: i64,
    /// The given part of `coins`.
    pub promo: i64,
    /// Earned: on hold and payable.
    pub diamonds: i64,
}

/// A booked movement that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferReceipt {
    /// `{transferId, balance}`, byte for byte the same for every repeat of the key.
    pub reply: Bytes,
    /// The stored answer to a repeated key: nothing happened now.
    pub replayed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransferReply {
    transfer_id: String,
    balance: i64,
}

/// A keyed order of a service or admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoinOrder {
    /// The caller's idempotency key; scoped to the caller.
    pub key: String,
    /// Who asks for it.
    pub actor: String,
    /// What for.
    pub what: CoinMove,
}

/// What a [`CoinOrder`] moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoinMove {
    /// Coins a user bought.
    TopUp {
        /// Whose.
        user: String,
        /// How many.
        coins: i64,
    },
    /// Coins set aside for promotion.
    PromoBudget {
        /// How many.
        coins: i64,
    },
    /// Coins given to a user out of the budget.
    PromoGrant {
        /// Whose.
        user: String,
        /// How many.
        coins: i64,
        /// Until when, milliseconds since the Unix epoch.
        expires_at: i64,
    },
}

impl CoinMove {
    fn hash(&self) -> [u8; 32] {
        let (kind, user, coins, expires_at) = match self {
            Self::TopUp { user, coins } => (0_u8, user.as_str(), coins, 0),
            Self::PromoBudget { coins } => (1, "", coins, 0),
            Self::PromoGrant { user, coins, expires_at } => (2, user.as_str(), coins, *expires_at),
        };
        let mut bytes = vec![kind];
        bytes.extend(coins.to_be_bytes());
        bytes.extend(expires_at.to_be_bytes());
        bytes.extend(user.as_bytes());
        sha256(&bytes)
    }

    fn transfer(&self, turn: &Turn<'_>) -> Result<Transfer, Fault> {
        Ok(match self {
            Self::TopUp { user, coins } => Transfer::top_up(user, *coins)?,
            Self::PromoBudget { coins } => Transfer::promo_budget(*coins)?,
            Self::PromoGrant { user, coins, expires_at } => {
                if *expires_at <= turn.now {
                    return Err(MoneyRefusal::BadRequest.into());
                }
                let budget = books::balance(turn.conn, &Account::PromoBudget)?;
                Transfer::promo_grant(user, *coins, budget)?
            }
        })
    }

    fn subject(&self) -> &str {
        match self {
            Self::TopUp { user, .. } | Self::PromoGrant { user, .. } => user,
            Self::PromoBudget { .. } => "promo_budget",
        }
    }
}

/// Key first, then book.
pub(super) fn apply(turn: &mut Turn<'_>, order: &CoinOrder) -> Result<TransferReceipt, Fault> {
    if !is_id(&order.key) || !is_id(&order.actor) {
        return Err(MoneyRefusal::BadRequest.into());
    }
    let scope = format!("service:{}", order.actor);
    let hash = order.what.hash();
    if let Some(stored) = keys::recall(turn.conn, &scope, &order.key, &hash)? {
        return Ok(TransferReceipt { reply: Bytes::from(stored.reply), replayed: true });
    }
    let transfer = order.what.transfer(turn)?;
    let subject = order.what.subject();
    let cause = Cause { actor: &order.actor, subject, why: &order.key };
    let id = books::book(turn, &transfer, cause)?;
    if let CoinMove::PromoGrant { user, coins, expires_at } = &order.what {
        turn.conn
            .prepare_cached(
                "INSERT INTO promo_lot (user, granted, left, expires_at) VALUES (?1, ?2, ?2, ?3)",
            )?
            .execute(params![user, coins, expires_at])?;
    }
    let balance = match &order.what {
        CoinMove::PromoBudget { .. } => books::balance(turn.conn, &Account::PromoBudget)?,
        _ => wallet(turn.conn, subject, turn.now)?.coins,
    };
    let reply = TransferReply { transfer_id: transfer_name(id), balance };
    let bytes = serde_json::to_vec(&reply).map_err(|_| MoneyRefusal::LedgerUnavailable)?;
    let row =
        KeyRow { scope: &scope, key: &order.key, content_hash: &hash, room: None, transfer: id };
    keys::store(turn, row, &bytes)?;
    Ok(TransferReceipt { reply: Bytes::from(bytes), replayed: false })
}

/// Give a user their first coins, once in the life of this file. `true` = they were new.
pub(super) fn starting_coins(turn: &mut Turn<'_>, user: &str, coins: i64) -> Result<bool, Fault> {
    let known = turn
        .conn
        .prepare_cached("SELECT 1 FROM starting_coins WHERE user = ?1")?
        .query_row([user], |_| Ok(()))
        .optional()?;
    if known.is_some() {
        return Ok(false);
    }
    let transfer = Transfer::top_up(user, coins)?;
    let cause = Cause { actor: "dev", subject: user, why: "starting coins" };
    let id = books::book(turn, &transfer, cause)?;
    turn.conn
        .prepare_cached("INSERT INTO starting_coins (user, transfer) VALUES (?1, ?2)")?
        .execute(params![user, id])?;
    Ok(true)
}

/// Return what is left of lots past their date to the budget; returns the number of lots.
pub(super) fn expire_promo(turn: &mut Turn<'_>) -> Result<usize, Fault> {
    let due: Vec<(i64, String, i64)> = turn
        .conn
        .prepare_cached(
            "SELECT id, user, left FROM promo_lot WHERE left > 0 AND expires_at <= ?1 LIMIT ?2",
        )?
        .query_map(params![turn.now, EXPIRE], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (lot, user, left) in &due {
        let transfer = Transfer::promo_expire(user, *left)?;
        books::book(turn, &transfer, Cause { actor: "system", subject: user, why: "expired" })?;
        let changed = turn
            .conn
            .prepare_cached("UPDATE promo_lot SET left = 0 WHERE id = ?1")?
            .execute([lot])?;
        assert_eq!(changed, 1, "one lot changes");
    }
    Ok(due.len())
}

/// What a user holds at `now`.
pub(super) fn wallet(conn: &Connection, user: &str, now: i64) -> rusqlite::Result<Wallet> {
    let purse = purse(conn, user, now)?;
    let pending = books::balance(conn, &Account::CreatorPending(user.into()))?;
    let available = books::balance(conn, &Account::CreatorAvailable(user.into()))?;
    Ok(Wallet {
        coins: purse.paid.saturating_add(purse.promo),
        promo: purse.promo,
        diamonds: pending.saturating_add(available),
    })
}
