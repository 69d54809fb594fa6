/*
 * The calls that fail. The linker leads each call of a function of calls.txt here that is made in
 * the program's own code (--wrap): not those inside the C library, and none that comes before the
 * program. This file makes no system call while the program runs, so that the program's filter of
 * system calls stays what it is. It is built without sanitizers: it also runs where the program
 * has no memory of its own (the child between clone and execveat).
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control.h"

enum {
#define FUNCTION(name, ...) CALL_##name,
#include "table.inc"
#undef FUNCTION
};

#define FRAMES      4
#define FRAME_LIMIT 65536 /* bytes; what is further away is no frame of this stack */

static struct fault_control *control;

extern const char __executable_start[], etext[];

/* The code around a call: in a build with frame pointers, the last callers too. */
static uint64_t hash_site(uint32_t function, uint64_t address, const uintptr_t *frame)
{
    uint64_t hash = (function + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ address;

#ifdef FAULT_FRAME_POINTERS
    for (unsigned i = 0; i < FRAMES; i++) {
        const uintptr_t *next = (const uintptr_t *)frame[0];
        uintptr_t distance = (uintptr_t)next - (uintptr_t)frame;
        if (distance == 0 || distance > FRAME_LIMIT || distance % 8)
            break;
        uintptr_t caller = next[1] - (uintptr_t)__executable_start;
        if (caller >= (uintptr_t)(etext - __executable_start))
            break;
        hash = (hash ^ caller) * UINT64_C(0x100000001b3);
        frame = next;
    }
#endif
    return hash;
}

/* Count a call and decide: 0 it is made, else the fault. */
static __attribute__((noinline)) int decide(uint32_t function, int64_t detail, const void *caller,
                                            const void *frame)
{
    struct fault_stream *stream = &control->program;

    if (!control)
        return 0;
    uint32_t number = __atomic_add_fetch(&stream->count, 1, __ATOMIC_SEQ_CST);
    if (number <= FAULT_RECORDS) {
        uint64_t address = (uint64_t)((const char *)caller - __executable_start);
        control->records[number - 1] = (struct fault_record){
            .site = hash_site(function, address, frame),
            .address = address,
            .function = function,
            .detail = detail,
        };
    }
    bool again = stream->sticky && __atomic_load_n(&stream->hits, __ATOMIC_SEQ_CST) &&
                 stream->hit_function == function;
    if (number != stream->at && !again)
        return 0;
    stream->hit_function = function;
    __atomic_add_fetch(&stream->hits, 1, __ATOMIC_SEQ_CST);
    if (stream->fault > 0)
        errno = stream->fault;
    return stream->fault;
}

#ifdef UHYVE_COVERAGE
/* What writes the counts comes last and is none of the program's own. */
static __attribute__((destructor(101))) void spare_the_counts(void)
{
    control = NULL;
}

/* Nor is it where a process ends without exit. */
void __real___gcov_dump(void);
void __wrap___gcov_dump(void);

void __wrap___gcov_dump(void)
{
    spare_the_counts();
    __real___gcov_dump();
}
#endif

#define DECIDE(name, detail)                                                                       \
    decide(CALL_##name, (int64_t)(detail), __builtin_return_address(0), __builtin_frame_address(0))

/* A function that fails before anything has happened, with `failure` as its result. */
#define SIMPLE(type, name, failure, detail, parameters, arguments)                                 \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return DECIDE(name, detail) ? (failure) : __real_##name arguments;                         \
    }

/* One that returns the error number itself. */
#define RETURNS_ERROR(name, parameters, arguments)                                                 \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        int fault = DECIDE(name, 0);                                                               \
        return fault == FAULT_SILENT ? ETIMEDOUT : fault ? fault : __real_##name arguments;        \
    }

/* A transfer of `size` bytes. Half of them, if it is to be short. */
#define TRANSFER(name, parameters, arguments, half)                                                \
    ssize_t __real_##name parameters;                                                              \
    ssize_t __wrap_##name parameters;                                                              \
    ssize_t __wrap_##name parameters                                                               \
    {                                                                                              \
        int fault = DECIDE(name, fd);                                                              \
        return fault > 0              ? -1                                                         \
               : fault == FAULT_SHORT ? __real_##name half                                         \
                                      : __real_##name arguments;                                   \
    }

