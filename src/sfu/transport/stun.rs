//! STUN Binding requests and their answers (RFC 8489, RFC 8445 7.3), on borrowed bytes.
//!
//! Our own codec instead of `rtc-stun`: a stranger can make us parse a million of these per second,
//! so a request is looked at without an allocation and its HMAC is computed only after its ufrag
//! is known. `rtc-stun` is the oracle of the tests.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

use crate::sfu::drop_reason::DropReason;

const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_A442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;

const MAC: usize = 20;
/// What a FINGERPRINT is XORed with.
const FINGERPRINT_XOR: u32 = 0x5354_554E;
/// RFC 8489 14.3: a username is at most 508 bytes; with the separator and slack.
const MAX_USERNAME: usize = 513;

/// A well-formed Binding request. Nothing in it is authentic before [`Self::check_integrity`].
#[derive(Debug, Clone, Copy)]
pub struct StunRequest<'a> {
    bytes: &'a [u8],
    username: &'a str,
    separator: usize,
    integrity_at: usize,
    fingerprint_at: Option<usize>,
    /// Whether the controlling peer nominates this path (USE-CANDIDATE).
    pub use_candidate: bool,
    /// The candidate priority the peer assigns to this path.
    pub priority: Option<u32>,
    /// The peer believes it is in the controlled role, which is ours.
    pub controlled: bool,
    /// A comprehension-required attribute we do not know.
    pub unknown_attribute: Option<u16>,
}

impl<'a> StunRequest<'a> {
    /// Read a datagram.
    ///
    /// # Errors
    /// [`DropReason::StunMalformed`] for anything but a whole Binding request with a username of
    /// two parts; [`DropReason::StunIntegrity`] if MESSAGE-INTEGRITY is absent or of a wrong size.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DropReason> {
        const BAD: DropReason = DropReason::StunMalformed;
        let length = usize::from(be16(bytes, 2).ok_or(BAD)?);
        if be16(bytes, 0) != Some(BINDING_REQUEST)
            || be32(bytes, 4) != Some(COOKIE)
            || length % 4 != 0
            || bytes.len() != HEADER + length
        {
            return Err(BAD);
        }
        let mut username = None;
        let mut integrity_at = None;
        let mut request = StunRequest {
            bytes,
            username: "",
            separator: 0,
            integrity_at: 0,
            fingerprint_at: None,
            use_candidate: false,
            priority: None,
            controlled: false,
            unknown_attribute: None,
        };
        let mut at = HEADER;
        while at < bytes.len() {
            let kind = be16(bytes, at).ok_or(BAD)?;
            let len = usize::from(be16(bytes, at + 2).ok_or(BAD)?);
            let value = bytes.get(at + 4..at + 4 + len).ok_or(BAD)?;
            let next = at + 4 + len.next_multiple_of(4);
            match kind {
                FINGERPRINT if len == 4 && next == bytes.len() => {
                    request.fingerprint_at = Some(at);
                }
                FINGERPRINT => return Err(BAD),
                // RFC 8489 14.5: whatever else follows MESSAGE-INTEGRITY is not authenticated.
                _ if integrity_at.is_some() => {}
                MESSAGE_INTEGRITY if len == MAC => integrity_at = Some(at),
                MESSAGE_INTEGRITY => return Err(DropReason::StunIntegrity),
                USERNAME if username.is_none() => username = Some(value),
                _ => request.attribute(kind, value),
            }
            at = next;
        }
        request.integrity_at = integrity_at.ok_or(DropReason::StunIntegrity)?;
        let username = username.filter(|name| name.len() <= MAX_USERNAME).ok_or(BAD)?;
        request.username = std::str::from_utf8(username).map_err(|_| BAD)?;
        request.separator = request.username.find(':').ok_or(BAD)?;
        Ok(request)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        match kind {
            USE_CANDIDATE => self.use_candidate = true,
            PRIORITY => self.priority = be32(value, 0),
            ICE_CONTROLLED => self.controlled = true,
            ICE_CONTROLLING | USERNAME => {}
            // Below 0x8000 an attribute must be understood.
            unknown if unknown < 0x8000 => {
                self.unknown_attribute.get_or_insert(unknown);
            }
            _ => {}
        }
    }

    /// Our half of the username: what the transport is found by.
    #[must_use]
    pub fn local_ufrag(&self) -> &'a str {
        self.username.get(..self.separator).unwrap_or_default()
    }

    /// The peer's half of the username.
    #[must_use]
    pub fn remote_ufrag(&self) -> &'a str {
        self.username.get(self.separator + 1..).unwrap_or_default()
    }

    /// The 96-bit transaction id.
    #[must_use]
    pub fn transaction(&self) -> [u8; 12] {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER]);
        id
    }

    /// Check MESSAGE-INTEGRITY under our password, in constant time, then FINGERPRINT if present.
    ///
    /// # Errors
    /// [`DropReason::StunIntegrity`] or, for a fingerprint, [`DropReason::StunMalformed`].
    pub fn check_integrity(&self, password: &str) -> Result<(), DropReason> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let mac = integrity(&key, &self.bytes[..self.integrity_at]);
        let claimed = &self.bytes[self.integrity_at + 4..self.integrity_at + 4 + MAC];
        constant_time::verify_slices_are_equal(mac.as_ref(), claimed)
            .map_err(|_| DropReason::StunIntegrity)?;
        match self.fingerprint_at {
            Some(at) if be32(self.bytes, at + 4) != Some(fingerprint(&self.bytes[..at])) => {
                Err(DropReason::StunMalformed)
            }
            _ => Ok(()),
        }
    }
}

