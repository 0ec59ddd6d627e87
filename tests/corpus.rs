//! Replays every file of `fuzz/corpus/<target>/` through its fuzz target: what a fuzzer found once
//! stays found, on every test run and without cargo-fuzz.
#![expect(clippy::disallowed_methods, reason = "reads the corpus from disk")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "shared with the fuzz crate")]
mod fuzz;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listing = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{} cannot be listed: {error}", folder.display()));
    let mut paths: Vec<_> = listing.map(|entry| entry.expect("a folder entry").path()).collect();
    paths.sort();
    paths
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// An input, and what it becomes when it is cut: anywhere, of one good input become many bad ones.
fn passes(target: &fuzz::Target, bytes: &[u8]) -> bool {
    let cuts = if target.state { 0 } else { bytes.len().min(256) };
    std::panic::catch_unwind(|| {
        (target.run)(bytes);
        (0..cuts).for_each(|len| (target.run)(&bytes[..len]));
    })
    .is_ok()
}

#[test]
fn every_corpus_file_passes_its_target() {
    for target in fuzz::TARGETS {
        let name = target.name;
        let files = entries(&corpus().join(name));
        assert!(!files.is_empty(), "target {name} has no corpus");
        (target.run)(&[]);
        for file in files {
            let bytes = std::fs::read(&file).expect("a readable file");
            assert!(passes(target, &bytes), "{} fails target {name}", file.display());
        }
    }
}

#[test]
fn every_target_has_a_binary_and_every_corpus_a_target() {
    let names: BTreeSet<String> = fuzz::TARGETS.iter().map(|target| target.name.into()).collect();
    let stems = |folder: PathBuf| -> BTreeSet<String> {
        let paths = entries(&folder).into_iter();
        paths.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect()
    };
    assert_eq!(stems(corpus()), names);
    assert_eq!(stems(corpus().join("../fuzz_targets")), names);
}
