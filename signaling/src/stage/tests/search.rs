//! Every state the guest machine can reach, breadth first: 3 users, 2 seats, accepts in flight,
//! bans, host loss and every timer as a command. Time is abstract: the clock stands at zero, and a
//! running timer may fire at any moment.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use super::*;
use crate::stage::{Air, Fault, Timer};

/// Made once: the walk asks for them some millions of times.
static USERS: LazyLock<[UserId; 3]> = LazyLock::new(|| ["u0", "u1", "u2"].map(user));
/// The two ids that an Attempt of each user can have.
static IDS: LazyLock<[[GuestId; 2]; 3]> =
    LazyLock::new(|| [0, 1, 2].map(|who| [0, 1].map(|parity| guest(&format!("g{who}{parity}")))));

/// The stage, and the accepts that are under way: the parity of the Invite each one names.
#[derive(Clone)]
struct World {
    stage: Stage,
    in_flight: [Option<u8>; 3],
}

/// The world after an act, what the stage answered and what it told.
type Done = (World, Option<Result<StageReply, Code>>, Vec<StageEffect>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Request,
    Cancel,
    Approve,
    Deny,
    Invite,
    Revoke,
    Decline,
    SendAccept,
    /// The accept arrives; `true`: and will arrive once more.
    Accept(bool),
    GoLive,
    Backstage,
    Leave,
    Remove,
    LockAudio,
    AllowUnmute,
    SelfMute(bool),
    Ban,
    Unban,
    MediaReady,
    Lost,
    Back,
    Resume,
    ResumeOld,
    SocketLost,
    Fire(Timer),
    RemoveAll,
    HostLost(bool),
    Shut,
}

const PERSONAL: [Act; 27] = [
    Act::Request,
    Act::Cancel,
    Act::Approve,
    Act::Deny,
    Act::Invite,
    Act::Revoke,
    Act::Decline,
    Act::SendAccept,
    Act::Accept(false),
    Act::Accept(true),
    Act::GoLive,
    Act::Backstage,
    Act::Leave,
    Act::Remove,
    Act::LockAudio,
    Act::AllowUnmute,
    Act::SelfMute(true),
    Act::SelfMute(false),
    Act::Ban,
    Act::Unban,
    Act::MediaReady,
    Act::Lost,
    Act::Resume,
    Act::ResumeOld,
    Act::SocketLost,
    Act::Fire(Timer::State),
    Act::Fire(Timer::Air),
];

/// Acts that only the first user performs: the users are alike, so one of them shows everything
/// these can do, and three would multiply the states for nothing.
const FIRST_ONLY: [Act; 14] = [
    Act::LockAudio,
    Act::AllowUnmute,
    Act::SelfMute(true),
    Act::SelfMute(false),
    Act::ResumeOld,
    Act::SocketLost,
    Act::Backstage,
    Act::Ban,
    Act::Unban,
    Act::Accept(true),
    Act::Cancel,
    Act::Deny,
    Act::Decline,
    Act::Remove,
];

impl World {
    fn new(mut policy: GuestPolicy, fault: Option<Fault>) -> Self {
        policy.seats = 2;
        let rules =
            Rules { denied_ms: 0, declined_ms: 0, remembered: 0, fault, ..Rules::default() };
        let mut stage = Stage::new(policy, rules);
        step(&mut stage, StageCommand::House(House::Open), 0, &mut Vec::new()).expect("opens");
        Self { stage, in_flight: [None; 3] }
    }

    /// Give equal names to what is equal. An accept under way means the open Attempt or an old one;
    /// which old one does not matter, nor which of two tokens is the good one. Two users without
    /// special acts are interchangeable.
    fn normalise(&mut self) {
        self.stage.arrivals = 0;
        for (who, name) in USERS.iter().enumerate() {
            let Some(attempt) = self.stage.attempts.get_mut(name) else {
                self.in_flight[who] = self.in_flight[who].map(|_| 1);
                continue;
            };
            let parity = u8::from(attempt.id.as_str().ends_with('1'));
            self.in_flight[who] = self.in_flight[who].map(|p| u8::from(p != parity));
            if parity == 1 {
                attempt.id = IDS[who][0].clone();
            }
            attempt.order = 0;
            attempt.token = attempt.token.map(|_| [0; 32]);
            attempt.by_accept &= self.in_flight[who] == Some(0);
        }
    }

