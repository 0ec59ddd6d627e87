//! Power cuts without privileges: a preloaded shim logs every change of the database files, and
//! after the kill everything since the last sync is taken back.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Random, child};

/// The least a disk writes at once.
const SECTOR: u64 = 512;
const HEAD: usize = 40;

/// Compile the shim.
pub(crate) fn build(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/shim.c");
    let shim = folder.join("shim.so");
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let status = Command::new(cc)
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
        .args([&shim, &source])
        .status()
        .expect("a C compiler, which SQLite needs too");
    assert!(status.success(), "the shim does not compile");
    shim
}

/// What a child needs to be logged.
pub(crate) fn environment(shim: &Path, log: &Path, durability: &str) -> Vec<(String, String)> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    vec![
        ("LD_PRELOAD".into(), text(shim)),
        ("GREENROOM_UNDO_LOG".into(), text(log)),
        (child::DURABILITY.into(), durability.into()),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Truncate,
    Sync,
}

#[derive(Debug)]
struct Change<'a> {
    kind: Kind,
    file: usize,
    offset: u64,
    old_size: u64,
    old: &'a [u8],
    new: &'a [u8],
}

/// Take back what was not synced since the log began, then forget the log. With `random`, some of
/// it did reach the disk: any subset, each write whole or cut at a sector. Returns the number of
/// changes that were not synced.
pub(crate) fn cut(database: &Path, log: &Path, random: Option<&mut Random>) -> usize {
    let bytes = std::fs::read(log).unwrap_or_default();
    let changes = parse(&bytes);
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    let files = [database.to_owned(), PathBuf::from(wal)]
        .map(|path| OpenOptions::new().read(true).write(true).open(path).ok());
    let mut unsynced = Vec::new();
    for change in changes {
        match change.kind {
            Kind::Sync => unsynced.retain(|other: &Change<'_>| other.file != change.file),
            Kind::Write | Kind::Truncate => unsynced.push(change),
        }
    }
    for change in unsynced.iter().rev() {
        let Some(file) = &files[change.file] else { continue };
        undo(file, change);
    }
    if let Some(random) = random {
        for change in &unsynced {
            let Some(file) = &files[change.file] else { continue };
            redo_some(file, change, random);
        }
    }
    drop(std::fs::remove_file(log));
    // The index of the log is a memory map and gone with the power.
    let mut index = database.as_os_str().to_owned();
    index.push("-shm");
    drop(std::fs::remove_file(PathBuf::from(index)));
    unsynced.len()
}

fn parse(mut bytes: &[u8]) -> Vec<Change<'_>> {
    let mut changes = Vec::new();
    // The last record may be cut off by the kill; its change was not made then.
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let half = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four"));
        let word = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().expect("eight"));
        let Some((old, rest)) = rest.split_at_checked(word(24) as usize) else { break };
        let Some((new, rest)) = rest.split_at_checked(word(32) as usize) else { break };
        let kind = match half(0) {
            1 => Kind::Write,
            2 => Kind::Truncate,
            3 => Kind::Sync,
            other => panic!("record of kind {other}"),
        };
        let file = half(4) as usize;
        changes.push(Change { kind, file, offset: word(8), old_size: word(16), old, new });
        bytes = rest;
    }
    changes
}

fn undo(file: &File, change: &Change<'_>) {
    file.write_all_at(change.old, change.offset).expect("written back");
    file.set_len(change.old_size).expect("cut back");
}

fn redo_some(file: &File, change: &Change<'_>, random: &mut Random) {
    let whole = change.new.len() as u64;
    match (random.below(3), change.kind) {
        (0, _) | (_, Kind::Sync) => {}
        (1, Kind::Write) => {
            let torn = random.below(whole / SECTOR + 1) * SECTOR;
            let part = &change.new[..torn as usize];
            file.write_all_at(part, change.offset).expect("written");
        }
        (_, Kind::Write) => file.write_all_at(change.new, change.offset).expect("written"),
        (_, Kind::Truncate) => file.set_len(change.offset).expect("cut"),
    }
}
