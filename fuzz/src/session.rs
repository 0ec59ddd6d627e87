//! A show as one session: a publisher and two viewers with real keys say whatever the input makes them say, the
//! room commands what it likes, and time goes by. Nothing panics, counts add up, every packet that leaves can be
//! read by whom it is for, nobody gets what is not for them, and no number leaves with two contents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use greenroom::rtp::extensions::LONGEST_ONE_BYTE;
use greenroom::rtp::rtcp::build::{FeedbackHeader, transport_feedback};
use greenroom::rtp::seq::SequenceExtender;
use greenroom::rtp::track::{Codec, CodecParameters, TrackIn, TrackOut};
use greenroom::sfu::command::{Purpose, ShardCommand};
use greenroom::sfu::egress::Path;
use greenroom::sfu::transport::IceCredentials;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use signaling::media::{Audience, Channel, CloseReason, MediaKind, Seat, TileSize};

use super::cores::{Cores, ROOM, Setup};
use super::peers::media::{
    AV1_PT, DEPENDENCY, RED_PT, REPAIRED_RID, RID, RTX_PT, SOUND_PT, VIDEO_PT, VP9_PT,
};
use super::peers::tracks::{layers_in, slots_in_red, slots_out, sound_in, video_in};
use super::script::Script;

const PUBLISHER: usize = 0;
const VIDEO_SSRC: u32 = 1000;
const SOUND_SSRC: u32 = 2000;
const AUDIO_LEVEL: u8 = 7;
const H264_PT: u8 = 100;
/// The highest seat a viewer has slots for, and how far apart their SSRCs are.
const MAX_SEAT: u8 = 3;
const SEAT_STEP: u32 = 100_000;
/// Steps of one input: enough for every state there is, and few enough for a fuzzer.
const MAX_STEPS: usize = 200;

/// The target.
pub fn session(data: &[u8]) {
    let mut script = Script(data);
    let mut show = Show::new(script.byte());
    for _ in 0..MAX_STEPS {
        let Some(step) = script.step() else { break };
        show.step(step, &mut script);
        show.cores.check();
    }
    // Whatever waits has its time.
    for _ in 0..20 {
        show.cores.pass(Duration::from_millis(100));
    }
    show.cores.check();
}

struct Show {
    cores: Cores,
    simulcast: bool,
    /// The next sequence number and timestamp of each stream of the publisher.
    numbers: [(u16, u32); 8],
    wide: u16,
    feedback: u8,
    extender: [SequenceExtender; 3],
    restarts: u32,
    rules: Rules,
}

/// What the room has commanded: who may see and hear the publisher, where.
struct Rules {
    /// Who sees each seat that the publisher fills.
    seats: BTreeMap<u8, Audience>,
    /// The publisher's sound and video go on.
    open: [bool; 2],
    /// Of each member: sees backstage seats, never sees this seat, has paused the video of these.
    views: [(bool, Option<u8>, BTreeSet<u8>); 3],
}

impl Rules {
    /// The streams in which a viewer may get something new. Repairs are not told apart: they are of the past.
    fn allowed(&self, member: usize) -> BTreeSet<u32> {
        let (backstage, own, paused) = &self.views[member];
        let mut allowed = BTreeSet::new();
        for seat in 0..=MAX_SEAT {
            let base = viewer_ssrc(member) + SEAT_STEP * u32::from(seat);
            allowed.insert(base + 1);
            let seen = match self.seats.get(&seat) {
                Some(Audience::Everyone) => true,
                Some(Audience::Backstage) => *backstage,
                _ => false,
            };
            if !seen || *own == Some(seat) {
                continue;
            }
            if self.open[1] && !paused.contains(&seat) {
                allowed.insert(base);
            }
            if self.open[0] {
                allowed.insert(base + 2);
            }
        }
        allowed
    }
}

fn with_h264(codecs: &mut Vec<CodecParameters>) {
    let (codec, pt, rtx_pt) = (Codec::H264, H264_PT, Some(H264_PT + 1));
    codecs.push(CodecParameters { codec, pt, rtx_pt, red_pt: None });
}

