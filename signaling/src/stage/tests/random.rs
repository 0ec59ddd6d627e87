//! Random sequences with a running clock: cool-downs, two tabs and all timers together.

use proptest::prelude::*;

use super::*;
use StageCommand as C;

#[derive(Debug, Clone)]
struct Move {
    who: u8,
    what: u8,
    wait_ms: u64,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let wait = prop_oneof![Just(0), 1_u64..5_000, 5_000_u64..700_000];
    let one =
        (0_u8..4, 0_u8..22, wait).prop_map(|(who, what, wait_ms)| Move { who, what, wait_ms });
    prop::collection::vec(one, 1..120)
}

fn command(show: &Show, who: u8, what: u8, fresh: u32) -> StageCommand {
    let name = user(&format!("u{who}"));
    let fresh = guest(&format!("g{fresh}"));
    let id = show.stage.attempt_of(&name).map_or_else(|| fresh.clone(), |a| a.id.clone());
    let token = show.stage.attempt_of(&name).and_then(|a| a.token).unwrap_or([0; 32]);
    let (facts, media, note) = (Facts::GOOD, GuestMedia::Av, String::new());
    let next = [what; 32];
    match what {
        0 | 1 => C::Request { user: name, id: fresh, facts, media, note, token: next },
        2 | 3 => C::Invite { user: name, id: fresh, facts, seat: None, media: None, token: next },
        4..=6 => C::Accept { user: name, id, media, rules_accepted: true, token: next },
        7 => C::Approve { id, token: next },
        8 => C::Deny { id },
        9 => C::Decline { user: name, id },
        10 | 11 => C::MediaReady { user: name },
        12 => C::Lost { user: name },
        13 => C::Resume { user: name, id, token, next },
        14 => C::TakeOver { user: name, next },
        15 => C::Leave { user: name },
        16 => C::Remove { id },
        17 => C::Mute { id, kinds: AUDIO, hard: true },
        18 => C::GoLive { id },
        19 => C::Backstage { id },
        20 => C::SocketLost { user: name },
        _ => C::Back { user: name },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_seats_grants_and_cool_downs(moves in moves(), backstage: bool) {
        let mut show = Show::new(GuestPolicy { seats: 2, backstage, ..GuestPolicy::default() });
        let mut denied_at = std::collections::HashMap::new();
        let mut fresh = 0;
        for Move { who, what, wait_ms } in moves {
            show.pass(wait_ms);
            fresh += 1;
            let old = show.stage.attempt_of(&user(&format!("u{who}"))).and_then(|a| a.token);
            let command = command(&show, who, what, fresh);
            let result = show.ask(command.clone());
            match (&command, &result) {
                (C::Deny { .. }, Ok(_)) => {
                    denied_at.insert(who, show.now);
                }
                (C::Request { .. }, Ok(StageReply::Opened { .. })) => {
                    let at = denied_at.get(&who);
                    prop_assert!(at.is_none_or(|at| show.now >= at + 30_000), "asked too soon");
                }
                (C::TakeOver { user, next }, Ok(_)) if old != Some(*next) => {
                    // The first tab's token is dead.
                    let token = old.unwrap_or([0; 32]);
                    let id = show.stage.attempt_of(user).expect("seated").id.clone();
                    let stale = C::Resume { user: user.clone(), id, token, next: [99; 32] };
                    prop_assert_eq!(show.ask(stale), Err(Code::ResumeInvalid));
                }
                _ => {}
            }
            let mut seats = show.seats_taken();
            prop_assert!(seats.len() <= 2);
            seats.dedup();
            prop_assert_eq!(seats.len(), show.stage.seated().len(), "one guest a seat");
            prop_assert!(show.stage.next_deadline().is_none_or(|at| at > show.now));
        }
        // Left alone and without media, every seat becomes free.
        for name in ["u0", "u1", "u2", "u3"] {
            let _ = show.ask(C::Lost { user: user(name) });
        }
        show.pass(3_600_000);
        prop_assert_eq!(show.stage.attempts().count(), 0);
    }
}
