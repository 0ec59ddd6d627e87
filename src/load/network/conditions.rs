//! What a direction does to packets, and how that is written in words.

use std::fmt;
use std::time::Duration;

/// How much may wait in front of the bottleneck; a packet that finds it full is dropped. An idle
/// bottleneck takes any packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// A packet is dropped if those before it take longer than this at the rate of that moment.
    Time(Duration),
    /// A packet is dropped if it and those before it are more bytes than this.
    Bytes(usize),
}

/// Losses that cluster: the two-state chain of Gilbert and Elliott, which moves once per packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Chance that a good packet is followed by the bad state.
    pub enter: f64,
    /// Chance that a packet in the bad state ends it; its reciprocal is the mean length.
    pub leave: f64,
    /// Chance that a packet in the bad state is lost.
    pub loss: f64,
}

/// What a direction does to packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Bits per second of the bottleneck; `None` for a path where nothing ever waits. Zero counts
    /// as one bit per second.
    pub rate_bps: Option<u64>,
    /// What may wait for the bottleneck.
    pub queue: Queue,
    /// One-way travel time behind the bottleneck.
    pub delay: Duration,
    /// Up to this much more, evenly spread. Packets stay in order: one that would overtake comes
    /// together with the one before it.
    pub jitter: Duration,
    /// Chance of a loss, each packet for itself.
    pub loss: f64,
    /// Losses that cluster.
    pub burst: Option<Burst>,
    /// Chance that a packet is held back by `reorder_by` while later ones pass.
    pub reorder: f64,
    /// How long a packet is held back.
    pub reorder_by: Duration,
    /// Chance that a packet comes twice.
    pub duplicate: f64,
    /// Bytes of the largest packet that passes.
    pub mtu: usize,
}

impl Conditions {
    /// A perfect path: no limits, no delay, no loss. The queue of a rate that is set later is
    /// 300 ms, about what a home router has.
    pub const CLEAN: Self = Self {
        rate_bps: None,
        queue: Queue::Time(Duration::from_millis(300)),
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        burst: None,
        reorder: 0.0,
        reorder_by: Duration::ZERO,
        duplicate: 0.0,
        mtu: usize::MAX,
    };

    /// These conditions changed by words: `rate=800k delay=50ms loss=0.05 queue=300ms`.
    ///
    /// | word | values |
    /// |---|---|
    /// | `rate` | bits per second with `k` or `m`, or `none` |
    /// | `queue` | a time (`300ms`, `1s`) or bytes (`64000b`) |
    /// | `delay`, `jitter` | a time |
    /// | `loss`, `duplicate` | a chance from 0 to 1 |
    /// | `burst` | `enter:leave:loss`, three chances, or `none` |
    /// | `reorder` | `chance:time`, or `none` |
    /// | `mtu` | bytes, or `none` |
    ///
    /// # Errors
    /// The word that is not understood, and why.
    pub fn changed(mut self, words: &str) -> Result<Self, String> {
        for word in words.split_whitespace() {
            let (name, value) =
                word.split_once('=').ok_or_else(|| format!("{word}: wanted name=value"))?;
            self.change(name, value).ok_or_else(|| format!("{word}: not understood"))?;
        }
        Ok(self)
    }

    fn change(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "rate" => self.rate_bps = or_none(value, rate)?,
            "queue" => self.queue = queue(value)?,
            "delay" => self.delay = time(value)?,
            "jitter" => self.jitter = time(value)?,
            "loss" => self.loss = chance(value)?,
            "duplicate" => self.duplicate = chance(value)?,
            "burst" => self.burst = or_none(value, burst)?,
            "reorder" => {
                (self.reorder, self.reorder_by) = or_none(value, held)?.unwrap_or_default()
            }
            "mtu" => self.mtu = or_none(value, |v| v.parse().ok())?.unwrap_or(usize::MAX),
            _ => return None,
        }
        Some(())
    }
}

/// The words that [`Conditions::changed`] reads, all of them.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate_bps {
            Some(rate) => write!(f, "rate={rate}")?,
            None => write!(f, "rate=none")?,
        }
        match self.queue {
            Queue::Time(time) => write!(f, " queue={}us", time.as_micros())?,
            Queue::Bytes(bytes) => write!(f, " queue={bytes}b")?,
        }
        write!(f, " delay={}us jitter={}us", self.delay.as_micros(), self.jitter.as_micros())?;
        write!(f, " loss={} duplicate={}", self.loss, self.duplicate)?;
        match self.burst {
            Some(Burst { enter, leave, loss }) => write!(f, " burst={enter}:{leave}:{loss}")?,
            None => write!(f, " burst=none")?,
        }
        write!(f, " reorder={}:{}us", self.reorder, self.reorder_by.as_micros())?;
        match self.mtu {
            usize::MAX => write!(f, " mtu=none"),
            mtu => write!(f, " mtu={mtu}"),
        }
    }
}

fn or_none<T>(value: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if value == "none" { Some(None) } else { parse(value).map(Some) }
}

fn rate(value: &str) -> Option<u64> {
    let (digits, unit) = match value.as_bytes().last()? {
        b'k' => (&value[..value.len() - 1], 1e3),
        b'm' => (&value[..value.len() - 1], 1e6),
        _ => (value, 1.0),
    };
    Some((positive(digits)? * unit) as u64)
}

fn queue(value: &str) -> Option<Queue> {
    match value.strip_suffix('b') {
        Some(bytes) => bytes.parse().ok().map(Queue::Bytes),
        None => time(value).map(Queue::Time),
    }
}

fn time(value: &str) -> Option<Duration> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (digits, unit) =
        units.iter().find_map(|(unit, size)| Some((value.strip_suffix(unit)?, size)))?;
    Duration::try_from_secs_f64(positive(digits)? * unit).ok()
}

fn chance(value: &str) -> Option<f64> {
    positive(value).filter(|chance| *chance <= 1.0)
}

fn burst(value: &str) -> Option<Burst> {
    let mut parts = value.split(':').map(chance);
    let burst = Burst { enter: parts.next()??, leave: parts.next()??, loss: parts.next()?? };
    parts.next().is_none().then_some(burst)
}

fn held(value: &str) -> Option<(f64, Duration)> {
    let (often, long) = value.split_once(':')?;
    Some((chance(often)?, time(long)?))
}

fn positive(digits: &str) -> Option<f64> {
    digits.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}
