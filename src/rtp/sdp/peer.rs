//! The peer's transport half: ICE credentials, fingerprint and DTLS role.

use super::parse::{Attribute, Description, Section, values};
use super::{PeerSession, SdpError, Setup};

/// Read it from the section that carries the bundle (`tagged`), else from the session level, else
/// from any section: FFmpeg writes credentials per m-line, Firefox the fingerprint per session,
/// and bundle-only sections have neither.
pub(super) fn peer_session(
    description: &Description<'_>,
    tagged: &Section<'_>,
    default_setup: Setup,
) -> Result<PeerSession, SdpError> {
    let mut levels: Vec<&[Attribute<'_>]> = vec![&tagged.attributes, &description.attributes];
    levels.extend(description.sections.iter().map(|section| section.attributes.as_slice()));
    let find = |name| levels.iter().find_map(|level| values(level, name).next());

    // Both from one level, or an offer could pair the credentials of two transports.
    let (ufrag, password) = levels
        .iter()
        .find_map(|level| values(level, "ice-ufrag").next().zip(values(level, "ice-pwd").next()))
        .or_else(|| find("ice-ufrag").zip(find("ice-pwd")))
        .ok_or(SdpError::MissingIce)?;
    check_ice(ufrag, password)?;
    Ok(PeerSession {
        ufrag: ufrag.to_owned(),
        password: password.to_owned(),
        fingerprint: fingerprint(&levels)?,
        setup: find("setup").map_or(Ok(default_setup), setup)?,
    })
}

/// RFC 8839: ufrag 4-256 and password 22-256 characters of `A-Za-z0-9+/`.
///
/// `-`, `_` and `=` are let pass: some WHIP clients make base64url credentials, and every byte
/// that could break our own lines stays out.
pub(super) fn check_ice(ufrag: &str, password: &str) -> Result<(), SdpError> {
    let good = |text: &str, min: usize| {
        (min..=256).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte))
    };
    if good(ufrag, 4) && good(password, 22) { Ok(()) } else { Err(SdpError::BadIce) }
}

fn setup(value: &str) -> Result<Setup, SdpError> {
    match value {
        "active" => Ok(Setup::Active),
        "passive" => Ok(Setup::Passive),
        "actpass" => Ok(Setup::ActPass),
        _ => Err(SdpError::BadSetup),
    }
}

/// The first SHA-256 fingerprint of the first level that has any fingerprint.
fn fingerprint(levels: &[&[Attribute<'_>]]) -> Result<[u8; 32], SdpError> {
    let level = levels
        .iter()
        .find(|level| values(level, "fingerprint").next().is_some())
        .ok_or(SdpError::MissingFingerprint)?;
    let hex = values(level, "fingerprint")
        .filter_map(|value| value.split_once(' '))
        .find_map(|(hash, hex)| hash.eq_ignore_ascii_case("sha-256").then_some(hex.trim()))
        .ok_or(SdpError::UnsupportedFingerprint)?;
    parse_fingerprint(hex).ok_or(SdpError::BadFingerprint)
}

/// `AB:CD:...`, 32 bytes.
fn parse_fingerprint(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut pairs = hex.split(':');
    for byte in &mut bytes {
        let pair = pairs.next().filter(|pair| pair.len() == 2)?;
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    pairs.next().is_none().then_some(bytes)
}
