//! SDP bombs and lies: each has its own name, none is a panic.

use greenroom::rtp::sdp::{
    DtlsPreference, MAX_CANDIDATES, MAX_FORMATS, MAX_MEDIA_LINES, MAX_SDP_BYTES, MAX_TRACKS,
    PublishOffer, SdpError, WhepOffer,
};

use crate::{Ours, file};

const SESSION: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
const TRANSPORT: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\na=rtcp-mux\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1f\r\n";
const VP8: &str = "a=rtpmap:96 VP8/90000\r\n";

/// One video m-line with `extra` in it.
fn video(mid: &str, formats: &str, extra: &str) -> String {
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF {formats}\r\na=mid:{mid}\r\na=sendonly\r\n{TRANSPORT}{extra}"
    )
}

fn one_line(formats: &str, extra: &str) -> String {
    format!("{SESSION}{}", video("0", formats, extra))
}

fn refusal(text: &str) -> SdpError {
    let error = PublishOffer::parse(text).expect_err("must be refused");
    assert!(matches!(error.code(), "sdp_invalid" | "codec_unsupported" | "slots_exceeded"));
    error
}

/// The RED payload type that a sound offer with these lines ends with.
fn red_of(formats: &str, lines: &str) -> Option<u8> {
    let text = one_line(formats, lines).replace("m=video", "m=audio");
    let offer = PublishOffer::parse(&text).expect("tolerated");
    let answer = offer.answer(&Ours::new().local(), DtlsPreference::Server);
    answer.tracks[0].codecs[0].red_pt
}

#[test]
fn red_is_taken_only_of_opus_under_the_number_that_its_blocks_name() {
    let opus = "a=rtpmap:111 opus/48000/2\r\n";
    let red = |lines: &str| red_of("111 63", &format!("{opus}{lines}"));
    let map = "a=rtpmap:63 red/48000/2\r\n";
    assert_eq!(red(&format!("{map}a=fmtp:63 111/111\r\n")), Some(63));
    assert_eq!(red(&format!("{map}a=fmtp:63 111/111/111\r\n")), Some(63));
    assert_eq!(red(map), None, "it does not say of what");
    for blocks in ["", "0/111", "111/112", "111/", "111/111;x=1", "367/367"] {
        assert_eq!(red(&format!("{map}a=fmtp:63 {blocks}\r\n")), None, "{blocks}");
    }
    assert_eq!(red("a=rtpmap:63 red/90000\r\na=fmtp:63 111/111\r\n"), None, "video's");
    let other = "a=rtpmap:96 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 96/96\r\n";
    assert_eq!(red_of("96 63", other), None, "other viewers could not read its blocks");
    let twice = format!("{opus}{map}a=rtpmap:64 red/48000/2\r\na=rtpmap:62 red/48000/2\r\n");
    let twice = format!("{twice}a=fmtp:62 111/111\r\na=fmtp:63 111/111\r\na=fmtp:64 111/111\r\n");
    assert_eq!(red_of("111 64 62 63", &twice), Some(62), "the first that is no RTCP");
}

#[test]
fn the_plain_offer_is_good() {
    let text = one_line("96", VP8);
    let offer = PublishOffer::parse(&text).expect("good");
    assert_eq!(offer.peer().fingerprint, std::array::from_fn(|index| index as u8));
    assert!(offer.answer(&Ours::new().local(), DtlsPreference::Client).sdp.contains("VP8/90000"));
}

#[test]
fn size_limit() {
    let text = one_line("96", VP8);
    let pad = |length: usize| format!("{text}i={}", "x".repeat(length - text.len() - 2));
    assert!(PublishOffer::parse(&pad(MAX_SDP_BYTES)).is_ok());
    assert_eq!(refusal(&pad(MAX_SDP_BYTES + 1)), SdpError::TooLarge);
    assert_eq!(refusal(&"a".repeat(1 << 20)), SdpError::TooLarge);
}

#[test]
fn media_line_limit() {
    let lines = |count: usize| one_line("96", VP8) + &"m=text 9 RTP/AVP 1\r\n".repeat(count - 1);
    assert!(PublishOffer::parse(&lines(MAX_MEDIA_LINES)).is_ok());
    assert_eq!(refusal(&lines(MAX_MEDIA_LINES + 1)), SdpError::TooManyMediaLines);
    let bomb = format!("{SESSION}{}", "m=a 9 b 1\r\n".repeat(5_000));
    assert_eq!(refusal(&bomb), SdpError::TooManyMediaLines);
}

#[test]
fn format_limit() {
    let formats = |count: usize| (0..count).map(|_| "96").collect::<Vec<_>>().join(" ");
    assert!(PublishOffer::parse(&one_line(&formats(MAX_FORMATS), VP8)).is_ok());
    assert_eq!(refusal(&one_line(&formats(MAX_FORMATS + 1), VP8)), SdpError::TooManyFormats);
}

