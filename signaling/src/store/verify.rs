//! Recomputing everything the ledger claims.

use rusqlite::Connection;

use super::audit;

/// What a check of the whole file found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Transfers in the file.
    pub transfers: u64,
    /// Gifts among them.
    pub gifts: u64,
    /// Accounts.
    pub accounts: u64,
    /// Rows of the audit trail.
    pub audit_rows: u64,
    /// Coins issued in total.
    pub coins_issued: i64,
    /// Coins spent on gifts = Diamonds issued.
    pub coins_redeemed: i64,
    /// What is wrong, one sentence each; empty = the books are right.
    pub faults: Vec<String>,
}

impl VerifyReport {
    /// Nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Each query lists what is wrong; the text before it says in one sentence what each row means.
const CHECKS: &[(&str, &str)] = &[
    (
        "L1: a transfer does not sum to zero",
        "SELECT e.transfer || ' ' || a.currency FROM entry e JOIN account a ON a.id = e.account
         GROUP BY e.transfer, a.currency HAVING sum(e.amount) <> 0",
    ),
    (
        "L1: a transfer has no entries",
        "SELECT id FROM transfer WHERE id NOT IN (SELECT transfer FROM entry)",
    ),
    (
        "L2: an account is on the wrong side of zero",
        "SELECT name FROM account WHERE CASE WHEN may_be_negative THEN balance > 0 ELSE balance < 0 END",
    ),
    (
        "L2: an account may be negative that must not",
        "SELECT name FROM account WHERE may_be_negative <>
            (name IN ('sys:coin_issued', 'sys:dia_issued') OR name GLOB 'user:*:debt')",
    ),
    (
        "L3: a stored reply names another transfer than its row",
        "SELECT id FROM idempotency WHERE CASE WHEN json_valid(CAST(reply AS TEXT))
            THEN json_extract(CAST(reply AS TEXT), '$.transferId') IS NOT 't' || transfer
            ELSE 1 END",
    ),
    (
        "L4: coins redeemed are not Diamonds issued",
        "SELECT sum(balance) FROM account WHERE name IN ('sys:coin_redeemed', 'sys:dia_issued')
         HAVING sum(balance) <> 0",
    ),
    (
        "L5: a combo is not the sum of its gifts",
        "SELECT c.id FROM combo c LEFT JOIN gift g ON g.combo = c.id
         GROUP BY c.id HAVING sum(g.count) IS NOT c.n OR sum(g.coins) IS NOT c.n * c.price",
    ),
    (
        "L8: a host share is not its part of the running total",
        "SELECT s.attempt FROM gift_share s LEFT JOIN gift g
            ON g.room = s.room AND g.attempt = s.attempt AND g.host IS NOT NULL AND g.host <> g.sender
         GROUP BY s.room, s.attempt
         HAVING coalesce(sum(g.coins), 0) <> s.cum OR coalesce(sum(g.host_part), 0) <> s.host",
    ),
    (
        "L11: a balance is not the sum of its entries",
        "SELECT a.name FROM account a LEFT JOIN entry e ON e.account = a.id
         GROUP BY a.id HAVING coalesce(sum(e.amount), 0) <> a.balance",
    ),
    (
        "L14: promo coins are not the sum of their lots",
        "SELECT a.name FROM account a WHERE a.name GLOB 'user:*:promo' AND a.balance <>
            (SELECT coalesce(sum(l.left), 0) FROM promo_lot l WHERE 'user:' || l.user || ':promo' = a.name)",
    ),
    (
        "a gift and its transfer disagree",
        "SELECT g.transfer FROM gift g JOIN transfer t ON t.id = g.transfer
         WHERE t.kind <> 'gift' OR g.coins IS NOT (SELECT sum(e.amount) FROM entry e
            JOIN account a ON a.id = e.account
            WHERE e.transfer = g.transfer AND a.name = 'sys:coin_redeemed')",
    ),
    (
        "a gift transfer has no gift",
        "SELECT id FROM transfer WHERE kind = 'gift' AND id NOT IN (SELECT transfer FROM gift)",
    ),
    (
        "a transfer has not exactly one audit row",
        "SELECT t.id FROM transfer t LEFT JOIN audit x ON x.transfer = t.id
         GROUP BY t.id HAVING count(x.seq) <> 1",
    ),
    (
        "time goes back between transfers",
        "SELECT id FROM (SELECT id, committed_at < lag(committed_at) OVER (ORDER BY id) AS back
            FROM transfer) WHERE back",
    ),
    ("the file is damaged", "SELECT integrity_check FROM pragma_integrity_check
        WHERE integrity_check <> 'ok'"),
    ("a row points nowhere", "SELECT \"table\" || ' ' || rowid FROM pragma_foreign_key_check"),
];

/// Most findings listed per check; a broken file must not become an endless report.
const LISTED: usize = 20;

/// Run every check.
pub(super) fn verify(conn: &Connection) -> rusqlite::Result<VerifyReport> {
    // One view of the file, however long this takes.
    let snapshot = conn.unchecked_transaction()?;
    let mut report = VerifyReport {
        transfers: count(conn, "SELECT count(*) FROM transfer")?,
        gifts: count(conn, "SELECT count(*) FROM gift")?,
        accounts: count(conn, "SELECT count(*) FROM account")?,
        coins_issued: -sum(conn, "sys:coin_issued")?,
        coins_redeemed: sum(conn, "sys:coin_redeemed")?,
        ..VerifyReport::default()
    };
    for (fault, sql) in CHECKS {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut listed = 0;
        while let (Some(row), true) = (rows.next()?, listed < LISTED) {
            let what: rusqlite::types::Value = row.get(0)?;
            report.faults.push(format!("{fault}: {what:?}"));
            listed += 1;
        }
    }
    report.audit_rows = audit::check(conn, &mut report.faults)?;
    snapshot.finish()?;
    Ok(report)
}

fn count(conn: &Connection, sql: &str) -> rusqlite::Result<u64> {
    let rows: i64 = conn.query_row(sql, [], |row| row.get(0))?;
    Ok(rows.unsigned_abs())
}

fn sum(conn: &Connection, account: &str) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(sum(balance), 0) FROM account WHERE name = ?1";
    conn.query_row(sql, [account], |row| row.get(0))
}
