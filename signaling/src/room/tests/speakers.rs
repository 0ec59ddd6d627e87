//! Who speaks: what the room is told of loudness, and whom it tells.

use super::*;

/// Who speaks and who has the floor, as told by these effects; `None` = not told.
fn told(effects: &[Effect]) -> (Option<Vec<u8>>, Option<Option<u8>>) {
    let speaking = events(effects).into_iter().rev().find_map(|event| match event {
        Event::Fx(frame) => Some(frame.s.clone()),
        _ => None,
    });
    let floor = effects.iter().rev().find_map(|effect| match effect {
        Effect::Media(MediaAsk::SetSpeaker { seat }) => Some(seat.map(|seat| seat.0)),
        _ => None,
    });
    (speaking, floor)
}

/// A host and a guest on air, both silent so far; the guest's and the host's publish transports.
fn two() -> (Show, TransportId, TransportId) {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let (_, guest) = show.guest(2, "ana");
    show.pass(1_000);
    let host = show.room.host_publisher.expect("publishes");
    (show, host, guest)
}

impl Show {
    fn loud(&mut self, transport: TransportId, level: u8) -> (Option<Vec<u8>>, Option<Option<u8>>) {
        self.media(transport, MediaEvent::Loudness(level));
        let mut effects = std::mem::take(&mut self.effects);
        effects.append(&mut self.pass(600));
        told(&effects)
    }
}

#[test]
fn viewers_and_the_media_plane_learn_who_speaks() {
    let (mut show, host, guest) = two();
    assert_eq!(show.loud(host, 6), (Some(vec![0]), Some(Some(0))));
    assert_eq!(show.loud(guest, 8), (Some(vec![0, 1]), None));
    show.media(host, MediaEvent::Loudness(6));
    assert_eq!(told(&show.pass(600)), (Some(vec![1, 0]), Some(Some(1))), "it insists");
    assert_eq!(show.viewer(3, "ben").state.speaking, [1, 0]);
    show.loud(guest, 0);
    assert_eq!(told(&show.pass(4_000)).0, Some(vec![]), "the host's sound ended without a word");
    assert_eq!(show.room.floor.holder(), Some(0), "the last who spoke");
}

#[test]
fn only_who_everybody_hears_can_have_the_floor() {
    let (mut show, host, guest) = two();
    show.loud(host, 6);
    show.loud(guest, 8);
    show.ask(1, "media.mute", r#"{"kinds":["audio"],"on":true}"#).expect("muted");
    let effects = std::mem::take(&mut show.effects);
    assert_eq!(told(&effects).1, Some(Some(1)), "in the same step");
    assert_eq!(show.loud(host, 9), (Some(vec![1]), None), "what was on its way");
    show.ask(2, "guest.leave", "{}").expect("left");
    let effects = std::mem::take(&mut show.effects);
    assert_eq!(told(&effects).1, Some(None));
    assert_eq!(show.loud(guest, 9), (Some(vec![]), None));
    assert_eq!(show.loud(TransportId(99), 9), (None, None), "nobody's");
}

#[test]
fn a_guest_behind_the_stage_is_not_heard() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let id = show.invited("ana");
    show.accepted(2, &id);
    let publish = show.offer(2).expect("publishes");
    show.arrive(publish);
    assert_eq!(show.loud(publish, 9).1, None, "it counts down");
}
