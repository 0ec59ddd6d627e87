//! Which pages may open the WebSocket.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

/// Whether the request comes from an allowed page.
///
/// A browser always sends `Origin` with a WebSocket and a page cannot forge it, so a foreign one
/// is refused. Programs send none and are let in: they have no ambient rights to abuse, since
/// everybody authenticates with a token in the first message.
pub(super) fn allowed(headers: &HeaderMap, listed: &[String]) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
    if listed.iter().any(|one| one.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    match (own, host) {
        (Some(own), Some(host)) => own.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: &[&str], host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("host"));
        for one in origin {
            headers.append(ORIGIN, one.parse().expect("origin"));
        }
        allowed(&headers, &["https://shop.example".to_owned()])
    }

    #[test]
    fn own_page_listed_page_and_programs() {
        assert!(check(&["http://localhost:8080"], "localhost:8080"));
        assert!(check(&["https://live.example"], "LIVE.example"));
        assert!(check(&["https://shop.example"], "localhost:8080"));
        assert!(check(&[], "localhost:8080"));
    }

    #[test]
    fn everything_else_is_foreign() {
        assert!(!check(&["http://evil.example"], "localhost:8080"));
        assert!(!check(&["http://localhost:9999"], "localhost:8080"));
        assert!(!check(&["http://localhost"], "localhost:8080"));
        assert!(!check(&["null"], "localhost:8080"));
        assert!(!check(&["localhost:8080"], "localhost:8080"));
        assert!(!check(&["http://localhost:8080", "http://evil.example"], "localhost:8080"));
        assert!(!check(&["https://shop.example.evil.example"], "localhost:8080"));
    }
}
