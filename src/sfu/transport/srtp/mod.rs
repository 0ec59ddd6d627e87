//! SRTP and SRTCP (RFC 3711, RFC 7714): keys of a finished handshake, one sender, one receiver.

mod cm;
mod gcm;
mod kdf;
mod replay;

use aws_lc_rs::error::Unspecified;

use self::cm::CmKey;
use self::gcm::GcmKey;
use self::kdf::{Label, derive};
use self::replay::ReplayTable;
use crate::sfu::drop_reason::DropReason;

/// A protection profile we implement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM`.
    Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    Cm,
}

impl Profile {
    /// All of them, in declaration order.
    pub const ALL: [Self; 2] = [Self::Gcm, Self::Cm];

    /// The name RFC 5764 and RFC 7714 give it, in the style of metric labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gcm => "aead_aes_128_gcm",
            Self::Cm => "aes128_cm_hmac_sha1_80",
        }
    }

    /// Bytes the DTLS exporter must give (RFC 5764 4.2): two keys, two salts.
    pub(super) const fn keying_len(self) -> usize {
        2 * 16 + 2 * self.salt_len()
    }

    const fn salt_len(self) -> usize {
        match self {
            Self::Gcm => 12,
            Self::Cm => 14,
        }
    }

    const fn tag_len(self) -> usize {
        match self {
            Self::Gcm => gcm::TAG,
            Self::Cm => cm::TAG,
        }
    }
}

/// The E bit of an SRTCP index word.
const ENCRYPTED: u32 = 1 << 31;
/// Bytes of the SRTCP index word.
const WORD: usize = 4;
/// The part of an RTCP packet that stays in the clear.
const RTCP_HEADER: usize = 8;

/// The rare and large one is boxed, the other not: at each frame its owner is read after everything else
/// was, and one pointer less to follow is one cache miss less.
enum Key {
    Gcm(GcmKey),
    Cm(Box<CmKey>),
}

/// Key and salt of one direction.
#[derive(PartialEq, Eq)]
pub(super) struct Master {
    key: [u8; 16],
    salt: [u8; 14],
}

impl Master {
    /// Split the exporter's output: client key, server key, client salt, server salt.
    ///
    /// Returns the client's (DTLS sense) and the server's; `None` if the length is wrong.
    pub(super) fn split(profile: Profile, keying: &[u8]) -> Option<(Self, Self)> {
        let (keys, salts) = keying.split_at_checked(32)?;
        let (client_salt, server_salt) = salts.split_at_checked(profile.salt_len())?;
        if server_salt.len() != profile.salt_len() {
            return None;
        }
        let (client_key, server_key) = keys.split_at(16);
        Some((Self::new(client_key, client_salt)?, Self::new(server_key, server_salt)?))
    }

    fn new(key: &[u8], salt: &[u8]) -> Option<Self> {
        let mut padded = [0; 14];
        padded.get_mut(..salt.len())?.copy_from_slice(salt);
        Some(Self { key: key.try_into().ok()?, salt: padded })
    }

    fn session(&self, profile: Profile, rtcp: bool) -> Result<Key, Unspecified> {
        let (key, auth, salt) = if rtcp {
            (Label::RtcpKey, Label::RtcpAuth, Label::RtcpSalt)
        } else {
            (Label::RtpKey, Label::RtpAuth, Label::RtpSalt)
        };
        let key = derive(&self.key, &self.salt, key)?;
        Ok(match profile {
            Profile::Gcm => {
                let salt = derive(&self.key, &self.salt, salt)?;
                Key::Gcm(GcmKey::new(&key, salt)?)
            }
            Profile::Cm => {
                let auth = derive(&self.key, &self.salt, auth)?;
                let salt = derive(&self.key, &self.salt, salt)?;
                Key::Cm(Box::new(CmKey::new(&key, &auth, salt)?))
            }
        })
    }
}

