use signaling::media::{CloseReason, MediaHandle, RoomKey, Seat};
use tokio::time::timeout;

use super::*;
use crate::net::inbox::{INBOX_COMMANDS, Input};
use crate::net::testing::publish_offer;
use crate::net::wait::Wait;
use crate::sfu::command::Purpose;

const ROOM: RoomKey = RoomKey(1);
const DEADLINE: Duration = Duration::from_secs(10);

/// A director whose shards are the test.
struct Rig {
    media: MediaHandle,
    inboxes: Vec<mpsc::Receiver<Input>>,
    closed: mpsc::Sender<TransportId>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    _waits: Vec<Wait>,
}

impl Rig {
    fn start(shards: usize) -> Self {
        let (media, commands) = MediaHandle::channel();
        let (closed, receiver) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(false);
        let (mut links, mut inboxes, mut waits) = (Vec::new(), Vec::new(), Vec::new());
        for shard in 0..shards {
            let wait = Wait::new().expect("a waiter");
            let (inbox, receiver) = Inbox::new(wait.waker());
            let candidates = vec![SocketAddr::from(([127, 0, 0, 1], 7882 + shard as u16))];
            links.push(ShardLink { inbox, candidates });
            inboxes.push(receiver);
            waits.push(wait);
        }
        let stats = (0..shards).map(|_| ShardStats::default()).collect();
        let terms = Terms { fingerprint: Fingerprint([7; 32]), audio_red: true };
        let director = Director::new(links, TcpLink::default(), stats, terms);
        let task = tokio::spawn(director.run(commands, receiver, stopped));
        Self { media, inboxes, closed, stop, task, _waits: waits }
    }

    async fn allocate(&self) -> TransportId {
        let (reply, id) = oneshot::channel();
        assert!(self.media.send(MediaCommand::Allocate { reply }).await);
        timeout(DEADLINE, id).await.expect("in time").expect("an id")
    }

    async fn open_watch(&self, transport: TransportId) -> Result<String, Refusal> {
        let ask = self.media.ask(|reply| MediaCommand::OpenWatch {
            room: ROOM,
            transport,
            guest_seats: 2,
            backstage: false,
            own_seat: None,
            audio_top: None,
            reply,
        });
        timeout(DEADLINE, ask).await.expect("in time")
    }

    async fn next(&mut self, shard: usize) -> Input {
        timeout(DEADLINE, self.inboxes[shard].recv()).await.expect("in time").expect("an input")
    }
}

async fn publish(rig: &Rig, transport: TransportId, sdp: String) -> Result<MediaAnswer, Refusal> {
    let ask = rig.media.ask(|reply| MediaCommand::OpenPublish {
        room: ROOM,
        transport,
        sdp,
        lost_after_ms: 5_000,
        foreign: false,
        reply,
    });
    timeout(DEADLINE, ask).await.expect("in time")
}

#[tokio::test]
async fn transports_spread_over_shards_and_ids_are_fresh() {
    let rig = Rig::start(3);
    let mut seen = Vec::new();
    for _ in 0..30 {
        seen.push(rig.allocate().await);
    }
    for shard in 0..3 {
        assert_eq!(seen.iter().filter(|id| id.shard() == shard).count(), 10);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 30);
}

#[tokio::test]
async fn a_closed_transport_makes_room_on_its_shard() {
    let mut rig = Rig::start(2);
    for _ in 0..2 {
        let id = rig.allocate().await;
        rig.open_watch(id).await.expect("an offer");
        rig.next(usize::from(id.shard())).await;
    }
    let third = rig.allocate().await;
    rig.open_watch(third).await.expect("an offer");
    rig.closed.send(third).await.expect("the director runs");
    assert_eq!(rig.allocate().await.shard(), 0, "both shards have one, the first is taken");
    let answer =
        rig.media.ask(|reply| MediaCommand::GrowWatch { transport: third, guest_seats: 3, reply });
    assert_eq!(answer.await.expect_err("gone").code, Code::NotFound);
}

#[tokio::test]
async fn a_watch_offer_has_the_shards_candidates_and_its_transport_exists_first() {
    let mut rig = Rig::start(2);
    rig.allocate().await;
    let id = rig.allocate().await;
    let offer = rig.open_watch(id).await.expect("an offer");
    assert!(offer.contains(" 127.0.0.1 7883 typ host"), "{offer}");
    let ShardCommand::AddTransport(spec) = rig.next(1).await.command else { panic!("no spec") };
    assert_eq!((spec.id, spec.room), (id, ROOM));
    assert!(offer.contains(&format!("a=ice-ufrag:{}\r\n", spec.local_ice.ufrag)));
    assert!(spec.local_ice.ufrag.len() >= 8 && spec.local_ice.password.len() >= 24);
    assert!(spec.data_channels && spec.remote.is_none());
    let Purpose::Watch { tracks, .. } = spec.purpose else { panic!("not watching") };
    // Host audio, video, screen, and two guests.
    assert_eq!(tracks.len(), 7);
}

