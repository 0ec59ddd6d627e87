//! The shard's own thread: keeping it on one core, and what it has cost.
#![allow(unsafe_code)]

/// Move the calling thread to the `n`-th core this process may use (counted around), so that its
/// keys and buffers stay in that core's cache. Best effort:
/// `false` = the system refused or does not know the notion, and the scheduler decides.
#[cfg(target_os = "linux")]
pub fn pin_to_core(n: usize) -> bool {
    // SAFETY: a CPU set is plain bits; all zeroes is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of::<libc::cpu_set_t>();
    // SAFETY: `allowed` is valid for `size` bytes; 0 is the calling thread.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) } != 0 {
        return false;
    }
    let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the index is below CPU_SETSIZE.
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &allowed) })
        .collect();
    let Some(core) = cores.get(n % cores.len().max(1)) else { return false };
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the core came out of a set of the same size.
    unsafe { libc::CPU_SET(*core, &mut one) };
    // SAFETY: `one` is valid for `size` bytes; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, size, &raw const one) == 0 }
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub fn pin_to_core(_n: usize) -> bool {
    false
}

/// CPU time of the calling thread in microseconds, in user space and in the kernel. The kernel
/// samples the split by the tick, so trust the sum.
#[cfg(target_os = "linux")]
pub fn cpu_time_us() -> (u64, u64) {
    // SAFETY: `rusage` is integers only; all zeroes is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid for the call.
    if unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) } != 0 {
        return (0, 0);
    }
    let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    (us(usage.ru_utime), us(usage.ru_stime))
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub fn cpu_time_us() -> (u64, u64) {
    (0, 0)
}
