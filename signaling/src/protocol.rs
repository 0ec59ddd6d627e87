//! The JSON protocol.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A "no" with a stable name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Stable snake_case code.
    pub code: String,
    /// A sentence for a person.
    pub message: String,
    /// When trying again makes sense.
    pub retry_after_ms: u64,
}

impl Refusal {
    /// The server is stopping or behind.
    #[must_use]
    pub fn overloaded() -> Self {
        Self {
            code: "overloaded".into(),
            message: "The server is busy.".into(),
            retry_after_ms: 1000,
        }
    }
}