fn published(simulcast: bool) -> Vec<TrackIn> {
    let mut sound = sound_in(SOUND_SSRC);
    sound.extensions.audio_level = Some(AUDIO_LEVEL);
    let mut video = if simulcast { layers_in(VIDEO_SSRC) } else { video_in(VIDEO_SSRC) };
    with_h264(&mut video.codecs);
    vec![sound, video]
}

fn watched(mut tracks: Vec<TrackOut>, dependency: Option<u8>) -> Purpose {
    for track in tracks.iter_mut().filter(|track| track.kind == MediaKind::Video) {
        with_h264(&mut track.codecs);
        track.dependency = dependency;
    }
    Purpose::Watch { tracks, backstage: false, own_seat: None }
}

fn viewer_ssrc(member: usize) -> u32 {
    500_000 + 10 * member as u32
}

impl Show {
    /// Bits of `form`: a second shard, simulcast, AES-CM for the second viewer.
    fn new(form: u8) -> Self {
        let shards = 1 + (form & 1);
        let simulcast = form & 2 != 0;
        let setup = |cm: bool| Setup {
            profile: if cm {
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80
            } else {
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm
            },
            data_channels: false,
            connects: false,
        };
        let mut cores = Cores::new(shards, u64::from(form));
        cores.add(0, Purpose::Publish(published(simulcast)), setup(false));
        let plain = slots_out(Seat::HOST, viewer_ssrc(1));
        cores.add(0, watched(plain, None), setup(false));
        let red = slots_in_red(Seat::HOST, viewer_ssrc(2));
        cores.add(shards - 1, watched(red, Some(DEPENDENCY)), setup(form & 4 != 0));
        cores.members[2].reads_descriptors = true;
        cores.connect();
        let mut show = Self {
            cores,
            simulcast,
            numbers: [(65_530, u32::MAX - 9_000); 8],
            wide: 65_500,
            feedback: 0,
            extender: Default::default(),
            restarts: 0,
            rules: Rules { seats: BTreeMap::new(), open: [true; 2], views: Default::default() },
        };
        let source = Some(show.cores.members[PUBLISHER].id);
        show.on_all(&ShardCommand::SetSeat {
            room: ROOM,
            seat: Seat::HOST,
            source,
            audience: Audience::Everyone,
        });
        show.rules.seats.insert(Seat::HOST.0, Audience::Everyone);
        show.apply_rules();
        show
    }

    fn apply_rules(&mut self) {
        for (number, member) in self.cores.members.iter_mut().enumerate() {
            member.allowed = Some(self.rules.allowed(number));
        }
    }

    fn on_all(&mut self, command: &ShardCommand) {
        for shard in 0..self.cores.cores.len() {
            self.cores.command(shard as u8, command.clone());
        }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step % 14 {
            0 => self.cores.pass(Duration::from_millis(u64::from(script.byte()))),
            1 => {
                for _ in 0..script.byte() % 32 {
                    self.cores.pass(Duration::from_millis(50));
                }
            }
            2..=4 => self.media(script),
            5 => self.any_rtp(script),
            6 => self.report(PUBLISHER, script),
            7 => self.report(1 + usize::from(script.byte() & 1), script),
            8 => self.tell_arrivals(script),
            9 => self.ask_again(script),
            10 => self.datagram(script),
            11 | 12 => self.command(script),
            _ => {
                let byte = script.byte();
                self.cores.move_away(usize::from(byte & 3) % 3, byte & 4 != 0);
                self.cores.flush(0);
            }
        }
    }

