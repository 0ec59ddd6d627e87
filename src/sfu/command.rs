//! What the director asks of one shard's core, after SDP and before packets.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use signaling::media::{
    Audience, Channel, CloseReason, MediaKind, RoomKey, Seat, TileSize, TransportId,
};

use crate::rtp::track::{TrackIn, TrackOut};
use crate::sfu::transport::{IceCredentials, Remote, SrtpProfiles};

pub use super::loudest::ALL as ALL_VOICES;

/// What a transport is for. One-way, always.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// The client sends these tracks.
    Publish(Vec<TrackIn>),
    /// The client receives these tracks.
    Watch {
        /// Slots with the payload types we offered; replaced by the accepted ones in `SetRemote`.
        tracks: Vec<TrackOut>,
        /// Receives [`Audience::Backstage`] seats.
        backstage: bool,
        /// Never receives this seat.
        own_seat: Option<Seat>,
    },
}

/// Everything a core needs to make a transport.
#[derive(Debug, Clone)]
pub struct TransportSpec {
    /// Its id.
    pub id: TransportId,
    /// Its room.
    pub room: RoomKey,
    /// Our ICE credentials; the ufrag is unique on the shard.
    pub local_ice: IceCredentials,
    /// The peer's half; `None` for a watch transport until the answer arrives.
    pub remote: Option<Remote>,
    /// SRTP profiles to allow.
    pub srtp: SrtpProfiles,
    /// Whether data channels are set up.
    pub data_channels: bool,
    /// `Lost` after this long without an authenticated packet.
    pub lost_after: Duration,
    /// Direction and tracks.
    pub purpose: Purpose,
}

/// A command to one shard's core.
#[derive(Debug, Clone)]
pub enum ShardCommand {
    /// Make a transport.
    AddTransport(Box<TransportSpec>),
    /// The answer to our offer: the peer's half and the tracks it accepted (also after growing).
    SetRemote {
        /// The watch transport.
        id: TransportId,
        /// The peer's half.
        remote: Remote,
        /// All accepted tracks.
        tracks: Vec<TrackOut>,
    },
    /// New ICE credentials; the old ones die when the new ones are first used.
    RestartIce {
        /// The transport.
        id: TransportId,
        /// Ours.
        local: IceCredentials,
        /// Theirs; `None` until their answer (`SetRemote`).
        remote: Option<IceCredentials>,
    },
    /// End a transport.
    Close {
        /// Which.
        id: TransportId,
        /// Why.
        reason: CloseReason,
    },
    /// See [`signaling::media::MediaCommand::SetSeat`]; sent to every shard.
    SetSeat {
        /// The room.
        room: RoomKey,
        /// The seat.
        seat: Seat,
        /// Its publisher.
        source: Option<TransportId>,
        /// Who receives it.
        audience: Audience,
    },
    /// See [`signaling::media::MediaCommand::SetGate`]; sent to every shard.
    SetGate {
        /// The publish transport.
        id: TransportId,
        /// Audio or video.
        kind: MediaKind,
        /// `false` = muted.
        open: bool,
    },
    /// See [`signaling::media::MediaCommand::SetViewer`].
    SetViewer {
        /// The watch transport.
        id: TransportId,
        /// Receives backstage seats.
        backstage: bool,
        /// Never receives this seat.
        own_seat: Option<Seat>,
    },
    /// See [`signaling::media::MediaCommand::SetSpeaker`]; sent to every shard.
    SetSpeaker {
        /// The room.
        room: RoomKey,
        /// The seat.
        seat: Option<Seat>,
    },
    /// See [`signaling::media::MediaCommand::PreferLayer`].
    PreferLayer {
        /// The watch transport.
        id: TransportId,
        /// The seat.
        seat: Seat,
        /// `None` = the best.
        size: Option<TileSize>,
    },
    /// See [`signaling::media::MediaCommand::PauseVideo`].
    PauseVideo {
        /// The watch transport.
        id: TransportId,
        /// The seats.
        seats: Vec<Seat>,
        /// `true` = paused.
        on: bool,
    },
    /// A viewer is sent the sound of the loudest seats only.
    PreferVoices {
        /// The watch transport.
        id: TransportId,
        /// How many, the host's always among them; [`ALL_VOICES`] or more = all.
        top: u8,
    },
    /// Send on a data channel.
    SendData {
        /// The watch transport.
        id: TransportId,
        /// The channel.
        channel: Channel,
        /// UTF-8 JSON.
        bytes: Bytes,
    },
    /// Send to every watch transport of the room on this shard; sent to every shard.
    BroadcastData {
        /// The room.
        room: RoomKey,
        /// The channel.
        channel: Channel,
        /// UTF-8 JSON.
        bytes: Bytes,
    },
    /// End every transport of the room; sent to every shard.
    CloseRoom {
        /// The room.
        room: RoomKey,
    },
}

/// The addresses of a shard's sockets, in the order of [`crate::sfu::egress::Path::local`].
pub type ShardAddresses = Vec<SocketAddr>;
