//! Coming and going, roles and permissions.

use crate::media::{CloseReason, TransportId};
use crate::protocol::{
    Answer, ByeReason, Code, Joined, Member, MemberList, Perm, Refusal, Role, RoomJoin, TokenRole,
    TransportRef, UserId,
};
use crate::stage::StageCommand;

use super::{
    Carrier, Conn, ConnId, Effect, Identity, MAX_CONNS, MediaAsk, Participant, ReplyTo, Room,
    StoreWrite, Then, Via, token,
};

/// People listed for staff at once. Trade: what a person can look through, in one message.
const LISTED: usize = 200;

impl Room {
    pub(super) fn join(
        &mut self,
        conn: ConnId,
        id: u32,
        who: Identity,
        join: &RoomJoin,
        carrier: Carrier,
        transport: Option<TransportId>,
    ) -> Vec<Effect> {
        let to = ReplyTo { conn, id, via: Via::Connection };
        let user = who.user.clone();
        let admitted = self.admit(conn, &who).and_then(|()| match &join.resume {
            Some(resume) => self.resume_seat(&user, resume).map(Some),
            None => Ok(None),
        });
        let resume_token = match admitted {
            Ok(token) => token,
            Err(refusal) => return vec![Effect::Reply { to, result: Err(refusal) }],
        };
        let watch = transport.filter(|_| join.media);
        let guest_seats = self.offer_seats(join.max_seats);
        self.enter(conn, who, carrier, watch, guest_seats);
        if resume_token.is_some() {
            self.adopt(&user, conn);
        } else if self.stage.is_seated(&user) {
            self.stage_do(StageCommand::SocketBack { user: user.clone() });
        }
        if let Some(TransportRef(lost)) = join.replaces {
            self.replace(&user, conn, lost);
        }
        // First what this changes for others, so that the snapshot contains it.
        self.sync();
        self.out.push(Effect::Entered { conn, user: user.clone() });
        self.tell_layers_again(&user);
        let state = self.state_for(&user);
        let joined = Box::new(Joined { state, media: None, resume_token });
        match watch {
            Some(transport) => {
                let (backstage, own_seat) = self.applied.privilege(&user);
                let audio_top = join.audio_top;
                let ask =
                    MediaAsk::OpenWatch { transport, guest_seats, backstage, own_seat, audio_top };
                vec![Effect::Ask { ask, to, then: Then::Join(joined) }]
            }
            None => vec![Effect::Reply { to, result: Ok(Answer::Joined(joined)) }],
        }
    }

    /// The page of `conn` says that the connection that watched by `lost` is dead: it ends, and its media with
    /// it, which would go to an address where nobody is. What it published by goes on.
    fn replace(&mut self, user: &UserId, conn: ConnId, lost: TransportId) {
        let Some(old) = self.watchers.get(&lost).copied() else { return };
        let theirs = self.conns.get(&old).is_some_and(|gone| {
            gone.user == *user && gone.carrier == Carrier::WebSocket && old != conn
        });
        if theirs {
            self.left(old);
            self.out.push(Effect::CloseConn { conn: old, reason: ByeReason::Replaced });
        }
    }

    fn admit(&self, conn: ConnId, who: &Identity) -> Result<(), Refusal> {
        if self.conns.contains_key(&conn) {
            return Err(Code::AlreadyJoined.into());
        }
        if who.role == TokenRole::Host && !self.is_host(&who.user) {
            return Err(Refusal::new(Code::Forbidden).because("This room belongs to another host."));
        }
        if !self.is_host(&who.user) {
            self.moderation.admit(&who.user, self.now)?;
            if self.people.len() >= self.max_people && !self.people.contains_key(&who.user) {
                return Err(Code::RoomFull.into());
            }
        }
        let conns = self.people.get(&who.user).map_or(0, |person| person.conns.len());
        if conns >= MAX_CONNS {
            return Err(Refusal::new(Code::LimitExceeded).detail("limit", MAX_CONNS));
        }
        Ok(())
    }

