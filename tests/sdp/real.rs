//! Offers and answers of real clients.

use greenroom::rtp::sdp::{
    DtlsPreference, Fragment, PublishAnswer, PublishOffer, SdpError, Setup, WatchOffer, WhepOffer,
};
use greenroom::rtp::track::{Codec, CodecParameters, TrackIn};
use rtc_sdp::{MediaDescription, SessionDescription};
use signaling::media::{MediaKind, Seat};

use crate::{Ours, corpus, counting_ssrcs, file};

fn publish(name: &str) -> PublishAnswer {
    let text = file("publish", name);
    let offer = PublishOffer::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    offer.answer(&Ours::new().local(), DtlsPreference::Client)
}

/// Our text as an independent parser reads it.
fn read(text: &str) -> SessionDescription {
    SessionDescription::unmarshal(&mut std::io::Cursor::new(text.as_bytes()))
        .unwrap_or_else(|error| panic!("rtc-sdp refuses ours: {error}\n{text}"))
}

fn attribute<'a>(media: &'a MediaDescription, key: &str) -> Option<&'a str> {
    media.attributes.iter().find(|found| found.key == key)?.value.as_deref()
}

fn has(media: &MediaDescription, key: &str) -> bool {
    media.attributes.iter().any(|found| found.key == key)
}

fn bundle(description: &SessionDescription) -> Vec<String> {
    let groups = description.attributes.iter().filter(|found| found.key == "group");
    let mut values = groups.filter_map(|group| group.value.as_deref());
    let words = values.next().unwrap_or_default().split(' ');
    words.skip(1).map(str::to_owned).collect()
}

/// What RFC 3264, 8829 and 9143 demand of any answer.
fn check_answer(name: &str, offer: &str, answer: &str, direction: &str) {
    let (offer, answer) = (read(offer), read(answer));
    let (offered, answered) = (&offer.media_descriptions, &answer.media_descriptions);
    assert_eq!(offered.len(), answered.len(), "{name}: one m-line for each");
    let mut live = Vec::new();
    for (theirs, ours) in offered.iter().zip(answered) {
        assert_eq!(theirs.media_name.media, ours.media_name.media, "{name}");
        assert_eq!(theirs.media_name.protos, ours.media_name.protos, "{name}");
        assert_eq!(attribute(theirs, "mid"), attribute(ours, "mid"), "{name}");
        let formats = &ours.media_name.formats;
        assert!(formats.iter().all(|pt| theirs.media_name.formats.contains(pt)), "{name}");
        if ours.media_name.port.value == 0 {
            assert!(!has(ours, "ice-ufrag"), "{name}: rejected means nothing but that");
            continue;
        }
        live.extend(attribute(ours, "mid").map(str::to_owned));
        assert!(has(ours, direction) && has(ours, "rtcp-mux"), "{name}");
        assert!(matches!(attribute(ours, "setup"), Some("active" | "passive")), "{name}");
        assert_eq!(attribute(ours, "ice-ufrag"), Some("ourUfrag"), "{name}");
        let print = attribute(ours, "fingerprint").unwrap_or_default();
        assert!(print.starts_with("sha-256 A0:A1:A2:"), "{name}: {print}");
        for line in ours.attributes.iter().filter(|line| line.key == "extmap") {
            let (id, uri) =
                line.value.as_deref().and_then(|it| it.split_once(' ')).expect("extmap");
            let offered = theirs.attributes.iter().filter(|theirs| theirs.key == "extmap");
            let same = |value: &str| {
                let (theirs, name) = value.split_once(' ').unwrap_or_default();
                name == uri && theirs.split('/').next() == Some(id)
            };
            let found = offered.filter_map(|theirs| theirs.value.as_deref()).any(same);
            assert!(found, "{name}: extension {id} {uri} was not offered");
        }
        let layers = |direction: &str, line: Option<&str>| {
            line.map(|line| line.replace(direction, "").trim().to_owned())
        };
        let offered = layers("send", attribute(theirs, "simulcast"));
        let answered = layers("recv", attribute(ours, "simulcast"));
        assert_eq!(offered, answered, "{name}: every layer is taken");
        let rids = ours.attributes.iter().filter(|line| line.key == "rid").count();
        assert_eq!(rids, answered.map_or(0, |layers| layers.split(';').count()), "{name}");
    }
    assert!(!live.is_empty(), "{name}");
    assert_eq!(bundle(&answer), live, "{name}: the bundle is what lives");
}

