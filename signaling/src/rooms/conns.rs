//! The connections of one room: where replies and events go.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{oneshot, watch};

use crate::media::Channel;
use crate::protocol::{Answer, ByeReason, Refusal, Reply};
use crate::rate::{STRIKES, SharedRate};
use crate::room::{ConnId, To};
use crate::rooms::outbox::{Farewell, Outbox};

/// Reply path of a connection without a socket.
pub(crate) type Answered = oneshot::Sender<Result<Answer, Refusal>>;

/// The other end of a connection.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A WebSocket, and the rate that its commands on every carrier share.
    Socket(Outbox, Arc<SharedRate>),
    /// A WHIP or WHEP session: replies go to whoever asked, events nowhere, and the end is told.
    Http(watch::Sender<bool>),
}

/// Events that may wait for the answer to a `room.join`. Trade: the media plane answers within
/// milliseconds; 256 is what an outbox may hold as well.
const HELD: usize = 256;

/// One connection.
#[derive(Debug)]
struct Conn {
    sink: Sink,
    /// Entered and not exited.
    inside: bool,
    /// The id of its `room.join` while that is unanswered, and the events that build on the
    /// answer.
    held: Option<(u32, Vec<Utf8Bytes>)>,
    /// Commands of an HTTP session that wait for their reply.
    waiting: HashMap<u32, Answered>,
    /// Data channels that carry what would else go over the socket.
    open: [bool; 3],
}

/// All of them. Ordered by age, so that fan-out is the same each time.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    conns: std::collections::BTreeMap<ConnId, Conn>,
}

impl Conns {
    /// Know a connection that asks to join with command `join`; it is not inside yet, and events
    /// wait until that command is answered.
    pub(crate) fn add(&mut self, conn: ConnId, join: u32, sink: Sink) {
        let new = Conn {
            sink,
            inside: false,
            held: Some((join, Vec::new())),
            waiting: HashMap::new(),
            open: [false; 3],
        };
        self.conns.entry(conn).or_insert(new);
    }

    /// Await the reply to command `id` of an HTTP session.
    pub(crate) fn expect(&mut self, conn: ConnId, id: u32, reply: Answered) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.waiting.insert(id, reply);
        }
    }

    pub(crate) fn enter(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.inside = true;
        }
    }

    /// Out of the room, but still to be answered.
    pub(crate) fn exit(&mut self, conn: ConnId) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.inside = false;
        }
    }

    pub(crate) fn is_inside(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.inside)
    }

    /// Forget a connection; it stays open.
    pub(crate) fn remove(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
    }

    /// End a connection and forget it.
    pub(crate) fn close(&mut self, conn: ConnId, reason: ByeReason) {
        let Some(gone) = self.conns.remove(&conn) else { return };
        match gone.sink {
            Sink::Socket(outbox, _) => outbox.close(reason),
            Sink::Http(ended) => {
                ended.send_replace(true);
            }
        }
    }

    pub(crate) fn set_channel(&mut self, conn: ConnId, channel: Channel, open: bool) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.open[channel as usize] = open;
        }
    }

    /// Reply over the connection's own carrier, past held events; the reply to its
    /// `room.join` lets them go.
    pub(crate) fn reply(&mut self, conn: ConnId, id: u32, result: Result<Answer, Refusal>) {
        let Some(conn) = self.conns.get_mut(&conn) else { return };
        match &conn.sink {
            Sink::Socket(outbox, _) => {
                outbox.push(Reply::new(id, result).to_json().into());
            }
            Sink::Http(_) => {
                if let Some(waiting) = conn.waiting.remove(&id) {
                    // Nobody waits when the HTTP request was given up.
                    let _ = waiting.send(result);
                }
            }
        }
        if let Some((_, held)) = conn.held.take_if(|(join, _)| *join == id) {
            held.iter().for_each(|text| conn.push(text));
        }
    }

    /// Send one serialised event to its audience; the bytes are shared.
    pub(crate) fn send(&mut self, to: &To, text: &Utf8Bytes) {
        match to {
            To::Everyone => self.each(text, |conn| conn.inside),
            To::Without(channel) => {
                let channel = *channel as usize;
                self.each(text, |conn| conn.inside && !conn.open[channel]);
            }
            To::Conns(ids) => {
                for id in ids {
                    if let Some(conn) = self.conns.get_mut(id) {
                        conn.push(text);
                    }
                }
            }
        }
    }

    fn each(&mut self, text: &Utf8Bytes, wanted: impl Fn(&Conn) -> bool) {
        self.conns.values_mut().filter(|conn| wanted(conn)).for_each(|conn| conn.push(text));
    }

    /// Take one command of a connection from its rate; one that goes on past it is told to end.
    ///
    /// # Errors
    /// The milliseconds to wait.
    pub(crate) fn take(&self, conn: ConnId, now_ms: u64) -> Result<(), u64> {
        let Some(Sink::Socket(outbox, rate)) = self.conns.get(&conn).map(|conn| &conn.sink) else {
            return Ok(());
        };
        rate.take(now_ms).inspect_err(|_| {
            if rate.strikes() >= STRIKES {
                outbox.close(Farewell::FLOOD);
            }
        })
    }

    /// All of them.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.conns.keys().copied().collect()
    }
}

