//! The table: conditions, media, what must come of it.

/// A path and what happens on it. Words are those of `load::network::Conditions`.
pub struct Scenario {
    pub name: &'static str,
    /// Towards the viewer.
    pub down: &'static str,
    /// From the viewer.
    pub up: &'static str,
    /// Later conditions towards the viewer: (s, words).
    pub steps: &'static [(u64, &'static str)],
    /// Nothing arrives for 300 ms from these seconds on.
    pub outages: &'static [u64],
    /// Later top layers that the viewer wants: (s, layer).
    pub tops: &'static [(u64, usize)],
    /// Flows that do not care: (bit/s, from s, until s).
    pub cross: &'static [(u64, u64, u64)],
    /// The top layer at the start.
    pub top: usize,
    pub seconds: u64,
    pub phases: &'static [Phase],
}

/// A stretch of time with one capacity.
pub struct Phase {
    /// When it begins and ends, s.
    pub from: u64,
    pub until: u64,
    /// What the link leaves for the viewer, bit/s.
    pub capacity: u64,
    /// Time to converge, s; what comes after is steady.
    pub settles: u64,
    /// Highest estimate over the capacity that is allowed.
    pub overshoot: f64,
}

const fn phase(from: u64, until: u64, capacity: u64) -> Phase {
    Phase { from, until, capacity, settles: 5, overshoot: 1.25 }
}

const STILL: Scenario = Scenario {
    name: "",
    down: "",
    up: "delay=25ms",
    steps: &[],
    outages: &[],
    tops: &[],
    cross: &[],
    top: 3,
    seconds: 40,
    phases: &[],
};

const K: u64 = 1000;
const M: u64 = 1_000_000;

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "300 kbit/s",
        down: "rate=300k delay=25ms",
        phases: &[phase(0, 40, 300 * K)],
        ..STILL
    },
    Scenario {
        name: "800 kbit/s",
        down: "rate=800k delay=25ms",
        phases: &[phase(0, 40, 800 * K)],
        ..STILL
    },
    Scenario {
        name: "1.5 Mbit/s",
        down: "rate=1.5m delay=25ms",
        phases: &[phase(0, 40, 1500 * K)],
        ..STILL
    },
    Scenario {
        name: "2.5 Mbit/s",
        down: "rate=2.5m delay=25ms",
        phases: &[phase(0, 40, 2500 * K)],
        ..STILL
    },
    Scenario {
        name: "5 Mbit/s",
        down: "rate=5m delay=25ms",
        phases: &[phase(0, 40, 5 * M)],
        ..STILL
    },
    Scenario {
        name: "50 Mbit/s",
        down: "rate=50m delay=10ms",
        phases: &[phase(0, 40, 50 * M)],
        ..STILL
    },
    Scenario {
        name: "2.5 Mbit/s, 20 ms jitter",
        down: "rate=2.5m delay=25ms jitter=20ms",
        phases: &[phase(0, 40, 2500 * K)],
        ..STILL
    },
    Scenario {
        name: "5 Mbit/s, 40 ms jitter",
        down: "rate=5m delay=25ms jitter=40ms",
        up: "delay=25ms jitter=40ms",
        phases: &[phase(0, 40, 5 * M)],
        ..STILL
    },
    Scenario {
        name: "5 Mbit/s, 5 % loss, 100 ms RTT",
        down: "rate=5m delay=50ms loss=0.05",
        up: "delay=50ms",
        phases: &[phase(0, 40, 5 * M)],
        ..STILL
    },
    Scenario {
        name: "2.5 Mbit/s, 1 % loss both ways",
        down: "rate=2.5m delay=25ms loss=0.01",
        up: "delay=25ms loss=0.01",
        phases: &[phase(0, 40, 2500 * K)],
        ..STILL
    },
    Scenario {
        name: "2.5 Mbit/s, bursts of loss",
        down: "rate=2.5m delay=25ms burst=0.001:0.1:0.8",
        phases: &[phase(0, 40, 2500 * K)],
        ..STILL
    },
    Scenario {
        name: "2.5 Mbit/s, reordered, duplicated",
        down: "rate=2.5m delay=25ms reorder=0.02:15ms duplicate=0.01",
        phases: &[phase(0, 40, 2500 * K)],
        ..STILL
    },
    Scenario {
        name: "2.5 Mbit/s, a fifth of feedback lost",
        down: "rate=2.5m delay=25ms",
        up: "delay=25ms loss=0.2",
        phases: &[phase(0, 40, 2500 * K)],
        ..STILL
    },
    Scenario {
        name: "2.5 Mbit/s, 300 ms RTT",
        down: "rate=2.5m delay=150ms",
        up: "delay=150ms",
        phases: &[phase(0, 40, 2500 * K)],
        ..STILL
    },
    Scenario {
        name: "2.5 Mbit/s, queue of 100 ms",
        down: "rate=2.5m delay=25ms queue=100ms",
        phases: &[phase(0, 40, 2500 * K)],
        ..STILL
    },
    Scenario {
        name: "bufferbloat: 1 Mbit/s, queue of 1 s",
        down: "rate=1m delay=25ms queue=1s",
        phases: &[phase(0, 40, M)],
        ..STILL
    },
    Scenario {
        name: "5, then 0.8, then 5 Mbit/s",
        down: "rate=5m delay=25ms",
        steps: &[(20, "rate=0.8m"), (40, "rate=5m")],
        seconds: 60,
        phases: &[phase(0, 20, 5 * M), phase(20, 40, 800 * K), phase(40, 60, 5 * M)],
        ..STILL
    },
    Scenario {
        name: "1, 3, 2, 0.5 Mbit/s",
        down: "rate=1m delay=25ms",
        steps: &[(15, "rate=3m"), (30, "rate=2m"), (45, "rate=0.5m")],
        seconds: 60,
        phases: &[
            phase(0, 15, M),
            phase(15, 30, 3 * M),
            phase(30, 45, 2 * M),
            phase(45, 60, 500 * K),
        ],
        ..STILL
    },
    Scenario {
        name: "3 Mbit/s, a flow of 1.5 Mbit/s comes and goes",
        down: "rate=3m delay=25ms",
        cross: &[(1500 * K, 20, 40)],
        seconds: 60,
        // A probe takes its part from a flow that does not yield for a moment, and is believed until the
        // queue tells; after some failures it takes longer to look again.
        phases: &[
            phase(0, 20, 3 * M),
            Phase { overshoot: 1.75, ..phase(20, 40, 1500 * K) },
            Phase { settles: 14, ..phase(40, 60, 3 * M) },
        ],
        ..STILL
    },
    Scenario {
        name: "3 Mbit/s, a small picture, then the large one",
        down: "rate=3m delay=25ms",
        top: 0,
        tops: &[(20, 3)],
        phases: &[phase(0, 20, 3 * M), phase(20, 40, 3 * M)],
        ..STILL
    },
    Scenario {
        name: "5 Mbit/s, away for 300 ms twice",
        down: "rate=5m delay=25ms",
        outages: &[15, 30],
        phases: &[phase(0, 40, 5 * M)],
        ..STILL
    },
];