#define HALF(size) ((size) > 1 ? (size) / 2 : (size))

/* Memory. */
SIMPLE(void *, malloc, NULL, size, (size_t size), (size))
SIMPLE(void *, calloc, NULL, size, (size_t count, size_t size), (count, size))
SIMPLE(void *, realloc, NULL, size, (void *old, size_t size), (old, size))
SIMPLE(void *, reallocarray, NULL, size, (void *old, size_t count, size_t size), (old, count, size))
SIMPLE(void *, aligned_alloc, NULL, size, (size_t align, size_t size), (align, size))
SIMPLE(char *, strdup, NULL, 0, (const char *text), (text))
SIMPLE(char *, strndup, NULL, 0, (const char *text, size_t size), (text, size))
SIMPLE(void *, mmap64, MAP_FAILED, size,
       (void *at, size_t size, int protection, int flags, int fd, off_t offset),
       (at, size, protection, flags, fd, offset))
SIMPLE(int, madvise, -1, advice, (void *at, size_t size, int advice), (at, size, advice))
SIMPLE(int, memfd_create, -1, flags, (const char *name, unsigned flags), (name, flags))

#define FORMATS(name, parameters)                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        va_list arguments;                                                                         \
                                                                                                   \
        if (DECIDE(name, 0))                                                                       \
            return -1;                                                                             \
        va_start(arguments, format);                                                               \
        int result = vasprintf(text, format, arguments);                                           \
        va_end(arguments);                                                                         \
        return result;                                                                             \
    }

FORMATS(asprintf, (char **text, const char *format, ...))
FORMATS(__asprintf_chk, (char **text, int flag, const char *format, ...))

/* Files. */
static mode_t mode_of(int flags, va_list arguments)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list arguments;

    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return DECIDE(open64, flags) ? -1 : __real_open64(path, flags, mode);
}

int __real_openat64(int at, const char *path, int flags, ...);
int __wrap_openat64(int at, const char *path, int flags, ...);
int __wrap_openat64(int at, const char *path, int flags, ...)
{
    va_list arguments;

    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return DECIDE(openat64, flags) ? -1 : __real_openat64(at, path, flags, mode);
}

