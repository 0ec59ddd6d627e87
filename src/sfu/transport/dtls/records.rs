//! A look at DTLS 1.2 records before the engine sees them.
//!
//! `rtc-dtls` 0.21.1 keeps every handshake fragment it is shown for up to 2 MB, and *any* handshake
//! record, also a repeated or a forged one, stops its retransmission timer, after which a lost
//! flight is never sent again. A ChangeCipherSpec that claims to be encrypted it believes without
//! decrypting it, and is deaf from then on. So records that cannot matter are taken out here: the wrong
//! direction, an epoch that is over, a message that was already answered.

use bytes::BytesMut;

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const FATAL: u8 = 2;

const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;

/// Handshake types only a client sends: ClientHello, CertificateVerify, ClientKeyExchange.
const FROM_CLIENT: [u8; 3] = [CLIENT_HELLO, 15, 16];
/// Handshake types only a server sends: ServerHello, HelloVerifyRequest, ServerKeyExchange,
/// CertificateRequest, ServerHelloDone.
const FROM_SERVER: [u8; 5] = [2, HELLO_VERIFY_REQUEST, 12, 13, 14];

const USE_SRTP: u16 = 14;

/// What the filter must know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter {
    /// We are the DTLS client.
    pub(super) client: bool,
    /// The handshake is complete.
    pub(super) complete: bool,
    /// Plain handshake messages below this number were already answered.
    pub(super) answered: u16,
}

/// A fragment of a handshake message (RFC 6347 4.2.3). A ClientHello with a post-quantum key share
/// does not fit one datagram.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Length of the whole message.
    pub(super) total: usize,
    /// Where this piece begins.
    pub(super) offset: usize,
    /// The piece.
    pub(super) bytes: Vec<u8>,
}

/// What a datagram held.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    /// The records the engine should see.
    pub(super) records: BytesMut,
    /// Of these, bytes of handshake records in the clear.
    pub(super) handshake_bytes: usize,
    /// Of these, encrypted records the engine would keep rather than use: handshake messages, and
    /// before completion everything.
    pub(super) hoarded_bytes: usize,
    /// Numbers of the messages among them: bit n = `Filter::answered` + n.
    pub(super) messages: u16,
    /// Pieces of a ClientHello among them.
    pub(super) hello: Vec<Piece>,
    /// A message that was already answered was taken out.
    pub(super) repeated: bool,
    /// A fatal alert in the clear was taken out.
    pub(super) alert: bool,
}

/// Take out what the engine must not see.
pub(super) fn sift(mut datagram: &[u8], filter: Filter) -> Sifted {
    let mut sifted = Sifted::default();
    while let Some((record, rest)) = split_record(datagram) {
        datagram = rest;
        let epoch = u16::from_be_bytes([record[3], record[4]]);
        let keep = match record[0] {
            HANDSHAKE if epoch == 0 => sift_handshake(record, filter, &mut sifted),
            CHANGE_CIPHER_SPEC if epoch == 0 => !filter.complete,
            // Anybody can forge one, and the engine would pass it on to the peer.
            ALERT if epoch == 0 => {
                sifted.alert |= record.get(RECORD_HEADER) == Some(&FATAL);
                false
            }
            ALERT | HANDSHAKE | APPLICATION_DATA => epoch == 1,
            _ => false,
        };
        if keep && epoch == 1 && (record[0] == HANDSHAKE || !filter.complete) {
            sifted.hoarded_bytes += record.len();
        }
        if keep {
            sifted.records.extend_from_slice(record);
        }
    }
    sifted
}

