//! Text of clients beside SDP: commands, tokens, trickled candidates.

use std::sync::OnceLock;

use greenroom::rtp::sdp::{Fragment, MAX_SDP_BYTES};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use signaling::protocol::{Command, DEPTH, Envelope, Reply, SDP_MESSAGE_BYTES, depth};
use signaling::token::{AUDIENCE, Claims, MAX_LIFE_S, MAX_NAME, MAX_TOKEN, TokenKeys, clean_name};

/// A message on the WebSocket or on a data channel: a command within its limits, which means the same when it is
/// written again, or a refusal that can be sent.
pub fn command(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let envelope = match Envelope::parse(text) {
        Ok(envelope) => envelope,
        Err(error) => {
            let reply = Reply::new(error.id.unwrap_or(0), Err(error.refusal)).to_json();
            assert!(reply.contains("\"code\":"), "{reply}");
            return;
        }
    };
    assert!(text.len() <= SDP_MESSAGE_BYTES && depth(data) <= DEPTH);
    match envelope.command() {
        Ok(command) => {
            assert_eq!(command.kind(), envelope.kind);
            let written = serde_json::to_value(&command).expect("a command can be written");
            let fields = written["data"].to_string();
            let again = Command::parse(command.kind(), &fields).expect("and read again");
            assert_eq!(again, command);
        }
        Err(refusal) => {
            let reply = Reply::new(envelope.id, Err(refusal)).to_json();
            assert!(reply.contains("\"code\":"), "{reply}");
            assert!(reply.len() <= 8 * (text.len() + 128), "a refusal much larger than its cause");
        }
    }
}

/// When tokens are looked at, seconds since 1970.
const NOW_S: u64 = 1_700_000_000;
const SECRET: [u8; 32] = [7; 32];

fn keys() -> &'static TokenKeys {
    static KEYS: OnceLock<TokenKeys> = OnceLock::new();
    KEYS.get_or_init(|| TokenKeys::new(&SECRET).expect("32 bytes"))
}

/// A stranger's token, and the same text as the claims of somebody with the secret: whatever is accepted is within
/// the limits.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Nobody makes an HMAC by chance.
    assert!(keys().verify(text, NOW_S).is_err());
    let name = clean_name(text);
    assert!(name.chars().count() <= MAX_NAME && !name.contains(char::is_control));
    assert_eq!(clean_name(&name), name);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return };
    let key = EncodingKey::from_secret(&SECRET);
    let Ok(token) = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &value, &key) else {
        return;
    };
    let Ok(claims) = keys().verify(&token, NOW_S) else { return };
    check(&token, &claims);
    let again = keys().sign(&claims).expect("what was accepted can be signed");
    assert_eq!(keys().verify(&again, NOW_S).as_ref(), Ok(&claims));
}

fn check(token: &str, claims: &Claims) {
    assert!(token.len() <= MAX_TOKEN);
    assert_eq!(claims.aud, AUDIENCE);
    assert!(NOW_S < claims.exp && claims.exp <= NOW_S + MAX_LIFE_S + 60);
    assert!(claims.nbf.is_none_or(|nbf| nbf <= NOW_S + 60));
    let is_id = |text: &str| (1..=64).contains(&text.len()) && text.is_ascii();
    assert!(is_id(&claims.sub) && is_id(&claims.room));
    assert!(!claims.name.is_empty() && claims.name.chars().count() <= MAX_NAME.max(64));
    assert!(claims.avatar.as_ref().is_none_or(|url| url.starts_with("https://")));
}

/// The body of a `PATCH`.
pub fn fragment(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(fragment) = Fragment::parse(text) else { return };
    assert!(text.len() <= MAX_SDP_BYTES);
    assert!(fragment.ufrag.is_some() || fragment.candidates > 0 || fragment.end_of_candidates);
    if let Some((ufrag, password)) = &fragment.credentials {
        assert_eq!(fragment.ufrag.as_ref(), Some(ufrag));
        // RFC 8839 5.4.
        assert!((4..=256).contains(&ufrag.len()) && (22..=256).contains(&password.len()));
        let fine =
            |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_=".contains(&b));
        assert!(fine(ufrag) && fine(password));
    }
}
