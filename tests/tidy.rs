//! The shape of the code: imports go one way, `unsafe` stays in one folder, files stay short.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lines of a file, lines of a function: past them a warning is printed, to be looked at.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Which areas each area may import; `signaling::` names the other crate. An area may import
/// itself.
const GREENROOM: &[(&str, &[&str])] = &[
    // Seats and media kinds are words; the bytes know no more of a room.
    ("rtp", &["signaling::media"]),
    ("sfu", &["rtp", "signaling::media"]),
    ("addresses", &[]),
    ("net", &["sfu", "rtp", "addresses", "metrics", "signaling::media", "signaling::protocol"]),
    ("metrics", &[]),
    ("config", &["sfu", "signaling::limits", "signaling::protocol", "signaling::turn"]),
    ("keys", &["config", "signaling::store", "signaling::token"]),
    ("load", &["net", "rtp", "sfu"]),
    (
        "http",
        &[
            "addresses",
            "config",
            "metrics",
            "rtp",
            "signaling::limits",
            "signaling::media",
            "signaling::protocol",
            "signaling::rate",
            "signaling::room",
            "signaling::rooms",
            "signaling::server",
            "signaling::store",
            "signaling::token",
        ],
    ),
];

const SIGNALING: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("media", &["protocol"]),
    ("protocol", &["media", "token", "economy"]),
    ("token", &["protocol", "economy"]),
    ("turn", &["protocol"]),
    ("economy", &["protocol"]),
    ("stage", &["protocol", "media"]),
    ("rate", &[]),
    ("chat", &["protocol", "rate"]),
    ("moderation", &["protocol"]),
    ("room", &["stage", "chat", "moderation", "economy", "protocol", "media", "rate", "token"]),
    ("store", &["room", "economy", "protocol", "token"]),
    ("rooms", &["room", "store", "economy", "protocol", "media", "rate", "token", "limits"]),
    (
        "server",
        &["rooms", "room", "store", "economy", "protocol", "rate", "token", "turn", "limits"],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under a folder, with its text up to its tests.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).expect("file");
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// Test code may reach further.
fn is_test(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with("tests.rs") || name.contains("/tests/")
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// `crate::a::…` and `signaling::a::…` in code, as `a` and `signaling::a`; groups are opened.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (prefix, kept) in [("crate::", ""), ("signaling::", "signaling::")] {
            for (at, _) in line.match_indices(prefix) {
                let before = line[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let rest = &line[at + prefix.len()..];
                let end =
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                assert!(
                    !rest.starts_with('{'),
                    "open the group, so that this test can read: {line}"
                );
                found.insert(format!("{kept}{}", &rest[..end]));
            }
        }
    }
    found
}

/// `src/http/ws.rs` -> `http`.
fn area(source: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(source).expect("inside");
    let first = relative.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn check(source: &Path, rules: &[(&str, &[&str])], own: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in files(source) {
        let area = area(source, &path);
        let Some((_, allowed)) = rules.iter().find(|(name, _)| *name == area) else { continue };
        if is_test(&path) {
            continue;
        }
        for import in imports(without_tests(&text)) {
            let import = import.strip_prefix(own).unwrap_or(&import);
            let types = import.chars().next().is_some_and(char::is_uppercase);
            if import != area && !types && !allowed.contains(&import) {
                wrong.push(format!("{}: {area} -> {import}", path.display()));
            }
        }
    }
    wrong
}

#[test]
fn imports_go_one_way() {
    let mut wrong = check(&root().join("src"), GREENROOM, "greenroom::");
    wrong.extend(check(&root().join("signaling/src"), SIGNALING, "signaling::"));
    assert!(wrong.is_empty(), "arrows that go back:\n{}", wrong.join("\n"));
}

#[test]
fn the_rules_themselves_have_no_circle_below_the_words() {
    // What both sides share (`protocol`, `media`, `token`, `economy`) may name each other; from
    // there up, an area's imports stand before it in the table.
    let words = ["limits", "media", "protocol", "token", "economy"];
    for (at, (area, allowed)) in SIGNALING.iter().enumerate() {
        for import in allowed.iter().filter(|import| !words.contains(*import)) {
            let place = SIGNALING.iter().position(|(name, _)| name == import);
            assert!(place.is_some_and(|place| place < at), "{area} -> {import}");
        }
    }
}

#[test]
fn every_area_has_a_rule() {
    for (folder, rules, free) in [
        ("src", GREENROOM, &["lib", "main", "cli", "server"][..]),
        ("signaling/src", SIGNALING, &["lib", "token_tests", "bin"][..]),
    ] {
        let source = root().join(folder);
        let areas: BTreeSet<String> =
            files(&source).iter().map(|(path, _)| area(&source, path)).collect();
        for area in areas {
            let ruled = rules.iter().any(|(name, _)| *name == area) || free.contains(&&*area);
            assert!(ruled, "{folder}/{area} has no rule in tests/tidy.rs");
        }
    }
}

#[test]
fn unsafe_code_only_in_net() {
    let net = root().join("src/net");
    for folder in ["src", "signaling/src"] {
        for (path, text) in files(&root().join(folder)) {
            let allowed =
                text.contains("allow(unsafe_code)") || text.contains("expect(unsafe_code");
            assert!(!allowed || path.starts_with(&net), "{} opts out", path.display());
        }
    }
}

#[test]
fn long_files_and_functions_are_named() {
    for folder in ["src", "signaling/src", "tests"] {
        for (path, text) in files(&root().join(folder)) {
            let lines = without_tests(&text).lines().count();
            if lines > FILE_LINES {
                println!("warning: {} has {lines} lines", path.display());
            }
            for (name, lines) in long_functions(&text) {
                println!("warning: {}: {name} has {lines} lines", path.display());
            }
        }
    }
}

/// Functions longer than the limit, by indentation: rustfmt puts the closing brace under `fn`.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if !code.split(' ').take(5).any(|word| word == "fn") || code.starts_with("//") {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines.iter().skip(start).position(|line| *line == closing).unwrap_or(0);
        if end > FUNCTION_LINES {
            long.push((code.chars().take(60).collect(), end));
        }
    }
    long
}
