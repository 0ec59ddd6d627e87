//! Who somebody is: JWTs, HS256. Pure; the time is an argument.
//!
//! A failed check has one of two names and says nothing else, so that a forger learns nothing:
//! `unauthenticated`, or `token_expired` for a token that was good until its `exp`.

use std::collections::HashSet;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::economy::gift::is_id;
use crate::protocol::{Code, Refusal};

/// Shortest secret, bytes: the output size of SHA-256 (RFC 2104 section 3).
pub const MIN_SECRET: usize = 32;
/// Longest token, bytes. Trade: room for 32 permissions and a long avatar URL, and small enough
/// that parsing a forged one costs nothing.
pub const MAX_TOKEN: usize = 4096;
/// Longest life at the time of a join, seconds. Trade: how long a leaked token is worth something
/// against how often a client has to refresh.
pub const MAX_LIFE_S: u64 = 3600;
/// How far the clock of whoever signs may be ahead of ours, seconds.
pub const CLOCK_SKEW_S: u64 = 60;
/// The audience tokens are made for unless configured otherwise.
pub const AUDIENCE: &str = "greenroom";
/// Longest display name, characters.
pub const MAX_NAME: usize = 64;
const MAX_PERMS: usize = 32;
const MAX_AVATAR: usize = 512;
const MAX_LANG: usize = 16;

/// What a token can make somebody. `guest` is never a token role; it follows from the seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenRole {
    /// Runs a room.
    Host,
    /// Watches.
    Viewer,
    /// Reads statistics.
    Analyst,
    /// Runs the platform.
    Admin,
    /// A backend.
    Service,
    /// A hidden receiver.
    Recorder,
}

impl TokenRole {
    /// The wire name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Viewer => "viewer",
            Self::Analyst => "analyst",
            Self::Admin => "admin",
            Self::Service => "service",
            Self::Recorder => "recorder",
        }
    }
}

impl std::str::FromStr for TokenRole {
    type Err = TokenRefusal;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all =
            [Self::Host, Self::Viewer, Self::Analyst, Self::Admin, Self::Service, Self::Recorder];
        all.into_iter().find(|role| role.name() == name).ok_or(TokenRefusal::Unauthenticated)
    }
}

/// A token's content. After [`TokenKeys::verify`] every field is within its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Whom it is for; must be the server's audience.
    pub aud: String,
    /// The user id, `[A-Za-z0-9_-]{1,64}`.
    pub sub: String,
    /// A room id or slug, or `*` for every room.
    pub room: String,
    /// What it makes the user in that room.
    pub role: TokenRole,
    /// Granted permissions, e.g. `guest.manage`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub perms: Vec<String>,
    /// Display name; `sub` when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// An `https:` picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
    /// Known to be of age; gifts and 18+ rooms need it.
    #[serde(default)]
    pub adult: bool,
    /// BCP 47 language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// End of life, seconds since the Unix epoch.
    pub exp: u64,
    /// Start of life, seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The token's id, for revocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

impl Claims {
    /// Claims for one user in one room, with everything optional left out.
    #[must_use]
    pub fn new(room: &str, role: TokenRole, sub: &str, exp: u64) -> Self {
        Self {
            iss: None,
            aud: AUDIENCE.into(),
            sub: sub.into(),
            room: room.into(),
            role,
            perms: Vec::new(),
            name: String::new(),
            avatar: None,
            adult: false,
            lang: None,
            exp,
            nbf: None,
            jti: None,
        }
    }

    /// Is this token good for the room with this id or slug?
    #[must_use]
    pub fn covers(&self, room: &str) -> bool {
        self.room == "*" || self.room == room
    }

    fn within_limits(&self) -> bool {
        let short = |text: &Option<String>, max| text.as_ref().is_none_or(|t| t.len() <= max);
        is_id(&self.sub)
            && (self.room == "*" || is_id(&self.room))
            && self.perms.len() <= MAX_PERMS
            && self.perms.iter().all(|perm| perm.len() <= 64)
            && short(&self.iss, 256)
            && short(&self.lang, MAX_LANG)
            && self.jti.as_ref().is_none_or(|jti| is_id(jti))
    }

    fn cleaned(mut self) -> Self {
        self.name = clean_name(&self.name);
        if self.name.is_empty() {
            self.name.clone_from(&self.sub);
        }
        self.avatar = self.avatar.filter(|url| {
            url.starts_with("https://")
                && url.len() <= MAX_AVATAR
                && url.bytes().all(|b| b.is_ascii_graphic())
        });
        self
    }
}

