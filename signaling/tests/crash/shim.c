/* Preloaded into the server of a power-cut test. Every change of the database files is written to
 * an undo log (old bytes, new bytes, old size) before it is made, and a successful sync is noted
 * there. The harness kills the process and takes back what was not synced, as a power cut does.
 *
 * Record: struct head, then old_len old bytes, then new_len new bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE = 2, SYNC = 3, LOST = 4 };

struct head {
    uint32_t kind, file;
    uint64_t offset, old_size, old_len, new_len;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;

/* GREENROOM_FAIL_SYNC=n: the n-th sync of the file GREENROOM_FAIL_FILE (see file_of) fails. As on
 * Linux, a later one succeeds though the pages are lost: while this process lives, no sync of either
 * file brings anything to the disk any more, and what it would have brought is clean and lost. */
static long fail_sync = -1, fail_file = -1, syncs = 0;
static int sick = 0;

/* 0 = the database, 1 = its write-ahead log, -1 = not ours. */
static int file_of(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return -1;
    path[n] = 0;
    const char *name = strrchr(path, '/');
    if (!name) return -1;
    if (!strcmp(name, "/greenroom.db")) return 0;
    if (!strcmp(name, "/greenroom.db-wal")) return 1;
    return -1;
}

static void append(struct head head, const void *old, const void *new) {
    if (log_fd < 0) {
        const char *path = getenv("GREENROOM_UNDO_LOG");
        log_fd = open(path ? path : "/nonexistent", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) abort();
    }
    size_t size = sizeof head + head.old_len + head.new_len;
    char *record = malloc(size);
    if (!record) abort();
    memcpy(record, &head, sizeof head);
    if (head.old_len) memcpy(record + sizeof head, old, head.old_len);
    if (head.new_len) memcpy(record + sizeof head + head.old_len, new, head.new_len);
    if (syscall(SYS_write, log_fd, record, size) != (long)size) abort();
    free(record);
}

static void note_write(int fd, int file, const void *data, size_t size, uint64_t offset) {
    struct stat st;
    if (fstat(fd, &st)) abort();
    char *old = malloc(size ? size : 1);
    if (!old) abort();
    /* The descriptor may be write-only for pread's taste; SQLite opens read-write. */
    ssize_t had = pread(fd, old, size, (off_t)offset);
    if (had < 0) abort();
    append((struct head){WRITE, file, offset, st.st_size, had, size}, old, data);
    free(old);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    int file = file_of(fd);
    if (file < 0) return syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&lock);
    note_write(fd, file, data, size, offset);
    ssize_t n = syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return pwrite64(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size) {
    int file = file_of(fd);
    if (file < 0) return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&lock);
    note_write(fd, file, data, size, lseek(fd, 0, SEEK_CUR));
    ssize_t n = syscall(SYS_write, fd, data, size);
    pthread_mutex_unlock(&lock);
    return n;
}

int ftruncate64(int fd, off64_t size) {
    int file = file_of(fd);
    if (file < 0) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    struct stat st;
    if (fstat(fd, &st)) abort();
    size_t tail = st.st_size > size ? st.st_size - size : 0;
    char *old = malloc(tail ? tail : 1);
    if (!old || (tail && pread(fd, old, tail, size) != (ssize_t)tail)) abort();
    append((struct head){TRUNCATE, file, size, st.st_size, tail, 0}, old, NULL);
    free(old);
    int result = syscall(SYS_ftruncate, fd, size);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd, long call) {
    int file = file_of(fd);
    if (file < 0) return syscall(call, fd);
    /* Under the lock: a write of another thread is before the sync or after its note. */
    pthread_mutex_lock(&lock);
    if (fail_sync < 0) {
        const char *text = getenv("GREENROOM_FAIL_SYNC");
        fail_sync = text ? atol(text) : 0;
        text = getenv("GREENROOM_FAIL_FILE");
        fail_file = text ? atol(text) : 1;
    }
    int fails = file == fail_file && ++syncs == fail_sync;
    if (fails) sick = 1;
    int result = fails ? -1 : syscall(call, fd);
    if (fails) errno = EIO;
    if (sick) append((struct head){LOST, file, 0, 0, 0, 0}, NULL, NULL);
    else if (!result) append((struct head){SYNC, file, 0, 0, 0, 0}, NULL, NULL);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
