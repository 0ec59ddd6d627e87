//! Ids of Attempts and their resume tokens, derived from the room's secret.
//!
//! Nothing random is drawn inside a room: a keyed hash over a counter is as good, and the whole
//! room can be replayed from its secret and its inputs.

use std::collections::BTreeMap;

use aws_lc_rs::{digest, hmac};

use crate::protocol::GuestId;
use crate::stage::TokenHash;

pub(super) struct Tokens {
    key: hmac::Key,
    made: u64,
    /// Which token of each open Attempt is the good one.
    versions: BTreeMap<GuestId, u32>,
}

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Tokens {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Self { key, made: 0, versions: BTreeMap::new() }
    }

    /// A fresh id: 48 bits of time and 80 bits of keyed hash, written as a ULID.
    pub(super) fn guest_id(&mut self, now_ms: u64) -> GuestId {
        self.made += 1;
        let tag = hmac::sign(&self.key, format!("id/{}", self.made).as_bytes());
        let mut bits = u128::from(now_ms & ((1 << 48) - 1));
        for byte in tag.as_ref().iter().take(10) {
            bits = bits << 8 | u128::from(*byte);
        }
        let digits = (0..26).rev().map(|at| {
            let digit = (bits >> (5 * at)) & 31;
            char::from(CROCKFORD.get(digit as usize).copied().unwrap_or(b'0'))
        });
        let text: String = digits.collect();
        // 26 characters out of that alphabet are always a valid id.
        GuestId::new(&text).unwrap_or_else(|_| unreachable!("{text} is an id"))
    }

    fn version(&self, id: &GuestId) -> u32 {
        self.versions.get(id).copied().unwrap_or(0)
    }

    fn token(&self, id: &GuestId, version: u32) -> String {
        let tag = hmac::sign(&self.key, format!("resume/{id}/{version}").as_bytes());
        let hex: String = tag.as_ref().iter().take(16).map(|b| format!("{b:02x}")).collect();
        format!("{id}.{hex}")
    }

    /// The good token of an Attempt.
    pub(super) fn current(&self, id: &GuestId) -> String {
        self.token(id, self.version(id))
    }

    /// The hash of the token that would be next.
    pub(super) fn next_hash(&self, id: &GuestId) -> TokenHash {
        hash(&self.token(id, self.version(id) + 1))
    }

    /// The next token becomes the good one.
    pub(super) fn rotate(&mut self, id: &GuestId) {
        *self.versions.entry(id.clone()).or_default() += 1;
    }

    pub(super) fn forget(&mut self, id: &GuestId) {
        self.versions.remove(id);
    }
}

/// The hash by which the stage knows a token.
pub(super) fn hash(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// The Attempt that a resume token belongs to.
pub(super) fn guest_of(token: &str) -> Option<GuestId> {
    GuestId::new(token.split_once('.')?.0).ok()
}