#[test]
fn candidate_limit_and_no_name_is_looked_at() {
    let hosts = [
        "a=candidate:1 1 udp 1 169.254.169.254 80 typ host\r\n",
        "a=candidate:1 1 udp 1 evil.example 22 typ host\r\n",
        "a=candidate:1 1 tcp 1 2fd793ae.local 9 typ host tcptype active\r\n",
        "a=candidate:garbage\r\n",
    ];
    let lines =
        |count: usize| -> String { (0..count).map(|index| hosts[index % hosts.len()]).collect() };
    let text = one_line("96", &(lines(MAX_CANDIDATES) + VP8));
    let answer = PublishOffer::parse(&text)
        .expect("128 candidates")
        .answer(&Ours::new().local(), DtlsPreference::Client);
    assert!(!answer.sdp.contains("169.254") && !answer.sdp.contains("evil"));
    let text = one_line("96", &(lines(MAX_CANDIDATES + 1) + VP8));
    assert_eq!(refusal(&text), SdpError::TooManyCandidates);
}

#[test]
fn track_limit() {
    let offer = |count: usize| {
        let mids: Vec<String> = (0..count).map(|mid| mid.to_string()).collect();
        let lines: String = mids.iter().map(|mid| video(mid, "96", VP8)).collect();
        format!("{SESSION}a=group:BUNDLE {}\r\n{lines}", mids.join(" "))
    };
    assert!(PublishOffer::parse(&offer(MAX_TRACKS)).is_ok());
    let error = refusal(&offer(MAX_TRACKS + 1));
    assert_eq!((error, error.code()), (SdpError::TooManyTracks, "slots_exceeded"));
}

#[test]
fn mids() {
    let two = |first: &str, second: &str, bundle: &str| {
        format!("{SESSION}{bundle}{}{}", video(first, "96", VP8), video(second, "96", VP8))
    };
    let bundle = "a=group:BUNDLE 0 1\r\n";
    assert!(PublishOffer::parse(&two("0", "1", bundle)).is_ok());
    assert_eq!(refusal(&two("0", "0", bundle)), SdpError::DuplicateMid);
    assert_eq!(refusal(&two("0", "1", "")), SdpError::NotBundled);
    assert_eq!(refusal(&two("0", "1", "a=group:BUNDLE 0\r\n")), SdpError::NotBundled);
    assert_eq!(refusal(&two("0", "a b", bundle)), SdpError::BadMid);
    assert_eq!(refusal(&two("0", &"m".repeat(33), bundle)), SdpError::BadMid);
    assert_eq!(refusal(&one_line("96", &format!("a=mid:1\r\n{VP8}"))), SdpError::BadMid);
    let unnamed = two("0", "1", bundle).replace("a=mid:1\r\n", "");
    assert_eq!(refusal(&unnamed), SdpError::MissingMid);
    let single = one_line("96", VP8).replace("a=mid:0\r\n", "");
    assert!(PublishOffer::parse(&single).is_ok(), "one m-line needs no name");
}

#[test]
fn payload_types() {
    for bad in ["255", "128", "-1", "9999999999", "x"] {
        assert_eq!(refusal(&one_line(&format!("96 {bad}"), VP8)), SdpError::PayloadTypeRange);
    }
    // A type in the range of RTCP is not usable; an rtpmap for 255 is nobody's.
    assert_eq!(refusal(&one_line("72", "a=rtpmap:72 VP8/90000\r\n")), SdpError::NoCommonCodec);
    assert!(
        PublishOffer::parse(&one_line("96", &format!("{VP8}a=rtpmap:255 VP8/90000\r\n"))).is_ok()
    );
    let conflict = format!(
        "{SESSION}a=group:BUNDLE 0 1\r\n{}{}",
        video("0", "96", VP8),
        video("1", "96", "a=rtpmap:96 VP9/90000\r\n")
    );
    assert_eq!(refusal(&conflict), SdpError::PayloadTypeConflict);
    assert_eq!(refusal(&one_line("96", "a=rtpmap:96 H265/90000\r\n")).code(), "codec_unsupported");
    assert_eq!(refusal(&one_line("96", "a=rtpmap:96 VP8/48000\r\n")), SdpError::NoCommonCodec);
    let profile_2 = "a=rtpmap:96 VP9/90000\r\na=fmtp:96 profile-id=2\r\n";
    assert_eq!(refusal(&one_line("96", profile_2)), SdpError::NoCommonCodec);
    let mode_0 = "a=rtpmap:96 H264/90000\r\na=fmtp:96 profile-level-id=42e01f\r\n";
    assert_eq!(refusal(&one_line("96", mode_0)), SdpError::NoCommonCodec);
}

