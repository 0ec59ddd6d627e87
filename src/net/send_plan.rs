//! What to hand to the send call next, and what its answer means: the error rules of sending as a
//! pure state machine, so that a test can answer for the kernel.
//!
//! One bad destination must never stall or end a batch: every rule either skips one message, sends
//! it in another form, or (when the kernel's buffer is full) drops what is left of the batch.

use crate::net::send_counters::SendCounters;
use crate::sfu::egress::Message;

/// Pieces per call. A whole batch is 16 messages; the rest is room for runs that are sent singly.
pub const CALL_PIECES: usize = 64;

/// Datagrams one message may carry; kernels before 6.9 refuse more than 64.
const MAX_SEGMENTS: usize = 64;

/// The largest UDP payload over IPv4, which bounds a whole run.
const MAX_MESSAGE_BYTES: usize = 65_507;

/// Interrupted calls in a row before the batch is given up. A non-blocking call is not
/// interrupted in practice; the bound exists so that no answer can make the loop endless.
const MAX_INTERRUPTIONS: u32 = 16;

/// One element of a send call: one or more datagrams of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index of the message in the batch.
    pub message: usize,
    /// Offset in the batch's bytes.
    pub start: usize,
    /// Total length in bytes.
    pub len: usize,
    /// Datagram length in bytes; only the last may be shorter.
    pub segment: usize,
}

impl Piece {
    /// Datagrams in this piece.
    #[must_use]
    pub const fn datagrams(&self) -> usize {
        self.len.div_ceil(self.segment)
    }
}

/// What a refused piece means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The call was interrupted; nothing was sent.
    Interrupted,
    /// The socket's buffer or the queue below it is full.
    Full,
    /// The datagram is larger than the path takes.
    TooLarge,
    /// This destination is unreachable or forbidden.
    Unreachable,
    /// No segmentation offload here, or too many segments.
    Segmentation,
    /// Nothing known.
    Other,
}

impl Fault {
    fn of(errno: i32, datagrams: usize) -> Self {
        match errno {
            libc::EINTR => Self::Interrupted,
            // EWOULDBLOCK is EAGAIN on every system we build for.
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Self::Full,
            libc::EMSGSIZE => Self::TooLarge,
            libc::EPERM
            | libc::EACCES
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EADDRNOTAVAIL => Self::Unreachable,
            libc::EINVAL | libc::EIO if datagrams > 1 => Self::Segmentation,
            _ => Self::Other,
        }
    }
}

/// Why a message is sent one datagram at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// Its run was refused in a way that may mean that segmentation does not work here.
    Segmentation,
    /// Its run holds a datagram that is too large; a shorter last one may fit.
    Size,
}

/// Progress through the messages of a batch that leave by one socket.
///
/// ```text
/// while plan.fill(&mut pieces) { let answer = send(&pieces); plan.answer(&pieces, answer, counters) }
/// ```
#[derive(Debug)]
pub struct SendPlan<'a> {
    messages: &'a [Message],
    /// The socket whose messages these are.
    local: u8,
    /// The next message.
    next: usize,
    /// Bytes of it that are dealt with.
    offset: usize,
    /// Whether runs may go as one piece.
    segmentation: bool,
    /// The message sent singly because its run was refused, and why.
    single: Option<(usize, Doubt)>,
    /// A run failed whole and its first datagram went singly.
    halted: bool,
    interruptions: u32,
}

impl<'a> SendPlan<'a> {
    /// A plan for the messages of `messages` that leave by socket `local`. With `segmentation`
    /// off every datagram is a piece of its own.
    #[must_use]
    pub fn new(messages: &'a [Message], local: u8, segmentation: bool) -> Self {
        Self {
            messages,
            local,
            next: 0,
            offset: 0,
            segmentation,
            single: None,
            halted: false,
            interruptions: 0,
        }
    }

    /// Whether segmentation was found not to work: stop using it on this socket for a while.
    #[must_use]
    pub const fn halted_segmentation(&self) -> bool {
        self.halted
    }

