//! Headers that every response carries.

use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::Next;
use axum::response::Response;

/// Nothing inline, nothing from elsewhere. `ws:` is named because older browsers do not count it
/// as `'self'`; `blob:` is for pictures and media the page makes itself.
const CSP: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' blob:; \
     media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'self'";

/// The policy with the pages that may embed ours, which the configuration has checked.
pub(super) fn policy(embed: &[String]) -> HeaderValue {
    let policy = [CSP].into_iter().chain(embed.iter().map(String::as_str)).collect::<Vec<_>>();
    HeaderValue::from_str(&policy.join(" ")).unwrap_or(HeaderValue::from_static(CSP))
}

const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self), \
     autoplay=(self), fullscreen=(self), screen-wake-lock=(self), geolocation=(), payment=()";

/// Adds the headers.
pub(super) async fn headers(
    State(policy): State<HeaderValue>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(PERMISSIONS),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}
