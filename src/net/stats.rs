//! What a shard tells the metrics task: plain integers in the thread, copied to padded atomics a
//! few times a second, so that the packet path makes no metrics call.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::net::send_counters::RUN_BOUNDS;
use crate::sfu::counters::Population;
use crate::sfu::drop_reason::DropReason;
use crate::sfu::transport::Profile;

macro_rules! counts {
    ($($variant:ident => $name:literal, $help:literal;)*) => {
        /// A number of a shard that only grows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Count { $(#[doc = $help] $variant,)* }

        impl Count {
            /// All of them, in declaration order: the index of a number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The metric's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The metric's help text.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

counts! {
    DatagramsIn => "greenroom_datagrams_in_total", "Datagrams received, by UDP or framed on a TCP connection.";
    ReceiveErrors => "greenroom_receive_errors_total", "Receive calls that failed.";
    PacketsIn => "greenroom_packets_in_total", "RTP packets accepted from publishers.";
    BytesIn => "greenroom_media_bytes_in_total", "RTP payload bytes accepted from publishers.";
    PacketsOut => "greenroom_packets_out_total", "RTP packets sealed for viewers, retransmissions included.";
    BytesOut => "greenroom_media_bytes_out_total", "Sealed RTP bytes for viewers.";
    MediaMessages => "greenroom_media_messages_total", "Media messages queued, one or more packets each.";
    Rides => "greenroom_rides_total", "Sound packets sent inside a video message, which saves a message of their own.";
    Retransmissions => "greenroom_retransmissions_total", "RTP packets retransmitted to viewers.";
    PaddingBytes => "greenroom_padding_bytes_total", "RTP padding added to make packets of a run equal.";
    Replays => "greenroom_replays_total", "Slots that began with the latest frames instead of waiting for a key frame.";
    KeyFramesWanted => "greenroom_key_frames_wanted_total", "Key-frame requests by viewers, joins included.";
    KeyFramesAsked => "greenroom_key_frames_asked_total", "Key-frame requests sent to publishers.";
    NacksSent => "greenroom_nacks_sent_total", "Sequence numbers asked for again at publishers.";
    Recovered => "greenroom_recovered_total", "Packets recovered by retransmission from a publisher.";
    RelayedOut => "greenroom_relayed_out_total", "Frame parts sent to another shard.";
    RelayedIn => "greenroom_relayed_in_total", "Frame parts received from another shard.";
    ProbePackets => "greenroom_probe_packets_total", "RTP packets sent again to find out what a viewer's network takes.";
    PointChanges => "greenroom_operating_point_changes_total", "Slots that changed what they take of the temporal and spatial layers inside a stream.";
    Fillers => "greenroom_filler_packets_total", "Empty packets in the place of those that came late and that a viewer does not take.";
    LayersDistrusted => "greenroom_layers_distrusted_total", "Streams whose layers contradicted themselves; all of them goes to everybody.";
    LayerChanges => "greenroom_layer_changes_total", "Slots that changed from one simulcast layer to another.";
    Handshakes => "greenroom_handshakes_total", "DTLS handshakes completed.";
    TransportsClosed => "greenroom_transports_closed_total", "Transports that ended, for any reason.";
    SendCalls => "greenroom_send_calls_total", "System calls made to send.";
    SentMessages => "greenroom_sent_messages_total", "Messages the kernel took, one walk of its network stack each.";
    SentDatagrams => "greenroom_datagrams_out_total", "UDP datagrams in the messages the kernel took.";
    SentBytes => "greenroom_bytes_out_total", "UDP payload bytes in the messages the kernel took.";
    SegmentationHalts => "greenroom_segmentation_halts_total", "Times a device refused segmentation and it was switched off for a minute.";
    TcpMessages => "greenroom_tcp_messages_total", "Messages written to TCP connections or their backlogs, one or more framed datagrams each.";
    TcpBytes => "greenroom_tcp_bytes_out_total", "Bytes of those messages, framing included.";
    Turns => "greenroom_shard_turns_total", "Turns of the shard loops.";
    CpuUserUs => "greenroom_shard_cpu_user_microseconds_total", "CPU time of the shard threads in user space.";
    CpuSystemUs => "greenroom_shard_cpu_system_microseconds_total", "CPU time of the shard threads in the kernel.";
    ShardPanics => "greenroom_shard_panics_total", "Shard threads that panicked; the process ends after one.";
}

/// Numbers of [`Count`].
pub const COUNTS: usize = Count::ALL.len();

/// Numbers of [`DropReason`].
const DROPS: usize = DropReason::ALL.len();

/// Upper bounds of the residence histogram, in nanoseconds.
pub const RESIDENCE_BOUNDS_NS: [u64; 12] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    3_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

/// Upper bounds of what a shard finds in another's ring when it looks.
pub const RING_BOUNDS: [u64; 10] = [1, 2, 4, 8, 16, 64, 256, 512, 768, 1_023];

/// Values counted between bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<const BUCKETS: usize> {
    /// By upper bound; the last counts what is above them all.
    pub buckets: [u64; BUCKETS],
    /// Sum of all values.
    pub sum: u64,
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], sum: 0 }
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    /// Count one value between `bounds`, one fewer than there are buckets.
    pub fn record(&mut self, bounds: &[u64], value: u64) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(value);
    }
}

/// How long received messages stayed, in ns: from the kernel's receive time to the end of the turn that
/// handled them, sending included. A frame part that waits for its frame's end stays longer.
pub type Residence = Histogram<{ RESIDENCE_BOUNDS_NS.len() + 1 }>;

/// How many messages lay in another shard's ring whenever there were any.
pub type RingFill = Histogram<{ RING_BOUNDS.len() + 1 }>;

