//! A room's question to the media plane as a [`MediaCommand`], and the way back.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::oneshot;

use crate::media::{MediaAnswer, MediaCommand, MediaReply, RoomKey, TransportId};
use crate::protocol::{Answer, Code, MediaSession, Refusal, TransportRef};
use crate::room::{Input, MediaAsk, Then};

/// What the media plane has answered.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The SDP, if the answer has one.
    pub(crate) sdp: Option<String>,
    /// What the room has to know besides.
    pub(crate) news: Option<Input>,
}

/// An answer, or a refusal.
pub(crate) type Heard = Result<Told, Refusal>;
/// An answer that is on its way.
pub(crate) type Coming = Pin<Box<dyn Future<Output = Heard> + Send>>;

/// A command that is answered, or one that is only done.
pub(crate) enum Ask {
    /// It makes or changes this transport, and answers.
    Answered(TransportId, MediaCommand, Coming),
    /// It answers when every shard has applied it.
    Applied(MediaCommand, oneshot::Receiver<()>),
    /// It has no answer.
    Sent(MediaCommand),
}

/// The answer to a command that the media plane had to answer first.
pub(super) fn answered(
    transport: TransportId,
    heard: Heard,
    then: Then,
) -> Result<Answer, Refusal> {
    let sdp = heard.map(|told| told.sdp);
    let session = |sdp| MediaSession { transport: TransportRef(transport), sdp };
    match then {
        Then::Session => match sdp? {
            Some(sdp) => Ok(Answer::Media(session(sdp))),
            None => Err(Refusal::new(Code::Internal)),
        },
        Then::Join(mut joined) => {
            // Without media a viewer can still chat, and ask again by joining again.
            joined.media = sdp.ok().flatten().map(session);
            Ok(Answer::Joined(joined))
        }
        Then::Empty => sdp.map(|_| Answer::EMPTY),
    }
}

/// `ask` of room `room` as a command.
pub(crate) fn command(room: RoomKey, ask: MediaAsk) -> Ask {
    match ask {
        MediaAsk::OpenPublish { transport, sdp, lost_after_ms, foreign } => {
            let (reply, coming) = coming(move |answer: MediaAnswer| {
                let MediaAnswer { sdp, audio, video, .. } = answer;
                let news = Some(Input::MediaAccepted { transport, audio, video });
                Told { sdp: Some(sdp), news }
            });
            let command =
                MediaCommand::OpenPublish { room, transport, sdp, lost_after_ms, foreign, reply };
            Ask::Answered(transport, command, coming)
        }
        MediaAsk::OpenWatch { transport, guest_seats, backstage, own_seat, audio_top } => {
            let (reply, coming) = coming(Told::sdp);
            let command = MediaCommand::OpenWatch {
                room,
                transport,
                guest_seats,
                backstage,
                own_seat,
                audio_top,
                reply,
            };
            Ask::Answered(transport, command, coming)
        }
        MediaAsk::OpenWhep { transport, sdp, seat } => {
            let (reply, coming) = answer();
            let command = MediaCommand::OpenWhep { room, transport, sdp, seat, reply };
            Ask::Answered(transport, command, coming)
        }
        MediaAsk::WatchAnswer { transport, sdp } => {
            let (reply, coming) = coming(|()| Told::default());
            let command = MediaCommand::WatchAnswer { transport, sdp, reply };
            Ask::Answered(transport, command, coming)
        }
        MediaAsk::GrowWatch { transport, guest_seats } => {
            let (reply, coming) = coming(Told::sdp);
            let command = MediaCommand::GrowWatch { transport, guest_seats, reply };
            Ask::Answered(transport, command, coming)
        }
        MediaAsk::RestartIce { transport, sdp } => {
            let (reply, coming) = answer();
            let command = MediaCommand::RestartIce { transport, sdp, reply };
            Ask::Answered(transport, command, coming)
        }
        other => unanswered(room, other),
    }
}

fn unanswered(room: RoomKey, ask: MediaAsk) -> Ask {
    match ask {
        MediaAsk::SetSeat { seat, source, audience } => {
            let (done, applied) = oneshot::channel();
            let done = Some(done);
            Ask::Applied(MediaCommand::SetSeat { room, seat, source, audience, done }, applied)
        }
        MediaAsk::SetGate { transport, kind, open } => {
            let (done, applied) = oneshot::channel();
            let done = Some(done);
            Ask::Applied(MediaCommand::SetGate { transport, kind, open, done }, applied)
        }
        MediaAsk::SetViewer { transport, backstage, own_seat } => {
            Ask::Sent(MediaCommand::SetViewer { transport, backstage, own_seat })
        }
        MediaAsk::SetSpeaker { seat } => Ask::Sent(MediaCommand::SetSpeaker { room, seat }),
        MediaAsk::PreferLayer { transport, seat, size } => {
            Ask::Sent(MediaCommand::PreferLayer { transport, seat, size })
        }
        MediaAsk::PauseVideo { transport, seats, on } => {
            Ask::Sent(MediaCommand::PauseVideo { transport, seats, on })
        }
        MediaAsk::SendData { transport, channel, bytes } => {
            Ask::Sent(MediaCommand::SendData { transport, channel, bytes })
        }
        MediaAsk::Close { transport, reason } => {
            Ask::Sent(MediaCommand::Close { transport, reason })
        }
        _ => Ask::Sent(MediaCommand::CloseRoom { room }),
    }
}

fn answer() -> (MediaReply<MediaAnswer>, Coming) {
    coming(|answer: MediaAnswer| Told::sdp(answer.sdp))
}

impl Told {
    fn sdp(sdp: String) -> Self {
        Self { sdp: Some(sdp), news: None }
    }
}

/// A reply path whose value becomes what is [`Heard`].
fn coming<T: Send + 'static>(
    told: impl FnOnce(T) -> Told + Send + 'static,
) -> (MediaReply<T>, Coming) {
    let (reply, answer) = oneshot::channel::<Result<T, Refusal>>();
    let coming = async move {
        match answer.await {
            Ok(result) => result.map(told),
            Err(_) => Err(Refusal::overloaded()),
        }
    };
    (reply, Box::pin(coming))
}
