//! Starting and stopping the whole server; used by the binary, the examples and the tests.

#![expect(clippy::disallowed_methods, reason = "I/O shell")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::http::{App, app, serve};

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where HTTP listens; the real port when the configured one was 0.
    pub addr: SocketAddr,
    config: Arc<Config>,
    stop: watch::Sender<bool>,
    http: JoinHandle<()>,
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
        let (stop, draining) = watch::channel(false);
        let router = app(App { config: config.clone(), draining: draining.clone() });
        let http = tokio::spawn(serve::serve(listener, router, config.clone(), draining));
        Ok(Self { addr, config, stop, http })
    }

    /// Tell everybody, stop accepting, end sessions and media, and return when all is closed or
    /// `http.drain_ms` is over.
    pub async fn shutdown(self) {
        let patience = Duration::from_millis(self.config.http.drain_ms);
        self.stop.send_replace(true);
        if tokio::time::timeout(patience, self.http).await.is_err() {
            tracing::warn!("connections were still open at the end of the drain");
        }
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
