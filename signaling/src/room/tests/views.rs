//! How viewers show what they watch.

use super::*;
use crate::media::TileSize;

fn told(show: &Show) -> Vec<&MediaAsk> {
    let asks = show.effects.iter().filter_map(|effect| match effect {
        Effect::Media(ask @ (MediaAsk::PreferLayer { .. } | MediaAsk::PauseVideo { .. })) => {
            Some(ask)
        }
        _ => None,
    });
    asks.collect()
}

fn watched_by(show: &Show, conn: u64) -> TransportId {
    show.room.conns[&ConnId(conn)].watch.expect("watches")
}

#[test]
fn a_tile_and_hidden_seats_are_told_of_the_viewers_own_connection() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let transport = watched_by(&show, 2);
    show.ask(2, "layer.prefer", r#"{"seat":3,"w":360,"h":640}"#).expect("told");
    let size = Some(TileSize { width: 360, height: 640 });
    assert_eq!(told(&show), [&MediaAsk::PreferLayer { transport, seat: Seat(3), size }]);
    show.ask(2, "layer.prefer", r#"{"seat":9,"w":0,"h":0}"#).expect("told");
    assert_eq!(told(&show), [&MediaAsk::PreferLayer { transport, seat: Seat::SCREEN, size: None }]);
    show.ask(2, "media.pause", r#"{"seats":[0,2],"on":true}"#).expect("told");
    let seats = vec![Seat::HOST, Seat(2)];
    assert_eq!(told(&show), [&MediaAsk::PauseVideo { transport, seats, on: true }]);
    show.ask(2, "media.pause", r#"{"on":false}"#).expect("told");
    let seats = (0..10).map(Seat).collect();
    assert_eq!(told(&show), [&MediaAsk::PauseVideo { transport, seats, on: false }]);
}

#[test]
fn who_wants_to_hear_the_loudest_only_gets_a_connection_for_that() {
    let mut show = Show::live();
    let mut opened = |conn: u64, top: Option<u8>| {
        show.audio_top = top;
        show.join(conn, &format!("v{conn}"), TokenRole::Viewer, &[]).expect("joins");
        let asks = show.effects.iter().filter_map(|effect| match effect {
            Effect::Ask { ask: MediaAsk::OpenWatch { audio_top, .. }, .. } => Some(*audio_top),
            _ => None,
        });
        asks.collect::<Vec<_>>()
    };
    assert_eq!(opened(2, Some(3)), [Some(3)]);
    assert_eq!(opened(3, None), [None]);
}

#[test]
fn who_watches_nothing_has_nothing_to_show() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let transport = watched_by(&show, 2);
    show.media(transport, MediaEvent::Closed(crate::media::CloseReason::Timeout));
    let prefer = r#"{"seat":0,"w":360,"h":640}"#;
    assert_eq!(show.ask(2, "layer.prefer", prefer), Err(Code::NotFound));
    assert_eq!(show.ask(2, "media.pause", r#"{"on":true}"#), Err(Code::NotFound));
    assert_eq!(show.ask(3, "layer.prefer", prefer), Err(Code::NotJoined));
    assert!(told(&show).is_empty());
}

fn layers(show: &Show) -> Vec<(Vec<ConnId>, Vec<bool>)> {
    let told = show.effects.iter().filter_map(|effect| match effect {
        Effect::Event { to: To::Conns(conns), event } => match &event.event {
            Event::PublishLayers(told) => Some((conns.clone(), told.layers.clone())),
            _ => None,
        },
        _ => None,
    });
    told.collect()
}

#[test]
fn a_page_that_publishes_is_told_which_layers_are_taken_also_after_it_was_away() {
    let mut show = Show::live();
    show.join(2, "ana", TokenRole::Viewer, &[]).expect("joins");
    let publish = show.room.host_publisher.expect("publishes");
    let wanted = vec![true, false];
    show.media(publish, MediaEvent::LayersWanted(wanted.clone()));
    assert_eq!(layers(&show), [(vec![ConnId(1)], wanted)]);
    show.step(Input::Left { conn: ConnId(1) });
    let wanted = vec![true, true];
    show.media(publish, MediaEvent::LayersWanted(wanted.clone()));
    assert!(layers(&show).is_empty(), "nobody is there to be told");
    show.join(3, "host", TokenRole::Host, &[]).expect("the host is back");
    assert_eq!(layers(&show), [(vec![ConnId(3)], wanted)]);
}

#[test]
fn a_tool_that_publishes_by_whip_is_left_alone() {
    let mut show = Show::new();
    let who = identity("host", TokenRole::Host, &[]);
    show.join_as(1, who, None, Carrier::Whip).expect("joins");
    let publish = show.offer(1).expect("publishes");
    show.media(publish, MediaEvent::LayersWanted(vec![true, false, false]));
    assert!(layers(&show).is_empty());
}

#[test]
fn everybody_is_told_how_late_repairs_of_a_seat_come_and_that_they_are_over() {
    let mut show = Show::live();
    let publish = show.room.host_publisher.expect("publishes");
    let mut told = |ms| {
        show.media(publish, MediaEvent::RepairsTake(ms));
        let seats = show.events().into_iter().filter_map(|event| match event {
            Event::SeatUpdated(view) => Some((view.seat, view.repair_ms)),
            _ => None,
        });
        seats.collect::<Vec<_>>()
    };
    assert_eq!(told(150), [(0, 150)]);
    assert!(told(150).is_empty());
    assert_eq!(told(0), [(0, 0)]);
}