/// Seals RTP for one peer. The hot path: one call per viewer and packet.
pub struct SrtpSender {
    key: Key,
    #[cfg(debug_assertions)]
    used: std::cell::RefCell<NonceLog>,
}

impl SrtpSender {
    pub(super) fn new(profile: Profile, master: &Master) -> Result<Self, Unspecified> {
        Ok(Self {
            key: master.session(profile, false)?,
            #[cfg(debug_assertions)]
            used: std::cell::RefCell::default(),
        })
    }

    /// The sender of a DTLS client whose handshake exported `keying` (RFC 5764 4.2); for
    /// measurements without a handshake. `None` if the length is not the profile's.
    #[must_use]
    pub fn of_client(profile: Profile, keying: &[u8]) -> Option<Self> {
        let (client, _) = Master::split(profile, keying)?;
        Self::new(profile, &client).ok()
    }

    /// Append `header | sealed payload and padding | tag` to `out`.
    ///
    /// `header` is the plain RTP header with its extensions and `padding` the RTP padding of the
    /// packet, count byte included. `index` is the 48-bit packet index, roll-over counter above
    /// the header's sequence number. It must never repeat for an SSRC with other bytes: under GCM
    /// that gives the authentication key away. Debug builds panic on it.
    pub fn seal_rtp(
        &self,
        header: &[u8],
        payload: &[u8],
        padding: &[u8],
        index: u64,
        out: &mut Vec<u8>,
    ) {
        debug_assert!(header.len() >= 12, "an RTP header has 12 bytes");
        debug_assert_eq!(header[2..4], (index as u16).to_be_bytes(), "index of another sequence");
        let Some(ssrc) = ssrc_at(header, 8) else { return };
        #[cfg(debug_assertions)]
        self.used.borrow_mut().check(ssrc, index, &[header, payload, padding]);
        let start = out.len();
        out.extend_from_slice(header);
        let sealed = match &self.key {
            Key::Gcm(key) => key.seal(ssrc, index, header, payload, padding, out),
            Key::Cm(key) => {
                out.extend_from_slice(payload);
                out.extend_from_slice(padding);
                key.apply(ssrc, index, &mut out[start + header.len()..]).map(|()| {
                    let tag = key.tag(&out[start..], &roc(index));
                    out.extend_from_slice(&tag);
                })
            }
        };
        if sealed.is_err() {
            debug_assert!(false, "sealing cannot fail");
            out.truncate(start);
        }
    }

    /// What protects its packets.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        match &self.key {
            Key::Gcm(_) => Profile::Gcm,
            Key::Cm(_) => Profile::Cm,
        }
    }

    /// Bytes a sealed packet is longer than header, payload and padding.
    #[must_use]
    pub fn overhead(&self) -> usize {
        self.profile().tag_len()
    }
}

impl std::fmt::Debug for SrtpSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpSender").finish_non_exhaustive()
    }
}

/// Seals RTCP for one peer; owns the SRTCP index.
pub(super) struct SrtcpSender {
    key: Key,
    index: u32,
}

impl SrtcpSender {
    pub(super) fn new(profile: Profile, master: &Master) -> Result<Self, Unspecified> {
        Ok(Self { key: master.session(profile, true)?, index: 0 })
    }

