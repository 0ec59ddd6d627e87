//! The line parser: borrowed, bounded, tolerant of what we do not use.

use super::SdpError;

/// Longest description we read, in bytes.
///
/// Trade: Chromium's largest offer (every codec, nine pairs) is under 40 KiB.
pub const MAX_SDP_BYTES: usize = 64 * 1024;
/// Most m-lines in one description: three times what a room of nine seats needs.
pub const MAX_MEDIA_LINES: usize = 64;
/// Most candidates in one description; a laptop with VPNs sends 20 per m-line at worst.
pub const MAX_CANDIDATES: usize = 128;
/// Most formats of one m-line; Chromium offers about 40 payload types for video.
pub const MAX_FORMATS: usize = 64;

/// Longest mid; RFC 8843 wants them short, browsers use at most 16 characters.
const MAX_MID: usize = 32;

/// `a=name:value` or `a=name` (then `value` is empty).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

/// A media section.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    /// `audio`, `video`, `application`, ...
    pub(super) kind: &'a str,
    pub(super) port: u16,
    pub(super) protocol: &'a str,
    pub(super) formats: Vec<&'a str>,
    pub(super) mid: Option<&'a str>,
    pub(super) attributes: Vec<Attribute<'a>>,
}

/// A description or a fragment of one.
#[derive(Debug, Clone, Default)]
pub(super) struct Description<'a> {
    pub(super) attributes: Vec<Attribute<'a>>,
    pub(super) sections: Vec<Section<'a>>,
    pub(super) candidates: usize,
}

impl<'a> Description<'a> {
    /// A whole description, beginning with `v=0`.
    pub(super) fn parse(text: &'a str) -> Result<Self, SdpError> {
        if text.len() > MAX_SDP_BYTES {
            return Err(SdpError::TooLarge);
        }
        if text.lines().next() != Some("v=0") {
            return Err(SdpError::BadLine(1));
        }
        Self::parse_lines(text)
    }

    /// The lines of a description or of a fragment (RFC 8840, which has neither `v=` nor `o=`).
    pub(super) fn parse_lines(text: &'a str) -> Result<Self, SdpError> {
        if text.len() > MAX_SDP_BYTES {
            return Err(SdpError::TooLarge);
        }
        let mut description = Self::default();
        for (line, number) in text.lines().zip(1u32..) {
            // `lines` strips "\r\n", but not a lone "\r" at the very end.
            let line = line.trim_end_matches('\r');
            if line.bytes().any(|byte| byte < 0x20 && byte != b'\t') {
                return Err(SdpError::ControlCharacter(number));
            }
            if !line.is_empty() {
                description.add_line(line, number)?;
            }
        }
        description.check_mids()?;
        Ok(description)
    }

    fn add_line(&mut self, line: &'a str, number: u32) -> Result<(), SdpError> {
        let (name, value) = line.split_once('=').ok_or(SdpError::BadLine(number))?;
        match name {
            "m" => {
                if self.sections.len() == MAX_MEDIA_LINES {
                    return Err(SdpError::TooManyMediaLines);
                }
                self.sections.push(Section::parse(value, number)?);
            }
            "a" => self.add_attribute(value)?,
            // Origin, name, timing, connection, bandwidth: nothing in them is used.
            _ if name.len() == 1 && name.as_bytes().iter().all(u8::is_ascii_lowercase) => {}
            _ => return Err(SdpError::BadLine(number)),
        }
        Ok(())
    }

    fn add_attribute(&mut self, text: &'a str) -> Result<(), SdpError> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        let attribute = Attribute { name, value: value.trim() };
        if name == "candidate" {
            self.candidates += 1;
            if self.candidates > MAX_CANDIDATES {
                return Err(SdpError::TooManyCandidates);
            }
            // Counted and forgotten: no name is resolved, nothing is sent to an address in it.
            return Ok(());
        }
        let Some(section) = self.sections.last_mut() else {
            self.attributes.push(attribute);
            return Ok(());
        };
        if name == "mid" {
            if section.mid.is_some() || !is_mid(attribute.value) {
                return Err(SdpError::BadMid);
            }
            section.mid = Some(attribute.value);
        }
        section.attributes.push(attribute);
        Ok(())
    }

    fn check_mids(&self) -> Result<(), SdpError> {
        let mut mids: Vec<&str> = self.sections.iter().filter_map(|section| section.mid).collect();
        mids.sort_unstable();
        if mids.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(SdpError::DuplicateMid);
        }
        Ok(())
    }

    /// The mids of the first BUNDLE group, in order.
    pub(super) fn bundle(&self) -> Option<Vec<&'a str>> {
        values(&self.attributes, "group").find_map(|value| {
            let mut words = value.split_ascii_whitespace();
            (words.next() == Some("BUNDLE")).then(|| words.collect())
        })
    }

    /// A section's value of `name`, else the session's.
    pub(super) fn value(&self, section: &Section<'a>, name: &str) -> Option<&'a str> {
        values(&section.attributes, name).next().or_else(|| values(&self.attributes, name).next())
    }
}

impl<'a> Section<'a> {
    fn parse(value: &'a str, number: u32) -> Result<Self, SdpError> {
        let bad = SdpError::BadMediaLine(number);
        let mut words = value.split_ascii_whitespace();
        let mut word = || words.next().ok_or(bad);
        let (kind, port, protocol) = (word()?, word()?, word()?);
        // "9/2" (a range of ports) is legal SDP; the first counts.
        let port = port.split('/').next().unwrap_or(port).parse().map_err(|_| bad)?;
        let formats: Vec<&str> = words.collect();
        if formats.len() > MAX_FORMATS {
            return Err(SdpError::TooManyFormats);
        }
        let echoed = [kind, protocol].into_iter().chain(formats.iter().copied());
        if formats.is_empty() || !echoed.into_iter().all(|word| is_token(word, 64)) {
            return Err(bad);
        }
        Ok(Self { kind, port, protocol, formats, mid: None, attributes: Vec::new() })
    }

    /// Whether an attribute is present.
    pub(super) fn has(&self, name: &str) -> bool {
        values(&self.attributes, name).next().is_some()
    }

    /// Port 0 says "rejected", except beside `a=bundle-only` in an offer (RFC 9143).
    pub(super) fn is_rejected(&self) -> bool {
        self.port == 0 && !self.has("bundle-only")
    }

    /// RTP over DTLS with feedback, over UDP or TCP.
    pub(super) fn is_rtp(&self) -> bool {
        matches!(self.protocol, "UDP/TLS/RTP/SAVPF" | "TCP/DTLS/RTP/SAVPF" | "RTP/SAVPF")
    }
}

/// Values of all attributes called `name`.
pub(super) fn values<'s, 'a: 's>(
    attributes: &'s [Attribute<'a>],
    name: &'s str,
) -> impl Iterator<Item = &'a str> + 's {
    attributes.iter().filter(move |attribute| attribute.name == name).map(|found| found.value)
}

fn is_mid(text: &str) -> bool {
    is_token(text, MAX_MID) && !text.contains('/')
}

/// RFC 8866 `token` plus the slash of protocols, at most `max` long.
fn is_token(text: &str, max: usize) -> bool {
    let is_char = |byte: u8| byte.is_ascii_graphic() && !b"\"(),:;<=>?@[\\]".contains(&byte);
    !text.is_empty() && text.len() <= max && text.bytes().all(is_char)
}
