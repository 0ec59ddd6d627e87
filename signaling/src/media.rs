//! The words the room side and the media side share: ids, what a room asks of the media plane
//! ([`MediaCommand`]) and what the media plane tells a room ([`MediaEvent`]).
//!
//! The room never sees a packet and the media plane never sees a rule; this module is all they
//! know of each other.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::protocol::Refusal;

/// A room inside this process: dense, never reused, meaningless outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey(pub u32);

/// One ICE + DTLS + SRTP + SCTP link of one participant. The top 8 bits are the shard that owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransportId(pub u64);

impl TransportId {
    /// The `n`-th transport of `shard`.
    #[must_use]
    pub const fn new(shard: u8, n: u64) -> Self {
        Self(((shard as u64) << 56) | (n & ((1 << 56) - 1)))
    }

    /// The shard (thread, UDP port) that owns this transport.
    #[must_use]
    pub const fn shard(self) -> u8 {
        (self.0 >> 56) as u8
    }
}

/// A place on the stage that every viewer has a slot for: 0 is the host, 1-8 are guests,
/// [`Seat::SCREEN`] is the host's screen share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(pub u8);

impl Seat {
    /// The host's seat.
    pub const HOST: Self = Self(0);
    /// The host's screen share, video only.
    pub const SCREEN: Self = Self(9);
    /// Seats 0-8 and the screen.
    pub const COUNT: usize = 10;
    /// The highest guest seat.
    pub const MAX_GUEST: u8 = 8;
}

/// How large a viewer shows a seat's picture, in device pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileSize {
    /// Width, at least 1.
    pub width: u16,
    /// Height, at least 1.
    pub height: u16,
}

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaKind {
    /// Opus.
    Audio,
    /// VP8, VP9, H.264 or AV1.
    Video,
}

/// Who receives a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: connecting, reconnecting, paused, removed.
    Nobody,
    /// Backstage: transports opened or updated with `backstage: true` (staff and seated people).
    Backstage,
    /// Everybody in the room.
    Everyone,
}

/// A pre-negotiated data channel; the discriminant is its SCTP stream id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Channel {
    /// Reliable, ordered, both ways: gifts and their replies.
    Gifts = 0,
    /// Reliable, ordered, server to client: room-wide events with `seq`.
    Events = 1,
    /// Unordered, no retransmission: absolute counters, at most 1100 bytes a frame.
    Effects = 2,
}

/// Why a transport ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The room or the client asked for it.
    Requested,
    /// No authenticated packet for the transport's lifetime after loss (30 s).
    Timeout,
    /// The peer sent a DTLS close_notify.
    PeerClosed,
    /// ICE or DTLS did not complete within 15 s.
    HandshakeTimeout,
    /// The certificate was not the one in the SDP.
    FingerprintMismatch,
    /// DTLS failed: no common version, cipher or SRTP profile, or garbage.
    HandshakeFailed,
    /// The peer broke a limit (too many packets, SCTP abuse).
    Abuse,
    /// The engine of this peer failed; only this peer is affected.
    Internal,
    /// The server is stopping.
    Shutdown,
}

/// The answer to an accepted publish or WHEP offer.
#[derive(Debug, Clone)]
pub struct MediaAnswer {
    /// The SDP answer.
    pub sdp: String,
    /// What the offer sends: audio.
    pub audio: bool,
    /// What the offer sends: video.
    pub video: bool,
    /// ETag of this ICE session, `"<ufrag>"`, for WHIP/WHEP `PATCH`.
    pub ice_ufrag: String,
}

/// Reply path of a media command. Dropped without a value = the media plane is stopping.
pub type MediaReply<T> = oneshot::Sender<Result<T, Refusal>>;

