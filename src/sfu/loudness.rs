//! How loud a publisher is, by what its packets say of themselves (RFC 6464).

use std::time::{Duration, Instant};

use crate::rtp::extensions::AudioLevel;

/// Levels are averaged over at least this long. Trade: a syllable and the gap after it; a longer one would notice
/// later who has begun to speak.
const WINDOW: Duration = Duration::from_millis(300);
/// What does not change is told again after this, so that sound that ends without a word is noticed.
const AGAIN: Duration = Duration::from_secs(1);
/// Softer than this counts as silence, -dBov.
const SILENT: f32 = 60.0;
/// What one step of loudness stands for, dB. Trade: speech swings by less than two of them from one window to the next,
/// and each change is a message to the room.
const STEP: f32 = 6.0;
/// The loudest step: -6 dBov and above.
const LOUDEST: f32 = 9.0;

/// The meter of one publisher's sound.
#[derive(Debug, Default)]
pub struct Loudness {
    /// When the window began, the power of the packets in it (1 = 0 dBov each), and how many there are.
    window: Option<(Instant, f32, u16)>,
    /// What was told last, and when.
    told: Option<(u8, Instant)>,
}

impl Loudness {
    /// A packet says how loud it is. Returns the loudness, 0 (silence) to 9, if the room is to know.
    ///
    /// Whether the encoder takes it for speech is not asked: that is optional, and some never say it.
    pub fn note(&mut self, now: Instant, level: AudioLevel) -> Option<u8> {
        let (since, power, packets) = self.window.unwrap_or((now, 0.0, 0));
        let power = power + 10_f32.powf(-f32::from(level.minus_dbov) / 10.0);
        let packets = packets.saturating_add(1);
        if now.saturating_duration_since(since) < WINDOW {
            self.window = Some((since, power, packets));
            return None;
        }
        self.window = None;
        let minus_dbov = -10.0 * (power / f32::from(packets)).log10();
        let step = ((SILENT - minus_dbov) / STEP).clamp(0.0, LOUDEST) as u8;
        let news = self.told.is_none_or(|(told, at)| {
            told != step || (step > 0 && now.saturating_duration_since(at) >= AGAIN)
        });
        news.then(|| {
            self.told = Some((step, now));
            step
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs a starting point in time")]
    use super::*;

    /// What is told while packets of these levels come every 20 ms, each for so many of them.
    fn told(sound: &[(u8, u32)]) -> Vec<u8> {
        let mut now = Instant::now();
        let mut loudness = Loudness::default();
        let mut told = Vec::new();
        for (minus_dbov, packets) in sound {
            for _ in 0..*packets {
                let level = AudioLevel { voice: false, minus_dbov: *minus_dbov };
                told.extend(loudness.note(now, level));
                now += Duration::from_millis(20);
            }
        }
        told
    }

    #[test]
    fn steps_of_six_decibels() {
        let of = |minus_dbov| told(&[(minus_dbov, 16)]);
        let steps = [127, 60, 55, 54, 36, 24, 6, 0].map(of);
        assert_eq!(steps.concat(), [0, 0, 0, 1, 4, 6, 9, 9]);
        assert!(told(&[(24, 15)]).is_empty(), "not yet");
    }

    #[test]
    fn power_is_averaged_and_a_click_does_not_count_as_loud() {
        // One packet of sixteen at -20 dBov is -32 on average.
        assert_eq!(told(&[(20, 1), (127, 15)]), [4]);
        assert_eq!(told(&[(20, 8), (127, 8)]), [6], "half of them: 3 dB less");
    }

    #[test]
    fn silence_is_told_once_and_sound_again_every_second() {
        assert_eq!(told(&[(127, 500)]), [0]);
        let steady = told(&[(24, 500)]);
        assert!((8..=10).contains(&steady.len()) && steady.iter().all(|step| *step == 6));
        assert_eq!(told(&[(24, 16), (127, 32)]), [6, 0]);
    }

    #[test]
    fn packets_that_come_rarely_are_a_window_each_as_the_silence_of_opus_is() {
        let start = Instant::now();
        let mut loudness = Loudness::default();
        let mut at = |ms, minus_dbov| {
            let level = AudioLevel { voice: false, minus_dbov };
            loudness.note(start + Duration::from_millis(ms), level)
        };
        assert_eq!(at(0, 24), None);
        assert_eq!(at(400, 24), Some(6));
        assert_eq!((at(800, 127), at(1200, 127)), (None, Some(0)));
    }
}
