//! The outer shape of messages, and the limits checked before anything else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Answer, Code, Event, Refusal};

/// The largest command, in bytes. Trade: a chat line is 300 bytes and a policy 600; 16 KiB lets
/// every real command through and keeps 10 000 hostile clients at 160 MB.
pub const MESSAGE_BYTES: usize = 16 * 1024;
/// The largest command that carries SDP: twenty m-lines do not fit into 16 KiB.
pub const SDP_MESSAGE_BYTES: usize = 64 * 1024;
/// The deepest nesting of objects and arrays, the envelope included.
pub const DEPTH: usize = 8;
/// The longest `type`; longer ones cannot exist.
const TYPE_LEN: usize = 64;

/// The commands that may be up to [`SDP_MESSAGE_BYTES`] long.
#[must_use]
pub fn carries_sdp(kind: &str) -> bool {
    matches!(kind, "media.offer" | "media.answer" | "media.restart")
}

/// A command before its `data` is understood.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// Chosen by the client, unique per connection; the reply repeats it.
    pub id: u32,
    /// `noun.verb`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The command's own fields; an absent `data` is `{}`.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
}

/// Why a message was not understood, with its `id` when that much could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct ParseError {
    /// The message's `id`, if it has one: then a reply is possible.
    pub id: Option<u32>,
    /// What to answer.
    pub refusal: Refusal,
}

impl Envelope {
    /// First step: size, depth and outer shape. `max_sdp_bytes` allows an operator less than
    /// [`SDP_MESSAGE_BYTES`]; pass that constant for the default.
    ///
    /// # Errors
    /// `too_large` past a size limit; `bad_request` for what is not JSON, is nested deeper than
    /// [`DEPTH`] or has no valid `id` and `type`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > SDP_MESSAGE_BYTES {
            return Err(ParseError { id: None, refusal: Code::TooLarge.into() });
        }
        if depth(text.as_bytes()) > DEPTH {
            let refusal = Refusal::new(Code::BadRequest).because("Nested too deeply.");
            return Err(ParseError { id: id_of(text), refusal });
        }
        let envelope: Self = serde_json::from_str(text).map_err(|error| {
            let refusal = Refusal::new(Code::BadRequest).because(error.to_string());
            ParseError { id: id_of(text), refusal }
        })?;
        if text.len() > MESSAGE_BYTES && !carries_sdp(&envelope.kind) {
            return Err(ParseError { id: Some(envelope.id), refusal: Code::TooLarge.into() });
        }
        if envelope.kind.len() > TYPE_LEN {
            return Err(ParseError { id: Some(envelope.id), refusal: Code::UnknownType.into() });
        }
        Ok(envelope)
    }

    /// Second step: the type's own structure.
    ///
    /// # Errors
    /// `unknown_type`; `bad_request` for fields that are missing or wrong; `limit_exceeded` and
    /// `too_large` where a field has its own limit.
    pub fn command(&self) -> Result<super::Command, Refusal> {
        super::Command::parse(&self.kind, self.data.as_deref().map_or("{}", RawValue::get))
    }
}

/// The `id` of a message whose other fields may be wrong.
fn id_of(text: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Id {
        id: u32,
    }
    if depth(text.as_bytes()) > 2 * DEPTH {
        return None;
    }
    serde_json::from_str::<Id>(text).ok().map(|message| message.id)
}

/// The deepest nesting in JSON text, strings skipped. Needs no valid JSON.
#[must_use]
pub fn depth(json: &[u8]) -> usize {
    let (mut deepest, mut current) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                current += 1;
                deepest = deepest.max(current);
            }
            b'}' | b']' => current = current.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Answer to a command.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reply {
    /// It was done.
    Done {
        /// The command's id.
        id: u32,
        /// Always `true`.
        ok: bool,
        /// What the command answers.
        data: Answer,
    },
    /// It was refused and nothing changed.
    Refused {
        /// The command's id.
        id: u32,
        /// Always `false`.
        ok: bool,
        /// Why.
        refusal: Refusal,
    },
}

impl Reply {
    /// The reply to command `id`.
    #[must_use]
    pub fn new(id: u32, result: Result<Answer, Refusal>) -> Self {
        match result {
            Ok(data) => Self::Done { id, ok: true, data },
            Err(refusal) => Self::Refused { id, ok: false, refusal },
        }
    }

    /// As JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// An event as it travels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventMessage {
    /// Number of a reliable room-wide event; personal and staff events have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Server time in milliseconds since the epoch.
    pub ts: u64,
    /// `type` and `data`.
    #[serde(flatten)]
    pub event: Event,
}

impl EventMessage {
    /// As JSON text, to be serialised once and shared.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
