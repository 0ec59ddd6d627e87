//! Input read as a list of things to do. Past its end everything is zero, so that a cut input is a shorter list.

/// What is left of the input.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a>(pub &'a [u8]);

impl<'a> Script<'a> {
    /// The next step's first byte; `None` = nothing is left to do.
    pub fn step(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.step().unwrap_or(0)
    }

    /// Two bytes, the higher one first.
    pub fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// `len` bytes, or as many as there are.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (now, later) = self.0.split_at(len.min(self.0.len()));
        self.0 = later;
        now
    }

    /// Bytes behind a byte with their length.
    pub fn block(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte());
        self.bytes(len)
    }
}
