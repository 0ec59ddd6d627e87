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
