//! What the media carries: a valid VP8 descriptor and frame tag in front, then facts that a viewer
//! can check, then filler.

/// VP8 payload descriptor (RFC 7741) with a 15-bit picture id.
const DESCRIPTOR: usize = 4;
/// VP8 frame tag, start code and size; filler in packets that start no key frame.
const TAG: usize = 10;
const MAGIC: u32 = 0x6c6f_6164;

/// The filler of packet `n` is this table from `n % 256` on.
static FILLER: [u8; 2048] = {
    let mut table = [0; 2048];
    let mut at = 0;
    while at < table.len() {
        table[at] = at as u8;
        at += 1;
    }
    table
};

/// What a packet says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Counts the publisher's packets of this kind.
    pub number: u32,
    /// When it was sent, ns of the machine's real-time clock.
    pub sent_ns: u64,
}

/// Where a packet stands in its frame.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub picture: u16,
    pub first: bool,
    pub key_frame: bool,
}

/// Append a VP8 payload of `len` bytes.
pub fn video(out: &mut Vec<u8>, facts: Facts, place: Place, len: usize) {
    let start = out.len();
    let [high, low] = (place.picture | 0x8000).to_be_bytes();
    out.extend_from_slice(&[0x80 | (u8::from(place.first) << 4), 0x80, high, low]);
    // 640x360; bit 0 of the tag: 0 = key frame.
    let tag = if place.key_frame {
        [0x10, 0x02, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]
    } else {
        [0x11, 0x02, 0, 0, 0, 0, 0, 0, 0, 0]
    };
    out.extend_from_slice(&tag);
    put(out, facts, start + len);
}

/// Append an Opus payload of `len` bytes.
pub fn audio(out: &mut Vec<u8>, facts: Facts, len: usize) {
    let start = out.len();
    // TOC of one 20 ms CELT frame (RFC 6716 3.1).
    out.push(0xf8);
    put(out, facts, start + len);
}

fn put(out: &mut Vec<u8>, facts: Facts, end: usize) {
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&facts.number.to_be_bytes());
    out.extend_from_slice(&facts.sent_ns.to_be_bytes());
    let filler = filler(facts.number, end.saturating_sub(out.len()));
    out.extend_from_slice(filler);
}

fn filler(number: u32, len: usize) -> &'static [u8] {
    let from = (number % 256) as usize;
    &FILLER[from..(from + len).min(FILLER.len())]
}

/// Read a payload; `None` when it is not what was sent.
pub fn read(payload: &[u8], video: bool) -> Option<Facts> {
    let skip = if video { DESCRIPTOR + TAG } else { 1 };
    let facts = payload.get(skip..)?;
    let (magic, facts) = facts.split_first_chunk::<4>()?;
    let (number, facts) = facts.split_first_chunk::<4>()?;
    let (sent, rest) = facts.split_first_chunk::<8>()?;
    let number = u32::from_be_bytes(*number);
    let whole = u32::from_be_bytes(*magic) == MAGIC && rest == filler(number, rest.len());
    whole.then(|| Facts { number, sent_ns: u64::from_be_bytes(*sent) })
}

#[cfg(test)]
mod tests {
    use crate::rtp::codec::describe;
    use crate::rtp::track::Codec;

    use super::*;

    const FACTS: Facts = Facts { number: 0x0102_03ff, sent_ns: 0x1122_3344_5566_7788 };

    fn frame(first: bool, key_frame: bool) -> Vec<u8> {
        let mut payload = Vec::new();
        video(&mut payload, FACTS, Place { picture: 7, first, key_frame }, 1172);
        payload
    }

    #[test]
    fn a_server_sees_vp8() {
        let facts = describe(Codec::Vp8, &frame(true, true)).unwrap();
        assert!(facts.frame_start && facts.key_frame_start);
        assert_eq!(facts.picture_id.map(|id| id.value), Some(7));
        let facts = describe(Codec::Vp8, &frame(true, false)).unwrap();
        assert!(facts.frame_start && !facts.key_frame_start);
        assert!(!describe(Codec::Vp8, &frame(false, false)).unwrap().frame_start);
    }

    #[test]
    fn a_viewer_reads_what_was_sent_and_nothing_else() {
        let mut payload = frame(true, true);
        assert_eq!(payload.len(), 1172);
        assert_eq!(read(&payload, true), Some(FACTS));
        // A server may renumber pictures.
        payload[3] ^= 1;
        assert_eq!(read(&payload, true), Some(FACTS));
        payload[900] ^= 1;
        assert_eq!(read(&payload, true), None);
        assert_eq!(read(&payload[..DESCRIPTOR + TAG + 15], true), None);

        let mut payload = Vec::new();
        audio(&mut payload, FACTS, 80);
        assert_eq!((payload.len(), read(&payload, false)), (80, Some(FACTS)));
    }
}
