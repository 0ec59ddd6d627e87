//! The bandwidth estimator on modelled bottlenecks, in virtual time and from committed seeds.
//!
//! `cargo test --test estimator -- --nocapture` prints the tables of `docs/congestion.md`.

mod judge;
mod media;
mod scenarios;
mod sim;

use greenroom::load::network::Conditions;
use greenroom::sfu::bandwidth::estimator::EstimatorConfig;

use judge::Outcome;
use scenarios::{SCENARIOS, Scenario};
use sim::World;

/// Every scenario runs with these.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;
/// Two viewers share a link from these.
const PAIR_SEEDS: std::ops::RangeInclusive<u64> = 1..=10;
/// How long both viewers share a link before it counts, and until when.
const SHARED: (u64, u64) = (25_000, 65_000);
/// A viewer gets its part within this share.
const FAIR: f64 = 0.25;

fn conditions(words: &str) -> Conditions {
    Conditions::CLEAN.changed(words).expect("the table is right")
}

fn run(scenario: &Scenario, seed: u64) -> World {
    let down = conditions(scenario.down);
    let mut world = World::new(seed, down, conditions(scenario.up));
    let mut steps = Vec::new();
    for (second, words) in scenario.steps {
        let changed = down.changed(words).expect("the table is right");
        steps.push((world.at(second * 1000), changed));
    }
    world.link.down.schedule(steps);
    for second in scenario.outages {
        world.link.down.outage(world.at(second * 1000), world.at(second * 1000 + 300));
    }
    world.cross =
        scenario.cross.iter().map(|(bps, from, until)| (*bps, from * 1000, until * 1000)).collect();
    world.join(seed, scenario.top, EstimatorConfig::default());
    for (second, top) in scenario.tops {
        world.run_until(second * 1000);
        world.set_top(0, *top);
    }
    world.run_until(scenario.seconds * 1000);
    world
}

/// The layer that is wanted in a second.
fn top_at(scenario: &Scenario, second: u64) -> usize {
    let changed = scenario.tops.iter().rfind(|(from, _)| *from <= second);
    changed.map_or(scenario.top, |(_, top)| *top)
}

#[test]
fn every_scenario_is_accurate_soon_and_without_a_queue() {
    println!("| scenario | capacity, kbit/s | mean | highest | converged | queue, p95 | probes |");
    println!("|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for scenario in SCENARIOS {
        let worlds: Vec<World> = SEEDS.map(|seed| run(scenario, seed)).collect();
        let probes = worlds.iter().map(|world| {
            let viewer = &world.viewers[0];
            viewer.probe_bytes as f64 / viewer.media_bytes as f64
        });
        let probes = probes.fold(0.0, f64::max);
        for phase in scenario.phases {
            let top = top_at(scenario, phase.from);
            let outcome = worlds
                .iter()
                .map(|world| Outcome::of(phase, top, &world.viewers[0].samples))
                .reduce(Outcome::worse)
                .expect("seeds");
            println!(
                "| {} | {} | {:.0}-{:.0} % | {:.0} % | {:.1} s | {} ms | {:.1} % |",
                scenario.name,
                phase.capacity / 1000,
                outcome.mean.0 * 100.0,
                outcome.mean.1 * 100.0,
                outcome.highest * 100.0,
                outcome.converged_ms as f64 / 1e3,
                outcome.queue.as_millis(),
                probes * 100.0,
            );
            for name in outcome.misses(phase) {
                missed.push(format!("{} from {} s: {name}", scenario.name, phase.from));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Two viewers, the second 5 s later: what media each gets, bit/s, and the mean queue, ms.
fn share(rate_bps: u64, seed: u64, follow: bool) -> ([f64; 2], u128) {
    let down = Conditions { rate_bps: Some(rate_bps), ..conditions("delay=25ms") };
    let mut world = World::new(seed, down, conditions("delay=25ms"));
    for late in [0, 5_000] {
        world.run_until(late);
        world.join(seed + late, 3, EstimatorConfig::default());
        if let (true, Some(viewer)) = (follow, world.viewers.last_mut()) {
            viewer.media.follow();
        }
    }
    world.run_until(SHARED.0);
    let before = [0, 1].map(|viewer| world.viewers[viewer].media_bytes);
    world.run_until(SHARED.1);
    let seconds = (SHARED.1 - SHARED.0) as f64 / 1e3;
    let got = [0, 1].map(|viewer: usize| {
        (world.viewers[viewer].media_bytes - before[viewer]) as f64 * 8.0 / seconds
    });
    let queues = world.viewers[0].samples.iter().filter(|sample| sample.ms >= SHARED.0);
    let queues: Vec<u128> = queues.map(|sample| sample.queue.as_millis()).collect();
    (got, queues.iter().sum::<u128>() / queues.len() as u128)
}

/// Two viewers at one link, from several seeds.
struct Pair {
    mbps: u64,
    /// The source follows the estimate; else it has layers.
    follow: bool,
    /// How far a viewer may be from its part: on average, and in the worst case.
    allowed: Option<(f64, f64)>,
}

/// Layers share fairly where both can have the same one. Where only one can have the next one, it
/// stays with who has it.
const PAIRS: &[Pair] = &[
    Pair { mbps: 2, follow: true, allowed: Some((FAIR, 0.5)) },
    Pair { mbps: 3, follow: true, allowed: Some((FAIR, 0.5)) },
    Pair { mbps: 4, follow: true, allowed: Some((FAIR, 0.5)) },
    Pair { mbps: 6, follow: true, allowed: Some((FAIR, 0.5)) },
    Pair { mbps: 2, follow: false, allowed: None },
    Pair { mbps: 3, follow: false, allowed: None },
    Pair { mbps: 4, follow: false, allowed: Some((FAIR, FAIR)) },
    Pair { mbps: 10, follow: false, allowed: Some((FAIR, FAIR)) },
];

#[test]
fn two_viewers_on_one_bottleneck_share_it() {
    println!("| link, Mbit/s | source | from its part: mean | worst | longest mean queue |");
    println!("|---|---|---|---|---|");
    let mut missed = Vec::new();
    for pair in PAIRS {
        let (mut sum, mut worst, mut longest) = (0.0, 0.0_f64, 0);
        for seed in PAIR_SEEDS {
            let (got, queue) = share(pair.mbps * 1_000_000, seed, pair.follow);
            let off = (got[0] - got[1]).abs() / (got[0] + got[1]);
            (sum, worst, longest) = (sum + off, worst.max(off), longest.max(queue));
        }
        let mean = sum / PAIR_SEEDS.count() as f64;
        let source = if pair.follow { "any rate" } else { "layers" };
        println!(
            "| {} | {source} | {:.0} % | {:.0} % | {longest} ms |",
            pair.mbps,
            mean * 100.0,
            worst * 100.0
        );
        let fair = pair.allowed.is_none_or(|(most, ever)| mean <= most && worst <= ever);
        if !fair || longest >= 100 {
            missed.push(format!("{} Mbit/s, {source}", pair.mbps));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
