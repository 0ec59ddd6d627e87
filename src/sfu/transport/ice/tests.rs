//! Paths, nomination, consent and restart.

use super::*;
use crate::sfu::egress::Batch;
use crate::sfu::transport::stun::tests::{Check, PASSWORD};

#[expect(clippy::disallowed_methods, reason = "tests need some instant to count from")]
fn epoch() -> Instant {
    Instant::now()
}

fn path(port: u16) -> Path {
    Path { local: 0, remote: ([192, 0, 2, 1], port).into() }
}

fn agent() -> IceAgent {
    IceAgent::new(IceCredentials { ufrag: "local".into(), password: PASSWORD.into() })
}

/// Handle a check; the outcome and whether something was sent.
fn check(
    agent: &mut IceAgent,
    now: Instant,
    from: Path,
    check: &Check<'_>,
) -> (Result<StunOutcome, DropReason>, usize) {
    let bytes = check.write([1; 12]);
    let mut sent = 0;
    let mut batch = Batch::new();
    let mut sink = |batch: &mut Batch| {
        assert!(batch.messages.iter().all(|message| message.path == from));
        sent += batch.messages.len();
    };
    let mut egress = Egress::new(&mut batch, &mut sink);
    let request = StunRequest::parse(&bytes).unwrap();
    let outcome = agent.handle(now, from, &request, &mut egress);
    egress.flush();
    (outcome, sent)
}

#[test]
fn the_first_validated_path_serves_until_one_is_nominated() {
    let (mut agent, now) = (agent(), epoch());
    let plain = Check { use_candidate: false, ..Check::default() };
    let (first, sent) = check(&mut agent, now, path(1), &plain);
    let first = first.unwrap();
    assert!(first.new_path && first.selected && sent == 1);
    let (second, _) = check(&mut agent, now, path(2), &plain);
    assert!(second.unwrap().new_path);
    assert_eq!(agent.selected(), Some(path(1)));
    let (third, _) = check(&mut agent, now, path(2), &Check::default());
    assert!(third.unwrap().selected);
    assert_eq!(agent.selected(), Some(path(2)));
}

#[test]
fn nothing_unauthenticated_is_answered_or_changes_anything() {
    let (mut agent, now) = (agent(), epoch());
    let forged = Check { password: "not the password at all", ..Check::default() };
    assert_eq!(check(&mut agent, now, path(1), &forged), (Err(DropReason::StunIntegrity), 0));
    let stranger = Check { username: "other:remote", ..Check::default() };
    assert_eq!(check(&mut agent, now, path(1), &stranger), (Err(DropReason::StunUnknownUfrag), 0));
    assert_eq!((agent.selected(), agent.last_authenticated()), (None, None));
}

#[test]
fn a_controlled_peer_is_told_and_not_validated() {
    let (mut agent, now) = (agent(), epoch());
    let (outcome, sent) =
        check(&mut agent, now, path(1), &Check { controlled: true, ..Check::default() });
    assert_eq!((outcome, sent), (Ok(StunOutcome::default()), 1));
    assert_eq!(agent.selected(), None);
}

#[test]
fn consent_ends_after_fifteen_seconds_and_comes_back() {
    let (mut agent, now) = (agent(), epoch());
    check(&mut agent, now, path(1), &Check::default()).0.unwrap();
    assert!(agent.may_send(now + CONSENT - Duration::from_millis(1)));
    assert!(!agent.may_send(now + CONSENT));
    agent.authenticated(now + CONSENT);
    assert!(agent.may_send(now + CONSENT));
}

