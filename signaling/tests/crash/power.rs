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

/// What a child needs to be logged, behind what an earlier one left in the log.
pub(crate) fn environment(shim: &Path, log: &Path, durability: &str) -> Vec<(String, String)> {
    drop_cut_off_record(log);
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
    /// A sync that failed or lied: the changes before it are clean and not on the disk.
    Lost,
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

/// What one power cut did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Changes that had not been synced.
    pub(crate) unsynced: usize,
    /// Changes that a sync failed to bring to the disk.
    pub(crate) lost: usize,
    /// Syncs of the database, which only a checkpoint does.
    pub(crate) checkpoints: usize,
}

/// Leave what the disk has, then forget the log: everything since it began is taken back, and what
/// was synced is done again. With `random`, some of the rest did reach the disk: any subset, each
/// write whole or cut at a sector.
pub(crate) fn cut(database: &Path, log: &Path, random: Option<&mut Random>) -> Cut {
    let bytes = std::fs::read(log).unwrap_or_default();
    let changes = parse(&bytes);
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    let files = [database.to_owned(), PathBuf::from(wal)]
        .map(|path| OpenOptions::new().read(true).write(true).open(path).ok());
    for change in changes.iter().rev() {
        if let Some(file) = &files[change.file] {
            undo(file, change);
        }
    }
    let mut cut = Cut { unsynced: 0, lost: 0, checkpoints: 0 };
    let mut waiting = [Vec::new(), Vec::new()];
    for change in &changes {
        let waiting: &mut Vec<&Change<'_>> = &mut waiting[change.file];
        match change.kind {
            Kind::Write | Kind::Truncate => waiting.push(change),
            Kind::Lost => cut.lost += std::mem::take(waiting).len(),
            Kind::Sync => {
                cut.checkpoints += usize::from(change.file == 0);
                for change in std::mem::take(waiting) {
                    if let Some(file) = &files[change.file] {
                        redo(file, change, change.new.len());
                    }
                }
            }
        }
    }
    cut.unsynced = waiting.iter().map(Vec::len).sum();
    if let Some(random) = random {
        for change in waiting.iter().flatten() {
            if let Some(file) = &files[change.file] {
                redo_some(file, change, random);
            }
        }
    }
    drop(std::fs::remove_file(log));
    // The index of the log is a memory map and gone with the power.
    let mut index = database.as_os_str().to_owned();
    index.push("-shm");
    drop(std::fs::remove_file(PathBuf::from(index)));
    cut
}

/// The kill may cut off a child's last record, whose change was not made then; the next child's
/// records must not be taken for the rest of it.
fn drop_cut_off_record(log: &Path) {
    let Ok(bytes) = std::fs::read(log) else { return };
    let whole: usize =
        parse(&bytes).iter().map(|change| HEAD + change.old.len() + change.new.len()).sum();
    let file = OpenOptions::new().write(true).open(log).expect("the log opens");
    file.set_len(whole as u64).expect("the log is cut");
}

fn parse(mut bytes: &[u8]) -> Vec<Change<'_>> {
    let mut changes = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(HEAD) {
        let half = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().expect("four"));
        let word = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().expect("eight"));
        let Some((old, rest)) = rest.split_at_checked(word(24) as usize) else { break };
        let Some((new, rest)) = rest.split_at_checked(word(32) as usize) else { break };
        let kind = match half(0) {
            1 => Kind::Write,
            2 => Kind::Truncate,
            3 => Kind::Sync,
            4 => Kind::Lost,
            other => panic!("record of kind {other}"),
        };
        let file = half(4) as usize;
        changes.push(Change { kind, file, offset: word(8), old_size: word(16), old, new });
        bytes = rest;
    }
    changes
}

fn undo(file: &File, change: &Change<'_>) {
    if let Kind::Write | Kind::Truncate = change.kind {
        file.write_all_at(change.old, change.offset).expect("written back");
        file.set_len(change.old_size).expect("cut back");
    }
}

/// Only the first bytes of a write, if it is one.
fn redo(file: &File, change: &Change<'_>, bytes: usize) {
    match change.kind {
        Kind::Write => file.write_all_at(&change.new[..bytes], change.offset).expect("written"),
        Kind::Truncate => file.set_len(change.offset).expect("cut"),
        Kind::Sync | Kind::Lost => {}
    }
}

fn redo_some(file: &File, change: &Change<'_>, random: &mut Random) {
    let whole = change.new.len() as u64;
    match (random.below(3), change.kind) {
        (0, _) => {}
        (1, Kind::Write) => {
            let torn = random.below(whole / SECTOR + 1) * SECTOR;
            redo(file, change, torn as usize);
        }
        _ => redo(file, change, change.new.len()),
    }
}
