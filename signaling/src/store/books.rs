//! Booking a transfer: entries and balances together, inside the caller's savepoint.

use rusqlite::{Connection, OptionalExtension, params};

use super::audit::AuditRow;
use super::turn::{Fault, Turn};
use crate::economy::{Account, Entry, MoneyRefusal, Transfer};

/// Why and by whom a transfer is booked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause<'a> {
    /// Who asked for it.
    pub(super) actor: &'a str,
    /// Whom it concerns.
    pub(super) subject: &'a str,
    /// The room or reason.
    pub(super) why: &'a str,
}

/// The stored balance; an account that does not exist holds zero.
pub(super) fn balance(conn: &Connection, account: &Account) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT balance FROM account WHERE name = ?1")?
        .query_row([account.to_string()], |row| row.get(0))
        .optional()
        .map(Option::unwrap_or_default)
}

/// Book it, with its audit row; returns the transfer's row.
pub(super) fn book(
    turn: &mut Turn<'_>,
    transfer: &Transfer,
    cause: Cause<'_>,
) -> Result<i64, Fault> {
    let kind = transfer.kind().name();
    turn.conn
        .prepare_cached("INSERT INTO transfer (kind, committed_at) VALUES (?1, ?2)")?
        .execute(params![kind, turn.now])?;
    let id = turn.conn.last_insert_rowid();
    for entry in transfer.entries() {
        book_entry(turn.conn, id, entry)?;
    }
    let row = AuditRow {
        actor: cause.actor,
        action: kind,
        subject: cause.subject,
        transfer: Some(id),
        why: cause.why,
    };
    turn.chain.append(turn.conn, turn.now, &row)?;
    Ok(id)
}

fn book_entry(conn: &Connection, transfer: i64, entry: &Entry) -> Result<(), Fault> {
    let (account, old) = open_account(conn, &entry.account)?;
    let new = old.checked_add(entry.amount).ok_or(MoneyRefusal::BadRequest)?;
    let changed = conn
        .prepare_cached("UPDATE account SET balance = ?3 WHERE id = ?1 AND balance = ?2")?
        .execute(params![account, old, new])?;
    assert_eq!(changed, 1, "one balance changes with each entry: {}", entry.account);
    conn.prepare_cached("INSERT INTO entry (transfer, account, amount) VALUES (?1, ?2, ?3)")?
        .execute(params![transfer, account, entry.amount])?;
    Ok(())
}

/// The account's row and balance; it is made when first used.
fn open_account(conn: &Connection, account: &Account) -> Result<(i64, i64), Fault> {
    let name = account.to_string();
    let found = conn
        .prepare_cached("SELECT id, balance FROM account WHERE name = ?1")?
        .query_row([&name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some(found) = found {
        return Ok(found);
    }
    conn.prepare_cached(
        "INSERT INTO account (name, currency, may_be_negative) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![name, account.currency().code(), account.may_be_negative()])?;
    Ok((conn.last_insert_rowid(), 0))
}
