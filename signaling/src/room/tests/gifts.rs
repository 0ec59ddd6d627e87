use bytes::Bytes;

use super::*;

fn send(show: &mut Show, conn: u64, data: &str) -> GiftAsk {
    let _ = show.ask(conn, "gift.send", data);
    let gift = show.effects.iter().find_map(|effect| match effect {
        Effect::Gift(ask) => Some((**ask).clone()),
        _ => None,
    });
    gift.expect("goes to the ledger")
}

fn gift(to: &str) -> String {
    format!(r#"{{"key":"k","giftId":"firefly","price":1,"count":2,"to":{to}}}"#)
}

fn committed(show: &mut Show, ask: GiftAsk, total: u64, replayed: bool) {
    let receipt = GiftReceipt {
        reply: Bytes::from_static(
            br#"{"transferId":"x","balance":8,"comboId":"c","comboTotal":2}"#,
        ),
        transfer: "x".into(),
        combo: "c".into(),
        combo_total: total,
        balance: 8,
        committed_at: 1,
        replayed,
    };
    show.step(Input::GiftDone { ask: Box::new(ask), result: Ok(receipt) });
}

#[test]
fn a_gift_is_shown_after_the_commit_and_its_combo_ends_once() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.pass(1_000);
    let ask = send(&mut show, 2, &gift("0"));
    assert_eq!((ask.verdict.clone(), ask.order.to_user.as_str()), (Ok(()), "host"));
    assert!(show.events().is_empty(), "nothing is shown before the commit");
    committed(&mut show, ask, 2, false);
    assert!(matches!(&show.effects[0], Effect::Reply { result: Ok(Answer::Stored(_)), .. }));
    let told = show.pass(10_000);
    let frames =
        events(&told).iter().filter(|e| matches!(e, Event::Fx(f) if f.e.len() == 1)).count();
    let ends = events(&told)
        .iter()
        .filter(|e| matches!(e, Event::GiftCombo(c) if c.end && c.n == 2))
        .count();
    assert_eq!((frames, ends), (1, 1));
    assert_eq!(show.room.coins, 2);
}

#[test]
fn the_people_of_a_gift_hear_of_their_wallets_and_nobody_else() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.viewer(3, "ben");
    show.viewer(4, "cat");
    show.ask(1, "room.update", r#"{"guest":{"guestGiftShareBps":1000}}"#).expect("updated");
    show.guest(2, "ana");
    show.pass(10_000);
    for n in 1..4 {
        let ask = send(&mut show, 3, &gift("1"));
        committed(&mut show, ask, n, false);
    }
    let told = show.pass(2_000);
    let wallets: Vec<_> = told
        .iter()
        .filter_map(|effect| match effect {
            Effect::TellWallet { conns, user } => Some((user.as_str(), conns.clone())),
            _ => None,
        })
        .collect();
    let of = |name, conn| (name, vec![ConnId(conn)]);
    assert_eq!(wallets, [of("ana", 2), of("ben", 3), of("host", 1)], "once for all three gifts");
    let ask = send(&mut show, 3, &gift("1"));
    committed(&mut show, ask, 4, true);
    let told = show.pass(2_000);
    assert!(!told.iter().any(|effect| matches!(effect, Effect::TellWallet { .. })), "a replay");
}

#[test]
fn a_repeated_key_is_answered_and_not_shown_again() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let ask = send(&mut show, 2, &gift("0"));
    committed(&mut show, ask, 2, true);
    assert!(matches!(&show.effects[0], Effect::Reply { result: Ok(_), .. }));
    assert_eq!(show.room.coins, 0);
}

