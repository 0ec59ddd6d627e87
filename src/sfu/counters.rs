//! Plain per-shard integers. The shard copies them to shared atomics a few times a second; the
//! core itself never makes a metrics call.

use super::drop_reason::DropReason;
use super::transport::Profile;

/// The transports of one shard's core now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Population {
    /// Made, and without keys yet: no check, or a handshake on its way.
    pub connecting: u64,
    /// With keys, by [`Profile`].
    pub peers: [u64; Profile::ALL.len()],
}

impl Population {
    /// A transport that was connecting has keys.
    pub(super) fn connected(&mut self, profile: Option<Profile>) {
        if let Some(profile) = profile {
            self.connecting -= 1;
            self.peers[profile as usize] += 1;
        }
    }

    /// A transport ended.
    pub(super) fn left(&mut self, profile: Option<Profile>) {
        match profile {
            None => self.connecting -= 1,
            Some(profile) => self.peers[profile as usize] -= 1,
        }
    }
}

/// What one shard's core has done since it started.
#[derive(Debug, Clone)]
pub struct Counters {
    /// Datagrams, packets and messages that went no further, by [`DropReason`].
    pub drops: [u64; DropReason::ALL.len()],
    /// Datagrams received.
    pub datagrams_in: u64,
    /// RTP packets accepted from publishers.
    pub packets_in: u64,
    /// Payload bytes accepted from publishers.
    pub bytes_in: u64,
    /// RTP packets sealed for viewers, retransmissions included.
    pub packets_out: u64,
    /// Sealed RTP bytes for viewers.
    pub bytes_out: u64,
    /// Media messages handed over (one or more packets each).
    pub messages_out: u64,
    /// Sound packets that travelled in a video message, instead of in one of their own.
    pub rides: u64,
    /// Retransmissions to viewers.
    pub retransmissions: u64,
    /// Bytes of RTP padding added to equalise segments.
    pub padding_bytes: u64,
    /// Slots that began with the latest frames instead of waiting for a key frame.
    pub replays: u64,
    /// Key-frame requests by viewers, joins included.
    pub key_frames_wanted: u64,
    /// Key-frame requests sent to publishers.
    pub key_frames_asked: u64,
    /// NACKed sequence numbers sent to publishers.
    pub nacks_sent: u64,
    /// Packets recovered by retransmission from a publisher.
    pub recovered: u64,
    /// Slabs sent to other shards.
    pub relayed_out: u64,
    /// Slabs received from other shards.
    pub relayed_in: u64,
    /// Packets sent again to find out what a viewer's network takes.
    pub probe_packets: u64,
    /// Slots that changed from one simulcast layer to another.
    pub layer_changes: u64,
    /// Slots that changed what they take of the layers inside a stream.
    pub point_changes: u64,
    /// Empty packets sent in the place of those that came late and that a viewer does not take.
    pub fillers: u64,
    /// Streams whose layers contradicted themselves.
    pub layers_distrusted: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Transports that ended, any reason.
    pub closed: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            drops: [0; DropReason::ALL.len()],
            datagrams_in: 0,
            packets_in: 0,
            bytes_in: 0,
            packets_out: 0,
            bytes_out: 0,
            messages_out: 0,
            rides: 0,
            retransmissions: 0,
            padding_bytes: 0,
            replays: 0,
            key_frames_wanted: 0,
            key_frames_asked: 0,
            nacks_sent: 0,
            recovered: 0,
            relayed_out: 0,
            relayed_in: 0,
            probe_packets: 0,
            layer_changes: 0,
            point_changes: 0,
            fillers: 0,
            layers_distrusted: 0,
            handshakes: 0,
            closed: 0,
        }
    }
}

impl Counters {
    /// Count one drop.
    pub fn drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    /// Count several drops.
    pub fn drops(&mut self, reason: DropReason, count: u32) {
        self.drops[reason as usize] += u64::from(count);
    }

    /// How often `reason` was counted.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }
}
