//! The rooms of this process: a directory of names, and one task per room that owns a
//! [`Room`], feeds it and carries out what it decides.

mod apply;
mod asks;
mod card;
mod clock;
pub(crate) mod conns;
mod keep;
pub mod outbox;
mod participant;
mod registry;
mod stats;
pub(crate) mod task;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::{mpsc, oneshot, watch};

pub use card::Card;
pub use clock::Clock;
pub use participant::Participant;
pub use registry::SeatRegistry;
pub use stats::Stats;

use crate::limits::Limits;
use crate::media::{
    AddressedMediaEvent, MediaCommand, MediaEvent, MediaHandle, RoomKey, TransportId,
};
use crate::protocol::{Code, GuestId, Name, Person, Refusal, RoomId, TokenRole, UserId};
use crate::rate::{Pace, SharedRate};
use crate::room::{ConnId, Identity, Room, RoomInit, WasOn};
use crate::store::{AttemptRecord, Store};
use task::Message;

/// Ended rooms that are remembered by name. Trade: 100 000 names are a few megabytes; past that,
/// who comes late reads `room_not_found` instead of `room_ended`.
const ENDED: usize = 100_000;

/// All rooms; cheap to clone.
#[derive(Debug, Clone)]
pub struct Rooms {
    shared: Arc<Shared>,
}

/// What every room task reaches.
pub(crate) struct Shared {
    pub(crate) media: MediaHandle,
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) seats: SeatRegistry,
    pub(crate) stats: Stats,
    by_name: DashMap<RoomId, RoomHandle>,
    /// Rooms that were here and are over, for the right answer to who comes late.
    ended: DashMap<RoomId, ()>,
    by_key: DashMap<RoomKey, mpsc::UnboundedSender<(TransportId, MediaEvent)>>,
    /// Turns true when the rooms have to go to sleep.
    pub(crate) stop: watch::Sender<bool>,
    next_key: AtomicU32,
    next_conn: AtomicU64,
}

/// The way into one room's task.
#[derive(Debug, Clone)]
pub(crate) struct RoomHandle {
    pub(crate) key: RoomKey,
    mailbox: mpsc::Sender<Message>,
    card: watch::Receiver<Card>,
    joins: Arc<SharedRate>,
}

impl RoomHandle {
    /// Queue a message for the room, unless its mailbox is full.
    pub(crate) fn tell(&self, message: Message) -> Result<(), Refusal> {
        self.mailbox.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::overloaded(),
            mpsc::error::TrySendError::Closed(_) => Refusal::new(Code::RoomEnded),
        })
    }

    /// Queue a message that must not be lost; waits while the mailbox is full.
    pub(crate) async fn tell_surely(&self, message: Message) {
        // A closed mailbox is a room that has ended and forgotten everybody.
        let _ = self.mailbox.send(message).await;
    }

    /// Take one join from the room's rate.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub(crate) fn may_join(&self, now_ms: u64) -> Result<(), Refusal> {
        let wait = |wait_ms| Refusal::new(Code::RateLimited).retry_after(wait_ms);
        self.joins.take(now_ms).map_err(wait)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.mailbox.is_closed()
    }
}