#[test]
fn the_ledger_looks_for_the_key_even_if_the_room_refuses() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let code = |ask: GiftAsk| ask.verdict.expect_err("refused").code;
    assert_eq!(code(send(&mut show, 2, &gift("3"))), Code::RecipientGone);
    assert_eq!(code(send(&mut show, 2, &gift("\"ben\""))), Code::RecipientGone);
    assert_eq!(code(send(&mut show, 1, &gift("0"))), Code::RecipientIsSender);
    let dear = r#"{"key":"k","giftId":"firefly","price":2,"count":1,"to":0}"#;
    assert_eq!(code(send(&mut show, 2, dear)), Code::PriceChanged);
    let other = r#"{"key":"k","giftId":"nothing","price":2,"count":1,"to":0}"#;
    assert_eq!(code(send(&mut show, 2, other)), Code::GiftUnavailable);
    let mut minor = identity("kim", TokenRole::Viewer, &[]);
    minor.adult = false;
    show.join_as(5, minor, None, Carrier::WebSocket).expect("joins");
    assert_eq!(code(send(&mut show, 5, &gift("0"))), Code::AdultRequired);
}

#[test]
fn gift_against_leave_is_decided_by_the_rooms_order() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.viewer(3, "ben");
    show.guest(2, "ana");
    let before = send(&mut show, 3, &gift("1"));
    assert_eq!((before.verdict.clone(), before.order.to_user.as_str()), (Ok(()), "ana"));
    assert!(before.order.attempt.is_some());
    show.ask(2, "guest.leave", "{}").expect("leaves");
    let after = send(&mut show, 3, &gift("1"));
    assert_eq!(after.verdict.map_err(|r| r.code), Err(Code::RecipientGone));
    committed(&mut show, before, 2, false);
    let combo = |e: &&Event| matches!(e, Event::GiftCombo(c) if c.end);
    assert_eq!(show.events().iter().filter(|e| combo(e)).count(), 1, "paid, and shown once");
}

#[test]
fn a_combo_ends_when_its_recipient_leaves() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    show.viewer(3, "ben");
    show.guest(2, "ana");
    let ask = send(&mut show, 3, &gift("1"));
    committed(&mut show, ask, 2, false);
    show.ask(2, "guest.leave", "{}").expect("leaves");
    assert!(show.events().iter().any(|e| matches!(e, Event::GiftCombo(c) if c.end)));
}

#[test]
fn the_gifts_channel_speaks_the_same_json() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let watch = show.room.conns[&ConnId(2)].watch.expect("watches");
    let text = format!(r#"{{"id":9,"type":"gift.send","data":{}}}"#, gift("0"));
    show.media(watch, MediaEvent::Data(Channel::Gifts, Bytes::from(text)));
    assert!(show.effects.iter().any(|e| {
        matches!(e, Effect::Gift(ask) if ask.to.via == Via::Gifts(watch) && ask.to.id == 9)
    }));
    let ping = Bytes::from_static(br#"{"id":8,"type":"ping","data":{}}"#);
    show.media(watch, MediaEvent::Data(Channel::Gifts, ping));
    assert!(show.effects.iter().any(|e| {
        matches!(e, Effect::Reply { to, result: Ok(Answer::Pong(pong)) }
            if to.via == Via::Gifts(watch) && to.id == 8 && pong.ts == show.now)
    }));
    let wrong = Bytes::from_static(br#"{"id":9,"type":"room.end","data":{}}"#);
    show.media(watch, MediaEvent::Data(Channel::Gifts, wrong));
    assert!(
        matches!(&show.effects[0], Effect::Reply { result: Err(r), .. } if r.code == Code::BadRequest)
    );
    for rubbish in [&b"\xff\xfe"[..], b"{", b"[[[[[[[[[[", b""] {
        show.media(watch, MediaEvent::Data(Channel::Gifts, Bytes::copy_from_slice(rubbish)));
        assert!(show.effects.is_empty());
    }
}

#[test]
fn gifts_have_a_rate() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    for _ in 0..20 {
        send(&mut show, 2, &gift("0"));
    }
    assert_eq!(show.ask(2, "gift.send", &gift("0")), Err(Code::RateLimited));
}

#[test]
fn a_paid_gift_is_answered_even_after_the_end() {
    let mut show = Show::live();
    show.viewer(2, "ana");
    let ask = send(&mut show, 2, &gift("0"));
    show.ask(1, "room.end", "{}").expect("ends");
    committed(&mut show, ask, 2, false);
    assert!(matches!(&show.effects[..], [Effect::Reply { result: Ok(_), .. }]));
}
