//! The audit trail: each row's hash covers the row and the hash before it, so that no row can be
//! changed, taken out or put in without breaking every later one.

use rusqlite::{Connection, OptionalExtension, params};

use crate::economy::gift::sha256;

/// The only chain of an embedded store: it has one writer.
pub(super) const CHAIN: &str = "main";
const GENESIS: [u8; 32] = [0; 32];

/// Where the chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    seq: i64,
    hash: [u8; 32],
}

/// One row without its place in the chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct AuditRow<'a> {
    /// Who did it.
    pub(super) actor: &'a str,
    /// What: the kind of transfer or the moderation action.
    pub(super) action: &'a str,
    /// To whom or what.
    pub(super) subject: &'a str,
    /// The transfer it booked.
    pub(super) transfer: Option<i64>,
    /// The room or reason.
    pub(super) why: &'a str,
}

impl AuditRow<'_> {
    /// Every field with its length in front, then the hash before: no two rows encode alike.
    fn hash(&self, seq: i64, at: i64, prev: &[u8; 32]) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(192);
        bytes.extend(seq.to_be_bytes());
        bytes.extend(at.to_be_bytes());
        bytes.push(u8::from(self.transfer.is_some()));
        bytes.extend(self.transfer.unwrap_or(0).to_be_bytes());
        for field in [CHAIN, self.actor, self.action, self.subject, self.why] {
            bytes.extend((field.len() as u64).to_be_bytes());
            bytes.extend(field.as_bytes());
        }
        bytes.extend(prev);
        sha256(&bytes)
    }
}

impl Chain {
    /// The head as stored.
    pub(super) fn head(conn: &Connection) -> rusqlite::Result<Self> {
        let mut last =
            conn.prepare_cached("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?;
        let head = last
            .query_row([], |row| Ok(Self { seq: row.get(0)?, hash: row.get(1)? }))
            .optional()?;
        Ok(head.unwrap_or(Self { seq: 0, hash: GENESIS }))
    }

    /// Append one row at `now`, milliseconds since the Unix epoch, and make it the head.
    pub(super) fn append(
        &mut self,
        conn: &Connection,
        now: i64,
        row: &AuditRow<'_>,
    ) -> rusqlite::Result<()> {
        let seq = self.seq + 1;
        let hash = row.hash(seq, now, &self.hash);
        conn.prepare_cached(
            "INSERT INTO audit (seq, chain, at, actor, action, subject, transfer, why, prev_hash, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            seq,
            CHAIN,
            now,
            row.actor,
            row.action,
            row.subject,
            row.transfer,
            row.why,
            self.hash,
            hash
        ])?;
        *self = Self { seq, hash };
        Ok(())
    }
}

/// Walk the whole chain; returns the number of rows and what is wrong with them.
pub(super) fn check(conn: &Connection, faults: &mut Vec<String>) -> rusqlite::Result<u64> {
    let mut rows = conn.prepare(
        "SELECT seq, at, actor, action, subject, transfer, why, prev_hash, hash FROM audit
         ORDER BY seq",
    )?;
    let mut rows = rows.query([])?;
    let mut head = Chain { seq: 0, hash: GENESIS };
    let mut count = 0;
    let mut last_at = i64::MIN;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let at: i64 = row.get(1)?;
        let (actor, action, subject, why): (String, String, String, String) =
            (row.get(2)?, row.get(3)?, row.get(4)?, row.get(6)?);
        let prev: [u8; 32] = row.get(7)?;
        let hash: [u8; 32] = row.get(8)?;
        let audit = AuditRow {
            actor: &actor,
            action: &action,
            subject: &subject,
            transfer: row.get(5)?,
            why: &why,
        };
        if seq != head.seq + 1 || prev != head.hash || hash != audit.hash(seq, at, &prev) {
            faults.push(format!("audit row {seq}: the chain is broken"));
        }
        if at < last_at {
            faults.push(format!("audit row {seq}: time goes back"));
        }
        (head, last_at) = (Chain { seq, hash }, at);
        count += 1;
    }
    Ok(count)
}
