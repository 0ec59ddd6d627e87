//! Which shard has the transport that a first STUN request names, and whether the request is authentic.

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use signaling::media::TransportId;

use crate::sfu::command::ShardCommand;
use crate::sfu::drop_reason::DropReason;
use crate::sfu::transport::{IceCredentials, StunRequest};

/// User name fragments of a transport that are answered: the one in use and that of an ICE restart under
/// way. Older ones lead to no new connection; a client that restarts twice uses the newest.
const KEPT: usize = 2;

#[derive(Debug)]
struct Entry {
    shard: u8,
    password: String,
}

/// What the door reads; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<DashMap<String, Entry>>);

impl Directory {
    /// The shard of the transport that `request` is for.
    ///
    /// # Errors
    /// [`DropReason::StunUnknownUfrag`]; [`DropReason::StunIntegrity`] or [`DropReason::StunMalformed`] when
    /// it was not made with the transport's password.
    pub fn shard_of(&self, request: &StunRequest<'_>) -> Result<u8, DropReason> {
        let entry = self.0.get(request.local_ufrag()).ok_or(DropReason::StunUnknownUfrag)?;
        request.check_integrity(&entry.password)?;
        Ok(entry.shard)
    }
}

/// The director's side: it knows which transports there are.
#[derive(Debug, Default)]
pub struct Registrar {
    directory: Directory,
    /// Fragments by transport, oldest first.
    ufrags: HashMap<TransportId, Vec<String>>,
}

impl Registrar {
    /// A registrar that writes `directory`.
    #[must_use]
    pub fn new(directory: Directory) -> Self {
        Self { directory, ufrags: HashMap::new() }
    }

    /// Note the credentials that `command` gives a transport, if it does.
    pub fn note(&mut self, command: &ShardCommand) {
        match command {
            ShardCommand::AddTransport(spec) => self.add(spec.id, &spec.local_ice),
            ShardCommand::RestartIce { id, local, .. } => self.add(*id, local),
            _ => {}
        }
    }

    fn add(&mut self, id: TransportId, ice: &IceCredentials) {
        let known = self.ufrags.entry(id).or_default();
        if known.len() >= KEPT {
            self.directory.0.remove(&known.remove(0));
        }
        known.push(ice.ufrag.clone());
        let entry = Entry { shard: id.shard(), password: ice.password.clone() };
        self.directory.0.insert(ice.ufrag.clone(), entry);
    }

    /// The transport has ended.
    pub fn forget(&mut self, id: TransportId) {
        for ufrag in self.ufrags.remove(&id).unwrap_or_default() {
            self.directory.0.remove(&ufrag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::binding_request;

    fn ice(ufrag: &str) -> IceCredentials {
        IceCredentials { ufrag: ufrag.to_owned(), password: format!("password of {ufrag} 12345") }
    }

    fn ask(directory: &Directory, ufrag: &str, password: &str) -> Result<u8, DropReason> {
        let bytes = binding_request(&format!("{ufrag}:them"), password, [5; 12]);
        directory.shard_of(&StunRequest::parse(&bytes).expect("a request"))
    }

    #[test]
    fn who_knows_the_password_is_led_to_the_shard_until_the_end() {
        let directory = Directory::default();
        let mut registrar = Registrar::new(directory.clone());
        let (one, two) = (TransportId::new(3, 1), TransportId::new(0, 2));
        registrar.add(one, &ice("aaaa"));
        registrar.add(two, &ice("bbbb"));
        assert_eq!(ask(&directory, "aaaa", &ice("aaaa").password), Ok(3));
        assert_eq!(ask(&directory, "bbbb", &ice("bbbb").password), Ok(0));
        let stranger = ask(&directory, "aaaa", &ice("bbbb").password);
        assert_eq!(stranger, Err(DropReason::StunIntegrity));
        assert_eq!(ask(&directory, "cccc", "whatever"), Err(DropReason::StunUnknownUfrag));
        registrar.forget(one);
        let gone = ask(&directory, "aaaa", &ice("aaaa").password);
        assert_eq!(gone, Err(DropReason::StunUnknownUfrag));
        registrar.forget(two);
        assert!(directory.0.is_empty() && registrar.ufrags.is_empty());
    }

    #[test]
    fn ice_restarts_leave_the_old_and_the_newest_fragment_only() {
        let directory = Directory::default();
        let mut registrar = Registrar::new(directory.clone());
        let id = TransportId::new(1, 1);
        for ufrag in ["aaaa", "bbbb", "cccc"] {
            let command = ShardCommand::RestartIce { id, local: ice(ufrag), remote: None };
            registrar.note(&command);
        }
        let known = |ufrag: &str| ask(&directory, ufrag, &ice(ufrag).password).is_ok();
        assert_eq!(["aaaa", "bbbb", "cccc"].map(known), [false, true, true]);
        registrar.forget(id);
        assert!(directory.0.is_empty());
    }
}
