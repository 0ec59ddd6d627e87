//! A participant without a socket: a WHIP publisher or a WHEP player.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{oneshot, watch};

use super::conns::Sink;
use super::task::Message;
use super::{RoomHandle, Rooms};
use crate::media::RoomKey;
use crate::protocol::{Answer, Code, Command, Refusal, RoomId, RoomJoin};
use crate::room::{Carrier, ConnId, Identity};

/// The `id` of the join; later commands count on from here.
const JOIN: u32 = 0;

/// Somebody in a room whose commands and replies are function calls. Leaves when dropped.
#[derive(Debug)]
pub struct Participant {
    conn: ConnId,
    rooms: Rooms,
    room: RoomHandle,
    next_id: AtomicU32,
    ended: watch::Receiver<bool>,
}

impl Rooms {
    /// Come in as `carrier`. A host who comes to a room that does not exist makes it.
    ///
    /// # Errors
    /// What `room.join` refuses: `room_not_found`, `forbidden`, `banned`, `room_full`, …
    pub async fn enter(
        &self,
        room: &RoomId,
        who: Identity,
        carrier: Carrier,
    ) -> Result<Participant, Refusal> {
        let handle = self.door(room, &who).await?;
        let conn = self.next_conn();
        let (told, ended) = watch::channel(false);
        let (answer, answered) = oneshot::channel();
        let (entered, inside) = oneshot::channel();
        let join = RoomJoin {
            room: room.clone(),
            max_seats: None,
            audio_top: None,
            dc: false,
            media: false,
            resume: None,
            replaces: None,
        };
        handle.tell(Message::Join {
            conn,
            id: JOIN,
            who,
            join,
            carrier,
            transport: None,
            rules_accepted: false,
            sink: Sink::Http(told),
            answer: Some(answer),
            entered,
        })?;
        answered.await.unwrap_or_else(|_| Err(Refusal::new(Code::RoomEnded)))?;
        if inside.await != Ok(true) {
            return Err(Refusal::new(Code::RoomEnded));
        }
        let next_id = AtomicU32::new(JOIN + 1);
        Ok(Participant { conn, rooms: self.clone(), room: handle, next_id, ended })
    }
}

impl Participant {
    /// The room's key in the media plane.
    #[must_use]
    pub fn room_key(&self) -> RoomKey {
        self.room.key
    }

    /// Do one command, such as `media.offer`, and wait for its reply.
    ///
    /// # Errors
    /// The room's refusal; `room_ended` when it is over.
    pub async fn command(&self, command: Command) -> Result<Answer, Refusal> {
        let transport = match command {
            Command::MediaOffer(_) => self.rooms.allocate().await,
            _ => None,
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let conn = self.conn;
        self.room.tell(Message::Command { conn, id, command, transport, answer: Some(answer) })?;
        answered.await.unwrap_or_else(|_| Err(Refusal::new(Code::RoomEnded)))
    }

    /// Returns when the room has ended this participation: replaced, banned, the show over.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let (room, conn) = (self.room.clone(), self.conn);
        // Outside a runtime the process is stopping and so is the room.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { room.tell_surely(Message::Left { conn }).await });
        }
    }
}
