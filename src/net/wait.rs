//! Waiting on Linux: one epoll per shard over its sockets and one eventfd.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::pending::Pending;

/// Sockets one shard can watch.
pub const MAX_WATCHED: usize = 32;

/// The epoll tag of the eventfd.
const WAKE: u64 = u64::MAX;

/// Wakes a waiting shard from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Wake>);

#[derive(Debug)]
struct Wake {
    event: File,
    pending: Pending,
}

impl Waker {
    /// Make the next or current wait return. Put the work where the shard finds it first.
    pub fn wake(&self) {
        if self.0.pending.raise() {
            // The counter cannot overflow: it is read before `pending` is lowered.
            let _ = (&self.0.event).write(&1u64.to_ne_bytes());
        }
    }

    fn reset(&self) {
        let _ = (&self.0.event).read(&mut [0; 8]);
        self.0.pending.lower();
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

/// One shard's epoll.
#[derive(Debug)]
pub struct Wait {
    epoll: OwnedFd,
    waker: Waker,
    /// The kernel (before 5.11) or a sandbox has no nanosecond wait.
    coarse: bool,
}

impl Wait {
    /// An epoll that watches its own waker.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: no pointers are passed.
        let event = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let wake = Wake { event: File::from(event), pending: Pending::new() };
        let wait = Self { epoll, waker: Waker(Arc::new(wake)), coarse: false };
        wait.add(wait.waker.0.event.as_raw_fd(), WAKE)?;
        Ok(wait)
    }

    /// For other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Report `fd` as `index` (below [`MAX_WATCHED`]) when it is readable.
    ///
    /// # Errors
    /// A bad descriptor or index.
    pub fn watch(&mut self, fd: RawFd, index: usize) -> io::Result<()> {
        if index >= MAX_WATCHED {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.add(fd, index as u64)
    }

    fn add(&self, fd: RawFd, tag: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: tag };
        // SAFETY: `event` is valid for the call; the kernel copies it.
        let result = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Wait until a socket is readable, somebody wakes us or `timeout` is over (`None` = for ever).
    ///
    /// # Errors
    /// A system error other than an interruption.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Ready> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MAX_WATCHED + 1];
        let count = match self.wait_call(&mut events, timeout) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        let mut ready = Ready::default();
        for event in events.iter().take(count) {
            match event.u64 {
                WAKE => self.waker.reset(),
                index => ready.0 |= 1u32.checked_shl(index as u32).unwrap_or(0),
            }
        }
        Ok(ready)
    }

    /// `epoll_pwait2`, or `epoll_wait` with whole milliseconds where it is missing.
    fn wait_call(
        &mut self,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if !self.coarse {
            let timespec = timeout.map(|timeout| libc::timespec {
                tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: timeout.subsec_nanos() as _,
            });
            let timespec = timespec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            // SAFETY: `events` and `timespec` are valid for the call; the signal mask is null. By
            // number, because C libraries before glibc 2.35 have no wrapper.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.epoll.as_raw_fd(),
                    events.as_mut_ptr(),
                    events.len() as libc::c_int,
                    timespec,
                    std::ptr::null::<libc::sigset_t>(),
                    0usize,
                )
            };
            let error = io::Error::last_os_error();
            match usize::try_from(count) {
                Ok(count) => return Ok(count),
                Err(_) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.coarse = true;
                }
                Err(_) => return Err(error),
            }
        }
        // Rounded up: a wait that ends early would spin until the deadline.
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: `events` is valid for its length during the call.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as libc::c_int,
                milliseconds,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
