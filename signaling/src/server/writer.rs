//! The way out of one session: messages, pings, and the last words.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::protocol::{Bye, ByeReason, Event, EventMessage};
use crate::rooms::outbox::{Farewell, OutboxReader};

/// How long the last words may take. Trade: a client that reads gets its reason; one that does
/// not read holds its socket no longer than this.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Write until the connection breaks or every sender is gone.
pub(super) async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    outbox: &mut OutboxReader,
    ping: Duration,
) {
    let mut next_ping = Instant::now() + ping;
    loop {
        let message = tokio::select! {
            message = outbox.next() => match message {
                Some(text) => Message::Text(text),
                None => return,
            },
            () = sleep_until(next_ping) => {
                next_ping = Instant::now() + ping;
                Message::Ping(Bytes::new())
            }
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// What is queued, `bye`, and the close frame; best effort. Then what the client still says is read and
/// forgotten until it closes too: a socket closed with something unread takes back what was sent on it.
pub(super) async fn last_words(
    mut sink: SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
    mut outbox: OutboxReader,
    farewell: Farewell,
    now_ms: u64,
) {
    let Farewell { reason, code } = farewell;
    let words = async {
        // A slow reader's queue is what it could not read; it resumes with a snapshot instead.
        while reason != ByeReason::SlowConsumer
            && let Some(text) = outbox.try_next()
        {
            sink.send(Message::Text(text)).await?;
        }
        let event = Event::Bye(Bye { reason, retry: farewell.retry() });
        let bye = EventMessage { seq: None, ts: now_ms, event };
        sink.send(Message::Text(bye.to_json().into())).await?;
        sink.send(Message::Close(Some(CloseFrame { code, reason: reason_text(reason) }))).await?;
        while let Some(Ok(_)) = stream.next().await {}
        sink.close().await
    };
    let _ = timeout(LAST_WORDS, words).await;
}

/// Answer the client's close frame. Firefox takes a connection that ends without the answer for a
/// failed one, and makes the next to this server wait for up to 400 ms.
pub(super) async fn answer_close(mut sink: SplitSink<WebSocket, Message>) {
    let _ = timeout(LAST_WORDS, sink.close()).await;
}

fn reason_text(reason: ByeReason) -> axum::extract::ws::Utf8Bytes {
    serde_json::to_value(reason).ok().and_then(|v| v.as_str().map(Into::into)).unwrap_or_default()
}
