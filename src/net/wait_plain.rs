//! Waiting on any Unix: `poll` over the shard's sockets and one end of a socket pair.
#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::pending::Pending;

/// Sockets one shard can watch.
pub const MAX_WATCHED: usize = 32;

/// Wakes a waiting shard from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Wake>);

#[derive(Debug)]
struct Wake {
    sender: UnixStream,
    pending: Pending,
}

impl Waker {
    /// Make the next or current wait return. Put the work where the shard finds it first.
    pub fn wake(&self) {
        if self.0.pending.raise() {
            let _ = (&self.0.sender).write(&[1]);
        }
    }
}

/// The sockets that have something to receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready(u32);

impl Ready {
    /// Whether socket `index` is ready.
    #[must_use]
    pub const fn contains(self, index: usize) -> bool {
        index < MAX_WATCHED && self.0 & (1 << index) != 0
    }
}

/// One shard's poll set.
#[derive(Debug)]
pub struct Wait {
    /// The waker first, then the sockets by index.
    descriptors: Vec<libc::pollfd>,
    receiver: UnixStream,
    waker: Waker,
}

impl Wait {
    /// A poll set that watches its own waker.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        let descriptors = vec![readable(receiver.as_raw_fd())];
        let waker = Waker(Arc::new(Wake { sender, pending: Pending::new() }));
        Ok(Self { descriptors, receiver, waker })
    }

    /// For other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Report `fd` as `index` when it is readable. Indexes are given in order from 0.
    ///
    /// # Errors
    /// A bad index.
    pub fn watch(&mut self, fd: RawFd, index: usize) -> io::Result<()> {
        if index >= MAX_WATCHED || index + 1 != self.descriptors.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.descriptors.push(readable(fd));
        Ok(())
    }

    /// Wait until a socket is readable, somebody wakes us or `timeout` is over (`None` = for ever).
    ///
    /// # Errors
    /// A system error other than an interruption.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Ready> {
        // Rounded up: a wait that ends early would spin until the deadline.
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the descriptors are valid for their length during the call.
        let count = unsafe {
            libc::poll(
                self.descriptors.as_mut_ptr(),
                self.descriptors.len() as libc::nfds_t,
                milliseconds,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            let interrupted = error.kind() == io::ErrorKind::Interrupted;
            return if interrupted { Ok(Ready::default()) } else { Err(error) };
        }
        let mut ready = Ready::default();
        for (index, descriptor) in self.descriptors.iter().enumerate() {
            if descriptor.revents == 0 {
                continue;
            }
            match index.checked_sub(1) {
                Some(socket) => ready.0 |= 1 << socket,
                None => self.reset(),
            }
        }
        Ok(ready)
    }

    fn reset(&self) {
        let _ = (&self.receiver).read(&mut [0; 8]);
        self.waker.0.pending.lower();
    }
}

fn readable(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}
