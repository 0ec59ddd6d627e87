//! One live show: everything a room decides, as a pure function of its state and one input.
//!
//! [`Room::step`] takes an input and appends [`Effect`]s. What people receive (seat slots, gates,
//! who sees backstage, seat events) is not sent by the single commands: at the end of a step
//! `sync` compares what should be with what was last applied and sends the difference. So no
//! command can forget it.

mod claims;
mod effect;
mod floor;
mod guests;
mod input;
mod kept;
mod life;
mod media;
mod moderate;
mod money;
mod people;
mod sync;
mod talk;
mod tell;
mod token;
mod view;

pub use effect::*;
pub use input::*;
pub use kept::WasOn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::chat::Chat;
use crate::economy::Catalogue;
use crate::media::{Channel, MediaEvent, Seat, TransportId};
use crate::moderation::Moderation;
use crate::protocol::{
    Answer, ByeReason, Code, Command, EndReason, Envelope, EventMessage, GuestPolicy, Person,
    Refusal, RoomId, UserId,
};
use crate::rate::{Pace, Rate};
use crate::stage::{Kinds, Rules, Stage};

use floor::Floor;
use life::Life;
use media::Publisher;
use money::Combos;
use sync::Applied;
use tell::Pulse;
use token::Tokens;

/// What a new room is made of.
#[derive(Clone)]
pub struct RoomInit {
    /// Its slug.
    pub room: RoomId,
    /// Its host: the token's subject that created it.
    pub host: Person,
    /// Title; the host's name if empty.
    pub title: String,
    /// Guest policy.
    pub policy: GuestPolicy,
    /// 32 random bytes from a CSPRNG: the source of guest ids and resume tokens of this room.
    pub secret: [u8; 32],
    /// Most people at once.
    pub max_people: usize,
    /// How fast one person may send gifts.
    pub gift_pace: Pace,
}

impl RoomInit {
    /// A room with the defaults.
    #[must_use]
    pub fn new(room: RoomId, host: Person, secret: [u8; 32]) -> Self {
        let title = host.name.as_str().to_owned();
        Self {
            room,
            host,
            title,
            policy: GuestPolicy::default(),
            secret,
            max_people: MAX_PEOPLE,
            gift_pace: GIFT_PACE,
        }
    }
}

/// People per room. Trade: one room's task applies an event to that many outboxes.
pub const MAX_PEOPLE: usize = 10_000;
/// Gifts of one person: ten a second, twenty at once. Trade: faster than anybody taps, and a script
/// costs the ledger no more than ten people do.
pub const GIFT_PACE: Pace = Pace::new(10, 20);
/// Connections of one person in one room. Trade: a phone, a laptop and some forgotten tabs.
pub const MAX_CONNS: usize = 8;

/// A connection in the room.
#[derive(Debug)]
struct Conn {
    user: UserId,
    carrier: Carrier,
    watch: Option<TransportId>,
    /// Guest seats in its watch offer.
    guest_seats: u8,
    /// Its data channels that carry: events, effects.
    events: bool,
    effects: bool,
}

/// Somebody who is here, with at least one connection (or with media that still flows).
#[derive(Debug)]
struct Participant {
    who: Identity,
    conns: Vec<ConnId>,
    likes: Rate,
    gifts: Rate,
}

