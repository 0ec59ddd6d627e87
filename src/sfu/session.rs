//! A transport with its purpose: what this shard knows about one link.

use std::time::{Duration, Instant};

use signaling::media::{RoomKey, Seat, TileSize, TransportId};

use crate::rtp::track::TrackOut;

use super::bandwidth::downlink::Downlink;
use super::egress::Path;
use super::publisher::Publisher;
use super::subscription::{Link, Subscription};
use super::transport::{Profile, Transport};

/// One transport on this shard.
#[derive(Debug)]
pub struct Session {
    /// Its id, known to the room.
    pub id: TransportId,
    /// The room it belongs to.
    pub room: RoomKey,
    /// ICE, DTLS, SRTP and SCTP.
    pub transport: Transport,
    /// `Lost` after this long without an authenticated packet.
    pub lost_after: Duration,
    /// `Lost` was told and `Back` was not.
    pub lost: bool,
    /// What protects its media, once keys exist.
    pub profile: Option<Profile>,
    /// Paths that lead here.
    pub paths: Vec<Path>,
    /// Local ufrags that lead here: the one in use, and after an ICE restart the next one.
    pub ufrags: Vec<String>,
    /// The deadline in the heap that counts.
    pub wake: Option<Instant>,
    /// What a viewer's network takes, by what its client tells; once it watches video.
    pub downlink: Option<Box<Downlink>>,
    /// Direction.
    pub role: Role,
}

/// One-way: a session publishes or watches.
#[derive(Debug)]
pub enum Role {
    /// The client sends.
    Publish(Box<Publisher>),
    /// The client receives.
    Watch(Watcher),
}

/// The slots of a watch session.
#[derive(Debug)]
pub struct Watcher {
    /// Receives backstage seats.
    pub backstage: bool,
    /// Never receives this seat.
    pub own_seat: Option<Seat>,
    /// So many voices it hears, the loudest; all from [`ALL`](super::loudest::ALL) on.
    pub top: u8,
    /// How it shows each seat.
    pub views: Box<[View; Seat::COUNT]>,
    /// One per m-line the peer accepted.
    pub slots: Vec<OutSlot>,
}

impl Watcher {
    /// How it shows a seat.
    #[must_use]
    pub fn view(&self, seat: Seat) -> View {
        self.views.get(usize::from(seat.0)).copied().unwrap_or_default()
    }
}

/// How a viewer shows a seat, whoever fills it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct View {
    /// How large; `None` = it did not say.
    pub tile: Option<TileSize>,
    /// Its video is not shown, and not sent.
    pub paused: bool,
}

/// One slot: either parked here, or attached to the publication that fills it.
#[derive(Debug)]
pub struct OutSlot {
    /// What was negotiated.
    pub track: TrackOut,
    /// Where its subscription is.
    pub place: Place,
    /// Where it moves to: another layer of the same track.
    pub aim: Option<Aim>,
}

/// A layer that a slot waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    /// Index of its publication: the slot moves with the next key frame there.
    pub publication: u32,
    /// What is shown until then takes more than the viewer's network has. What gets lost of it is not sent again: that
    /// would stand in the network's queue before the key frame, for a picture which that replaces.
    pub falls: bool,
}

/// Where the subscription of a slot is kept.
#[derive(Debug)]
pub enum Place {
    /// The slot is empty; the outgoing numbers wait here.
    Parked(Box<Subscription>),
    /// In `publications[publication].subscriptions[position]`.
    Attached {
        /// Index of the publication.
        publication: u32,
        /// Index in its subscriptions.
        position: u32,
    },
}

impl Session {
    /// Keys exist.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.profile.is_some()
    }

    /// Where packets for this viewer go, once it has keys and a path.
    pub fn link(&mut self) -> Option<Link<'_>> {
        let sender = self.transport.srtp_sender()?;
        let path = self.transport.path()?;
        Some(Link { sender, path, downlink: self.downlink.as_deref_mut() })
    }

    /// Whether video that has not begun must wait, because the viewer's network did not take it.
    pub fn rests(&mut self, now: Instant) -> bool {
        self.downlink.as_mut().is_some_and(|downlink| downlink.rests(now))
    }

    /// The earliest moment something must happen here without a packet.
    #[must_use]
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let feedback = match &self.role {
            Role::Publish(publisher) if self.is_connected() => Some(publisher.next_due()),
            _ => None,
        };
        let lost = (self.is_connected() && !self.lost)
            .then(|| self.transport.last_authenticated().map(|at| at + self.lost_after))
            .flatten();
        let probe = self.downlink.as_ref().and_then(|downlink| downlink.next_due());
        [self.transport.poll_timeout(), feedback, lost, probe]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(now))
    }
}

// What a fan-out reads of every viewer. Slots lie one behind the other, four cache lines each; of a
// session it reads the few lines of its transport, and the rest makes a thousand viewers a megabyte. What
// is rare belongs into a box.
const _: () = assert!(size_of::<Subscription>() <= 256);
const _: () = assert!(size_of::<Session>() <= 784);
