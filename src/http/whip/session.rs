//! One open WHIP or WHEP session: a task that owns the participant and its ICE state. It ends by
//! `DELETE`, or when the room ends the participation (replaced, removed, transport lost, show
//! over); then its URL is gone.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::sync::Arc;

use axum::http::StatusCode;
use dashmap::DashMap;
use rand::distr::{Alphanumeric, SampleString};
use signaling::media::{MediaCommand, MediaHandle, TransportId};
use signaling::protocol::{Code, Command, Empty, RoomId, UserId};
use signaling::rooms::Participant;
use tokio::sync::{mpsc, oneshot};

use super::Protocol;
use super::conditions::Condition;
use super::problem::Problem;
use crate::rtp::sdp::Fragment;

/// Characters of a session's id: 131 random bits, as whoever knows the URL and has a token of the
/// same person may end the session.
const ID_CHARACTERS: usize = 22;

/// Requests that may wait for one session. Trade: browsers trickle a handful of candidates at
/// once; more is a client that does not wait for answers.
const WAITING: usize = 16;

/// The way to a session's task, and what must be checked before.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) protocol: Protocol,
    pub(super) room: RoomId,
    pub(super) user: UserId,
    asks: mpsc::Sender<Ask>,
}

/// What a new session is made of.
pub(super) struct Opened {
    pub(super) protocol: Protocol,
    pub(super) room: RoomId,
    pub(super) user: UserId,
    pub(super) participant: Participant,
    pub(super) media: MediaHandle,
    pub(super) transport: TransportId,
    /// Our user name fragment: the entity tag.
    pub(super) tag: String,
    /// Theirs, from the offer.
    pub(super) remote_ufrag: String,
}

/// What a `PATCH` did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Patched {
    /// Candidates, which we do not need.
    Noted,
    /// A new ICE session.
    Restarted {
        /// Our half.
        fragment: String,
        /// Its entity tag.
        tag: String,
    },
}

#[derive(Debug)]
enum Ask {
    Patch(Condition, Fragment, oneshot::Sender<Result<Patched, Problem>>),
    Delete(oneshot::Sender<()>),
}

impl Session {
    /// Candidates or an ICE restart.
    pub(super) async fn patch(
        &self,
        condition: Condition,
        fragment: Fragment,
    ) -> Result<Patched, Problem> {
        let (reply, patched) = oneshot::channel();
        let ask = Ask::Patch(condition, fragment, reply);
        self.asks.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Code::RateLimited,
            mpsc::error::TrySendError::Closed(_) => Code::NotFound,
        })?;
        patched.await.unwrap_or_else(|_| Err(Code::NotFound.into()))
    }

    /// End it; returns when the room knows. Ending twice is the same as ending once.
    pub(super) async fn delete(&self) {
        let (reply, deleted) = oneshot::channel();
        if self.asks.send(Ask::Delete(reply)).await.is_ok() {
            let _ = deleted.await;
        }
    }
}

impl Opened {
    /// Start the session's task and list it; returns its id.
    pub(super) fn start(self, sessions: &Arc<DashMap<String, Session>>) -> String {
        let id = Alphanumeric.sample_string(&mut rand::rng(), ID_CHARACTERS);
        let (asks, waiting) = mpsc::channel(WAITING);
        let session = Session {
            protocol: self.protocol,
            room: self.room.clone(),
            user: self.user.clone(),
            asks,
        };
        sessions.insert(id.clone(), session);
        let (sessions, key) = (sessions.clone(), id.clone());
        tokio::spawn(async move {
            let deleted = self.run(waiting).await;
            sessions.remove(&key);
            // Only now, so that a second DELETE finds nothing.
            if let Some(deleted) = deleted {
                let _ = deleted.send(());
            }
        });
        id
    }

    /// Serve until the end; whom to tell, if somebody asked for it.
    async fn run(mut self, mut waiting: mpsc::Receiver<Ask>) -> Option<oneshot::Sender<()>> {
        loop {
            let ask = tokio::select! {
                biased;
                () = self.participant.ended() => return None,
                ask = waiting.recv() => ask?,
            };
            match ask {
                Ask::Patch(condition, fragment, reply) => {
                    // The client may have given up; the restart counts all the same.
                    let _ = reply.send(self.patch(&condition, fragment).await);
                }
                Ask::Delete(reply) => {
                    self.leave().await;
                    return Some(reply);
                }
            }
        }
    }

    /// Say so before the participant is dropped: its place is free when `DELETE` is answered, and
    /// the next `POST` of the same person does not meet its own shadow.
    async fn leave(&self) {
        // A refusal means that the room has put the participant out already.
        let _ = self.participant.command(Command::RoomLeave(Empty {})).await;
    }

    async fn patch(
        &mut self,
        condition: &Condition,
        fragment: Fragment,
    ) -> Result<Patched, Problem> {
        if !condition.holds(&self.tag) {
            return Err(Problem::new(
                StatusCode::PRECONDITION_FAILED,
                Code::Conflict,
                "This is not the present ICE session.",
            ));
        }
        let is_new = |ufrag: &String| *ufrag != self.remote_ufrag;
        match (fragment.credentials, fragment.ufrag) {
            (Some((ufrag, password)), _) if is_new(&ufrag) => self.restart(ufrag, password).await,
            (None, Some(ufrag)) if is_new(&ufrag) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                Code::SdpInvalid,
                "a=ice-ufrag is new, but a=ice-pwd is missing",
            )),
            _ => Ok(Patched::Noted),
        }
    }

    async fn restart(&mut self, ufrag: String, password: String) -> Result<Patched, Problem> {
        let transport = self.transport;
        let remote_ufrag = ufrag.clone();
        let answer = self
            .media
            .ask(|reply| MediaCommand::RestartIceFragment { transport, ufrag, password, reply })
            .await?;
        self.remote_ufrag = remote_ufrag;
        self.tag.clone_from(&answer.ice_ufrag);
        Ok(Patched::Restarted { fragment: answer.sdp, tag: answer.ice_ufrag })
    }
}