/// A display name without what could disturb the line it is shown in: control characters and
/// bidirectional overrides go, white space is one space, at most [`MAX_NAME`] characters.
#[must_use]
pub fn clean_name(name: &str) -> String {
    let hidden = |c: char| {
        matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let kept: String = name
        .chars()
        .take(4 * MAX_NAME)
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|&c| !c.is_control() && !hidden(c))
        .collect();
    let words: Vec<&str> = kept.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(MAX_NAME).collect::<String>().trim_end().to_owned()
}

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRefusal {
    /// Anything wrong with it, unnamed on purpose.
    Unauthenticated,
    /// All right, but too old.
    Expired,
}

impl From<TokenRefusal> for Refusal {
    fn from(refusal: TokenRefusal) -> Self {
        let (code, message) = match refusal {
            TokenRefusal::Unauthenticated => (Code::Unauthenticated, "This token is not valid."),
            TokenRefusal::Expired => (Code::TokenExpired, "This token has expired."),
        };
        Self::new(code).because(message)
    }
}

/// The secret is too short to start with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token secret has {0} bytes and needs at least {MIN_SECRET}: \
     make one with `openssl rand -hex 32`"
)]
pub struct ShortSecret(pub usize);

/// Signs and checks tokens with one secret. Has no `Debug`: a key is not to be logged.
#[derive(Clone)]
pub struct TokenKeys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    max_life_s: u64,
}

impl TokenKeys {
    /// Keys for a shared secret.
    ///
    /// # Errors
    /// [`ShortSecret`] under [`MIN_SECRET`] bytes.
    pub fn new(secret: &[u8]) -> Result<Self, ShortSecret> {
        if secret.len() < MIN_SECRET {
            return Err(ShortSecret(secret.len()));
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        // Time is an argument here; the library would ask the clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            max_life_s: MAX_LIFE_S,
        })
    }

    /// Expect another audience than [`AUDIENCE`].
    #[must_use]
    pub fn with_audience(mut self, audience: &str) -> Self {
        self.validation.set_audience(&[audience]);
        self
    }

    /// Accept only tokens of this issuer.
    #[must_use]
    pub fn with_issuer(mut self, issuer: &str) -> Self {
        self.validation.set_issuer(&[issuer]);
        self.validation.required_spec_claims =
            ["exp", "aud", "sub", "iss"].into_iter().map(String::from).collect::<HashSet<_>>();
        self
    }

    /// Accept a longest life other than [`MAX_LIFE_S`] (`u64::MAX` = any).
    #[must_use]
    pub fn with_max_life(mut self, seconds: u64) -> Self {
        self.max_life_s = seconds;
        self
    }

    /// The token of these claims.
    ///
    /// # Errors
    /// `unauthenticated` for claims that [`TokenKeys::verify`] would never accept.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenRefusal> {
        if !claims.within_limits() {
            return Err(TokenRefusal::Unauthenticated);
        }
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding);
        token.map_err(|_| TokenRefusal::Unauthenticated)
    }

    /// Check a token at `now_s` (seconds since the Unix epoch).
    ///
    /// The algorithm is HS256 whatever the header says, and the header names no key: `kid`, `jku`,
    /// `jwk` and `x5c` are not looked at. A token with critical extensions (RFC 7515 section
    /// 4.1.11) is refused, for none is understood.
    ///
    /// # Errors
    /// [`TokenRefusal::Expired`] for a token that is valid but for its `exp`, else
    /// [`TokenRefusal::Unauthenticated`].
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Claims, TokenRefusal> {
        const NO: TokenRefusal = TokenRefusal::Unauthenticated;
        if token.len() > MAX_TOKEN || token.bytes().filter(|&b| b == b'.').count() != 2 {
            return Err(NO);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| NO)?;
        let claims = data.claims;
        let limit = now_s.saturating_add(self.max_life_s).saturating_add(CLOCK_SKEW_S);
        let too_early = claims.nbf.is_some_and(|nbf| nbf > now_s.saturating_add(CLOCK_SKEW_S));
        if data.header.crit.is_some() || !claims.within_limits() || claims.exp > limit || too_early
        {
            return Err(NO);
        }
        if claims.exp <= now_s {
            return Err(TokenRefusal::Expired);
        }
        Ok(claims.cleaned())
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
