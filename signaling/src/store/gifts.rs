//! One gift inside the writer's transaction.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::books::{self, Cause};
use super::keys::{self, KeyRow, Stored};
use super::turn::{Fault, Turn};
use crate::economy::gift::GiftReply;
use crate::economy::ledger::{GiftSplit, PromoLot, Purse, ShareTotal, spend_lots};
use crate::economy::{Account, GiftContent, GiftOrder, GiftReceipt, MoneyRefusal, Transfer};

/// Taps of one sender on one gift belong together while no more than this lies between two
/// commits, milliseconds. Trade: long enough for a thumb, short enough that the counter ends soon.
pub const COMBO_GAP_MS: i64 = 3_000;

/// Key first, then balance, then everything at once.
pub(super) fn give(turn: &mut Turn<'_>, order: &GiftOrder) -> Result<GiftReceipt, Fault> {
    order.check()?;
    let scope = scope(&order.from);
    let hash = order.content.hash();
    if let Some(stored) = keys::recall(turn.conn, &scope, &order.key, &hash)? {
        return replayed(stored);
    }
    let purse = purse(turn.conn, &order.from, turn.now)?;
    let (mut share, bps) = share_of(turn.conn, order)?;
    let order = &with_bps(order, bps);
    let (transfer, split) = Transfer::gift(order, purse, &mut share)?;
    let content = &order.content;
    let cause = Cause { actor: &order.from, subject: &order.to_user, why: &content.room };
    let id = books::book(turn, &transfer, cause)?;
    take_lots(turn.conn, &order.from, turn.now, split.promo)?;
    save_share(turn.conn, order, share)?;
    let (combo, combo_total) = extend_combo(turn, order, id)?;
    save_gift(turn.conn, id, order, &split, &combo)?;
    let reply = GiftReply {
        transfer_id: transfer_name(id),
        balance: purse.promo + purse.paid - split.coins,
        combo_id: combo,
        combo_total,
    };
    let bytes = serde_json::to_vec(&reply).map_err(|_| MoneyRefusal::LedgerUnavailable)?;
    let row = KeyRow {
        scope: &scope,
        key: &order.key,
        content_hash: &hash,
        room: Some(&content.room),
        transfer: id,
    };
    keys::store(turn, row, &bytes)?;
    Ok(receipt(reply, bytes, turn.now, false))
}

/// The stored answer to a gift's key, if it was used.
pub(super) fn recall(
    conn: &Connection,
    from: &str,
    key: &str,
    content: &GiftContent,
) -> Result<Option<GiftReceipt>, Fault> {
    keys::recall(conn, &scope(from), key, &content.hash())?.map(replayed).transpose()
}

/// What a user can spend at `now`.
pub(super) fn purse(conn: &Connection, user: &str, now: i64) -> rusqlite::Result<Purse> {
    let paid = books::balance(conn, &Account::UserPaid(user.into()))?;
    let promo = books::balance(conn, &Account::UserPromo(user.into()))?;
    if promo == 0 {
        return Ok(Purse { promo, paid });
    }
    let open = open_lots(conn, user, now)?.iter().map(|lot| lot.left).sum::<i64>();
    Ok(Purse { promo: promo.min(open), paid })
}

/// A transfer's public name.
pub(super) fn transfer_name(id: i64) -> String {
    format!("t{id}")
}

fn scope(from: &str) -> String {
    format!("user:{from}")
}

fn replayed(stored: Stored) -> Result<GiftReceipt, Fault> {
    let reply: GiftReply =
        serde_json::from_slice(&stored.reply).map_err(|_| MoneyRefusal::LedgerUnavailable)?;
    Ok(receipt(reply, stored.reply, stored.at, true))
}

fn receipt(reply: GiftReply, bytes: Vec<u8>, committed_at: i64, replayed: bool) -> GiftReceipt {
    GiftReceipt {
        reply: Bytes::from(bytes),
        transfer: reply.transfer_id,
        combo: reply.combo_id,
        combo_total: reply.combo_total,
        balance: reply.balance,
        committed_at,
        replayed,
    }
}

fn open_lots(conn: &Connection, user: &str, now: i64) -> rusqlite::Result<Vec<PromoLot>> {
    conn.prepare_cached(
        "SELECT id, left, expires_at FROM promo_lot
         WHERE user = ?1 AND left > 0 AND expires_at > ?2",
    )?
    .query_map(params![user, now], |row| {
        Ok(PromoLot { id: row.get(0)?, left: row.get(1)?, expires_at: row.get(2)? })
    })?
    .collect()
}