#[test]
fn apt_conflicts_loops_and_lies() {
    let rtx = |pt: u8, apt: &str| format!("a=rtpmap:{pt} rtx/90000\r\na=fmtp:{pt} {apt}\r\n");
    let rtx_pt = |extra: &str| {
        let text = one_line("96 97 98", &format!("{VP8}{extra}"));
        let offer = PublishOffer::parse(&text).expect("tolerated");
        let answer = offer.answer(&Ours::new().local(), DtlsPreference::Client);
        answer.tracks[0].codecs[0].rtx_pt
    };
    assert_eq!(rtx_pt(&rtx(97, "apt=96")), Some(97));
    assert_eq!(rtx_pt(&(rtx(97, "apt=96") + &rtx(98, "apt=96"))), Some(97), "the first");
    assert_eq!(rtx_pt(&(rtx(97, "apt=98") + &rtx(98, "apt=97"))), None, "a loop");
    assert_eq!(rtx_pt(&rtx(97, "apt=97")), None, "itself");
    assert_eq!(rtx_pt(&rtx(97, "apt=255")), None);
    assert_eq!(rtx_pt(&rtx(97, "rtx-time=3000")), None, "no apt is no RTX");
    assert_eq!(rtx_pt(&(rtx(97, "apt=1") + "a=fmtp:97 apt=96\r\n")), None, "the first line counts");
}

#[test]
fn rids_extensions_and_ssrcs() {
    let loops =
        "a=rid:a send pt=96;depend=b\r\na=rid:b send depend=a\r\na=simulcast:send a;b;a;~a\r\n";
    assert!(PublishOffer::parse(&one_line("96", &format!("{VP8}{loops}"))).is_ok());
    let rids = |lines: &str| {
        let named = "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
        let text = one_line("96", &format!("{VP8}{named}{lines}"));
        let offer = PublishOffer::parse(&text).expect("tolerated");
        offer.answer(&Ours::new().local(), DtlsPreference::Client).tracks.remove(0).rids
    };
    assert_eq!(rids(loops), ["a", "b"], "each once, paused or not");
    assert!(rids("a=rid:a send\r\na=simulcast:send a\r\n").is_empty(), "one is no simulcast");
    assert!(rids("a=rid:a send\r\na=simulcast:send a;b\r\n").is_empty(), "b is not declared");
    assert!(rids("a=rid:a recv\r\na=rid:b recv\r\na=simulcast:recv a;b\r\n").is_empty());
    assert!(rids("a=rid:a send\r\na=rid:b send\r\na=simulcast:send\r\n").is_empty());
    let (letters, mut lines) = (["a", "b", "c", "d"], String::new());
    letters.iter().for_each(|rid| lines += &format!("a=rid:{rid} send\r\n"));
    assert_eq!(rids(&format!("{lines}a=simulcast:send a;b;c\r\n")).len(), 3, "at the limit");
    assert_eq!(rids(&format!("{lines}a=simulcast:send a;b;c;d\r\n")), ["a", "b", "c"], "past it");
    assert_eq!(rids(&format!("{lines}a=simulcast:send a,b;c recv d\r\n")), ["a", "c"]);
    let long = "x".repeat(17);
    let bad = format!("a=rid:{long} send\r\na=rid:a. send\r\na=simulcast:send {long};a.\r\n");
    assert!(rids(&bad).is_empty(), "no rid-id");
    let extensions = "a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
        a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=extmap:15 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap\r\na=extmap:x\r\n";
    let text = one_line("96", &format!("{VP8}{extensions}"));
    let offer = PublishOffer::parse(&text).expect("tolerated");
    let track = offer.answer(&Ours::new().local(), DtlsPreference::Client).tracks.remove(0);
    assert_eq!((track.extensions.mid, track.extensions.rid), (None, Some(3)));
    assert_eq!(track.extensions.audio_level, None);
    let many: String = (0..1_500).map(|n| format!("a=ssrc:{n} cname:x\r\n")).collect();
    let text = one_line("96", &format!("{VP8}a=ssrc-group:FID 7 7\r\na=ssrc:0 x\r\n{many}"));
    let offer = PublishOffer::parse(&text).expect("tolerated");
    let track = offer.answer(&Ours::new().local(), DtlsPreference::Client).tracks.remove(0);
    assert_eq!((track.ssrc, track.rtx_ssrc), (Some(7), None));
}

