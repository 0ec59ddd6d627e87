//! Every guard with its refusal, in the order of the specification, and every timer.

use super::*;
use crate::protocol::{GuestEnd, Who};
use StageCommand as C;

fn ended(show: &Show, reason: GuestEnd) -> bool {
    show.effects.iter().any(|e| matches!(e, StageEffect::Ended { reason: r, .. } if *r == reason))
}

#[test]
fn request_guards_in_order() {
    let mut closed = Show::with_seats(2);
    closed.stage = Stage::new(GuestPolicy::default(), Rules::default());
    assert_eq!(closed.request("a", "g"), Err(Code::RoomNotLive));
    let mut show = Show::with_seats(2);
    show.ask(C::Ban { user: user("bad") }).expect("banned");
    let worst = Facts {
        anonymous: true,
        blocked: true,
        muted: true,
        adult: false,
        rules_accepted: false,
        ..Facts::GOOD
    };
    let facts = [
        (worst, Code::RoleRequired),
        (Facts { anonymous: false, ..worst }, Code::Blocked),
        (Facts { anonymous: false, blocked: false, ..worst }, Code::Muted),
        (Facts { adult: false, rules_accepted: false, ..Facts::GOOD }, Code::AdultRequired),
        (Facts { rules_accepted: false, ..Facts::GOOD }, Code::RulesNotAccepted),
    ];
    for (facts, code) in facts {
        assert_eq!(show.request_as("a", "g", facts, GuestMedia::Av), Err(code));
    }
    let banned = Facts { anonymous: false, ..worst };
    assert_eq!(show.request_as("bad", "g", banned, GuestMedia::Av), Err(Code::Banned));
    show.request("a", "g").expect("asked");
    assert_eq!(show.request("a", "g2"), Err(Code::RequestExists));
}

#[test]
fn request_obeys_the_policy() {
    let cases = [
        GuestPolicy { who: Who::Off, ..GuestPolicy::default() },
        GuestPolicy { who: Who::Followers, ..GuestPolicy::default() },
        GuestPolicy { media: GuestMedia::Audio, ..GuestPolicy::default() },
        GuestPolicy { min_gift_score: 1, ..GuestPolicy::default() },
    ];
    for policy in cases {
        assert_eq!(Show::new(policy).request("a", "g"), Err(Code::GuestPolicy));
    }
    let mut show = Show::new(GuestPolicy { media: GuestMedia::Audio, ..GuestPolicy::default() });
    show.request_as("a", "g", Facts::GOOD, GuestMedia::Audio).expect("audio is allowed");
}

#[test]
fn the_queue_has_an_end() {
    let mut show = Show::with_seats(2);
    for n in 0..200 {
        show.request(&format!("u{n}"), &format!("g{n}")).expect("there is room");
    }
    assert_eq!(show.request("late", "late"), Err(Code::QueueFull));
    let queue = show.stage.queue(|_| 0, |u| crate::protocol::Name::clean(u.as_str()));
    assert_eq!(queue.first().map(|q| q.user.clone()), Some(user("u0")));
}

#[test]
fn a_denial_cools_down_and_doubles() {
    let mut show = Show::with_seats(2);
    let mut pauses = Vec::new();
    for n in 0..7 {
        show.request("a", &format!("g{n}")).expect("asked");
        show.ask(C::Deny { id: guest(&format!("g{n}")) }).expect("denied");
        let start = show.now;
        while show.request("a", "try") == Err(Code::Cooldown) {
            show.now += 10_000;
        }
        show.ask(C::Cancel { user: user("a"), id: guest("try") }).expect("canceled");
        pauses.push((show.now - start) / 1000);
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600]);
    assert!(ended(&show, GuestEnd::Denied));
}