#[test]
fn old_credentials_die_when_the_new_ones_are_used() {
    let (mut agent, now) = (agent(), epoch());
    check(&mut agent, now, path(1), &Check::default()).0.unwrap();
    check(&mut agent, now, path(2), &Check { use_candidate: false, ..Check::default() }).0.unwrap();
    let password = "new password of 22 characters";
    agent.restart(IceCredentials { ufrag: "fresh".into(), password: password.into() });
    // Still good: the peer may not know yet.
    check(&mut agent, now, path(1), &Check::default()).0.unwrap();
    let fresh = Check { username: "fresh:remote", password, ..Check::default() };
    assert!(check(&mut agent, now, path(3), &fresh).0.unwrap().selected);
    assert_eq!(agent.selected(), Some(path(3)));
    assert!(!agent.is_validated(path(2)));
    let replayed = check(&mut agent, now, path(4), &Check::default());
    assert_eq!(replayed, (Err(DropReason::StunUnknownUfrag), 0));
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn media_follows_the_peer_when_the_selected_path_is_silent() {
    let (mut agent, now) = (agent(), epoch());
    let plain = Check { use_candidate: false, ..Check::default() };
    check(&mut agent, now, path(1), &Check::default()).0.unwrap();
    check(&mut agent, now, path(2), &plain).0.unwrap();
    agent.heard(now, path(1));
    agent.heard(now + SILENT - MS, path(2));
    assert_eq!(agent.selected(), Some(path(1)), "just before the limit");
    // From no path that a check validated, whoever opened it.
    agent.heard(now + SILENT, path(3));
    assert_eq!(agent.selected(), Some(path(1)));
    agent.heard(now + SILENT, path(2));
    assert_eq!(agent.selected(), Some(path(2)));
    // No way back before this one is silent too, but for a nomination.
    agent.heard(now + SILENT * 2 - MS, path(1));
    assert_eq!(agent.selected(), Some(path(2)));
    let back = check(&mut agent, now + SILENT * 2 - MS, path(1), &Check::default()).0.unwrap();
    assert!(back.selected && !back.new_path);
}

#[test]
fn a_check_moves_media_from_a_silent_path_without_a_nomination() {
    let (mut agent, now) = (agent(), epoch());
    let plain = Check { use_candidate: false, ..Check::default() };
    check(&mut agent, now, path(1), &Check::default()).0.unwrap();
    let early = check(&mut agent, now + SILENT - MS, path(2), &plain).0.unwrap();
    assert_eq!((early.new_path, early.selected), (true, false));
    let late = check(&mut agent, now + SILENT, path(2), &plain).0.unwrap();
    assert_eq!((late.new_path, late.selected), (false, true));
}

#[test]
fn two_paths_that_are_both_heard_do_not_take_media_from_each_other() {
    let (mut agent, now) = (agent(), epoch());
    let plain = Check { use_candidate: false, ..Check::default() };
    for port in [1, 2] {
        check(&mut agent, now, path(port), &plain).0.unwrap();
    }
    let step = SILENT - MS;
    for turn in 1..20 {
        agent.heard(now + step * turn, path(2));
        agent.heard(now + step * turn, path(1));
        assert_eq!(agent.selected(), Some(path(1)), "turn {turn}");
    }
}

#[test]
fn after_a_restart_a_silent_path_is_left_sooner_and_a_good_one_stays() {
    let restarted = |heard_until: Instant| {
        let (mut agent, now) = (agent(), heard_until);
        check(&mut agent, now - SILENT, path(1), &Check::default()).0.unwrap();
        let password = "new password of 22 characters";
        agent.restart(IceCredentials { ufrag: "fresh".into(), password: password.into() });
        agent.heard(heard_until, path(1));
        (
            agent,
            Check { username: "fresh:remote", password, use_candidate: false, ..Check::default() },
        )
    };
    let now = epoch() + SILENT;
    let (mut agent, fresh) = restarted(now);
    let at = now + SILENT_AFTER_RESTART;
    assert!(!check(&mut agent, at - MS, path(2), &fresh).0.unwrap().selected);
    assert!(check(&mut agent, at, path(2), &fresh).0.unwrap().selected);
    // Once: from here on the usual limit holds.
    let late = at + SILENT - MS;
    assert!(!check(&mut agent, late, path(3), &fresh).0.unwrap().selected);
    assert!(check(&mut agent, late + MS, path(3), &fresh).0.unwrap().selected);

    let (mut agent, fresh) = restarted(now);
    for step in 1..10 {
        let at = now + (SILENT_AFTER_RESTART - MS) * step;
        agent.heard(at, path(1));
        assert!(!check(&mut agent, at, path(2), &fresh).0.unwrap().selected, "step {step}");
    }
}

#[test]
fn paths_are_bounded_and_the_selected_one_stays() {
    let (mut agent, now) = (agent(), epoch());
    check(&mut agent, now, path(1), &Check::default()).0.unwrap();
    let plain = Check { use_candidate: false, ..Check::default() };
    let mut evicted = Vec::new();
    for port in 2..20 {
        let at = now + Duration::from_secs(u64::from(port));
        agent.heard(at, path(1));
        evicted.extend(check(&mut agent, at, path(port), &plain).0.unwrap().evicted);
    }
    assert_eq!(evicted.len(), 19 - MAX_PATHS);
    assert_eq!(evicted.first(), Some(&path(2)));
    assert!(agent.is_validated(path(1)) && agent.is_validated(path(19)));
}

#[test]
fn when_the_selected_path_ends_the_one_checked_last_serves_or_else_the_next_check() {
    let (mut agent, now) = (agent(), epoch());
    let plain = Check { use_candidate: false, ..Check::default() };
    for port in [1, 2] {
        let at = now + Duration::from_secs(u64::from(port));
        check(&mut agent, at, path(port), &plain).0.unwrap();
    }
    check(&mut agent, now, path(3), &Check::default()).0.unwrap();
    agent.forget(path(9));
    assert_eq!(agent.selected(), Some(path(3)));
    agent.forget(path(3));
    assert_eq!((agent.selected(), agent.is_validated(path(3))), (Some(path(2)), false));
    agent.forget(path(1));
    assert_eq!(agent.selected(), Some(path(2)));
    agent.forget(path(2));
    assert!(agent.selected().is_none() && !agent.may_send(now));
    assert!(check(&mut agent, now, path(4), &plain).0.unwrap().selected);
    assert_eq!(agent.selected(), Some(path(4)));
}

#[test]
fn what_was_sent_to_a_path_that_had_been_silent_is_lost() {
    let ms = Duration::from_millis(1);
    for (silence, lost) in [(SILENT_AFTER_RESTART - ms, false), (SILENT_AFTER_RESTART, true)] {
        let (mut agent, now) = (agent(), epoch());
        check(&mut agent, now, path(1), &Check::default()).0.unwrap();
        let moved = check(&mut agent, now + silence, path(2), &Check::default()).0.unwrap();
        assert_eq!(agent.selected(), Some(path(2)));
        assert_eq!(moved.left_silence, lost);
        let again = check(&mut agent, now + silence * 3, path(2), &Check::default()).0.unwrap();
        assert!(!again.left_silence, "it is selected already");
    }
}
