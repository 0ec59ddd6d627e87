use super::*;
use crate::protocol::{ByeReason, EndReason};

#[test]
fn a_show_is_live_with_the_first_packet_after_start() {
    let mut show = Show::new();
    show.join(1, "host", TokenRole::Host, &[]).expect("joins");
    show.ask(1, "room.start", r#"{"title":"Cooking"}"#).expect("starts");
    assert_eq!(show.room.life.state, RoomState::Preview);
    let publish = show.offer(1).expect("publishes");
    show.media(publish, MediaEvent::Connected);
    assert_eq!(show.room.life.state, RoomState::Preview);
    show.media(publish, MediaEvent::MediaReady(MediaKind::Audio));
    assert_eq!(show.room.life.state, RoomState::Live);
    assert!(show.events().iter().any(|e| matches!(e, Event::RoomLive(_))));
    assert_eq!(show.slots(), [(Seat(0), Some(publish), Audience::Everyone)]);
    assert_eq!(show.viewer(2, "ana").state.room.title, "Cooking");
}

#[test]
fn before_the_start_only_staff_see_the_host() {
    let mut show = Show::new();
    show.join(1, "host", TokenRole::Host, &[]).expect("joins");
    let publish = show.offer(1).expect("publishes");
    assert_eq!(show.slots(), [(Seat(0), Some(publish), Audience::Backstage)]);
    let joined = show.viewer(2, "ana");
    assert_eq!(joined.state.room.state, RoomState::Preview);
    assert!(joined.state.staff.is_none());
    assert_eq!(show.ask(2, "chat.send", r#"{"key":"k","text":"hi"}"#), Err(Code::RoomNotLive));
}

#[test]
fn a_whip_host_needs_no_start_button() {
    let mut show = Show::new();
    let who = identity("host", TokenRole::Host, &[]);
    show.join_as(1, who.clone(), None, Carrier::Whip).expect("joins");
    let publish = show.offer(1).expect("publishes");
    show.media(publish, MediaEvent::MediaReady(MediaKind::Video));
    assert_eq!(show.room.life.state, RoomState::Live);
    // A second tool is refused as long as the first one sends.
    show.join_as(2, who, None, Carrier::Whip).expect("joins");
    assert_eq!(show.offer(2), Err(Code::Conflict));
    // Its DELETE: the host is lost, and the second may publish.
    show.step(Input::Left { conn: ConnId(1) });
    assert_eq!(show.room.life.state, RoomState::Paused);
    let second = show.offer(2).expect("publishes");
    show.media(second, MediaEvent::MediaReady(MediaKind::Video));
    assert_eq!(show.room.life.state, RoomState::Live);
}

#[test]
fn a_lost_publisher_is_replaced_by_the_same_host() {
    let mut show = Show::live();
    let old = show.room.host_publisher.expect("publishes");
    show.join(2, "host", TokenRole::Host, &[]).expect("second tab");
    assert_eq!(show.offer(2), Err(Code::Conflict));
    show.media(old, MediaEvent::Lost);
    show.offer(2).expect("takes over");
    let bye = |e: &Effect| {
        matches!(e, Effect::CloseConn { conn: ConnId(1), reason: ByeReason::Replaced })
    };
    assert!(show.effects.iter().any(bye));
}

#[test]
fn a_host_who_stays_away_ends_the_show_after_the_grace() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let publish = show.room.host_publisher.expect("publishes");
    show.media(publish, MediaEvent::Lost);
    assert_eq!(show.room.life.state, RoomState::Paused);
    assert_eq!(show.slots(), [(Seat(0), Some(publish), Audience::Nobody)]);
    show.pass(59_999);
    assert_eq!(show.room.life.state, RoomState::Paused);
    let told = show.pass(1);
    assert!(show.room.is_over());
    let lost = |e: &&Event| matches!(e, Event::RoomEnded(end) if end.reason == EndReason::HostLost);
    assert!(events(&told).iter().any(lost));
    assert!(told.iter().any(|e| matches!(e, Effect::CloseConn { conn: ConnId(2), .. })));
    assert!(matches!(told.last(), Some(Effect::RoomClosed)));
    assert_eq!(show.join(3, "ben", TokenRole::Viewer, &[]).err(), Some(Code::RoomEnded));
}

#[test]
fn packets_again_and_the_show_goes_on() {
    let mut show = Show::live();
    let publish = show.room.host_publisher.expect("publishes");
    show.media(publish, MediaEvent::Lost);
    show.pass(10_000);
    show.media(publish, MediaEvent::Back);
    assert_eq!(show.room.life.state, RoomState::Live);
    assert_eq!(show.slots(), [(Seat(0), Some(publish), Audience::Everyone)]);
    show.pass(600_000);
    assert_eq!(show.room.life.state, RoomState::Live);
}

#[test]
fn in_a_break_the_host_may_be_gone() {
    let mut show = Show::live();
    let publish = show.room.host_publisher.expect("publishes");
    let until = show.now + 300_000;
    show.ask(1, "room.pause", &format!(r#"{{"untilMs":{until}}}"#)).expect("pauses");
    show.media(publish, MediaEvent::Lost);
    assert_eq!(show.room.life.reasons.len(), 2);
    show.pass(300_000);
    assert_eq!(show.room.life.state, RoomState::Paused);
    show.pass(59_000);
    show.media(publish, MediaEvent::Back);
    assert_eq!(show.room.life.state, RoomState::Live);
}

#[test]
fn a_host_lost_after_the_break_was_over_does_not_keep_the_room_awake() {
    let mut show = Show::live();
    let publish = show.room.host_publisher.expect("publishes");
    let until = show.now + 1_000;
    show.ask(1, "room.pause", &format!(r#"{{"untilMs":{until}}}"#)).expect("pauses");
    show.pass(2_000);
    show.media(publish, MediaEvent::Lost);
    assert!(show.room.next_deadline().is_some_and(|at| at > show.now));
    show.pass(59_000);
    assert_eq!(show.room.life.state, RoomState::Paused);
    show.pass(2_000);
    assert_eq!(show.room.life.state, RoomState::Ended);
}

#[test]
fn only_the_host_runs_the_room() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    for command in ["room.start", "room.pause", "room.resume", "room.end", "room.update"] {
        assert_eq!(show.ask(2, command, "{}"), Err(Code::HostOnly), "{command}");
    }
    assert_eq!(show.offer(2), Err(Code::PublishNotGranted));
    assert_eq!(show.join(3, "rival", TokenRole::Host, &[]).err(), Some(Code::Forbidden));
}

#[test]
fn the_reply_to_room_end_comes_before_the_goodbye() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.ask(1, "room.end", "{}").expect("ends");
    let reply = at(&show.effects, |e| matches!(e, Effect::Reply { .. }));
    let stored = at(&show.effects, |e| matches!(e, Effect::Store(StoreWrite::RoomEnded { .. })));
    let bye = at(&show.effects, |e| matches!(e, Effect::CloseConn { .. }));
    assert!(stored < reply && reply < bye);
}

#[test]
fn resync_gives_what_was_missed_or_everything() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let seq = show.room.seq;
    show.ask(1, "room.update", r#"{"title":"A"}"#).expect("updated");
    let missed = show.ask(2, "room.resync", &format!(r#"{{"fromSeq":{seq}}}"#)).expect("resync");
    assert_eq!(missed["events"][0]["type"], "room.updated");
    assert_eq!(missed["events"].as_array().map(Vec::len), Some(1));
    for n in 0..RING + 1 {
        show.ask(1, "room.update", &format!(r#"{{"title":"{n}"}}"#)).expect("updated");
    }
    let all = show.ask(2, "room.resync", &format!(r#"{{"fromSeq":{seq}}}"#)).expect("resync");
    assert_eq!(all["snapshot"]["seq"], show.room.seq);
    let ahead = show.ask(2, "room.resync", r#"{"fromSeq":99999}"#).expect("resync");
    assert!(ahead["snapshot"].is_object());
}

#[test]
fn chat_travels_in_batches_on_the_tick() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.pass(1_000);
    // The first message of a quiet room goes at once and starts a tick; the others wait for it.
    let mut told = Vec::new();
    for n in 0..3 {
        let data = format!(r#"{{"key":"k{n}","text":"hi {n}"}}"#);
        show.ask(2, "chat.send", &data).expect("sent");
        told.append(&mut show.effects);
        told.extend(show.pass(0));
    }
    assert_eq!(show.ask(2, "chat.send", r#"{"key":"k9","text":"x"}"#), Err(Code::RateLimited));
    told.append(&mut show.effects);
    told.extend(show.pass(99));
    let batches = |told: &[Effect]| -> Vec<usize> {
        let size = |e: &&Event| match e {
            Event::ChatBatch(batch) => Some(batch.msgs.len()),
            _ => None,
        };
        events(told).iter().filter_map(size).collect()
    };
    assert_eq!(batches(&told), [1]);
    told.extend(show.pass(1));
    assert_eq!(batches(&told), [1, 2]);
}

#[test]
fn a_ban_puts_out_before_the_reply_and_keeps_out() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (_, publish) = show.guest(2, "ana");
    show.ask(1, "mod.ban", r#"{"user":"ana","ms":null}"#).expect("banned");
    let closed = at(
        &show.effects,
        |e| matches!(e, Effect::Media(MediaAsk::Close { transport, .. }) if *transport == publish),
    );
    let out = at(&show.effects, |e| {
        matches!(e, Effect::CloseConn { conn: ConnId(2), reason: ByeReason::Banned })
    });
    let stored = at(&show.effects, |e| matches!(e, Effect::Store(StoreWrite::Ban { .. })));
    let emptied = at(&show.effects, |e| matches!(e, Effect::Media(MediaAsk::SetSeat { .. })));
    let reply = at(&show.effects, |e| matches!(e, Effect::Reply { .. }));
    assert!(closed < reply && out < reply && stored < reply && emptied < reply);
    assert_eq!(show.seat(1), SeatState::Empty);
    assert_eq!(show.join(3, "ana", TokenRole::Viewer, &[]).err(), Some(Code::Banned));
    show.ask(1, "mod.unban", r#"{"user":"ana"}"#).expect("unbanned");
    show.viewer(3, "ana");
}

#[test]
fn moderators_act_on_viewers_only() {
    let mut show = Show::live();
    show.join(2, "mod", TokenRole::Viewer, &[Perm::UserKick, Perm::UserMute]).expect("joins");
    show.join(3, "other", TokenRole::Viewer, &[Perm::UserBan]).expect("joins");
    show.viewer(4, "ana");
    assert_eq!(show.ask(2, "mod.kick", r#"{"user":"host"}"#), Err(Code::Forbidden));
    assert_eq!(show.ask(2, "mod.kick", r#"{"user":"other"}"#), Err(Code::Forbidden));
    assert_eq!(show.ask(2, "mod.ban", r#"{"user":"ana"}"#), Err(Code::Forbidden));
    assert_eq!(show.ask(4, "mod.mute", r#"{"user":"mod","ms":1000}"#), Err(Code::Forbidden));
    show.ask(2, "mod.mute", r#"{"user":"ana","ms":60000}"#).expect("muted");
    assert_eq!(show.ask(4, "chat.send", r#"{"key":"k","text":"x"}"#), Err(Code::Muted));
    show.ask(2, "mod.kick", r#"{"user":"ana"}"#).expect("kicked");
    assert_eq!(show.join(5, "ana", TokenRole::Viewer, &[]).err(), Some(Code::Banned));
    show.pass(300_000);
    show.viewer(5, "ana");
    // Demoted while the command was under way: judged when it is executed.
    let who = identity("mod", TokenRole::Viewer, &[]);
    show.step(Input::Refreshed { conn: ConnId(2), who });
    assert_eq!(show.ask(2, "mod.kick", r#"{"user":"ana"}"#), Err(Code::Forbidden));
}

#[test]
fn numbered_events_move_to_the_data_channel_once_it_is_open() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let watch = show.room.conns[&ConnId(2)].watch.expect("watches");
    show.media(watch, MediaEvent::DataOpen(Channel::Events));
    show.ask(1, "room.update", r#"{"title":"A"}"#).expect("updated");
    let sent = |e: &Effect| matches!(e, Effect::Broadcast { channel: Channel::Events, .. });
    let rest = |e: &Effect| matches!(e, Effect::Event { to: To::Without(Channel::Events), event } if event.seq.is_some());
    assert!(show.effects.iter().any(sent) && show.effects.iter().any(rest));
    show.media(watch, MediaEvent::DataOverflow(Channel::Events));
    assert!(show.events().iter().any(|e| matches!(e, Event::RoomSnapshot(_))));
    show.ask(1, "room.update", r#"{"title":"B"}"#).expect("updated");
    assert!(!show.effects.iter().any(sent));
}

#[test]
fn the_last_event_does_not_go_over_a_channel_that_closes_behind_it() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let watch = show.room.conns[&ConnId(2)].watch.expect("watches");
    show.media(watch, MediaEvent::DataOpen(Channel::Events));
    show.ask(1, "room.end", "{}").expect("ended");
    let over_socket = |e: &Effect| matches!(e, Effect::Event { to: To::Everyone, event } if matches!(event.event, Event::RoomEnded(_)));
    assert!(show.effects.iter().any(over_socket));
    let ended = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("room.ended");
    let broadcast = |e: &Effect| matches!(e, Effect::Broadcast { bytes, .. } if ended(bytes));
    assert!(!show.effects.iter().any(broadcast));
}

#[test]
fn an_empty_preview_is_abandoned() {
    let mut show = Show::new();
    show.join(1, "host", TokenRole::Host, &[]).expect("joins");
    show.pass(3_600_000);
    assert!(!show.room.is_over());
    show.step(Input::Left { conn: ConnId(1) });
    show.pass(600_000);
    assert!(show.room.is_over());
}

#[test]
fn a_full_room_still_lets_its_host_in() {
    let mut show = Show::live();
    show.room.max_people = 2;
    show.viewer(2, "ana");
    assert_eq!(show.join(3, "ben", TokenRole::Viewer, &[]).err(), Some(Code::RoomFull));
    show.join(4, "ana", TokenRole::Viewer, &[]).expect("a second tab is the same person");
    assert_eq!(show.room.viewers_now(), 1);
}
