mod guards;
mod races;
mod random;
mod search;

use super::{Facts, House, Kinds, Rules, Stage, StageCommand, StageEffect, StageReply, step};
use crate::protocol::{Code, GuestId, GuestMedia, GuestPolicy, GuestState, UserId};

pub(super) const T0: u64 = 1_000_000;

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).expect("valid")
}

pub(super) fn guest(name: &str) -> GuestId {
    GuestId::new(name).expect("valid")
}

/// A live room's stage, with a clock and all effects so far.
pub(super) struct Show {
    pub(super) stage: Stage,
    pub(super) now: u64,
    pub(super) effects: Vec<StageEffect>,
}

impl Show {
    pub(super) fn new(policy: GuestPolicy) -> Self {
        let mut stage = Stage::new(policy, Rules::default());
        let mut effects = Vec::new();
        step(&mut stage, StageCommand::House(House::Open), T0, &mut effects).expect("opens");
        Self { stage, now: T0, effects }
    }

    pub(super) fn with_seats(seats: u8) -> Self {
        Self::new(GuestPolicy { seats, ..GuestPolicy::default() })
    }

    pub(super) fn ask(&mut self, command: StageCommand) -> Result<StageReply, Code> {
        step(&mut self.stage, command, self.now, &mut self.effects)
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.stage.expire(self.now, &mut self.effects);
    }

    pub(super) fn request(&mut self, name: &str, id: &str) -> Result<StageReply, Code> {
        self.request_as(name, id, Facts::GOOD, GuestMedia::Av)
    }

    pub(super) fn request_as(
        &mut self,
        name: &str,
        id: &str,
        facts: Facts,
        media: GuestMedia,
    ) -> Result<StageReply, Code> {
        self.ask(StageCommand::Request {
            user: user(name),
            id: guest(id),
            facts,
            media,
            note: String::new(),
            token: [1; 32],
        })
    }

    pub(super) fn invite(&mut self, name: &str, id: &str) -> Result<StageReply, Code> {
        self.invite_as(name, id, Facts::GOOD, None)
    }

    pub(super) fn invite_as(
        &mut self,
        name: &str,
        id: &str,
        facts: Facts,
        seat: Option<u8>,
    ) -> Result<StageReply, Code> {
        let (user, id) = (user(name), guest(id));
        self.ask(StageCommand::Invite { user, id, facts, seat, media: None, token: [1; 32] })
    }

    pub(super) fn accept(&mut self, name: &str, id: &str) -> Result<StageReply, Code> {
        self.accept_as(name, id, true)
    }

    pub(super) fn accept_as(
        &mut self,
        name: &str,
        id: &str,
        rules_accepted: bool,
    ) -> Result<StageReply, Code> {
        self.ask(StageCommand::Accept {
            user: user(name),
            id: guest(id),
            media: GuestMedia::Av,
            rules_accepted,
            token: [1; 32],
        })
    }

    pub(super) fn approve(&mut self, id: &str) -> Result<StageReply, Code> {
        self.ask(StageCommand::Approve { id: guest(id), token: [1; 32] })
    }

    pub(super) fn resume(
        &mut self,
        name: &str,
        id: &str,
        token: u8,
        next: u8,
    ) -> Result<StageReply, Code> {
        self.ask(StageCommand::Resume {
            user: user(name),
            id: guest(id),
            token: [token; 32],
            next: [next; 32],
        })
    }

    pub(super) fn state(&self, name: &str) -> Option<GuestState> {
        self.stage.attempt_of(&user(name)).map(|a| a.state)
    }

    /// Invite, accept, picture, countdown: on air.
    pub(super) fn on_air(&mut self, name: &str, id: &str) {
        self.invite(name, id).expect("invited");
        self.accept(name, id).expect("accepted");
        self.ask(StageCommand::MediaReady { user: user(name) }).expect("ready");
        self.pass(3_000);
        assert_eq!(self.state(name), Some(GuestState::Live));
    }

    pub(super) fn seats_taken(&self) -> Vec<u8> {
        self.stage.seated().iter().filter_map(|a| a.seat).collect()
    }
}

pub(super) const AUDIO: Kinds = Kinds { audio: true, video: false };
