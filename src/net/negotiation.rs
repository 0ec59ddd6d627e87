//! One transport's offer/answer state: SDP on one side, [`TransportSpec`]s on the other. Pure:
//! credentials and random numbers are arguments.

use std::net::SocketAddr;
use std::time::Duration;

use signaling::media::{MediaAnswer, MediaKind, RoomKey, Seat, TransportId};
use signaling::protocol::{Code, Refusal};

use crate::rtp::sdp::{
    DtlsPreference, Fragment, LocalSession, PeerSession, PublishOffer, SdpError, Setup, WatchOffer,
    WhepOffer,
};
use crate::rtp::track::{TrackIn, TrackOut};
use crate::sfu::command::{Purpose, ShardCommand, TransportSpec};
use crate::sfu::transport::{DtlsRole, Fingerprint, IceCredentials, Remote, SrtpProfiles};

/// `Lost` for a transport that only watches.
///
/// Trade: browsers check consent every 5 s, so two in a row are missing; nothing but an indicator
/// hangs on it.
const WATCH_LOST_AFTER: Duration = Duration::from_secs(12);

/// What every description of this server says about it.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// SHA-256 of our certificate.
    pub fingerprint: Fingerprint,
    /// UDP candidate addresses of the transport's shard, the first preferred.
    pub candidates: &'a [SocketAddr],
    /// TCP candidate addresses, the same for all shards.
    pub tcp_candidates: &'a [SocketAddr],
    /// Those of them where libwebrtc's pseudo-TLS is answered. Clients of WHIP and WHEP are not told: they are other
    /// stacks, for which this transport is at best a line to skip.
    pub ssltcp_candidates: &'a [SocketAddr],
    /// Sound in RED is taken from publishers.
    pub audio_red: bool,
}

impl Identity<'_> {
    /// As a client sees us that may be `foreign`: of WHIP or WHEP.
    const fn to(self, foreign: bool) -> Self {
        if foreign { Self { ssltcp_candidates: &[], ..self } } else { self }
    }
}

/// What a room asked for, apart from the SDP.
#[derive(Debug, Clone, Copy)]
pub struct Address {
    /// The transport.
    pub id: TransportId,
    /// Its room.
    pub room: RoomKey,
}

/// The offer/answer state of one transport.
#[derive(Debug)]
pub struct Negotiation {
    session_id: u64,
    version: u64,
    ice: IceCredentials,
    /// Of WHIP or WHEP.
    foreign: bool,
    side: Side,
}

#[derive(Debug)]
enum Side {
    Publish { role: DtlsRole, fingerprint: Fingerprint, tracks: Vec<TrackIn> },
    Watch { offer: WatchOffer, awaits_answer: bool },
    Whep { role: DtlsRole, fingerprint: Fingerprint, seat: Seat, tracks: Vec<TrackOut> },
}

/// A description and the command that makes it true on the shard.
#[derive(Debug)]
pub struct Step<T> {
    /// For the client.
    pub reply: T,
    /// For the transport's shard.
    pub command: ShardCommand,
}

impl Negotiation {
    /// Answer a publisher's offer.
    ///
    /// # Errors
    /// What is wrong with the offer.
    pub fn publish(
        address: Address,
        offer: &str,
        lost_after: Duration,
        foreign: bool,
        ours: (IceCredentials, u64),
        identity: Identity<'_>,
    ) -> Result<(Self, Step<MediaAnswer>), Refusal> {
        let offer = publish_offer(offer, identity.audio_red)?;
        let (ice, session_id) = ours;
        let preferred = if foreign { DtlsPreference::Server } else { DtlsPreference::Client };
        let identity = identity.to(foreign);
        let local = local_session(&ice, session_id, 1, &identity);
        let answer = offer.answer(&local, preferred);
        let remote = remote(offer.peer(), answer.setup);
        let side = Side::Publish {
            role: remote.role,
            fingerprint: remote.fingerprint,
            tracks: answer.tracks.clone(),
        };
        let kinds = answer.tracks.iter().map(|track| track.kind);
        let reply = media_answer(answer.sdp, kinds, &ice.ufrag);
        let spec = TransportSpec {
            id: address.id,
            room: address.room,
            local_ice: ice.clone(),
            remote: Some(remote),
            srtp: if foreign { SrtpProfiles::GcmOrCm } else { SrtpProfiles::GcmOnly },
            data_channels: false,
            lost_after,
            purpose: Purpose::Publish(answer.tracks),
        };
        let command = ShardCommand::AddTransport(Box::new(spec));
        Ok((Self { session_id, version: 1, ice, foreign, side }, Step { reply, command }))
    }