    fn enter(
        &mut self,
        conn: ConnId,
        who: Identity,
        carrier: Carrier,
        watch: Option<TransportId>,
        guest_seats: u8,
    ) {
        let user = who.user.clone();
        self.names.insert(user.clone(), who.name.clone());
        if let Some(transport) = watch {
            self.watchers.insert(transport, conn);
        }
        self.conns.insert(
            conn,
            Conn { user: user.clone(), carrier, watch, guest_seats, events: false, effects: false },
        );
        if self.is_host(&user) {
            // After a restart only the id was known.
            self.host.name = who.name.clone();
            self.host_presence(true);
        }
        if let Some(person) = self.people.get_mut(&user) {
            person.who = who;
            person.conns.push(conn);
        } else {
            self.pulse.joined(&user, &who.name);
            let (likes, gifts) = Default::default();
            let person = Participant { who, conns: vec![conn], likes, gifts };
            self.people.insert(user.clone(), person);
            self.people_changed();
        }
        self.staff_changed(&user);
    }

    fn people_changed(&mut self) {
        self.pulse.viewers = true;
        self.pulse.members = true;
        self.peak = self.peak.max(self.viewers_now());
    }

    /// Guests seats of a watch offer: those on air plus two, at most what the room has.
    fn offer_seats(&self, wanted: Option<u8>) -> u8 {
        let seats = self.stage.policy().seats;
        let taken = self.stage.seated().iter().filter_map(|a| a.seat).max().unwrap_or(0);
        wanted.map_or(taken + 2, |wanted| wanted.max(taken)).min(seats)
    }

    fn resume_seat(&mut self, user: &UserId, resume: &str) -> Result<String, Refusal> {
        let id = token::guest_of(resume).ok_or(Code::ResumeInvalid)?;
        let next = self.tokens.next_hash(&id);
        let command = StageCommand::Resume {
            user: user.clone(),
            id: id.clone(),
            token: token::hash(resume),
            next,
        };
        self.stage_try(command)?;
        self.tokens.rotate(&id);
        Ok(self.tokens.current(&id))
    }

    pub(super) fn refreshed(&mut self, conn: ConnId, who: Identity) {
        let known = self.conns.get(&conn).is_some_and(|conn| conn.user == who.user);
        let user = who.user.clone();
        if let Some(person) = self.people.get_mut(&user).filter(|_| known) {
            person.who = who;
            self.staff_changed(&user);
            self.tell_you(&user);
        }
    }

    /// Keep the list of staff in step with people's permissions.
    fn staff_changed(&mut self, user: &UserId) {
        if self.is_host(user) || (self.people.contains_key(user) && self.is_staff(user)) {
            self.staff.insert(user.clone());
        } else {
            self.staff.remove(user);
        }
    }

    /// `room.leave`: an own decision, so a seat or an open Attempt ends too.
    pub(super) fn leave_room(&mut self, conn: ConnId) {
        let Some(user) = self.conns.get(&conn).map(|conn| conn.user.clone()) else { return };
        let last = self.people.get(&user).is_some_and(|person| person.conns.len() == 1);
        if last {
            let _ = self.stage_try(StageCommand::Leave { user });
        }
        self.left(conn);
        self.out.push(Effect::Exited { conn });
    }

    /// A connection is gone. Media that flows keeps a seat, and the host's show, for a while.
    pub(super) fn left(&mut self, conn: ConnId) {
        let Some(gone) = self.conns.remove(&conn) else { return };
        self.channels_closed(&gone);
        if let Some(transport) = gone.watch {
            self.watchers.remove(&transport);
            self.close(transport);
        }
        if matches!(gone.carrier, Carrier::Whip | Carrier::Whep { .. }) {
            for transport in self.published_by(conn) {
                self.close(transport);
                self.transport_gone(transport);
            }
        }
        let Some(person) = self.people.get_mut(&gone.user) else { return };
        person.conns.retain(|other| *other != conn);
        if !person.conns.is_empty() {
            return;
        }
        self.people.remove(&gone.user);
        self.staff_changed(&gone.user);
        self.chat.forget(&gone.user, self.now);
        if self.is_host(&gone.user) {
            self.host_presence(false);
        }
        if self.stage.is_seated(&gone.user) {
            self.stage_do(StageCommand::SocketLost { user: gone.user });
        }
        self.people_changed();
    }

    pub(super) fn close(&mut self, transport: TransportId) {
        let reason = CloseReason::Requested;
        self.out.push(Effect::Media(MediaAsk::Close { transport, reason }));
    }

