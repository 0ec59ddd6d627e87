//! The ICE-lite agent (RFC 8445 2.5) with consent (RFC 7675): it never sends a check, answers only
//! authenticated ones, and remembers which paths they came from.

use std::time::{Duration, Instant};

use crate::sfu::drop_reason::DropReason;
use crate::sfu::egress::{Egress, Path};
use crate::sfu::transport::stun::{self, StunRequest};
use crate::sfu::transport::{IceCredentials, Remote};

/// Sending pauses this long after the last authenticated packet: a dead address gets media for no
/// longer than RFC 7675 allows, and a cut of up to 15 s costs no pause.
const CONSENT: Duration = Duration::from_secs(15);

/// Validated paths kept per peer. A peer has a few candidates per address family; more is either
/// a moving phone (the oldest goes) or abuse.
const MAX_PATHS: usize = 8;

/// The selected path counts as broken when nothing came from it for this long, while something does come from
/// another one. Browsers notice a dead path only after 5 s, and nominate the next one a second later.
///
/// Trade: shorter leaves a path that is only quiet: Chromium checks one without media every 2.5 s. A viewer
/// who receives, and a publisher, are heard many times a second.
const SILENT: Duration = Duration::from_secs(3);

/// The same once the peer uses the credentials of an ICE restart, by which it says that its path is bad.
///
/// Trade: longer than the time between a viewer's reports, so that a restart of a good path moves nothing
/// before the peer nominates.
const SILENT_AFTER_RESTART: Duration = Duration::from_millis(500);

/// What an authenticated check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StunOutcome {
    /// The path was not validated before: the demux must learn it.
    pub new_path: bool,
    /// The check made this path the selected one.
    pub selected: bool,
    /// Until then media went where nothing came from any more: what was sent there is lost.
    pub left_silence: bool,
    /// A path that is no longer valid, for the demux to forget. Others die in `restart`s, see
    /// `Transport::is_validated`.
    pub evicted: Option<Path>,
}

#[derive(Debug, Clone, Copy)]
struct Validated {
    path: Path,
    last_check: Instant,
}

/// Our credentials, the peer's validated paths and its consent.
#[derive(Debug)]
pub(super) struct IceAgent {
    local: IceCredentials,
    /// Credentials of a restart, not used by the peer yet.
    next: Option<Box<IceCredentials>>,
    paths: Vec<Validated>,
    selected: Option<Path>,
    /// When something authentic last came from the selected path.
    selected_heard: Option<Instant>,
    /// The peer used the credentials of a restart, and media did not go elsewhere since.
    restarted: bool,
    last_authenticated: Option<Instant>,
}

impl IceAgent {
    pub(super) fn new(local: IceCredentials) -> Self {
        Self {
            local,
            next: None,
            paths: Vec::new(),
            selected: None,
            selected_heard: None,
            restarted: false,
            last_authenticated: None,
        }
    }

    /// Have new credentials ready; the present ones die when the new ones are first used.
    pub(super) fn restart(&mut self, local: IceCredentials) {
        self.next = Some(Box::new(local));
    }