    /// All that decides the future, packed; exact, so no state is mistaken for another.
    fn key(&self) -> [u32; 4] {
        let mut key = [0; 4];
        for (slot, (name, in_flight)) in USERS.iter().zip(self.in_flight).enumerate() {
            let mut bits = u32::from(self.stage.is_banned(name));
            bits = bits << 2 | in_flight.map_or(3, u32::from);
            if let Some(a) = self.stage.attempt_of(name) {
                let flags = [
                    a.id.as_str().ends_with('1'),
                    a.was_live,
                    a.ready,
                    a.by_accept,
                    a.waits_for_seat,
                    a.self_muted.audio,
                    a.locked.audio,
                    a.token == Some([1; 32]),
                    a.timer.is_some(),
                    a.socket_timer.is_some(),
                ];
                bits = flags.iter().fold(bits << 1 | 1, |bits, flag| bits << 1 | u32::from(*flag));
                bits = bits << 3 | a.state as u32;
                bits = bits << 2 | u32::from(a.seat.unwrap_or(0));
                bits = bits << 2
                    | match a.air {
                        Air::Closed => 0,
                        Air::At(_) => 1,
                        Air::Open => 2,
                    };
                bits = bits << 2
                    | match a.resume_to {
                        None => 0,
                        Some(GuestState::Live) => 1,
                        Some(_) => 2,
                    };
            } else {
                bits <<= 20;
            }
            key[slot] = bits;
        }
        key[1..3].sort_unstable();
        key[3] = u32::from(self.stage.host_lost) << 2 | self.stage.house as u32;
        key
    }

    fn open_id(&self, who: usize) -> Option<GuestId> {
        self.stage.attempt_of(&USERS[who]).map(|a| a.id.clone())
    }

    /// Do it. `None`: it makes no sense here.
    fn act(&self, who: usize, act: Act) -> Option<Done> {
        let mut next = self.clone();
        let name = USERS[who].clone();
        let id = self.open_id(who);
        let attempt = self.stage.attempt_of(&name);
        // An id that no accept under way can mean.
        let fresh = IDS[who][usize::from(self.in_flight[who] == Some(0))].clone();
        let (media, note, facts) = (GuestMedia::Av, String::new(), Facts::GOOD);
        let token = attempt.and_then(|a| a.token).unwrap_or([0; 32]);
        let other = if token == [1; 32] { [0; 32] } else { [1; 32] };
        use StageCommand as C;
        let command = match act {
            Act::Request => {
                C::Request { user: name, id: fresh, facts, media, note, token: [0; 32] }
            }
            Act::Invite => {
                C::Invite { user: name, id: fresh, facts, seat: None, media: None, token: [0; 32] }
            }
            Act::Cancel => C::Cancel { user: name, id: id? },
            Act::Approve => C::Approve { id: id?, token: [0; 32] },
            Act::Deny => C::Deny { id: id? },
            Act::Revoke => C::Revoke { id: id? },
            Act::Decline => C::Decline { user: name, id: id? },
            Act::SendAccept => {
                let invited = attempt?.state == GuestState::Invited;
                if !invited || self.in_flight[who].is_some() {
                    return None;
                }
                next.in_flight[who] = Some(u8::from(id?.as_str().ends_with('1')));
                return Some((next, None, Vec::new()));
            }
            Act::Accept(again) => {
                let id = IDS[who][usize::from(self.in_flight[who]?)].clone();
                if !again {
                    next.in_flight[who] = None;
                }
                C::Accept { user: name, id, media, rules_accepted: true, token: [0; 32] }
            }
            Act::GoLive => C::GoLive { id: id? },
            Act::Backstage => C::Backstage { id: id? },
            Act::Leave => C::Leave { user: name },
            Act::Remove => C::Remove { id: id? },
            Act::LockAudio => C::Mute { id: id?, kinds: AUDIO, hard: true },
            Act::AllowUnmute => C::AllowUnmute { id: id?, kinds: AUDIO },
            Act::SelfMute(on) => C::SelfMute { user: name, kinds: AUDIO, on },
            Act::Ban => C::Ban { user: name },
            Act::Unban => C::Unban { user: name },
            Act::MediaReady => C::MediaReady { user: name },
            Act::Lost => C::Lost { user: name },
            Act::Back => C::Back { user: name },
            Act::Resume => C::Resume { user: name, id: id?, token, next: other },
            Act::ResumeOld => C::Resume { user: name, id: id?, token: other, next: other },
            Act::SocketLost => C::SocketLost { user: name },
            Act::RemoveAll => C::RemoveAll,
            Act::HostLost(lost) => C::HostLost { lost },
            Act::Shut => C::House(House::Shut),
            Act::Fire(timer) => {
                self.stage.timers().find(|t| t.1 == name && t.2 == timer)?;
                let mut effects = Vec::new();
                next.stage.fire(&name, timer, 0, &mut effects);
                return Some((next, None, effects));
            }
        };
        let mut effects = Vec::new();
        let result = step(&mut next.stage, command, 0, &mut effects);
        Some((next, Some(result), effects))
    }

