//! `Authorization: Bearer`, read by ourselves: the typed header of crate `headers` has panicked on
//! a scheme with nothing after it.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// The token, if there is exactly one `Authorization` header and it has one.
pub(in crate::http) fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = axum::http::HeaderValue::from_bytes(value).expect("header value");
            headers.append(AUTHORIZATION, value);
        }
        token(&headers).map(str::to_owned)
    }

    #[test]
    fn good_and_bad() {
        assert_eq!(read(&[b"Bearer a.b.c"]).as_deref(), Some("a.b.c"));
        assert_eq!(read(&[b"bEARER   a.b.c "]).as_deref(), Some("a.b.c"));
        let bad: [&[u8]; 7] =
            [b"", b"Bearer", b"Bearer ", b"Bearer  ", b"Basic abc", b"Bearera", b"Bearer \xff\xfe"];
        for value in bad {
            assert_eq!(read(&[value]), None, "{value:?}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[b"Bearer a", b"Bearer b"]), None);
    }
}
