//! Which seats exist, are free, and who moves where.

use crate::protocol::{Code, GuestEnd, GuestId};

use super::{Attempt, Stage, StageEffect, StageReply};

impl Stage {
    /// Whether an Attempt keeps its seat from others.
    fn holds(&self, attempt: &Attempt) -> bool {
        #[cfg(test)]
        if self.rules.fault == Some(super::Fault::SeatFreedWhileReconnecting)
            && attempt.state == crate::protocol::GuestState::Reconnecting
        {
            return false;
        }
        attempt.is_seated()
    }

    fn occupied(&self, seat: u8) -> bool {
        self.attempts.values().any(|a| a.seat == Some(seat) && self.holds(a))
    }

    fn is_locked(&self, seat: u8) -> bool {
        self.locked_seats & (1 << seat) != 0
    }

    /// Guest seats that exist and are not locked.
    #[must_use]
    pub fn open_seats(&self) -> usize {
        (1..=self.policy.seats).filter(|seat| !self.is_locked(*seat)).count()
    }

    /// The seat to give: the named one, or the lowest free one.
    ///
    /// # Errors
    /// `seat_not_found`, `seat_locked`, `seat_occupied` for a named seat, else `seats_full`.
    pub(super) fn seat_for(&self, named: Option<u8>) -> Result<u8, Code> {
        match named {
            Some(seat) if !(1..=self.policy.seats).contains(&seat) => Err(Code::SeatNotFound),
            Some(seat) if self.is_locked(seat) => Err(Code::SeatLocked),
            Some(seat) if self.occupied(seat) => Err(Code::SeatOccupied),
            Some(seat) => Ok(seat),
            None => (1..=self.policy.seats)
                .find(|seat| !self.is_locked(*seat) && !self.occupied(*seat))
                .ok_or(Code::SeatsFull),
        }
    }

    pub(super) fn resize(
        &mut self,
        seats: u8,
        remove: &[GuestId],
        effects: &mut Vec<StageEffect>,
    ) -> Result<StageReply, Code> {
        if !(1..=8).contains(&seats) {
            return Err(Code::BadRequest);
        }
        let evicted = |a: &&Attempt| a.is_seated() && a.seat > Some(seats);
        if self.attempts.values().filter(evicted).any(|a| !remove.contains(&a.id)) {
            return Err(Code::SeatOccupied);
        }
        let named: Vec<_> = self
            .attempts
            .values()
            .filter(|a| a.is_seated() && remove.contains(&a.id))
            .map(|a| a.user.clone())
            .collect();
        self.policy.seats = seats;
        for user in named {
            self.end(&user, GuestEnd::SeatCountReduced, effects);
        }
        self.tell_waiting(effects);
        Ok(StageReply::Done)
    }

    pub(super) fn lock_seat(&mut self, seat: u8, locked: bool) -> Result<StageReply, Code> {
        if !(1..=8).contains(&seat) {
            return Err(Code::SeatNotFound);
        }
        if locked && self.occupied(seat) {
            return Err(Code::SeatOccupied);
        }
        let bit = 1 << seat;
        self.locked_seats = if locked { self.locked_seats | bit } else { self.locked_seats & !bit };
        Ok(StageReply::Done)
    }

    pub(super) fn move_to(
        &mut self,
        id: &GuestId,
        seat: u8,
        swap: bool,
    ) -> Result<StageReply, Code> {
        let user = self.open(id)?;
        let from = self.attempts.get(&user).filter(|a| a.is_seated()).and_then(|a| a.seat);
        let from = from.ok_or(Code::NotPending)?;
        match self.seat_for(Some(seat)) {
            Ok(_) => {}
            Err(Code::SeatOccupied) if seat == from => return Ok(StageReply::Done),
            Err(Code::SeatOccupied) if swap => {
                let other =
                    self.attempts.values_mut().find(|a| a.is_seated() && a.seat == Some(seat));
                if let Some(other) = other {
                    other.seat = Some(from);
                }
            }
            Err(code) => return Err(code),
        }
        if let Some(attempt) = self.attempts.get_mut(&user) {
            attempt.seat = Some(seat);
        }
        Ok(StageReply::Done)
    }
}
