//! The codec against `rtc-stun`, and against itself cut and bent.

use proptest::prelude::*;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
    AttrType,
};
use rtc_stun::fingerprint::FINGERPRINT as ENGINE_FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_REQUEST as ENGINE_REQUEST, Getter, Message, Setter, TransactionId,
};
use rtc_stun::xoraddr::XorMappedAddress;

use super::*;

pub(in crate::sfu::transport) const PASSWORD: &str = "0123456789abcdef012345";

/// A request as `rtc-stun` writes it.
pub(in crate::sfu::transport) struct Check<'a> {
    pub(in crate::sfu::transport) username: &'a str,
    pub(in crate::sfu::transport) password: &'a str,
    pub(in crate::sfu::transport) use_candidate: bool,
    pub(in crate::sfu::transport) controlled: bool,
    pub(in crate::sfu::transport) fingerprint: bool,
    pub(in crate::sfu::transport) extra: Option<u16>,
}

impl Default for Check<'_> {
    fn default() -> Self {
        Check {
            username: "local:remote",
            password: PASSWORD,
            use_candidate: true,
            controlled: false,
            fingerprint: true,
            extra: None,
        }
    }
}

impl Check<'_> {
    pub(in crate::sfu::transport) fn write(&self, transaction: [u8; 12]) -> Vec<u8> {
        let provider = rtc_crypto::default_provider().unwrap();
        let mut message = Message::new();
        message.transaction_id = TransactionId(transaction);
        message.set_type(ENGINE_REQUEST);
        message.write_header();
        message.add(ATTR_USERNAME, self.username.as_bytes());
        message.add(ATTR_PRIORITY, &1_845_501_695u32.to_be_bytes());
        let role = if self.controlled { ATTR_ICE_CONTROLLED } else { ATTR_ICE_CONTROLLING };
        message.add(role, &7u64.to_be_bytes());
        if self.use_candidate {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        if let Some(extra) = self.extra {
            message.add(AttrType(extra), &[1, 2, 3]);
        }
        MessageIntegrity::new_short_term_integrity_with_provider(
            self.password.to_owned(),
            provider.crypto(),
        )
        .add_to(&mut message)
        .unwrap();
        if self.fingerprint {
            ENGINE_FINGERPRINT.add_to(&mut message).unwrap();
        }
        message.raw.clone()
    }
}

fn engine_read(bytes: &[u8]) -> Message {
    let provider = rtc_crypto::default_provider().unwrap();
    let mut message = Message::new();
    message.unmarshal_binary(bytes).unwrap();
    MessageIntegrity::check(&mut message, PASSWORD.as_bytes(), provider.crypto()).unwrap();
    ENGINE_FINGERPRINT.check(&message).unwrap();
    message
}

#[test]
fn reads_what_the_engine_writes() {
    let bytes = Check::default().write([7; 12]);
    let request = StunRequest::parse(&bytes).unwrap();
    assert_eq!((request.local_ufrag(), request.remote_ufrag()), ("local", "remote"));
    assert!(request.use_candidate && !request.controlled);
    assert_eq!(request.priority, Some(1_845_501_695));
    assert_eq!(request.transaction(), [7; 12]);
    assert_eq!(request.check_integrity(PASSWORD), Ok(()));
    assert_eq!(request.check_integrity("another password"), Err(DropReason::StunIntegrity));
}

#[test]
fn a_wrong_fingerprint_is_refused_and_none_is_accepted() {
    let mut bytes = Check::default().write([7; 12]);
    *bytes.last_mut().unwrap() ^= 1;
    let refused = StunRequest::parse(&bytes).unwrap().check_integrity(PASSWORD);
    assert_eq!(refused, Err(DropReason::StunMalformed));
    let bytes = Check { fingerprint: false, ..Check::default() }.write([7; 12]);
    assert_eq!(StunRequest::parse(&bytes).unwrap().check_integrity(PASSWORD), Ok(()));
}

#[test]
fn no_cut_request_is_accepted() {
    let bytes = Check::default().write([1; 12]);
    for len in 0..bytes.len() {
        assert!(StunRequest::parse(&bytes[..len]).is_err(), "cut at {len}");
        // Also with a header that agrees with the cut.
        let mut cut = bytes[..len].to_vec();
        if len >= HEADER {
            cut[2..4].copy_from_slice(&((len - HEADER) as u16).to_be_bytes());
            let accepted =
                StunRequest::parse(&cut).is_ok_and(|r| r.check_integrity(PASSWORD).is_ok());
            // The one honest cut: before FINGERPRINT, which is optional.
            assert_eq!(accepted, len == bytes.len() - 8, "cut at {len}");
        }
    }
}