/// What a room (or a WHIP/WHEP resource acting for it) asks of the media plane.
#[derive(Debug)]
pub enum MediaCommand {
    /// Reserve a transport id on the least loaded shard. Nothing exists yet.
    Allocate {
        /// Where the id goes.
        reply: oneshot::Sender<TransportId>,
    },
    /// Answer a client's send-only offer.
    OpenPublish {
        /// The room it belongs to.
        room: RoomKey,
        /// From [`MediaCommand::Allocate`].
        transport: TransportId,
        /// The client's offer.
        sdp: String,
        /// Tell the room `Lost` after this long without an authenticated packet.
        lost_after_ms: u32,
        /// Accept a peer that is not our SDK: prefer the DTLS server role when there is a choice,
        /// so that a peer without GCM can be given AES-CM.
        foreign: bool,
        /// The answer.
        reply: MediaReply<MediaAnswer>,
    },
    /// Make our own offer to a client that will only receive.
    OpenWatch {
        /// The room it belongs to.
        room: RoomKey,
        /// From [`MediaCommand::Allocate`].
        transport: TransportId,
        /// Guest seats (1..=guest_seats) with slots in the offer; host and screen always have one.
        guest_seats: u8,
        /// Receives seats with [`Audience::Backstage`].
        backstage: bool,
        /// The viewer's own seat, which is never sent back to them.
        own_seat: Option<Seat>,
        /// Sound of the loudest so many seats only, 1 to 9, the host's always among them; `None` = of all.
        audio_top: Option<u8>,
        /// The offer.
        reply: MediaReply<String>,
    },
    /// The client's answer to the last offer of a watch transport.
    WatchAnswer {
        /// The transport that offered.
        transport: TransportId,
        /// The answer.
        sdp: String,
        /// Done.
        reply: MediaReply<()>,
    },
    /// A new offer of the same watch transport with more slots.
    GrowWatch {
        /// The transport to grow.
        transport: TransportId,
        /// As in `OpenWatch`; never shrinks.
        guest_seats: u8,
        /// The offer.
        reply: MediaReply<String>,
    },
    /// Answer a WHEP player's receive-only offer with one seat.
    OpenWhep {
        /// The room it belongs to.
        room: RoomKey,
        /// From [`MediaCommand::Allocate`].
        transport: TransportId,
        /// The player's offer.
        sdp: String,
        /// The one seat it shows.
        seat: Seat,
        /// The answer.
        reply: MediaReply<MediaAnswer>,
    },
    /// ICE restart. A publisher or WHEP player sends its new offer and gets an answer; for a watch
    /// transport `sdp` is `None` and the reply is our new offer.
    RestartIce {
        /// The transport to restart.
        transport: TransportId,
        /// The client's new offer, full SDP.
        sdp: Option<String>,
        /// The answer (or offer).
        reply: MediaReply<MediaAnswer>,
    },
    /// ICE restart of WHIP/WHEP by SDP fragment (RFC 8840): new remote ufrag and password in,
    /// our new pair out.
    RestartIceFragment {
        /// The transport to restart.
        transport: TransportId,
        /// Their new ufrag.
        ufrag: String,
        /// Their new password.
        password: String,
        /// Our new SDP fragment and ufrag (in `ice_ufrag`).
        reply: MediaReply<MediaAnswer>,
    },
    /// End a transport. Idempotent.
    Close {
        /// Which.
        transport: TransportId,
        /// Why.
        reason: CloseReason,
    },
    /// Who fills a seat's slot and who receives it. `source: None` empties the slot.
    /// `done` fires when every shard has applied it: not one packet after that disagrees.
    SetSeat {
        /// The room.
        room: RoomKey,
        /// The seat.
        seat: Seat,
        /// The publish transport whose tracks fill the slot.
        source: Option<TransportId>,
        /// Who receives it.
        audience: Audience,
        /// Applied on every shard.
        done: Option<oneshot::Sender<()>>,
    },
    /// Open or close the ingress gate of one kind of a publish transport (mute). Closing empties
    /// its packet cache; opening asks for a key frame.
    SetGate {
        /// The publish transport.
        transport: TransportId,
        /// Audio or video.
        kind: MediaKind,
        /// `false` = muted.
        open: bool,
        /// Applied on every shard.
        done: Option<oneshot::Sender<()>>,
    },
    /// Change what a watch transport may receive.
    SetViewer {
        /// The watch transport.
        transport: TransportId,
        /// As in `OpenWatch`.
        backstage: bool,
        /// As in `OpenWatch`.
        own_seat: Option<Seat>,
    },
    /// How large a viewer shows a seat: it is sent no larger picture than that needs.
    PreferLayer {
        /// The watch transport.
        transport: TransportId,
        /// The seat, whoever fills it.
        seat: Seat,
        /// `None` = the best.
        size: Option<TileSize>,
    },
    /// Stop sending a viewer the video of seats it does not show, or begin again. Sound goes on.
    PauseVideo {
        /// The watch transport.
        transport: TransportId,
        /// The seats, whoever fills them.
        seats: Vec<Seat>,
        /// `true` = paused.
        on: bool,
    },
    /// Who has the floor of a room: comes before other guests where a viewer's network does not take the best of all.
    SetSpeaker {
        /// The room.
        room: RoomKey,
        /// The seat, if anybody spoke yet.
        seat: Option<Seat>,
    },
    /// Send bytes on a data channel of one transport.
    SendData {
        /// The watch transport.
        transport: TransportId,
        /// The channel.
        channel: Channel,
        /// UTF-8 JSON.
        bytes: Bytes,
    },
    /// Send the same bytes to every watch transport of a room that has the channel open.
    BroadcastData {
        /// The room.
        room: RoomKey,
        /// The channel.
        channel: Channel,
        /// UTF-8 JSON, serialised once.
        bytes: Bytes,
    },
    /// End every transport of a room and forget it.
    CloseRoom {
        /// The room.
        room: RoomKey,
    },
}

