//! Gifts: the room's decision before the ledger, and the show after it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::economy::{self, GiftContent, GiftOrder, GiftReceipt, GiftTarget, HostShare};
use crate::protocol::{
    self, Answer, Code, Event, FxCombo, GiftCatalog, GiftCombo, GiftId, GiftInfo, GiftKind,
    GiftSend, GiftTo, GuestState, Person, Refusal, UserId,
};

use super::{Effect, GiftAsk, ReplyTo, Room};

/// A Combo ends this long after its last gift.
const COMBO_MS: u64 = 3_000;

/// A Combo on the screen.
#[derive(Debug)]
struct Combo {
    from: Person,
    to: UserId,
    seat: u8,
    gift: GiftId,
    price: i64,
    n: u64,
    close_at: u64,
    news: bool,
}

/// The Combos that run.
#[derive(Debug, Default)]
pub(super) struct Combos {
    open: BTreeMap<String, Combo>,
}

impl Combos {
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.open.values().map(|combo| combo.close_at).min()
    }

    pub(super) fn has_news(&self) -> bool {
        self.open.values().any(|combo| combo.news)
    }

    /// What changed, the dearest first, within `budget` bytes; the rest waits for the next frame.
    pub(super) fn frame(&mut self, budget: usize) -> Vec<FxCombo> {
        let mut news: Vec<_> = self.open.iter_mut().filter(|(_, combo)| combo.news).collect();
        news.sort_by_key(|(_, combo)| {
            std::cmp::Reverse(i128::from(combo.price) * i128::from(combo.n))
        });
        let mut left = budget;
        let mut frame = Vec::new();
        for (id, combo) in news {
            // Names are at most 64 code points of up to 6 bytes in JSON; numbers fit in 60 bytes.
            let name = serde_json::to_string(&combo.from.name).map_or(400, |name| name.len());
            let size = id.len() + name + combo.gift.as_str().len() + 60;
            if size > left {
                continue;
            }
            left -= size;
            combo.news = false;
            let (id, name, gift) = (id.clone(), combo.from.name.clone(), combo.gift.clone());
            frame.push((id, name, 0, combo.seat, gift, combo.n, 0));
        }
        frame
    }
}

impl Room {
    pub(super) fn gift_catalog(&self) -> Answer {
        let gift = |gift: &economy::Gift| {
            GiftId::new(gift.id).ok().map(|id| GiftInfo {
                id,
                name: gift.name.into(),
                coins: gift.coins,
                kind: gift.kind,
                tier: gift.tier,
                effect: gift.effect.into(),
            })
        };
        let gifts = self.catalogue.gifts.iter().filter_map(gift).collect();
        Answer::GiftCatalog(GiftCatalog { version: self.catalogue.version, gifts })
    }

    pub(super) fn gift_send(&mut self, to: ReplyTo, user: &UserId, gift: &GiftSend) -> Vec<Effect> {
        if let Some(person) = self.people.get_mut(user)
            && let Err(wait) = person.gifts.take(self.now, self.gift_pace)
        {
            let refusal = Refusal::new(Code::RateLimited).retry_after(wait);
            return vec![Effect::Reply { to, result: Err(refusal) }];
        }
        let decision = self.judge_gift(user, gift);
        let content = GiftContent {
            room: self.id.as_str().into(),
            gift: gift.gift_id.as_str().into(),
            price: gift.price,
            count: gift.count,
            to: match &gift.to {
                GiftTo::Seat(seat) => GiftTarget::Seat(*seat),
                GiftTo::User(user) => GiftTarget::User(user.as_str().into()),
            },
        };
        let (recipient, verdict) = match decision {
            Ok(recipient) => (recipient, Ok(())),
            Err(refusal) => (Recipient::default(), Err(refusal)),
        };
        let order = GiftOrder {
            key: gift.key.as_str().into(),
            from: user.as_str().into(),
            content,
            to_user: recipient.user,
            seat: recipient.seat,
            combo: recipient.combo,
            attempt: recipient.attempt,
            host_share: (recipient.share_bps > 0).then(|| HostShare {
                host: self.host.user.as_str().into(),
                bps: recipient.share_bps,
            }),
        };
        vec![Effect::Gift(Box::new(GiftAsk { to, order, verdict }))]
    }

    /// The room's turn: it also decides what came first, this gift or the recipient's leaving.
    fn judge_gift(&self, user: &UserId, gift: &GiftSend) -> Result<Recipient, Refusal> {
        if !self.people.get(user).is_some_and(|person| person.who.adult) {
            return Err(Code::AdultRequired.into());
        }
        self.show_is_on()?;
        let recipient = self.recipient(&gift.to).ok_or(Code::RecipientGone)?;
        if recipient.user == user.as_str() {
            return Err(Code::RecipientIsSender.into());
        }
        let item = self.catalogue.at_price(gift.gift_id.as_str(), gift.price)?;
        Ok(Recipient { combo: item.kind == GiftKind::Combo, ..recipient })
    }