/// A shard's numbers at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// By [`Count`].
    pub counts: [u64; COUNTS],
    /// By [`DropReason`].
    pub drops: [u64; DROPS],
    /// Messages by datagrams; see [`RUN_BOUNDS`].
    pub runs: [u64; RUN_BOUNDS.len()],
    /// Residence of received messages.
    pub residence: Residence,
    /// What lay in the rings from other shards.
    pub ring_fill: RingFill,
    /// Transports alive.
    pub transports: u64,
    /// How far they have come.
    pub population: Population,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            counts: [0; COUNTS],
            drops: [0; DROPS],
            runs: [0; RUN_BOUNDS.len()],
            residence: Residence::default(),
            ring_fill: RingFill::default(),
            transports: 0,
            population: Population::default(),
        }
    }
}

/// A [`Snapshot`] that one shard writes and everybody reads. On cache lines of its own, so that
/// shards do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardStats {
    counts: [AtomicU64; COUNTS],
    drops: [AtomicU64; DROPS],
    runs: [AtomicU64; RUN_BOUNDS.len()],
    residence: SharedHistogram<{ RESIDENCE_BOUNDS_NS.len() + 1 }>,
    ring_fill: SharedHistogram<{ RING_BOUNDS.len() + 1 }>,
    transports: AtomicU64,
    connecting: AtomicU64,
    peers: [AtomicU64; Profile::ALL.len()],
}

impl Default for ShardStats {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; COUNTS],
            drops: [const { AtomicU64::new(0) }; DROPS],
            runs: [const { AtomicU64::new(0) }; RUN_BOUNDS.len()],
            residence: SharedHistogram::default(),
            ring_fill: SharedHistogram::default(),
            transports: AtomicU64::new(0),
            connecting: AtomicU64::new(0),
            peers: [const { AtomicU64::new(0) }; Profile::ALL.len()],
        }
    }
}

impl ShardStats {
    /// Replace what is there; only the shard itself does.
    pub fn publish(&self, snapshot: &Snapshot) {
        store(&self.counts, &snapshot.counts);
        store(&self.drops, &snapshot.drops);
        store(&self.runs, &snapshot.runs);
        self.residence.store(&snapshot.residence);
        self.ring_fill.store(&snapshot.ring_fill);
        self.transports.store(snapshot.transports, Ordering::Relaxed);
        self.connecting.store(snapshot.population.connecting, Ordering::Relaxed);
        store(&self.peers, &snapshot.population.peers);
    }

    /// Read all; numbers may be of neighbouring moments.
    #[must_use]
    pub fn read(&self) -> Snapshot {
        Snapshot {
            counts: load(&self.counts),
            drops: load(&self.drops),
            runs: load(&self.runs),
            residence: self.residence.load(),
            ring_fill: self.ring_fill.load(),
            transports: self.transports(),
            population: Population {
                connecting: self.connecting.load(Ordering::Relaxed),
                peers: load(&self.peers),
            },
        }
    }

    /// Transports alive.
    #[must_use]
    pub fn transports(&self) -> u64 {
        self.transports.load(Ordering::Relaxed)
    }

    /// Count a panic of the shard's thread, which publishes no more.
    pub fn panicked(&self) {
        self.counts[Count::ShardPanics as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A [`Histogram`] that one thread writes and everybody reads.
#[derive(Debug)]
struct SharedHistogram<const BUCKETS: usize> {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl<const BUCKETS: usize> Default for SharedHistogram<BUCKETS> {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) }
    }
}

impl<const BUCKETS: usize> SharedHistogram<BUCKETS> {
    fn store(&self, from: &Histogram<BUCKETS>) {
        store(&self.buckets, &from.buckets);
        self.sum.store(from.sum, Ordering::Relaxed);
    }

    fn load(&self) -> Histogram<BUCKETS> {
        Histogram { buckets: load(&self.buckets), sum: self.sum.load(Ordering::Relaxed) }
    }
}

fn store<const N: usize>(to: &[AtomicU64; N], from: &[u64; N]) {
    to.iter().zip(from).for_each(|(to, from)| to.store(*from, Ordering::Relaxed));
}

fn load<const N: usize>(from: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|index| from[index].load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read() {
        let stats = ShardStats::default();
        let mut snapshot = Snapshot { transports: 7, ..Snapshot::default() };
        snapshot.counts[Count::Turns as usize] = 3;
        snapshot.drops[DropReason::Gate as usize] = 4;
        snapshot.runs[2] = 5;
        snapshot.residence.record(&RESIDENCE_BOUNDS_NS, 60_000);
        snapshot.ring_fill.record(&RING_BOUNDS, 3);
        snapshot.population = Population { connecting: 2, peers: [4, 1] };
        stats.publish(&snapshot);
        let read = stats.read();
        assert_eq!(read.counts, snapshot.counts);
        assert_eq!(read.drops, snapshot.drops);
        assert_eq!((read.runs, read.transports), (snapshot.runs, 7));
        assert_eq!(read.residence, snapshot.residence);
        assert_eq!(read.ring_fill, snapshot.ring_fill);
        assert_eq!(read.population, snapshot.population);
    }

    #[test]
    fn residence_counts_at_and_above_its_bounds() {
        let mut residence = Residence::default();
        for ns in [0, 50_000, 50_001, 100_000_000, 100_000_001, u64::MAX] {
            residence.record(&RESIDENCE_BOUNDS_NS, ns);
        }
        assert_eq!(residence.buckets[0], 2);
        assert_eq!(residence.buckets[1], 1);
        assert_eq!(residence.buckets[11..], [1, 2]);
    }
}