/// One live show. Owned by one task; never shared.
pub struct Room {
    id: RoomId,
    host: Person,
    title: String,
    max_people: usize,
    gift_pace: Pace,
    now: u64,
    life: Life,
    stage: Stage,
    tokens: Tokens,
    conns: BTreeMap<ConnId, Conn>,
    people: BTreeMap<UserId, Participant>,
    /// The host, and moderators who are here.
    staff: BTreeSet<UserId>,
    /// Who accepted the house rules, and how many coins each gave; kept after they leave.
    accepted_rules: BTreeMap<UserId, ()>,
    scores: BTreeMap<UserId, u64>,
    watchers: BTreeMap<TransportId, ConnId>,
    publishers: BTreeMap<TransportId, Publisher>,
    host_publisher: Option<TransportId>,
    applied: Applied,
    written: kept::Written,
    seq: u64,
    ring: VecDeque<Arc<EventMessage>>,
    events_open: usize,
    effects_open: usize,
    floor: Floor,
    pulse: Pulse,
    chat: Chat,
    moderation: Moderation,
    catalogue: Catalogue,
    combos: Combos,
    likes: u64,
    coins: u64,
    names: BTreeMap<UserId, crate::protocol::Name>,
    peak: u32,
    guests_on_air: BTreeMap<UserId, ()>,
    out: Vec<Effect>,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Events kept for `room.resync`. Trade: half a minute of a busy show, 150 kB.
const RING: usize = 512;

impl Room {
    /// A room in `preview`.
    #[must_use]
    pub fn new(now_ms: u64, init: RoomInit) -> Self {
        let title = match init.title.trim() {
            "" => init.host.name.as_str().to_owned(),
            title => title.to_owned(),
        };
        let names = BTreeMap::from([(init.host.user.clone(), init.host.name.clone())]);
        let staff = BTreeSet::from([init.host.user.clone()]);
        let mut room = Self {
            id: init.room,
            host: init.host,
            title,
            max_people: init.max_people,
            gift_pace: init.gift_pace,
            now: now_ms,
            life: Life::preview(now_ms),
            stage: Stage::new(init.policy, Rules::default()),
            tokens: Tokens::new(init.secret),
            conns: BTreeMap::new(),
            people: BTreeMap::new(),
            staff,
            accepted_rules: BTreeMap::new(),
            scores: BTreeMap::new(),
            watchers: BTreeMap::new(),
            publishers: BTreeMap::new(),
            host_publisher: None,
            applied: Applied::default(),
            written: kept::Written::default(),
            seq: 0,
            ring: VecDeque::new(),
            events_open: 0,
            effects_open: 0,
            floor: Floor::default(),
            pulse: Pulse::default(),
            chat: Chat::default(),
            moderation: Moderation::default(),
            catalogue: Catalogue::default(),
            combos: Combos::default(),
            likes: 0,
            coins: 0,
            names,
            peak: 0,
            guests_on_air: BTreeMap::new(),
            out: Vec::new(),
        };
        room.out.push(Effect::Store(StoreWrite::RoomOpened {
            room: room.id.clone(),
            host: room.host.user.clone(),
            title: room.title.clone(),
            at: now_ms,
        }));
        room
    }

    /// Take one input at `now_ms` (milliseconds since the epoch, never going back) and append what
    /// is to be done to `effects`.
    pub fn step(&mut self, now_ms: u64, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now_ms);
        if self.life.is_over() {
            self.refuse_all(input);
        } else {
            self.run_due();
            let closing = self.take(input);
            self.sync();
            self.out.extend(closing);
            if self.life.is_over() {
                self.say_goodbye();
            }
        }
        effects.append(&mut self.out);
    }

