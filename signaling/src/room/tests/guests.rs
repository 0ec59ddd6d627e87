use super::*;
use crate::protocol::{ByeReason, GuestEnd};

#[test]
fn the_host_has_a_seat_and_gets_no_other() {
    let mut show = Show::live();
    for auto in [false, true] {
        let policy = format!(r#"{{"guest":{{"autoApprove":{auto}}}}}"#);
        show.ask(1, "room.update", &policy).expect("the policy");
        let asked = show.ask(1, "guest.request", r#"{"media":"av"}"#);
        assert_eq!(asked.err(), Some(Code::AlreadySeated));
    }
    let invited = show.ask(1, "guest.invite", r#"{"user":"host"}"#);
    assert_eq!(invited.err(), Some(Code::TargetNotEligible));
    assert!(show.slots().is_empty());
}

#[test]
fn a_guest_goes_on_air_and_viewers_get_one_event_and_one_slot() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.viewer(3, "ben");
    let id = show.invited("ana");
    let card = |e: &&Event| matches!(e, Event::GuestInvited(card) if card.by.user == user("host"));
    assert!(show.events().iter().any(card));
    let grant = show.accepted(2, &id);
    assert_eq!(grant["seat"], 1);
    assert_eq!(show.seat(1), SeatState::Reserved);
    let publish = show.offer(2).expect("publishes");
    assert_eq!(show.slots(), [(Seat(1), Some(publish), Audience::Nobody)]);
    show.arrive(publish);
    assert_eq!(show.seat(1), SeatState::Reserved, "the countdown runs on the server");
    let told = show.pass(3_000);
    assert_eq!(slots(&told), [(Seat(1), Some(publish), Audience::Everyone)]);
    let live =
        |e: &&&Event| matches!(e, Event::SeatUpdated(v) if v.seat == 1 && v.audio && v.video);
    assert_eq!(events(&told).iter().filter(|e| live(e)).count(), 1);
}

#[test]
fn a_removed_guest_is_gone_in_the_same_turn() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (id, publish) = show.guest(2, "ana");
    show.ask(1, "guest.remove", &format!(r#"{{"guestId":"{id}"}}"#)).expect("removed");
    assert_eq!(show.slots(), [(Seat(1), None, Audience::Nobody)]);
    let reply = at(&show.effects, |e| matches!(e, Effect::Reply { .. }));
    let emptied = at(&show.effects, |e| matches!(e, Effect::Media(MediaAsk::SetSeat { .. })));
    let stored = at(&show.effects, |e| matches!(e, Effect::Store(StoreWrite::GuestEnded { .. })));
    assert!(emptied < reply && stored < reply);
    let ended = |e: &&Event| matches!(e, Event::GuestEnded(end) if end.reason == GuestEnd::Removed);
    assert!(show.events().iter().any(ended));
    assert_eq!(show.offer(2), Err(Code::PublishNotGranted));
    show.media(publish, MediaEvent::Back);
    assert!(show.slots().is_empty());
}

#[test]
fn a_hard_mute_closes_the_gate_before_the_reply_and_only_the_guest_opens_it() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (id, publish) = show.guest(2, "ana");
    let mute = format!(r#"{{"guestId":"{id}","kinds":["audio"],"hard":true}}"#);
    show.ask(1, "guest.mute", &mute).expect("muted");
    let gate = |open: bool| {
        move |e: &Effect| {
            matches!(e, Effect::Media(MediaAsk::SetGate { transport, kind: MediaKind::Audio, open: o })
                if *transport == publish && *o == open)
        }
    };
    let closed = at(&show.effects, gate(false));
    let stored = at(&show.effects, |e| matches!(e, Effect::Store(StoreWrite::SeatMute { .. })));
    assert!(closed.max(stored) < at(&show.effects, |e| matches!(e, Effect::Reply { .. })));
    let on = r#"{"kinds":["audio"],"on":false}"#;
    assert_eq!(show.ask(2, "media.mute", on), Err(Code::Forbidden));
    show.ask(2, "guest.requestUnmute", r#"{"kinds":["audio"]}"#).expect("asked");
    assert!(show.events().iter().any(|e| matches!(e, Event::GuestUnmuteAsked(_))));
    let allow = format!(r#"{{"guestId":"{id}","kinds":["audio"]}}"#);
    show.ask(1, "guest.allowUnmute", &allow).expect("allowed");
    assert!(!show.effects.iter().any(gate(true)), "nobody but the guest turns it on");
    show.ask(2, "media.mute", on).expect("unmuted");
    assert!(show.effects.iter().any(gate(true)));
}

#[test]
fn a_mute_survives_a_take_over() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (id, old) = show.guest(2, "ana");
    let mute = format!(r#"{{"guestId":"{id}","kinds":["video"],"hard":true}}"#);
    show.ask(1, "guest.mute", &mute).expect("muted");
    show.viewer(3, "ana");
    let new = show.offer(3).expect("takes over");
    let bye = |e: &Effect| {
        matches!(e, Effect::CloseConn { conn: ConnId(2), reason: ByeReason::Replaced })
    };
    assert!(show.effects.iter().any(bye));
    let opened = at(&show.effects, |e| matches!(e, Effect::Ask { .. }));
    let closed = at(&show.effects, |e| {
        matches!(e, Effect::Media(MediaAsk::SetGate { transport, kind: MediaKind::Video, open: false })
            if *transport == new)
    });
    assert!(opened < closed);
    assert!(!show.room.publishers.contains_key(&old));
    show.media(new, MediaEvent::MediaReady(MediaKind::Audio));
    let view = &show.room.seat_views()[1];
    assert_eq!((view.state, view.audio, view.video), (SeatState::Live, true, false));
}

#[test]
fn a_rejected_section_is_not_waited_for() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let id = show.invited("ana");
    show.accepted(2, &id);
    let transport = show.offer(2).expect("publishes");
    show.media(transport, MediaEvent::Connected);
    show.media(transport, MediaEvent::MediaReady(MediaKind::Audio));
    show.pass(3_000);
    assert_eq!(show.seat(1), SeatState::Reserved, "the offer announces a picture");
    show.step(Input::MediaAccepted { transport, audio: true, video: false });
    assert_eq!(show.seat(1), SeatState::Live);
}

#[test]
fn a_lost_guest_keeps_the_seat_for_the_grace_and_resumes_with_the_token_once() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (_, token, publish) = show.guest_with_token(2, "ana");
    show.step(Input::Left { conn: ConnId(2) });
    assert_eq!(show.seat(1), SeatState::Live, "media is the proof of life");
    show.media(publish, MediaEvent::Lost);
    assert_eq!(show.seat(1), SeatState::Reconnecting);
    let who = identity("ana", TokenRole::Viewer, &[]);
    let joined =
        show.join_as(3, who.clone(), Some(token.clone()), Carrier::WebSocket).expect("resumes");
    assert!(joined.resume_token.is_some_and(|next| next != token));
    let new = show.offer(3).expect("publishes again");
    show.arrive(new);
    assert_eq!(show.seat(1), SeatState::Live, "no second countdown");
    let again = show.join_as(4, who, Some(token), Carrier::WebSocket);
    assert_eq!(again.err(), Some(Code::ResumeInvalid));
}

/// `media.restart` of a publisher, as from its page.
fn restart(show: &mut Show, conn: u64, transport: TransportId) -> Result<(), Code> {
    let sdp = serde_json::json!({ "transport": format!("t{}", transport.0), "sdp": OFFER });
    show.ask(conn, "media.restart", &sdp.to_string()).map(drop)
}

fn restarts(show: &Show, transport: TransportId) -> bool {
    let asked = |e: &Effect| matches!(e, Effect::Ask { ask: MediaAsk::RestartIce { transport: t, .. }, .. } if *t == transport);
    show.effects.iter().any(asked)
}

#[test]
fn whoever_moves_to_another_network_restarts_what_they_publish_over_a_new_connection() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (id, token, publish) = show.guest_with_token(2, "ana");
    let mute = format!(r#"{{"guestId":"{id}","kinds":["audio"],"hard":true}}"#);
    show.ask(1, "guest.mute", &mute).expect("muted");
    // The old connections are dead, which nobody has noticed yet.
    let who = identity("ana", TokenRole::Viewer, &[]);
    show.join_as(3, who, Some(token), Carrier::WebSocket).expect("resumes");
    restart(&mut show, 3, publish).expect("restarts");
    assert!(restarts(&show, publish) && show.slots().is_empty());
    let view = &show.room.seat_views()[1];
    assert_eq!((view.state, view.audio, view.video), (SeatState::Live, false, true));

    let host = show.room.host_publisher.expect("publishes");
    show.join(4, "host", TokenRole::Host, &[]).expect("joins again");
    restart(&mut show, 4, host).expect("restarts");
    let bye = |e: &Effect| {
        matches!(e, Effect::CloseConn { conn: ConnId(1), reason: ByeReason::Replaced })
    };
    assert!(restarts(&show, host) && show.effects.iter().any(bye));
    assert_eq!(show.room.life.state, RoomState::Live);
    assert_eq!(restart(&mut show, 4, publish), Err(Code::NotFound), "another person's");
    // A tool that publishes has a session of its own.
    let who = identity("host", TokenRole::Host, &[]);
    show.step(Input::Left { conn: ConnId(4) });
    show.join_as(5, who, None, Carrier::Whip).expect("joins");
    let tool = show.offer(5).expect("publishes");
    show.join(6, "host", TokenRole::Host, &[]).expect("joins");
    assert_eq!(restart(&mut show, 6, tool), Err(Code::NotFound));
}

#[test]
fn a_page_that_joins_again_ends_the_connection_it_lost_and_nobody_elses() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (_, token, publish) = show.guest_with_token(2, "ana");
    show.viewer(3, "ben");
    let [anas, bens] = [2, 3].map(|conn| show.room.conns[&ConnId(conn)].watch.expect("watches"));
    let ended = |show: &Show, conn: u64| {
        let bye = |e: &Effect| matches!(e, Effect::CloseConn { conn: c, reason: ByeReason::Replaced } if c.0 == conn);
        show.effects.iter().any(bye) && !show.room.conns.contains_key(&ConnId(conn))
    };
    let who = identity("ana", TokenRole::Viewer, &[]);
    show.join_replacing(4, who.clone(), None, Carrier::WebSocket, Some(bens)).expect("joins");
    assert!(!ended(&show, 3), "another person's");
    show.join_replacing(5, who, Some(token), Carrier::WebSocket, Some(anas)).expect("resumes");
    assert!(ended(&show, 2) && !ended(&show, 4));
    let closed = |e: &Effect| matches!(e, Effect::Media(MediaAsk::Close { transport, .. }) if *transport == anas);
    assert!(show.effects.iter().any(closed));
    assert!(show.room.publishers.contains_key(&publish), "what flows may flow on");
    assert_eq!(show.seat(1), SeatState::Live);
}

#[test]
fn after_the_grace_the_seat_is_free_and_the_token_dead() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (_, token, publish) = show.guest_with_token(2, "ana");
    show.media(publish, MediaEvent::Closed(crate::media::CloseReason::Timeout));
    show.pass(20_000);
    assert_eq!(show.seat(1), SeatState::Empty);
    let who = identity("ana", TokenRole::Viewer, &[]);
    let late = show.join_as(3, who, Some(token), Carrier::WebSocket);
    assert_eq!(late.err(), Some(Code::GuestEnded));
}

#[test]
fn an_accept_sent_twice_gets_the_same_answer() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let id = show.invited("ana");
    let first = show.accepted(2, &id);
    show.now += 500;
    assert_eq!(show.accepted(2, &id), first);
}

