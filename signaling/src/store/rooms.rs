//! What a room keeps over a restart. Rows are found by the room's name, so that bans and mutes
//! outlive one show.

use rusqlite::{Connection, OptionalExtension, params};

use super::audit::AuditRow;
use super::turn::{Fault, Turn};
use crate::room::StoreWrite;

/// A show that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// The room's name.
    pub room: String,
    /// The host's user id.
    pub host: String,
    /// Title.
    pub title: String,
    /// The room's own JSON; `{}` until [`StoreWrite::Settings`].
    pub settings: String,
    /// Milliseconds since the Unix epoch.
    pub opened_at: i64,
    /// When it went live; `None` = still in preview.
    pub started_at: Option<i64>,
}

/// An attempt that had media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The room's name.
    pub room: String,
    /// The attempt's `guestId`.
    pub guest: String,
    /// Whose.
    pub user: String,
    /// The room's own JSON. Resume tokens only hashed.
    pub record: String,
}

/// Everything kept of one room that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRoom {
    /// The room.
    pub room: RoomRecord,
    /// What is kept under its name.
    pub kept: Kept,
}

/// What is kept under a room's name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// (user, until); `None` = for good.
    pub bans: Vec<(String, Option<i64>)>,
    /// (user, until); `None` = for good.
    pub chat_mutes: Vec<(String, Option<i64>)>,
    /// (user, permissions).
    pub moderators: Vec<(String, Vec<String>)>,
    /// Attempts that had media.
    pub attempts: Vec<AttemptRecord>,
}

/// Apply one write and its audit row.
pub(super) fn keep(turn: &mut Turn<'_>, write: &StoreWrite) -> Result<(), Fault> {
    let conn = turn.conn;
    match write {
        StoreWrite::RoomOpened { room, host, title, at } => {
            open(conn, room.as_str(), host.as_str(), title, ms(*at))?;
        }
        StoreWrite::RoomLive { room, at } => {
            let sql = "UPDATE room SET started_at = coalesce(started_at, ?2)
                 WHERE slug = ?1 AND ended_at IS NULL";
            conn.prepare_cached(sql)?.execute(params![room.as_str(), ms(*at)])?;
        }
        StoreWrite::Settings { room, title, settings } => {
            let sql =
                "UPDATE room SET title = ?2, settings = ?3 WHERE slug = ?1 AND ended_at IS NULL";
            conn.prepare_cached(sql)?.execute([room.as_str(), title, settings])?;
        }
        StoreWrite::Attempt { room, guest, user, record } => {
            let sql = "INSERT INTO attempt VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (room, guest) DO UPDATE SET record = excluded.record";
            let row = [room.as_str(), guest.as_str(), user.as_str(), record];
            conn.prepare_cached(sql)?.execute(row)?;
        }
        StoreWrite::RoomEnded { room, reason, summary, at } => {
            let summary = serde_json::to_string(summary).unwrap_or_default();
            end(conn, room.as_str(), reason, &summary, ms(*at))?;
        }
        StoreWrite::Ban { room, user, until, .. } => {
            let sql = "INSERT INTO ban VALUES (?1, ?2, ?3)
                 ON CONFLICT (room, user) DO UPDATE SET until = excluded.until";
            conn.prepare_cached(sql)?.execute(params![
                room.as_str(),
                user.as_str(),
                until.map(ms)
            ])?;
        }
        StoreWrite::Unban { room, user, .. } => {
            let sql = "DELETE FROM ban WHERE room = ?1 AND user = ?2";
            conn.prepare_cached(sql)?.execute([room.as_str(), user.as_str()])?;
        }
        StoreWrite::ChatMute { room, user, until, .. } => {
            let sql = "INSERT INTO chat_mute VALUES (?1, ?2, ?3)
                 ON CONFLICT (room, user) DO UPDATE SET until = excluded.until";
            conn.prepare_cached(sql)?.execute(params![room.as_str(), user.as_str(), ms(*until)])?;
        }
        StoreWrite::ChatUnmute { room, user, .. } => {
            let sql = "DELETE FROM chat_mute WHERE room = ?1 AND user = ?2";
            conn.prepare_cached(sql)?.execute([room.as_str(), user.as_str()])?;
        }
        StoreWrite::RulesAccepted { user, version, .. } => {
            let sql = "INSERT INTO rules_accepted VALUES (?1, ?2)
                 ON CONFLICT (user) DO UPDATE SET version = excluded.version";
            conn.prepare_cached(sql)?.execute([user.as_str(), version])?;
        }
        StoreWrite::GuestEnded { room, guest, .. } => {
            let sql = "DELETE FROM attempt WHERE room = ?1 AND guest = ?2";
            conn.prepare_cached(sql)?.execute([room.as_str(), guest.as_str()])?;
        }
        // Nothing but the audit row.
        StoreWrite::Kick { .. } | StoreWrite::SeatMute { .. } => {}
    }
    audit_write(turn, write)
}