#[tokio::test]
async fn a_publisher_gets_an_answer_and_can_restart_ice_but_nothing_else() {
    let mut rig = Rig::start(1);
    let id = rig.allocate().await;
    let answer = publish(&rig, id, publish_offer("abcd", "actpass")).await.expect("an answer");
    assert!(answer.audio && answer.video && answer.sdp.contains("a=setup:active"));
    let ShardCommand::AddTransport(spec) = rig.next(0).await.command else { panic!("no spec") };
    assert_eq!(spec.local_ice.ufrag, answer.ice_ufrag);

    let restart =
        |sdp| rig.media.ask(|reply| MediaCommand::RestartIce { transport: id, sdp, reply });
    let again = restart(Some(publish_offer("efgh", "actpass"))).await.expect("an answer");
    assert_ne!(again.ice_ufrag, answer.ice_ufrag);
    let other = publish_offer("efgh", "actpass").replace("AB:AB", "AB:AC");
    assert_eq!(restart(Some(other)).await.expect_err("new certificate").code, Code::BadRequest);
    let role = publish_offer("efgh", "active");
    assert_eq!(restart(Some(role)).await.expect_err("new role").code, Code::BadRequest);
    assert_eq!(restart(None).await.expect_err("no offer").code, Code::BadRequest);

    let ShardCommand::RestartIce { local, remote, .. } = rig.next(0).await.command else {
        panic!("no restart")
    };
    assert_eq!(local.ufrag, again.ice_ufrag);
    assert_eq!(remote.expect("theirs").ufrag, "efgh");
    assert!(rig.inboxes[0].try_recv().is_err(), "a refused restart reached the shard");
}

#[tokio::test]
async fn a_player_keeps_its_streams_over_an_ice_restart() {
    let mut rig = Rig::start(1);
    let transport = rig.allocate().await;
    let offer = |ufrag| publish_offer(ufrag, "actpass").replace("a=sendonly", "a=recvonly");
    let ask = rig.media.ask(|reply| MediaCommand::OpenWhep {
        room: ROOM,
        transport,
        sdp: offer("abcd"),
        seat: Seat::HOST,
        reply,
    });
    let answer = timeout(DEADLINE, ask).await.expect("in time").expect("an answer");
    assert!(
        answer.sdp.contains("a=setup:passive"),
        "a player picks the SRTP profile: {}",
        answer.sdp
    );
    rig.next(0).await;

    let sdp = Some(offer("efgh"));
    let ask = rig.media.ask(|reply| MediaCommand::RestartIce { transport, sdp, reply });
    let again = timeout(DEADLINE, ask).await.expect("in time").expect("an answer");
    let sources = |sdp: &str| -> Vec<String> {
        sdp.lines().filter(|line| line.starts_with("a=ssrc")).map(str::to_owned).collect()
    };
    assert_eq!(sources(&again.sdp), sources(&answer.sdp));
    assert!(!sources(&again.sdp).is_empty());

    let (ufrag, password) = ("ijkl".to_owned(), "b".repeat(24));
    let ask = rig.media.ask(|reply| MediaCommand::RestartIceFragment {
        transport,
        ufrag,
        password,
        reply,
    });
    let fragment = timeout(DEADLINE, ask).await.expect("in time").expect("a fragment");
    assert!(fragment.sdp.contains(&format!("a=ice-ufrag:{}", fragment.ice_ufrag)));
    assert!(fragment.audio && fragment.video);
    rig.next(0).await;
    let ShardCommand::RestartIce { remote, .. } = rig.next(0).await.command else {
        panic!("no restart")
    };
    assert_eq!(remote.expect("theirs").ufrag, "ijkl");
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_by_name() {
    let rig = Rig::start(1);
    let id = rig.allocate().await;
    let garbage = publish(&rig, id, "v=0\r\nnonsense".into()).await.expect_err("garbage");
    assert_eq!(garbage.code, Code::SdpInvalid);
    let nowhere = rig.open_watch(TransportId::new(9, 1)).await.expect_err("no shard 9");
    assert_eq!(nowhere.code, Code::NotFound);
    rig.open_watch(id).await.expect("an offer");
    assert_eq!(rig.open_watch(id).await.expect_err("twice").code, Code::Conflict);
    let answer = rig.media.ask(|reply| MediaCommand::WatchAnswer {
        transport: TransportId::new(0, 77),
        sdp: String::new(),
        reply,
    });
    assert_eq!(answer.await.expect_err("unknown").code, Code::NotFound);
}

#[tokio::test]
async fn done_fires_when_the_last_shard_has_applied_it() {
    let mut rig = Rig::start(3);
    let (done, mut applied) = oneshot::channel();
    let command = MediaCommand::SetSeat {
        room: ROOM,
        seat: Seat::HOST,
        source: None,
        audience: signaling::media::Audience::Nobody,
        done: Some(done),
    };
    assert!(rig.media.send(command).await);
    for shard in [2, 0] {
        rig.next(shard).await.done.expect("a done").applied();
    }
    // The director's own clone may still be there; the third shard certainly holds one.
    let third = rig.next(1).await.done.expect("a done");
    assert!(applied.try_recv().is_err(), "fired too early");
    third.applied();
    timeout(DEADLINE, applied).await.expect("in time").expect("fired");
}

#[tokio::test]
async fn a_full_inbox_makes_rooms_wait_and_loses_nothing() {
    let mut rig = Rig::start(1);
    let id = TransportId::new(0, 1);
    let media = rig.media.clone();
    let total = INBOX_COMMANDS + 50;
    let sender = tokio::spawn(async move {
        for _ in 0..total {
            let reason = CloseReason::Requested;
            assert!(media.send(MediaCommand::Close { transport: id, reason }).await);
        }
    });
    for _ in 0..total {
        rig.next(0).await;
    }
    sender.await.expect("sent all");
}

#[tokio::test]
async fn it_ends_when_told_and_pending_questions_are_answered() {
    let rig = Rig::start(1);
    rig.stop.send(true).expect("it listens");
    timeout(DEADLINE, rig.task).await.expect("in time").expect("no panic");
    let refused = rig.media.ask(|reply| MediaCommand::GrowWatch {
        transport: TransportId::new(0, 1),
        guest_seats: 1,
        reply,
    });
    assert_eq!(refused.await.expect_err("stopped").code, Code::Overloaded);
}
