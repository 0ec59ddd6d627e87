//! The races of the specification, each with its required outcome.

use super::*;
use crate::protocol::GuestEnd;
use StageCommand as C;

#[test]
fn two_accepts_one_seat() {
    let mut show = Show::with_seats(1);
    show.invite("a", "ga").expect("invited");
    show.invite("b", "gb").expect("invited");
    show.accept("a", "ga").expect("first");
    assert_eq!(show.accept("b", "gb"), Err(Code::SeatsFull));
    assert_eq!(show.state("b"), Some(GuestState::Invited), "the Invite stays");
    assert_eq!(show.seats_taken(), [1]);
    show.ask(C::Leave { user: user("a") }).expect("leaves");
    let free = StageEffect::SeatFree { user: user("b"), id: guest("gb") };
    assert!(show.effects.contains(&free));
    show.accept("b", "gb").expect("now there is one");
}

#[test]
fn revoke_against_accept() {
    let mut show = Show::with_seats(2);
    show.invite("a", "ga").expect("invited");
    show.ask(C::Revoke { id: guest("ga") }).expect("revoked");
    assert_eq!(show.accept("a", "ga"), Err(Code::InviteNotPending));
    show.invite("b", "gb").expect("invited");
    show.accept("b", "gb").expect("accepted");
    assert_eq!(show.ask(C::Revoke { id: guest("gb") }), Err(Code::InviteNotPending));
    assert_eq!(show.state("b"), Some(GuestState::Connecting));
}

#[test]
fn invite_ttl_against_accept() {
    let mut show = Show::with_seats(2);
    show.invite("a", "ga").expect("invited");
    show.now += 29_999;
    show.accept("a", "ga").expect("in time");
    show.invite("b", "gb").expect("invited");
    show.now += 30_000;
    assert_eq!(show.accept("b", "gb"), Err(Code::InviteExpired));
    assert_eq!(show.state("b"), None);
}

#[test]
fn accept_clicked_twice() {
    let mut show = Show::with_seats(2);
    show.invite("a", "ga").expect("invited");
    let first = show.accept("a", "ga").expect("accepted");
    show.pass(1_000);
    assert_eq!(show.accept("a", "ga"), Ok(first));
    let grants = show.effects.iter().filter(|e| matches!(e, StageEffect::Granted { .. })).count();
    assert_eq!(grants, 1);
}

#[test]
fn approve_by_two() {
    let mut show = Show::with_seats(2);
    show.request("a", "ga").expect("asked");
    show.approve("ga").expect("first");
    assert_eq!(show.approve("ga"), Err(Code::NotPending));
}

#[test]
fn cancel_against_approve() {
    let mut show = Show::with_seats(2);
    show.request("a", "ga").expect("asked");
    show.approve("ga").expect("approved");
    assert_eq!(show.ask(C::Cancel { user: user("a"), id: guest("ga") }), Err(Code::NotPending));
    show.ask(C::Leave { user: user("a") }).expect("leaving is explicit");
    show.request("b", "gb").expect("asked");
    show.ask(C::Cancel { user: user("b"), id: guest("gb") }).expect("canceled");
    assert_eq!(show.approve("gb"), Err(Code::NotPending));
}

#[test]
fn ban_against_accept() {
    let mut show = Show::with_seats(2);
    show.invite("a", "ga").expect("invited");
    show.ask(C::Ban { user: user("a") }).expect("banned");
    assert_eq!(show.accept("a", "ga"), Err(Code::InviteNotPending));
    assert_eq!(show.state("a"), None);
    assert_eq!(show.request("a", "g2"), Err(Code::Banned));
    assert_eq!(show.invite("a", "g3"), Err(Code::TargetNotEligible));
}

#[test]
fn removal_during_grace() {
    let mut show = Show::with_seats(2);
    show.on_air("a", "ga");
    show.ask(C::Lost { user: user("a") }).expect("lost");
    show.ask(C::Remove { id: guest("ga") }).expect("removed");
    assert_eq!(show.resume("a", "ga", 1, 2), Err(Code::GuestEnded));
    assert!(show.seats_taken().is_empty());
}

