//! Telling people: numbered events for all, personal ones, and what waits for the next tick.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::media::Channel;
use crate::protocol::{
    Answer, ChatBatch, Event, EventMessage, FxFrame, GuestQueue, MemberJoined, MembersUpdated,
    Name, Person, Resynced, UserId, Viewers,
};

use super::{ConnId, Effect, RING, Room, To};

/// Staff lists and wallets at most twice a second.
const STAFF_MS: u64 = 500;
/// Names in one `member.joined`.
const SAMPLE: usize = 5;
/// Room for Combos in one `fx` frame: with the rest it stays below one datagram (1100 bytes).
const FX_BYTES: usize = 960;

/// What waits for the next tick.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    pub(super) viewers: bool,
    pub(super) members: bool,
    pub(super) queue: bool,
    pub(super) counters: bool,
    /// Whose coins or Diamonds have moved.
    pub(super) wallets: BTreeSet<UserId>,
    sample: Vec<Person>,
    joined: u32,
    ticked_at: u64,
    staff_at: u64,
}

impl Pulse {
    pub(super) fn joined(&mut self, user: &UserId, name: &Name) {
        self.joined += 1;
        if self.sample.len() < SAMPLE {
            self.sample.push(Person { user: user.clone(), name: name.clone() });
        }
    }
}

impl Room {
    pub(super) fn name(&self, user: &UserId) -> Name {
        self.names.get(user).cloned().unwrap_or_else(|| Name::clean(user.as_str()))
    }

    pub(super) fn person(&self, user: &UserId) -> Person {
        Person { user: user.clone(), name: self.name(user) }
    }

    fn number(&mut self, event: Event) -> Arc<EventMessage> {
        self.seq += 1;
        let message = Arc::new(EventMessage { seq: Some(self.seq), ts: self.now, event });
        self.ring.push_back(message.clone());
        if self.ring.len() > RING {
            self.ring.pop_front();
        }
        message
    }

    /// The last fact about the room. It goes over the WebSockets: the data channels close with the room, and what
    /// was lost on its way is not sent again.
    pub(super) fn tell_last(&mut self, event: Event) {
        let event = self.number(event);
        self.out.push(Effect::Event { to: To::Everyone, event });
    }

    /// A fact about the room, numbered, kept for those who missed it.
    pub(super) fn tell_all(&mut self, event: Event) {
        let message = self.number(event);
        if self.events_open == 0 {
            self.out.push(Effect::Event { to: To::Everyone, event: message });
            return;
        }
        let bytes = Bytes::from(message.to_json());
        self.out.push(Effect::Broadcast { channel: Channel::Events, bytes });
        self.out.push(Effect::Event { to: To::Without(Channel::Events), event: message });
    }

    /// Everybody, not numbered, over the WebSocket.
    fn tell_everyone(&mut self, event: Event) {
        let event = Arc::new(EventMessage { seq: None, ts: self.now, event });
        self.out.push(Effect::Event { to: To::Everyone, event });
    }

    pub(super) fn tell_conns(&mut self, mut conns: Vec<ConnId>, event: Event) {
        conns.sort_unstable();
        conns.dedup();
        if conns.is_empty() {
            return;
        }
        let event = Arc::new(EventMessage { seq: None, ts: self.now, event });
        self.out.push(Effect::Event { to: To::Conns(conns), event });
    }

    pub(super) fn tell_user(&mut self, user: &UserId, event: Event) {
        self.tell_conns(self.conns_of(user), event);
    }

    pub(super) fn tell_you(&mut self, user: &UserId) {
        if self.people.contains_key(user) {
            let you = self.you(user);
            self.tell_user(user, Event::YouUpdated(you));
        }
    }

    pub(super) fn staff_conns(&self) -> Vec<ConnId> {
        self.staff.iter().flat_map(|user| self.conns_of(user)).collect()
    }

    pub(super) fn tell_staff(&mut self, event: Event) {
        self.tell_conns(self.staff_conns(), event);
    }

    pub(super) fn viewers(&self) -> Viewers {
        Viewers { now: self.viewers_now(), total: self.total_viewers() }
    }