    /// Append the sealed compound packet. Nothing is appended if it is shorter than a header or
    /// all 2^31 indexes of the key are used.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let (Some(ssrc), true) = (ssrc_at(plain, 4), self.index < ENCRYPTED - 1) else { return };
        self.index += 1;
        let word = (self.index | ENCRYPTED).to_be_bytes();
        let index = u64::from(self.index);
        let start = out.len();
        let (header, payload) = plain.split_at(RTCP_HEADER);
        out.extend_from_slice(header);
        let sealed = match &self.key {
            Key::Gcm(key) => {
                let mut aad = [0; RTCP_HEADER + WORD];
                aad[..RTCP_HEADER].copy_from_slice(header);
                aad[RTCP_HEADER..].copy_from_slice(&word);
                key.seal(ssrc, index, &aad, payload, &[], out).map(|()| {
                    out.extend_from_slice(&word);
                })
            }
            Key::Cm(key) => {
                out.extend_from_slice(payload);
                key.apply(ssrc, index, &mut out[start + RTCP_HEADER..]).map(|()| {
                    out.extend_from_slice(&word);
                    let tag = key.tag(&out[start..], &[]);
                    out.extend_from_slice(&tag);
                })
            }
        };
        if sealed.is_err() {
            debug_assert!(false, "sealing cannot fail");
            out.truncate(start);
        }
    }
}

/// Opens what a peer sends.
pub(super) struct Receiver {
    rtp: Key,
    rtcp: Key,
    rtp_seen: ReplayTable,
    rtcp_seen: ReplayTable,
}

impl Receiver {
    pub(super) fn new(profile: Profile, master: &Master) -> Result<Self, Unspecified> {
        Ok(Self {
            rtp: master.session(profile, false)?,
            rtcp: master.session(profile, true)?,
            rtp_seen: ReplayTable::default(),
            rtcp_seen: ReplayTable::default(),
        })
    }

    /// Check, authenticate and decrypt an RTP packet in place.
    pub(super) fn open_rtp<'a>(&mut self, bytes: &'a mut [u8]) -> Result<&'a mut [u8], DropReason> {
        let header = rtp_header_len(bytes).ok_or(DropReason::RtpMalformed)?;
        let ssrc = ssrc_at(bytes, 8).ok_or(DropReason::RtpMalformed)?;
        let seq = u16::from_be_bytes([bytes[2], bytes[3]]);
        let index = match self.rtp_seen.find(ssrc)? {
            Some(window) => {
                let index = window.estimate(seq);
                window.check(index).map_err(|_| DropReason::SrtpReplay)?;
                index
            }
            None => u64::from(seq),
        };
        let len = match &self.rtp {
            Key::Gcm(key) => {
                let (aad, sealed) = bytes.split_at_mut(header);
                let plain = key.open(ssrc, index, aad, sealed);
                header + plain.map_err(|_| DropReason::SrtpAuth)?.len()
            }
            Key::Cm(key) => {
                let end = bytes.len().checked_sub(cm::TAG).filter(|end| *end >= header);
                let end = end.ok_or(DropReason::SrtpAuth)?;
                let (packet, tag) = bytes.split_at_mut(end);
                key.verify(packet, &roc(index), tag).map_err(|_| DropReason::SrtpAuth)?;
                key.apply(ssrc, index, &mut packet[header..]).map_err(|_| DropReason::SrtpAuth)?;
                end
            }
        };
        self.rtp_seen.accept(ssrc, index);
        Ok(&mut bytes[..len])
    }

    /// Check, authenticate and decrypt an RTCP compound packet in place.
    pub(super) fn open_rtcp<'a>(
        &mut self,
        bytes: &'a mut [u8],
    ) -> Result<&'a mut [u8], DropReason> {
        let (profile, word_from_end) = match &self.rtcp {
            Key::Gcm(_) => (Profile::Gcm, WORD),
            Key::Cm(_) => (Profile::Cm, WORD + cm::TAG),
        };
        if bytes.len() < RTCP_HEADER + WORD + profile.tag_len() {
            return Err(DropReason::RtcpMalformed);
        }
        let ssrc = ssrc_at(bytes, 4).ok_or(DropReason::RtcpMalformed)?;
        let word = ssrc_at(bytes, bytes.len() - word_from_end).ok_or(DropReason::RtcpMalformed)?;
        let index = u64::from(word & !ENCRYPTED);
        if let Some(window) = self.rtcp_seen.find(ssrc)? {
            window.check(index).map_err(|_| DropReason::SrtcpReplay)?;
        }
        let encrypted = word & ENCRYPTED != 0;
        let opened = match &self.rtcp {
            Key::Gcm(key) => open_rtcp_gcm(key, ssrc, word, bytes),
            Key::Cm(key) => open_rtcp_cm(key, ssrc, index, encrypted, bytes),
        };
        let len = opened.map_err(|_| DropReason::SrtcpAuth)?;
        self.rtcp_seen.accept(ssrc, index);
        Ok(&mut bytes[..len])
    }
}