    fn acts(policy: &GuestPolicy) -> Vec<(usize, Act)> {
        let mut acts = Vec::new();
        for who in 0..USERS.len() {
            let mine = |act: &&Act| who == 0 || !FIRST_ONLY.contains(act);
            acts.extend(PERSONAL.iter().filter(mine).map(|act| (who, *act)));
        }
        acts.extend([Act::Back, Act::Fire(Timer::Socket)].map(|act| (0, act)));
        if policy.auto_approve {
            // All that the loss of the host changes for guests is automatic approval.
            acts.extend([Act::HostLost(true), Act::HostLost(false)].map(|act| (0, act)));
        }
        acts.extend([Act::RemoveAll, Act::Shut].map(|act| (0, act)));
        acts
    }

    /// I1, I2, I5-I7 in this state. The name of the first that is broken.
    fn broken(&self) -> Option<&'static str> {
        let stage = &self.stage;
        let seated: Vec<_> = stage.attempts().filter(|a| a.is_seated()).collect();
        let mut seats: Vec<_> = seated.iter().filter_map(|a| a.seat).collect();
        seats.sort_unstable();
        seats.dedup();
        if seated.len() > stage.open_seats() || seats.len() != seated.len() {
            return Some("I1: more guests than seats, or two in one");
        }
        if stage.attempts().any(|a| stage.is_banned(&a.user)) {
            return Some("I2: banned, and not gone");
        }
        if stage.house == House::Shut && stage.attempts().next().is_some() {
            return Some("I2: guests in a room that is over");
        }
        for a in stage.attempts() {
            let on_air = a.state == GuestState::Live;
            if a.forwarded().audio != (on_air && !a.locked.audio && !a.self_muted.audio) {
                return Some("I5: forwarded is not live and unmuted");
            }
            let runs = a.timer.is_some();
            let moves_on = match a.state {
                GuestState::Connecting => runs || (a.ready && matches!(a.air, Air::At(_))),
                GuestState::Backstage | GuestState::Live => true,
                _ => runs,
            };
            if !moves_on {
                return Some("I6: a state that no timer ends");
            }
        }
        let mut cleared = self.clone();
        let done = step(&mut cleared.stage, StageCommand::RemoveAll, 0, &mut Vec::new());
        if done.is_err() || !cleared.stage.seated().is_empty() {
            return Some("I6: staff cannot clear the seats");
        }
        let mut ids: Vec<_> = stage.attempts().map(|a| a.id.clone()).collect();
        ids.dedup();
        (ids.len() != stage.attempts().count()).then_some("I7: two Attempts with one id")
    }

    /// I3, I4, I8 and consent over one transition.
    fn broken_by(
        &self,
        next: &Self,
        who: usize,
        act: Act,
        result: Option<&Result<StageReply, Code>>,
        effects: &[StageEffect],
    ) -> Option<&'static str> {
        for name in USERS.iter() {
            let before = self.stage.attempt_of(name);
            let after = next.stage.attempt_of(name);
            let granted = effects
                .iter()
                .any(|e| matches!(e, StageEffect::Granted { user, .. } if user == name));
            let ended = effects
                .iter()
                .any(|e| matches!(e, StageEffect::Ended { user, .. } if user == name));
            let was_seated = before.is_some_and(|a| a.is_seated());
            if after.is_some_and(|a| a.is_seated()) != ((was_seated || granted) && !ended) {
                return Some("I4: the publish grant is not the seat");
            }
            if before.is_none() && after.is_some_and(|a| a.muted() != Kinds::default()) {
                return Some("I3: a mute passed to another Attempt");
            }
            let asked = before
                .is_some_and(|a| matches!(a.state, GuestState::Requested | GuestState::Invited));
            // With automatic approval, asking is enough.
            let asks = act == Act::Request && USERS[who] == *name;
            if granted && !asked && !asks {
                return Some("a seat for somebody who neither asked nor was asked");
            }
            let went_live =
                effects.iter().any(|e| matches!(e, StageEffect::Live { user, .. } if user == name));
            let live =
                |a: Option<&crate::stage::Attempt>| a.is_some_and(|a| a.state == GuestState::Live);
            if live(after)
                != ((live(before) || went_live)
                    && after.is_some_and(|a| a.state == GuestState::Live))
            {
                return Some("on air without being told");
            }
        }
        let refused = matches!(result, Some(Err(_)));
        if refused && !matches!(act, Act::Accept(_)) && self.stage != next.stage {
            return Some("a refusal changed something");
        }
        if let (Act::Accept(_), Some(a)) = (act, self.stage.attempt_of(&USERS[who]))
            && a.by_accept
            && self.in_flight[who].is_some_and(|parity| a.id == IDS[who][usize::from(parity)])
        {
            let same = Some(&Ok(StageReply::Seated {
                id: a.id.clone(),
                seat: a.seat.unwrap_or(0),
                air_at: a.granted_air_at,
            }));
            if result != same || next.stage != self.stage {
                return Some("I8: a repeated accept was not the same");
            }
        }
        None
    }
}

