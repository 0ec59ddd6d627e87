//! The RFCs' vectors, `rtc-srtp` both ways, and attacks.

use bytes::BytesMut;
use proptest::prelude::*;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;

const PROFILES: [Profile; 2] = [Profile::Gcm, Profile::Cm];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

const GALLIA: &str = "47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465
                      73207472 6573";

fn rfc_7714_key() -> GcmKey {
    let key: [u8; 16] = hex("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
    GcmKey::new(&key, *b"Quid pro quo").unwrap()
}

/// RFC 7714 16.1.
#[test]
fn rfc_7714_srtp_vector() {
    let header = hex("8040f17b 8041f8d3 5501a0b2");
    let sealed = hex("f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
         36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce");
    let mut out = Vec::new();
    rfc_7714_key().seal(0x5501_a0b2, 0xf17b, &header, &hex(GALLIA), &[], &mut out).unwrap();
    assert_eq!(out, sealed);
    // The same with the end of the payload given apart, as padding is.
    let (front, back) = (&hex(GALLIA)[..30], &hex(GALLIA)[30..]);
    out.clear();
    rfc_7714_key().seal(0x5501_a0b2, 0xf17b, &header, front, back, &mut out).unwrap();
    assert_eq!(out, sealed);
    let plain = rfc_7714_key().open(0x5501_a0b2, 0xf17b, &header, &mut out).unwrap().to_vec();
    assert_eq!(plain, hex(GALLIA));
}

const SENDER_REPORT: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930
                             4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef";

/// RFC 7714 17.1 and 17.2 (encrypted SRTCP).
#[test]
fn rfc_7714_srtcp_vector() {
    let mut sealed = hex("81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
         c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
         45d9eade 800005d4");
    let len = open_rtcp_gcm(&rfc_7714_key(), 0x4d61_7273, 0x8000_05d4, &mut sealed).unwrap();
    assert_eq!(sealed[..len], hex(SENDER_REPORT));
}

/// RFC 3711 B.2: the keystream.
#[test]
fn rfc_3711_keystream() {
    let key = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
    let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let key = CmKey::new(&key, &[0; 20], salt).unwrap();
    let mut stream = [0; 48];
    key.apply(0, 0, &mut stream).unwrap();
    assert_eq!(
        stream.to_vec(),
        hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
             41E95B3BB0A2E8DD477901E4FCA894C0")
    );
}

fn master() -> Master {
    Master { key: *b"sixteen byte key", salt: *b"fourteen salts" }
}

fn engine(profile: Profile) -> Context {
    let provider = rtc_crypto::default_provider().unwrap();
    let (engine, salt) = match profile {
        Profile::Gcm => (ProtectionProfile::AeadAes128Gcm, 12),
        Profile::Cm => (ProtectionProfile::Aes128CmHmacSha1_80, 14),
    };
    let Master { key, salt: bytes } = master();
    Context::new(&key, &bytes[..salt], engine, None, None, provider.crypto()).unwrap()
}

/// For GCM the master salt is 12 bytes.
fn master_for(profile: Profile) -> Master {
    let Master { key, mut salt } = master();
    salt[profile.salt_len()..].fill(0);
    Master { key, salt }
}

fn sender(profile: Profile) -> SrtpSender {
    SrtpSender::new(profile, &master_for(profile)).unwrap()
}

fn receiver(profile: Profile) -> Receiver {
    Receiver::new(profile, &master_for(profile)).unwrap()
}

fn header(ssrc: u32, seq: u16, csrcs: u8, extension: Option<u8>) -> Vec<u8> {
    let mut out = vec![0x80 | csrcs | if extension.is_some() { 0x10 } else { 0 }, 96];
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&[1, 2, 3, 4]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.resize(out.len() + 4 * usize::from(csrcs), 0x33);
    if let Some(words) = extension {
        out.extend_from_slice(&[0xBE, 0xDE, 0, words]);
        out.resize(out.len() + 4 * usize::from(words), 0x10);
    }
    out
}

fn seal(sender: &SrtpSender, ssrc: u32, index: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sender.seal_rtp(&header(ssrc, index as u16, 0, None), payload, &[], index, &mut out);
    out
}

#[test]
fn every_packet_opens_once_also_across_roll_over() {
    for profile in PROFILES {
        let (sender, mut receiver) = (sender(profile), receiver(profile));
        for index in 65_400..66_000 {
            // A receiver learns the roll-over counter from zero only.
            let index = if index == 65_400 { 30_000 } else { index };
            let sealed = seal(&sender, 5, index, b"payload");
            assert_eq!(sealed.len(), 12 + 7 + sender.overhead());
            assert_eq!(receiver.open_rtp(&mut sealed.clone()).unwrap()[12..], *b"payload");
            for _ in 0..3 {
                let mut again = sealed.clone();
                assert_eq!(receiver.open_rtp(&mut again).unwrap_err(), DropReason::SrtpReplay);
            }
        }
    }
}

#[test]
fn no_bent_or_cut_packet_opens_and_none_leaves_a_trace() {
    for profile in PROFILES {
        let (sender, mut receiver) = (sender(profile), receiver(profile));
        let sealed = seal(&sender, 5, 100, b"some payload");
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 0x20;
            assert!(receiver.open_rtp(&mut bent).is_err(), "byte {at}");
            assert!(receiver.open_rtp(&mut sealed[..at].to_vec()).is_err(), "cut at {at}");
        }
        assert!(receiver.open_rtp(&mut sealed.clone()).is_ok());

        let mut rtcp = SrtcpSender::new(profile, &master_for(profile)).unwrap();
        let mut sealed = Vec::new();
        rtcp.seal(&hex(SENDER_REPORT), &mut sealed);
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 0x20;
            assert!(receiver.open_rtcp(&mut bent).is_err(), "byte {at}");
            assert!(receiver.open_rtcp(&mut sealed[..at].to_vec()).is_err(), "cut at {at}");
        }
        assert_eq!(receiver.open_rtcp(&mut sealed.clone()).unwrap(), hex(SENDER_REPORT));
        let again = receiver.open_rtcp(&mut sealed);
        assert_eq!(again.unwrap_err(), DropReason::SrtcpReplay);
    }
}

#[test]
fn forged_ssrcs_make_no_state() {
    let (sender, mut receiver) = (sender(Profile::Gcm), receiver(Profile::Gcm));
    for ssrc in 0..1000 {
        let mut forged = header(ssrc, 1, 0, None);
        forged.resize(60, 7);
        assert_eq!(receiver.open_rtp(&mut forged).unwrap_err(), DropReason::SrtpAuth);
    }
    for ssrc in 0..64 {
        assert!(receiver.open_rtp(&mut seal(&sender, ssrc, 1, b"x")).is_ok());
    }
    let mut more = seal(&sender, 64, 1, b"x");
    assert_eq!(receiver.open_rtp(&mut more).unwrap_err(), DropReason::TooManySsrcs);
}

#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "SRTP nonce reused")]
fn another_packet_under_a_used_index_panics() {
    let sender = sender(Profile::Gcm);
    seal(&sender, 5, 100, b"one");
    seal(&sender, 5, 100, b"one");
    seal(&sender, 6, 100, b"two");
    seal(&sender, 5, 100, b"two");
}

#[test]
fn unencrypted_srtcp_is_authenticated() {
    for profile in PROFILES {
        let plain = hex(SENDER_REPORT);
        let master = master_for(profile);
        let mut packet = plain.clone();
        let word = 9u32.to_be_bytes();
        match master.session(profile, true).unwrap() {
            Key::Gcm(key) => {
                let aad = [&plain[..], &word].concat();
                key.seal(0x4d61_7273, 9, &aad, &[], &[], &mut packet).unwrap();
                packet.extend_from_slice(&word);
            }
            Key::Cm(key) => {
                packet.extend_from_slice(&word);
                packet.extend_from_slice(&key.tag(&packet.clone(), &[]));
            }
        }
        let mut bent = packet.clone();
        bent[20] ^= 1;
        assert!(receiver(profile).open_rtcp(&mut bent).is_err());
        assert_eq!(receiver(profile).open_rtcp(&mut packet).unwrap(), plain);
    }
}

proptest! {
    #[test]
    fn the_engine_opens_ours_and_we_open_its(
        gcm: bool,
        start in 0u16..32_000,
        steps in prop::collection::vec((1u16..900, 0u8..4, prop::option::of(0u8..5),
            prop::collection::vec(any::<u8>(), 0..80)), 1..80),
    ) {
        let profile = if gcm { Profile::Gcm } else { Profile::Cm };
        let (ours, mut theirs) = (sender(profile), engine(profile));
        let (mut our_receiver, mut their_sender) = (receiver(profile), engine(profile));
        let mut index = u64::from(start);
        for (step, csrcs, extension, payload) in steps {
            let header = header(7, index as u16, csrcs, extension);
            let plain = [&header[..], &payload].concat();
            let mut sealed = Vec::new();
            let (front, back) = payload.split_at(payload.len() / 2);
            ours.seal_rtp(&header, front, back, index, &mut sealed);
            prop_assert_eq!(theirs.decrypt_rtp(&sealed).unwrap(), BytesMut::from(&plain[..]));
            let mut sealed = their_sender.encrypt_rtp(&plain).unwrap();
            prop_assert_eq!(our_receiver.open_rtp(&mut sealed).unwrap(), &plain[..]);
            index += u64::from(step);
        }
    }

    #[test]
    fn rtcp_both_ways(gcm: bool, payload in prop::collection::vec(any::<u8>(), 0..20)) {
        let profile = if gcm { Profile::Gcm } else { Profile::Cm };
        let mut plain = vec![0x80, 201, 0, payload.len() as u8 + 1, 0, 0, 0, 3];
        payload.iter().for_each(|byte| plain.extend_from_slice(&[*byte; 4]));
        let mut ours = SrtcpSender::new(profile, &master_for(profile)).unwrap();
        let (mut receiver, mut engine) = (receiver(profile), engine(profile));
        for _ in 0..3 {
            let mut sealed = Vec::new();
            ours.seal(&plain, &mut sealed);
            prop_assert_eq!(&engine.decrypt_rtcp(&sealed).unwrap()[..], &plain[..]);
            let mut sealed = engine.encrypt_rtcp(&plain).unwrap();
            prop_assert_eq!(receiver.open_rtcp(&mut sealed).unwrap(), &plain[..]);
        }
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..120), gcm: bool) {
        let profile = if gcm { Profile::Gcm } else { Profile::Cm };
        prop_assert!(receiver(profile).open_rtp(&mut bytes.clone()).is_err());
        let mut bytes = bytes;
        prop_assert!(receiver(profile).open_rtcp(&mut bytes).is_err());
    }
}
