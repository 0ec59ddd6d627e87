//! `greenroom bench`: a server and synthetic viewers on this machine, and what a forwarded packet
//! costs.

mod facts;
mod server;
mod table;

use anyhow::{Context, bail};
use clap::{Args, Parser, ValueEnum};
use greenroom::load::floor::{Floor, FloorOptions};
use greenroom::load::{Options, run_as};
use serde_json::{Value, json};

use self::server::Child;
use super::Cli;

/// What to measure.
///
/// Starts a server of its own for every row, on free loopback ports with a folder of its own, and
/// loads it from this process. `docs/performance.md` says how to read the table. Close what else
/// runs on the machine first.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Viewers; a list is measured one after the other
    #[arg(long, value_delimiter = ',', default_value = "10,100,400")]
    viewers: Vec<usize>,
    /// How the publisher sends the packets of a frame
    #[arg(long, value_delimiter = ',', value_enum, default_value = "burst,spread")]
    shape: Vec<Shape>,
    /// Seconds that each row is measured, from when everybody has media
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Leave out the yardstick: what sealing and sending alone cost here
    #[arg(long)]
    no_floor: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// More options of `examples/load`, such as `-- --audio --packets-per-frame 10`
    #[arg(last = true, value_name = "LOAD OPTION")]
    load: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// All at once, as a screen share or a fast encoder does
    Burst,
    /// Evenly over the frame time, as a pacing browser does
    Spread,
}

/// Print the table.
pub(crate) fn run(cli: &Cli, bench: &Bench) -> anyhow::Result<()> {
    let rows: Vec<(Shape, usize)> = bench
        .shape
        .iter()
        .flat_map(|shape| bench.viewers.iter().map(|viewers| (*shape, *viewers)))
        .collect();
    // All of it is checked before the first minute is spent.
    let options = rows.iter().map(|row| bench.options(*row)).collect::<anyhow::Result<Vec<_>>>()?;
    server::end_on_signal()?;
    let mut results = Vec::new();
    for (at, ((shape, viewers), options)) in rows.iter().zip(options).enumerate() {
        eprintln!("{} of {}: {viewers} viewers, {}", at + 1, rows.len(), shape.name());
        results.push(measure(cli, *shape, options)?);
    }
    let floors = if bench.no_floor { Vec::new() } else { bench.floors()? };
    if bench.json {
        let floors: Vec<Value> = floors.iter().map(Floor::json).collect();
        let all = json!({ "machine": facts::json(), "runs": results, "floor": floors });
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        print!("{}", table::render(&facts::lines(), &results, &floors));
    }
    Ok(())
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Spread => "spread",
        }
    }
}

impl Bench {
    fn options(&self, (shape, viewers): (Shape, usize)) -> anyhow::Result<Options> {
        let own = [
            "load".to_owned(),
            format!("--viewers={viewers}"),
            format!("--duration={}", self.seconds),
        ];
        let spread = (shape == Shape::Spread).then(|| "--spread".to_owned());
        let words = own.into_iter().chain(spread).chain(self.load.iter().cloned());
        let options = Options::try_parse_from(words).context("options of the load client")?;
        options.check().map_err(|wrong| anyhow::anyhow!(wrong))?;
        Ok(options)
    }

    /// The yardstick, for as many sockets and packets as the rows have.
    fn floors(&self) -> anyhow::Result<Vec<Floor>> {
        let load = self.options((Shape::Burst, 1))?;
        let packets = usize::from(load.packets_per_frame).min(16);
        let options = FloorOptions {
            viewers: self.viewers.clone(),
            packets_per_frame: vec![packets],
            fps: load.fps.max(1.0),
            packet_bytes: load.packet_bytes.min(1300),
            seconds: 2.0,
            blackhole: None,
            json: false,
        };
        let measured = self.viewers.iter().map(|viewers| {
            eprintln!("yardstick: {viewers} sockets");
            Floor::measure(&options, *viewers, packets)
        });
        measured.collect()
    }
}

fn measure(cli: &Cli, shape: Shape, mut options: Options) -> anyhow::Result<Value> {
    let server = Child::start(&cli.options.set)?;
    options.url = server.url().to_owned();
    options.pid = Some(server.pid());
    let tokens = server.tokens(&options.room, options.watching())?;
    let before = server.sent(options.tcp)?;
    let report = run_as(&options, tokens).map_err(|error| server.explain(error))?;
    let (messages, packets) = server.sent(options.tcp)?;
    let sent = (messages - before.0, packets - before.1);
    let mut row = report.json();
    let Some(object) = row.as_object_mut() else { bail!("a report is an object") };
    object.insert("shape".into(), json!(shape.name()));
    object.insert("packets_per_message".into(), json!(sent.1 / sent.0.max(1.0)));
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_options_are_checked_first() {
        let cli = |more: &[&str]| {
            Cli::try_parse_from(["greenroom", "bench"].iter().chain(more)).map(|cli| {
                let Some(super::super::Command::Bench(bench)) = cli.command else { panic!() };
                bench
            })
        };
        let bench = cli(&["--viewers", "5,6", "--", "--audio"]).unwrap();
        let options = bench.options((Shape::Spread, 6)).unwrap();
        assert!(options.audio && options.spread && options.viewers == 6);
        assert!(cli(&["--", "--nonsense"]).unwrap().options((Shape::Burst, 5)).is_err());
        assert!(cli(&["--seconds=-1"]).unwrap().options((Shape::Burst, 5)).is_err());
        assert!(cli(&["--shape", "round"]).is_err());
    }
}