    /// End a connection and all that is its.
    pub(super) fn put_out(&mut self, conn: ConnId, reason: ByeReason) {
        for transport in self.published_by(conn) {
            self.close(transport);
            self.transport_gone(transport);
        }
        self.left(conn);
        self.out.push(Effect::CloseConn { conn, reason });
    }

    /// End every connection of a person, at once.
    pub(super) fn put_out_all(&mut self, user: &UserId, reason: ByeReason) {
        for conn in self.conns_of(user) {
            self.put_out(conn, reason);
        }
        for transport in self.published_by_user(user) {
            self.close(transport);
            self.transport_gone(transport);
        }
    }

    pub(super) fn conns_of(&self, user: &UserId) -> Vec<ConnId> {
        self.people.get(user).map(|person| person.conns.clone()).unwrap_or_default()
    }

    pub(super) fn allowed(&self, user: &UserId, perm: Perm) -> bool {
        let granted = |person: &Participant| person.who.perms.contains(&perm);
        self.is_host(user) || self.people.get(user).is_some_and(granted)
    }

    /// # Errors
    /// `forbidden` without the permission.
    pub(super) fn need(&self, user: &UserId, perm: Perm) -> Result<(), Refusal> {
        if self.allowed(user, perm) { Ok(()) } else { Err(Code::Forbidden.into()) }
    }

    /// Host or moderator: somebody with any permission inside a room.
    pub(super) fn is_staff(&self, user: &UserId) -> bool {
        let any = |person: &Participant| person.who.perms.iter().any(|p| *p != Perm::RoomCreate);
        self.is_host(user) || self.people.get(user).is_some_and(any)
    }

    /// # Errors
    /// `forbidden`: nobody acts on the host, and only the host on a moderator.
    pub(super) fn may_act_on(&self, actor: &UserId, target: &UserId) -> Result<(), Refusal> {
        let protected = self.is_host(target) || (self.is_staff(target) && !self.is_host(actor));
        let admin =
            self.people.get(target).is_some_and(|person| person.who.role == TokenRole::Admin);
        if protected || admin { Err(Code::Forbidden.into()) } else { Ok(()) }
    }

    pub(super) fn role(&self, user: &UserId) -> Role {
        if self.is_host(user) {
            Role::Host
        } else if self.stage.is_seated(user) {
            Role::Guest
        } else if self.is_staff(user) {
            Role::Moderator
        } else {
            Role::Viewer
        }
    }

    pub(super) fn perms(&self, user: &UserId) -> Vec<Perm> {
        if self.is_host(user) {
            return Perm::ALL.to_vec();
        }
        self.people.get(user).map(|person| person.who.perms.clone()).unwrap_or_default()
    }

    pub(super) fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self
            .people
            .iter()
            .map(|(user, person)| Member {
                user: user.clone(),
                name: person.who.name.clone(),
                role: self.role(user),
                guest: self.stage.attempt_of(user).map(|attempt| attempt.state),
            })
            .collect();
        // Those who matter most come first, so that the cut takes the others.
        members.sort_by_key(|m| (m.guest.is_none(), m.role == Role::Viewer));
        members.truncate(LISTED);
        members
    }

    pub(super) fn member_list(&self, user: &UserId) -> Result<Answer, Refusal> {
        if !self.is_staff(user) {
            return Err(Code::Forbidden.into());
        }
        Ok(Answer::Members(MemberList { members: self.members() }))
    }

    pub(super) fn accept_rules(
        &mut self,
        user: &UserId,
        version: String,
    ) -> Result<Answer, Refusal> {
        if self.accepted_rules.insert(user.clone(), ()).is_none() {
            let user = user.clone();
            self.out.push(Effect::Store(StoreWrite::RulesAccepted { user, version, at: self.now }));
        }
        Ok(Answer::EMPTY)
    }

    pub(super) fn viewers_now(&self) -> u32 {
        let host = usize::from(self.people.contains_key(&self.host.user));
        u32::try_from(self.people.len() - host).unwrap_or(u32::MAX)
    }

    pub(super) fn total_viewers(&self) -> u32 {
        // `names` holds everybody who ever came, and the host.
        u32::try_from(self.names.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }
}
