//! One room with six people who ask for whatever the input says, in any order, while media comes and goes: nothing
//! panics, every command has one answer, numbered events have no gap, nobody sits twice, and no timer spins.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use signaling::economy::GiftReceipt;
use signaling::economy::gift::GiftReply;
use signaling::media::{CloseReason, MediaEvent, MediaKind, Seat, TransportId};
use signaling::protocol::{
    Code, Command, EndReason, Name, Perm, Person, Reply, RoomId, RoomJoin, TokenRole, TransportRef,
    UserId,
};
use signaling::room::{
    Carrier, ConnId, Effect, GiftAsk, Identity, Input, MediaAsk, Room, RoomInit,
};

use super::script::Script;

const MAX_STEPS: usize = 400;
const START_MS: u64 = 1_700_000_000_000;
const OFFER: &str = "v=0\r\nm=audio 9\r\nm=video 9\r\n";
/// Turns of the timer within one step, which is a quarter of an hour at most.
const MAX_TIMERS: u32 = 20_000;

const PEOPLE: [&str; 6] = ["host", "ann", "bob", "eve", "mod", "admin"];

/// Commands; `$u` = a person, `$g` = an Attempt that exists or did, `$n` = a small number, `$k` = kinds, `$b` = a
/// boolean, `$m` = guest media, `$t` = a transport, `$w` = a word, `$z` = a long time in ms.
const COMMANDS: &[(&str, &str)] = &[
    ("guest.request", r#"{"media":"$m","note":"$w"}"#),
    ("guest.cancel", r#"{"guestId":"$g"}"#),
    ("guest.invite", r#"{"user":"$u"}"#),
    ("guest.invite", r#"{"user":"$u","seat":$n,"media":"$m","message":"$w"}"#),
    ("guest.revoke", r#"{"guestId":"$g"}"#),
    ("guest.accept", r#"{"guestId":"$g","media":"$m"}"#),
    ("guest.accept", r#"{"guestId":"$g","media":"$m"}"#),
    ("guest.decline", r#"{"guestId":"$g"}"#),
    ("guest.approve", r#"{"guestId":"$g"}"#),
    ("guest.approve", r#"{"guestId":"$g"}"#),
    ("guest.deny", r#"{"guestId":"$g"}"#),
    ("guest.goLive", r#"{"guestId":"$g"}"#),
    ("guest.backstage", r#"{"guestId":"$g"}"#),
    ("guest.leave", "{}"),
    ("guest.remove", r#"{"guestId":"$g"}"#),
    ("guest.removeAll", "{}"),
    ("guest.mute", r#"{"guestId":"$g","kinds":$k,"hard":$b}"#),
    ("guest.allowUnmute", r#"{"guestId":"$g","kinds":$k}"#),
    ("guest.requestUnmute", r#"{"kinds":$k}"#),
    ("guest.list", "{}"),
    ("media.offer", "$offer"),
    ("media.offer", "$offer"),
    ("media.answer", r#"{"transport":"$t","sdp":"v=0\r\n"}"#),
    ("media.grow", "{}"),
    ("media.restart", r#"{"transport":"$t"}"#),
    ("media.unpublish", "{}"),
    ("media.mute", r#"{"kinds":$k,"on":$b}"#),
    ("media.pause", r#"{"seats":[$n,$n],"on":$b}"#),
    ("media.pause", r#"{"on":$b}"#),
    ("layer.prefer", r#"{"seat":$n,"w":$n,"h":$n}"#),
    ("room.start", r#"{"title":"$w"}"#),
    ("room.start", "{}"),
    ("room.pause", r#"{"untilMs":$z,"pauseGuests":$b}"#),
    ("room.pause", "{}"),
    ("room.resume", "{}"),
    ("room.end", "{}"),
    ("room.update", r#"{"title":"$w","guest":{"seats":$n,"backstage":$b}}"#),
    ("room.update", r#"{"guest":{"autoApprove":$b,"media":"$m"}}"#),
    ("room.resync", r#"{"fromSeq":$n}"#),
    ("room.leave", "{}"),
    ("rules.accept", r#"{"version":"1"}"#),
    ("member.list", "{}"),
    ("chat.send", r#"{"key":"k$n","text":"$w"}"#),
    ("chat.history", r#"{"before":$n,"limit":$n}"#),
    ("mod.mute", r#"{"user":"$u","ms":$z}"#),
    ("mod.unmute", r#"{"user":"$u"}"#),
    ("mod.kick", r#"{"user":"$u"}"#),
    ("mod.ban", r#"{"user":"$u","ms":$z}"#),
    ("mod.unban", r#"{"user":"$u"}"#),
    ("gift.send", r#"{"key":"g$n","giftId":"sunflower","price":10,"count":$n,"to":$n}"#),
    ("gift.send", r#"{"key":"g$n","giftId":"sunflower","price":10,"count":$n,"to":"$u"}"#),
    ("gift.catalog", "{}"),
    ("wallet.get", "{}"),
    ("like", r#"{"n":$n}"#),
    ("ping", "{}"),
    ("token.refresh", r#"{"token":"$w"}"#),
];

/// The target.
pub fn room(data: &[u8]) {
    let mut script = Script(data);
    let mut show = Show::new();
    for _ in 0..MAX_STEPS {
        let Some(step) = script.step() else { break };
        show.act(step, &mut script);
    }
    for number in 0..PEOPLE.len() {
        show.step(Input::Left { conn: ConnId(number as u64) });
    }
    show.pass(3_600_000);
}

struct Show {
    room: Room,
    now: u64,
    next: u64,
    seq: u64,
    /// Attempts and transports there ever were, the newest last.
    attempts: Vec<String>,
    resume: Vec<String>,
    transports: Vec<TransportId>,
    gifts: VecDeque<Box<GiftAsk>>,
    seats: BTreeMap<Seat, TransportId>,
    over: bool,
}

impl Show {
    fn new() -> Self {
        let host = Person { user: user(0), name: Name::clean("Maria") };
        let id = RoomId::new("r").expect("an id");
        let mut show = Self {
            room: Room::new(START_MS, RoomInit::new(id, host, [7; 32])),
            now: START_MS,
            next: 1,
            seq: 0,
            attempts: Vec::new(),
            resume: Vec::new(),
            transports: Vec::new(),
            gifts: VecDeque::new(),
            seats: BTreeMap::new(),
            over: false,
        };
        for number in 0..PEOPLE.len() as u8 {
            show.join(number, 0);
            show.ask(number, "rules.accept", r#"{"version":"1"}"#);
        }
        show
    }

    fn transport(&mut self) -> TransportId {
        self.next += 1;
        let id = TransportId(self.next);
        self.transports.push(id);
        id
    }

    fn act(&mut self, step: u8, script: &mut Script<'_>) {
        let who = script.byte();
        match step % 8 {
            0 => self.pass(u64::from(script.byte()) * [1, 20, 500, 3_500][usize::from(who & 3)]),
            1 => self.media(who, script.byte()),
            2 => self.join(who % 6, script.byte()),
            3 if who > 250 => self.step(Input::End { reason: EndReason::Admin }),
            3 => self.step(Input::Left { conn: ConnId(u64::from(who % 6)) }),
            4 => self.ledger(who),
            5 => {
                let bytes = script.block().to_vec().into();
                let event = MediaEvent::Data(signaling::media::Channel::Gifts, bytes);
                let transport = self.recent(who);
                self.step(Input::Media { transport, event });
            }
            _ => {
                let number = usize::from(script.byte()) % COMMANDS.len();
                let (kind, form) = COMMANDS[number];
                if form == "$offer" {
                    return self.offer(who % 6);
                }
                let data = self.filled(form, script);
                self.ask(who % 6, kind, &data);
            }
        }
    }

    /// One of the newest transports.
    fn recent(&self, back: u8) -> TransportId {
        let at = self.transports.len().saturating_sub(1 + usize::from(back % 12));
        self.transports.get(at).copied().unwrap_or(TransportId(0))
    }

    fn filled(&self, form: &str, script: &mut Script<'_>) -> String {
        let mut text = String::new();
        let mut rest = form;
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            let byte = script.byte();
            match rest.as_bytes()[at + 1] {
                b'u' => text.push_str(PEOPLE[usize::from(byte) % PEOPLE.len()]),
                b'g' => {
                    let at = self.attempts.len().saturating_sub(1 + usize::from(byte % 8));
                    text.push_str(
                        self.attempts.get(at).map_or("01J9ZK3T7Q8N5W2C4V6B8D0F1H", |g| g),
                    );
                }
                b'n' => text.push_str(&byte.to_string()),
                b'k' => {
                    let kinds = [r#"["audio"]"#, r#"["video"]"#, r#"["audio","video"]"#, "[]"];
                    text.push_str(kinds[usize::from(byte & 3)]);
                }
                b'b' => text.push_str(if byte & 1 == 0 { "false" } else { "true" }),
                b'm' => text.push_str(["av", "audio"][usize::from(byte & 1)]),
                b't' => text.push_str(&format!("t{}", self.recent(byte).0)),
                b'z' => text.push_str(
                    &(u64::from(byte) * 60_000 + u64::from(byte >> 7) * self.now).to_string(),
                ),
                _ => text.push_str(&"word ".repeat(usize::from(byte % 20))),
            }
            rest = &rest[at + 2..];
        }
        text + rest
    }

    fn join(&mut self, who: u8, form: u8) {
        let carrier = match form & 7 {
            5 => Carrier::Whip,
            6 => Carrier::Whep { seat: form >> 4 },
            _ => Carrier::WebSocket,
        };
        let media = carrier == Carrier::WebSocket && form & 7 != 4;
        let resume = self.resume.last().cloned().filter(|_| form & 0x08 != 0);
        let replaces = (form & 0x80 != 0).then(|| TransportRef(self.recent(form >> 4 & 7)));
        let transport = media.then(|| self.transport());
        let room = RoomId::new("r").expect("an id");
        let join = RoomJoin {
            room,
            max_seats: None,
            audio_top: Some(3),
            dc: true,
            media,
            resume,
            replaces,
        };
        let (conn, id) = (ConnId(who.into()), self.id());
        let input = Input::Join { conn, id, who: identity(who), join, carrier, transport };
        self.answered(id, input);
    }

    fn id(&mut self) -> u32 {
        self.next += 1;
        self.next as u32
    }

    fn offer(&mut self, who: u8) {
        let transport = Some(self.transport());
        let sdp = signaling::protocol::MediaOffer { sdp: OFFER.into() };
        let (conn, id) = (ConnId(who.into()), self.id());
        let command = Command::MediaOffer(sdp);
        self.answered(id, Input::Command { conn, id, command, transport });
    }

    fn ask(&mut self, who: u8, kind: &str, data: &str) {
        let Ok(command) = Command::parse(kind, data) else { return };
        let (conn, id) = (ConnId(who.into()), self.id());
        self.answered(id, Input::Command { conn, id, command, transport: None });
    }

    /// A step whose command has exactly one answer, now or when somebody else has answered the room.
    fn answered(&mut self, id: u32, input: Input) {
        let effects = self.taken(input);
        let answers = effects.iter().filter(|effect| match effect {
            Effect::Reply { to, .. } | Effect::Ask { to, .. } | Effect::Wallet { to, .. } => {
                to.id == id
            }
            Effect::Gift(ask) => ask.to.id == id,
            _ => false,
        });
        assert_eq!(answers.count(), 1, "answers to a command");
        self.note(effects);
    }

    fn step(&mut self, input: Input) {
        let effects = self.taken(input);
        self.note(effects);
    }

    fn taken(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.room.step(self.now, input, &mut effects);
        assert!(effects.len() < 4_000, "{} effects of one step", effects.len());
        effects
    }

    fn note(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Event { event, .. } => {
                    let text = event.to_json();
                    assert!(!text.is_empty());
                    self.learn(&text);
                    if let Some(seq) = event.seq {
                        assert_eq!(seq, self.seq + 1, "numbered events have no gap");
                        self.seq = seq;
                    }
                }
                Effect::Reply { to, result } => {
                    let text = Reply::new(to.id, result).to_json();
                    assert!(!text.is_empty());
                    self.learn(&text);
                }
                Effect::Gift(ask) => self.gifts.push_back(ask),
                Effect::Media(ask) | Effect::Ask { ask, .. } => self.seat(&ask),
                Effect::RoomClosed => {
                    assert!(!self.over, "a room ends once");
                    self.over = true;
                }
                _ => {}
            }
        }
        let sitting: BTreeSet<_> = self.seats.values().collect();
        assert_eq!(sitting.len(), self.seats.len(), "one transport on two seats");
        assert_eq!(self.over, self.room.is_over());
    }

    fn seat(&mut self, ask: &MediaAsk) {
        match *ask {
            MediaAsk::SetSeat { seat, source: Some(source), .. } => {
                assert!(self.transports.contains(&source));
                self.seats.insert(seat, source);
            }
            MediaAsk::SetSeat { seat, source: None, .. } => drop(self.seats.remove(&seat)),
            MediaAsk::CloseRoom => self.seats.clear(),
            _ => {}
        }
    }

    /// Ids that a client would remember.
    fn learn(&mut self, text: &str) {
        let found = |name: &str| -> Option<String> {
            let start = text.find(name)? + name.len();
            let end = text[start..].find('"')?;
            Some(text[start..start + end].to_owned())
        };
        if let Some(id) = found(r#""guestId":""#).filter(|id| self.attempts.last() != Some(id)) {
            self.attempts.push(id);
        }
        if let Some(token) = found(r#""resumeToken":""#) {
            self.resume.push(token);
        }
    }

    /// The media plane tells something of one of the newest transports.
    fn media(&mut self, which: u8, what: u8) {
        let transport = self.recent(which);
        let event = match what % 12 {
            0 | 1 => MediaEvent::Connected,
            2 | 3 => MediaEvent::MediaReady(MediaKind::Audio),
            4 | 5 => MediaEvent::MediaReady(MediaKind::Video),
            6 => MediaEvent::Lost,
            7 => MediaEvent::Back,
            8 => MediaEvent::Closed(CloseReason::Timeout),
            9 => MediaEvent::Loudness(what >> 4),
            10 => return self.step(Input::MediaRefused { transport }),
            _ => {
                let (audio, video) = (what & 0x10 != 0, what & 0x20 != 0);
                return self.step(Input::MediaAccepted { transport, audio, video });
            }
        };
        self.step(Input::Media { transport, event });
    }

    /// The ledger answers the oldest gift.
    fn ledger(&mut self, form: u8) {
        let Some(ask) = self.gifts.pop_front() else { return };
        let result = match &ask.verdict {
            Err(refusal) => Err(refusal.clone()),
            Ok(()) if form & 1 == 0 => Err(Code::InsufficientFunds.into()),
            Ok(()) => {
                let reply = GiftReply {
                    transfer_id: "t".into(),
                    balance: 1,
                    combo_id: (form >> 4).to_string(),
                    combo_total: form.into(),
                };
                Ok(GiftReceipt {
                    reply: serde_json::to_vec(&reply).expect("JSON").into(),
                    transfer: reply.transfer_id,
                    combo: reply.combo_id,
                    combo_total: reply.combo_total,
                    balance: 1,
                    committed_at: self.now as i64,
                    replayed: form & 2 != 0,
                })
            }
        };
        self.step(Input::GiftDone { ask, result });
    }

    /// Time goes by, one timer after the other.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut timers = 0;
        while let Some(at) = self.room.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step(Input::Timer);
            timers += 1;
            assert!(timers < MAX_TIMERS, "the room wakes up again and again");
        }
        self.now = end;
    }
}

fn user(number: u8) -> UserId {
    UserId::new(PEOPLE[usize::from(number)]).expect("an id")
}

fn identity(number: u8) -> Identity {
    let role = match number {
        0 => TokenRole::Host,
        5 => TokenRole::Admin,
        _ => TokenRole::Viewer,
    };
    let perms = if number == 4 { Perm::ALL.to_vec() } else { Vec::new() };
    let name = Name::clean(PEOPLE[usize::from(number)]);
    Identity { user: user(number), name, role, perms, adult: number != 3 }
}