#[test]
fn invite_guards_in_order() {
    let mut show = Show::with_seats(3);
    show.ask(C::Ban { user: user("bad") }).expect("banned");
    let absent = Facts { present: false, adult: false, ..Facts::GOOD };
    assert_eq!(show.invite_as("a", "g", absent, None), Err(Code::TargetOffline));
    for facts in [
        Facts { anonymous: true, ..Facts::GOOD },
        Facts { blocked: true, ..Facts::GOOD },
        Facts { adult: false, ..Facts::GOOD },
    ] {
        assert_eq!(show.invite_as("a", "g", facts, None), Err(Code::TargetNotEligible));
    }
    assert_eq!(show.invite("bad", "g"), Err(Code::TargetNotEligible));
    show.on_air("a", "ga");
    assert_eq!(show.invite("a", "g2"), Err(Code::AlreadySeated));
    show.invite("b", "gb").expect("invited");
    assert_eq!(show.invite("b", "g3"), Err(Code::Conflict));
    assert_eq!(show.invite_as("c", "gc", Facts::GOOD, Some(4)), Err(Code::SeatNotFound));
    assert_eq!(show.invite_as("c", "gc", Facts::GOOD, Some(0)), Err(Code::SeatNotFound));
    assert_eq!(show.invite_as("c", "gc", Facts::GOOD, Some(1)), Err(Code::SeatOccupied));
    show.ask(C::LockSeat { seat: 2, locked: true }).expect("locked");
    assert_eq!(show.invite_as("c", "gc", Facts::GOOD, Some(2)), Err(Code::SeatLocked));
    for n in 1..10 {
        show.invite(&format!("u{n}"), &format!("g{n}u")).expect("invited");
    }
    assert_eq!(show.invite("one-more", "gx"), Err(Code::TooManyInvites));
}

#[test]
fn a_decline_is_respected_for_a_minute() {
    let mut show = Show::with_seats(2);
    show.invite("a", "ga").expect("invited");
    show.ask(C::Decline { user: user("a"), id: guest("ga") }).expect("declined");
    assert_eq!(show.invite("a", "g2"), Err(Code::Cooldown));
    show.pass(60_000);
    show.invite("a", "g2").expect("invited again");
    let not_mine = C::Decline { user: user("b"), id: guest("g2") };
    assert_eq!(show.ask(not_mine), Err(Code::InviteNotPending));
}

#[test]
fn accept_guards() {
    let mut show = Show::with_seats(2);
    show.invite("a", "ga").expect("invited");
    assert_eq!(show.accept_as("a", "ga", false), Err(Code::RulesNotAccepted));
    assert_eq!(show.accept("b", "ga"), Err(Code::InviteNotPending));
    show.invite_as("b", "gb", Facts::GOOD, Some(1)).expect("invited");
    show.accept("a", "ga").expect("takes seat 1");
    assert_eq!(show.accept("b", "gb"), Err(Code::SeatOccupied));
}

#[test]
fn crossing_seats_at_once() {
    let mut show = Show::with_seats(1);
    show.request("a", "ga").expect("asked");
    let seated = show.invite("a", "other").expect("both want it");
    assert!(matches!(seated, StageReply::Seated { id, seat: 1, .. } if id == guest("ga")));
    show.invite("b", "gb").expect("invited");
    assert_eq!(show.request("b", "other"), Err(Code::SeatsFull));
    assert_eq!(show.state("b"), Some(GuestState::Invited), "the older one stays");
}

#[test]
fn auto_approval_needs_a_seat_and_a_host() {
    let policy = GuestPolicy { auto_approve: true, seats: 1, ..GuestPolicy::default() };
    let mut show = Show::new(policy);
    show.ask(C::HostLost { lost: true }).expect("lost");
    assert!(matches!(show.request("a", "ga"), Ok(StageReply::Opened { .. })));
    show.ask(C::HostLost { lost: false }).expect("back");
    assert!(matches!(show.request("b", "gb"), Ok(StageReply::Seated { .. })));
    assert!(matches!(show.request("c", "gc"), Ok(StageReply::Opened { .. })));
    assert_eq!(show.approve("ga"), Err(Code::SeatsFull));
    assert_eq!(show.state("a"), Some(GuestState::Requested), "it stays queued");
}

