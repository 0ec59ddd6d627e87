//! The web demo, from the binary (or, in a debug build, from the source tree).

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

/// The pages, the SDK and the components.
#[derive(RustEmbed)]
#[folder = "web-demo/"]
#[exclude = "node_modules/*"]
#[exclude = "*.test.js"]
#[exclude = "package.json"]
#[allow_missing = true]
struct Demo;

/// Ask each time, which costs one 304: a page and its modules must be of one version.
const REVALIDATE: &str = "no-cache";

/// `/`, `/studio`, `/r/{room}` and the files they load.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route("/studio", get(|headers: HeaderMap| async move { file("studio.html", &headers) }))
        .route("/r/{room}", get(|headers: HeaderMap| async move { file("room.html", &headers) }))
        .fallback(asset)
}

/// What no other route took: a file of the demo, or nothing.
async fn asset(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::NOT_FOUND, "Not found.\n").into_response();
    }
    file(uri.path().trim_start_matches('/'), &headers)
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    // In a debug build this reads the disk; rust-embed keeps the path inside the folder.
    match Demo::get(path) {
        Some(found) => respond(path, found, headers),
        None => (StatusCode::NOT_FOUND, "Not found.\n").into_response(),
    }
}

fn respond(path: &str, found: EmbeddedFile, headers: &HeaderMap) -> Response {
    let tag = etag(&found);
    let common = [(CACHE_CONTROL, REVALIDATE.to_owned()), (ETAG, tag.clone())];
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = content_type(path, found.metadata.mimetype());
    (common, [(CONTENT_TYPE, kind)], found.data.into_owned()).into_response()
}

/// The first half of the file's SHA-256.
fn etag(found: &EmbeddedFile) -> String {
    let hash = found.metadata.sha256_hash();
    let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

/// Modules and pages are UTF-8 and say so, or a browser guesses.
fn content_type(path: &str, guess: &str) -> String {
    let text = guess.starts_with("text/") || path.ends_with(".json") || path.ends_with(".svg");
    if text { format!("{guess}; charset=utf-8") } else { guess.to_owned() }
}