#[test]
fn every_real_publisher_is_answered_by_the_rules() {
    for (name, text) in corpus("publish") {
        let answer = publish(&name);
        check_answer(&name, &text, &answer.sdp, "recvonly");
        let kinds: Vec<MediaKind> = answer.tracks.iter().map(|track| track.kind).collect();
        assert!(kinds.contains(&MediaKind::Audio) && kinds.contains(&MediaKind::Video), "{name}");
        let expected = if name.contains("four") { 4 } else { 2 };
        assert_eq!(answer.tracks.len(), expected, "{name}");
        let mids: Vec<&str> = answer.tracks.iter().map(|track| track.mid.as_str()).collect();
        assert!(mids.iter().all(|mid| !mid.is_empty()), "{name}");
        let expected = if name.starts_with("ffmpeg") { Setup::Active } else { answer.setup };
        assert_eq!(answer.setup, expected, "{name}");
    }
}

fn codecs(track: &TrackIn) -> Vec<(Codec, u8, Option<u8>)> {
    track.codecs.iter().map(|codec| (codec.codec, codec.pt, codec.rtx_pt)).collect()
}

fn video(answer: &PublishAnswer) -> &TrackIn {
    answer.tracks.iter().find(|track| track.kind == MediaKind::Video).expect("video")
}

#[test]
fn chromium_keeps_its_order_and_its_extension_ids() {
    let answer = publish("chromium-send");
    let track = video(&answer);
    let first: Vec<Codec> = track.codecs.iter().map(|codec| codec.codec).collect();
    use Codec::{Av1, H264, Vp8, Vp9};
    assert_eq!(first, [Vp8, H264, H264, H264, Av1, Vp9]);
    assert!(track.codecs.iter().all(|codec| codec.rtx_pt == Some(codec.pt + 1)));
    assert!(track.feedback.nack && track.feedback.pli && track.feedback.transport_cc);
    assert!(track.extensions.mid.is_some() && track.extensions.transport_cc.is_some());
    assert!(track.ssrc.is_some() && track.rtx_ssrc.is_some());
    let preferred = publish("chromium-preferences");
    assert_eq!(codecs(video(&preferred)), [(Av1, 45, Some(46)), (Vp9, 98, Some(99))]);
}

/// The RED payload type of the first sound track, and the numbers of its m-line.
fn red(answer: &PublishAnswer) -> (Option<u8>, Vec<String>) {
    let audio = answer.tracks.iter().find(|track| track.kind == MediaKind::Audio).expect("audio");
    let description = read(&answer.sdp);
    let lines = description.media_descriptions;
    let line = lines.into_iter().find(|line| line.media_name.media == "audio").expect("audio");
    (audio.codecs[0].red_pt, line.media_name.formats)
}

#[test]
fn chromium_is_asked_for_red_by_the_order_of_the_answer_and_firefox_is_not() {
    let answer = publish("chromium-send");
    assert_eq!(red(&answer), (Some(63), vec!["63".to_owned(), "111".to_owned()]));
    assert!(answer.sdp.contains("a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"));
    let text = file("publish", "chromium-send");
    let offer = PublishOffer::parse(&text).expect("Chromium's offer").without_red();
    let answer = offer.answer(&Ours::new().local(), DtlsPreference::Client);
    assert_eq!(red(&answer), (None, vec!["111".to_owned()]));
    assert!(!answer.sdp.contains("red/48000"));
    for name in ["firefox-simulcast", "ffmpeg"] {
        assert_eq!(red(&publish(name)).0, None, "{name}");
    }
}

#[test]
fn firefox_feedback_of_removed_types_is_ignored() {
    let text = file("publish", "firefox-preferences");
    assert!(text.contains("a=rtcp-fb:120 nack"), "the corpus shows the quirk");
    let answer = publish("firefox-preferences");
    assert!(!answer.sdp.contains(":120 "), "{}", answer.sdp);
    assert_eq!(codecs(video(&answer)), [(Codec::Av1, 99, Some(100)), (Codec::Vp9, 121, Some(125))]);
}

#[test]
fn simulcast_layers_are_known_by_their_rids() {
    for name in ["firefox-simulcast", "chromium-simulcast"] {
        let answer = publish(name);
        let track = video(&answer);
        assert_eq!(track.rids, ["q", "h", "f"], "{name}");
        assert_eq!((track.ssrc, track.rtx_ssrc), (None, None), "{name}: an SSRC names no layer");
        assert!(
            track.extensions.rid.is_some() && track.extensions.repaired_rid.is_some(),
            "{name}"
        );
        assert!(answer.sdp.contains("a=rid:h recv\r\n"), "{name}");
        assert!(answer.sdp.contains("a=simulcast:recv q;h;f\r\n"), "{name}");
    }
    assert!(video(&publish("chromium-send")).rids.is_empty());
}

