//! The ledger against `kill -9` and power cuts.
//!
//! A child process holds the store; clients in this process send it gifts over pipes, and it is
//! killed at a random moment, again and again. What a client was told is compared with the file.
//! `kill -9` leaves the page cache alone, so it cannot see a missing sync; the power-cut rounds
//! undo every write that was not synced, and must notice when the store is opened without them.
//!
//! `GREENROOM_CRASH_ROUNDS` sets the number of rounds (default 20; 1000 for the long run),
//! `GREENROOM_CRASH_SEED` repeats a run.
#![expect(clippy::disallowed_methods, reason = "I/O shell")]
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod check;
mod child;
mod fleet;
mod power;

use std::path::{Path, PathBuf};

use fleet::Fleet;

/// Gifts of a long run go into a new file now and then, so that checking it stays quick.
const ROUNDS_PER_FILE: u32 = 25;

/// Not a test: the server that gets killed.
#[test]
fn child_process() {
    if let Ok(path) = std::env::var(child::PATH) {
        child::serve(Path::new(&path));
    }
}

#[test]
fn acknowledged_gifts_survive_kill_9() {
    if std::env::var_os(child::PATH).is_some() {
        return;
    }
    let mut random = Random::seeded("kill_9");
    let rounds = rounds(20);
    let (mut done, mut acked) = (0, 0);
    while done < rounds {
        let folder = Folder::new("kill");
        let mut fleet = Fleet::new(folder.database());
        for _ in 0..ROUNDS_PER_FILE.min(rounds - done) {
            fleet.run_until_killed(&mut random, &[]);
            let lost = check::check(&fleet).expect("the file is right");
            assert!(lost.is_empty(), "acknowledged, then lost: {lost:?}");
            done += 1;
        }
        acked += fleet.acked.len();
    }
    println!("{rounds} rounds of kill -9, {acked} gifts acknowledged, none lost");
    assert!(acked as u32 > rounds, "hardly a gift was sent, so nothing was tested");
}

#[test]
fn acknowledged_gifts_survive_a_power_cut() {
    if std::env::var_os(child::PATH).is_some() {
        return;
    }
    let mut random = Random::seeded("power");
    let folder = Folder::new("power");
    let shim = power::build(&folder.0);
    let mut fleet = Fleet::new(folder.database());
    let rounds = rounds(20).min(300);
    let mut checkpoints = 0;
    for round in 0..rounds {
        let log = folder.0.join("undo.log");
        fleet.run_until_killed(&mut random, &power::environment(&shim, &log, "full"));
        // One time in three the server was killed before, and what it had not synced is still
        // there for the next one to believe: it must not acknowledge it unsynced.
        if random.below(3) == 0 {
            fleet.run_until_killed(&mut random, &power::environment(&shim, &log, "full"));
        }
        // Every other time some unsynced writes did reach the disk, out of order and torn.
        let cut = power::cut(&fleet.path, &log, (round % 2 == 1).then_some(&mut random));
        let lost = check::check(&fleet).expect("the file is right");
        assert!(lost.is_empty(), "round {round}: {cut:?}, lost: {lost:?}");
        checkpoints += cut.checkpoints;
    }
    let acked = fleet.acked.len();
    println!(
        "{rounds} power cuts, {acked} gifts acknowledged, {checkpoints} checkpoints, none lost"
    );
    assert!(acked as u32 > rounds && checkpoints as u32 > rounds, "hardly a gift was sent");
}

