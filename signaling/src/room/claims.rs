//! Who may be about to take a seat: a person may hold one in the whole system, and only the shell
//! can see the other rooms. It asks here before it hands an input over.

use super::{Carrier, Input, ReplyTo, Room, Via};
use crate::protocol::{Command, UserId};

impl Room {
    /// The person whom this input may seat, and the command to refuse with `busy_elsewhere` when
    /// that person has a seat in another room. Naming somebody who then gets no seat is harmless;
    /// see [`Room::is_seated`].
    #[must_use]
    pub fn may_seat(&self, input: &Input) -> Option<(ReplyTo, UserId)> {
        let Input::Command { conn, id, command, .. } = input else { return None };
        let to = ReplyTo { conn: *conn, id: *id, via: Via::Connection };
        let user = match command {
            // Seat 0. A player of one seat offers as well, and takes none.
            Command::MediaOffer(_) => {
                let conn = self.conns.get(conn)?;
                let plays = matches!(conn.carrier, Carrier::Whep { .. });
                (self.is_host(&conn.user) && !plays).then(|| conn.user.clone())?
            }
            Command::GuestAccept(_) => self.conns.get(conn)?.user.clone(),
            // An Invite is open (crossing), or requests are granted at once.
            Command::GuestRequest(_) => {
                let user = &self.conns.get(conn)?.user;
                let crossing = self.stage.attempt_of(user).is_some();
                (crossing || self.stage.policy().auto_approve).then(|| user.clone())?
            }
            Command::GuestInvite(invite) => {
                self.stage.attempt_of(&invite.user)?;
                invite.user.clone()
            }
            Command::GuestApprove(guest) => self.stage.attempt(&guest.guest_id)?.user.clone(),
            _ => return None,
        };
        Some((to, user))
    }

    /// Whether this person holds a seat here: the host while publishing or on air, a guest from the
    /// grant on.
    #[must_use]
    pub fn is_seated(&self, user: &UserId) -> bool {
        let on = self.host_publisher.is_some() || self.life.is_on();
        (on && self.is_host(user)) || self.stage.is_seated(user)
    }

    /// Everybody who holds a seat here.
    pub fn seated(&self) -> impl Iterator<Item = UserId> {
        let host = Some(self.host.user.clone()).filter(|host| self.is_seated(host));
        let guests = self.stage.seated().into_iter().map(|attempt| attempt.user.clone());
        host.into_iter().chain(guests)
    }
}
