//! What a run measured, as a table or as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::load::histogram::Histogram;
use crate::load::usage::Cpu;
use crate::load::viewer::Totals;

/// Above this share the machine is too busy for its delays to mean anything.
const OVERLOADED: f64 = 0.93;
/// Above this share of all cores others disturb the measurement.
const NOISY: f64 = 0.15;
/// A client that reads this late (p99, µs) took the CPU of those it measures.
const LAGGING_US: u64 = 10_000;
/// A publisher this late did not send what it says.
const LATE: Duration = Duration::from_millis(20);

/// The numbers of one run.
#[derive(Default)]
pub struct Report {
    pub(crate) viewers: usize,
    pub(crate) with_media: usize,
    pub(crate) failures: usize,
    /// SRTP profile of the viewers.
    pub(crate) profile: &'static str,
    pub(crate) seconds: f64,
    /// Video and audio packets sent in the window.
    pub(crate) sent: [u64; 2],
    pub(crate) server: Option<Cpu>,
    pub(crate) own: Cpu,
    pub(crate) busy_us: u64,
    pub(crate) machine_us: u64,
    /// Before the first and after the last viewer, KiB.
    pub(crate) rss: Option<(u64, u64)>,
    pub(crate) join_time: Duration,
    /// POST -> first media packet, µs.
    pub(crate) join: Histogram,
    pub(crate) publisher_late_us: u64,
    pub(crate) key_frames_asked: u64,
    pub(crate) nacked: u64,
    /// Packets that the worst viewer got.
    pub(crate) worst_viewer: u64,
    pub(crate) totals: Totals,
}

impl Report {
    fn delivered(&self) -> u64 {
        self.totals.video + self.totals.audio
    }

    /// Packets that did not reach a viewer with a session, of all that should have.
    fn loss(&self) -> f64 {
        let due = self.sent.iter().sum::<u64>() * self.with_media as u64;
        1.0 - self.delivered() as f64 / due.max(1) as f64
    }

    fn per_packet(&self, us: u64) -> f64 {
        us as f64 / self.delivered().max(1) as f64
    }

    fn rss_per_viewer_kib(&self) -> Option<f64> {
        self.rss.map(|(before, after)| (after as f64 - before as f64) / self.with_media as f64)
    }

    fn busy(&self) -> f64 {
        self.busy_us as f64 / self.machine_us.max(1) as f64
    }

    fn others(&self) -> f64 {
        let ours = self.own.total_us() + self.server.unwrap_or_default().total_us();
        self.busy_us.saturating_sub(ours) as f64 / self.machine_us.max(1) as f64
    }

