//! Opening a database file: what the disk must have before it is used, pragmas and migrations.
//!
//! No connection syncs or checkpoints behind the writer's back: what `SQLite` does on its own, after
//! a commit and when a connection closes, hides its errors.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// Each step brings the file from `user_version` = its index to the next. Never edit a step that
/// was released; add one.
const MIGRATIONS: &[&str] = &[
    include_str!("schema.sql"),
    // Whoever asks for a name learns whether its show is over.
    "CREATE INDEX room_by_slug ON room (slug);",
];
/// How long a lock held by somebody else is waited for.
const BUSY_TIME: Duration = Duration::from_secs(5);
/// Bytes of the log rewritten at once; any size does.
const CHUNK: usize = 1 << 16;

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
    if durability == Durability::Full {
        harden_log(path)?;
    }
    let conn = Connection::open(path)
        .with_context(|| format!("cannot open the database {}", path.display()))?;
    conn.busy_timeout(BUSY_TIME)?;
    leave_the_log_alone(&conn)?;
    let mode = use_wal(&conn).with_context(|| format!("cannot prepare {}", path.display()))?;
    ensure!(mode == "wal", "the database {} cannot use WAL: {mode}", path.display());
    let sync = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    conn.execute_batch(&format!("PRAGMA synchronous = {sync}; PRAGMA foreign_keys = ON;"))?;
    let foreign_keys: bool = conn.query_row("PRAGMA foreign_keys", [], |row| row.get(0))?;
    ensure!(foreign_keys, "this SQLite has no foreign keys");
    conn.set_prepared_statement_cache_capacity(64);
    // A reader of another process keeps its part of the log; it is not waited for.
    conn.busy_timeout(Duration::ZERO)?;
    checkpoint(&conn, Checkpoint::Truncate)
        .with_context(|| format!("cannot bring {} up to date", path.display()))?;
    conn.busy_timeout(BUSY_TIME)?;
    migrate(&conn).with_context(|| format!("cannot migrate {}", path.display()))?;
    sync_folder(path)?;
    Ok(conn)
}

/// A connection that can only read.
pub(super) fn open_reader(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)
        .with_context(|| format!("cannot open the database {}", path.display()))?;
    conn.busy_timeout(BUSY_TIME)?;
    leave_the_log_alone(&conn)?;
    conn.execute_batch("PRAGMA query_only = ON; PRAGMA foreign_keys = ON;")?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// The journal mode after asking for WAL. The statement says "wal" before its own commit is synced,
/// and only its end tells whether that failed, so it is stepped to the end.
fn use_wal(conn: &Connection) -> rusqlite::Result<String> {
    let mut statement = conn.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = statement.query([])?;
    let mut mode = String::new();
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    Ok(mode)
}

/// Neither a commit nor a close copies the log into the database: both swallow a failed sync, and
/// what is acknowledged after one is lost with the power. Only [`checkpoint`] does it.
fn leave_the_log_alone(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))
}

/// How [`checkpoint`] goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoint {
    /// Only count.
    Count,
    /// As far as readers allow, waiting for nobody.
    Passive,
    /// All of it, then empty the log; as [`Checkpoint::Passive`] when readers are in the way.
    Truncate,
}

/// Copy the log into the database and sync both. Returns the pages of the log that are not in the
/// database after it.
///
/// # Errors
/// A failed write or sync: what the disk has is not known any more, so the connection must not be
/// used again.
pub(super) fn checkpoint(conn: &Connection, how: Checkpoint) -> rusqlite::Result<u32> {
    let sql = match how {
        Checkpoint::Count => "PRAGMA wal_checkpoint(NOOP)",
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let (log, copied): (i64, i64) =
        conn.prepare_cached(sql)?.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?;
    // Both are -1 while there is no log.
    Ok(u32::try_from(log.saturating_sub(copied)).unwrap_or(0))
}

/// Make the log that an earlier process left durable before anything in it is believed.
///
/// It may never have been synced (the process was killed between write and sync), and after a
/// failed sync the system keeps pages that it calls clean and the disk never got: syncing those
/// again says that all is well. Writing them again makes the next sync mean it.
fn harden_log(path: &Path) -> anyhow::Result<()> {
    let log = beside(path, "-wal");
    let rewritten = match File::options().read(true).write(true).open(&log) {
        Ok(file) => rewrite(&file),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    rewritten.with_context(|| format!("cannot make {} durable", log.display()))
}

fn rewrite(file: &File) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let size = match file.read_at(&mut chunk, at) {
            Ok(0) => break,
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        file.write_all_at(&chunk[..size], at)?;
        at += size as u64;
    }
    file.sync_all()
}

/// The names of the files must be as durable as what is in them; `SQLite` does not look whether
/// the folder's sync failed.
fn sync_folder(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot sync {}", folder.display()))
}

/// The file of this name with something added.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
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