/// What the media plane tells a room.
#[derive(Debug, Clone)]
pub enum MediaEvent {
    /// ICE and DTLS are up.
    Connected,
    /// The first authenticated RTP of this kind since the gate was opened or the transport made;
    /// for video, the first packet of a key frame.
    MediaReady(MediaKind),
    /// No authenticated packet for `lost_after_ms`.
    Lost,
    /// Authenticated packets again after `Lost`.
    Back,
    /// What is lost on its way here goes on to viewers this late once it was asked for again, ms; 0 = nothing is lost.
    RepairsTake(u16),
    /// How loud its sound is, 0 (silence) to 9 in steps of 6 dB: told when that changes, and every second while it is not
    /// silent. A client that does not say it (RFC 6464) is never told of.
    Loudness(u8),
    /// Which simulcast layers of its video anybody takes, in the order of its offer: told when that changes. The others need
    /// not be sent.
    LayersWanted(Vec<bool>),
    /// The transport is gone; its id is dead.
    Closed(CloseReason),
    /// A data channel can carry data (the SCTP association is up).
    DataOpen(Channel),
    /// A message from the client.
    Data(Channel, Bytes),
    /// The bytes buffered for this viewer passed the channel's limit. `Effects`: frame dropped.
    /// `Events`: sending stopped, the viewer needs a snapshot. `Gifts`: closed for this viewer.
    DataOverflow(Channel),
}

/// A [`MediaEvent`] with its address.
#[derive(Debug, Clone)]
pub struct AddressedMediaEvent {
    /// The room the transport belongs to.
    pub room: RoomKey,
    /// The transport it is about.
    pub transport: TransportId,
    /// What happened.
    pub event: MediaEvent,
}

/// Capacity of the command channel to the media plane.
///
/// Trade: a join is two commands; 4096 in flight is two seconds of the largest join storm we
/// accept, and a full channel makes the caller wait instead of growing.
pub const MEDIA_COMMANDS: usize = 4096;

/// The room side's end of the media plane.
#[derive(Debug, Clone)]
pub struct MediaHandle {
    commands: mpsc::Sender<MediaCommand>,
}

impl MediaHandle {
    /// A handle and the receiver that the media plane's director drains.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<MediaCommand>) {
        let (commands, receiver) = mpsc::channel(MEDIA_COMMANDS);
        (Self { commands }, receiver)
    }

    /// Queue a command; waits while the media plane is behind. `false` = it is stopping.
    pub async fn send(&self, command: MediaCommand) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Send a command made around a fresh reply channel and wait for the reply.
    ///
    /// # Errors
    /// The media plane's own refusal, or `overloaded` when it is stopping.
    pub async fn ask<T>(
        &self,
        command: impl FnOnce(MediaReply<T>) -> MediaCommand,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        if !self.send(command(reply)).await {
            return Err(Refusal::overloaded());
        }
        answer.await.unwrap_or_else(|_| Err(Refusal::overloaded()))
    }
}
