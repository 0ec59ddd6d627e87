//! The deny-list: tokens that are refused although they are signed and young enough.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::watch;

use crate::protocol::Refusal;
use crate::store::Store;
use crate::token::Claims;

/// Ids of tokens (`jti`) and people (`sub`) whose tokens are refused, kept in the store; cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Revoked {
    store: Store,
    /// Until when, milliseconds since the epoch.
    until: Arc<DashMap<String, u64>>,
    /// Sessions that are open look again at each change.
    changed: watch::Sender<()>,
}

impl Revoked {
    /// An empty list that is kept in `store`.
    #[must_use]
    pub fn empty(store: Store) -> Self {
        Self { store, until: Arc::default(), changed: watch::Sender::new(()) }
    }

    /// What the store holds.
    ///
    /// # Errors
    /// `overloaded`, `ledger_unavailable`.
    pub async fn load(store: Store) -> Result<Self, Refusal> {
        let rows = store.revocations().await?;
        let list = Self::empty(store);
        for (id, until) in rows {
            list.until.insert(id, u64::try_from(until).unwrap_or(0));
        }
        Ok(list)
    }

    /// Refuse every token with this `jti` or `sub` until `until_ms`; a later date stays. It acts,
    /// on open sessions too, even when it could not be kept.
    ///
    /// # Errors
    /// `bad_request` for what is no id; `overloaded`, `ledger_unavailable`: ask again.
    pub async fn revoke(&self, id: &str, now_ms: u64, until_ms: u64) -> Result<(), Refusal> {
        self.until.retain(|_, until| *until > now_ms);
        let at = i64::try_from(until_ms).unwrap_or(i64::MAX);
        let kept = self.store.revoke(id, at).await;
        if kept != Err(crate::economy::MoneyRefusal::BadRequest) {
            let mut until = self.until.entry(id.to_owned()).or_insert(0);
            *until = until_ms.max(*until);
            drop(until);
            self.changed.send_replace(());
        }
        Ok(kept?)
    }

    /// Whether these claims are on the list.
    #[must_use]
    pub fn covers(&self, claims: &Claims, now_ms: u64) -> bool {
        let listed = |id: &str| self.until.get(id).is_some_and(|until| *until > now_ms);
        listed(&claims.sub) || claims.jti.as_deref().is_some_and(listed)
    }

    /// Hears of each change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
