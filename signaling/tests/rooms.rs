//! The rooms' shell with a real store and a scripted media plane: what crosses rooms, and money.

#![expect(clippy::disallowed_methods, reason = "tests are a shell")]

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use signaling::limits::Limits;
use signaling::media::{
    AddressedMediaEvent, MediaAnswer, MediaCommand, MediaEvent, MediaHandle, MediaKind, TransportId,
};
use signaling::protocol::{
    Answer, Code, Command, Empty, GuestMedia, GuestRef, GuestRequest, MediaOffer, Name, Refusal,
    RoomId, RoomStart, RulesAccept, TokenRole, UserId,
};
use signaling::room::{Carrier, Identity};
use signaling::rooms::{Participant, Rooms};
use signaling::store::{KeptRoom, Store};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// As much of an offer as a room reads itself: what it sends.
const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\n\
     m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\n";

/// A codec that nobody has: its section is answered rejected.
const REJECTED: &str = "a=rtpmap:96 theora/90000";

/// Rooms over a store in a folder of their own.
struct Stage {
    rooms: Rooms,
    store: Store,
    folder: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.rooms.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Answers what a room asks; whoever publishes is seen and heard at once.
async fn media_plane(
    mut commands: mpsc::Receiver<MediaCommand>,
    events: mpsc::Sender<AddressedMediaEvent>,
) {
    let mut allocated = 0;
    while let Some(command) = commands.recv().await {
        match command {
            MediaCommand::Allocate { reply } => {
                allocated += 1;
                let _ = reply.send(TransportId::new(0, allocated));
            }
            MediaCommand::OpenPublish { room, transport, sdp, reply, .. } => {
                let video = !sdp.contains(REJECTED);
                let (sdp, ice_ufrag) = ("v=0\r\n".to_owned(), "\"u\"".to_owned());
                let _ = reply.send(Ok(MediaAnswer { sdp, audio: true, video, ice_ufrag }));
                let ready = [MediaKind::Audio, MediaKind::Video].map(MediaEvent::MediaReady);
                let ready = ready.into_iter().take(1 + usize::from(video));
                for event in [MediaEvent::Connected].into_iter().chain(ready) {
                    let _ = events.send(AddressedMediaEvent { room, transport, event }).await;
                }
            }
            MediaCommand::SetSeat { done, .. } | MediaCommand::SetGate { done, .. } => {
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
            _ => {}
        }
    }
}

fn identity(user: &str, role: TokenRole) -> Identity {
    let (name, user) = (Name::clean(user), UserId::new(user).expect("id"));
    Identity { user, name, role, perms: Vec::new(), adult: true }
}

fn stage(name: &str) -> Stage {
    let folder =
        std::env::temp_dir().join(format!("greenroom-rooms-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let store = Store::open(folder.join("test.db")).expect("opens");
    let rooms = rooms_over(&store);
    Stage { rooms, store, folder }
}

fn rooms_over(store: &Store) -> Rooms {
    let (media, commands) = MediaHandle::channel();
    let (events, receiver) = mpsc::channel(64);
    let rooms = Rooms::new(media, store.clone(), Limits::default());
    tokio::spawn(rooms.clone().route(receiver));
    tokio::spawn(media_plane(commands, events));
    rooms
}

impl Stage {
    async fn enter(&self, room: &str, user: &str, role: TokenRole) -> Participant {
        let room = RoomId::new(room).expect("id");
        self.rooms.enter(&room, identity(user, role), Carrier::WebSocket).await.expect("enters")
    }

    /// A host on air.
    async fn live(&self, room: &str, user: &str) -> Participant {
        let host = self.enter(room, user, TokenRole::Host).await;
        ok(&host, Command::RoomStart(RoomStart::default())).await;
        ok(&host, Command::MediaOffer(MediaOffer { sdp: OFFER.into() })).await;
        let on_air = async {
            while !self.rooms.live().iter().any(|card| card.room.as_str() == room) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, on_air).await.expect("goes on air");
        host
    }
}

impl Stage {
    /// Wait until the store holds such a room.
    async fn kept(&self, wanted: impl Fn(&KeptRoom) -> bool) {
        let there = async {
            while !self.store.open_rooms().await.expect("reads").iter().any(&wanted) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, there).await.expect("kept");
    }

    async fn refused(&self, room: &str, user: &str, role: TokenRole) -> Code {
        let room = RoomId::new(room).expect("id");
        let entered = self.rooms.enter(&room, identity(user, role), Carrier::WebSocket).await;
        entered.expect_err("refused").code
    }
}

async fn ask(who: &Participant, command: Command) -> Result<Value, Refusal> {
    let answer: Answer = timeout(PATIENCE, who.command(command)).await.expect("answered")?;
    Ok(serde_json::to_value(answer).expect("JSON"))
}

async fn ok(who: &Participant, command: Command) -> Value {
    ask(who, command).await.expect("done")
}

async fn code(who: &Participant, command: Command) -> Code {
    ask(who, command).await.expect_err("refused").code
}

/// As a client would write it.
fn command(kind: &str, data: &str) -> Command {
    Command::parse(kind, data).expect("a command")
}

async fn request(guest: &Participant) -> GuestRef {
    ok(guest, Command::RulesAccept(RulesAccept { version: "1".into() })).await;
    let media = GuestMedia::Av;
    let opened =
        ok(guest, Command::GuestRequest(GuestRequest { media, note: String::new() })).await;
    serde_json::from_value(serde_json::json!({ "guestId": opened["guestId"] })).expect("a ref")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gift_sent_twice_is_paid_once() {
    let stage = stage("gift");
    let _host = stage.live("r1", "hana").await;
    let viewer = stage.enter("r1", "vera", TokenRole::Viewer).await;
    stage.store.ensure_starting_coins("vera", 10_000).await.expect("coins");
    let catalog = ok(&viewer, Command::GiftCatalog(Empty {})).await;
    let (id, price) = (&catalog["gifts"][0]["id"], &catalog["gifts"][0]["coins"]);
    let send = |count| {
        let data =
            format!(r#"{{"key":"k1","giftId":{id},"price":{price},"count":{count},"to":"hana"}}"#);
        command("gift.send", &data)
    };
    let receipt = ok(&viewer, send(3)).await;
    assert_eq!(ok(&viewer, send(3)).await, receipt, "the stored reply again");
    assert_eq!(code(&viewer, send(4)).await, Code::IdempotencyMismatch);
    let price = price.as_i64().expect("price");
    let wallet = ok(&viewer, Command::WalletGet(Empty {})).await;
    assert_eq!(wallet["coins"], 10_000 - 3 * price);
    assert_eq!(stage.store.wallet("hana").await.expect("wallet").diamonds, 3 * price);
    assert!(stage.store.verify().expect("reads").is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_one_seat_in_the_system() {
    let stage = stage("seat");
    let (one, two) = (stage.live("r1", "hana").await, stage.live("r2", "hugo").await);
    let here = stage.enter("r1", "gil", TokenRole::Viewer).await;
    let there = stage.enter("r2", "gil", TokenRole::Viewer).await;
    let (in_one, in_two) = (request(&here).await, request(&there).await);
    ok(&one, Command::GuestApprove(in_one)).await;
    let second = Command::GuestApprove(in_two);
    assert_eq!(code(&two, second.clone()).await, Code::BusyElsewhere);
    ok(&here, Command::GuestLeave(Empty {})).await;
    ok(&two, second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_room_gives_its_seats_back() {
    let stage = stage("end");
    let (one, two) = (stage.live("r1", "hana").await, stage.live("r2", "hugo").await);
    let here = stage.enter("r1", "gil", TokenRole::Viewer).await;
    let there = stage.enter("r2", "gil", TokenRole::Viewer).await;
    ok(&one, Command::GuestApprove(request(&here).await)).await;
    let second = Command::GuestApprove(request(&there).await);
    ok(&one, Command::RoomEnd(Empty {})).await;
    timeout(PATIENCE, here.ended()).await.expect("everybody is told");
    ok(&two, second).await;
    assert_eq!(stage.rooms.live().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_dropped_has_left() {
    let stage = stage("drop");
    let host = stage.live("r1", "hana").await;
    drop(stage.enter("r1", "vera", TokenRole::Viewer).await);
    let gone = async {
        loop {
            let members = ok(&host, Command::MemberList(Empty {})).await;
            if members["members"].as_array().is_some_and(|list| list.len() == 1) {
                break;
            }
        }
    };
    timeout(PATIENCE, gone).await.expect("forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_show_is_back_after_a_restart_and_waits_for_its_host() {
    let mut stage = stage("restart");
    let host = stage.live("r1", "hana").await;
    let _preview = stage.enter("r2", "hugo", TokenRole::Host).await;
    stage.kept(|room| room.room.started_at.is_some()).await;
    stage.rooms.stop();
    timeout(PATIENCE, host.ended()).await.expect("told");
    stage.rooms = rooms_over(&stage.store);
    assert_eq!(stage.rooms.bring_back().await.expect("reads"), 1, "previews are made anew");
    assert_eq!(stage.rooms.live().len(), 1);
    let viewer = stage.enter("r1", "vera", TokenRole::Viewer).await;
    let snapshot = ok(&viewer, command("room.resync", r#"{"fromSeq":1000000}"#)).await;
    let room = &snapshot["snapshot"]["room"];
    assert_eq!(room["state"], "paused", "{snapshot}");
    assert_eq!(room["reasons"], serde_json::json!(["host_lost"]));
    assert_eq!(room["host"]["user"], "hana");
    let host = stage.enter("r1", "hana", TokenRole::Host).await;
    ok(&host, Command::MediaOffer(MediaOffer { sdp: OFFER.into() })).await;
    let back = async {
        while ok(&viewer, command("room.resync", r#"{"fromSeq":1000000}"#)).await["snapshot"]["room"]
            ["state"]
            != "live"
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, back).await.expect("the show goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_keeps_the_seat_over_a_restart_and_nobody_the_place_of_an_ended_show() {
    let mut stage = stage("seats-kept");
    let host = stage.live("r1", "hana").await;
    ok(&host, command("room.update", r#"{"guest":{"countdownMs":0}}"#)).await;
    let guest = stage.enter("r1", "gil", TokenRole::Viewer).await;
    ok(&host, Command::GuestApprove(request(&guest).await)).await;
    ok(&guest, Command::MediaOffer(MediaOffer { sdp: OFFER.into() })).await;
    stage.kept(|room| !room.kept.attempts.is_empty()).await;
    let over = stage.enter("r3", "olga", TokenRole::Host).await;
    ok(&over, Command::RoomEnd(Empty {})).await;
    while stage.store.has_ended("r3").await != Ok(true) {
        tokio::task::yield_now().await;
    }
    stage.rooms.stop();
    timeout(PATIENCE, host.ended()).await.expect("told");
    stage.rooms = rooms_over(&stage.store);
    assert_eq!(stage.rooms.bring_back().await.expect("reads"), 1);
    assert_eq!(stage.refused("r3", "vera", TokenRole::Viewer).await, Code::RoomEnded);
    assert_eq!(stage.refused("r4", "vera", TokenRole::Viewer).await, Code::RoomNotFound);

    let two = stage.live("r2", "hugo").await;
    let elsewhere = stage.enter("r2", "gil", TokenRole::Viewer).await;
    let approve = Command::GuestApprove(request(&elsewhere).await);
    assert_eq!(code(&two, approve).await, Code::BusyElsewhere, "the seat in r1 is held");
    let guest = stage.enter("r1", "gil", TokenRole::Viewer).await;
    let seat = ok(&guest, command("room.resync", r#"{"fromSeq":1000000}"#)).await;
    assert_eq!(seat["snapshot"]["seats"][1]["state"], "reconnecting", "{seat}");
    assert_eq!(seat["snapshot"]["you"]["guest"]["seat"], 1);
    ok(&guest, Command::MediaOffer(MediaOffer { sdp: OFFER.into() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seat_of_a_host_is_a_seat() {
    let stage = stage("seat0");
    let (_one, two) = (stage.live("r1", "hana").await, stage.live("r2", "hugo").await);
    let there = stage.enter("r2", "hana", TokenRole::Viewer).await;
    let approve = Command::GuestApprove(request(&there).await);
    assert_eq!(code(&two, approve).await, Code::BusyElsewhere, "on air at home");
    let guest = stage.enter("r2", "gil", TokenRole::Viewer).await;
    ok(&two, Command::GuestApprove(request(&guest).await)).await;
    let own = stage.enter("r3", "gil", TokenRole::Host).await;
    let offer = Command::MediaOffer(MediaOffer { sdp: OFFER.into() });
    assert_eq!(code(&own, offer.clone()).await, Code::BusyElsewhere, "a guest elsewhere");
    ok(&guest, Command::GuestLeave(Empty {})).await;
    ok(&own, offer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_video_is_rejected_is_on_air_with_sound() {
    let stage = stage("rejected");
    let host = stage.live("r1", "hana").await;
    ok(&host, command("room.update", r#"{"guest":{"countdownMs":0}}"#)).await;
    let guest = stage.enter("r1", "gil", TokenRole::Viewer).await;
    ok(&host, Command::GuestApprove(request(&guest).await)).await;
    let sdp = format!("{OFFER}{REJECTED}\r\n");
    ok(&guest, Command::MediaOffer(MediaOffer { sdp })).await;
    let on_air = async {
        loop {
            let all = ok(&guest, command("room.resync", r#"{"fromSeq":1000000}"#)).await;
            let seat = all["snapshot"]["seats"][1].clone();
            if seat["state"] == "live" {
                break seat;
            }
        }
    };
    let seat = timeout(PATIENCE, on_air).await.expect("without the connect timer");
    assert_eq!((&seat["audio"], &seat["video"]), (&true.into(), &false.into()));
}
