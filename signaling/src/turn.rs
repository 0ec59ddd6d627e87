//! A TURN server of the operator's, handed to clients whose network lets nothing else through.
//!
//! Credentials are the short-lived ones of draft-uberti-behave-turn-rest-00, which coturn checks with
//! `use-auth-secret`: the server knows the secret, so nothing has to be told to it about anybody.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::{IceServer, UserId};

/// Which TURN servers clients get, and how their passwords are made. Has no `Debug`: a key is not to be
/// logged.
#[derive(Clone)]
pub struct Turn {
    urls: Vec<String>,
    key: hmac::Key,
    ttl_s: u64,
}

impl Turn {
    /// Servers that share `secret`, with credentials that are good for `ttl_s` seconds.
    #[must_use]
    pub fn new(urls: Vec<String>, secret: &str, ttl_s: u64) -> Self {
        // The draft knows no other hash. HMAC does not need SHA-1 to be free of collisions (RFC 6194
        // section 3.3).
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        Self { urls, key, ttl_s }
    }

    /// What a person is told at `now_s` seconds since the epoch: user name `<expiry>:<user>`, and as
    /// password the Base64 of its HMAC-SHA-1 under the secret (section 2.2 of the draft).
    #[must_use]
    pub fn ice_server(&self, user: &UserId, now_s: u64) -> IceServer {
        let username = format!("{}:{user}", now_s.saturating_add(self.ttl_s));
        let credential = STANDARD.encode(hmac::sign(&self.key, username.as_bytes()));
        IceServer {
            urls: self.urls.clone(),
            username: Some(username),
            credential: Some(credential),
        }
    }
}

/// Whether this is a TURN URI that browsers take (RFC 7065 section 3.1):
/// `turn:host`, `turns:host:443`, `turn:[2001:db8::1]:3478?transport=tcp`.
#[must_use]
pub fn is_turn_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("turn:").or_else(|| url.strip_prefix("turns:")) else {
        return false;
    };
    let (authority, transport) = rest.split_once("?transport=").unwrap_or((rest, "udp"));
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            if !port.parse::<u16>().is_ok_and(|port| port > 0) {
                return false;
            }
            host
        }
        _ => authority,
    };
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match literal {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
            !host.is_empty() && host.bytes().all(plain)
        }
    };
    is_host && matches!(transport, "udp" | "tcp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(secret: &str, ttl_s: u64, user: &str, now_s: u64) -> (String, String) {
        let turn = Turn::new(vec!["turn:turn.example".to_owned()], secret, ttl_s);
        let server = turn.ice_server(&UserId::new(user).expect("an id"), now_s);
        assert_eq!(server.urls, ["turn:turn.example"]);
        (server.username.expect("a name"), server.credential.expect("a password"))
    }

    /// The passwords are what `printf NAME | openssl dgst -sha1 -hmac SECRET -binary | base64` prints.
    #[test]
    fn credentials_are_those_that_coturn_expects() {
        for (secret, ttl_s, user, now_s, name, password) in KNOWN {
            let known = (name.to_owned(), password.to_owned());
            assert_eq!(server(secret, ttl_s, user, now_s), known);
        }
    }

    #[test]
    fn another_secret_person_or_time_is_another_password() {
        let (_, password) = server("secret", 60, "ann", 1000);
        for (secret, user, now_s) in
            [("secret2", "ann", 1000), ("secret", "bob", 1000), ("secret", "ann", 1001)]
        {
            assert_ne!(server(secret, 60, user, now_s).1, password);
        }
    }

    #[test]
    fn turn_urls() {
        for url in [
            "turn:turn.example",
            "turn:turn.example:3478",
            "turns:turn.example:443?transport=tcp",
            "turn:192.0.2.7:3478?transport=udp",
            "turn:[2001:db8::1]",
            "turns:[2001:db8::1]:65535?transport=tcp",
        ] {
            assert!(is_turn_url(url), "{url}");
        }
        for url in [
            "",
            "turn:",
            "turn.example",
            "stun:turn.example",
            "https://turn.example",
            "turn://turn.example",
            "turn:turn.example:",
            "turn:turn.example:0",
            "turn:turn.example:65536",
            "turn:turn.example?transport=tls",
            "turn:turn.example?transport=",
            "turn:turn.example?foo=tcp",
            "turn:user@turn.example",
            "turn:2001:db8::1",
            "turn:[2001:db8::x]",
            "turn:[2001:db8::1",
            "turn:a b",
            "turn:a>; rel=\"x\"",
        ] {
            assert!(!is_turn_url(url), "{url}");
        }
    }

    type Known = (&'static str, u64, &'static str, u64, &'static str, &'static str);
    const KNOWN: [Known; 3] = [
        ("north", 86400, "u_42", 0, "86400:u_42", "eiaCJSg4OBZ45p6Xw+WbBQjRVzk="),
        (
            "correct horse battery staple",
            86400,
            "u_42",
            1795340000,
            "1795426400:u_42",
            "TtZeWiKcEOl1Ov71kCDsFqkrxYY=",
        ),
        (
            "north",
            60,
            "A-Za-z0-9_-",
            1795340000,
            "1795340060:A-Za-z0-9_-",
            "Wp4vxIcIKhEvAY1OaZVz3/N700s=",
        ),
    ];
}
