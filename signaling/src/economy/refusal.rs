//! Every way money says no.

use crate::protocol::{Code, Refusal};

/// Why a movement of money was refused. The names are the wire codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MoneyRefusal {
    /// An amount, count, name or key outside its limits, or a sum outside 64 bits.
    BadRequest,
    /// The sender holds less than the gift costs.
    InsufficientFunds,
    /// The price the sender saw is not the catalogue's.
    PriceChanged,
    /// No such gift, or not in this room.
    GiftUnavailable,
    /// The recipient holds no seat any more.
    RecipientGone,
    /// A gift to oneself.
    RecipientIsSender,
    /// The key was used before for something else.
    IdempotencyMismatch,
    /// The same key is still being worked on.
    InProgress,
    /// The promotion budget is too small.
    BudgetExceeded,
    /// The writer's queue is full.
    Overloaded,
    /// The disk failed or the ledger is stopped; nothing is taken until a restart.
    LedgerUnavailable,
}

impl MoneyRefusal {
    /// The stable wire code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::InsufficientFunds => "insufficient_funds",
            Self::PriceChanged => "price_changed",
            Self::GiftUnavailable => "gift_unavailable",
            Self::RecipientGone => "recipient_gone",
            Self::RecipientIsSender => "recipient_is_sender",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::InProgress => "in_progress",
            Self::BudgetExceeded => "budget_exceeded",
            Self::Overloaded => "overloaded",
            Self::LedgerUnavailable => "ledger_unavailable",
        }
    }

    /// A sentence for a person.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::BadRequest => "An amount, a count or a name is outside its limits.",
            Self::InsufficientFunds => "There are not enough coins for this.",
            Self::PriceChanged => "The price of this gift has changed.",
            Self::GiftUnavailable => "This gift is not available here.",
            Self::RecipientGone => "This person has left the stage.",
            Self::RecipientIsSender => "A gift to oneself is not possible.",
            Self::IdempotencyMismatch => "This key was used before for something else.",
            Self::InProgress => "This is still being worked on.",
            Self::BudgetExceeded => "The promotion budget is used up.",
            Self::Overloaded => "The server is busy.",
            Self::LedgerUnavailable => "Gifts are not possible at the moment.",
        }
    }

    /// When trying again makes sense; 0 = trying the same again does not help.
    #[must_use]
    pub const fn retry_after_ms(self) -> u64 {
        match self {
            Self::InProgress | Self::Overloaded => 1_000,
            Self::LedgerUnavailable => 5_000,
            _ => 0,
        }
    }
}

impl From<MoneyRefusal> for Refusal {
    fn from(refusal: MoneyRefusal) -> Self {
        Self::new(Code::named(refusal.code()).unwrap_or(Code::Internal))
            .because(refusal.message())
            .retry_after(refusal.retry_after_ms())
    }
}
