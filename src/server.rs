//! Starting and stopping the whole server; used by the binary, the examples and the tests.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use signaling::rooms::Rooms;
use signaling::server::{Revoked, Sessions, Signaling};
use signaling::store::{Store, database_path};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Config;
use crate::http::connects::Connects;
use crate::http::numbers::Numbers;
use crate::http::{App, app, serve};
use crate::keys;
use crate::metrics::Metrics;
use crate::net::plane::{MediaConfig, MediaPlane};
use crate::net::tcp::TcpConfig;
use crate::sfu::SfuConfig;
use crate::sfu::bandwidth::estimator::EstimatorConfig;

/// How often expired promo coins go back to the budget. Trade: they cannot be spent once they have
/// expired, so only the books wait for it.
const SWEEP_PROMO: Duration = Duration::from_secs(3600);

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where HTTP listens; the real port when the configured one was 0.
    pub addr: SocketAddr,
    config: Arc<Config>,
    /// Local addresses of the media sockets, shard by shard.
    pub media_addrs: Vec<Vec<SocketAddr>>,
    /// Local addresses where media accepts TCP.
    pub media_tcp_addrs: Vec<SocketAddr>,
    media: MediaPlane,
    stop: watch::Sender<bool>,
    http: JoinHandle<()>,
    rooms: Rooms,
    sessions: Sessions,
    store: Store,
}

impl Server {
    /// Bind, start and return; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A port in use, a folder that cannot be written, a configuration that contradicts itself;
    /// the message names the option to change.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let config = Arc::new(config);
        let listener = bind(config.http.bind).await?;
        let addr = listener.local_addr().context("address of the HTTP listener")?;
        let store = Store::open(database_path(&config.data_dir))?;
        let keys = keys::load(&config)?;
        let metrics = Metrics::new();
        let (handle, events, media) = MediaPlane::start(&media_config(&config), &metrics)?;
        let rooms = Rooms::new(handle, store.clone(), config.limits.clone());
        tokio::spawn(rooms.clone().route(events));
        metrics.register(Box::new(Numbers::new(rooms.clone(), store.clone())?))?;
        match rooms.bring_back().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "shows are back and wait for their hosts"),
            Err(refusal) => return Err(anyhow!("the rooms could not be read: {refusal}")),
        }
        let (stop, draining) = watch::channel(false);
        let limits = config.limits.clone();
        let revoked = Revoked::load(store.clone()).await;
        let revoked = revoked.map_err(|no| anyhow!("the deny-list could not be read: {no}"))?;
        let (signaling, sessions) =
            Signaling::new(rooms.clone(), keys, limits, revoked, draining.clone());
        let signaling = signaling.with_turn(config.media.turn());
        tokio::spawn(sweep_promo(store.clone(), SWEEP_PROMO, draining.clone()));
        let connects = Connects::new(config.limits.connects_per_second);
        let state =
            App { config: config.clone(), signaling, store: store.clone(), metrics, connects };
        let http = tokio::spawn(serve::serve(listener, app(state), config.clone(), draining));
        let media_addrs = media.addresses().map(<[SocketAddr]>::to_vec).collect();
        let media_tcp_addrs = media.tcp_addresses().to_vec();
        Ok(Self {
            addr,
            media_addrs,
            media_tcp_addrs,
            config,
            media,
            stop,
            http,
            rooms,
            sessions,
            store,
        })
    }

    /// Tell everybody, stop accepting, end sessions and media, and return when all is closed or
    /// `http.drain_ms` is over. No show ends by it: the rooms return with the next start.
    pub async fn shutdown(mut self) {
        let patience = Duration::from_millis(self.config.http.drain_ms);
        self.stop.send_replace(true);
        let closed = timeout(patience, async {
            let _ = self.http.await;
            self.sessions.ended().await;
        });
        if closed.await.is_err() {
            tracing::warn!("connections were still open at the end of the drain");
        }
        self.rooms.stop();
        if timeout(patience, self.media.shutdown()).await.is_err() {
            tracing::error!("the media threads did not end in time");
        }
        if timeout(patience, self.store.flush()).await.is_err() {
            tracing::error!("the store did not finish in time");
        }
    }
}

/// Return expired promo coins to the budget now and then, until a stop.
async fn sweep_promo(store: Store, every: Duration, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        // Some hundred lots at a time, so that no gift waits for a year of them.
        loop {
            match store.expire_promo().await {
                Ok(0) => break,
                Ok(lots) => tracing::info!(lots, "promo coins have expired"),
                Err(refusal) => {
                    tracing::warn!(code = refusal.code(), "expired promo coins stay for now");
                    break;
                }
            }
        }
    }
}

fn media_config(config: &Config) -> MediaConfig {
    let media = &config.media;
    MediaConfig {
        shards: media.shard_count(),
        addresses: media.addresses.clone(),
        port: media.port,
        tcp: TcpConfig {
            port: media.tcp_port,
            hello: media.tcp_hello,
            connections: media.tcp_connections as usize,
            per_address: media.tcp_per_address,
            patience: Duration::from_millis(media.tcp_idle_ms),
            backlog: media.tcp_buffer_bytes,
        },
        public_ip: media.public_ip,
        sfu: SfuConfig {
            uplink_bps: media.uplink_bps,
            uplink_packets: media.uplink_packets,
            hold: Duration::from_millis(media.hold_ms.into()),
            late: Duration::from_millis(media.late_ms.into()),
            behind: Duration::from_millis(media.behind_ms.into()),
            downlink: EstimatorConfig {
                start_bps: media.downlink_start_bps,
                max_bps: media.downlink_max_bps,
                ..EstimatorConfig::default()
            },
        },
        audio_red: media.audio_red,
        ..MediaConfig::default()
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "port {} on {} is in use by another program: stop it, or choose another port with \
             --http-bind {}:PORT (http.bind in greenroom.toml)",
            address.port(),
            address.ip(),
            address.ip()
        ),
        ErrorKind::AddrNotAvailable => {
            anyhow!("{} is no address of this machine (http.bind)", address.ip())
        }
        ErrorKind::PermissionDenied => {
            anyhow!("not allowed to listen on port {} (http.bind)", address.port())
        }
        _ => anyhow!("cannot listen on {address} (http.bind): {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_options_are_those_of_the_media_plane() {
        let (ours, plane) = (media_config(&Config::default()), MediaConfig::default());
        assert_eq!((ours.port, ours.tcp), (plane.port, plane.tcp));
    }

    #[tokio::test]
    async fn promo_coins_are_swept_again_and_again_until_a_stop() {
        let folder = std::env::temp_dir().join(format!("greenroom-sweep-{}", std::process::id()));
        let store = Store::open(folder.join("test.db")).expect("opens");
        let (stop, stopped) = watch::channel(false);
        let every = Duration::from_millis(1);
        let sweeper = tokio::spawn(sweep_promo(store.clone(), every, stopped));
        let twice = async {
            while store.stats().done < 2 {
                tokio::task::yield_now().await;
            }
        };
        let patience = Duration::from_secs(20);
        timeout(patience, twice).await.expect("the store was asked twice");
        stop.send_replace(true);
        timeout(patience, sweeper).await.expect("in time").expect("ends");
        let _ = std::fs::remove_dir_all(&folder);
    }
}
