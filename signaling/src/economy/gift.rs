//! One gift on its way into the ledger, and what comes back.

use aws_lc_rs::digest;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::MoneyRefusal;

/// Most gifts of one kind in one send (a combo tap is a send of its own).
///
/// Trade: with the dearest gift this is 10 million coins, far inside 64 bits, and a slip of the
/// finger stays below what a person can type as a price.
pub const MAX_GIFT_COUNT: u32 = 999;
/// Longest id or key: `[A-Za-z0-9_-]{1,64}`.
pub const MAX_ID: usize = 64;

/// Is this an id: 1 to 64 letters, digits, `_` or `-`?
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whom the sender named: `"to": "u_ana"` or `"to": 2`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GiftTarget {
    /// A seat number; who sits there is decided in the room's turn.
    Seat(u8),
    /// A user id.
    User(String),
}

/// What the sender asked for. Its hash decides whether a repeated key means the same gift, so it
/// holds what the client wrote and nothing that the server worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiftContent {
    /// The room id.
    pub room: String,
    /// The gift's catalogue id.
    pub gift: String,
    /// Coins for one, as the sender saw it.
    pub price: i64,
    /// How many, 1 to [`MAX_GIFT_COUNT`].
    pub count: u32,
    /// To whom.
    pub to: GiftTarget,
}

impl GiftContent {
    /// What the whole gift costs, in coins.
    ///
    /// # Errors
    /// `bad_request` for a price below 1, a count outside 1 to [`MAX_GIFT_COUNT`], or overflow.
    pub fn coins(&self) -> Result<i64, MoneyRefusal> {
        if self.price < 1 || !(1..=MAX_GIFT_COUNT).contains(&self.count) {
            return Err(MoneyRefusal::BadRequest);
        }
        self.price.checked_mul(i64::from(self.count)).ok_or(MoneyRefusal::BadRequest)
    }

    /// SHA-256 over a length-prefixed encoding: no two different contents share one.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let (kind, to) = match &self.to {
            GiftTarget::Seat(seat) => (b's', seat.to_string()),
            GiftTarget::User(user) => (b'u', user.clone()),
        };
        let mut bytes = vec![kind];
        for field in [&self.room, &self.gift, &to] {
            bytes.extend((field.len() as u64).to_be_bytes());
            bytes.extend(field.as_bytes());
        }
        bytes.extend(self.price.to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        sha256(&bytes)
    }
}

/// The host's part of gifts to a guest, fixed when the guest accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostShare {
    /// The host's user id.
    pub host: String,
    /// Basis points of the attempt's running total, 0 to 10 000.
    pub bps: u16,
}

/// A gift that a room has accepted. The ledger checks key and balance again, nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiftOrder {
    /// The client's idempotency key; scoped to the sender.
    pub key: String,
    /// Who pays.
    pub from: String,
    /// What was asked for.
    pub content: GiftContent,
    /// Who gets it, as the room's turn decided.
    pub to_user: String,
    /// The seat they held then.
    pub seat: u8,
    /// May grow a combo; a `single` gift never does.
    pub combo: bool,
    /// The recipient's attempt (`guestId`); `None` for the host.
    pub attempt: Option<String>,
    /// The host's part; `None` for the host or when the guest keeps everything.
    pub host_share: Option<HostShare>,
}

impl GiftOrder {
    /// Check everything that needs no database; returns the price of the whole gift in coins.
    ///
    /// # Errors
    /// `bad_request` or `recipient_is_sender`.
    pub fn check(&self) -> Result<i64, MoneyRefusal> {
        let ids = [&self.key, &self.from, &self.content.room, &self.content.gift, &self.to_user];
        let share = self.host_share.as_ref();
        if !ids.iter().all(|id| is_id(id))
            || share.is_some_and(|share| !is_id(&share.host) || share.bps > 10_000)
            || self.attempt.as_ref().is_some_and(|attempt| !is_id(attempt))
            || (share.is_some() && self.attempt.is_none())
        {
            return Err(MoneyRefusal::BadRequest);
        }
        if self.from == self.to_user {
            return Err(MoneyRefusal::RecipientIsSender);
        }
        self.content.coins()
    }
}

/// A gift that is committed and durable. Only now may others hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiftReceipt {
    /// The reply's `data` as it was stored, byte for byte the same for every repeat of the key:
    /// `{transferId, balance, comboId, comboTotal}`.
    pub reply: Bytes,
    /// The transfer's id.
    pub transfer: String,
    /// The combo this send belongs to.
    pub combo: String,
    /// Gifts in the combo after this send (cumulative).
    pub combo_total: u64,
    /// The sender's coins after this send: paid and promo.
    pub balance: i64,
    /// Stamped just before the commit; never goes back. Milliseconds since the Unix epoch.
    pub committed_at: i64,
    /// This is the stored answer to a repeated key: nothing happened now, so no event is due.
    pub replayed: bool,
}

/// The reply of `gift.send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GiftReply {
    /// As in [`GiftReceipt::transfer`].
    pub transfer_id: String,
    /// As in [`GiftReceipt::balance`].
    pub balance: i64,
    /// As in [`GiftReceipt::combo`].
    pub combo_id: String,
    /// As in [`GiftReceipt::combo_total`].
    pub combo_total: u64,
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}