#[test]
fn a_request_is_approved_once() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let reply = show.ask(2, "guest.request", r#"{"media":"av","note":"me"}"#).expect("asked");
    let id = reply["guestId"].as_str().expect("an id").to_owned();
    let told = show.pass(500);
    assert!(
        events(&told).iter().any(|e| matches!(e, Event::GuestQueue(q) if q.requests.len() == 1))
    );
    let data = format!(r#"{{"guestId":"{id}"}}"#);
    assert_eq!(show.ask(2, "guest.approve", &data), Err(Code::Forbidden));
    assert_eq!(show.ask(1, "guest.approve", &data).expect("approved")["seat"], 1);
    assert!(show.events().iter().any(|e| matches!(e, Event::GuestGranted(g) if g.seat == 1)));
    assert_eq!(show.ask(1, "guest.approve", &data), Err(Code::NotPending));
}

#[test]
fn a_room_that_ends_ends_its_guests() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.guest(2, "ana");
    show.ask(1, "room.end", "{}").expect("ends");
    let ended = |e: &&Event| matches!(e, Event::GuestEnded(g) if g.reason == GuestEnd::RoomEnded);
    assert!(show.events().iter().any(ended));
    assert!(show.slots().contains(&(Seat(1), None, Audience::Nobody)));
}

