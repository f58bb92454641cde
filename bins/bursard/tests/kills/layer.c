/*
 * A layer over the files of one folder that remembers what was written and what was synced.
 *
 * Loaded into a process (LD_PRELOAD), it passes every call on, and appends to a log: each write to a
 * store's file with its bytes, each truncation, each sync. From the log a test rebuilds what a disk
 * could hold after the power went: everything that was synced, and of the rest whatever chance leaves.
 *
 * BURSAR_POWER_FOLDER names the folder, BURSAR_POWER_LOG the log. One record is
 *   kind (1) | path length (4) | offset (8) | length (8) | path | bytes
 * in the machine's byte order, appended by one write, so that several processes can share a log.
 *
 * BURSAR_DISK makes the disk fail: when `full`, nothing in the folder grows as long as a file `ballast` is
 * there; when `broken`, no sync of a store's file succeeds; when `hung`, no sync of any file there ever ends.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096

static char *tracked[FILES];
static const char *folder;
static int log_file = -1;
static enum { WHOLE, FULL, BROKEN, HUNG } disk = WHOLE;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    folder = getenv("BURSAR_POWER_FOLDER");
    const char *log = getenv("BURSAR_POWER_LOG");
    const char *state = getenv("BURSAR_DISK");
    if (state)
        disk = strcmp(state, "full") == 0     ? FULL
               : strcmp(state, "broken") == 0 ? BROKEN
               : strcmp(state, "hung") == 0   ? HUNG
                                              : WHOLE;
    if (folder && log)
        log_file = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static void track(int file, const char *path) {
    if (file < 0 || file >= FILES || log_file < 0 || strncmp(path, folder, strlen(folder)) != 0)
        return;
    int is_store = ends_with(path, ".db") || ends_with(path, "-wal") || ends_with(path, "-journal");
    if (!is_store && disk != FULL && disk != HUNG)
        return;
    pthread_mutex_lock(&lock);
    free(tracked[file]);
    tracked[file] = strdup(path);
    pthread_mutex_unlock(&lock);
}

static const char *path_of(int file) {
    return log_file >= 0 && file >= 0 && file < FILES ? tracked[file] : NULL;
}

/* A log that cannot be written would make the test blind: the process ends instead. */
static void note(char kind, const char *path, uint64_t offset, const void *bytes, uint64_t length) {
    uint32_t path_length = strlen(path);
    struct iovec parts[] = {
        {&kind, 1},           {&path_length, 4}, {&offset, 8}, {&length, 8},
        {(void *)path, path_length}, {(void *)bytes, bytes ? length : 0},
    };
    ssize_t whole = 21 + path_length + (bytes ? length : 0);
    int before = errno;
    pthread_mutex_lock(&lock);
    if (writev(log_file, parts, 6) != whole)
        abort();
    pthread_mutex_unlock(&lock);
    errno = before;
}

/* Whether there is no room for this file to end there. */
static int finds_no_room(int file, off64_t end) {
    if (disk != FULL || !path_of(file))
        return 0;
    char ballast[4096];
    snprintf(ballast, sizeof ballast, "%s/ballast", folder);
    struct stat64 now;
    if (access(ballast, F_OK) != 0 || fstat64(file, &now) != 0 || end <= now.st_size)
        return 0;
    errno = ENOSPC;
    return 1;
}

static int opened(const char *path, int flags, va_list rest) {
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    int file = real_open(path, flags, mode);
    track(file, path);
    return file;
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int file = opened(path, flags, rest);
    va_end(rest);
    return file;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int file = opened(path, flags, rest);
    va_end(rest);
    return file;
}

int close(int file) {
    if (path_of(file)) {
        pthread_mutex_lock(&lock);
        free(tracked[file]);
        tracked[file] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return real_close(file);
}

ssize_t write(int file, const void *bytes, size_t length) {
    const char *path = path_of(file);
    int appends = path && fcntl(file, F_GETFL) & O_APPEND;
    off64_t at = path ? lseek64(file, 0, appends ? SEEK_END : SEEK_CUR) : 0;
    if (finds_no_room(file, at + length))
        return -1;
    ssize_t written = real_write(file, bytes, length);
    if (path && written > 0)
        note('W', path, at, bytes, written);
    return written;
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    if (finds_no_room(file, at + length))
        return -1;
    ssize_t written = real_pwrite(file, bytes, length, at);
    const char *path = path_of(file);
    if (path && written > 0)
        note('W', path, at, bytes, written);
    return written;
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    return pwrite64(file, bytes, length, at);
}

int ftruncate64(int file, off64_t length) {
    if (finds_no_room(file, length))
        return -1;
    int done = real_ftruncate(file, length);
    const char *path = path_of(file);
    if (path && done == 0)
        note('T', path, length, NULL, 0);
    return done;
}

int ftruncate(int file, off_t length) {
    return ftruncate64(file, length);
}

/* Whether the sync of this file fails. On a disk that hangs it does not come back. */
static int is_lost(const char *path) {
    if (path && disk == HUNG)
        for (;;)
            pause();
    if (!path || disk != BROKEN)
        return 0;
    errno = EIO;
    return 1;
}

int fsync(int file) {
    const char *path = path_of(file);
    if (is_lost(path))
        return -1;
    int done = real_fsync(file);
    if (path && done == 0)
        note('S', path, 0, NULL, 0);
    return done;
}

int fdatasync(int file) {
    const char *path = path_of(file);
    if (is_lost(path))
        return -1;
    int done = real_fdatasync(file);
    if (path && done == 0)
        note('S', path, 0, NULL, 0);
    return done;
}
