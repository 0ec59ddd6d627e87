//! The accept loop: HTTP/1.1 with bounds on header size, header time and on how many connections
//! one address may hold before it says who it is.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use dashmap::DashMap;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

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

/// Connections without authentication, by address.
#[derive(Debug, Default, Clone)]
struct Gate {
    open: Arc<DashMap<IpAddr, u32>>,
}

/// One place of an address at the gate, given back on drop.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    address: IpAddr,
}

impl Gate {
    /// A place for `address`, unless it holds `limit` already.
    fn enter(&self, address: IpAddr, limit: u32) -> Option<Permit> {
        let address = prefix(address);
        let mut count = self.open.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Permit { gate: self.clone(), address })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(mut count) = self.gate.open.get_mut(&self.address) {
            *count = count.saturating_sub(1);
        }
        self.gate.open.remove_if(&self.address, |_, count| *count == 0);
    }
}

/// One person owns a /64 of IPv6, so that is what counts as an address.
pub(super) fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_counts_per_address_and_forgets() {
        let gate = Gate::default();
        let one = IpAddr::from([127, 0, 0, 1]);
        let held: Vec<_> = (0..3).map(|_| gate.enter(one, 3).expect("below the limit")).collect();
        assert!(gate.enter(one, 3).is_none());
        assert!(gate.enter(IpAddr::from([127, 0, 0, 2]), 3).is_some());
        drop(held);
        assert!(gate.open.is_empty());
        assert!(gate.enter(one, 3).is_some());
    }

    #[test]
    fn a_person_is_a_slash_64() {
        let ip = |text: &str| prefix(text.parse().expect("address"));
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
    }
}