#[test]
fn odd_integrity_attributes_are_refused() {
    let good = Check { fingerprint: false, ..Check::default() }.write([1; 12]);
    let at = good.len() - 24;
    // Absent, empty, too long.
    let mut none = good[..at].to_vec();
    none[2..4].copy_from_slice(&((at - HEADER) as u16).to_be_bytes());
    assert_eq!(StunRequest::parse(&none).unwrap_err(), DropReason::StunIntegrity);
    let mut empty = good.clone();
    empty[at + 2..at + 4].copy_from_slice(&[0, 0]);
    assert!(StunRequest::parse(&empty).is_err());
    let mut long = good.clone();
    long[at + 2..at + 4].copy_from_slice(&[0xFF, 0xFF]);
    assert!(StunRequest::parse(&long).is_err());
    // First of all attributes: what follows is not authenticated, so there is no username.
    let mut first = good[..HEADER].to_vec();
    first.extend_from_slice(&good[at..]);
    first.extend_from_slice(&good[HEADER..at]);
    assert!(StunRequest::parse(&first).is_err());
}

#[test]
fn use_candidate_after_integrity_does_not_count() {
    let mut bytes =
        Check { fingerprint: false, use_candidate: false, ..Check::default() }.write([1; 12]);
    bytes.extend_from_slice(&[0, 0x25, 0, 0]);
    let length = (bytes.len() - HEADER) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let request = StunRequest::parse(&bytes).unwrap();
    assert!(!request.use_candidate);
    assert_eq!(request.check_integrity(PASSWORD), Ok(()));
}

#[test]
fn the_engine_reads_our_errors() {
    let bytes = Check { controlled: true, extra: Some(0x7F), ..Check::default() }.write([3; 12]);
    let request = StunRequest::parse(&bytes).unwrap();
    assert!(request.controlled);
    assert_eq!(request.unknown_attribute, Some(0x7F));
    let mut out = Vec::new();
    write_role_conflict(&mut out, &request, PASSWORD);
    let mut code = rtc_stun::error_code::ErrorCodeAttribute::default();
    code.get_from(&engine_read(&out)).unwrap();
    assert_eq!(code.code.0, 487);
    out.clear();
    write_unknown_attribute(&mut out, &request, 0x7F, PASSWORD);
    code.get_from(&engine_read(&out)).unwrap();
    assert_eq!(code.code.0, 420);
}

/// The seeds of the fuzz target, and inputs that once mattered.
#[test]
fn corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/stun");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        #[expect(clippy::disallowed_methods, reason = "a test reads its corpus")]
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        if let Ok(request) = StunRequest::parse(&bytes) {
            let _ = request.check_integrity(PASSWORD);
        }
        seen += 1;
    }
    assert!(seen >= 8);
}

proptest! {
    #[test]
    fn the_engine_reads_our_success(address: std::net::SocketAddr, transaction: [u8; 12]) {
        let bytes = Check::default().write(transaction);
        let request = StunRequest::parse(&bytes).unwrap();
        let mut out = vec![9; 3];
        write_success(&mut out, &request, address, PASSWORD);
        let message = engine_read(&out[3..]);
        prop_assert_eq!(message.transaction_id.0, transaction);
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&message).unwrap();
        prop_assert_eq!(mapped.ip, address.ip().to_canonical());
        prop_assert_eq!(mapped.port, address.port());
    }

    #[test]
    fn no_bent_request_is_accepted(at in 0usize..200, bit in 0u8..8) {
        let mut bytes = Check::default().write([5; 12]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let accepted = StunRequest::parse(&bytes)
            .is_ok_and(|request| request.check_integrity(PASSWORD).is_ok());
        // A bent FINGERPRINT *type* of an optional attribute is an unknown optional attribute.
        let fingerprint_type = (bytes.len() - 8..bytes.len() - 6).contains(&at);
        prop_assert!(!accepted || fingerprint_type, "accepted with byte {at} bent");
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        let _ = StunRequest::parse(&bytes);
        if bytes.len() >= HEADER {
            bytes[..2].copy_from_slice(&[0, 1]);
            let length = (bytes.len() - HEADER) as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&COOKIE.to_be_bytes());
            if let Ok(request) = StunRequest::parse(&bytes) {
                let _ = request.check_integrity(PASSWORD);
            }
        }
    }
}
