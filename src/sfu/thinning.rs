//! Layers inside one stream: which a packet belongs to, what of a slab an operating point takes, and where it may change.
//!
//! What is left out is counted where packets come in, once for all viewers: every slab carries how many packets
//! before it each operating point left out. A viewer's outgoing number is then the incoming one less that count, plus
//! a constant, and a NACK is still answered by arithmetic. A hole counts as taken by every point, because nobody knows
//! what was in it; should a packet that a viewer does not take fill it, the viewer gets an empty one.

use crate::rtp::codec::FrameFacts;
use crate::rtp::dependency::Dependency;
use crate::rtp::track::Codec;

/// Spatial and temporal ids told apart; what is above counts as the highest. Trade: three of each is what browsers
/// send, and each more makes every slab carry more counts.
pub const LEVELS: usize = 3;
/// Operating points.
pub const POINTS: usize = LEVELS * LEVELS;
const TOP: u8 = LEVELS as u8 - 1;

/// What a viewer takes of a stream: layers up to these, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Highest spatial layer.
    pub spatial: u8,
    /// Highest temporal layer.
    pub temporal: u8,
}

impl Point {
    /// Everything.
    pub const ALL: Self = Self { spatial: TOP, temporal: TOP };

    /// What a viewer can make use of in a stream of this codec. Of AV1 without dependency descriptors the lowest spatial
    /// layer: Chromium (156) shows nothing of pictures that have more than one.
    #[must_use]
    pub const fn usable(self, codec: Codec, reads_descriptors: bool) -> Self {
        match codec {
            Codec::Av1 if !reads_descriptors => Self { spatial: 0, ..self },
            _ => self,
        }
    }

    /// Index among [`POINTS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.spatial as usize * LEVELS + self.temporal as usize
    }
}

/// A frame of temporal layer at most `from` or above tells: who has taken everything up to `from` can take everything
/// up to `to` from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchUp {
    /// What must have been taken so far.
    pub from: u8,
    /// What can be taken then.
    pub to: u8,
}

/// What a packet says about the layers of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketLayers {
    /// It says so; else it may be of any.
    pub known: bool,
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// Where this frame lets viewers switch up.
    pub switch_up: Option<SwitchUp>,
    /// It begins the frame of its spatial layer.
    pub begins_frame: bool,
    /// Spatial layers, one bit each, that who takes its frame can take from here on.
    pub opens: u8,
    /// It ends the frame of its spatial layer.
    pub ends_frame: bool,
}

impl PacketLayers {
    /// From the codec's own descriptor, or for AV1 from the dependency descriptor.
    #[must_use]
    pub fn of(codec: Codec, facts: &FrameFacts, dependency: Option<Dependency>) -> Self {
        let temporal = facts.temporal_id.unwrap_or(0);
        let known = facts.temporal_id.is_some() || facts.spatial_id.is_some();
        let up = |from, to| facts.layer_sync.then_some(SwitchUp { from, to });
        match codec {
            // Y: the frame needs the base layer alone (RFC 7741 4.2). One step, since the layer between may need its
            // own frames from before.
            Codec::Vp8 => {
                let switch_up = temporal.checked_sub(1).and_then(|from| up(from, temporal));
                let begins_frame = facts.frame_start;
                Self { known, temporal, switch_up, begins_frame, ..Self::default() }
            }
            // U: higher frames from here on need nothing from before of a layer above this one (RFC 9628 4.2).
            Codec::Vp9 => Self {
                known,
                spatial: facts.spatial_id.unwrap_or(0),
                temporal,
                switch_up: up(temporal, TOP),
                begins_frame: facts.frame_start,
                // A frame that needs no picture before it opens its own layer.
                opens: match facts.spatial_id {
                    Some(spatial) if facts.frame_start && !facts.inter_predicted => 1 << spatial,
                    _ => 0,
                },
                ends_frame: facts.frame_end,
            },
            // Its payload names layers in the first packet of an OBU only.
            Codec::Av1 => dependency.map_or(Self::default(), |frame| {
                let (from, to) = (frame.temporal, frame.switch_up_to);
                Self {
                    known: true,
                    spatial: frame.spatial,
                    temporal: frame.temporal,
                    switch_up: (to > from).then_some(SwitchUp { from, to }),
                    opens: frame.opens,
                    begins_frame: frame.first,
                    ends_frame: frame.last,
                }
            }),
            Codec::H264 | Codec::Opus => Self::default(),
        }
    }

