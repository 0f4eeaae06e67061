/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the system's libraries: each ends with its own way of saying no. */
#include "failing_call.h"
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>

/* ---- Files */

FAILING_CALL(FILE *, fopen, (const char *path, const char *mode), (path, mode), WITH(EMFILE, NULL))
FAILING_CALL(FILE *, fopen64, (const char *path, const char *mode), (path, mode),
             WITH(EMFILE, NULL))

/* Reading is what the standard library lets fail only by a broken file: a folder is one. */
static FILE *broken(FILE *file)
{
    return freopen("/", "r", file);
}

WRAPPED(size_t, fread, (void *to, size_t size, size_t count, FILE *file))
{
    FILE *from = failing_now(FAILING_CALLS, "fread") ? broken(file) : file;
    return from == NULL ? 0 : __real_fread(to, size, count, from);
}

WRAPPED(char *, fgets, (char *to, int size, FILE *file))
{
    FILE *from = failing_now(FAILING_CALLS, "fgets") ? broken(file) : file;
    return from == NULL ? NULL : __real_fgets(to, size, from);
}

WRAPPED(int, open64, (const char *path, int flags, ...))
{
    va_list rest;
    if (failing_now(FAILING_CALLS, "open64")) {
        return WITH(EMFILE, -1);
    }
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t); /* not looked at without O_CREAT */
    va_end(rest);
    return __real_open64(path, flags, mode);
}

FAILING_CALL(ssize_t, pread64, (int fd, void *to, size_t size, off_t at), (fd, to, size, at),
             WITH(EIO, -1))
FAILING_CALL(int, stat64, (const char *path, struct stat *status), (path, status), WITH(EIO, -1))
FAILING_CALL(int, fstat64, (int fd, struct stat *status), (fd, status), WITH(EIO, -1))
FAILING_CALL(int, statfs64, (const char *path, struct statfs *status), (path, status),
             WITH(EIO, -1))
FAILING_CALL(int, access, (const char *path, int mode), (path, mode), WITH(EACCES, -1))
FAILING_CALL(ssize_t, readlink, (const char *path, char *to, size_t size), (path, to, size),
             WITH(EACCES, -1))
FAILING_CALL(char *, realpath, (const char *path, char *resolved), (path, resolved),
             WITH(ENOENT, NULL))
FAILING_CALL(DIR *, opendir, (const char *path), (path), WITH(EMFILE, NULL))
FAILING_CALL(struct dirent *, readdir64, (DIR * folder), (folder), WITH(EIO, NULL))
FAILING_CALL(int, setvbuf, (FILE * file, char *buffer, int mode, size_t size),
             (file, buffer, mode, size), WITH(ENOMEM, -1))

/* Lines of the log, alone: with all of them gone nobody could say what the process had to tell. */
WRAPPED(ssize_t, write, (int fd, const void *data, size_t len))
{
    return failing_alone(FAILING_CALLS, "write") ? WITH(ENOSPC, -1) : __real_write(fd, data, len);
}

/* ---- Sockets and descriptors */

FAILING_CALL(int, socket, (int domain, int type, int protocol), (domain, type, protocol),
             WITH(EMFILE, -1))
FAILING_CALL(int, bind, (int fd, const struct sockaddr *address, socklen_t len), (fd, address, len),
             WITH(EADDRINUSE, -1))
FAILING_CALL(int, listen, (int fd, int backlog), (fd, backlog), WITH(EADDRINUSE, -1))
FAILING_CALL(int, connect, (int fd, const struct sockaddr *address, socklen_t len),
             (fd, address, len), WITH(ECONNREFUSED, -1))
FAILING_CALL(ssize_t, recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags),
             WITH(ENOMEM, -1))
FAILING_CALL(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len),
             (fd, level, name, value, len), WITH(ENOMEM, -1))
FAILING_CALL(int, getsockname, (int fd, struct sockaddr *address, socklen_t *len),
             (fd, address, len), WITH(ENOBUFS, -1))
FAILING_CALL(int, getaddrinfo,
             (const char *host, const char *service, const struct addrinfo *hints,
              struct addrinfo **list),
             (host, service, hints, list), EAI_MEMORY)
FAILING_CALL(int, gethostname, (char *name, size_t size), (name, size), WITH(EFAULT, -1))
FAILING_CALL(int, pipe2, (int *ends, int flags), (ends, flags), WITH(EMFILE, -1))
FAILING_CALL(int, poll, (struct pollfd * wanted, nfds_t count, int timeout_ms),
             (wanted, count, timeout_ms), WITH(ENOMEM, -1))

WRAPPED(int, fcntl64, (int fd, int what, ...))
{
    va_list rest;
    if (what == F_DUPFD_CLOEXEC && failing_now(FAILING_CALLS, "fcntl64")) {
        return WITH(EMFILE, -1); /* with an open descriptor nothing else can fail */
    }
    va_start(rest, what);
    long value = va_arg(rest, long);
    va_end(rest);
    return __real_fcntl64(fd, what, value);
}

/* ---- Threads: what was not made holds no zeroes, which would do as one */

FAILING_CALL(int, pthread_create,
             (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *),
              void *arg),
             (thread, attributes, run, arg), EAGAIN)
FAILING_CALL(int, pthread_mutex_init, (pthread_mutex_t * mutex, const pthread_mutexattr_t *how),
             (mutex, how), (memset(mutex, 0xA5, sizeof *mutex), ENOMEM))
FAILING_CALL(int, pthread_cond_init, (pthread_cond_t * cond, const pthread_condattr_t *how),
             (cond, how), (memset(cond, 0xA5, sizeof *cond), ENOMEM))
FAILING_CALL(int, pthread_condattr_init, (pthread_condattr_t * how), (how),
             (memset(how, 0xA5, sizeof *how), ENOMEM))
FAILING_CALL(int, pthread_attr_init, (pthread_attr_t * how), (how),
             (memset(how, 0xA5, sizeof *how), ENOMEM))
FAILING_CALL(int, pthread_setname_np, (pthread_t thread, const char *name), (thread, name), EIO)

/* ---- The process */

FAILING_CALL(ssize_t, getrandom, (void *to, size_t size, unsigned flags), (to, size, flags),
             WITH(ENOSYS, -1))
FAILING_CALL(int, getrlimit64, (int what, struct rlimit *limit), (what, limit), WITH(EPERM, -1))
FAILING_CALL(int, setrlimit64, (int what, const struct rlimit *limit), (what, limit),
             WITH(EPERM, -1))
FAILING_CALL(int, atexit, (void (*run)(void)), (run), WITH(ENOMEM, -1))
FAILING_CALL(void *, dlopen, (const char *path, int flags), (path, flags), NULL)
FAILING_CALL(void *, dlsym, (void *library, const char *name), (library, name), NULL)
FAILING_CALL(int, regcomp, (regex_t * out, const char *text, int flags), (out, text, flags),
             REG_ESPACE)
FAILING_CALL(int, regexec,
             (const regex_t *compiled, const char *text, size_t count, regmatch_t *found,
              int flags),
             (compiled, text, count, found, flags), REG_ESPACE)