/// What somebody did to somebody leaves a row; the life of a room does not.
fn audit_write(turn: &mut Turn<'_>, write: &StoreWrite) -> Result<(), Fault> {
    let (room, actor, action, user, detail) = match write {
        StoreWrite::Ban { room, actor, user, until, .. } => (
            room,
            actor,
            "mod.ban",
            user,
            until.map_or("for good".into(), |at| format!("until {at}")),
        ),
        StoreWrite::Unban { room, actor, user, .. } => {
            (room, actor, "mod.unban", user, String::new())
        }
        StoreWrite::ChatMute { room, actor, user, until, .. } => {
            (room, actor, "mod.mute", user, format!("until {until}"))
        }
        StoreWrite::ChatUnmute { room, actor, user, .. } => {
            (room, actor, "mod.unmute", user, String::new())
        }
        StoreWrite::Kick { room, actor, user, .. } => {
            (room, actor, "mod.kick", user, String::new())
        }
        StoreWrite::SeatMute { room, actor, user, kinds, locked, .. } => {
            let kinds = serde_json::to_string(kinds).unwrap_or_default();
            (room, actor, "guest.mute", user, format!("{kinds} locked {locked}"))
        }
        StoreWrite::RoomOpened { .. }
        | StoreWrite::RoomLive { .. }
        | StoreWrite::Settings { .. }
        | StoreWrite::Attempt { .. }
        | StoreWrite::RoomEnded { .. }
        | StoreWrite::RulesAccepted { .. }
        | StoreWrite::GuestEnded { .. } => return Ok(()),
    };
    let why = format!("{} {detail}", room.as_str());
    let row = AuditRow {
        actor: actor.as_str(),
        action,
        subject: user.as_str(),
        transfer: None,
        why: why.trim_end(),
    };
    Ok(turn.chain.append(turn.conn, turn.now, &row)?)
}

