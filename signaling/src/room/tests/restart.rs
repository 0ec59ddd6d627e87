use super::*;
use crate::protocol::{GuestId, GuestState, Kind, PauseReason};

fn state(show: &Show, name: &str) -> Option<GuestState> {
    show.room.stage.attempt_of(&user(name)).map(|attempt| attempt.state)
}

#[test]
fn guests_with_media_come_back_reconnecting_with_seat_mutes_and_token() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.viewer(3, "ben");
    show.viewer(4, "cat");
    let id = show.invited("cat");
    show.accepted(4, &id);
    show.offer(4).expect("publishes");
    assert!(show.kept.guests.is_empty(), "a first connecting is not kept");
    show.ask(1, "guest.remove", &format!(r#"{{"guestId":"{id}"}}"#)).expect("removed");
    let (id, token, _) = show.guest_with_token(2, "ana");
    let hard = format!(r#"{{"guestId":"{id}","kinds":["audio"],"hard":true}}"#);
    show.ask(1, "guest.mute", &hard).expect("muted");
    show.invited("ben");
    let gone = show.guest(4, "cat").0;
    show.ask(1, "guest.remove", &format!(r#"{{"guestId":"{gone}"}}"#)).expect("removed");
    show.ask(1, "room.update", r#"{"guest":{"seats":3,"graceMs":30000}}"#).expect("updated");

    show.restart(5_000);
    assert_eq!(show.room.life.state, RoomState::Paused);
    assert!(show.room.life.reasons.contains(&PauseReason::HostLost));
    assert_eq!(show.room.host.name, Name::clean("host"), "the host's name");
    assert_eq!(show.room.stage.policy().seats, 3);
    assert_eq!(state(&show, "ana"), Some(GuestState::Reconnecting));
    assert_eq!((state(&show, "ben"), state(&show, "cat")), (None, None));
    assert_eq!(show.seat(1), SeatState::Reconnecting);
    assert_eq!(show.room.seat_views()[1].name, Some(Name::clean("ana")));
    let seated: Vec<_> = show.room.seated().collect();
    assert_eq!(seated, [user("host"), user("ana")]);

    let who = identity("ana", TokenRole::Viewer, &[]);
    let forged = format!("{id}.{}", "0".repeat(32));
    let forged = show.join_as(9, who.clone(), Some(forged), Carrier::WebSocket);
    assert_eq!(forged.map(drop), Err(Code::ResumeInvalid));
    let joined = show.join_as(12, who.clone(), Some(token.clone()), Carrier::WebSocket);
    assert_ne!(joined.expect("resumes").resume_token.as_ref(), Some(&token));
    let again = show.join_as(13, who, Some(token), Carrier::WebSocket);
    assert_eq!(again.map(drop), Err(Code::ResumeInvalid), "once");
    let transport = show.offer(12).expect("publishes");
    let closed = |effect: &Effect| {
        let audio = MediaAsk::SetGate { transport, kind: MediaKind::Audio, open: false };
        matches!(effect, Effect::Media(ask) if *ask == audio)
    };
    assert!(show.effects.iter().any(closed), "muted before the first packet");
    show.media(transport, MediaEvent::Connected);
    show.media(transport, MediaEvent::MediaReady(MediaKind::Video));
    assert_eq!(state(&show, "ana"), Some(GuestState::Live), "at once: no countdown again");
    let on = r#"{"kinds":["audio"],"on":false}"#;
    assert_eq!(show.ask(12, "media.mute", on), Err(Code::Forbidden), "locked");
    let attempt = show.room.stage.attempt_of(&user("ana")).expect("open");
    assert!(attempt.locked.has(Kind::Audio) && !attempt.locked.has(Kind::Video));
}

#[test]
fn who_does_not_come_back_in_time_is_out() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.guest(2, "ana");
    show.restart(600_000);
    show.pass(19_999);
    assert_eq!(state(&show, "ana"), Some(GuestState::Reconnecting), "a fresh grace");
    show.pass(1);
    assert_eq!((state(&show, "ana"), show.kept.guests.len()), (None, 0));
    show.pass(40_000);
    assert!(show.room.is_over(), "nor has the host");
}

#[test]
fn records_that_cannot_be_read_cost_no_show() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.guest(2, "ana");
    let (id, name, record) = show.kept.guests[0].clone();
    show.kept.guests.insert(0, (id, user("kim"), "{".into()));
    let other = GuestId::new("other").expect("valid");
    show.kept.guests.push((other, user("zoe"), record));
    show.kept.settings = "nonsense".into();
    show.restart(1);
    assert_eq!(state(&show, name.as_str()), Some(GuestState::Reconnecting));
    assert_eq!(state(&show, "kim"), None);
    assert_eq!(state(&show, "zoe"), None, "the seat is taken");
    assert_eq!(show.room.life.state, RoomState::Paused);
}