#[test]
fn every_timer_ends_its_state() {
    let mut show = Show::with_seats(4);
    show.request("a", "ga").expect("asked");
    show.pass(600_000);
    assert!(ended(&show, GuestEnd::RequestExpired));
    show.invite("b", "gb").expect("invited");
    show.pass(30_000);
    assert!(ended(&show, GuestEnd::InviteExpired));
    show.invite("c", "gc").expect("invited");
    show.accept("c", "gc").expect("accepted");
    show.pass(14_999);
    assert_eq!(show.state("c"), Some(GuestState::Connecting));
    show.pass(1);
    assert!(ended(&show, GuestEnd::FirstFrameTimeout));
    show.on_air("d", "gd");
    show.ask(C::SocketLost { user: user("d") }).expect("lost");
    show.pass(59_999);
    assert_eq!(show.state("d"), Some(GuestState::Live));
    show.pass(1);
    assert_eq!(show.state("d"), Some(GuestState::Reconnecting));
    show.pass(20_000);
    assert!(ended(&show, GuestEnd::LostConnection));
    assert_eq!(show.stage.next_deadline(), None);
}

#[test]
fn picture_before_the_countdown_waits_and_a_loss_starts_the_connect_timer_again() {
    let mut show = Show::with_seats(1);
    show.invite("a", "ga").expect("invited");
    show.accept("a", "ga").expect("accepted");
    show.ask(C::MediaReady { user: user("a") }).expect("ready");
    assert_eq!(show.state("a"), Some(GuestState::Connecting));
    show.ask(C::Lost { user: user("a") }).expect("lost");
    show.pass(14_999);
    assert_eq!(show.state("a"), Some(GuestState::Connecting));
    show.pass(1);
    assert!(ended(&show, GuestEnd::FirstFrameTimeout));
}

#[test]
fn mutes_do_not_pass_to_the_next_attempt() {
    let mut show = Show::with_seats(1);
    show.on_air("a", "ga");
    show.ask(C::Mute { id: guest("ga"), kinds: Kinds::ALL, hard: true }).expect("muted");
    let unmute = |kinds| C::SelfMute { user: user("a"), kinds, on: false };
    assert_eq!(show.ask(unmute(AUDIO)), Err(Code::Forbidden));
    show.ask(C::Lost { user: user("a") }).expect("lost");
    show.resume("a", "ga", 1, 2).expect("resumes");
    show.ask(C::MediaReady { user: user("a") }).expect("ready");
    assert_eq!(show.stage.attempt_of(&user("a")).map(|a| a.locked), Some(Kinds::ALL));
    show.ask(C::AllowUnmute { id: guest("ga"), kinds: AUDIO }).expect("allowed");
    let muted = show.stage.attempt_of(&user("a")).map(|a| (a.muted(), a.self_muted));
    assert_eq!(muted, Some((Kinds::ALL, AUDIO)), "allowed is not unmuted");
    show.ask(unmute(AUDIO)).expect("unmuted");
    show.ask(C::Leave { user: user("a") }).expect("leaves");
    show.on_air("a", "g2");
    assert_eq!(show.stage.attempt_of(&user("a")).map(|a| a.muted()), Some(Kinds::default()));
}

#[test]
fn the_end_of_the_room_and_of_minors() {
    let mut show = Show::new(GuestPolicy { adult_only: false, ..GuestPolicy::default() });
    let minor = Facts { adult: false, ..Facts::GOOD };
    show.invite_as("kim", "gk", minor, None).expect("allowed here");
    show.accept("kim", "gk").expect("accepted");
    show.on_air("a", "ga");
    show.ask(C::AdultsOnly).expect("18+");
    assert_eq!((show.state("kim"), show.state("a")), (None, Some(GuestState::Live)));
    assert!(ended(&show, GuestEnd::AgeRestricted));
    show.ask(C::House(House::Shut)).expect("over");
    assert!(ended(&show, GuestEnd::RoomEnded));
    assert_eq!(show.request("b", "gb"), Err(Code::RoomNotLive));
}

#[test]
fn commands_for_seats_say_what_is_wrong() {
    let mut show = Show::with_seats(1);
    show.request("a", "ga").expect("asked");
    assert_eq!(show.ask(C::Remove { id: guest("ga") }), Err(Code::NotPending));
    assert_eq!(show.ask(C::GoLive { id: guest("ga") }), Err(Code::NotPending));
    assert_eq!(show.ask(C::Remove { id: guest("no") }), Err(Code::GuestEnded));
    assert_eq!(show.ask(C::Leave { user: user("a") }), Err(Code::GuestEnded));
    assert_eq!(show.resume("a", "ga", 1, 2), Err(Code::GuestEnded));
}