/// Returns the length of the plain packet. The caller checked the minimum length.
fn open_rtcp_gcm(
    key: &GcmKey,
    ssrc: u32,
    word: u32,
    bytes: &mut [u8],
) -> Result<usize, Unspecified> {
    let index = u64::from(word & !ENCRYPTED);
    let end = bytes.len() - WORD;
    if word & ENCRYPTED == 0 {
        // Authenticated only (RFC 7714 9.3): all of it is associated data. No client of ours does
        // this, so the copy is fine.
        let (packet, tag) = bytes[..end].split_at_mut(end - gcm::TAG);
        let mut aad = packet.to_vec();
        aad.extend_from_slice(&word.to_be_bytes());
        key.open(ssrc, index, &aad, tag)?;
        return Ok(end - gcm::TAG);
    }
    let mut aad = [0; RTCP_HEADER + WORD];
    aad[..RTCP_HEADER].copy_from_slice(&bytes[..RTCP_HEADER]);
    aad[RTCP_HEADER..].copy_from_slice(&word.to_be_bytes());
    let plain = key.open(ssrc, index, &aad, &mut bytes[RTCP_HEADER..end])?;
    Ok(RTCP_HEADER + plain.len())
}

fn open_rtcp_cm(
    key: &CmKey,
    ssrc: u32,
    index: u64,
    encrypted: bool,
    bytes: &mut [u8],
) -> Result<usize, Unspecified> {
    let (packet, tag) = bytes.split_at_mut(bytes.len() - cm::TAG);
    key.verify(packet, &[], tag)?;
    let end = packet.len() - WORD;
    if encrypted {
        key.apply(ssrc, index, &mut packet[RTCP_HEADER..end])?;
    }
    Ok(end)
}

/// The roll-over counter of an index, as the HMAC covers it.
const fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

fn ssrc_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Length of an RTP header with CSRCs and extension; `None` if the packet is cut or not RTP.
fn rtp_header_len(bytes: &[u8]) -> Option<usize> {
    let first = *bytes.first()?;
    let mut len = 12 + 4 * usize::from(first & 0x0F);
    if first >> 6 != 2 {
        return None;
    }
    if first & 0x10 != 0 {
        let words = u16::from_be_bytes(*bytes.get(len + 2..)?.first_chunk()?);
        len += 4 + 4 * usize::from(words);
    }
    (bytes.len() >= len).then_some(len)
}

/// Debug builds remember what each index sealed.
#[cfg(debug_assertions)]
#[derive(Debug, Default)]
struct NonceLog {
    sealed: std::collections::BTreeMap<(u32, u64), u64>,
}

#[cfg(debug_assertions)]
impl NonceLog {
    /// Enough to catch a mistake soon after it, small enough for a long debug session.
    const MAX: usize = 8192;

    fn check(&mut self, ssrc: u32, index: u64, parts: &[&[u8]; 3]) {
        use std::hash::{DefaultHasher, Hasher};
        let mut hasher = DefaultHasher::new();
        for part in parts {
            hasher.write(part);
        }
        let hash = hasher.finish();
        let before = self.sealed.insert((ssrc, index), hash);
        assert!(
            before.is_none_or(|before| before == hash),
            "SRTP nonce reused: ssrc {ssrc:#x} index {index}"
        );
        if self.sealed.len() > Self::MAX {
            self.sealed.pop_first();
        }
    }
}

#[cfg(test)]
mod tests;