    /// Packets of the publisher as clients make them, mostly: which stream, how numbered, what inside.
    fn media(&mut self, script: &mut Script<'_>) {
        let (flags, kind) = (script.byte(), script.byte());
        let pt = match flags & 3 {
            0 | 1 => [VIDEO_PT, VP9_PT, H264_PT, AV1_PT][usize::from(kind & 3)],
            2 => SOUND_PT,
            _ => RED_PT,
        };
        let repair = flags & 3 == 1;
        let sound = flags & 2 != 0;
        let layer = if self.simulcast && !sound { kind >> 2 & 3 } else { 0 };
        let stream = usize::from(if sound { 7 } else { layer }) + if repair { 3 } else { 0 };
        let ssrc = match (sound, repair) {
            (true, _) => SOUND_SSRC,
            (false, false) => VIDEO_SSRC + 10 * u32::from(layer),
            (false, true) => VIDEO_SSRC + 10 * u32::from(layer) + 1,
        };
        let payload = self.payload(flags, repair, script);
        let elements = if flags & 0x40 != 0 { script.block() } else { &[] };
        let (skipped, times) =
            if flags & 0x80 != 0 { (script.byte() as i8, script.byte() % 20) } else { (0, 0) };
        if flags & 8 != 0 {
            self.numbers[stream & 7].1 = self.numbers[stream & 7].1.wrapping_add(3_000);
        }
        self.numbers[stream & 7].0 = self.numbers[stream & 7].0.wrapping_add_signed(skipped.into());
        for _ in 0..=times {
            let (sequence, timestamp) = self.numbers[stream & 7];
            self.numbers[stream & 7].0 = sequence.wrapping_add(1);
            let pt = if repair { pt + (RTX_PT - VIDEO_PT) } else { pt };
            let marker = u8::from(flags & 4 != 0) << 7;
            let mut packet = vec![0x90, marker | pt];
            packet.extend_from_slice(&sequence.to_be_bytes());
            packet.extend_from_slice(&timestamp.to_be_bytes());
            packet.extend_from_slice(&ssrc.to_be_bytes());
            if pt == AV1_PT && elements.len() > LONGEST_ONE_BYTE {
                self.described(&mut packet, elements);
            } else {
                self.extensions(&mut packet, sound, repair, layer, elements);
            }
            packet.extend_from_slice(&payload);
            if let Some(sealed) = self.cores.members[PUBLISHER].seal(&packet) {
                self.cores.send(PUBLISHER, sealed);
            }
        }
        if flags & 0x10 != 0 {
            self.cores.flush(0);
        }
    }

    /// A payload of the input, with filler behind it as asked for; a repair's own begins with what it repairs.
    fn payload(&self, flags: u8, repair: bool, script: &mut Script<'_>) -> Vec<u8> {
        let mut payload = Vec::new();
        if repair {
            let back = u16::from(script.byte());
            payload.extend_from_slice(&self.numbers[0].0.wrapping_sub(back).to_be_bytes());
        }
        payload.extend_from_slice(script.block());
        if flags & 0x20 != 0 {
            let more = usize::from(script.byte()) * 6;
            payload.resize(payload.len() + more, 7);
        }
        payload
    }

    /// A dependency descriptor alone, in the two-byte form: of a key frame with all its templates.
    fn described(&mut self, packet: &mut Vec<u8>, descriptor: &[u8]) {
        let mut inside = vec![DEPENDENCY, descriptor.len() as u8];
        inside.extend_from_slice(descriptor);
        inside.resize(inside.len().next_multiple_of(4), 0);
        packet.extend_from_slice(&[0x10, 0x00, 0, (inside.len() / 4) as u8]);
        packet.extend_from_slice(&inside);
    }

    fn extensions(
        &mut self,
        packet: &mut Vec<u8>,
        sound: bool,
        repair: bool,
        layer: u8,
        elements: &[u8],
    ) {
        let [high, low] = self.wide.to_be_bytes();
        let mut inside = Vec::new();
        if !sound {
            self.wide = self.wide.wrapping_add(1);
            inside.extend_from_slice(&[3 << 4 | 1, high, low]);
        }
        if self.simulcast && !sound {
            let id = if repair { REPAIRED_RID } else { RID };
            inside.extend_from_slice(&[id << 4, b'0' + layer]);
        }
        inside.extend_from_slice(elements);
        inside.resize(inside.len().next_multiple_of(4), 0);
        packet.extend_from_slice(&[0xbe, 0xde]);
        packet.extend_from_slice(&((inside.len() / 4) as u16).to_be_bytes());
        packet.extend_from_slice(&inside);
    }

    /// Anything at all of somebody with keys; viewers must not publish.
    fn any_rtp(&mut self, script: &mut Script<'_>) {
        let who = usize::from(script.byte()) % 3;
        let mut packet = vec![0x80];
        packet[0] |= script.byte() & 0x3f;
        packet.extend_from_slice(script.block());
        if let Some(sealed) = self.cores.members[who].seal(&packet) {
            self.cores.send(who, sealed);
        }
    }