    /// Ticks are rarer the more people each one reaches.
    fn tick_ms(&self) -> u64 {
        match self.people.len() {
            ..500 => 100,
            500..=20_000 => 200,
            _ => 500,
        }
    }

    fn tick_waits(&self) -> bool {
        let pulse = &self.pulse;
        pulse.viewers
            || pulse.counters
            || pulse.joined > 0
            || self.chat.has_pending()
            || self.combos.has_news()
    }

    fn staff_waits(&self) -> bool {
        self.pulse.queue || self.pulse.members || !self.pulse.wallets.is_empty()
    }

    pub(super) fn next_pulse(&self) -> Option<u64> {
        let tick = self.tick_waits().then(|| self.pulse.ticked_at + self.tick_ms());
        let staff = self.staff_waits().then(|| self.pulse.staff_at + STAFF_MS);
        [tick, staff].into_iter().flatten().min()
    }

    /// Send what waits, if it is time.
    pub(super) fn beat(&mut self) {
        if self.tick_waits() && self.pulse.ticked_at + self.tick_ms() <= self.now {
            self.pulse.ticked_at = self.now;
            self.flush_chat();
            self.flush_counters();
        }
        if self.staff_waits() && self.pulse.staff_at + STAFF_MS <= self.now {
            self.pulse.staff_at = self.now;
            self.flush_staff();
        }
    }

    pub(super) fn flush_chat(&mut self) {
        let msgs = self.chat.take_batch();
        if !msgs.is_empty() {
            self.tell_everyone(Event::ChatBatch(ChatBatch { msgs }));
        }
    }

    fn flush_counters(&mut self) {
        let viewers = std::mem::take(&mut self.pulse.viewers);
        let counters = std::mem::take(&mut self.pulse.counters);
        if viewers {
            self.tell_everyone(Event::ViewersCount(self.viewers()));
        }
        let n = std::mem::take(&mut self.pulse.joined);
        if n > 0 {
            let sample = std::mem::take(&mut self.pulse.sample);
            self.tell_everyone(Event::MemberJoined(MemberJoined { sample, n }));
        }
        if !(viewers || counters || self.combos.has_news()) {
            return;
        }
        let e = self.combos.frame(FX_BYTES);
        let s = self.applied.speaking.clone();
        let frame = FxFrame { q: self.seq, e, l: self.likes, v: self.viewers_now(), s };
        let event =
            Arc::new(EventMessage { seq: None, ts: self.now, event: Event::Fx(frame.clone()) });
        if self.effects_open == 0 {
            self.out.push(Effect::Event { to: To::Everyone, event });
            return;
        }
        let bytes = Bytes::from(serde_json::to_vec(&frame).unwrap_or_default());
        self.out.push(Effect::Broadcast { channel: Channel::Effects, bytes });
        self.out.push(Effect::Event { to: To::Without(Channel::Effects), event });
    }

    fn flush_staff(&mut self) {
        for user in std::mem::take(&mut self.pulse.wallets) {
            let conns = self.conns_of(&user);
            if !conns.is_empty() {
                self.out.push(Effect::TellWallet { conns, user });
            }
        }
        if std::mem::take(&mut self.pulse.queue) {
            let (requests, invited) = self.queue();
            self.tell_staff(Event::GuestQueue(GuestQueue { requests, invited }));
        }
        if std::mem::take(&mut self.pulse.members) {
            let members = self.members();
            self.tell_staff(Event::MembersUpdated(MembersUpdated { members }));
        }
    }

    /// What somebody missed after `from_seq`, or everything.
    pub(super) fn resync(&self, user: &UserId, from_seq: u64) -> Answer {
        let first = self.ring.front().and_then(|event| event.seq).unwrap_or(self.seq + 1);
        if from_seq > self.seq || from_seq + 1 < first {
            return Answer::Resynced(Resynced::Snapshot(Box::new(self.state_for(user))));
        }
        let missed = self.ring.iter().filter(|event| event.seq > Some(from_seq));
        Answer::Resynced(Resynced::Events(missed.map(|event| (**event).clone()).collect()))
    }
}
