//! The table for people.

use std::fmt::Write;

use greenroom::load::floor::{self, Floor};
use serde_json::Value;

/// Facts, one line per run, and the yardstick.
pub(super) fn render(facts: &str, runs: &[Value], floors: &[Floor]) -> String {
    let mut text = format!(
        "{facts}\n{:>7} {:<6} {:>10} {:>7} {:>14} {:>26} {:>9} {:>9} {:>14}  {}\n",
        "viewers",
        "shape",
        "packets/s",
        "loss %",
        "p50 / p99 ms",
        "CPU µs/packet (user+sys)",
        "pkts/msg",
        "KiB each",
        "join p50 / p99",
        "doubts"
    );
    for run in runs {
        // A string has no fixed failure: `write!` to it cannot fail.
        let _ = writeln!(text, "{}", row(run));
    }
    if !floors.is_empty() {
        let _ = writeln!(text, "\nYardstick, CPU of the sending thread alone:\n{}", floor::HEAD);
        for row in floors {
            let _ = writeln!(text, "{}", floor::line(row));
        }
    }
    text
}

fn row(run: &Value) -> String {
    let number = |pointer: &str| run.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let ms = |pointer: &str| number(pointer) / 1000.0;
    let text = |pointer: &str| run.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let marks: Vec<&str> =
        run["marks"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let cpu = |part: &str| number(&format!("/server_cpu_us_per_packet/{part}"));
    format!(
        "{:>7} {:<6} {:>10.0} {:>7.3} {:>14} {:>26} {:>9.2} {:>9.0} {:>14}  {}",
        number("/viewers"),
        text("/shape"),
        number("/delivered_per_s"),
        number("/loss") * 100.0,
        format!("{:.2} / {:.2}", ms("/delay_us/p50"), ms("/delay_us/p99")),
        format!("{:.2} ({:.2} + {:.2})", cpu("total"), cpu("user"), cpu("system")),
        number("/packets_per_message"),
        number("/rss_per_viewer_kib"),
        format!("{:.1} / {:.1}", ms("/join_us/p50"), ms("/join_us/p99")),
        if marks.is_empty() { "none".to_owned() } else { marks.join(", ") }
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_one_line() {
        let run = json!({
            "viewers": 100, "shape": "burst", "delivered_per_s": 15000.2, "loss": 0.001,
            "delay_us": { "p50": 720, "p99": 1570 }, "join_us": { "p50": 1700, "p99": 33000 },
            "server_cpu_us_per_packet": { "total": 1.5, "user": 0.5, "system": 1.0 },
            "packets_per_message": 4.9, "rss_per_viewer_kib": 20.4, "marks": ["noisy"],
        });
        let text = render("facts\n", &[run], &[]);
        let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        let expected =
            "100 burst 15000 0.100 0.72 / 1.57 1.50 (0.50 + 1.00) 4.90 20 1.7 / 33.0 noisy";
        assert_eq!(words.join(" "), expected);
    }
}