    /// A compound of RTCP packets; their types and bodies are the input's, and often they name a stream that exists.
    fn report(&mut self, who: usize, script: &mut Script<'_>) {
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 99];
        for _ in 0..=script.byte() % 4 {
            let (first, kind) = (script.byte(), 200 + script.byte() % 8);
            let mut body = script.block().to_vec();
            body.resize(body.len().next_multiple_of(4), 0);
            let named = match (who, first & 0x80 != 0) {
                (_, false) => None,
                (PUBLISHER, true) => Some(VIDEO_SSRC),
                (viewer, true) => Some(viewer_ssrc(viewer) + u32::from(first >> 5 & 3)),
            };
            // The first word is the sender's, the second the stream's; not so of sender reports.
            let place = if kind == 200 { 0..4 } else { 4..8 };
            if let (Some(ssrc), Some(word)) = (named, body.get_mut(place)) {
                word.copy_from_slice(&ssrc.to_be_bytes());
            }
            compound.extend_from_slice(&[0x80 | (first & 0x1f), kind]);
            compound.extend_from_slice(&((body.len() / 4) as u16).to_be_bytes());
            compound.extend_from_slice(&body);
        }
        if let Some(sealed) = self.cores.members[who].seal(&compound) {
            self.cores.send(who, sealed);
        }
    }

    /// A viewer tells what arrived, or something near it: every so many left out, late or early.
    fn tell_arrivals(&mut self, script: &mut Script<'_>) {
        let (byte, left_out, later) = (script.byte(), script.byte(), script.byte() as i8);
        let who = 1 + usize::from(byte & 1);
        let member = &mut self.cores.members[who];
        let Some((_, first)) = member.arrived.first().copied() else { return };
        let extender = &mut self.extender[who];
        let mut told: Vec<(u64, i64)> = Vec::new();
        for (at, (number, when)) in member.arrived.iter().enumerate() {
            let number = extender.extend(*number);
            let lost = left_out > 0 && at % usize::from(left_out) == 0;
            if !lost && told.last().is_none_or(|(last, _)| *last < number) {
                let since = when.duration_since(first).as_micros() as i64;
                told.push((
                    number,
                    (since + 1_000_000 + i64::from(later) * 250 * at as i64).max(0),
                ));
            }
        }
        if byte & 2 == 0 {
            member.arrived.clear();
        }
        let mut rest = told.as_slice();
        while let Some((base, _)) = rest.first() {
            let mut out = vec![0x80, 201, 0, 1, 0, 0, 0, 99];
            let header = FeedbackHeader {
                sender_ssrc: 99,
                media_ssrc: viewer_ssrc(who),
                feedback_count: self.feedback,
            };
            let covered = transport_feedback(&mut out, header, *base, rest).max(1);
            rest = rest.split_at(covered.min(rest.len())).1;
            self.feedback = self.feedback.wrapping_add(1);
            if let Some(sealed) = self.cores.members[who].seal(&out) {
                self.cores.send(who, sealed);
            }
        }
    }

    /// A viewer asks for packets near its newest again.
    fn ask_again(&mut self, script: &mut Script<'_>) {
        let (byte, back, mask) = (script.byte(), script.byte(), script.word());
        let who = 1 + usize::from(byte & 1);
        let ssrc = viewer_ssrc(who) + u32::from(byte >> 1 & 3);
        let member = &mut self.cores.members[who];
        let newest = member.newest.get(&ssrc).copied().unwrap_or(0);
        let [high, low] = newest.wrapping_sub(back.into()).to_be_bytes();
        let [mask_high, mask_low] = mask.to_be_bytes();
        let mut nack = vec![0x81, 205, 0, 3, 0, 0, 0, 99];
        nack.extend_from_slice(&ssrc.to_be_bytes());
        nack.extend_from_slice(&[high, low, mask_high, mask_low]);
        if let Some(sealed) = member.seal(&nack) {
            self.cores.send(who, sealed);
        }
    }

    /// Bytes of somebody without keys, from where a client is or from elsewhere.
    fn datagram(&mut self, script: &mut Script<'_>) {
        let byte = script.byte();
        let bytes = script.block().to_vec();
        let member = &self.cores.members[usize::from(byte & 3) % 3];
        let elsewhere = Path { local: 0, remote: ([192, 0, 2, byte], 9).into() };
        let path = if byte & 8 != 0 { elsewhere } else { member.path };
        self.cores.datagram(member.shard, path, bytes);
    }

    fn command(&mut self, script: &mut Script<'_>) {
        let (what, byte, who) = (script.byte(), script.byte(), usize::from(script.byte()) % 3);
        let (id, publisher) = (self.cores.members[who].id, self.cores.members[PUBLISHER].id);
        let seat = Seat(byte >> 4);
        let on = byte & 1 != 0;
        let kind = if byte & 2 != 0 { MediaKind::Video } else { MediaKind::Audio };
        // What a command itself lets out may be of what was before, or of what is now.
        self.cores.members.iter_mut().for_each(|member| member.allowed = None);
        match what % 11 {
            0 => {
                let audience = [Audience::Nobody, Audience::Backstage, Audience::Everyone][who];
                let source = on.then_some(publisher);
                self.rules.seats.remove(&seat.0);
                if on {
                    self.rules.seats.insert(seat.0, audience);
                }
                self.on_all(&ShardCommand::SetSeat { room: ROOM, seat, source, audience });
            }
            1 | 2 => {
                self.rules.open[usize::from(kind == MediaKind::Video)] = on;
                self.on_all(&ShardCommand::SetGate { id: publisher, kind, open: on });
            }
            3 => {
                let own_seat = (byte & 2 != 0).then_some(seat);
                (self.rules.views[who].0, self.rules.views[who].1) = (on, own_seat.map(|s| s.0));
                self.on_all(&ShardCommand::SetViewer { id, backstage: on, own_seat });
            }
            4 if byte & 4 != 0 => self.on_all(&ShardCommand::PreferVoices { id, top: byte >> 4 }),
            4 => {
                let seat = on.then_some(seat);
                self.on_all(&ShardCommand::SetSpeaker { room: ROOM, seat });
            }
            5 => {
                let (width, height) = (script.word().max(1), script.word().max(1));
                let size = on.then_some(TileSize { width, height });
                self.on_all(&ShardCommand::PreferLayer { id, seat, size });
            }
            6 => {
                let paused = &mut self.rules.views[who].2;
                let _ = if on { paused.insert(seat.0) } else { paused.remove(&seat.0) };
                self.on_all(&ShardCommand::PauseVideo { id, seats: vec![seat], on });
            }
            7 => self.restart(who),
            8 => self.grow(who, byte),
            9 if byte > 240 => {
                self.on_all(&ShardCommand::Close { id, reason: CloseReason::Requested });
                self.cores.members[who].closed = true;
            }
            9 => self.cores.cores[0].path_closed(self.cores.members[who].path),
            _ => {
                let bytes = bytes::Bytes::from_static(b"{}");
                let channel = Channel::Events;
                self.on_all(&ShardCommand::BroadcastData { room: ROOM, channel, bytes });
            }
        }
        self.apply_rules();
    }

    /// New ICE credentials; the client uses them at once.
    fn restart(&mut self, who: usize) {
        self.restarts += 1;
        let local = IceCredentials {
            ufrag: format!("restarted{}", self.restarts),
            password: format!("password-of-the-restart-{:08}", self.restarts),
        };
        let member = &mut self.cores.members[who];
        let remote = Some(member.peer.local.clone());
        member.peer.remote = local.clone();
        let (id, shard) = (member.id, member.shard);
        self.cores.command(shard, ShardCommand::RestartIce { id, local, remote });
    }

    /// A viewer answers again, with the slots of two more seats.
    fn grow(&mut self, who: usize, byte: u8) {
        if who == PUBLISHER {
            return;
        }
        let ssrc = viewer_ssrc(who);
        let mut tracks = slots_out(Seat::HOST, ssrc);
        for seat in 1..=byte & MAX_SEAT {
            tracks.extend(slots_out(Seat(seat), ssrc + SEAT_STEP * u32::from(seat)));
        }
        let member = &self.cores.members[who];
        let dependency = member.reads_descriptors.then_some(DEPENDENCY);
        let Purpose::Watch { tracks, .. } = watched(tracks, dependency) else { return };
        let (id, shard, remote) = (member.id, member.shard, member.peer.as_remote());
        self.cores.command(shard, ShardCommand::SetRemote { id, remote, tracks });
    }
}