#[test]
fn everybody_reconnects_at_once() {
    let mut show = Show::with_seats(3);
    let names = [("a", "ga"), ("b", "gb"), ("c", "gc")];
    for (name, id) in names {
        show.on_air(name, id);
    }
    show.ask(C::HostLost { lost: true }).expect("lost");
    for (name, _) in names {
        show.ask(C::Lost { user: user(name) }).expect("lost");
    }
    for (name, id) in names {
        show.resume(name, id, 1, 2).expect("resumes");
        assert_eq!(show.resume(name, id, 1, 3), Err(Code::ResumeInvalid), "single use");
        show.ask(C::MediaReady { user: user(name) }).expect("ready");
        assert_eq!(show.state(name), Some(GuestState::Live), "no second countdown");
    }
    assert_eq!(show.seats_taken(), [1, 2, 3]);
}

#[test]
fn layout_against_move() {
    let mut show = Show::with_seats(3);
    show.on_air("a", "ga");
    show.on_air("b", "gb");
    let layout = crate::protocol::Layout::Spotlight;
    let policy = GuestPolicy { layout, ..show.stage.policy().clone() };
    show.ask(C::Policy(policy)).expect("changed");
    assert_eq!(show.seats_taken(), [1, 2], "positions are data apart from seats");
    let to = |seat, swap| C::Move { id: guest("ga"), seat, swap };
    assert_eq!(show.ask(to(2, false)), Err(Code::SeatOccupied));
    show.ask(to(2, true)).expect("swapped");
    assert_eq!(show.stage.attempt_of(&user("b")).and_then(|a| a.seat), Some(1));
    show.ask(to(3, false)).expect("moved");
    assert_eq!(show.seats_taken(), [1, 3]);
}

#[test]
fn lock_resize_and_go_live_never_evict() {
    let mut show = Show::new(GuestPolicy { backstage: true, ..GuestPolicy::default() });
    show.invite("a", "ga").expect("invited");
    show.accept("a", "ga").expect("accepted");
    assert_eq!(show.ask(C::LockSeat { seat: 1, locked: true }), Err(Code::SeatOccupied));
    show.invite_as("b", "gb", Facts::GOOD, Some(2)).expect("invited");
    show.ask(C::LockSeat { seat: 2, locked: true }).expect("locked");
    assert_eq!(show.accept("b", "gb"), Err(Code::SeatLocked));
    show.ask(C::LockSeat { seat: 2, locked: false }).expect("unlocked");
    show.accept("b", "gb").expect("accepted");
    let none = Vec::new();
    assert_eq!(show.ask(C::Resize { seats: 1, remove: none }), Err(Code::SeatOccupied));
    show.ask(C::Resize { seats: 1, remove: vec![guest("gb")] }).expect("named");
    let ended = |e: &StageEffect| {
        matches!(e, StageEffect::Ended { reason: GuestEnd::SeatCountReduced, .. })
    };
    assert!(show.effects.iter().any(ended));
    show.ask(C::MediaReady { user: user("a") }).expect("ready");
    show.ask(C::GoLive { id: guest("ga") }).expect("counts down");
    show.ask(C::Leave { user: user("a") }).expect("leaves");
    show.pass(10_000);
    assert_eq!(show.ask(C::GoLive { id: guest("ga") }), Err(Code::GuestEnded));
}

#[test]
fn lost_or_backstage_stops_the_countdown_to_the_air() {
    for stop in [C::Lost { user: user("a") }, C::Backstage { id: guest("ga") }] {
        let mut show = Show::new(GuestPolicy { backstage: true, ..GuestPolicy::default() });
        show.invite("a", "ga").expect("invited");
        show.accept("a", "ga").expect("accepted");
        show.ask(C::MediaReady { user: user("a") }).expect("ready");
        show.ask(C::GoLive { id: guest("ga") }).expect("counts down");
        show.ask(stop).expect("stops");
        show.ask(C::Back { user: user("a") }).expect("is there");
        show.pass(60_000);
        assert_eq!(show.state("a"), Some(GuestState::Backstage));
    }
}
