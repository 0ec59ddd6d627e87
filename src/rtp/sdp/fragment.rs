//! `application/trickle-ice-sdpfrag` (RFC 8840), the body of WHIP and WHEP `PATCH`.

use super::parse::{Description, values};
use super::peer::check_ice;
use super::write::candidates;
use super::{LocalSession, SdpError};

/// A peer's fragment: new candidates, or new credentials for an ICE restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// User name fragment and password, if it has them.
    pub credentials: Option<(String, String)>,
    /// The user name fragment alone; trickled candidates may come with it and no password.
    pub ufrag: Option<String>,
    /// Candidates in it. An ICE-lite agent has no use for them.
    pub candidates: usize,
    /// There will be no more.
    pub end_of_candidates: bool,
}

impl Fragment {
    /// Read a fragment. Session level and m-line level are the same to us: one bundle.
    ///
    /// # Errors
    /// [`SdpError::BadLine`] and the limits of every description; [`SdpError::MissingIce`] for a
    /// fragment that says nothing at all; [`SdpError::BadIce`].
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        let description = Description::parse_lines(text)?;
        let sections = description.sections.iter().map(|section| section.attributes.as_slice());
        let levels: Vec<_> =
            std::iter::once(description.attributes.as_slice()).chain(sections).collect();
        let find = |name| levels.iter().find_map(|level| values(level, name).next());
        let (ufrag, password) = (find("ice-ufrag"), find("ice-pwd"));
        let end_of_candidates = find("end-of-candidates").is_some();
        if ufrag.is_none() && description.candidates == 0 && !end_of_candidates {
            return Err(SdpError::MissingIce);
        }
        let credentials = ufrag.zip(password);
        if let Some((ufrag, password)) = credentials {
            check_ice(ufrag, password)?;
        }
        Ok(Self {
            credentials: credentials.map(|(ufrag, password)| (ufrag.into(), password.into())),
            ufrag: ufrag.map(str::to_owned),
            candidates: description.candidates,
            end_of_candidates,
        })
    }

    /// Our side after an ICE restart (RFC 9725 4.3.3): new credentials, the same addresses.
    /// `mid` is the one of the bundle's first m-line.
    #[must_use]
    pub fn write(local: &LocalSession<'_>, mid: &str) -> String {
        let mut text = format!(
            "a=ice-lite\r\na=group:BUNDLE {mid}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n\
             a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
            local.ufrag, local.password
        );
        candidates(&mut text, local);
        text
    }
}