    fn clamped(self) -> Self {
        Self { spatial: self.spatial.min(TOP), temporal: self.temporal.min(TOP), ..self }
    }

    /// One bit per spatial level: the viewers for whom this packet ends the picture.
    #[must_use]
    pub const fn markers(&self, marker: bool) -> u8 {
        if marker {
            u8::MAX
        } else if self.ends_frame && self.spatial < TOP {
            1 << self.spatial
        } else {
            0
        }
    }

    const fn is_taken(&self, point: Point) -> bool {
        self.spatial <= point.spatial && self.temporal <= point.temporal
    }
}

/// The layers of a slab's packets. They are of one picture, so of one temporal layer, and their spatial layers rise: what
/// an operating point takes is the beginning of the slab, or nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    temporal: u8,
    /// Of the last packet.
    spatial: u8,
    /// Packets of each spatial level and those below.
    ends: [u8; LEVELS],
    /// Packets before the slab that each point left out.
    skipped: [u64; POINTS],
    /// Pictures before this one that each temporal level left out, where pictures have numbers without gaps.
    pictures: [u16; LEVELS],
    /// It fills a hole that later packets have left open.
    late: bool,
    /// The first packet is the first of its picture, and not just the first that arrived.
    begins: bool,
    /// Spatial levels, one bit each, that who takes the ones below can take from here on.
    opens: u8,
    switch_up: Option<SwitchUp>,
}

impl Cut {
    /// How many packets of the slab, from its first on, `point` takes.
    #[must_use]
    pub fn taken(&self, point: Point) -> usize {
        if self.temporal > point.temporal {
            return 0;
        }
        self.ends.get(point.spatial as usize).copied().unwrap_or(u8::MAX).into()
    }

    /// Packets before the slab that `point` left out.
    #[must_use]
    pub fn skipped(&self, point: Point) -> u64 {
        self.skipped.get(point.index()).copied().unwrap_or(0)
    }

    /// Pictures before this one that `point` left out, where their numbers have to close the gap.
    #[must_use]
    pub fn pictures(&self, point: Point) -> u16 {
        self.pictures.get(point.temporal as usize).copied().unwrap_or(0)
    }