impl Conn {
    fn push(&mut self, text: &Utf8Bytes) {
        let Sink::Socket(outbox, _) = &self.sink else { return };
        match &mut self.held {
            Some((_, held)) if held.len() < HELD => held.push(text.clone()),
            Some(_) => outbox.close(ByeReason::SlowConsumer),
            None => {
                outbox.push(text.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::outbox::OutboxReader;

    fn rate() -> Arc<SharedRate> {
        Arc::new(SharedRate::new(crate::rate::Pace::new(50, 100)))
    }

    fn socket(conns: &mut Conns, id: u64) -> OutboxReader {
        let (outbox, reader) = Outbox::new(8, 1000);
        conns.add(ConnId(id), 1, Sink::Socket(outbox, rate()));
        conns.enter(ConnId(id));
        reader
    }

    fn read(reader: &mut OutboxReader) -> Vec<String> {
        std::iter::from_fn(|| reader.try_next()).map(|text| text.to_string()).collect()
    }

    #[test]
    fn events_wait_for_the_reply_they_build_on() {
        let mut conns = Conns::default();
        let mut reader = socket(&mut conns, 1);
        conns.send(&To::Everyone, &"event".into());
        conns.reply(ConnId(1), 3, Ok(Answer::EMPTY));
        conns.reply(ConnId(1), 1, Ok(Answer::EMPTY));
        conns.send(&To::Everyone, &"later".into());
        let ok = |id: u32| format!(r#"{{"id":{id},"ok":true,"data":{{}}}}"#);
        assert_eq!(read(&mut reader), [ok(3), ok(1), "event".into(), "later".into()]);
    }

    #[test]
    fn carriers_share_a_rate_and_a_flood_ends_the_connection() {
        let mut conns = Conns::default();
        let (outbox, reader) = Outbox::new(8, 1000);
        let rate = rate();
        conns.add(ConnId(1), 1, Sink::Socket(outbox, rate.clone()));
        assert!((0..60).all(|_| rate.take(1).is_ok()), "on the WebSocket");
        assert!((0..40).all(|_| conns.take(ConnId(1), 1).is_ok()), "on a data channel");
        let farewell = reader.farewell();
        for _ in 1..STRIKES {
            assert_eq!(conns.take(ConnId(1), 1), Err(20));
        }
        assert!(farewell.borrow().is_none());
        assert!(conns.take(ConnId(1), 1).is_err());
        assert_eq!(*farewell.borrow(), Some(Farewell::FLOOD));
        assert!(conns.take(ConnId(2), 1).is_ok(), "nobody");
    }

    #[test]
    fn audiences() {
        let mut conns = Conns::default();
        let (mut one, mut two) = (socket(&mut conns, 1), socket(&mut conns, 2));
        let (outside, mut three) = Outbox::new(8, 1000);
        conns.add(ConnId(3), 1, Sink::Socket(outside, rate()));
        (1..4).for_each(|id| conns.reply(ConnId(id), 1, Ok(Answer::EMPTY)));
        let _ = (one.try_next(), two.try_next(), three.try_next());
        conns.set_channel(ConnId(2), Channel::Events, true);
        conns.send(&To::Everyone, &"all".into());
        conns.send(&To::Without(Channel::Events), &"socket".into());
        conns.send(&To::Conns(vec![ConnId(2), ConnId(9)]), &"two".into());
        assert_eq!(read(&mut one), ["all", "socket"]);
        assert_eq!(read(&mut two), ["all", "two"]);
        assert!(read(&mut three).is_empty(), "not inside yet");
        conns.close(ConnId(2), ByeReason::Kicked);
        assert_eq!(*two.farewell().borrow(), Some(ByeReason::Kicked.into()));
        assert!(!conns.is_inside(ConnId(2)));
    }
}
