//! The binary as an operator meets it: start, errors, tokens, a clean stop.

#![expect(clippy::disallowed_methods, reason = "tests are a shell")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("greenroom-cli-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn greenroom(folder: &PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
    command.current_dir(std::env::temp_dir()).arg("--data-dir").arg(folder);
    command.args(["--http-bind", "127.0.0.1:0", "--media-port", "0"]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The lines of the start, up to the last one.
fn welcome(server: &mut Child) -> Vec<String> {
    let lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let mut read = Vec::new();
    for line in lines.map_while(Result::ok) {
        let last = line.contains("Ctrl-C");
        read.push(line);
        if last {
            break;
        }
    }
    read
}

#[test]
fn starts_says_where_and_stops_with_0() {
    let folder = folder("start");
    let mut server = greenroom(&folder, &[]).spawn().expect("starts");
    let said = welcome(&mut server).join("\n");
    for expected in ["/studio", "http://localhost:", "Media", "Data", "development", "Next:"] {
        assert!(said.contains(expected), "{expected} in:\n{said}");
    }
    let pid = server.id().to_string();
    let start = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let status = server.wait().expect("ends");
    assert_eq!(status.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let verify = greenroom(&folder, &["ledger", "verify"]).output().expect("runs");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_token_is_one_line_and_lives_at_most_an_hour() {
    let folder = folder("token");
    let ask = ["token", "--room", "r1", "--role", "host", "--sub", "ana", "--ttl"];
    let good = greenroom(&folder, &[&ask[..], &["1h"]].concat()).output().expect("runs");
    let token = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(good.status.success());
    assert_eq!((token.lines().count(), token.matches('.').count()), (1, 2), "{token}");
    for bad in ["2h", "0s", "soon"] {
        let refused = greenroom(&folder, &[&ask[..], &[bad]].concat()).output().expect("runs");
        assert_eq!(refused.status.code(), Some(1), "{bad}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--ttl"), "{bad}");
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn mistakes_are_named() {
    let folder = folder("mistakes");
    for (arguments, expected) in [
        (&["--set", "http.bnd=1"][..], "http.bnd"),
        (&["--set", "http.bind=0.0.0.0:0"][..], "--dev false"),
        (&["--config", "/no/such/file.toml"][..], "/no/such/file.toml"),
        (&["--set", "tokens.secret=short"][..], "32"),
    ] {
        let refused = greenroom(&folder, arguments).output().expect("runs");
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// A server that this command starts, and what is left of it afterwards: nothing.
#[cfg(target_os = "linux")]
#[test]
fn bench_measures_a_server_of_its_own() {
    let temporary = folder("bench");
    std::fs::create_dir_all(&temporary).expect("a folder");
    let bench = ["bench", "--viewers", "3", "--shape", "burst", "--seconds", "0.5", "--no-floor"];
    let more = ["--json", "--", "--warm-up", "0.1", "--audio"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
    command.args([&bench[..], &more[..]].concat()).env("TMPDIR", &temporary);
    let done = command.output().expect("runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let result: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let run = &result["runs"][0];
    assert_eq!((&run["viewers_with_media"], &run["corrupt"]), (&3.into(), &0.into()), "{run}");
    assert_eq!(run["srtp_profile"], "AEAD_AES_128_GCM");
    assert!(run["delivered"]["audio"].as_u64() > Some(0), "{run}");
    assert!(run["packets_per_message"].as_f64() >= Some(1.0), "{run}");
    let left = std::fs::read_dir(&temporary).expect("a folder").count();
    assert_eq!(left, 0, "the server's folder is gone");
    let _ = std::fs::remove_dir_all(temporary);
}

/// Ends in the middle, and leaves neither a server nor a folder behind.
#[cfg(target_os = "linux")]
#[test]
fn bench_ends_its_server_on_a_signal() {
    let temporary = folder("bench-signal");
    std::fs::create_dir_all(&temporary).expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
    command.args(["bench", "--viewers", "2", "--seconds", "600"]).env("TMPDIR", &temporary);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut bench = command.spawn().expect("starts");
    let mut said = BufReader::new(bench.stderr.take().expect("piped")).lines();
    let has_media = |line: std::io::Result<String>| line.is_ok_and(|l| l.contains("have media"));
    assert!(said.any(has_media), "ended early");
    let pid = bench.id().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(bench.wait().expect("ends").code(), Some(130));
    assert_eq!(std::fs::read_dir(&temporary).expect("a folder").count(), 0);
    // Kernels without CONFIG_PROC_CHILDREN do not tell.
    if let Ok(children) = children {
        let server = children.trim();
        assert!(!server.is_empty());
        assert!(!std::path::Path::new("/proc").join(server).exists(), "{server} still runs");
    }
    let _ = std::fs::remove_dir_all(temporary);
}