    /// It fills a hole that later packets have left open.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        self.late
    }

    /// The slab begins a picture, and no packet of that will come under a number before it.
    #[must_use]
    pub const fn begins_picture(&self) -> bool {
        self.begins
    }

    /// Whether a packet of these layers can lie behind the others.
    #[must_use]
    pub const fn continues(&self, layers: &PacketLayers) -> bool {
        layers.temporal == self.temporal && layers.spatial >= self.spatial
    }

    /// Another packet; it [continues](Self::continues) the slab. Returns the spatial levels, one bit each, for which the
    /// packet before was the last of the picture.
    pub fn push(&mut self, layers: &PacketLayers, first: bool) -> u8 {
        let ended = if first { 0 } else { bits(self.spatial, layers.spatial) };
        (self.temporal, self.spatial) = (layers.temporal, layers.spatial);
        for end in self.ends.iter_mut().skip(layers.spatial.into()) {
            *end += 1;
        }
        self.opens |= layers.opens;
        self.switch_up = match (self.switch_up, layers.switch_up) {
            (_, up) if first => up,
            (Some(a), Some(b)) => Some(SwitchUp { from: a.from.max(b.from), to: a.to.min(b.to) }),
            _ => None,
        };
        ended
    }

    /// Counts behind the slab's packet number `packet`, as [`Self::following`] of a whole slab.
    fn after(&self, packet: usize) -> Counts {
        let mut counts = Counts { skipped: self.skipped, pictures: self.pictures };
        // What filled a hole was counted as taken.
        if !self.late {
            for (point, skipped) in points().zip(&mut counts.skipped) {
                *skipped += (packet + 1).saturating_sub(self.taken(point)) as u64;
            }
        }
        counts
    }

    /// Where a viewer at `present` that wants `target` goes with this slab, which begins a picture (`key_frame`: one that
    /// needs nothing before it). Down at once; up in time where the stream says so, up in space where no frame from there on needs
    /// one that was not taken: with AV1 where the frame of a lower layer says so.
    #[must_use]
    pub fn step(&self, present: Point, target: Point, key_frame: bool) -> Point {
        if key_frame {
            return target;
        }
        let up = self.switch_up.filter(|up| present.temporal >= up.from);
        let reachable = up.map_or(present.temporal, |up| up.to.max(present.temporal));
        let begun = (present.spatial + 1..=target.spatial)
            .take_while(|spatial| self.opens >> spatial & 1 == 1)
            .last();
        Point {
            spatial: target.spatial.min(begun.unwrap_or(present.spatial)),
            temporal: target.temporal.min(reachable),
        }
    }
}

/// Bits `from..to`.
const fn bits(from: u8, to: u8) -> u8 {
    ((1_u16 << to) - (1 << from)) as u8
}

/// All operating points, in the order of their indices.
pub fn points() -> impl Iterator<Item = Point> {
    (0..=TOP).flat_map(|spatial| (0..=TOP).map(move |temporal| Point { spatial, temporal }))
}

/// What each point left out up to some place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    skipped: [u64; POINTS],
    pictures: [u16; LEVELS],
}

impl Counts {
    /// Behind packet number `packet` of a slab.
    #[must_use]
    pub fn behind(cut: &Cut, packet: usize) -> Self {
        cut.after(packet)
    }

    /// Packets that `point` left out.
    #[must_use]
    pub fn skipped(&self, point: Point) -> u64 {
        self.skipped[point.index()]
    }
}

/// A picture whose packets are coming in.
#[derive(Debug, Clone, Copy)]
struct Picture {
    timestamp: u32,
    layers: PacketLayers,
}

/// Counts what each operating point leaves out of one stream.
#[derive(Debug, Default)]
pub struct LayerCounter {
    /// Of the first packet.
    first: Option<u64>,
    /// The number expected next; what is below fills a hole.
    next: u64,
    counts: Counts,
    picture: Option<Picture>,
    /// The packet placed last is the first of its picture that arrived, or that there is.
    begins_picture: bool,
    begins: bool,
    distrusted: bool,
    meter: Meter,
}

impl LayerCounter {
    /// The layers of a packet, as they count from here on. A stream that contradicts itself has none: all of it goes to
    /// everybody.
    pub fn place(
        &mut self,
        sequence: u64,
        timestamp: u32,
        mut layers: PacketLayers,
    ) -> PacketLayers {
        if !self.is_late(sequence) {
            let before = self.picture.filter(|picture| picture.timestamp == timestamp);
            self.begins_picture = before.is_none();
            let first = layers.begins_frame && layers.spatial == 0;
            self.begins = before.is_none() && (first || sequence == self.next);
            if let Some(Picture { layers: before, .. }) = before {
                // Of the same picture as the packet before.
                if !layers.known || !before.known {
                    (layers.temporal, layers.spatial) = (before.temporal, before.spatial);
                }
                let falls = layers.spatial < before.spatial;
                self.distrusted |= layers.temporal != before.temporal || falls;
            }
            self.picture = Some(Picture { timestamp, layers });
        }
        if self.distrusted { PacketLayers::default() } else { layers.clamped() }
    }

