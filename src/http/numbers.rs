//! The signaling side and the ledger as Prometheus series.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};
use signaling::rooms::Rooms;
use signaling::store::Store;

/// Reads rooms and store when somebody asks.
pub(crate) struct Numbers {
    rooms: Rooms,
    store: Store,
    sessions: IntGauge,
    open: IntGauge,
    live: IntGauge,
    refusals: IntCounterVec,
    ledger_up: IntGauge,
    ledger_waiting: IntGauge,
    ledger_commits: IntCounter,
}

impl Numbers {
    /// Over these rooms and this store.
    ///
    /// # Errors
    /// A name that Prometheus does not allow: a bug in this file.
    pub(crate) fn new(rooms: Rooms, store: Store) -> anyhow::Result<Self> {
        let refusals = Opts::new("greenroom_refusals_total", "Commands refused, by code.");
        Ok(Self {
            rooms,
            store,
            sessions: IntGauge::new("greenroom_sessions", "WebSockets open.")?,
            open: IntGauge::new("greenroom_rooms", "Rooms that have not ended.")?,
            live: IntGauge::new("greenroom_rooms_live", "Rooms on air.")?,
            refusals: IntCounterVec::new(refusals, &["code"])?,
            ledger_up: IntGauge::new("greenroom_ledger_available", "1 = gifts are possible.")?,
            ledger_waiting: IntGauge::new("greenroom_ledger_waiting", "Writes not durable yet.")?,
            ledger_commits: IntCounter::new("greenroom_ledger_commits_total", "Commits.")?,
        })
    }

    fn parts(&self) -> [&dyn Collector; 7] {
        [
            &self.sessions,
            &self.open,
            &self.live,
            &self.refusals,
            &self.ledger_up,
            &self.ledger_waiting,
            &self.ledger_commits,
        ]
    }

    fn refresh(&self) {
        let gauge = |gauge: &IntGauge, n: u64| gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
        let stats = self.rooms.stats();
        gauge(&self.sessions, stats.sessions());
        gauge(&self.open, self.rooms.len() as u64);
        gauge(&self.live, self.rooms.live().len() as u64);
        for (code, count) in stats.refusals() {
            let counter = self.refusals.with_label_values(&[code.as_str()]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        let ledger = self.store.stats();
        gauge(&self.ledger_up, ledger.available.into());
        gauge(&self.ledger_waiting, ledger.waiting);
        self.ledger_commits.inc_by(ledger.commits.saturating_sub(self.ledger_commits.get()));
    }
}

impl Collector for Numbers {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(|part| part.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.parts().into_iter().flat_map(|part| part.collect()).collect()
    }
}