/// A sync that failed once is fatal: the system has dropped what it could not write, and a second
/// sync would say that all is well.
#[test]
fn a_failed_sync_stops_the_ledger_and_loses_nothing() {
    if std::env::var_os(child::PATH).is_some() {
        return;
    }
    // These have lost gifts before: the sync that failed was a checkpoint's inside `COMMIT`, and that
    // of the switch to WAL, which `SQLite` reports after it has said "wal".
    let known = [1_795_582_094_018_208_696, 1_795_588_210_389_800_583].map(Random);
    for mut random in known.into_iter().chain([Random::seeded("sick")]) {
        let folder = Folder::new("sick");
        let shim = power::build(&folder.0);
        let mut fleet = Fleet::new(folder.database());
        let mut noticed = [0; 2];
        let rounds = rounds(10).min(300);
        for round in 0..rounds {
            let log = folder.0.join("undo.log");
            let mut environment = power::environment(&shim, &log, "full");
            // 0 = the database, which only checkpoints sync; 1 = its log.
            let file = random.below(2);
            let failing = 1 + random.below(if file == 0 { 4 } else { 10 });
            environment.push((child::SICK.into(), failing.to_string()));
            environment.push(("GREENROOM_FAIL_FILE".into(), file.to_string()));
            fleet.run_until_killed(&mut random, &environment);
            noticed[file as usize] += usize::from(fleet.unavailable > 0);
            // Every other time the server is started again first, and the system still shows it
            // what the disk never got.
            if random.below(2) == 0 {
                fleet.run_until_killed(&mut random, &power::environment(&shim, &log, "full"));
            }
            let cut = power::cut(&fleet.path, &log, None);
            let lost = check::check(&fleet).expect("the file is right");
            let what = format!("round {round}, sync {failing} of file {file} failed, {cut:?}");
            assert!(lost.is_empty(), "{what}, lost: {lost:?}");
        }
        let acked = fleet.acked.len();
        println!("{rounds} rounds, {noticed:?} with a failed sync, {acked} gifts, none lost");
        assert!(noticed.iter().sum::<usize>() > 0, "no sync failed, so nothing was tested");
    }
}

/// Only checkpoints sync the database, and `SQLite` hides their failure from whoever commits.
#[test]
fn a_failed_checkpoint_stops_the_ledger() {
    if std::env::var_os(child::PATH).is_some() {
        return;
    }
    let mut random = Random::seeded("checkpoint");
    let folder = Folder::new("checkpoint");
    let shim = power::build(&folder.0);
    let mut fleet = Fleet::new(folder.database());
    let log = folder.0.join("undo.log");
    // The file is made in good health, so that its making is not what fails.
    while fleet.acked.is_empty() {
        fleet.run_until_killed(&mut random, &power::environment(&shim, &log, "full"));
        power::cut(&fleet.path, &log, None);
    }
    let mut environment = power::environment(&shim, &log, "full");
    environment.push((child::SICK.into(), "2".into()));
    environment.push(("GREENROOM_FAIL_FILE".into(), "0".into()));
    for _ in 0..20 {
        // The first is the start's, the second comes between two commits.
        fleet.run_until_killed(&mut random, &environment);
        let cut = power::cut(&fleet.path, &log, None);
        let lost = check::check(&fleet).expect("the file is right");
        assert!(lost.is_empty(), "{cut:?}, lost: {lost:?}");
        if fleet.unavailable > 0 {
            return;
        }
    }
    panic!("the ledger went on after a failed checkpoint, or there was none in 20 rounds");
}

/// A test that cannot fail is worth nothing: without syncs the same rounds must lose gifts.
#[test]
fn the_power_cut_test_notices_missing_syncs() {
    if std::env::var_os(child::PATH).is_some() {
        return;
    }
    let mut random = Random::seeded("normal");
    let folder = Folder::new("normal");
    let shim = power::build(&folder.0);
    let mut fleet = Fleet::new(folder.database());
    for round in 0..20 {
        let log = folder.0.join("undo.log");
        fleet.run_until_killed(&mut random, &power::environment(&shim, &log, "normal"));
        power::cut(&fleet.path, &log, None);
        let lost = check::check(&fleet).expect("lost or not, the file is right");
        if !lost.is_empty() {
            println!("round {round}: without syncs {} acknowledged gifts were lost", lost.len());
            return;
        }
    }
    panic!("20 power cuts without syncs lost nothing: this test sees nothing");
}

fn rounds(default: u32) -> u32 {
    let set = std::env::var("GREENROOM_CRASH_ROUNDS").ok();
    set.map_or(default, |text| text.parse().expect("GREENROOM_CRASH_ROUNDS is a number"))
}

/// SplitMix64: enough for choosing moments and orders.
pub(crate) struct Random(u64);

impl Random {
    fn seeded(name: &str) -> Self {
        let seed = match std::env::var("GREENROOM_CRASH_SEED") {
            Ok(text) => text.parse().expect("GREENROOM_CRASH_SEED is a number"),
            Err(_) => {
                let now = std::time::SystemTime::now();
                now.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos() as u64
            }
        };
        println!("{name}: GREENROOM_CRASH_SEED={seed}");
        Self(seed)
    }

    /// 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// A folder of one test, gone with it unless it fails.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("greenroom-crash-{}-{name}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn database(&self) -> PathBuf {
        signaling::store::database_path(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("kept for a look: {}", self.0.display());
        } else {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }
}
