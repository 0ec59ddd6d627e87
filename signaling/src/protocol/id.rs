//! Identifiers and names, valid by construction.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest id, in characters.
pub const ID_LEN: usize = 64;
/// The longest name of a person, in code points.
pub const NAME_LEN: usize = 64;

/// Whether `text` is `[A-Za-z0-9_-]{1,64}`.
#[must_use]
pub fn valid_id(text: &str) -> bool {
    (1..=ID_LEN).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The id was empty, too long, or had a character outside `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 1 to 64 characters out of A-Z a-z 0-9 _ -")]
pub struct InvalidId;

macro_rules! id {
    ($(#[doc = $doc:literal] $name:ident;)*) => { $(
        #[doc = $doc]
        ///
        /// `[A-Za-z0-9_-]{1,64}`; cheap to clone.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Check and wrap.
            ///
            /// # Errors
            /// When `text` is not a valid id.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                if valid_id(text) { Ok(Self(text.into())) } else { Err(InvalidId) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" })
            }
        }
    )* };
}

id! {
    #[doc = "A person, in every room and over all connections: the `sub` of the token."]
    UserId;
    #[doc = "A room: its id or its slug."]
    RoomId;
    #[doc = "One Attempt of one person to reach a seat."]
    GuestId;
    #[doc = "A gift of the catalogue."]
    GiftId;
    #[doc = "An idempotency key, chosen by the sender; unique per sender."]
    Key;
}

/// A person's name: 1 to 64 code points, no control and no bidirectional-override characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A character that can hide or reorder the text around it.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}' | '\u{2029}'
            | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

impl Name {
    /// Check and wrap; `None` if empty, too long or with a forbidden character.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.trim().is_empty()
            && text.chars().count() <= NAME_LEN
            && !text.chars().any(is_deceptive);
        fits.then(|| Self(text.into()))
    }

    /// Make a name out of anything: forbidden characters go, the rest is cut at 64 code points,
    /// and nothing left becomes `guest`.
    #[must_use]
    pub fn clean(text: &str) -> Self {
        let kept: String = text.chars().filter(|c| !is_deceptive(*c)).take(NAME_LEN).collect();
        let kept = kept.trim();
        Self(if kept.is_empty() { "guest".into() } else { kept.into() })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| D::Error::custom("a name is 1 to 64 visible characters"))
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 64 })
    }
}