#[test]
fn dependency_descriptors_are_taken_with_av1_alone_and_in_headers_that_can_hold_them() {
    let name =
        "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
    let answer = |formats: &str, mixed: &str| {
        let codecs = format!("{VP8}a=rtpmap:45 AV1/90000\r\n");
        let text = one_line(formats, &format!("{codecs}a=extmap:12 {name}\r\n{mixed}"));
        let answer = PublishOffer::parse(&text)
            .expect("good")
            .answer(&Ours::new().local(), DtlsPreference::Client);
        let taken = answer.tracks[0].extensions.dependency;
        assert_eq!(answer.sdp.contains(&format!("a=extmap:12 {name}\r\n")), taken.is_some());
        assert_eq!(answer.sdp.contains("a=extmap-allow-mixed\r\n"), taken.is_some());
        taken
    };
    let mixed = "a=extmap-allow-mixed\r\n";
    assert_eq!(answer("45 96", mixed), Some(12));
    assert_eq!(answer("45 96", ""), None);
    assert_eq!(answer("96 45", mixed), None, "it will send VP8, which says more by itself");
}

#[test]
fn an_ssrc_for_two_tracks_announces_one() {
    let line = |mid| video(mid, "96", &format!("{VP8}a=ssrc:5 cname:x\r\n"));
    let text = format!("{SESSION}a=group:BUNDLE 0 1\r\n{}{}", line("0"), line("1"));
    let offer = PublishOffer::parse(&text).expect("tolerated");
    let answer = offer.answer(&Ours::new().local(), DtlsPreference::Client);
    let ssrcs: Vec<Option<u32>> = answer.tracks.iter().map(|track| track.ssrc).collect();
    assert_eq!(ssrcs, [Some(5), None]);
}

#[test]
fn transport_lines() {
    let swap = |from: &str, to: &str| refusal(&one_line("96", VP8).replace(from, to));
    assert_eq!(swap("a=setup:actpass", "a=setup:holdconn"), SdpError::BadSetup);
    assert_eq!(swap("a=rtcp-mux\r\n", ""), SdpError::NoRtcpMux);
    assert_eq!(swap("a=ice-ufrag:abcd\r\n", ""), SdpError::MissingIce);
    assert_eq!(swap(":abcd\r\n", ":abc\r\n"), SdpError::BadIce);
    assert_eq!(swap(":abcd\r\n", ":ab cd\r\n"), SdpError::BadIce);
    assert_eq!(swap(":abcd\r\n", &format!(":{}\r\n", "a".repeat(257))), SdpError::BadIce);
    assert_eq!(swap("sha-256", "sha-1"), SdpError::UnsupportedFingerprint);
    assert_eq!(swap("00:01:02", "00:01:+2"), SdpError::BadFingerprint);
    assert_eq!(swap(":1e:1f\r\n", ":1e\r\n"), SdpError::BadFingerprint);
    assert_eq!(swap(":1e:1f\r\n", ":1e:1f:20\r\n"), SdpError::BadFingerprint);
    assert_eq!(swap("a=fingerprint", "a=nothing"), SdpError::MissingFingerprint);
    assert_eq!(swap("a=sendonly", "a=recvonly"), SdpError::NoUsableMedia);
    assert_eq!(swap("m=video 9", "m=video 0"), SdpError::NoUsableMedia);
    assert_eq!(swap("UDP/TLS/RTP/SAVPF", "RTP/AVP"), SdpError::NoUsableMedia);
}

#[test]
fn lines() {
    assert_eq!(refusal(""), SdpError::BadLine(1));
    assert_eq!(refusal("v=1\r\n"), SdpError::BadLine(1));
    assert_eq!(refusal("v=0\r\nhello\r\n"), SdpError::BadLine(2));
    assert_eq!(refusal("v=0\r\nA=x\r\n"), SdpError::BadLine(2));
    assert_eq!(refusal("v=0\r\na=\0\r\n"), SdpError::ControlCharacter(2));
    assert_eq!(refusal("v=0\na=x\ra=y\n"), SdpError::ControlCharacter(2));
    for bad in ["m=", "m=video", "m=video 9", "m=video 9 A", "m=video 70000 A 1", "m=vi(deo 9 A 1"]
    {
        assert_eq!(refusal(&format!("v=0\r\n{bad}\r\n")), SdpError::BadMediaLine(2), "{bad}");
    }
    assert_eq!(refusal(SESSION), SdpError::NoUsableMedia);
    let text = one_line("96", VP8).replace("\r\n", "\n");
    assert!(PublishOffer::parse(&text).is_ok(), "bare line feeds are read");
}

#[test]
fn a_player_that_only_sends_is_refused() {
    let text = file("publish", "chromium-send");
    assert_eq!(WhepOffer::parse(&text).expect_err("sendonly"), SdpError::NoUsableMedia);
    let text = one_line("96", "a=rtpmap:96 H265/90000\r\n").replace("a=sendonly", "a=recvonly");
    assert_eq!(WhepOffer::parse(&text).expect_err("H.265"), SdpError::NoCommonCodec);
}
