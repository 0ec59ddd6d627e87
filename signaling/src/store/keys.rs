//! Idempotency keys: one answer per (scope, key), stored in the transaction it answers.

use rusqlite::{Connection, OptionalExtension, params};

use super::turn::{Fault, Turn};
use crate::economy::MoneyRefusal;

/// How long a key is remembered, milliseconds; longer while its room has not ended.
///
/// Trade: a client may retry for a day, and the table stays as small as a day of gifts.
pub(super) const KEY_LIFE_MS: i64 = 24 * 3_600_000;
/// Most keys forgotten in one transaction: a few milliseconds of work.
const SWEEP: u32 = 1_000;

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The reply's bytes.
    pub(super) reply: Vec<u8>,
    /// When it was committed.
    pub(super) at: i64,
}

/// The answer given before to this key.
pub(super) fn recall(
    conn: &Connection,
    scope: &str,
    key: &str,
    content_hash: &[u8; 32],
) -> Result<Option<Stored>, Fault> {
    let found: Option<([u8; 32], Stored)> = conn
        .prepare_cached(
            "SELECT content_hash, reply, at FROM idempotency WHERE scope = ?1 AND key = ?2",
        )?
        .query_row([scope, key], |row| {
            Ok((row.get(0)?, Stored { reply: row.get(1)?, at: row.get(2)? }))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some((hash, stored)) if hash == *content_hash => Ok(Some(stored)),
        Some(_) => Err(MoneyRefusal::IdempotencyMismatch.into()),
    }
}

/// A key and what it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyRow<'a> {
    /// Whose key.
    pub(super) scope: &'a str,
    /// The key.
    pub(super) key: &'a str,
    /// What it was used for.
    pub(super) content_hash: &'a [u8; 32],
    /// Kept until this room has ended.
    pub(super) room: Option<&'a str>,
    /// What it booked.
    pub(super) transfer: i64,
}

/// Store the answer. A second one for the same key violates the schema.
pub(super) fn store(turn: &Turn<'_>, row: KeyRow<'_>, reply: &[u8]) -> Result<(), Fault> {
    turn.conn
        .prepare_cached(
            "INSERT INTO idempotency (scope, key, content_hash, reply, room, transfer, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            row.scope,
            row.key,
            row.content_hash,
            reply,
            row.room,
            row.transfer,
            turn.now
        ])?;
    Ok(())
}

/// Forget keys that are old enough, a bounded number at a time.
pub(super) fn sweep(turn: &Turn<'_>) -> Result<usize, Fault> {
    let forgotten = turn
        .conn
        .prepare_cached(
            "DELETE FROM idempotency WHERE id IN (
                SELECT k.id FROM idempotency k
                LEFT JOIN room r ON r.slug = k.room AND r.ended_at IS NULL
                WHERE k.at < ?1 AND r.id IS NULL LIMIT ?2)",
        )?
        .execute(params![turn.now.saturating_sub(KEY_LIFE_MS), SWEEP])?;
    Ok(forgotten)
}
