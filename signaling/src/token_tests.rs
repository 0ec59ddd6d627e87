use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn keys() -> TokenKeys {
    TokenKeys::new(SECRET).expect("32 bytes")
}

fn good() -> Value {
    json!({"aud": "greenroom", "sub": "ana", "room": "r1", "role": "viewer", "exp": NOW + 600})
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = good();
    claims[key] = value;
    claims
}

fn without(key: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().expect("an object").remove(key);
    claims
}

const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn b64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for i in 0..=chunk.len() {
            out.push(char::from(URL_SAFE[(bits >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out
}

/// Any header and payload text, signed with `secret` by plain HMAC-SHA256: what a forger who knows
/// the format, or a careless issuer who knows the secret, can make.
fn raw(header: &str, payload: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!("{message}.{}", b64(hmac::sign(&key, message.as_bytes()).as_ref()))
}

const HS256: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

fn signed(claims: &Value) -> String {
    raw(HS256, &claims.to_string(), SECRET)
}

#[test]
fn a_good_token_is_accepted() {
    let claims = keys().verify(&signed(&good()), NOW).expect("good");
    assert_eq!((claims.sub.as_str(), claims.name.as_str()), ("ana", "ana"));
    assert!(claims.covers("r1") && !claims.covers("r2"));
    assert!(!claims.adult);
    let any = keys().verify(&signed(&with("room", json!("*"))), NOW).expect("good");
    assert!(any.covers("r2"));
}

#[test]
fn sign_and_verify_agree() {
    let mut claims = Claims::new("r1", TokenRole::Host, "ana", NOW + MAX_LIFE_S);
    claims.name = "Ana".into();
    claims.adult = true;
    claims.perms = vec!["guest.manage".into()];
    claims.jti = Some("t-1".into());
    let token = keys().sign(&claims).expect("in limits");
    assert_eq!(keys().verify(&token, NOW), Ok(claims));
}

#[test]
fn a_short_secret_does_not_start() {
    let error = TokenKeys::new(&SECRET[..31]).err().expect("31 bytes");
    assert_eq!(error, ShortSecret(31));
    assert!(error.to_string().contains("31 bytes and needs at least 32"));
    assert!(TokenKeys::new(b"").is_err());
}

fn forged_signatures() -> Vec<(&'static str, String)> {
    let payload = good().to_string();
    let token = signed(&good());
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (header, body) = message.split_once('.').expect("three parts");
    let evil = with("role", json!("admin")).to_string();
    let public_key_as_secret = b"-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEF\n";
    vec![
        ("empty", String::new()),
        ("dots", "..".into()),
        ("no signature", format!("{message}.")),
        ("two parts", message.into()),
        ("four parts", format!("{token}.{signature}")),
        ("five parts (JWE)", format!("{token}.a.b")),
        ("leading dot", format!(".{token}")),
        ("space in front", format!(" {token}")),
        ("line feed behind", format!("{token}\n")),
        ("bearer in front", format!("Bearer {token}")),
        ("padded base64", format!("{token}=")),
        ("signature cut", token[..token.len() - 4].into()),
        ("other payload, old signature", format!("{header}.{}.{signature}", b64(evil.as_bytes()))),
        ("other secret", raw(HS256, &payload, b"fedcba9876543210fedcba9876543210")),
        ("empty secret", raw(HS256, &payload, b"")),
        ("a public key as secret", raw(HS256, &payload, public_key_as_secret)),
        ("header not JSON", raw("alg=HS256", &payload, SECRET)),
        ("header empty", raw("", &payload, SECRET)),
        ("header a list", raw(r#"["HS256"]"#, &payload, SECRET)),
        ("not base64", format!("{header}.%%%.{signature}")),
        ("payload swapped with header", format!("{body}.{header}.{signature}")),
    ]
}

fn forged_headers() -> Vec<(&'static str, String)> {
    let payload = good().to_string();
    let alg = |name: &str| raw(&format!(r#"{{"typ":"JWT","alg":"{name}"}}"#), &payload, SECRET);
    let unsigned = |name: &str| {
        format!("{}.{}.", b64(format!(r#"{{"alg":"{name}"}}"#).as_bytes()), b64(payload.as_bytes()))
    };
    vec![
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("NONE", unsigned("NONE")),
        ("none, signed", alg("none")),
        ("no alg", raw(r#"{"typ":"JWT"}"#, &payload, SECRET)),
        ("alg null", raw(r#"{"alg":null}"#, &payload, SECRET)),
        ("alg twice", raw(r#"{"alg":"none","alg":"HS256"}"#, &payload, SECRET)),
        ("hs256 in small letters", alg("hs256")),
        ("HS384", alg("HS384")),
        ("HS512", alg("HS512")),
        ("RS256", alg("RS256")),
        ("PS256", alg("PS256")),
        ("ES256", alg("ES256")),
        ("EdDSA", alg("EdDSA")),
        ("critical extension", raw(r#"{"alg":"HS256","crit":["exp"]}"#, &payload, SECRET)),
        (
            "kid into the file system, signed with that file's content",
            raw(r#"{"alg":"HS256","kid":"../../../../dev/null"}"#, &payload, b""),
        ),
        (
            "kid into a query, signed with its result",
            raw(r#"{"alg":"HS256","kid":"x' UNION SELECT 'k"}"#, &payload, b"k"),
        ),
        (
            "own key in the header",
            raw(r#"{"alg":"HS256","jwk":{"kty":"oct","k":"a2s"}}"#, &payload, b"kk"),
        ),
    ]
}

fn bad_claims() -> Vec<(&'static str, String)> {
    let text = |name, payload: &str| (name, raw(HS256, payload, SECRET));
    let claims = |name, claims: Value| (name, signed(&claims));
    vec![
        text("no JSON", "exp"),
        text("a list", "[]"),
        text("null", "null"),
        text(
            "exp 1e400",
            r#"{"aud":"greenroom","sub":"a","room":"r","role":"viewer","exp":1e400}"#,
        ),
        text(
            "exp twice",
            r#"{"aud":"greenroom","sub":"a","room":"r","role":"viewer","exp":1,"exp":1800000600}"#,
        ),
        text(
            "role twice",
            r#"{"aud":"greenroom","sub":"a","room":"r","role":"viewer","role":"admin","exp":1800000600}"#,
        ),
        claims("no exp", without("exp")),
        claims("textual exp", with("exp", json!((NOW + 600).to_string()))),
        claims("exp null", with("exp", json!(null))),
        claims("exp a list", with("exp", json!([NOW + 600]))),
        claims("exp an object", with("exp", json!({}))),
        claims("exp true", with("exp", json!(true))),
        claims("exp negative", with("exp", json!(-1))),
        claims("exp in the far future", with("exp", json!(u64::MAX))),
        claims("lives too long", with("exp", json!(NOW + MAX_LIFE_S + CLOCK_SKEW_S + 1))),
        claims("textual nbf", with("nbf", json!("0"))),
        claims("not yet", with("nbf", json!(NOW + CLOCK_SKEW_S + 1))),
        claims("no aud", without("aud")),
        claims("other aud", with("aud", json!("elsewhere"))),
        claims("aud null", with("aud", json!(null))),
        claims("aud 1", with("aud", json!(1))),
        claims("aud empty", with("aud", json!(""))),
        claims("aud of nobody", with("aud", json!([]))),
        claims("no sub", without("sub")),
        claims("sub 1", with("sub", json!(1))),
        claims("sub empty", with("sub", json!(""))),
        claims("sub a path", with("sub", json!("../ana"))),
        claims("sub with NUL", with("sub", json!("ana\u{0}"))),
        claims("sub too long", with("sub", json!("a".repeat(65)))),
        claims("no room", without("room")),
        claims("room null", with("room", json!(null))),
        claims("room a list", with("room", json!(["r1", "*"]))),
        claims("room with a star in it", with("room", json!("r*"))),
        claims("no role", without("role")),
        claims("guest", with("role", json!("guest"))),
        claims("Host", with("role", json!("Host"))),
        claims("owner", with("role", json!("owner"))),
        claims("role a list", with("role", json!(["viewer", "admin"]))),
        claims("perms a text", with("perms", json!("guest.manage"))),
        claims("33 perms", with("perms", json!(vec!["p"; 33]))),
        claims("textual adult", with("adult", json!("true"))),
        claims("huge", with("name", json!("x".repeat(MAX_TOKEN)))),
    ]
}

/// Hardening: >= 40 forged tokens, one shape of answer.
#[test]
fn forged_tokens_are_all_refused_alike() {
    let all: Vec<_> =
        forged_signatures().into_iter().chain(forged_headers()).chain(bad_claims()).collect();
    assert!(all.len() >= 40, "{}", all.len());
    for (name, token) in all {
        let answer = keys().verify(&token, NOW);
        assert_eq!(answer, Err(TokenRefusal::Unauthenticated), "{name}");
    }
}

#[test]
fn a_header_that_names_a_key_changes_nothing() {
    let header = r#"{"alg":"HS256","kid":"../../etc/passwd","jku":"https://evil.example/keys"}"#;
    assert!(keys().verify(&raw(header, &good().to_string(), SECRET), NOW).is_ok());
}

#[test]
fn expiry_is_exact_and_only_said_of_good_tokens() {
    let token = signed(&good());
    assert!(keys().verify(&token, NOW + 599).is_ok());
    assert_eq!(keys().verify(&token, NOW + 600), Err(TokenRefusal::Expired));
    assert_eq!(keys().verify(&token, u64::MAX), Err(TokenRefusal::Expired));
    let forged = raw(HS256, &good().to_string(), b"fedcba9876543210fedcba9876543210");
    assert_eq!(keys().verify(&forged, NOW + 600), Err(TokenRefusal::Unauthenticated));
    let wrong = signed(&with("aud", json!("elsewhere")));
    assert_eq!(keys().verify(&wrong, NOW + 600), Err(TokenRefusal::Unauthenticated));
}

#[test]
fn life_is_limited_at_the_time_of_the_check() {
    let token = signed(&with("exp", json!(NOW + 7200)));
    assert!(keys().verify(&token, NOW).is_err());
    assert!(keys().verify(&token, NOW + 3600).is_ok());
    assert!(keys().with_max_life(u64::MAX).verify(&token, NOW).is_ok());
}

#[test]
fn issuer_and_audience_when_configured() {
    let keys = keys().with_issuer("shop").with_audience("live");
    let claims = |iss: Value, aud: &str| {
        let mut claims = with("iss", iss);
        claims["aud"] = json!(aud);
        signed(&claims)
    };
    assert!(keys.verify(&claims(json!("shop"), "live"), NOW).is_ok());
    assert!(keys.verify(&claims(json!("shop"), "greenroom"), NOW).is_err());
    assert!(keys.verify(&claims(json!("other"), "live"), NOW).is_err());
    assert!(keys.verify(&signed(&with("aud", json!("live"))), NOW).is_err());
}

#[test]
fn other_algorithms_with_the_right_secret_are_refused() {
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let key = EncodingKey::from_secret(SECRET);
        let token = jsonwebtoken::encode(&Header::new(algorithm), &good(), &key).expect("signs");
        assert_eq!(keys().verify(&token, NOW), Err(TokenRefusal::Unauthenticated));
    }
}

#[test]
fn names_and_avatars_are_data() {
    assert_eq!(clean_name(" Ana\r\n\t <b>  B\u{202e}c\u{0} "), "Ana <b> Bc");
    assert_eq!(clean_name(&"é".repeat(10_000)).chars().count(), MAX_NAME);
    for (avatar, kept) in [("https://a.example/x.png", true), ("javascript:alert(1)", false)] {
        let claims = keys().verify(&signed(&with("avatar", json!(avatar))), NOW).expect("good");
        assert_eq!(claims.avatar.is_some(), kept);
    }
}

#[test]
fn claims_out_of_limits_are_not_signed() {
    for (room, sub) in [("", "ana"), ("r1", ""), ("r 1", "ana"), ("r1", "a/b")] {
        let claims = Claims::new(room, TokenRole::Viewer, sub, NOW + 60);
        assert_eq!(keys().sign(&claims), Err(TokenRefusal::Unauthenticated));
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(token in ".{0,200}", now in any::<u64>()) {
        prop_assert!(keys().verify(&token, now).is_err());
    }

    #[test]
    fn one_changed_byte_is_enough(position in any::<prop::sample::Index>(), flip in 1..=127_u8) {
        let token = signed(&good());
        let mut bytes = token.clone().into_bytes();
        let at = position.index(bytes.len());
        bytes[at] = (bytes[at] ^ flip) & 0x7f;
        prop_assume!(bytes != token.as_bytes());
        let changed = String::from_utf8(bytes).expect("ASCII");
        // The last character of unpadded base64 carries bits that no byte uses; a decoder that
        // ignored them would still see the same token, so only the claims must be the same.
        if let Ok(claims) = keys().verify(&changed, NOW) {
            prop_assert_eq!(Ok(claims), keys().verify(&token, NOW));
        }
    }
}