fn sift_handshake(record: &[u8], filter: Filter, sifted: &mut Sifted) -> bool {
    let Some(header) = record.get(RECORD_HEADER..RECORD_HEADER + HANDSHAKE_HEADER) else {
        return false;
    };
    let (kind, number) = (header[0], u16::from_be_bytes([header[4], header[5]]));
    let wrong_way: &[u8] = if filter.client { &FROM_CLIENT } else { &FROM_SERVER };
    if wrong_way.contains(&kind) || (filter.complete && filter.client) {
        return false;
    }
    if !filter.complete {
        if number < filter.answered {
            sifted.repeated = true;
            return false;
        }
        // A flight has at most six messages.
        let Some(bit) = 1u16.checked_shl(u32::from(number - filter.answered)) else {
            return false;
        };
        sifted.messages |= bit;
    }
    if kind == CLIENT_HELLO {
        sifted.hello.push(Piece {
            total: be24(&header[1..4]),
            offset: be24(&header[6..9]),
            bytes: record[RECORD_HEADER + HANDSHAKE_HEADER..].to_vec(),
        });
    }
    sifted.handshake_bytes += record.len();
    true
}

/// Whether the first record is an alert in the clear.
pub(super) fn is_clear_alert(datagram: &[u8]) -> bool {
    datagram.first() == Some(&ALERT) && datagram.get(3..5) == Some(&[0, 0])
}

/// Whether the first record is a HelloVerifyRequest.
pub(super) fn is_hello_verify_request(datagram: &[u8]) -> bool {
    datagram.first() == Some(&HANDSHAKE)
        && datagram.get(RECORD_HEADER) == Some(&HELLO_VERIFY_REQUEST)
}

fn split_record(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = u16::from_be_bytes(*datagram.get(11..)?.first_chunk()?);
    datagram.split_at_checked(RECORD_HEADER + usize::from(len))
}

fn be24(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

/// The `use_srtp` list (RFC 5764 4.1.1) of a whole ClientHello.
pub(super) fn srtp_profiles(mut body: &[u8]) -> Option<Vec<u16>> {
    let body = &mut body;
    take(body, 2 + 32)?;
    take_vector(body, 1)?; // session id
    take_vector(body, 1)?; // cookie
    take_vector(body, 2)?; // cipher suites
    take_vector(body, 1)?; // compression methods
    let mut extensions = take_vector(body, 2)?;
    while !extensions.is_empty() {
        let kind = take(&mut extensions, 2)?;
        let mut value = take_vector(&mut extensions, 2)?;
        if u16::from_be_bytes([kind[0], kind[1]]) == USE_SRTP {
            let list = take_vector(&mut value, 2)?;
            return Some(
                list.chunks_exact(2).map(|id| u16::from_be_bytes([id[0], id[1]])).collect(),
            );
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(len)?;
    *bytes = tail;
    Some(head)
}

/// A vector with a length prefix of `width` bytes, 1 or 2.
fn take_vector<'a>(bytes: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let prefix = take(bytes, width)?;
    take(bytes, be24(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(&(body.len() as u16).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn message(kind: u8, number: u8) -> Vec<u8> {
        record(HANDSHAKE, 0, &[kind, 0, 0, 1, 0, number, 0, 0, 0, 0, 0, 1, 9])
    }

    #[test]
    fn a_client_ignores_client_hellos_and_answered_messages() {
        let filter = Filter { client: true, complete: false, answered: 2 };
        assert!(sift(&message(CLIENT_HELLO, 5), filter).records.is_empty());
        let old = sift(&message(2, 1), filter);
        assert!(old.records.is_empty() && old.repeated);
        let new = sift(&message(2, 2), filter);
        assert_eq!((new.handshake_bytes, new.messages), (26, 1));
        assert!(sift(&message(2, 18), filter).records.is_empty());
    }

    #[test]
    fn after_completion_a_client_sees_no_plain_record() {
        let filter = Filter { client: true, complete: true, answered: 9 };
        let mut datagram = message(2, 10);
        datagram.extend(record(ALERT, 0, &[2, 0]));
        datagram.extend(record(APPLICATION_DATA, 1, &[1; 30]));
        assert_eq!(sift(&datagram, filter).records.len(), 43);
    }

    proptest! {
        #[test]
        fn sifts_anything(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            client: bool, complete: bool, answered in 0u16..4,
        ) {
            let sifted = sift(&bytes, Filter { client, complete, answered });
            prop_assert!(sifted.records.len() <= bytes.len());
            let _ = srtp_profiles(&bytes);
        }
    }
}