/// The HMAC over `covered`, whose header length field is counted up to the end of the
/// MESSAGE-INTEGRITY attribute that follows it.
fn integrity(key: &hmac::Key, covered: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    let length = (covered.len() - HEADER + 4 + MAC) as u16;
    context.update(&covered[..2]);
    context.update(&length.to_be_bytes());
    context.update(&covered[4..]);
    context.sign()
}

fn fingerprint(covered: &[u8]) -> u32 {
    crc32(covered) ^ FINGERPRINT_XOR
}

/// Append the answer to an authenticated request: where it was seen to come from.
pub(super) fn write_success(
    out: &mut Vec<u8>,
    request: &StunRequest<'_>,
    from: SocketAddr,
    password: &str,
) {
    let id = request.transaction();
    let start = begin(out, BINDING_SUCCESS, id);
    let port = from.port() ^ (COOKIE >> 16) as u16;
    match from.ip().to_canonical() {
        IpAddr::V4(ip) => {
            attribute(out, XOR_MAPPED_ADDRESS, 8);
            out.extend_from_slice(&[0, 1]);
            out.extend_from_slice(&port.to_be_bytes());
            out.extend_from_slice(&(ip.to_bits() ^ COOKIE).to_be_bytes());
        }
        IpAddr::V6(ip) => {
            attribute(out, XOR_MAPPED_ADDRESS, 20);
            out.extend_from_slice(&[0, 2]);
            out.extend_from_slice(&port.to_be_bytes());
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
            mask[4..].copy_from_slice(&id);
            let masked = ip.to_bits() ^ u128::from_be_bytes(mask);
            out.extend_from_slice(&masked.to_be_bytes());
        }
    }
    finish(out, start, password);
}

/// Append "487 Role Conflict": we are ICE-lite, so the peer must be the controlling side.
pub(super) fn write_role_conflict(out: &mut Vec<u8>, request: &StunRequest<'_>, password: &str) {
    let start = begin(out, BINDING_ERROR, request.transaction());
    error_code(out, 4, 87, b"Role Conflict");
    finish(out, start, password);
}

/// Append "420 Unknown Attribute".
pub(super) fn write_unknown_attribute(
    out: &mut Vec<u8>,
    request: &StunRequest<'_>,
    unknown: u16,
    password: &str,
) {
    let start = begin(out, BINDING_ERROR, request.transaction());
    error_code(out, 4, 20, b"Unknown Attribute");
    attribute(out, UNKNOWN_ATTRIBUTES, 2);
    out.extend_from_slice(&unknown.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    finish(out, start, password);
}

fn begin(out: &mut Vec<u8>, kind: u16, transaction: [u8; 12]) -> usize {
    let start = out.len();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&COOKIE.to_be_bytes());
    out.extend_from_slice(&transaction);
    start
}

fn attribute(out: &mut Vec<u8>, kind: u16, len: u16) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&len.to_be_bytes());
}

fn error_code(out: &mut Vec<u8>, class: u8, number: u8, reason: &[u8]) {
    attribute(out, ERROR_CODE, 4 + reason.len() as u16);
    out.extend_from_slice(&[0, 0, class, number]);
    out.extend_from_slice(reason);
    out.resize(out.len() + reason.len().next_multiple_of(4) - reason.len(), 0);
}

fn finish(out: &mut Vec<u8>, start: usize, password: &str) {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let mac = integrity(&key, &out[start..]);
    attribute(out, MESSAGE_INTEGRITY, MAC as u16);
    out.extend_from_slice(mac.as_ref());
    let length = (out.len() - start - HEADER + 8) as u16;
    out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    let crc = fingerprint(&out[start..]);
    attribute(out, FINGERPRINT, 4);
    out.extend_from_slice(&crc.to_be_bytes());
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// CRC-32 as in ITU V.42, a byte at a time: only authenticated messages get here, a few per second.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut value = n as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[n] = value;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

#[cfg(test)]
pub(super) mod tests;
