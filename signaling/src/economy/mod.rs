//! Gifts and money, pure: what can be sent, who is owed what, and the rules every movement keeps.
//!
//! Nothing here touches a disk. [`crate::store`] runs these rules inside its transactions.

pub mod account;
pub mod catalogue;
pub mod gift;
pub mod ledger;
pub mod refusal;

pub use account::{Account, Currency};
pub use catalogue::{Catalogue, Gift, GiftKind, GiftTier};
pub use gift::{GiftContent, GiftOrder, GiftReceipt, GiftTarget, HostShare, MAX_GIFT_COUNT};
pub use ledger::{Entry, Transfer, TransferKind};
pub use refusal::MoneyRefusal;
