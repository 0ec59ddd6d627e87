//! `If-Match` (RFC 9110 section 13.1.1): which ICE session a `PATCH` means.

use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;

/// The condition of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// `*`: whatever the session is now. An ICE restart says this.
    Any,
    /// One of these entity tags, without their quotes. A trickled candidate names its session.
    Tags(Vec<String>),
}

impl Condition {
    /// The request's condition; `None` without the header.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(IF_MATCH) {
            return None;
        }
        let mut tags = Vec::new();
        for value in headers.get_all(IF_MATCH) {
            // What is not text matches nothing, like any other wrong tag.
            for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                if tag == "*" {
                    return Some(Self::Any);
                }
                // A weak tag never matches here; `W/"x"` does not lose its prefix.
                let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                tags.extend(inner.map(str::to_owned));
            }
        }
        Some(Self::Tags(tags))
    }

    /// Whether it holds for the session with this tag.
    pub(super) fn holds(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|one| one == tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Condition> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, value.parse().expect("header value"));
        }
        Condition::of(&headers)
    }

    #[test]
    fn every_form() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["*"]), Some(Condition::Any));
        let two = read(&["\"a\", \"b\""]).expect("a condition");
        assert!(two.holds("a") && two.holds("b") && !two.holds("c"));
        assert!(read(&["\"a\"", "\"b\""]).is_some_and(|both| both.holds("b")));
        for wrong in ["", "a", "W/\"a\"", "\"a", "\""] {
            assert!(read(&[wrong]).is_some_and(|none| !none.holds("a")), "{wrong}");
        }
    }
}