    /// Put the pieces of the next call into `pieces`, at most `limit` and at most
    /// [`CALL_PIECES`]. `false` = done.
    pub fn fill(&self, pieces: &mut Vec<Piece>, limit: usize) -> bool {
        pieces.clear();
        let limit = limit.min(CALL_PIECES);
        let mut offset = self.offset;
        for (index, message) in self.messages.iter().enumerate().skip(self.next) {
            if message.path.local == self.local && message.segment > 0 {
                let single = self.single.is_some_and(|(message, _)| message == index);
                let whole = self.segmentation && !single;
                while offset < message.len && pieces.len() < limit {
                    let piece = cut(index, message, offset, whole);
                    offset += piece.len;
                    pieces.push(piece);
                }
                if pieces.len() == limit || single {
                    break;
                }
            }
            offset = 0;
        }
        !pieces.is_empty()
    }

    /// Take the answer of the call over `pieces`: how many were sent, or the `errno` of the first.
    pub fn answer(
        &mut self,
        pieces: &[Piece],
        answer: Result<usize, i32>,
        counters: &mut SendCounters,
    ) {
        counters.calls += 1;
        match answer {
            Ok(sent) if sent > 0 => self.sent(&pieces[..sent.min(pieces.len())], counters),
            // A call that reports no progress and no error would be called for ever.
            Ok(_) => self.refused(pieces, 0, counters),
            Err(errno) => self.refused(pieces, errno, counters),
        }
    }

    fn sent(&mut self, pieces: &[Piece], counters: &mut SendCounters) {
        self.interruptions = 0;
        for piece in pieces {
            counters.sent(piece.datagrams(), piece.len);
            if self.single == Some((piece.message, Doubt::Segmentation)) {
                self.halted = true;
                self.segmentation = false;
            }
        }
        if let Some(last) = pieces.last() {
            self.pass(last);
        }
    }

    fn refused(&mut self, pieces: &[Piece], errno: i32, counters: &mut SendCounters) {
        let Some(first) = pieces.first() else { return };
        match Fault::of(errno, first.datagrams()) {
            Fault::Interrupted if self.interruptions < MAX_INTERRUPTIONS => self.interruptions += 1,
            Fault::Interrupted | Fault::Full => {
                counters.buffer_full += self.remaining_datagrams();
                self.next = self.messages.len();
            }
            Fault::TooLarge if first.datagrams() > 1 => {
                self.single = Some((first.message, Doubt::Size));
            }
            Fault::TooLarge => {
                // Kernels before 6.18 say "invalid" to a run of such datagrams: this was why.
                self.single = self.single.map(|(message, _)| (message, Doubt::Size));
                counters.too_large += 1;
                self.pass(first);
            }
            Fault::Unreachable => {
                counters.unreachable += self.rest_of(first.message, self.offset_of(first));
                self.pass_message(first.message);
            }
            Fault::Segmentation => self.single = Some((first.message, Doubt::Segmentation)),
            Fault::Other => {
                counters.failed += first.datagrams() as u64;
                counters.last_error = Some(errno);
                self.pass(first);
            }
        }
    }

    /// Go on behind `piece`.
    fn pass(&mut self, piece: &Piece) {
        self.next = piece.message;
        self.offset = self.offset_of(piece) + piece.len;
        if self.messages.get(self.next).is_none_or(|message| self.offset >= message.len) {
            self.pass_message(piece.message);
        }
    }

    fn pass_message(&mut self, message: usize) {
        self.next = message + 1;
        self.offset = 0;
        self.single = None;
    }

    fn offset_of(&self, piece: &Piece) -> usize {
        self.messages.get(piece.message).map_or(0, |message| piece.start - message.start)
    }

    /// Datagrams of one message from `offset` on.
    fn rest_of(&self, message: usize, offset: usize) -> u64 {
        self.messages
            .get(message)
            .filter(|message| message.segment > 0)
            .map_or(0, |message| (message.len - offset).div_ceil(message.segment) as u64)
    }

    fn remaining_datagrams(&self) -> u64 {
        (self.next..self.messages.len())
            .filter(|index| self.messages[*index].path.local == self.local)
            .map(|index| self.rest_of(index, if index == self.next { self.offset } else { 0 }))
            .sum()
    }
}

/// The piece of `message` that begins `offset` bytes in.
fn cut(index: usize, message: &Message, offset: usize, whole: bool) -> Piece {
    let most = if whole {
        (MAX_MESSAGE_BYTES / message.segment).clamp(1, MAX_SEGMENTS) * message.segment
    } else {
        message.segment
    };
    Piece {
        message: index,
        start: message.start + offset,
        len: most.min(message.len - offset),
        segment: message.segment,
    }
}

#[cfg(test)]
mod tests;