    /// Make the offer of a watch transport.
    pub fn watch(
        address: Address,
        (guest_seats, backstage, own_seat): (u8, bool, Option<Seat>),
        ours: (IceCredentials, u64),
        identity: Identity<'_>,
        ssrc: &mut dyn FnMut() -> u32,
    ) -> (Self, Step<String>) {
        let (ice, session_id) = ours;
        let offer = WatchOffer::new(guest_seats, true, ssrc);
        let reply = offer.offer(&local_session(&ice, session_id, 1, &identity));
        let spec = TransportSpec {
            id: address.id,
            room: address.room,
            local_ice: ice.clone(),
            remote: None,
            srtp: SrtpProfiles::GcmOnly,
            data_channels: true,
            lost_after: WATCH_LOST_AFTER,
            purpose: Purpose::Watch { tracks: offer.slots().to_vec(), backstage, own_seat },
        };
        let side = Side::Watch { offer, awaits_answer: true };
        let command = ShardCommand::AddTransport(Box::new(spec));
        (Self { session_id, version: 1, ice, foreign: false, side }, Step { reply, command })
    }

    /// Answer a WHEP player's offer.
    ///
    /// # Errors
    /// What is wrong with the offer.
    pub fn whep(
        address: Address,
        offer: &str,
        seat: Seat,
        ours: (IceCredentials, u64),
        identity: Identity<'_>,
        ssrc: &mut dyn FnMut() -> u32,
    ) -> Result<(Self, Step<MediaAnswer>), Refusal> {
        let offer = WhepOffer::parse(offer).map_err(refusal)?;
        let (ice, session_id) = ours;
        let identity = identity.to(true);
        let local = local_session(&ice, session_id, 1, &identity);
        let answer = offer.answer(&local, DtlsPreference::Server, seat, ssrc);
        let remote = remote(offer.peer(), answer.setup);
        let side = Side::Whep {
            role: remote.role,
            fingerprint: remote.fingerprint,
            seat,
            tracks: answer.tracks.clone(),
        };
        let kinds = answer.tracks.iter().map(|track| track.kind);
        let reply = media_answer(answer.sdp, kinds, &ice.ufrag);
        let spec = TransportSpec {
            id: address.id,
            room: address.room,
            local_ice: ice.clone(),
            remote: Some(remote),
            srtp: SrtpProfiles::GcmOrCm,
            data_channels: false,
            lost_after: WATCH_LOST_AFTER,
            purpose: Purpose::Watch { tracks: answer.tracks, backstage: false, own_seat: None },
        };
        let command = ShardCommand::AddTransport(Box::new(spec));
        Ok((Self { session_id, version: 1, ice, foreign: true, side }, Step { reply, command }))
    }

    /// Read a viewer's answer to our last offer.
    ///
    /// # Errors
    /// What is wrong with the answer; `conflict` when no offer waits for one.
    pub fn watch_answer(&mut self, id: TransportId, answer: &str) -> Result<ShardCommand, Refusal> {
        let Side::Watch { offer, awaits_answer } = &mut self.side else {
            return Err(not_watching());
        };
        if !*awaits_answer {
            return Err(Refusal::new(Code::Conflict).because("No offer waits for an answer."));
        }
        let answer = offer.parse_answer(answer).map_err(refusal)?;
        *awaits_answer = false;
        let remote = remote(&answer.peer, Setup::Active);
        Ok(ShardCommand::SetRemote { id, remote, tracks: answer.tracks })
    }

