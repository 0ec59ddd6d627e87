//! What the figures depend on: the machine and the version.

use std::collections::BTreeSet;
use std::fs::read_to_string;

use serde_json::{Value, json};

/// The facts as one object.
pub(super) fn json() -> Value {
    json!({
        "cpu": cpu(),
        "cores": cores(),
        "kernel": kernel(),
        "mitigations": mitigations(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// The facts as lines of text.
pub(super) fn lines() -> String {
    format!(
        "machine      {}, {} cores; Linux {}; Greenroom {}\nmitigations  {}\n",
        cpu(),
        cores(),
        kernel(),
        env!("CARGO_PKG_VERSION"),
        mitigations().join("; ")
    )
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn cpu() -> String {
    let text = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let name = value("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    match (value("cpu family"), value("model\t")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    }
}

fn kernel() -> String {
    let text = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// What the kernel does about the CPU's faults; it changes the price of a system call.
fn mitigations() -> Vec<String> {
    let folder = std::fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    let states = folder.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let state = read_to_string(entry.path()).ok()?;
        let state = state.trim();
        (state != "Not affected").then(|| format!("{name}: {state}"))
    });
    states.collect::<BTreeSet<String>>().into_iter().collect()
}