#[test]
fn backstage_is_for_staff_and_seated_people_and_has_no_name() {
    let mut show = Show::live();
    show.ask(1, "room.update", r#"{"guest":{"backstage":true}}"#).expect("updated");
    show.viewer(2, "ana");
    let (id, publish) = show.guest(2, "ana");
    assert_eq!(show.seat(1), SeatState::Reserved);
    assert!(show.room.seat_views()[1].user.is_none());
    assert_eq!(show.room.wanted_audience(1), Some(Audience::Backstage));
    let data = format!(r#"{{"guestId":"{id}"}}"#);
    show.ask(1, "guest.goLive", &data).expect("counts down");
    let told = show.pass(3_000);
    assert_eq!(slots(&told), [(Seat(1), Some(publish), Audience::Everyone)]);
    show.ask(1, "guest.backstage", &data).expect("taken back");
    assert_eq!(show.slots(), [(Seat(1), Some(publish), Audience::Backstage)]);
    show.ask(1, "guest.goLive", &data).expect("at once the second time");
    assert_eq!(show.seat(1), SeatState::Live);
}

#[test]
fn media_without_a_websocket_lasts_only_so_long_whenever_it_came() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let id = show.invited("ana");
    show.accepted(2, &id);
    let publish = show.offer(2).expect("publishes");
    show.step(Input::Left { conn: ConnId(2) });
    show.arrive(publish);
    show.pass(3_000);
    assert_eq!(show.seat(1), SeatState::Live);
    show.pass(59_999);
    assert_eq!(show.seat(1), SeatState::Live);
    show.pass(1);
    assert_eq!(show.seat(1), SeatState::Reconnecting);
    show.pass(20_000);
    assert_eq!(show.seat(1), SeatState::Empty);
}
