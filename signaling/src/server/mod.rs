//! The shell around the rooms: one task per WebSocket, with its limits.

mod revoked;
mod session;
mod writer;

use std::sync::Arc;

use axum::extract::ws::WebSocket;
use tokio::sync::{mpsc, watch};

pub use revoked::Revoked;

use crate::limits::Limits;
use crate::protocol::{IceServer, Name, Perm, Refusal, UserId};
use crate::room::Identity;
use crate::rooms::Rooms;
use crate::token::{Claims, TokenKeys, TokenRefusal};
use crate::turn::Turn;

/// What sessions share; cheap to clone.
#[derive(Clone)]
pub struct Signaling {
    rooms: Rooms,
    keys: Arc<TokenKeys>,
    limits: Limits,
    revoked: Revoked,
    turn: Option<Arc<Turn>>,
    draining: watch::Receiver<bool>,
    /// Held by every session, so that a stop can wait for the last.
    #[expect(dead_code, reason = "its drop is what counts")]
    alive: mpsc::Sender<()>,
}

/// The end of [`Signaling`] that a planned stop waits on.
#[derive(Debug)]
pub struct Sessions {
    alive: mpsc::Receiver<()>,
}

impl Signaling {
    /// Sessions for these rooms. When `draining` turns true they say `bye` and end.
    #[must_use]
    pub fn new(
        rooms: Rooms,
        keys: TokenKeys,
        limits: Limits,
        revoked: Revoked,
        draining: watch::Receiver<bool>,
    ) -> (Self, Sessions) {
        let (sender, alive) = mpsc::channel(1);
        let keys = Arc::new(keys);
        let signaling = Self { rooms, keys, limits, revoked, turn: None, draining, alive: sender };
        (signaling, Sessions { alive })
    }

    /// The same, with a TURN server for clients whose network lets nothing else through.
    #[must_use]
    pub fn with_turn(self, turn: Option<Turn>) -> Self {
        Self { turn: turn.map(Arc::new), ..self }
    }

    /// ICE servers for this person, with credentials that begin to age now.
    #[must_use]
    pub fn ice_servers(&self, user: &UserId) -> Vec<IceServer> {
        let now_s = self.rooms.clock().now_ms() / 1000;
        self.turn.iter().map(|turn| turn.ice_server(user, now_s)).collect()
    }

    /// The rooms.
    #[must_use]
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The keys, to sign tokens in development mode.
    #[must_use]
    pub fn keys(&self) -> &TokenKeys {
        &self.keys
    }

    /// Tokens that are refused.
    #[must_use]
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// Whether a planned stop has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Check a token.
    ///
    /// # Errors
    /// `unauthenticated`, `token_expired`.
    pub fn authenticate(&self, token: &str) -> Result<(Claims, Identity), Refusal> {
        let now_ms = self.rooms.clock().now_ms();
        let claims = self.keys.verify(token, now_ms / 1000)?;
        if self.revoked.covers(&claims, now_ms) {
            return Err(TokenRefusal::Unauthenticated.into());
        }
        let identity = identity(&claims)?;
        Ok((claims, identity))
    }

    /// Serve one WebSocket until it ends. `admission` is dropped when the client has said who it
    /// is (or the connection ends): it is its place among the strangers of its address.
    pub async fn session<A: Send + 'static>(&self, socket: WebSocket, admission: A) {
        session::run(self.clone(), socket, admission).await;
    }
}

impl Sessions {
    /// Returns when the last session and the last [`Signaling`] are gone.
    pub async fn ended(&mut self) {
        while self.alive.recv().await.is_some() {}
    }
}

/// Who the claims say somebody is. Permissions that this version does not know grant nothing.
fn identity(claims: &Claims) -> Result<Identity, TokenRefusal> {
    let perm = |name: &String| {
        serde_json::from_value::<Perm>(serde_json::Value::String(name.clone())).ok()
    };
    Ok(Identity {
        user: UserId::new(&claims.sub).map_err(|_| TokenRefusal::Unauthenticated)?,
        name: Name::clean(&claims.name),
        role: claims.role,
        perms: claims.perms.iter().filter_map(perm).collect(),
        adult: claims.adult,
    })
}