/// A show of the same host that was cut off goes on; one of another host ends here.
fn open(conn: &Connection, room: &str, host: &str, title: &str, at: i64) -> Result<(), Fault> {
    let found: Option<String> = conn
        .prepare_cached("SELECT host FROM room WHERE slug = ?1 AND ended_at IS NULL")?
        .query_row([room], |row| row.get(0))
        .optional()?;
    match found {
        Some(old) if old == host => {
            let sql = "UPDATE room SET title = ?2 WHERE slug = ?1 AND ended_at IS NULL";
            conn.prepare_cached(sql)?.execute([room, title])?;
            return Ok(());
        }
        Some(_) => end(conn, room, "replaced", "{}", at)?,
        None => {}
    }
    conn.prepare_cached("INSERT INTO room (slug, host, title, opened_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![room, host, title, at])?;
    Ok(())
}

fn end(conn: &Connection, room: &str, reason: &str, summary: &str, at: i64) -> Result<(), Fault> {
    let sql = "UPDATE room SET ended_at = ?2, end_reason = ?3, summary = ?4
         WHERE slug = ?1 AND ended_at IS NULL";
    conn.prepare_cached(sql)?.execute(params![room, at, reason, summary])?;
    conn.prepare_cached("DELETE FROM attempt WHERE room = ?1")?.execute([room])?;
    Ok(())
}

pub(super) fn save_moderator(
    conn: &Connection,
    room: &str,
    user: &str,
    perms: &str,
) -> Result<(), Fault> {
    if perms.is_empty() {
        let sql = "DELETE FROM moderator WHERE room = ?1 AND user = ?2";
        conn.prepare_cached(sql)?.execute([room, user])?;
    } else {
        let sql = "INSERT INTO moderator VALUES (?1, ?2, ?3)
             ON CONFLICT (room, user) DO UPDATE SET perms = excluded.perms";
        conn.prepare_cached(sql)?.execute([room, user, perms])?;
    }
    Ok(())
}

/// Every room that has not ended.
pub(super) fn open_rooms(conn: &Connection, now: i64) -> rusqlite::Result<Vec<KeptRoom>> {
    let rooms: Vec<RoomRecord> = conn
        .prepare(
            "SELECT slug, host, title, settings, opened_at, started_at FROM room
             WHERE ended_at IS NULL ORDER BY id",
        )?
        .query_map([], |row| {
            Ok(RoomRecord {
                room: row.get(0)?,
                host: row.get(1)?,
                title: row.get(2)?,
                settings: row.get(3)?,
                opened_at: row.get(4)?,
                started_at: row.get(5)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let with_kept = |room: RoomRecord| Ok(KeptRoom { kept: kept(conn, &room.room, now)?, room });
    rooms.into_iter().map(with_kept).collect()
}

/// Whether a show of this name has been and is over.
pub(super) fn has_ended(conn: &Connection, room: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM room WHERE slug = ?1 AND ended_at IS NOT NULL LIMIT 1")?
        .exists([room])
}

/// What is kept under this name; bans and mutes that are over are left out.
pub(super) fn kept(conn: &Connection, room: &str, now: i64) -> rusqlite::Result<Kept> {
    let timed = |table: &str| {
        conn.prepare(&format!(
            "SELECT user, until FROM {table} WHERE room = ?1
             AND (until IS NULL OR until > ?2) ORDER BY user"
        ))?
        .query_map(params![room, now], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()
    };
    Ok(Kept {
        bans: timed("ban")?,
        chat_mutes: timed("chat_mute")?,
        moderators: conn
            .prepare("SELECT user, perms FROM moderator WHERE room = ?1 ORDER BY user")?
            .query_map([room], |row| {
                let perms: String = row.get(1)?;
                Ok((row.get(0)?, perms.split_whitespace().map(String::from).collect()))
            })?
            .collect::<rusqlite::Result<_>>()?,
        attempts: conn
            .prepare("SELECT guest, user, record FROM attempt WHERE room = ?1 ORDER BY guest")?
            .query_map([room], |row| {
                Ok(AttemptRecord {
                    room: room.into(),
                    guest: row.get(0)?,
                    user: row.get(1)?,
                    record: row.get(2)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?,
    })
}

pub(super) fn rules_accepted(conn: &Connection, user: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT version FROM rules_accepted WHERE user = ?1")?
        .query_row([user], |row| row.get(0))
        .optional()
}

/// Refuse this token id or user (`jti` or `sub`) until then.
pub(super) fn revoke(turn: &Turn<'_>, id: &str, until: i64) -> Result<(), Fault> {
    turn.conn
        .prepare_cached(
            "INSERT INTO revocation VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET until = max(until, excluded.until)",
        )?
        .execute(params![id, until])?;
    turn.conn.prepare_cached("DELETE FROM revocation WHERE until <= ?1")?.execute([turn.now])?;
    Ok(())
}

/// The deny-list: (`jti` or `sub`, until).
pub(super) fn revocations(conn: &Connection, now: i64) -> rusqlite::Result<Vec<(String, i64)>> {
    conn.prepare("SELECT id, until FROM revocation WHERE until > ?1")?
        .query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn ms(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
