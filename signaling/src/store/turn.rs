//! What one piece of work sees of the open transaction, and the loop's view of why it failed.

use rusqlite::{Connection, ErrorCode};

use super::audit::Chain;
use crate::economy::MoneyRefusal;

/// Why a piece of work did not happen.
#[derive(Debug)]
pub(super) enum Fault {
    /// By the rules; its savepoint is undone and its neighbours stand.
    Refused(MoneyRefusal),
    /// By SQLite.
    Sql(rusqlite::Error),
}

impl From<MoneyRefusal> for Fault {
    fn from(refusal: MoneyRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// A constraint of the schema said no: a bug above it, but only this work is affected.
    /// Everything else (disk full, failed write) poisons the whole transaction.
    pub(super) fn is_constraint(&self) -> bool {
        match self {
            Self::Sql(error) => error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation),
            Self::Refused(_) => false,
        }
    }
}

/// One open transaction.
pub(super) struct Turn<'c> {
    /// The connection inside its transaction and savepoint.
    pub(super) conn: &'c Connection,
    /// The stamp of this group, milliseconds since the Unix epoch; never goes back.
    pub(super) now: i64,
    /// The audit chain's head.
    pub(super) chain: Chain,
}