SIMPLE(int, __openat64_2, -1, flags, (int at, const char *path, int flags), (at, path, flags))
SIMPLE(int, access, -1, mode, (const char *path, int mode), (path, mode))
SIMPLE(int, fchmod, -1, fd, (int fd, mode_t mode), (fd, mode))
SIMPLE(int, fchown, -1, fd, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
SIMPLE(int, flock, -1, operation, (int fd, int operation), (fd, operation))
SIMPLE(int, fstat64, -1, fd, (int fd, struct stat *status), (fd, status))
SIMPLE(int, fstatat64, -1, flags, (int at, const char *path, struct stat *status, int flags),
       (at, path, status, flags))
SIMPLE(int, lstat64, -1, 0, (const char *path, struct stat *status), (path, status))
SIMPLE(int, stat64, -1, 0, (const char *path, struct stat *status), (path, status))
SIMPLE(int, fsync, -1, fd, (int fd), (fd))
SIMPLE(int, ftruncate64, -1, fd, (int fd, off_t size), (fd, size))
SIMPLE(off_t, lseek64, -1, whence, (int fd, off_t offset, int whence), (fd, offset, whence))
SIMPLE(int, mkdir, -1, mode, (const char *path, mode_t mode), (path, mode))
SIMPLE(int, mkdirat, -1, mode, (int at, const char *path, mode_t mode), (at, path, mode))
SIMPLE(char *, mkdtemp, NULL, 0, (char *path), (path))
SIMPLE(int, mkostemp64, -1, flags, (char *path, int flags), (path, flags))
SIMPLE(ssize_t, readlinkat, -1, 0, (int at, const char *path, char *to, size_t size),
       (at, path, to, size))
SIMPLE(char *, realpath, NULL, 0, (const char *path, char *to), (path, to))
SIMPLE(char *, __realpath_chk, NULL, 0, (const char *path, char *to, size_t size), (path, to, size))
SIMPLE(int, rename, -1, 0, (const char *from, const char *to), (from, to))
SIMPLE(int, renameat2, -1, flags,
       (int at, const char *from, int to_at, const char *to, unsigned flags),
       (at, from, to_at, to, flags))
SIMPLE(int, rmdir, -1, 0, (const char *path), (path))
SIMPLE(int, unlink, -1, 0, (const char *path), (path))
SIMPLE(int, unlinkat, -1, flags, (int at, const char *path, int flags), (at, path, flags))
SIMPLE(DIR *, fdopendir, NULL, fd, (int fd), (fd))
SIMPLE(struct dirent *, readdir64, NULL, 0, (DIR * stream), (stream))
SIMPLE(FTS *, fts64_open, NULL, 0,
       (char *const *paths, int options, int (*compare)(const FTSENT **, const FTSENT **)),
       (paths, options, compare))
FTSENT *__real_fts64_read(FTS *tree);
FTSENT *__wrap_fts64_read(FTS *tree);
FTSENT *__wrap_fts64_read(FTS *tree)
{
    FTSENT *entry = __real_fts64_read(tree); /* fts_close leaks what was never read */
    return DECIDE(fts64_read, 0) ? NULL : entry;
}
SIMPLE(size_t, fwrite, 0, size, (const void *data, size_t size, size_t count, FILE *file),
       (data, size, count, file))
SIMPLE(int, fflush, EOF, 0, (FILE * file), (file))

/* The descriptor is gone whatever it says. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    int fault = DECIDE(close, fd);
    int result = __real_close(fd);

    if (!fault)
        return result;
    errno = fault;
    return -1;
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    return DECIDE(fcntl64, command) ? -1 : __real_fcntl64(fd, command, argument);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;

    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return DECIDE(ioctl, (uint32_t)request) ? -1 : __real_ioctl(fd, request, argument);
}

TRANSFER(read, (int fd, void *to, size_t size), (fd, to, size), (fd, to, HALF(size)))
TRANSFER(write, (int fd, const void *from, size_t size), (fd, from, size), (fd, from, HALF(size)))
TRANSFER(pread64, (int fd, void *to, size_t size, off_t offset), (fd, to, size, offset),
         (fd, to, HALF(size), offset))
TRANSFER(pwrite64, (int fd, const void *from, size_t size, off_t offset), (fd, from, size, offset),
         (fd, from, HALF(size), offset))
TRANSFER(recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags),
         (fd, to, HALF(size), flags))
TRANSFER(send, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags),
         (fd, from, HALF(size), flags))

/* Of several pieces, half of the first. */
static const struct iovec *half(struct iovec *piece, const struct iovec *pieces)
{
    *piece = (struct iovec){pieces[0].iov_base, HALF(pieces[0].iov_len)};
    return piece;
}

#define HALF_OF (fd, half(&(struct iovec){0}, pieces), 1)
#define HALF_AT (fd, half(&(struct iovec){0}, pieces), 1, offset)
TRANSFER(readv, (int fd, const struct iovec *pieces, int count), (fd, pieces, count), HALF_OF)
TRANSFER(writev, (int fd, const struct iovec *pieces, int count), (fd, pieces, count), HALF_OF)
TRANSFER(preadv64, (int fd, const struct iovec *pieces, int count, off_t offset),
         (fd, pieces, count, offset), HALF_AT)
TRANSFER(pwritev64, (int fd, const struct iovec *pieces, int count, off_t offset),
         (fd, pieces, count, offset), HALF_AT)

/* Sockets, pipes, events, waiting. */
SIMPLE(int, accept4, -1, fd, (int fd, struct sockaddr *address, socklen_t *size, int flags),
       (fd, address, size, flags))
SIMPLE(int, bind, -1, fd, (int fd, const struct sockaddr *address, socklen_t size),
       (fd, address, size))
SIMPLE(int, connect, -1, fd, (int fd, const struct sockaddr *address, socklen_t size),
       (fd, address, size))
SIMPLE(int, getpeername, -1, fd, (int fd, struct sockaddr *address, socklen_t *size),
       (fd, address, size))
SIMPLE(int, getsockname, -1, fd, (int fd, struct sockaddr *address, socklen_t *size),
       (fd, address, size))
SIMPLE(int, getsockopt, -1, option, (int fd, int level, int option, void *value, socklen_t *size),
       (fd, level, option, value, size))
SIMPLE(unsigned, if_nametoindex, 0, 0, (const char *name), (name))
SIMPLE(int, listen, -1, fd, (int fd, int backlog), (fd, backlog))
SIMPLE(ssize_t, recvmsg, -1, fd, (int fd, struct msghdr *message, int flags), (fd, message, flags))
SIMPLE(ssize_t, sendmsg, -1, fd, (int fd, const struct msghdr *message, int flags),
       (fd, message, flags))
SIMPLE(ssize_t, sendto, -1, fd,
       (int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
        socklen_t to_size),
       (fd, data, size, flags, to, to_size))
SIMPLE(int, setsockopt, -1, option,
       (int fd, int level, int option, const void *value, socklen_t size),
       (fd, level, option, value, size))
SIMPLE(int, socket, -1, domain, (int domain, int type, int protocol), (domain, type, protocol))
SIMPLE(int, socketpair, -1, domain, (int domain, int type, int protocol, int *pair),
       (domain, type, protocol, pair))
SIMPLE(int, pipe2, -1, flags, (int *pair, int flags), (pair, flags))
SIMPLE(int, dup3, -1, from, (int from, int to, int flags), (from, to, flags))
SIMPLE(int, sem_wait, -1, 0, (sem_t * semaphore), (semaphore))
SIMPLE(int, eventfd, -1, flags, (unsigned value, int flags), (value, flags))
SIMPLE(int, poll, -1, count, (struct pollfd * polled, nfds_t count, int timeout),
       (polled, count, timeout))
SIMPLE(int, ppoll, -1, count,
       (struct pollfd * polled, nfds_t count, const struct timespec *timeout, const sigset_t *mask),
       (polled, count, timeout, mask))
RETURNS_ERROR(clock_nanosleep,
              (clockid_t clock, int flags, const struct timespec *time, struct timespec *left),
              (clock, flags, time, left))
SIMPLE(int, nanosleep, -1, 0, (const struct timespec *time, struct timespec *left), (time, left))

/* Processes and threads. */
RETURNS_ERROR(pthread_create,
              (pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *),
               void *argument),
              (thread, attributes, start, argument))
