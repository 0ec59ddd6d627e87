//! What a room keeps over a restart.

use rusqlite::{Connection, params};

use super::audit::{self, AuditRow};
use super::turn::{Fault, Turn};

/// A room as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// The room's id.
    pub id: String,
    /// The lasting name that points to at most one room that has not ended.
    pub slug: String,
    /// The host's user id.
    pub host: String,
    /// Title.
    pub title: String,
    /// State name, such as `live`; `ended` if and only if `ended_at` is set.
    pub state: String,
    /// The room's own JSON: guest policy and everything else it wants back.
    pub settings: String,
    /// Milliseconds since the Unix epoch.
    pub created_at: i64,
    /// Milliseconds since the Unix epoch.
    pub started_at: Option<i64>,
    /// Milliseconds since the Unix epoch; final.
    pub ended_at: Option<i64>,
}

/// One change of what a room keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomWrite {
    /// Make or change the room. A slug that another open room has is a conflict of the schema:
    /// the write fails and nothing changes.
    Save(RoomRecord),
    /// Ban (`until: None` = for good). `room` may be a slug, so that it outlives one show.
    Ban {
        /// Room id or slug.
        room: String,
        /// Who.
        user: String,
        /// Milliseconds since the Unix epoch.
        until: Option<i64>,
    },
    /// End a ban.
    Unban {
        /// Room id or slug.
        room: String,
        /// Who.
        user: String,
    },
    /// No chat (`until: None` = for good).
    ChatMute {
        /// Room id or slug.
        room: String,
        /// Who.
        user: String,
        /// Milliseconds since the Unix epoch.
        until: Option<i64>,
    },
    /// Chat again.
    ChatUnmute {
        /// Room id or slug.
        room: String,
        /// Who.
        user: String,
    },
    /// Make or change a moderator; no permissions = not a moderator any more.
    Moderator {
        /// Room id or slug.
        room: String,
        /// Who.
        user: String,
        /// Their permissions.
        perms: Vec<String>,
    },
    /// An attempt that has media: it comes back as `reconnecting`.
    Attempt {
        /// Room id.
        room: String,
        /// The attempt's `guestId`.
        guest: String,
        /// Whose.
        user: String,
        /// The room's own JSON. Resume tokens only hashed.
        record: String,
    },
    /// An attempt has ended.
    AttemptEnded {
        /// Room id.
        room: String,
        /// The attempt's `guestId`.
        guest: String,
    },
    /// A user accepted the house rules.
    RulesAccepted {
        /// Room id or slug.
        room: String,
        /// Who.
        user: String,
        /// Which version.
        version: u32,
    },
}

/// Who moderated and how, for the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moderation {
    /// Who did it.
    pub actor: String,
    /// The command, such as `mod.ban`.
    pub action: String,
    /// To whom.
    pub subject: String,
    /// Room and reason.
    pub why: String,
}

/// Everything kept of one room that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRoom {
    /// The room.
    pub room: RoomRecord,
    /// What is kept under its id or slug.
    pub kept: Kept,
}

/// What is kept under a room's id or slug.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// (user, until).
    pub bans: Vec<(String, Option<i64>)>,
    /// (user, until).
    pub chat_mutes: Vec<(String, Option<i64>)>,
    /// (user, permissions).
    pub moderators: Vec<(String, Vec<String>)>,
    /// (guestId, user, record).
    pub attempts: Vec<(String, String, String)>,
    /// (user, version).
    pub rules_accepted: Vec<(String, u32)>,
}

/// Apply changes and their audit row, all or none.
pub(super) fn write(
    turn: &mut Turn<'_>,
    writes: &[RoomWrite],
    moderation: Option<&Moderation>,
) -> Result<(), Fault> {
    for write in writes {
        write_one(turn.conn, write)?;
    }
    if let Some(by) = moderation {
        let row = AuditRow {
            actor: &by.actor,
            action: &by.action,
            subject: &by.subject,
            transfer: None,
            why: &by.why,
        };
        audit::append(turn, &row)?;
    }
    Ok(())
}

