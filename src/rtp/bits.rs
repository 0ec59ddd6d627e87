//! A bounds-checked walk over bits, the highest of each byte first, with one named error for running out of them.

use crate::rtp::error::RtpError;

/// Longest prefix of an Exp-Golomb number: what it codes fits into 32 bits (ITU-T H.264, 9.1).
const MAX_PREFIX: u32 = 31;

/// Reads big-endian bit fields; every read past the end is `short`.
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    short: RtpError,
}

impl<'a> Bits<'a> {
    pub(crate) const fn new(data: &'a [u8], short: RtpError) -> Self {
        Self { data, at: 0, short }
    }

    pub(crate) fn flag(&mut self) -> Result<bool, RtpError> {
        let byte = self.data.get(self.at / 8).ok_or(self.short)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Ok(bit == 1)
    }

    /// The next `count` bits as a number; of more than 64 the last ones.
    pub(crate) fn take(&mut self, count: u32) -> Result<u64, RtpError> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u64::from(self.flag()?);
        }
        Ok(value)
    }

    /// A number below `count` in as few bits as that takes (AV1 specification 4.10.7, `ns(n)`).
    pub(crate) fn below(&mut self, count: u32) -> Result<u64, RtpError> {
        let width = u32::BITS - count.leading_zeros();
        let short = (1_u64 << width) - u64::from(count);
        let value = self.take(width.saturating_sub(1))?;
        if value < short {
            return Ok(value);
        }
        Ok((value << 1) + u64::from(self.flag()?) - short)
    }

    /// An Exp-Golomb number (ITU-T H.264 9.1 `ue(v)`, AV1 specification 4.10.3 `uvlc()`): so many zeros, a one, so many bits.
    pub(crate) fn golomb(&mut self) -> Result<u64, RtpError> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > MAX_PREFIX {
                return Err(self.short);
            }
        }
        Ok((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// A signed one (ITU-T H.264 9.1.1 `se(v)`).
    pub(crate) fn signed_golomb(&mut self) -> Result<i64, RtpError> {
        let value = self.golomb()? as i64;
        Ok(if value % 2 == 1 { (value + 1) / 2 } else { -(value / 2) })
    }
}
