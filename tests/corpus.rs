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

#[test]
fn every_corpus_file_passes_its_target() {
    for (name, target) in fuzz::TARGETS {
        let files = entries(&corpus().join(name));
        assert!(!files.is_empty(), "target {name} has no corpus");
        target(&[]);
        for file in files {
            let bytes = std::fs::read(&file).expect("a readable file");
            let outcome = std::panic::catch_unwind(|| {
                target(&bytes);
                // Cut anywhere, a good input becomes many bad ones.
                (0..bytes.len().min(256)).for_each(|len| target(&bytes[..len]));
            });
            assert!(outcome.is_ok(), "{} fails target {name}", file.display());
        }
    }
}

#[test]
fn every_target_has_a_binary_and_every_corpus_a_target() {
    let names: BTreeSet<String> = fuzz::TARGETS.iter().map(|(name, _)| (*name).into()).collect();
    let stems = |folder: PathBuf| -> BTreeSet<String> {
        let paths = entries(&folder).into_iter();
        paths.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect()
    };
    assert_eq!(stems(corpus()), names);
    assert_eq!(stems(corpus().join("../fuzz_targets")), names);
}
