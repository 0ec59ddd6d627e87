//! What the kernel says about a received message beside its bytes.
#![allow(unsafe_code)]

/// The control messages that we ask for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ancillary {
    /// Length of the datagrams that `UDP_GRO` glued together, bytes.
    pub(super) segment: Option<usize>,
    /// `SCM_TIMESTAMPNS`: when it was received, in ns since the Unix epoch.
    pub(super) stamp: Option<u64>,
}

/// Read the control messages of a header.
///
/// # Safety
/// `header` must have been filled by a successful `recvmmsg`, and its control memory must still be alive.
pub(super) unsafe fn read(header: &libc::msghdr) -> Ancillary {
    let mut found = Ancillary::default();
    // SAFETY: the header's control pointer and length are what the kernel left there.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole control header.
    while let Some(control) = unsafe { next.as_ref() } {
        // SAFETY: as above; the data follows the header.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (control.cmsg_level, control.cmsg_type) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: the kernel puts one c_int into a UDP_GRO message.
                let size = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                found.segment = Some(usize::try_from(size).unwrap_or(0));
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: the kernel puts one timespec into an SCM_TIMESTAMPNS message.
                let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                found.stamp = Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
            }
            _ => {}
        }
        // SAFETY: `next` is a control header of this message.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    found
}
