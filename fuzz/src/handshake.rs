//! The way to keys, over a path that the input spoils: datagrams of an honest handshake are lost, doubled, bent,
//! cut and overtaken, and strangers put their own between them. No engine panics, nothing is sent to where no check
//! came from, and in the end there are keys or there is no transport.

use std::collections::VecDeque;
use std::time::Duration;

use greenroom::rtp::packet::PacketKind;
use greenroom::sfu::command::Purpose;
use greenroom::sfu::egress::Path;
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::cores::{Cores, Setup};
use super::script::Script;

const MAX_STEPS: usize = 400;

/// The target.
pub fn handshake(data: &[u8]) {
    let mut script = Script(data);
    let form = script.byte();
    let mut cores = Cores::new(1, 1);
    let purpose = Purpose::Watch { tracks: Vec::new(), backstage: false, own_seat: None };
    let profile = if form & 1 == 0 {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm
    } else {
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80
    };
    // We are the DTLS client of one half of them, and the server of the other.
    let setup = Setup { profile, data_channels: form & 2 != 0, connects: form & 4 != 0 };
    let member = cores.add(0, purpose, setup);
    let mut waiting = VecDeque::new();
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        cores.pass_unheard(Duration::ZERO);
        waiting.extend(cores.members[member].peer.out.drain(..));
        let fault = script.byte();
        deliver(&mut cores, member, &mut waiting, fault, &mut script);
    }
    // From here on everything arrives.
    for bytes in waiting {
        cores.send(member, bytes);
    }
    for _ in 0..40 {
        cores.pass(Duration::from_millis(500));
    }
    let population = cores.cores[0].population();
    assert_eq!(population.connecting, 0, "neither keys nor an end after 15 s");
    cores.check();
}

/// The next datagram meets a fault, or none does.
fn deliver(
    cores: &mut Cores,
    member: usize,
    waiting: &mut VecDeque<Vec<u8>>,
    fault: u8,
    script: &mut Script<'_>,
) {
    let path = cores.members[member].path;
    match fault % 12 {
        // Its own time.
        0 => cores.pass_unheard(Duration::from_millis(1 + u64::from(script.byte() % 200))),
        1 => drop(waiting.pop_front()),
        2 => {
            if let Some(bytes) = waiting.front().cloned() {
                cores.send(member, bytes);
            }
        }
        3 => {
            if let Some(bytes) = waiting.pop_front() {
                waiting.push_back(bytes);
            }
        }
        4 | 5 => {
            if let Some(mut bytes) = waiting.pop_front() {
                // Checks stay as they are: their HMAC leaves nothing to find.
                if PacketKind::of(&bytes) == Some(PacketKind::Dtls) {
                    let at = usize::from(script.word()) % bytes.len();
                    bytes[at] ^= script.byte();
                }
                cores.send(member, bytes);
            }
        }
        6 => {
            if let Some(mut bytes) = waiting.pop_front() {
                bytes.truncate(usize::from(script.word()) % (bytes.len() + 1));
                cores.send(member, bytes);
            }
        }
        7 => {
            if let Some(mut bytes) = waiting.pop_front() {
                bytes.extend_from_slice(script.block());
                cores.send(member, bytes);
            }
        }
        8 => {
            let (kind, epoch) = (20 + script.byte() % 6, script.byte() % 3);
            let body = script.block();
            let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, script.byte()];
            record.extend_from_slice(&(body.len() as u16).to_be_bytes());
            record.extend_from_slice(body);
            cores.datagram(0, path, record);
        }
        9 => {
            // From another address: no check came from there.
            let elsewhere = Path { local: 0, remote: ([192, 0, 2, 1], 9).into() };
            cores.datagram(0, elsewhere, script.block().to_vec());
        }
        10 => cores.datagram(0, path, script.block().to_vec()),
        _ => {
            if let Some(bytes) = waiting.pop_front() {
                cores.send(member, bytes);
            }
        }
    }
}