impl Rooms {
    /// An empty directory.
    #[must_use]
    pub fn new(media: MediaHandle, store: Store, limits: Limits) -> Self {
        let shared = Shared {
            media,
            store,
            limits,
            clock: Clock::start(),
            seats: SeatRegistry::default(),
            stats: Stats::default(),
            by_name: DashMap::new(),
            by_key: DashMap::new(),
            ended: DashMap::new(),
            stop: watch::Sender::new(false),
            next_key: AtomicU32::new(1),
            next_conn: AtomicU64::new(1),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The clock all rooms share.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Rooms that have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.by_name.len()
    }

    /// Whether there is no room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Carry media events to their rooms until the media plane is gone.
    pub async fn route(self, mut events: mpsc::Receiver<AddressedMediaEvent>) {
        while let Some(AddressedMediaEvent { room, transport, event }) = events.recv().await {
            // An event of a room that has just ended has nobody to tell.
            if let Some(inbox) = self.shared.by_key.get(&room) {
                let _ = inbox.send((transport, event));
            }
        }
    }

    /// Bring back the shows that were on air when the server stopped, as `paused(host_lost)`; their
    /// hosts have a fresh grace to return. Call before anybody is let in. Returns how many.
    ///
    /// # Errors
    /// The store's refusal when it cannot be read.
    pub async fn bring_back(&self) -> Result<usize, Refusal> {
        let mut back = 0;
        for kept in self.shared.store.open_rooms().await? {
            let record = kept.room;
            let started_at = record.started_at.and_then(|at| u64::try_from(at).ok());
            // A preview is made again by its host's next join.
            let Some(started_at) = started_at else { continue };
            let (Ok(name), Ok(user)) = (RoomId::new(&record.room), UserId::new(&record.host))
            else {
                continue;
            };
            let host = Person { name: Name::clean(user.as_str()), user };
            let guest = |attempt: AttemptRecord| {
                let ids = (GuestId::new(&attempt.guest).ok()?, UserId::new(&attempt.user).ok()?);
                Some((ids.0, ids.1, attempt.record))
            };
            let guests = kept.kept.attempts.into_iter().filter_map(guest).collect();
            let was_on = WasOn { started_at, settings: record.settings, guests };
            let handle = self.open(&name, &host, Some((record.title, was_on)));
            self.shared.by_name.insert(name, handle);
            back += 1;
        }
        Ok(back)
    }

    /// End every room's task, without ending the shows: they are `paused` after a restart.
    pub fn stop(&self) {
        self.shared.stop.send_replace(true);
        self.shared.by_name.clear();
        self.shared.by_key.clear();
    }

    /// Rooms on air, the fullest first.
    #[must_use]
    pub fn live(&self) -> Vec<Card> {
        let mut cards: Vec<Card> = self
            .shared
            .by_name
            .iter()
            .map(|entry| entry.card.borrow().clone())
            .filter(|card| card.since.is_some())
            .collect();
        cards.sort_by(|a, b| b.viewers.cmp(&a.viewers).then_with(|| a.room.cmp(&b.room)));
        cards
    }

    pub(crate) fn next_conn(&self) -> ConnId {
        ConnId(self.shared.next_conn.fetch_add(1, Ordering::Relaxed))
    }

    /// A transport id for a command that may need one; `None` = the media plane is stopping.
    pub(crate) async fn allocate(&self) -> Option<TransportId> {
        let (reply, id) = oneshot::channel();
        if !self.shared.media.send(MediaCommand::Allocate { reply }).await {
            return None;
        }
        id.await.ok()
    }

    /// The media plane.
    #[must_use]
    pub fn media(&self) -> &MediaHandle {
        &self.shared.media
    }

    /// Whether this person has accepted the house rules once. A store that cannot say costs them
    /// another click.
    pub(crate) async fn accepted_rules(&self, user: &UserId) -> bool {
        matches!(self.shared.store.rules_accepted(user.as_str()).await, Ok(Some(_)))
    }

    /// The room that `who` wants to join, made when it does not exist and they are a host; takes
    /// one join from its rate.
    ///
    /// # Errors
    /// `room_not_found`, `room_ended`, `rate_limited`.
    pub(crate) async fn door(&self, name: &RoomId, who: &Identity) -> Result<RoomHandle, Refusal> {
        let host = Person { user: who.user.clone(), name: who.name.clone() };
        let host = (who.role == TokenRole::Host).then_some(&host);
        let room = match self.find(name, host) {
            // Ended before the last restart.
            Err(refusal)
                if refusal.code == Code::RoomNotFound
                    && self.shared.store.has_ended(name.as_str()).await == Ok(true) =>
            {
                Err(Code::RoomEnded.into())
            }
            found => found,
        }?;
        room.may_join(self.shared.clock.now_ms())?;
        Ok(room)
    }

    /// The room of this name; `host` makes it when it does not exist or is over.
    fn find(&self, name: &RoomId, host: Option<&Person>) -> Result<RoomHandle, Refusal> {
        if let Some(found) = self.shared.by_name.get(name).filter(|found| !found.is_over()) {
            return Ok(found.clone());
        }
        let Some(host) = host else {
            let ended = self.shared.ended.contains_key(name);
            return Err(if ended { Code::RoomEnded } else { Code::RoomNotFound }.into());
        };
        Ok(match self.shared.by_name.entry(name.clone()) {
            Entry::Occupied(found) if !found.get().is_over() => found.get().clone(),
            Entry::Occupied(mut over) => {
                let handle = self.open(name, host, None);
                over.insert(handle.clone());
                handle
            }
            Entry::Vacant(free) => free.insert(self.open(name, host, None)).clone(),
        })
    }

    #[expect(clippy::disallowed_methods, reason = "I/O shell")]
    fn open(&self, name: &RoomId, host: &Person, was_on: Option<(String, WasOn)>) -> RoomHandle {
        let key = RoomKey(self.shared.next_key.fetch_add(1, Ordering::Relaxed));
        let (mailbox, messages) = mpsc::channel(self.shared.limits.room_mailbox);
        // Unbounded, because a lost `Closed` would leave a seat taken for ever. What a client can
        // make the media plane say is bounded there: a few facts per transport, and 16 KiB
        // messages at the pace of its own SCTP window.
        let (facts, media) = mpsc::unbounded_channel();
        self.shared.by_key.insert(key, facts);
        let mut first = Card::new(name, host);
        let mut init = RoomInit::new(name.clone(), host.clone(), rand::random());
        let limits = &self.shared.limits;
        init.max_people = limits.viewers_per_room;
        init.gift_pace = Pace::new(limits.gifts_per_second, limits.gifts_burst);
        let joins = Pace::new(limits.joins_per_second, limits.joins_per_second);
        if let Some((title, _)) = &was_on {
            init.title.clone_from(title);
        }
        let mut room = Room::new(self.shared.clock.now_ms(), init);
        if let Some((title, was_on)) = was_on {
            room.bring_back(&was_on);
            let host = room.host().clone();
            first = Card { title, host, since: Some(was_on.started_at), ..first };
        }
        let (card, watched) = watch::channel(first);
        let task = task::RoomTask::new(self.shared.clone(), key, room, card);
        tokio::spawn(task.run(messages, media));
        RoomHandle { key, mailbox, card: watched, joins: Arc::new(SharedRate::new(joins)) }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("rooms", &self.by_name.len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Ask the media plane; waits while it is behind.
    pub(crate) async fn tell_media(&self, command: MediaCommand) {
        if !self.media.send(command).await {
            tracing::debug!("the media plane is stopping");
        }
    }

    /// Forget a room that is over, unless its name has been taken again.
    pub(crate) fn forget(&self, name: &RoomId, key: RoomKey) {
        self.by_key.remove(&key);
        if self.ended.len() < ENDED {
            self.ended.insert(name.clone(), ());
        }
        self.by_name.remove_if(name, |_, handle| handle.key == key);
    }
}