#[test]
fn ffmpeg_is_passive_has_no_candidates_and_credentials_per_line() {
    let text = file("publish", "ffmpeg");
    assert!(!text.contains("a=candidate"));
    let offer = PublishOffer::parse(&text).expect("FFmpeg's offer");
    assert_eq!(offer.peer().setup, Setup::Passive);
    let answer = offer.answer(&Ours::new().local(), DtlsPreference::Server);
    assert_eq!(answer.setup, Setup::Active, "a passive peer leaves no choice");
    assert_eq!(codecs(video(&answer)), [(Codec::H264, 106, Some(105))]);
    assert!(answer.sdp.contains("profile-level-id=42000d"), "its own profile is answered");
    assert!(publish("ffmpeg-main").sdp.contains("profile-level-id=4d000d"));
}

#[test]
fn gstreamer_bundle_only_lines_are_live() {
    let text = file("publish", "gstreamer-send-vp8");
    assert!(text.contains("m=audio 0 ") && text.contains("a=bundle-only"));
    let answer = publish("gstreamer-send-vp8");
    assert_eq!(answer.tracks.len(), 2);
    assert!(answer.sdp.contains("a=group:BUNDLE video0 audio1\r\n"));
    assert_eq!(codecs(video(&answer)), [(Codec::Vp8, 96, None)]);
}

#[test]
fn data_channels_and_receivers_in_an_offer_to_send_are_rejected() {
    let answer = publish("chromium-mixed").sdp;
    let rejected: Vec<&str> =
        answer.lines().filter(|line| line.starts_with("m=") && line.contains(" 0 ")).collect();
    assert_eq!(rejected.len(), 3, "{rejected:?}");
    assert!(rejected.contains(&"m=application 0 UDP/DTLS/SCTP webrtc-datachannel"));
}

#[test]
fn candidates_are_complete_ordered_and_once() {
    let answer = publish("chromium-send").sdp;
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("a=candidate")).collect();
    assert_eq!(
        lines,
        [
            "a=candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host",
            "a=candidate:2 1 udp 2130706175 192.0.2.7 7882 typ host",
            "a=candidate:3 1 udp 2130705919 2001:db8::7 7882 typ host",
            "a=candidate:4 1 tcp 1520435199 192.0.2.7 443 typ host tcptype passive",
            "a=candidate:5 1 tcp 1520434943 2001:db8::7 443 typ host tcptype passive",
            "a=candidate:6 1 ssltcp 1520418815 192.0.2.7 443 typ host tcptype passive",
        ]
    );
    assert_eq!(answer.matches("a=end-of-candidates\r\n").count(), 1);
    assert!(answer.contains("a=ice-lite\r\n"));
}

#[test]
fn the_watch_offer_has_the_promised_order_and_dialect() {
    let mut ssrcs = counting_ssrcs();
    let mut offer = WatchOffer::new(2, true, &mut ssrcs);
    let mut ours = Ours::new();
    let text = offer.offer(&ours.local());
    let description = read(&text);
    assert_eq!(bundle(&description), ["d", "a0", "v0", "s", "a1", "v1", "a2", "v2"]);
    for media in &description.media_descriptions {
        assert_eq!(attribute(media, "setup"), Some("active"));
    }
    assert!(text.contains("a=sctp-port:5000\r\na=max-message-size:16384\r\n"));
    assert!(text.contains(" UDP/TLS/RTP/SAVPF 96 97 98 99 102 103 104 105\r\n"));
    for media in &description.media_descriptions {
        let video = media.media_name.media == "video";
        let named = attribute(media, "extmap").is_some_and(|line| line.contains("transport-wide"));
        assert_eq!(named, video, "sound has no stream for repairs");
        assert!(!video || has(media, "rtcp-fb"));
    }
    assert_eq!(text.matches("transport-cc\r\n").count(), 4 * 4, "each codec of each video slot");
    assert!(text.contains("a=msid:seat1 v1\r\n") && text.contains("a=msid:screen s\r\n"));

    let before = offer.slots().to_vec();
    assert!(offer.grow(8, &mut ssrcs) && !offer.grow(3, &mut ssrcs));
    assert_eq!(&offer.slots()[..before.len()], before, "old slots never change");
    assert_eq!(offer.slots().len(), 3 + 2 * 8);
    ours.version = 2;
    let grown = offer.offer(&ours.local());
    assert!(grown.contains("o=- 42 2 IN IP4 127.0.0.1\r\n"));
    let tail = text.find("m=application").expect("data m-line");
    assert!(grown.contains(&text[tail..]), "growing only appends");
    let mut numbers: Vec<u32> =
        offer.slots().iter().flat_map(|slot| [Some(slot.ssrc), slot.rtx_ssrc]).flatten().collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 9 + 2 * 10, "all SSRCs differ");
}

