//! Opening a database file: pragmas and migrations.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, OpenFlags};

/// Each step brings the file from `user_version` = its index to the next. Never edit a step that
/// was released; add one.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    // Whoever asks for a name learns whether its show is over.
    "CREATE INDEX room_by_slug ON room (slug);",
];

/// How much a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The disk has it: nothing acknowledged is lost when the power goes.
    #[default]
    Full,
    /// The operating system has it: a power cut loses acknowledged gifts. It exists so that the
    /// power-cut test can show that it would notice.
    Normal,
}

/// The writing connection; creates and migrates the file.
pub(super) fn open_writer(path: &Path, durability: Durability) -> anyhow::Result<Connection> {
    let conn = Connection::open(path)
        .with_context(|| format!("cannot open the database {}", path.display()))?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    ensure!(mode == "wal", "the database {} cannot use WAL: {mode}", path.display());
    let sync = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    conn.execute_batch(&format!("PRAGMA synchronous = {sync}; PRAGMA foreign_keys = ON;"))?;
    let foreign_keys: bool = conn.query_row("PRAGMA foreign_keys", [], |row| row.get(0))?;
    ensure!(foreign_keys, "this SQLite has no foreign keys");
    conn.set_prepared_statement_cache_capacity(64);
    migrate(&conn).with_context(|| format!("cannot migrate {}", path.display()))?;
    Ok(conn)
}

/// A connection that can only read.
pub(super) fn open_reader(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)
        .with_context(|| format!("cannot open the database {}", path.display()))?;
    conn.busy_timeout(std::time::Duration::from_secs(5))?;
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA foreign_keys = ON;")?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

fn migrate(conn: &Connection) -> anyhow::Result<()> {
    let version: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = version as usize;
    if version > MIGRATIONS.len() {
        bail!(
            "the database has version {version} and this program knows {}: use a newer program",
            MIGRATIONS.len()
        );
    }
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(version) {
        let next = step + 1;
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; {sql} PRAGMA user_version = {next}; COMMIT;"
        ))
        .with_context(|| format!("step {next}"))?;
    }
    Ok(())
}