    /// The next offer of a watch transport, with slots for `guest_seats`. Nothing changes on the
    /// shard until its answer.
    ///
    /// # Errors
    /// `bad_request` when it is no watch transport.
    pub fn grow(
        &mut self,
        guest_seats: u8,
        identity: Identity<'_>,
        ssrc: &mut dyn FnMut() -> u32,
    ) -> Result<String, Refusal> {
        let Side::Watch { offer, awaits_answer } = &mut self.side else {
            return Err(not_watching());
        };
        offer.grow(guest_seats, ssrc);
        *awaits_answer = true;
        self.version += 1;
        let local = local_session(&self.ice, self.session_id, self.version, &identity);
        Ok(offer.offer(&local))
    }

    /// ICE restart by a full description, or by our own offer for a watch transport.
    ///
    /// # Errors
    /// A description that is unusable, or that changes more than ICE.
    pub fn restart(
        &mut self,
        id: TransportId,
        sdp: Option<&str>,
        ice: IceCredentials,
        identity: Identity<'_>,
    ) -> Result<Step<MediaAnswer>, Refusal> {
        let version = self.version + 1;
        let identity = identity.to(self.foreign);
        let local = local_session(&ice, self.session_id, version, &identity);
        let (reply, remote) = match (&mut self.side, sdp) {
            (Side::Watch { offer, awaits_answer }, None) => {
                *awaits_answer = true;
                let kinds = offer.slots().iter().map(|slot| slot.kind);
                (media_answer(offer.offer(&local), kinds, &ice.ufrag), None)
            }
            (Side::Publish { role, fingerprint, tracks }, Some(sdp)) => {
                let offer = publish_offer(sdp, identity.audio_red)?;
                restart_publish(&offer, &local, (*role, *fingerprint), tracks)?
            }
            (Side::Whep { role, fingerprint, seat, tracks }, Some(sdp)) => {
                restart_whep(sdp, &local, (*role, *fingerprint), *seat, tracks)?
            }
            (Side::Watch { .. }, Some(_)) => {
                return Err(bad_request("The server offers on this transport."));
            }
            (_, None) => return Err(bad_request("A new offer is needed.")),
        };
        self.version = version;
        self.ice = ice.clone();
        let command = ShardCommand::RestartIce { id, local: ice, remote };
        Ok(Step { reply, command })
    }

    /// ICE restart by new credentials alone (WHIP/WHEP `PATCH`).
    ///
    /// # Errors
    /// `bad_request` for a watch transport, whose restart is a new offer of ours.
    pub fn restart_fragment(
        &mut self,
        id: TransportId,
        theirs: IceCredentials,
        ice: IceCredentials,
        identity: Identity<'_>,
    ) -> Result<Step<MediaAnswer>, Refusal> {
        let tracks: Vec<(&str, MediaKind)> = match &self.side {
            Side::Publish { tracks, .. } => {
                tracks.iter().map(|track| (track.mid.as_str(), track.kind)).collect()
            }
            Side::Whep { tracks, .. } => {
                tracks.iter().map(|track| (track.mid.as_str(), track.kind)).collect()
            }
            Side::Watch { .. } => return Err(bad_request("The server offers on this transport.")),
        };
        self.version += 1;
        let identity = identity.to(self.foreign);
        let local = local_session(&ice, self.session_id, self.version, &identity);
        // The first m-line carries the bundle.
        let sdp = Fragment::write(&local, tracks.first().map_or("0", |(mid, _)| mid));
        let reply = media_answer(sdp, tracks.iter().map(|(_, kind)| *kind), &ice.ufrag);
        self.ice = ice.clone();
        let command = ShardCommand::RestartIce { id, local: ice, remote: Some(theirs) };
        Ok(Step { reply, command })
    }
}

fn publish_offer(sdp: &str, red: bool) -> Result<PublishOffer<'_>, Refusal> {
    let offer = PublishOffer::parse(sdp).map_err(refusal)?;
    Ok(if red { offer } else { offer.without_red() })
}

