//! The accept loop: HTTP/1.1 with bounds on header size, header time and on how many connections
//! one address may hold before it says who it is.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::addresses::{Gate, Permit};
use crate::config::Config;

/// Wait after a failed accept (out of descriptors): short enough to go unnoticed, long enough not
/// to spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Kernel send buffer of one connection, bytes (the kernel doubles it for its own bookkeeping).
/// Trade: 64 KiB in flight are 5 Mbit/s at 100 ms, more than signaling and the page need; 10 000
/// stalled viewers hold 1.3 GB at the very most instead of 40 GB of autotuned buffers.
const SEND_BUFFER: usize = 64 * 1024;

/// Who is on the other end of a request; an extension of every request.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Address and port of the peer.
    pub peer: SocketAddr,
    /// Counts against `limits.sockets_per_address` until dropped.
    pub unauthenticated: Arc<Permit>,
}

#[cfg(test)]
impl Connection {
    /// One of this address.
    pub(super) fn of(peer: SocketAddr) -> Self {
        let permit = Gate::default().enter(peer.ip(), 1).expect("the first");
        Self { peer, unauthenticated: Arc::new(permit) }
    }
}

/// Returns when a planned stop begins (or its sender is gone, which is the same).
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serve `app` until `stop` turns true; then no connection is accepted and idle ones end.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    config: Arc<Config>,
    mut stop: watch::Receiver<bool>,
) {
    let gate = Gate::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        // Refused at accept: a dropped socket costs no task and no buffer.
        let Some(permit) = gate.enter(peer.ip(), config.limits.sockets_per_address) else {
            continue;
        };
        let connection = Connection { peer, unauthenticated: Arc::new(permit) };
        tokio::spawn(one_connection(stream, connection, app.clone(), config.clone(), stop.clone()));
    }
}

async fn one_connection(
    stream: TcpStream,
    connection: Connection,
    app: Router,
    config: Arc<Config>,
    mut stop: watch::Receiver<bool>,
) {
    // A reply is one small write; waiting for more to send would only delay it.
    let _ = stream.set_nodelay(true);
    // What the kernel queues for a reader that stopped reading is memory as well, and hides from
    // the outbox that it stopped.
    let _ = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection.clone());
        let app = app.clone();
        async move {
            let response = app.oneshot(request).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_header_size(config.http.header_bytes)
        .header_read_timeout(Duration::from_millis(config.http.header_ms))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stopped(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}