#[test]
fn slots_survive_a_bad_source_of_ssrcs() {
    let offer = WatchOffer::new(8, true, &mut || 0);
    let mut numbers: Vec<u32> = offer.slots().iter().map(|slot| slot.ssrc).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(numbers.len() == 19 && !numbers.contains(&0));
}

#[test]
fn every_real_viewer_is_understood() {
    for (name, text) in corpus("watch-answer") {
        let seats: u8 = name.rsplit('-').next().and_then(|n| n.parse().ok()).expect("seats");
        let offer = WatchOffer::new(seats, true, &mut counting_ssrcs());
        let answer = offer.parse_answer(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(answer.peer.setup, Setup::Passive, "{name}");
        assert!(answer.data_channels, "{name}");
        assert_eq!(answer.tracks.len(), offer.slots().len(), "{name}");
        let (audio, video) = (&answer.tracks[0], &answer.tracks[1]);
        // The answers were caught before our offers had RED.
        let opus = CodecParameters { codec: Codec::Opus, pt: 111, rtx_pt: None, red_pt: None };
        assert_eq!(audio.codecs, [opus]);
        let known: Vec<Codec> = video.codecs.iter().map(|codec| codec.codec).collect();
        let expected: &[Codec] = match name.split('-').next() {
            Some("chromium") => &[Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1],
            Some("firefox") => &[Codec::Vp8, Codec::Vp9, Codec::Av1],
            _ => &[Codec::Vp8, Codec::H264],
        };
        assert_eq!(known, expected, "{name}");
        assert!(video.codecs.iter().all(|codec| codec.rtx_pt == Some(codec.pt + 1)), "{name}");
        assert_eq!(video.rtx_ssrc, offer.slots()[1].rtx_ssrc, "{name}");
    }
}

/// The dependency descriptor's line under this id, for this direction.
fn described(id: &str) -> String {
    let name =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    format!("a=extmap:{id} {name}\r\n")
}

const MIXED: &str = "a=extmap-allow-mixed\r\n";

#[test]
fn dependency_descriptors_go_to_viewers_who_take_av1_and_both_forms_of_header_extensions() {
    let offer = WatchOffer::new(0, true, &mut counting_ssrcs());
    let sdp = offer.offer(&Ours::new().local());
    assert_eq!(sdp.matches(&described("4")).count(), 2, "in each video slot");
    assert_eq!(sdp.matches(MIXED).count(), 2);
    let text = file("watch-answer", "chromium-0");
    let taken = |text: &str, lines: &str| {
        let text = text.replace("a=mid:v0\r\n", &format!("a=mid:v0\r\n{lines}"));
        let answer = offer.parse_answer(&text).expect("an answer");
        assert_eq!(answer.tracks[2].dependency, None, "the other slot says nothing of it");
        answer.tracks[1].dependency
    };
    let both = format!("{MIXED}{}", described("4"));
    assert_eq!(taken(&text, &both), Some(4));
    assert_eq!(taken(&text, &described("4")), None, "it cannot read a key frame's");
    assert_eq!(taken(&text, MIXED), None);
    assert_eq!(taken(&text, &format!("{MIXED}{}", described("5"))), None, "not as it was offered");
    assert_eq!(taken(&text, &format!("{MIXED}{}", described("4/sendonly"))), None);
    assert_eq!(taken(&text, &format!("{MIXED}{}", described("4/recvonly"))), Some(4));
    assert_eq!(taken(&text.replace("AV1/90000", "AVX/90000"), &both), None, "no AV1");
}

#[test]
fn a_player_that_offers_to_read_dependency_descriptors_gets_them_under_its_own_number() {
    let text = file("whep", "chromium-recv");
    let answer = |text: &str| {
        let offer = WhepOffer::parse(text).expect("Chromium's offer");
        let ours = Ours::new();
        offer.answer(&ours.local(), DtlsPreference::Client, Seat::HOST, &mut counting_ssrcs())
    };
    let plain = answer(&text);
    assert!(plain.tracks.iter().all(|track| track.dependency.is_none()));
    assert!(!plain.sdp.contains("extmap-allow-mixed"));
    let video = text.find("m=video").expect("video");
    let (before, video) = text.split_at(video);
    let asks = |before: &str| {
        let line = video.find("a=extmap:").expect("an extension");
        let (head, tail) = video.split_at(line);
        answer(&format!("{before}{head}{}{tail}", described("12")))
    };
    let taken = asks(before);
    let ids: Vec<_> = taken.tracks.iter().map(|track| track.dependency).collect();
    assert_eq!(ids, [None, Some(12)]);
    assert!(taken.sdp.contains(&described("12")) && taken.sdp.contains(MIXED));
    let refused = asks(&before.replace(MIXED, ""));
    assert!(refused.tracks.iter().all(|track| track.dependency.is_none()));
    assert!(!refused.sdp.contains(&described("12")));
}

#[test]
fn an_answer_to_another_offer_is_refused() {
    let text = file("watch-answer", "chromium-2");
    let other = WatchOffer::new(3, true, &mut counting_ssrcs());
    assert_eq!(other.parse_answer(&text), Err(SdpError::AnswerMismatch));
    let offer = WatchOffer::new(2, true, &mut counting_ssrcs());
    let renamed = text.replace("a=mid:v1\r\n", "a=mid:v7\r\n");
    assert_eq!(offer.parse_answer(&renamed), Err(SdpError::AnswerMismatch));
    let active = text.replace("a=setup:passive", "a=setup:active");
    assert_eq!(offer.parse_answer(&active), Err(SdpError::BadSetup));
}

#[test]
fn rejected_and_trimmed_slots_are_reported_as_such() {
    let offer = WatchOffer::new(2, true, &mut counting_ssrcs());
    let text = file("watch-answer", "chromium-2");
    let screen = text.find("a=mid:s\r\n").expect("screen");
    let line = text[..screen].rfind("m=video 9").expect("its m-line");
    let rejected = format!("{}m=video 0{}", &text[..line], &text[line + "m=video 9".len()..]);
    let answer = offer.parse_answer(&rejected).expect("still an answer");
    assert_eq!(answer.tracks.len(), offer.slots().len() - 1);
    assert!(answer.tracks.iter().all(|track| track.seat != Seat::SCREEN));

    let without_rtx = text.replace("apt=96", "apt=1");
    let answer = offer.parse_answer(&without_rtx).expect("still an answer");
    let vp8 = answer.tracks[1].codecs[0];
    assert_eq!((vp8.codec, vp8.rtx_pt), (Codec::Vp8, None));
}

#[test]
fn every_real_player_is_answered_in_its_own_numbers() {
    for (name, text) in corpus("whep") {
        let offer = WhepOffer::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let ours = Ours::new();
        let answer =
            offer.answer(&ours.local(), DtlsPreference::Server, Seat::HOST, &mut counting_ssrcs());
        check_answer(&name, &text, &answer.sdp, "sendonly");
        assert_eq!(answer.setup, Setup::Passive, "{name}");
        assert_eq!(answer.tracks.len(), 2, "{name}");
        for track in &answer.tracks {
            assert!(answer.sdp.contains(&format!("a=ssrc:{} cname:seat0\r\n", track.ssrc)));
            let mut seen: Vec<Codec> = track.codecs.iter().map(|codec| codec.codec).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), track.codecs.len(), "{name}: one payload type per codec");
        }
    }
    let text = file("whep", "chromium-recv");
    let answer = WhepOffer::parse(&text).expect("Chromium's offer").answer(
        &Ours::new().local(),
        DtlsPreference::Server,
        Seat::HOST,
        &mut counting_ssrcs(),
    );
    assert!(answer.sdp.contains("profile-level-id=42e01f"), "constrained baseline is chosen");
    let sound = answer.tracks.iter().find(|track| track.kind == MediaKind::Audio).expect("audio");
    assert_eq!(sound.codecs[0].red_pt, Some(63));
    assert!(answer.sdp.contains(" 111 63\r\n"), "what we send needs no order: {}", answer.sdp);
}

#[test]
fn fragments_are_read_and_written() {
    let trickle = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.1 51556 typ host\r\na=end-of-candidates\r\n";
    let fragment = Fragment::parse(trickle).expect("RFC 9725 figure 4");
    assert_eq!(fragment.candidates, 1);
    assert!(fragment.end_of_candidates);
    let (ufrag, password) = fragment.credentials.expect("credentials");
    assert_eq!((ufrag.as_str(), password.as_str()), ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"));

    let ours = Ours::new();
    let written = Fragment::write(&ours.local(), "0");
    let back = Fragment::parse(&written).expect("our own fragment");
    assert_eq!(back.candidates, 6);
    assert_eq!(back.ufrag.as_deref(), Some("ourUfrag"));
    assert_eq!(Fragment::parse("a=mid:0\r\n"), Err(SdpError::MissingIce));
    assert_eq!(Fragment::parse("hello"), Err(SdpError::BadLine(1)));
}
