//! What a forwarder sends one viewer: one of a few simulcast layers, frame by frame, and sound.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Bit/s of each layer.
pub const LAYERS: [u64; 4] = [150_000, 500_000, 1_500_000, 4_000_000];
/// Bit/s of sound: 50 packets of 80 bytes a second.
pub const SOUND: u64 = 32_000;
/// Payload of a full packet.
pub const PACKET: usize = 1200;
/// A key frame is this many times a frame.
const KEY_FRAME: f64 = 5.0;

/// The source of one viewer. A switch to another layer begins with a key frame.
#[derive(Debug)]
pub struct Media {
    layer: Option<usize>,
    top: usize,
    /// Bit/s, for a source that follows the estimate.
    follows: Option<u64>,
    rng: StdRng,
}

impl Media {
    pub fn new(seed: u64, top: usize) -> Self {
        Self { layer: None, top, follows: None, rng: StdRng::seed_from_u64(seed) }
    }

    /// As an encoder of our own would: any rate up to the top layer's.
    pub fn follow(&mut self) {
        self.follows = Some(LAYERS[0]);
    }

    pub fn wanted(&self) -> u64 {
        LAYERS[self.top] + SOUND
    }

    pub fn set_top(&mut self, top: usize) {
        self.top = top;
    }

    /// The layer that fits: up only with a tenth to spare, so that it does not swing. Returns whether
    /// a key frame is due.
    pub fn allocate(&mut self, target_bps: u64) -> bool {
        if let Some(follows) = &mut self.follows {
            *follows = target_bps.saturating_sub(SOUND).clamp(LAYERS[0], LAYERS[self.top]);
            return false;
        }
        let fits = |layer: usize, spare: u64| (LAYERS[layer] + SOUND) * spare / 100 <= target_bps;
        let current = self.layer.unwrap_or(0).min(self.top);
        let best = (0..=self.top)
            .rev()
            .find(|layer| fits(*layer, if *layer > current { 110 } else { 100 }))
            .unwrap_or(0);
        let before = self.layer.replace(best);
        before != Some(best)
    }

    fn layer(&self) -> usize {
        self.layer.unwrap_or(0)
    }

    /// Sizes of the packets of the next frame, all equal, at 30 frames a second. Sizes vary by a
    /// third, as an encoder's do.
    pub fn frame(&mut self, key: bool) -> (usize, usize) {
        let mean = self.follows.unwrap_or(LAYERS[self.layer()]) as f64 / 8.0 / 30.0;
        let vary = self.rng.random_range(0.67..1.33);
        let bytes = if key { mean * KEY_FRAME } else { mean * vary } as usize;
        let packets = bytes.div_ceil(PACKET).max(1);
        (packets, bytes.div_ceil(packets).max(40))
    }
}