    /// Check, answer and account a request. Nothing is answered or changed without integrity.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        path: Path,
        request: &StunRequest<'_>,
        egress: &mut Egress<'_>,
    ) -> Result<StunOutcome, DropReason> {
        let ufrag = request.local_ufrag();
        let restarted = match &self.next {
            Some(next) if next.ufrag == ufrag => true,
            _ if self.local.ufrag == ufrag => false,
            _ => return Err(DropReason::StunUnknownUfrag),
        };
        let credentials = self.next.as_deref().filter(|_| restarted).unwrap_or(&self.local);
        request.check_integrity(&credentials.password)?;
        let start = egress.begin();
        if request.controlled {
            stun::write_role_conflict(egress.buffer(), request, &credentials.password);
        } else if let Some(unknown) = request.unknown_attribute {
            stun::write_unknown_attribute(egress.buffer(), request, unknown, &credentials.password);
        } else {
            stun::write_success(egress.buffer(), request, path.remote, &credentials.password);
        }
        let len = egress.buffer().len() - start;
        egress.commit(path, start, len);
        if request.controlled || request.unknown_attribute.is_some() {
            return Ok(StunOutcome::default());
        }
        if restarted {
            self.adopt_restart();
        }
        Ok(self.validate(now, path, request.use_candidate))
    }

    fn adopt_restart(&mut self) {
        if let Some(next) = self.next.take() {
            self.local = *next;
            // The old path stays selected until the new session nominates one or it is silent, so that
            // media does not pause; but only new checks keep an address valid from here on.
            self.restarted = true;
            self.paths.retain(|known| Some(known.path) == self.selected);
        }
    }

    fn validate(&mut self, now: Instant, path: Path, use_candidate: bool) -> StunOutcome {
        let mut outcome = StunOutcome::default();
        match self.paths.iter_mut().find(|known| known.path == path) {
            Some(known) => known.last_check = now,
            None => {
                outcome.new_path = true;
                outcome.evicted = self.make_room();
                self.paths.push(Validated { path, last_check: now });
            }
        }
        let before = self.selected;
        let silent = self
            .selected_heard
            .is_some_and(|last| now.saturating_duration_since(last) >= SILENT_AFTER_RESTART);
        if use_candidate || before.is_none() {
            self.select(now, path);
        }
        self.heard(now, path);
        outcome.selected = self.selected != before;
        outcome.left_silence = outcome.selected && silent;
        outcome
    }

    fn select(&mut self, heard: Instant, path: Path) {
        self.restarted &= self.selected == Some(path);
        self.selected = Some(path);
        self.selected_heard = Some(heard);
    }

    fn make_room(&mut self) -> Option<Path> {
        if self.paths.len() < MAX_PATHS {
            return None;
        }
        let (oldest, _) = self
            .paths
            .iter()
            .enumerate()
            .filter(|(_, known)| Some(known.path) != self.selected)
            .min_by_key(|(_, known)| known.last_check)?;
        Some(self.paths.swap_remove(oldest).path)
    }

    /// This path is over: its TCP connection has ended. Media goes on by the path that was checked last, or
    /// waits for the next check.
    pub(super) fn forget(&mut self, path: Path) {
        self.paths.retain(|known| known.path != path);
        if self.selected == Some(path) {
            self.selected = None;
            let last = self.paths.iter().max_by_key(|known| known.last_check).copied();
            if let Some(Validated { path, last_check }) = last {
                self.select(last_check, path);
            }
        }
    }

    /// Account a handshake that ended well: the peer is there, by whatever path.
    pub(super) fn authenticated(&mut self, now: Instant) {
        self.last_authenticated = Some(now);
    }

    /// Account something that only this peer can have sent, from a path that its checks validated: if nothing
    /// comes from the selected path any more, media follows the peer to this one.
    ///
    /// A copy of the peer's own packet from elsewhere moves nothing while the peer is heard, and media changes
    /// its path at most once in [`SILENT_AFTER_RESTART`] without being told to.
    pub(super) fn heard(&mut self, now: Instant, path: Path) {
        self.last_authenticated = Some(now);
        if self.selected == Some(path) {
            self.selected_heard = Some(now);
        } else if self.is_silent(now) && self.is_validated(path) {
            self.select(now, path);
        }
    }

    /// Whether the selected path has been silent for too long.
    fn is_silent(&self, now: Instant) -> bool {
        let limit = if self.restarted { SILENT_AFTER_RESTART } else { SILENT };
        self.selected_heard.is_some_and(|last| now.saturating_duration_since(last) >= limit)
    }

    /// The path to send on.
    pub(super) fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Whether a valid check came from this path.
    pub(super) fn is_validated(&self, path: Path) -> bool {
        self.paths.iter().any(|known| known.path == path)
    }

    pub(super) fn last_authenticated(&self) -> Option<Instant> {
        self.last_authenticated
    }

    pub(super) fn may_send(&self, now: Instant) -> bool {
        self.selected.is_some()
            && self.last_authenticated.is_some_and(|last| now.duration_since(last) < CONSENT)
    }
}

/// The peer's credentials are kept for the SDP of a later restart only: a lite agent sends no
/// checks, and the username's remote half is covered by our own MESSAGE-INTEGRITY.
pub(super) fn remote_changed(old: Option<&Remote>, new: &Remote) -> bool {
    old.is_none_or(|old| old.fingerprint != new.fingerprint || old.role != new.role)
}

#[cfg(test)]
mod tests;