/// Who did what, from the start.
type Path = Vec<(usize, Act)>;
type Key = [u32; 4];

struct Walk {
    states: usize,
    edges: usize,
    bad: usize,
    first: Option<(&'static str, Path)>,
}

fn walk(start: World) -> Walk {
    let acts = World::acts(start.stage.policy());
    let mut from: HashMap<Key, Option<(Key, usize, Act)>> = HashMap::new();
    let mut open = VecDeque::new();
    from.insert(start.key(), None);
    open.push_back(start);
    let mut walk = Walk { states: 0, edges: 0, bad: 0, first: None };
    while let Some(world) = open.pop_front() {
        walk.states += 1;
        let mut blame = world.broken().map(|rule| (rule, None));
        for &(who, act) in &acts {
            let Some((mut next, result, effects)) = world.act(who, act) else { continue };
            walk.edges += 1;
            let rule = world.broken_by(&next, who, act, result.as_ref(), &effects);
            blame = blame.or(rule.map(|rule| (rule, Some((who, act)))));
            if matches!(result, Some(Err(_))) && !matches!(act, Act::Accept(_)) {
                continue;
            }
            next.normalise();
            let key = next.key();
            if let std::collections::hash_map::Entry::Vacant(entry) = from.entry(key) {
                entry.insert(Some((world.key(), who, act)));
                open.push_back(next);
            }
        }
        if let Some((rule, last)) = blame {
            walk.bad += 1;
            if walk.first.is_none() {
                let mut path: Vec<_> = last.into_iter().collect();
                let mut at = world.key();
                while let Some((before, who, act)) = from[&at] {
                    path.push((who, act));
                    at = before;
                }
                path.reverse();
                walk.first = Some((rule, path));
            }
        }
        // A faulty machine is proved faulty long before its last state.
        if walk.bad >= 100 {
            break;
        }
    }
    walk
}

fn sound(name: &str, policy: GuestPolicy) {
    let walk = walk(World::new(policy, None));
    println!("{name}: {} states, {} edges", walk.states, walk.edges);
    assert_eq!(walk.bad, 0, "{:?}", walk.first);
    assert!(walk.states > 1_000, "the search has become too small: {}", walk.states);
}

#[test]
fn every_reachable_state_keeps_the_invariants() {
    sound("straight to the air", GuestPolicy::default());
}

#[test]
fn every_reachable_state_with_backstage_keeps_the_invariants() {
    sound("with backstage", GuestPolicy { backstage: true, ..GuestPolicy::default() });
}

#[test]
fn every_reachable_state_with_auto_approval_keeps_the_invariants() {
    sound("auto-approve", GuestPolicy { auto_approve: true, ..GuestPolicy::default() });
}

#[test]
fn teeth_a_seat_freed_while_reconnecting_is_found() {
    let fault = Some(Fault::SeatFreedWhileReconnecting);
    let walk = walk(World::new(GuestPolicy::default(), fault));
    println!("{} bad of {} states; {:?}", walk.bad, walk.states, walk.first);
    assert!(walk.first.is_some_and(|(rule, _)| rule.starts_with("I1")));
}

#[test]
fn teeth_a_stale_accept_honoured_is_found() {
    let walk = walk(World::new(GuestPolicy::default(), Some(Fault::StaleAcceptHonoured)));
    println!("{} bad of {} states; {:?}", walk.bad, walk.states, walk.first);
    assert!(walk.bad > 0);
}
