//! DTLS on a budget. A step of a handshake costs as much as a hundred forwarded packets, so each turn takes a
//! few, and the others wait for the ends of the following turns, behind their media: a storm of joins cannot
//! delay a frame by more than that, and media cannot starve the joins. Within the budget a step is taken as it
//! arrives, because a publisher's first packets may follow the last step at once, and need its keys.

use std::time::Instant;

use signaling::media::TransportId;

use super::drop_reason::DropReason;
use super::egress::{Egress, Path};
use super::{Sfu, session_mut};

/// Steps per turn. Trade: the dearest takes a quarter of a millisecond (the peer's key exchange), so a
/// frame that arrives behind them waits a millisecond; fewer would cost a join storm more turns.
pub const STEPS_PER_TURN: usize = 4;

/// Steps that may wait. Trade: half a second of a core's work; a peer whose step finds no room sends it
/// again after a second, as DTLS does (RFC 6347 4.2.4).
pub const MAX_WAITING: usize = 2_048;

/// A datagram of a handshake that waits for its turn.
#[derive(Debug)]
pub(super) struct Flight {
    arrived: Instant,
    /// Whose; its index may belong to another by the time it is looked at.
    session: (u32, TransportId),
    path: Path,
    bytes: Box<[u8]>,
}

impl Sfu {
    /// A DTLS datagram: handled now if the handshake is over or the turn has a step left, else kept.
    pub(super) fn on_dtls(
        &mut self,
        now: Instant,
        path: Path,
        index: u32,
        bytes: &[u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let session = session_mut(&mut self.sessions, index).ok_or(DropReason::UnknownTransport)?;
        if session.is_connected() {
            return self.handle_dtls(now, path, index, bytes, egress);
        }
        if self.handshakes.is_empty() && self.steps_left > 0 {
            self.steps_left -= 1;
            return self.handle_dtls(now, path, index, bytes, egress);
        }
        if self.handshakes.len() >= MAX_WAITING {
            return Err(DropReason::HandshakeQueueFull);
        }
        let session = (index, session.id);
        self.handshakes.push_back(Flight { arrived: now, session, path, bytes: bytes.into() });
        Ok(())
    }

    fn handle_dtls(
        &mut self,
        now: Instant,
        path: Path,
        index: u32,
        bytes: &[u8],
        egress: &mut Egress<'_>,
    ) -> Result<(), DropReason> {
        let session = session_mut(&mut self.sessions, index).ok_or(DropReason::UnknownTransport)?;
        let outcome = session.transport.handle_dtls(now, path, bytes, egress);
        self.after_transport(now, index, egress);
        outcome
    }

    /// End of a turn: take what is left of its share from the steps that wait.
    pub(super) fn step_handshakes(&mut self, now: Instant, egress: &mut Egress<'_>) {
        for _ in 0..std::mem::replace(&mut self.steps_left, STEPS_PER_TURN) {
            let Some(Flight { session: (index, id), path, bytes, .. }) =
                self.handshakes.pop_front()
            else {
                return;
            };
            let present = session_mut(&mut self.sessions, index).is_some_and(|s| s.id == id);
            let outcome = if present {
                self.handle_dtls(now, path, index, &bytes, egress)
            } else {
                Err(DropReason::DtlsClosed)
            };
            if let Err(reason) = outcome {
                self.counters.drop(reason);
            }
        }
    }

    /// When the next step is due: at once.
    pub(super) fn next_handshake(&self) -> Option<Instant> {
        self.handshakes.front().map(|flight| flight.arrived)
    }
}
