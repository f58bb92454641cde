/*
 * Ends a process before one of the calls by which it changes files.
 *
 * Loaded into a process (LD_PRELOAD), it counts each call that makes, writes, cuts, syncs, renames or removes a
 * regular file below BURSAR_STEPS_FOLDER. Before call number BURSAR_STEPS_LAST it ends the process as `kill -9`
 * does. Without that number it writes, when the process ends by itself, how many there were to
 * BURSAR_STEPS_COUNT.
 *
 * The index beside a store's log (`-shm`) is left out: it is made anew whenever the store is opened alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static const char *folder;
static unsigned long last;
static unsigned long steps;

#define REAL(type, name, ...) static type (*real_##name)(__VA_ARGS__)
REAL(int, open64, const char *, int, ...);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
REAL(int, ftruncate64, int, off64_t);
REAL(int, fsync, int);
REAL(int, fdatasync, int);
REAL(int, rename, const char *, const char *);
REAL(int, unlink, const char *);
REAL(int, mkdir, const char *, mode_t);
#define FIND(name) real_##name = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    FIND(open64);
    FIND(write);
    FIND(pwrite64);
    FIND(ftruncate64);
    FIND(fsync);
    FIND(fdatasync);
    FIND(rename);
    FIND(unlink);
    FIND(mkdir);
    const char *number = getenv("BURSAR_STEPS_LAST");
    last = number ? strtoul(number, NULL, 10) : 0;
    folder = getenv("BURSAR_STEPS_FOLDER");
}

__attribute__((destructor)) static void end(void) {
    const char *name = getenv("BURSAR_STEPS_COUNT");
    char text[32];
    if (!folder || !name || last)
        return;
    int file = real_open64(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int length = snprintf(text, sizeof text, "%lu\n", steps);
    if (file < 0 || real_write(file, text, length) != length)
        abort();
}

static void step(void) {
    if (__atomic_add_fetch(&steps, 1, __ATOMIC_SEQ_CST) == last)
        kill(getpid(), SIGKILL);
}

static void step_at(const char *path) {
    size_t length = strlen(path);
    int is_index = length >= 4 && strcmp(path + length - 4, "-shm") == 0;
    int is_relative = path[0] != '/';
    if (folder && !is_index && (is_relative || strncmp(path, folder, strlen(folder)) == 0))
        step();
}

static void step_in(int file) {
    char link[64], path[4096];
    struct stat64 now;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = folder && fstat64(file, &now) == 0 && (S_ISREG(now.st_mode) || S_ISDIR(now.st_mode))
                         ? readlink(link, path, sizeof path - 1)
                         : -1;
    if (length > 0) {
        path[length] = 0;
        step_at(path);
    }
    errno = before;
}

static int opened(const char *path, int flags, va_list rest) {
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    if (flags & (O_CREAT | O_TRUNC))
        step_at(path);
    return real_open64(path, flags, mode);
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

ssize_t write(int file, const void *bytes, size_t length) {
    step_in(file);
    return real_write(file, bytes, length);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    step_in(file);
    return real_pwrite64(file, bytes, length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    return pwrite64(file, bytes, length, at);
}

int ftruncate64(int file, off64_t length) {
    step_in(file);
    return real_ftruncate64(file, length);
}

int ftruncate(int file, off_t length) {
    return ftruncate64(file, length);
}

int fsync(int file) {
    step_in(file);
    return real_fsync(file);
}

int fdatasync(int file) {
    step_in(file);
    return real_fdatasync(file);
}

int rename(const char *from, const char *to) {
    step_at(from);
    return real_rename(from, to);
}

int unlink(const char *path) {
    step_at(path);
    return real_unlink(path);
}

int mkdir(const char *path, mode_t mode) {
    step_at(path);
    return real_mkdir(path, mode);
}