RETURNS_ERROR(pthread_cond_timedwait,
              (pthread_cond_t * condition, pthread_mutex_t *lock, const struct timespec *until),
              (condition, lock, until))
RETURNS_ERROR(pthread_getaffinity_np, (pthread_t thread, size_t size, cpu_set_t *set),
              (thread, size, set))
RETURNS_ERROR(pthread_setaffinity_np, (pthread_t thread, size_t size, const cpu_set_t *set),
              (thread, size, set))
SIMPLE(void *, __sched_cpualloc, NULL, count, (size_t count), (count))
SIMPLE(int, sched_getaffinity, -1, 0, (pid_t pid, size_t size, cpu_set_t *set), (pid, size, set))
SIMPLE(int, sched_setaffinity, -1, 0, (pid_t pid, size_t size, const cpu_set_t *set),
       (pid, size, set))
SIMPLE(pid_t, fork, -1, 0, (void), ())
SIMPLE(pid_t, waitpid, -1, pid, (pid_t pid, int *status, int options), (pid, status, options))
SIMPLE(int, waitid, -1, pid, (idtype_t type, id_t pid, siginfo_t *info, int options),
       (type, pid, info, options))

int __real_clone(int (*function)(void *), void *stack, int flags, void *argument);
int __wrap_clone(int (*function)(void *), void *stack, int flags, void *argument);
int __wrap_clone(int (*function)(void *), void *stack, int flags, void *argument)
{
    return DECIDE(clone, flags) ? -1 : __real_clone(function, stack, flags, argument);
}

long __real_syscall(long number, ...);