    /// What makes the figures doubtful.
    fn marks(&self) -> Vec<&'static str> {
        let late = u128::from(self.publisher_late_us) > LATE.as_micros();
        // Without --pid the server's own work counts as work of others.
        let noisy = self.server.is_some() && self.others() > NOISY;
        [
            (self.busy() > OVERLOADED, "overloaded"),
            (noisy, "noisy"),
            (late, "publisher_late"),
            (self.totals.lag.percentile(0.99) > Some(LAGGING_US), "client_late"),
            (self.with_media < self.viewers, "viewers_missing"),
        ]
        .into_iter()
        .filter_map(|(is, mark)| is.then_some(mark))
        .collect()
    }

    /// As one object; `docs/performance.md` explains the figures.
    #[must_use]
    pub fn json(&self) -> Value {
        let totals = &self.totals;
        json!({
            "viewers": self.viewers,
            "viewers_with_media": self.with_media,
            "failures": self.failures,
            "srtp_profile": self.profile,
            "seconds": self.seconds,
            "sent": { "video": self.sent[0], "audio": self.sent[1] },
            "delivered": { "video": totals.video, "audio": totals.audio },
            "delivered_per_s": self.delivered() as f64 / self.seconds,
            "loss": self.loss(),
            "worst_viewer_packets": self.worst_viewer,
            "duplicates": totals.duplicates,
            "reordered": totals.reordered,
            "corrupt": totals.corrupt,
            "delay_us": percentiles(&totals.delay),
            "client_lag_us": percentiles(&totals.lag),
            "join_us": percentiles(&self.join),
            "join_all_s": self.join_time.as_secs_f64(),
            "server_cpu_us_per_packet": self.server.map(|cpu| json!({
                "total": self.per_packet(cpu.total_us()),
                "user": self.per_packet(cpu.user_us),
                "system": self.per_packet(cpu.system_us),
            })),
            "server_cpu_us": self.server.map(Cpu::total_us),
            "client_cpu_us": self.own.total_us(),
            "machine_busy": self.busy(),
            "others_busy": self.server.map(|_| self.others()),
            "rss_kib": self.rss.map(|(before, after)| json!({ "before": before, "after": after })),
            "rss_per_viewer_kib": self.rss_per_viewer_kib(),
            "publisher_late_us": self.publisher_late_us,
            "key_frames_asked": self.key_frames_asked,
            "nacked": self.nacked,
            "marks": self.marks(),
        })
    }

    /// As lines for people.
    #[must_use]
    pub fn table(&self) -> String {
        let totals = &self.totals;
        let rss = match (self.rss, self.rss_per_viewer_kib()) {
            (Some((before, after)), Some(each)) => {
                format!("{each:.0} KiB ({before} -> {after} KiB)")
            }
            _ => "needs --pid".to_owned(),
        };
        let marks = self.marks();
        let rows = [
            ("viewers with media", format!("{} of {}", self.with_media, self.viewers)),
            ("SRTP profile", self.profile.to_owned()),
            ("delivered", format!("{:.0} packets/s", self.delivered() as f64 / self.seconds)),
            ("loss", format!("{:.3} %", self.loss() * 100.0)),
            (
                "duplicates, reordered, corrupt",
                format!("{}, {}, {}", totals.duplicates, totals.reordered, totals.corrupt),
            ),
            ("delay to the viewer's socket", line(&totals.delay)),
            ("client lag behind that", line(&totals.lag)),
            ("join, POST to first packet", line(&self.join)),
            ("everybody joined in", format!("{:.2} s", self.join_time.as_secs_f64())),
            ("server CPU per packet", self.cpu_line()),
            ("server RSS per viewer", rss),
            (
                "key frames asked, NACKed packets",
                format!("{}, {}", self.key_frames_asked, self.nacked),
            ),
            (
                "machine",
                format!(
                    "{:.0} % busy; client {:.0} % of a core; publisher late by at most {:.1} ms",
                    self.busy() * 100.0,
                    self.own.total_us() as f64 / self.seconds / 10_000.0,
                    self.publisher_late_us as f64 / 1000.0
                ),
            ),
            ("doubts", if marks.is_empty() { "none".to_owned() } else { marks.join(", ") }),
        ];
        rows.iter().map(|(name, value)| format!("{name:<34}{value}\n")).collect()
    }

    fn cpu_line(&self) -> String {
        let Some(cpu) = self.server else { return "needs --pid".to_owned() };
        format!(
            "{:.2} µs (user {:.2}, system {:.2}); {:.1} % of a core",
            self.per_packet(cpu.total_us()),
            self.per_packet(cpu.user_us),
            self.per_packet(cpu.system_us),
            cpu.total_us() as f64 / self.seconds / 10_000.0
        )
    }
}

fn percentiles(histogram: &Histogram) -> Value {
    json!({
        "p50": histogram.percentile(0.5),
        "p99": histogram.percentile(0.99),
        "p999": histogram.percentile(0.999),
        "max": histogram.max(),
    })
}

fn line(histogram: &Histogram) -> String {
    let ms = |share| histogram.percentile(share).unwrap_or(0) as f64 / 1000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", ms(0.5), ms(0.99), ms(0.999))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            viewers: 10,
            with_media: 10,
            seconds: 10.0,
            sent: [1000, 0],
            server: Some(Cpu { user_us: 9_000, system_us: 9_000 }),
            own: Cpu { user_us: 100_000, system_us: 0 },
            busy_us: 200_000,
            machine_us: 20_000_000,
            rss: Some((1000, 1640)),
            totals: Totals { video: 9_000, ..Totals::default() },
            ..Report::default()
        }
    }

    #[test]
    fn cost_is_of_delivered_packets() {
        let json = report().json();
        assert_eq!(json["server_cpu_us_per_packet"]["total"], 2.0);
        assert_eq!(json["delivered_per_s"], 900.0);
        assert!((report().loss() - 0.1).abs() < 1e-9);
        assert_eq!(json["rss_per_viewer_kib"], 64.0);
        assert_eq!(json["marks"], json!([]));
        assert!(report().table().contains("2.00 µs (user 1.00, system 1.00)"));
    }

    #[test]
    fn doubts() {
        let busy = Report { busy_us: 19_000_000, with_media: 9, ..report() };
        assert_eq!(busy.marks(), ["overloaded", "noisy", "viewers_missing"]);
        let late = Report { publisher_late_us: 20_001, ..report() };
        assert_eq!(late.marks(), ["publisher_late"]);
        let mut lagging = report();
        lagging.totals.lag.record(LAGGING_US + 1);
        assert_eq!(lagging.marks(), ["client_late"]);
    }
}