    /// Whether this number fills a hole.
    #[must_use]
    pub const fn is_late(&self, sequence: u64) -> bool {
        sequence < self.next
    }

    /// What the stream says of its layers cannot be.
    pub fn distrust(&mut self) {
        self.distrusted = true;
    }

    /// The stream contradicted itself.
    #[must_use]
    pub const fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// Whether `sequence` lies before the first packet, where nothing was left out.
    #[must_use]
    pub fn is_before_first(&self, sequence: u64) -> bool {
        self.first.is_some_and(|first| sequence < first)
    }

    /// For a slab that begins with the packet placed last. `before`: counts up to there, if it fills a hole.
    #[must_use]
    pub fn begin(&self, before: Option<Counts>) -> Cut {
        let Counts { skipped, pictures } = before.unwrap_or(self.counts);
        let (late, begins) = (before.is_some(), before.is_none() && self.begins);
        Cut { skipped, pictures, late, begins, ..Cut::default() }
    }

    /// Count the packet placed last, of `bytes`. `numbered`: its codec numbers pictures without gaps.
    pub fn count(&mut self, sequence: u64, layers: &PacketLayers, numbered: bool, bytes: usize) {
        self.meter.add(layers, bytes);
        if self.is_late(sequence) {
            return;
        }
        self.first.get_or_insert(sequence);
        self.next = sequence + 1;
        if layers.spatial == 0 && layers.temporal == 0 {
            return;
        }
        for (point, skipped) in points().zip(&mut self.counts.skipped) {
            *skipped += u64::from(!layers.is_taken(point));
        }
        if numbered && self.begins_picture {
            for pictures in self.counts.pictures.iter_mut().take(layers.temporal.into()) {
                *pictures = pictures.wrapping_add(1);
            }
        }
    }

    /// What each point took since this was asked last.
    pub fn measure(&mut self) -> Measured {
        self.meter.take()
    }

    /// Another stream begins; its rate is known until it is measured.
    pub fn begin_anew(&mut self) {
        *self = Self { meter: std::mem::take(&mut self.meter), ..Self::default() };
    }
}

/// Share of a new window in what is known of a layer's part. Trade: a window of 200 ms has one or two frames of the
/// lowest temporal layer, and none of a slow camera's; less would follow a change for seconds.
const NEW_SHARE: f64 = 0.125;

/// Bytes by layer.
#[derive(Debug, Default)]
struct Meter {
    window: [u64; POINTS],
    smooth: [f64; POINTS],
}

/// What was measured of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measured {
    /// Bytes of the window.
    pub bytes: u64,
    /// Share of it that each operating point takes, over the last seconds.
    pub shares: [f64; POINTS],
}

impl Meter {
    fn add(&mut self, layers: &PacketLayers, bytes: usize) {
        let cell = Point { spatial: layers.spatial, temporal: layers.temporal };
        self.window[cell.index()] += bytes as u64;
    }

    fn take(&mut self) -> Measured {
        let window = std::mem::take(&mut self.window);
        for (smooth, bytes) in self.smooth.iter_mut().zip(window) {
            *smooth += NEW_SHARE * (bytes as f64 - *smooth);
        }
        let all: f64 = self.smooth.iter().sum();
        let upto = |point: Point| {
            let cells = points().zip(self.smooth);
            let taken = cells.filter(|(cell, _)| {
                cell.spatial <= point.spatial && cell.temporal <= point.temporal
            });
            taken.map(|(_, bytes)| bytes).sum::<f64>()
        };
        let mut shares = [1.0; POINTS];
        if all > 0.0 {
            for (point, share) in points().zip(&mut shares) {
                *share = upto(point) / all;
            }
        }
        Measured { bytes: window.iter().sum(), shares }
    }
}
