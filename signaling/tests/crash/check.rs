//! What the file must say after every crash.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rusqlite::Connection;

use super::fleet::Fleet;

struct Row {
    reply: String,
    transfer: i64,
}

/// Compare the file with what the clients know. Returns the keys that were acknowledged and are
/// not there; anything else that is wrong is an error.
pub(crate) fn check(fleet: &Fleet) -> anyhow::Result<Vec<String>> {
    // On a copy: opening the file would repair it, and that is the next server's task.
    let copy = copy(&fleet.path)?;
    if !copy.exists() {
        return Ok(fleet.acked.keys().cloned().collect());
    }
    let Some(rows) = rows(&copy)? else {
        return Ok(fleet.acked.keys().cloned().collect());
    };
    let report = signaling::store::verify_file(&copy)?;
    ensure!(report.is_clean(), "{report:?}");
    ensure!(report.gifts == rows.len() as u64, "gifts without a key, or keys without a gift");
    for key in rows.keys() {
        ensure!(fleet.sent.contains_key(key), "{key}: no client sent it");
        ensure!(!fleet.refused.contains(key), "{key}: refused, and booked");
    }
    for (client, keys) in fleet.in_order.iter().enumerate() {
        let known = keys.iter().filter_map(|key| rows.get(key)).map(|row| row.transfer);
        ensure!(known.is_sorted(), "client {client}: booked in another order than acknowledged");
    }
    let mut lost = Vec::new();
    for (key, reply) in &fleet.acked {
        match rows.get(key) {
            None => lost.push(key.clone()),
            Some(row) if row.reply != *reply => {
                bail!("{key}: told {reply}, stored {}", row.reply)
            }
            Some(_) => {}
        }
    }
    Ok(lost)
}

/// key -> stored reply; `None` = the crash came before there was a schema.
fn rows(path: &Path) -> anyhow::Result<Option<HashMap<String, Row>>> {
    let conn = Connection::open(path)?;
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        return Ok(None);
    }
    let mut statement =
        conn.prepare("SELECT key, reply, transfer FROM idempotency WHERE scope GLOB 'user:*'")?;
    let rows = statement.query_map([], |row| {
        let reply: Vec<u8> = row.get(1)?;
        let reply = String::from_utf8_lossy(&reply).into_owned();
        Ok((row.get::<_, String>(0)?, Row { reply, transfer: row.get(2)? }))
    })?;
    let mut by_key = HashMap::new();
    for row in rows {
        let (key, row) = row?;
        // The schema has it unique per sender; here a key is unique altogether.
        ensure!(by_key.insert(key.clone(), row).is_none(), "{key} is there twice");
    }
    Ok(Some(by_key))
}

fn copy(path: &Path) -> anyhow::Result<PathBuf> {
    let folder = path.parent().context("a folder")?.join("copy");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder)?;
    let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
    for suffix in ["", "-wal"] {
        let file = format!("{name}{suffix}");
        let from = path.with_file_name(&file);
        if from.exists() {
            std::fs::copy(&from, folder.join(&file))?;
        }
    }
    Ok(folder.join(name))
}
