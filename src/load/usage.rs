//! CPU time and memory of a process, and of the machine, from /proc.

use std::fs::read_to_string;

use anyhow::Context;

/// Ticks of /proc per second; Linux has fixed it at 100 for user space.
const TICK_US: u64 = 10_000;

/// CPU time, µs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    pub user_us: u64,
    pub system_us: u64,
}

impl Cpu {
    pub const fn total_us(self) -> u64 {
        self.user_us + self.system_us
    }

    pub const fn since(self, before: Self) -> Self {
        Self {
            user_us: self.user_us.saturating_sub(before.user_us),
            system_us: self.system_us.saturating_sub(before.system_us),
        }
    }
}

/// CPU time of a process with all its threads, also ended ones. Exact to a tick of 10 ms.
pub fn cpu(pid: u32) -> anyhow::Result<Cpu> {
    let path = format!("/proc/{pid}/stat");
    let stat = read_to_string(&path).with_context(|| format!("{path}: is --pid right?"))?;
    parse_stat(&stat).with_context(|| format!("{path} is not understood"))
}

/// Fields 14 and 15, counted behind the command, which may contain anything.
fn parse_stat(stat: &str) -> Option<Cpu> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(Cpu { user_us: user * TICK_US, system_us: system * TICK_US })
}

/// Resident memory of a process, KiB.
pub fn rss_kib(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = read_to_string(&path).with_context(|| format!("{path}: is --pid right?"))?;
    parse_rss(&rollup).with_context(|| format!("{path} is not understood"))
}

fn parse_rss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time of the whole machine, µs over all cores: busy and in all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    pub busy_us: u64,
    pub all_us: u64,
}

pub fn machine() -> anyhow::Result<Machine> {
    parse_machine(&read_to_string("/proc/stat")?).context("/proc/stat is not understood")
}

fn parse_machine(stat: &str) -> Option<Machine> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // user nice system idle iowait irq softirq steal; guest time is inside user.
    let fields: Vec<u64> =
        line.split_whitespace().take(8).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let all: u64 = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(Machine { busy_us: (all - idle) * TICK_US, all_us: all * TICK_US })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc() {
        let stat = "12 (a) b) S 1 1 1 0 -1 4194304 1 0 0 0 345 67 0 0 20 0 5 0 9";
        let cpu = parse_stat(stat).unwrap();
        assert_eq!(cpu, Cpu { user_us: 3_450_000, system_us: 670_000 });
        assert_eq!(cpu.since(Cpu { user_us: 1, system_us: 0 }).total_us(), 4_119_999);
        assert_eq!(parse_stat("12 (a) S 1"), None);
        assert_eq!(parse_rss("00-ff [rollup]\nRss:    1234 kB\nPss: 5 kB\n"), Some(1234));
        let machine = parse_machine("cpu  1 2 3 40 5 6 7 8 9 9\ncpu0 1").unwrap();
        assert_eq!((machine.busy_us, machine.all_us), (270_000, 720_000));
    }

    #[test]
    fn of_this_process() {
        assert!(rss_kib(std::process::id()).unwrap() > 100);
        assert!(cpu(std::process::id()).is_ok() && machine().unwrap().all_us > 0);
        assert!(cpu(u32::MAX).is_err());
    }
}