    fn recipient(&self, to: &GiftTo) -> Option<Recipient> {
        let host = match to {
            GiftTo::Seat(seat) => *seat == 0,
            GiftTo::User(user) => self.is_host(user),
        };
        if host {
            return Some(Recipient {
                user: self.host.user.as_str().into(),
                ..Recipient::default()
            });
        }
        let attempt = self.stage.seated().into_iter().find(|a| match to {
            GiftTo::Seat(seat) => a.seat == Some(*seat),
            GiftTo::User(user) => a.user == *user,
        })?;
        if attempt.state == GuestState::Connecting && attempt.resume_to.is_none() {
            return None;
        }
        Some(Recipient {
            user: attempt.user.as_str().into(),
            seat: attempt.seat?,
            combo: false,
            attempt: Some(attempt.id.as_str().into()),
            share_bps: attempt.share_bps,
        })
    }

    /// The ledger has spoken: answer, then show. Never the other way round.
    pub(super) fn gift_done(
        &mut self,
        ask: &GiftAsk,
        result: Result<GiftReceipt, Refusal>,
    ) -> Vec<Effect> {
        let to = ask.to;
        let receipt = match result {
            Ok(receipt) => receipt,
            Err(refusal) => return vec![Effect::Reply { to, result: Err(refusal) }],
        };
        self.out.push(Effect::Reply { to, result: Ok(stored(&receipt)) });
        if !receipt.replayed {
            let host = ask.order.host_share.as_ref().map(|share| share.host.as_str());
            let moved = [Some(ask.order.from.as_str()), Some(ask.order.to_user.as_str()), host];
            let users = moved.into_iter().flatten().filter_map(|user| UserId::new(user).ok());
            self.pulse.wallets.extend(users);
            self.show_gift(&ask.order, &receipt);
        }
        Vec::new()
    }

    fn show_gift(&mut self, order: &GiftOrder, receipt: &GiftReceipt) {
        let ids = (UserId::new(&order.from), UserId::new(&order.to_user));
        let (Ok(from), Ok(to)) = ids else { return };
        let Ok(gift) = GiftId::new(&order.content.gift) else { return };
        let price = order.content.price;
        let coins = u64::try_from(price).unwrap_or(0) * u64::from(order.content.count);
        self.coins = self.coins.saturating_add(coins);
        let score = self.scores.entry(from.clone()).or_default();
        *score = score.saturating_add(coins);
        let combo = Combo {
            from: self.person(&from),
            to: to.clone(),
            seat: order.seat,
            gift,
            price,
            n: receipt.combo_total,
            close_at: self.now + COMBO_MS,
            news: true,
        };
        let here = self.is_host(&to) || self.stage.is_seated(&to);
        if !order.combo || !here {
            // Shown once: a single gift, or one whose recipient has just left.
            self.combos.open.remove(&receipt.combo);
            return self.tell_combo(receipt.combo.clone(), combo, true);
        }
        let n = self.combos.open.get(&receipt.combo).map_or(0, |open| open.n);
        let combo = Combo { n: combo.n.max(n), ..combo };
        self.combos.open.insert(receipt.combo.clone(), combo);
    }

    fn tell_combo(&mut self, combo_id: String, combo: Combo, end: bool) {
        let coins = u64::try_from(combo.price).unwrap_or(0).saturating_mul(combo.n);
        let to = protocol::GiftTarget { user: combo.to, seat: combo.seat };
        let (from, gift_id, n) = (combo.from, combo.gift, combo.n);
        self.tell_all(Event::GiftCombo(GiftCombo { combo_id, from, to, gift_id, n, coins, end }));
    }

    pub(super) fn close_combos(&mut self) {
        let now = self.now;
        self.close_combos_where(|combo| combo.close_at <= now);
    }

    pub(super) fn close_combos_to(&mut self, user: &UserId) {
        self.close_combos_where(|combo| combo.to == *user);
    }

    pub(super) fn close_all_combos(&mut self) {
        self.close_combos_where(|_| true);
    }

    fn close_combos_where(&mut self, which: impl Fn(&Combo) -> bool) {
        let open = std::mem::take(&mut self.combos.open);
        for (id, combo) in open {
            if which(&combo) {
                self.tell_combo(id, combo, true);
            } else {
                self.combos.open.insert(id, combo);
            }
        }
    }
}

/// Who gets a gift, as decided at this moment.
#[derive(Debug, Default)]
struct Recipient {
    user: String,
    seat: u8,
    combo: bool,
    attempt: Option<String>,
    share_bps: u16,
}

/// The stored reply, byte for byte.
pub(super) fn stored(receipt: &GiftReceipt) -> Answer {
    let text = std::str::from_utf8(&receipt.reply).ok().map(str::to_owned);
    match text.and_then(|text| RawValue::from_string(text).ok()) {
        Some(raw) => Answer::Stored(raw),
        None => Answer::GiftReceipt(protocol::GiftReceipt {
            transfer_id: receipt.transfer.clone(),
            balance: receipt.balance,
            combo_id: receipt.combo.clone(),
            combo_total: receipt.combo_total,
        }),
    }
}