fn take_lots(conn: &Connection, user: &str, now: i64, promo: i64) -> Result<(), Fault> {
    if promo == 0 {
        return Ok(());
    }
    for (lot, coins) in spend_lots(&open_lots(conn, user, now)?, promo)? {
        let changed = conn
            .prepare_cached("UPDATE promo_lot SET left = left - ?2 WHERE id = ?1")?
            .execute(params![lot, coins])?;
        assert_eq!(changed, 1, "one lot changes");
    }
    Ok(())
}

/// The attempt's running total, and its rate as first used: it is fixed for the attempt.
fn share_of(conn: &Connection, order: &GiftOrder) -> Result<(ShareTotal, Option<u16>), Fault> {
    let (Some(attempt), Some(share)) = (&order.attempt, &order.host_share) else {
        return Ok((ShareTotal::default(), None));
    };
    let found = conn
        .prepare_cached("SELECT cum, host, bps FROM gift_share WHERE room = ?1 AND attempt = ?2")?
        .query_row([&order.content.room, attempt], |row| {
            Ok((ShareTotal { cum: row.get(0)?, host: row.get(1)? }, Some(row.get(2)?)))
        })
        .optional()?;
    Ok(found.unwrap_or((ShareTotal::default(), Some(share.bps))))
}

fn with_bps(order: &GiftOrder, bps: Option<u16>) -> GiftOrder {
    let mut order = order.clone();
    if let (Some(share), Some(bps)) = (&mut order.host_share, bps) {
        share.bps = bps;
    }
    order
}

fn save_share(conn: &Connection, order: &GiftOrder, total: ShareTotal) -> Result<(), Fault> {
    let (Some(attempt), Some(share)) = (&order.attempt, &order.host_share) else {
        return Ok(());
    };
    conn.prepare_cached(
        "INSERT INTO gift_share (room, attempt, bps, cum, host) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (room, attempt) DO UPDATE SET cum = excluded.cum, host = excluded.host",
    )?
    .execute(params![order.content.room, attempt, share.bps, total.cum, total.host])?;
    Ok(())
}

fn extend_combo(turn: &Turn<'_>, order: &GiftOrder, transfer: i64) -> Result<(String, u64), Fault> {
    let content = &order.content;
    if order.combo {
        let found: Option<(String, i64)> = turn
            .conn
            .prepare_cached(
                "SELECT id, n FROM combo WHERE sender = ?1 AND room = ?2 AND recipient = ?3
                 AND gift = ?4 AND price = ?5 AND last_at >= ?6 ORDER BY last_at DESC LIMIT 1",
            )?
            .query_row(
                params![
                    order.from,
                    content.room,
                    order.to_user,
                    content.gift,
                    content.price,
                    turn.now.saturating_sub(COMBO_GAP_MS)
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((id, n)) = found {
            let n = n.saturating_add(i64::from(content.count));
            turn.conn
                .prepare_cached("UPDATE combo SET n = ?2, last_at = ?3 WHERE id = ?1")?
                .execute(params![id, n, turn.now])?;
            return Ok((id, n.unsigned_abs()));
        }
    }
    let id = format!("c{transfer}");
    turn.conn
        .prepare_cached(
            "INSERT INTO combo (id, sender, room, recipient, gift, price, n, last_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            id,
            order.from,
            content.room,
            order.to_user,
            content.gift,
            content.price,
            content.count,
            turn.now
        ])?;
    Ok((id, u64::from(content.count)))
}

fn save_gift(
    conn: &Connection,
    transfer: i64,
    order: &GiftOrder,
    split: &GiftSplit,
    combo: &str,
) -> Result<(), Fault> {
    let content = &order.content;
    conn.prepare_cached(
        "INSERT INTO gift (transfer, room, sender, recipient, seat, gift, price, count, coins,
            promo, paid, attempt, host, host_part, host_from_paid, combo)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        transfer,
        content.room,
        order.from,
        order.to_user,
        order.seat,
        content.gift,
        content.price,
        content.count,
        split.coins,
        split.promo,
        split.paid,
        order.attempt,
        order.host_share.as_ref().map(|share| &share.host),
        split.host,
        split.host_from_paid,
        combo
    ])?;
    Ok(())
}
