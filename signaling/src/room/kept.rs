//! What of a show outlives a restart: like everything people receive, compared with what was last
//! kept, and the difference written. So no command can forget it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::{GuestId, GuestPolicy, Name, UserId};
use crate::stage::{House, KeptAttempt, Kinds, StageCommand};

use super::{Effect, Room, StoreWrite};

/// The room's settings, as kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    host_name: Name,
    host_muted: Kinds,
    policy: GuestPolicy,
}

/// A guest, as kept; the ids are columns of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Guest {
    name: Name,
    #[serde(flatten)]
    attempt: KeptAttempt,
}

/// What was last written.
#[derive(Debug, Default)]
pub(super) struct Written {
    title: String,
    settings: Option<Settings>,
    guests: BTreeMap<GuestId, KeptAttempt>,
}

/// A show that was on air when the server stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WasOn {
    /// Live since, milliseconds since the epoch.
    pub started_at: u64,
    /// The room's own JSON of [`StoreWrite::Settings`].
    pub settings: String,
    /// Guests and the room's own JSON of their [`StoreWrite::Attempt`].
    pub guests: Vec<(GuestId, UserId, String)>,
}

impl Room {
    /// The show was on air when the server stopped: it is back as `paused(host_lost)` with a fresh
    /// host grace, and guests who had media are `reconnecting` in their seats. A record that cannot
    /// be read costs one guest, or the defaults, not the show. Call before the first step.
    pub fn bring_back(&mut self, was_on: &WasOn) {
        if let Ok(settings) = serde_json::from_str::<Settings>(&was_on.settings) {
            self.names.insert(self.host.user.clone(), settings.host_name.clone());
            self.host.name = settings.host_name;
            self.life.host_muted = settings.host_muted;
            self.stage_do(StageCommand::Policy(settings.policy));
        }
        self.life.carry_on(was_on.started_at);
        self.stage_do(StageCommand::House(House::Open));
        self.host_media_lost();
        for (id, user, record) in &was_on.guests {
            let Ok(guest) = serde_json::from_str::<Guest>(record) else { continue };
            if self.stage.bring_back(id.clone(), user.clone(), &guest.attempt, self.now) {
                self.names.insert(user.clone(), guest.name);
                self.guests_on_air.insert(user.clone(), ());
            }
        }
    }

    pub(super) fn sync_kept(&mut self) {
        self.keep_settings();
        let seated = self.stage.seated();
        let kept =
            seated.into_iter().filter_map(|a| Some((a.id.clone(), (a.user.clone(), a.kept()?))));
        let kept: BTreeMap<GuestId, (UserId, KeptAttempt)> = kept.collect();
        // The end of an Attempt has its own write.
        self.written.guests.retain(|id, _| kept.contains_key(id));
        for (id, (user, attempt)) in kept {
            if self.written.guests.get(&id) == Some(&attempt) {
                continue;
            }
            self.written.guests.insert(id.clone(), attempt.clone());
            let record = json(&Guest { name: self.name(&user), attempt });
            let room = self.id.clone();
            self.out.push(Effect::Store(StoreWrite::Attempt { room, guest: id, user, record }));
        }
    }

    fn keep_settings(&mut self) {
        let same = |settings: &Settings| {
            settings.host_name == self.host.name
                && settings.host_muted == self.life.host_muted
                && settings.policy == *self.stage.policy()
        };
        if self.written.title == self.title && self.written.settings.as_ref().is_some_and(same) {
            return;
        }
        let settings = Settings {
            host_name: self.host.name.clone(),
            host_muted: self.life.host_muted,
            policy: self.stage.policy().clone(),
        };
        self.written.title.clone_from(&self.title);
        self.out.push(Effect::Store(StoreWrite::Settings {
            room: self.id.clone(),
            title: self.title.clone(),
            settings: json(&settings),
        }));
        self.written.settings = Some(settings);
    }
}

/// These types always have a JSON form.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