fn restart_publish(
    offer: &PublishOffer<'_>,
    local: &LocalSession<'_>,
    (role, fingerprint): (DtlsRole, Fingerprint),
    tracks: &[TrackIn],
) -> Result<(MediaAnswer, Option<IceCredentials>), Refusal> {
    let answer = offer.answer(local, preference(role));
    check_same_session(offer.peer(), answer.setup, role, fingerprint)?;
    let same = answer.tracks.len() == tracks.len()
        && answer.tracks.iter().zip(tracks).all(|(new, old)| {
            new.kind == old.kind && new.mid == old.mid && new.codecs == old.codecs
        });
    if !same {
        return Err(bad_request("An ICE restart cannot change the tracks."));
    }
    let reply = media_answer(answer.sdp, tracks.iter().map(|track| track.kind), local.ufrag);
    Ok((reply, Some(credentials(offer.peer()))))
}

fn restart_whep(
    sdp: &str,
    local: &LocalSession<'_>,
    (role, fingerprint): (DtlsRole, Fingerprint),
    seat: Seat,
    tracks: &[TrackOut],
) -> Result<(MediaAnswer, Option<IceCredentials>), Refusal> {
    let offer = WhepOffer::parse(sdp).map_err(refusal)?;
    // The same numbers in the same order: an ICE restart keeps every stream.
    let mut numbers = tracks.iter().flat_map(|track| [Some(track.ssrc), track.rtx_ssrc]).flatten();
    let answer = offer.answer(local, preference(role), seat, &mut || numbers.next().unwrap_or(1));
    check_same_session(offer.peer(), answer.setup, role, fingerprint)?;
    if answer.tracks != tracks {
        return Err(bad_request("An ICE restart cannot change the tracks."));
    }
    let reply = media_answer(answer.sdp, tracks.iter().map(|track| track.kind), local.ufrag);
    Ok((reply, Some(credentials(offer.peer()))))
}

/// The DTLS association of the transport goes on, so nothing that belongs to it may change.
fn check_same_session(
    peer: &PeerSession,
    setup: Setup,
    role: DtlsRole,
    fingerprint: Fingerprint,
) -> Result<(), Refusal> {
    if dtls_role(setup) == role && Fingerprint(peer.fingerprint) == fingerprint {
        return Ok(());
    }
    Err(bad_request("An ICE restart cannot change the certificate or the DTLS role."))
}

fn media_answer(sdp: String, kinds: impl Iterator<Item = MediaKind>, ufrag: &str) -> MediaAnswer {
    let mut answer = MediaAnswer { sdp, audio: false, video: false, ice_ufrag: ufrag.to_owned() };
    for kind in kinds {
        match kind {
            MediaKind::Audio => answer.audio = true,
            MediaKind::Video => answer.video = true,
        }
    }
    answer
}

fn local_session<'a>(
    ice: &'a IceCredentials,
    session_id: u64,
    version: u64,
    identity: &'a Identity<'_>,
) -> LocalSession<'a> {
    LocalSession {
        session_id,
        version,
        ufrag: &ice.ufrag,
        password: &ice.password,
        fingerprint: &identity.fingerprint.0,
        candidates: identity.candidates,
        tcp_candidates: identity.tcp_candidates,
        ssltcp_candidates: identity.ssltcp_candidates,
    }
}

fn remote(peer: &PeerSession, ours: Setup) -> Remote {
    Remote {
        ice: credentials(peer),
        fingerprint: Fingerprint(peer.fingerprint),
        role: dtls_role(ours),
    }
}

fn credentials(peer: &PeerSession) -> IceCredentials {
    IceCredentials { ufrag: peer.ufrag.clone(), password: peer.password.clone() }
}

const fn dtls_role(ours: Setup) -> DtlsRole {
    match ours {
        Setup::Active | Setup::ActPass => DtlsRole::Client,
        Setup::Passive => DtlsRole::Server,
    }
}

const fn preference(role: DtlsRole) -> DtlsPreference {
    match role {
        DtlsRole::Client => DtlsPreference::Client,
        DtlsRole::Server => DtlsPreference::Server,
    }
}

fn refusal(error: SdpError) -> Refusal {
    let code = Code::named(error.code()).unwrap_or(Code::SdpInvalid);
    Refusal::new(code).because(error.to_string())
}

fn bad_request(message: &str) -> Refusal {
    Refusal::new(Code::BadRequest).because(message)
}

fn not_watching() -> Refusal {
    bad_request("This transport does not watch a room.")
}