    /// One input. The returned effects come after everything else of the step.
    fn take(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Join { conn, id, who, join, carrier, transport } => {
                return self.join(conn, id, who, &join, carrier, transport);
            }
            Input::Command { conn, id, command, transport } => {
                let to = ReplyTo { conn, id, via: Via::Connection };
                return self.command(to, command, transport);
            }
            Input::Media { transport, event: MediaEvent::Data(channel, bytes) } => {
                return self.data(transport, channel, &bytes);
            }
            Input::Refreshed { conn, who } => self.refreshed(conn, who),
            Input::Left { conn } => self.left(conn),
            Input::Media { transport, event } => self.media_event(transport, &event),
            Input::MediaAccepted { transport, audio, video } => {
                self.media_accepted(transport, Kinds { audio, video });
            }
            Input::MediaRefused { transport } => self.transport_gone(transport),
            Input::GiftDone { ask, result } => return self.gift_done(&ask, result),
            Input::End { reason } => self.end(reason),
            Input::Timer => {}
        }
        Vec::new()
    }

    /// A command of a connection in the room.
    fn command(
        &mut self,
        to: ReplyTo,
        command: Command,
        transport: Option<TransportId>,
    ) -> Vec<Effect> {
        let Some(user) = self.conns.get(&to.conn).map(|conn| conn.user.clone()) else {
            return vec![Effect::Reply { to, result: Err(Code::NotJoined.into()) }];
        };
        let result = match command {
            Command::MediaOffer(offer) => return self.media_offer(to, &user, offer.sdp, transport),
            Command::MediaAnswer(answer) => return self.media_answer(to, answer),
            Command::MediaGrow(_) => return self.media_grow(to),
            Command::MediaRestart(restart) => return self.media_restart(to, restart),
            Command::GiftSend(gift) => return self.gift_send(to, &user, &gift),
            Command::WalletGet(_) => return vec![Effect::Wallet { to, user }],
            other => self.plain(to.conn, &user, other),
        };
        vec![Effect::Reply { to, result }]
    }

    /// A command that is answered at once.
    fn plain(&mut self, conn: ConnId, user: &UserId, command: Command) -> Result<Answer, Refusal> {
        use Command as C;
        match command {
            C::Hello(_) | C::RoomJoin(_) => Err(Code::AlreadyJoined.into()),
            C::RoomLeave(_) => {
                self.leave_room(conn);
                Ok(Answer::EMPTY)
            }
            C::RoomResync(ask) => Ok(self.resync(user, ask.from_seq)),
            C::TokenRefresh(_) | C::MediaCandidate(_) => Ok(Answer::EMPTY),
            C::Ping(_) => Ok(Answer::Pong(crate::protocol::Pong { ts: self.now })),
            C::RulesAccept(rules) => self.accept_rules(user, rules.version),
            C::RoomStart(start) => self.start(user, start.title),
            C::RoomPause(pause) => self.pause(user, pause),
            C::RoomResume(_) => self.resume_show(user),
            C::RoomEnd(_) => self.end_by_host(user),
            C::RoomUpdate(update) => self.update(user, update),
            C::MediaUnpublish(_) => self.unpublish(conn),
            C::MediaMute(mute) => self.mute_self(user, &mute.kinds, mute.on),
            C::LayerPrefer(prefer) => {
                let (seat, size) = (Seat(prefer.seat), prefer.size());
                self.shown(conn, |transport| MediaAsk::PreferLayer { transport, seat, size })
            }
            C::MediaPause(pause) => {
                let (seats, on) = (pause.seats(), pause.on);
                self.shown(conn, |transport| MediaAsk::PauseVideo { transport, seats, on })
            }
            C::MemberList(_) => self.member_list(user),
            C::ChatSend(chat) => self.chat_send(user, chat),
            C::ChatHistory(ask) => Ok(self.chat_history(&ask)),
            C::ModMute(ask) => self.chat_mute(user, &ask.user, ask.ms),
            C::ModUnmute(ask) => self.chat_unmute(user, &ask.user),
            C::ModKick(ask) => self.kick(user, ask.user),
            C::ModBan(ask) => self.ban(user, ask.user, ask.ms),
            C::ModUnban(ask) => self.unban(user, &ask.user),
            C::GiftCatalog(_) => Ok(self.gift_catalog()),
            C::Like(like) => self.like(user, like.n),
            guest => self.guest_command(user, guest),
        }
    }

    /// A message on a data channel: the same JSON, one parser.
    fn data(&mut self, transport: TransportId, channel: Channel, bytes: &[u8]) -> Vec<Effect> {
        let Some(conn) = self.watchers.get(&transport).copied() else { return Vec::new() };
        let Ok(text) = std::str::from_utf8(bytes) else { return Vec::new() };
        let via = Via::Gifts(transport);
        let envelope = match Envelope::parse(text) {
            Ok(envelope) => envelope,
            Err(error) => {
                let refuse = |id| {
                    let to = ReplyTo { conn, id, via };
                    Effect::Reply { to, result: Err(error.refusal.clone()) }
                };
                return error.id.map(refuse).into_iter().collect();
            }
        };
        let to = ReplyTo { conn, id: envelope.id, via };
        let command = match (channel, envelope.command()) {
            (
                Channel::Gifts,
                Ok(command @ (Command::GiftSend(_) | Command::WalletGet(_) | Command::Ping(_))),
            ) => command,
            (Channel::Gifts | Channel::Effects, Ok(command @ Command::Like(_))) => command,
            (_, Ok(_)) => {
                let refusal =
                    Refusal::new(Code::BadRequest).because("This command goes over the WebSocket.");
                return vec![Effect::Reply { to, result: Err(refusal) }];
            }
            (_, Err(refusal)) => return vec![Effect::Reply { to, result: Err(refusal) }],
        };
        self.command(to, command, None)
    }

    fn refuse_all(&mut self, input: Input) {
        let (to, code) = match input {
            Input::Join { conn, id, .. } | Input::Command { conn, id, .. } => {
                (ReplyTo { conn, id, via: Via::Connection }, Code::RoomEnded)
            }
            Input::GiftDone { ask, result } => {
                // Paid is paid: the receipt goes out even when the show is over.
                let result = result.map(|receipt| money::stored(&receipt));
                self.out.push(Effect::Reply { to: ask.to, result });
                return;
            }
            _ => return,
        };
        self.out.push(Effect::Reply { to, result: Err(code.into()) });
    }

    /// After `room.ended`: everybody out, then the room itself.
    fn say_goodbye(&mut self) {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.out.push(Effect::CloseConn { conn, reason: ByeReason::RoomEnded });
        }
        self.conns.clear();
        self.people.clear();
        self.out.push(Effect::Media(MediaAsk::CloseRoom));
        self.out.push(Effect::RoomClosed);
    }

    /// When to call [`Self::step`] with [`Input::Timer`], in milliseconds since the epoch.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        if self.life.is_over() {
            return None;
        }
        let all = [
            self.stage.next_deadline(),
            self.life.next_deadline(),
            self.combos.next_deadline(),
            self.floor.next_deadline(),
            self.next_pulse(),
        ];
        all.into_iter().flatten().min()
    }

    /// Everything that time alone brings about by now.
    fn run_due(&mut self) {
        let mut told = Vec::new();
        self.stage.expire(self.now, &mut told);
        self.stage_told(told);
        self.run_life();
        if self.life.is_over() {
            return;
        }
        self.close_combos();
        self.beat();
    }

    /// Its slug.
    #[must_use]
    pub fn id(&self) -> &RoomId {
        &self.id
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &Person {
        &self.host
    }

    /// Whose watch transport this is.
    #[must_use]
    pub fn watcher(&self, transport: TransportId) -> Option<ConnId> {
        self.watchers.get(&transport).copied()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.life.is_over()
    }

    /// Put back what was kept: bans (`None` = for good), chat mutes and accepted rules. Call before
    /// the first step.
    pub fn restore(
        &mut self,
        bans: impl IntoIterator<Item = (UserId, Option<u64>)>,
        mutes: impl IntoIterator<Item = (UserId, u64)>,
        accepted_rules: impl IntoIterator<Item = UserId>,
    ) {
        for (user, until) in bans {
            self.moderation.ban(user, until);
        }
        for (user, until) in mutes {
            self.moderation.mute(user, until);
        }
        self.accepted_rules.extend(accepted_rules.into_iter().map(|user| (user, ())));
    }

    fn end(&mut self, reason: EndReason) {
        self.end_show(reason);
    }
}

#[cfg(test)]
mod tests;