fn write_one(conn: &Connection, write: &RoomWrite) -> Result<(), Fault> {
    match write {
        RoomWrite::Save(room) => save(conn, room)?,
        RoomWrite::Ban { room, user, until } => {
            let sql = "INSERT INTO ban VALUES (?1, ?2, ?3)
                 ON CONFLICT (room, user) DO UPDATE SET until = excluded.until";
            conn.prepare_cached(sql)?.execute(params![room, user, until])?;
        }
        RoomWrite::Unban { room, user } => {
            let sql = "DELETE FROM ban WHERE room = ?1 AND user = ?2";
            conn.prepare_cached(sql)?.execute([room, user])?;
        }
        RoomWrite::ChatMute { room, user, until } => {
            let sql = "INSERT INTO chat_mute VALUES (?1, ?2, ?3)
                 ON CONFLICT (room, user) DO UPDATE SET until = excluded.until";
            conn.prepare_cached(sql)?.execute(params![room, user, until])?;
        }
        RoomWrite::ChatUnmute { room, user } => {
            let sql = "DELETE FROM chat_mute WHERE room = ?1 AND user = ?2";
            conn.prepare_cached(sql)?.execute([room, user])?;
        }
        RoomWrite::Moderator { room, user, perms } if perms.is_empty() => {
            let sql = "DELETE FROM moderator WHERE room = ?1 AND user = ?2";
            conn.prepare_cached(sql)?.execute([room, user])?;
        }
        RoomWrite::Moderator { room, user, perms } => {
            let sql = "INSERT INTO moderator VALUES (?1, ?2, ?3)
                 ON CONFLICT (room, user) DO UPDATE SET perms = excluded.perms";
            conn.prepare_cached(sql)?.execute(params![room, user, perms.join(" ")])?;
        }
        RoomWrite::Attempt { room, guest, user, record } => {
            let sql = "INSERT INTO attempt VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (room, guest) DO UPDATE SET record = excluded.record";
            conn.prepare_cached(sql)?.execute([room, guest, user, record])?;
        }
        RoomWrite::AttemptEnded { room, guest } => {
            let sql = "DELETE FROM attempt WHERE room = ?1 AND guest = ?2";
            conn.prepare_cached(sql)?.execute([room, guest])?;
        }
        RoomWrite::RulesAccepted { room, user, version } => {
            let sql = "INSERT INTO rules_accepted VALUES (?1, ?2, ?3)
                 ON CONFLICT (room, user) DO UPDATE SET version = excluded.version";
            conn.prepare_cached(sql)?.execute(params![room, user, version])?;
        }
    }
    Ok(())
}

fn save(conn: &Connection, room: &RoomRecord) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO room VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET slug = excluded.slug, host = excluded.host,
            title = excluded.title, state = excluded.state, settings = excluded.settings,
            started_at = excluded.started_at, ended_at = excluded.ended_at",
    )?
    .execute(params![
        room.id,
        room.slug,
        room.host,
        room.title,
        room.state,
        room.settings,
        room.created_at,
        room.started_at,
        room.ended_at
    ])?;
    if room.ended_at.is_some() {
        conn.prepare_cached("DELETE FROM attempt WHERE room = ?1")?.execute([&room.id])?;
    }
    Ok(())
}

/// Every room that has not ended.
pub(super) fn open_rooms(conn: &Connection, now: i64) -> rusqlite::Result<Vec<KeptRoom>> {
    let rooms: Vec<RoomRecord> = conn
        .prepare("SELECT * FROM room WHERE ended_at IS NULL ORDER BY created_at, id")?
        .query_map([], |row| {
            Ok(RoomRecord {
                id: row.get(0)?,
                slug: row.get(1)?,
                host: row.get(2)?,
                title: row.get(3)?,
                state: row.get(4)?,
                settings: row.get(5)?,
                created_at: row.get(6)?,
                started_at: row.get(7)?,
                ended_at: row.get(8)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let with_kept =
        |room: RoomRecord| Ok(KeptRoom { kept: kept(conn, &room.id, &room.slug, now)?, room });
    rooms.into_iter().map(with_kept).collect()
}

/// What is kept under this id or slug; bans and mutes that are over are left out.
pub(super) fn kept(conn: &Connection, id: &str, slug: &str, now: i64) -> rusqlite::Result<Kept> {
    let timed = |table: &str| {
        conn.prepare(&format!(
            "SELECT user, until FROM {table} WHERE room IN (?1, ?2)
             AND (until IS NULL OR until > ?3) ORDER BY user"
        ))?
        .query_map(params![id, slug, now], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()
    };
    Ok(Kept {
        bans: timed("ban")?,
        chat_mutes: timed("chat_mute")?,
        moderators: conn
            .prepare("SELECT user, perms FROM moderator WHERE room IN (?1, ?2) ORDER BY user")?
            .query_map([id, slug], |row| {
                let perms: String = row.get(1)?;
                Ok((row.get(0)?, perms.split_whitespace().map(String::from).collect()))
            })?
            .collect::<rusqlite::Result<_>>()?,
        attempts: conn
            .prepare("SELECT guest, user, record FROM attempt WHERE room = ?1 ORDER BY guest")?
            .query_map([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?,
        rules_accepted: conn
            .prepare("SELECT user, version FROM rules_accepted WHERE room IN (?1, ?2)")?
            .query_map([id, slug], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?,
    })
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
