use crate::protocol::*;

fn code(text: &str) -> Option<Code> {
    match Envelope::parse(text) {
        Err(error) => Some(error.refusal.code),
        Ok(envelope) => envelope.command().err().map(|refusal| refusal.code),
    }
}

fn chat(text: &str) -> String {
    format!(r#"{{"id":1,"type":"chat.send","data":{{"key":"k","text":"{text}"}}}}"#)
}

#[test]
fn sizes_at_the_limit_and_one_past_it() {
    let ping = r#"{"id":1,"type":"ping","data":{}}"#;
    let pad = |bytes: usize| format!("{ping}{}", " ".repeat(bytes - ping.len()));
    assert_eq!(code(&pad(MESSAGE_BYTES)), None);
    assert_eq!(code(&pad(MESSAGE_BYTES + 1)), Some(Code::TooLarge));
    let offer = r#"{"id":1,"type":"media.offer","data":{"sdp":"v=0"}}"#;
    let pad = |bytes: usize| format!("{offer}{}", " ".repeat(bytes - offer.len()));
    assert_eq!(code(&pad(SDP_MESSAGE_BYTES)), None);
    assert_eq!(code(&pad(SDP_MESSAGE_BYTES + 1)), Some(Code::TooLarge));
}

#[test]
fn depth_at_the_limit_and_one_past_it() {
    let nested = |n: usize| {
        format!(r#"{{"id":5,"type":"ping","data":{{}},"x":{}{}}}"#, "[".repeat(n), "]".repeat(n))
    };
    assert_eq!(code(&nested(DEPTH - 1)), None);
    let error = Envelope::parse(&nested(DEPTH)).expect_err("too deep");
    assert_eq!((error.id, error.refusal.code), (Some(5), Code::BadRequest));
    assert_eq!(depth(br#""[[[[[\"[[[""#), 0, "brackets in strings do not nest");
    assert_eq!(code(&"[".repeat(60_000)), Some(Code::BadRequest));
}

#[test]
fn texts_and_numbers_at_the_limit_and_one_past_it() {
    assert_eq!(code(&chat(&"é".repeat(CHAT_LEN))), None);
    assert_eq!(code(&chat(&"é".repeat(CHAT_LEN + 1))), Some(Code::TooLarge));
    assert_eq!(code(&chat("   ")), Some(Code::BadRequest));
    let like = |n: i64| format!(r#"{{"id":1,"type":"like","data":{{"n":{n}}}}}"#);
    assert_eq!(code(&like(i64::from(LIKES))), None);
    assert_eq!(code(&like(i64::from(LIKES) + 1)), Some(Code::LimitExceeded));
    assert_eq!(code(&like(0)), Some(Code::LimitExceeded));
    assert_eq!(code(&like(-1)), Some(Code::BadRequest));
    let mute = r#"{"id":1,"type":"media.mute","data":{"kinds":[],"on":true}}"#;
    assert_eq!(code(mute), Some(Code::BadRequest));
}

#[test]
fn tiles_and_seats_at_the_limit_and_one_past_it() {
    let prefer = |seat: u32, w: i64, h: i64| {
        let data = format!(r#"{{"seat":{seat},"w":{w},"h":{h}}}"#);
        code(&format!(r#"{{"id":1,"type":"layer.prefer","data":{data}}}"#))
    };
    let side = i64::from(TILE_SIDE);
    assert_eq!(prefer(9, side, side), None);
    assert_eq!(prefer(10, side, side), Some(Code::SeatNotFound));
    assert_eq!(prefer(256, side, side), Some(Code::BadRequest));
    assert_eq!(prefer(0, side + 1, 1), Some(Code::LimitExceeded));
    assert_eq!(prefer(0, 1, side + 1), Some(Code::LimitExceeded));
    assert_eq!(prefer(0, 0, 0), None, "as large as there is");
    assert_eq!(prefer(0, 0, 1), Some(Code::LimitExceeded), "nothing is that narrow");
    assert_eq!(prefer(0, -1, 1), Some(Code::BadRequest));
    let pause = |data: &str| code(&format!(r#"{{"id":1,"type":"media.pause","data":{data}}}"#));
    assert_eq!(pause(r#"{"on":true}"#), None, "all seats");
    assert_eq!(pause(r#"{"on":true,"seats":[0,1,2,3,4,5,6,7,8,9]}"#), None);
    let eleven = r#"{"on":true,"seats":[0,1,2,3,4,5,6,7,8,9,9]}"#;
    assert_eq!(pause(eleven), Some(Code::LimitExceeded));
    assert_eq!(pause(r#"{"on":true,"seats":[]}"#), Some(Code::LimitExceeded));
    assert_eq!(pause(r#"{"on":true,"seats":[10]}"#), Some(Code::SeatNotFound));
    assert_eq!(pause(r#"{"seats":[1]}"#), Some(Code::BadRequest));
}

#[test]
fn voices_at_the_limits_and_past_them() {
    let join = |top: &str| {
        code(&format!(r#"{{"id":1,"type":"room.join","data":{{"room":"r","audioTop":{top}}}}}"#))
    };
    assert_eq!([join("1"), join("9"), join("null")], [None; 3]);
    assert_eq!(join("0"), Some(Code::LimitExceeded));
    assert_eq!(join("10"), Some(Code::LimitExceeded));
    assert_eq!(join("256"), Some(Code::BadRequest));
    assert_eq!(join("-1"), Some(Code::BadRequest));
}

#[test]
fn what_is_not_a_message_is_refused_with_its_id_if_it_has_one() {
    for text in ["", "x", "[]", "7", "null", r#"{"type":"ping"}"#, r#"{"id":-1,"type":"ping"}"#] {
        let error = Envelope::parse(text).expect_err(text);
        assert_eq!((error.id, error.refusal.code), (None, Code::BadRequest), "{text}");
    }
    let error = Envelope::parse(r#"{"id":3,"type":4}"#).expect_err("no type");
    assert_eq!(error.id, Some(3));
    assert_eq!(code(r#"{"id":1,"type":"no.such"}"#), Some(Code::UnknownType));
    assert_eq!(code(r#"{"id":1,"type":"guest.cancel","data":{}}"#), Some(Code::BadRequest));
    assert_eq!(code(r#"{"id":1,"type":"ping"}"#), None, "data may be absent");
    assert_eq!(code(r#"{"id":1,"type":"ping","data":{"x":1},"y":2}"#), None, "unknown is ignored");
}

#[test]
fn ids_and_names() {
    assert!(UserId::new(&"a".repeat(64)).is_ok() && UserId::new(&"a".repeat(65)).is_err());
    for bad in ["", "a b", "ä", "a/b", "a\n"] {
        assert!(UserId::new(bad).is_err(), "{bad:?}");
    }
    assert!(Name::new(&"é".repeat(64)).is_some() && Name::new(&"é".repeat(65)).is_none());
    for bad in ["", "  ", "a\u{202e}b", "a\u{7}", "\u{200b}"] {
        assert!(Name::new(bad).is_none(), "{bad:?}");
    }
    assert_eq!(Name::clean(" a\u{202e}b\n ").as_str(), "ab");
    assert_eq!(Name::clean("\u{202e}").as_str(), "guest");
}

#[test]
fn policy_ranges_at_the_limit_and_one_past_it() {
    let policy = GuestPolicy::default();
    let seats = |seats| GuestPolicyPatch { seats: Some(seats), ..GuestPolicyPatch::default() };
    assert_eq!(policy.patched(&seats(1)).map(|p| p.seats), Ok(1));
    assert!(policy.patched(&seats(0)).is_err() && policy.patched(&seats(9)).is_err());
    let ttl = |ms| GuestPolicyPatch { invite_ttl_ms: Some(ms), ..GuestPolicyPatch::default() };
    assert!(policy.patched(&ttl(10_000)).is_ok() && policy.patched(&ttl(120_000)).is_ok());
    assert!(policy.patched(&ttl(9_999)).is_err() && policy.patched(&ttl(120_001)).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}", deep in 0_usize..200) {
        let _ = code(&text);
        let _ = code(&format!(r#"{{"id":1,"type":"gift.send","data":{text}}}"#));
        let _ = code(&format!("{}{text}", r#"{"a":["#.repeat(deep)));
    }
}
