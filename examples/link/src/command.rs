//! Lines of commands, and their answers.

use std::time::{Duration, Instant};

use greenroom::load::network::{Conditions, Counts, Direction, Link};
use serde_json::{Value, json};

/// One number for each direction.
#[derive(Debug, Default)]
pub struct Both<T> {
    pub up: T,
    pub down: T,
}

/// What the model does not do or count.
#[derive(Debug, Default)]
pub struct Totals {
    /// Whether UDP is dropped, as by a firewall.
    pub udp_blocked: bool,
    /// UDP packets that were dropped for it.
    pub blocked: Both<u64>,
    /// Packets that the receiving device did not take, as it was down.
    pub refused: Both<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
    Both,
}

/// A line of standard input.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Change conditions; the words are checked against those in force.
    Change(Way, String),
    /// Lose everything for this long.
    Outage(Way, Duration),
    /// Drop UDP both ways from now on, or no more.
    BlockUdp(bool),
    /// What happened since the last time.
    Stats,
}

impl Command {
    /// # Errors
    /// The line is no command; the text says which there are.
    pub fn parse(line: &str) -> Result<Self, String> {
        let (name, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match (name, way(name), rest.trim().split_once(' ')) {
            ("stats", ..) => Ok(Self::Stats),
            ("block" | "allow", ..) if rest.trim() == "udp" => Ok(Self::BlockUdp(name == "block")),
            (_, Some(way), _) => Ok(Self::Change(way, rest.to_owned())),
            ("outage", _, Some((direction, time))) => {
                let way = way(direction).ok_or_else(|| format!("{direction}: up, down or both"))?;
                // The words of conditions know times already.
                let words = format!("delay={}", time.trim());
                let time =
                    Conditions::CLEAN.changed(&words).map_err(|_| format!("{time}: no time"))?;
                Ok(Self::Outage(way, time.delay))
            }
            _ => Err(format!("{line}: wanted up, down, both, outage, block, allow or stats")),
        }
    }

    /// Do it; the answer.
    ///
    /// # Errors
    /// A word of the conditions is not understood; nothing has changed then.
    pub fn obey(
        self,
        now: Instant,
        link: &mut Link<Vec<u8>>,
        totals: &mut Totals,
    ) -> Result<Value, String> {
        match self {
            Self::Change(way, words) => {
                let up = link.up.conditions().changed(&words)?;
                let down = link.down.conditions().changed(&words)?;
                if way != Way::Down {
                    link.up.set(now, up);
                }
                if way != Way::Up {
                    link.down.set(now, down);
                }
            }
            Self::Outage(way, time) => {
                if way != Way::Down {
                    link.up.outage(now, now + time);
                }
                if way != Way::Up {
                    link.down.outage(now, now + time);
                }
            }
            Self::BlockUdp(blocked) => totals.udp_blocked = blocked,
            Self::Stats => {
                let refused = std::mem::take(&mut totals.refused);
                let blocked = std::mem::take(&mut totals.blocked);
                let up = stats(now, &mut link.up, refused.up, blocked.up);
                let down = stats(now, &mut link.down, refused.down, blocked.down);
                return Ok(json!({ "up": up, "down": down }));
            }
        }
        let (up, down) = (link.up.conditions(), link.down.conditions());
        Ok(json!({ "ok": { "up": up.to_string(), "down": down.to_string() } }))
    }
}

fn way(word: &str) -> Option<Way> {
    match word {
        "up" => Some(Way::Up),
        "down" => Some(Way::Down),
        "both" => Some(Way::Both),
        _ => None,
    }
}

/// Times in milliseconds.
fn stats(now: Instant, direction: &mut Direction<Vec<u8>>, refused: u64, blocked: u64) -> Value {
    let queue_now = direction.queue_delay(now);
    let on_their_way = direction.on_their_way();
    let counts = direction.take_counts();
    let Counts { sent, sent_bytes, delivered, delivered_bytes, .. } = counts;
    let Counts { lost_mtu, lost_queue, lost_outage, lost_burst, lost_random, .. } = counts;
    let ms = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
    json!({
        "sent": sent, "sentBytes": sent_bytes,
        "delivered": delivered, "deliveredBytes": delivered_bytes,
        "lost": {
            "mtu": lost_mtu, "queue": lost_queue, "outage": lost_outage,
            "burst": lost_burst, "random": lost_random, "blocked": blocked,
        },
        "duplicated": counts.duplicated, "heldBack": counts.held_back,
        "onTheirWay": on_their_way, "refused": refused,
        "waitMs": {
            "mean": ms(counts.mean_wait()), "longest": ms(counts.longest_wait), "now": ms(queue_now),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands() {
        let words = "rate=800k delay=50ms loss=0.05 queue=300ms";
        let parse = |line: &str| Command::parse(line).unwrap();
        assert_eq!(parse(&format!("down {words}")), Command::Change(Way::Down, words.into()));
        assert_eq!(parse("both loss=0\n"), Command::Change(Way::Both, "loss=0".into()));
        assert_eq!(parse("outage up 300ms"), Command::Outage(Way::Up, Duration::from_millis(300)));
        assert_eq!(parse("stats"), Command::Stats);
        assert_eq!(parse("block udp"), Command::BlockUdp(true));
        assert_eq!(parse("allow udp"), Command::BlockUdp(false));
        for wrong in [
            "",
            "sideways loss=1",
            "outage",
            "outage up",
            "outage up 300",
            "outage x 1s",
            "block tcp",
        ] {
            assert!(Command::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some start of virtual time")]
    fn commands_change_the_link_and_stats_tell() {
        let now = Instant::now();
        let mut link = Link::symmetric(1, Conditions::CLEAN);
        let mut totals = Totals::default();
        let mut obey = |link: &mut Link<Vec<u8>>, line: &str| {
            Command::parse(line).unwrap().obey(now, link, &mut totals)
        };
        obey(&mut link, "down delay=50ms").unwrap();
        obey(&mut link, "outage up 1s").unwrap();
        assert!(obey(&mut link, "both loss=0.1 speed=1").is_err());
        assert_eq!(link.down.conditions().loss, 0.0, "all words or none");
        link.up.push(now, 100, vec![]);
        link.down.push(now, 200, vec![]);
        let stats = obey(&mut link, "stats").unwrap();
        assert_eq!(
            (&stats["up"]["lost"]["outage"], &stats["up"]["sentBytes"]),
            (&json!(1), &json!(100))
        );
        assert_eq!(
            (&stats["down"]["delivered"], &stats["down"]["onTheirWay"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(obey(&mut link, "stats").unwrap()["up"]["sent"], json!(0), "counted anew");
    }
}
