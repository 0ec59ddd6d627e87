//! A datagram as STUN: the first thing a stranger can make us read.

use greenroom::sfu::transport::StunRequest;

/// Parsing never panics, what is found lies inside the datagram, and nobody guesses an integrity.
pub fn stun(data: &[u8]) {
    let Ok(request) = StunRequest::parse(data) else { return };
    assert!(request.local_ufrag().len() + request.remote_ufrag().len() < data.len());
    assert_eq!(data.get(8..20), Some(&request.transaction()[..]));
    // Not the password of the corpus: no input can be authentic under it.
    assert!(request.check_integrity("no peer was ever told this").is_err());
}
