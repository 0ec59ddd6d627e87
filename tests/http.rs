//! Pages, headers and limits of the HTTP server, over real sockets.

mod common;

use common::{Fixture, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_served_strictly() {
    let server = Fixture::start().await;
    for page in ["/", "/studio", "/r/some-room"] {
        let (status, head, body) = server.get(page, "").await;
        assert_eq!(status, 200, "{page}");
        assert!(head.contains("content-security-policy: default-src 'self'"), "{head}");
        assert!(head.contains("frame-ancestors 'self'\r\n"), "{head}");
        assert!(!head.contains("unsafe-inline"));
        assert!(head.contains("x-content-type-options: nosniff"));
        assert!(head.contains("content-type: text/html; charset=utf-8"));
        assert!(body.contains("<!doctype html>"), "{page}");
    }
    let (status, head, _) = server.get("/sdk/index.js", "").await;
    assert_eq!(status, 200);
    assert!(head.contains("javascript; charset=utf-8"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_revalidated_by_etag() {
    let server = Fixture::start().await;
    let (_, head, _) = server.get("/studio", "").await;
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("etag");
    let known = format!("if-none-match: \"other\", {etag}\r\n");
    let (status, head, body) = server.get("/studio", &known).await;
    assert_eq!((status, body.as_str()), (304, ""));
    assert!(head.contains(etag));
    assert_eq!(server.get("/studio", "if-none-match: \"other\"\r\n").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_demo_is_served() {
    let server = Fixture::start().await;
    for path in ["/../Cargo.toml", "/..%2fCargo.toml", "/%2e%2e/Cargo.toml", "//etc/passwd", "/x"] {
        let (status, _, body) = server.get(path, "").await;
        assert!(status == 404 || status == 400, "{path}: {status}");
        assert!(!body.contains("[workspace]") && !body.contains("root:"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_ready_metrics_live() {
    let server = Fixture::start().await;
    assert_eq!(server.get("/healthz", "").await.0, 200);
    assert_eq!(server.get("/readyz", "").await.0, 200);
    let (status, _, body) = server.get("/metrics", "").await;
    assert_eq!(status, 200);
    for series in ["greenroom_sessions 0", "greenroom_rooms 0", "greenroom_ledger_available 1"] {
        assert!(body.contains(series), "{series} in {body}");
    }
    assert!(body.contains("greenroom_refusals_total{code=\"room_not_found\"} 0"), "{body}");
    assert_eq!(server.get("/v1/live", "").await.2, r#"{"rooms":[]}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn header_size_at_the_limit_and_past_it() {
    let server = Fixture::start().await;
    let big = |size: usize| format!("x-pad: {}\r\n", "x".repeat(size));
    assert_eq!(server.get("/healthz", &big(15 * 1024)).await.0, 200);
    assert_eq!(server.get("/healthz", &big(17 * 1024)).await.0, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_are_cut() {
    let server = Fixture::with(|config| config.http.header_ms = 200).await;
    let mut stream = TcpStream::connect(server.addr).await.expect("connects");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.expect("writes");
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the server hangs up");
}

#[tokio::test(flavor = "multi_thread")]
async fn development_tokens_only_in_development_and_only_for_own_pages() {
    let ask = |headers: &str, body: &str| {
        format!(
            "POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let server = Fixture::start().await;
    assert_eq!(server.http(&ask("", "{}")).await.0, 200);
    assert_eq!(server.http(&ask("", r#"{"role":"admin"}"#)).await.0, 403);
    assert_eq!(server.http(&ask("", r#"{"room":"a b"}"#)).await.0, 400);
    assert_eq!(server.http(&ask("", "{")).await.0, 400);
    assert_eq!(server.http(&ask("origin: http://evil.example\r\n", "{}")).await.0, 403);
    let huge = format!(r#"{{"name":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(server.http(&ask("", &huge)).await.0, 400);
    let production = Fixture::with(|config| config.dev = false).await;
    assert_eq!(production.http(&ask("", "{}")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_explained() {
    let server = Fixture::start().await;
    let addr = server.addr;
    let config = greenroom::config::Config {
        data_dir: std::env::temp_dir().join("greenroom-port-in-use"),
        http: greenroom::config::Http { bind: addr, ..Default::default() },
        ..Default::default()
    };
    let error = greenroom::Server::start(config).await.expect_err("in use").to_string();
    assert!(error.contains(&addr.port().to_string()) && error.contains("--http-bind"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_pages_may_embed_ours() {
    let server = Fixture::with(|c| c.http.embed = vec!["https://shop.example".into()]).await;
    let (_, head, _) = server.get("/", "").await;
    assert!(head.contains("frame-ancestors 'self' https://shop.example\r\n"), "{head}");
    for bad in ["shop.example", "https://", "https://a;script-src *", "https://a b"] {
        let mut config = greenroom::config::Config::default();
        config.http.embed = vec![bad.into()];
        assert!(config.check().is_err(), "{bad}");
    }
}