/* The engine gets the shared memory, too, as a descriptor with its number in a further word. */
static long start_engine(const long *a)
{
    char number[16];
    char *const *given = (char *const *)a[2];
    char *words[] = {given[0], given[1], number, NULL};
    int fd = (int)__real_syscall(SYS_open, getenv("UHYVE_FAULTS"), O_RDWR);

    snprintf(number, sizeof number, "%d", fd);
    return __real_syscall(SYS_execveat, a[0], a[1], words, a[3], a[4]);
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long a[6];

    va_start(arguments, number);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    bool cannot_fail = number == SYS_gettid || number == SYS_getpid || number == SYS_exit_group;
    if (!cannot_fail && DECIDE(syscall, number == SYS_futex ? FAULT_FUTEX(number, a[1]) : number))
        return -1;
    if (number == SYS_execveat && control)
        return start_engine(a);
    return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Rights, limits, the system's data. */
int __real_prctl(int operation, ...);
int __wrap_prctl(int operation, ...);
int __wrap_prctl(int operation, ...)
{
    va_list arguments;
    unsigned long a[4];

    va_start(arguments, operation);
    for (unsigned i = 0; i < 4; i++)
        a[i] = va_arg(arguments, unsigned long);
    va_end(arguments);
    return DECIDE(prctl, operation) ? -1 : __real_prctl(operation, a[0], a[1], a[2], a[3]);
}

SIMPLE(int, setgroups, -1, 0, (size_t count, const gid_t *groups), (count, groups))
SIMPLE(int, setresgid, -1, 0, (gid_t real, gid_t effective, gid_t saved), (real, effective, saved))
SIMPLE(int, setresuid, -1, 0, (uid_t real, uid_t effective, uid_t saved), (real, effective, saved))
SIMPLE(int, getrlimit64, -1, resource, (int resource, struct rlimit *limit), (resource, limit))
SIMPLE(int, setrlimit64, -1, resource, (int resource, const struct rlimit *limit),
       (resource, limit))
SIMPLE(int, getrusage, -1, who, (int who, struct rusage *usage), (who, usage))
SIMPLE(ssize_t, getrandom, -1, size, (void *to, size_t size, unsigned flags), (to, size, flags))
SIMPLE(struct passwd *, getpwnam, NULL, 0, (const char *name), (name))
SIMPLE(struct passwd *, getpwuid, NULL, uid, (uid_t uid), (uid))
SIMPLE(struct group *, getgrnam, NULL, 0, (const char *name), (name))
/* Only uhyve-image is linked with these. */
#pragma weak __real_ZSTD_createCCtx
#pragma weak __real_deflateInit2_
SIMPLE(void *, ZSTD_createCCtx, NULL, 0, (void), ())
SIMPLE(int, deflateInit2_, -4 /* Z_MEM_ERROR */, 0,
       (void *stream, int level, int method, int bits, int memory, int strategy,
        const char *version, int size),
       (stream, level, method, bits, memory, strategy, version, size))
SIMPLE(void *, dlopen, NULL, flags, (const char *name, int flags), (name, flags))
SIMPLE(void *, dlsym, NULL, 0, (void *library, const char *name), (library, name))

/* Before the program, and after it. */
static void __attribute__((constructor)) begin(void)
{
    const char *path = getenv("UHYVE_FAULTS");
    int fd = path ? __real_open64(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    void *memory = __real_mmap64(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    __real_close(fd);
    if (memory == MAP_FAILED)
        abort();
    control = memory;
}

static int count_entries(const char *directory, int except)
{
    DIR *stream = opendir(directory);
    int count = 0;

    for (const struct dirent *entry; stream && (entry = __real_readdir64(stream));)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) >= except &&
            atoi(entry->d_name) != dirfd(stream)) {
            char path[300];
            snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
            ssize_t size = readlink(path, control->open_name, sizeof control->open_name - 1);
            control->open_name[size > 0 ? size : 0] = '\0';
            count++;
        }
    if (stream)
        closedir(stream);
    return count;
}

/* Under a filter of system calls there is no looking. */
static void __attribute__((destructor)) end(void)
{
#ifdef UHYVE_SANITIZED
    if (!control || control->looked)
        return;
    control->threads = count_entries("/proc/self/task", 0);
    control->open_files = count_entries("/proc/self/fd", STDERR_FILENO + 1);
    control->looked = 1;
#else
    (void)count_entries;
#endif
}
