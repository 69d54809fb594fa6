#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From the kernel's include/uapi/linux/landlock.h: the header at hand may be older than the kernel
 * the program runs on. */
#define ACCESS_EXECUTE     (UINT64_C(1) << 0)
#define ACCESS_WRITE_FILE  (UINT64_C(1) << 1)
#define ACCESS_READ_FILE   (UINT64_C(1) << 2)
#define ACCESS_READ_DIR    (UINT64_C(1) << 3)
#define ACCESS_REMOVE_DIR  (UINT64_C(1) << 4)
#define ACCESS_REMOVE_FILE (UINT64_C(1) << 5)
#define ACCESS_MAKE_DIR    (UINT64_C(1) << 7)
#define ACCESS_MAKE_REG    (UINT64_C(1) << 8)
#define ACCESS_TRUNCATE    (UINT64_C(1) << 14)
#define ACCESS_IOCTL_DEV   (UINT64_C(1) << 15)
/* Those that make sense for something that is no directory. */
#define ACCESS_OF_FILES                                                                            \
    (ACCESS_EXECUTE | ACCESS_WRITE_FILE | ACCESS_READ_FILE | ACCESS_TRUNCATE | ACCESS_IOCTL_DEV)

#define TCP_BIND    (UINT64_C(1) << 0)
#define TCP_CONNECT (UINT64_C(1) << 1)

#define SCOPE_ABSTRACT_SOCKETS (UINT64_C(1) << 0)
#define SCOPE_SIGNALS          (UINT64_C(1) << 1)

#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH      1

struct ruleset {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};

struct path_beneath {
    uint64_t access;
    int32_t parent_fd;
} __attribute__((packed));

int landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    return abi < 0 ? -errno : (int)abi;
}

/* All rights that this version controls: everything that is not granted is denied. */
static uint64_t known_access(int abi)
{
    int bits = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
    return (UINT64_C(1) << bits) - 1;
}

static uint64_t access_of(unsigned rights)
{
    uint64_t access = 0;

    if (rights & SANDBOX_READ)
        access |= ACCESS_READ_FILE | ACCESS_READ_DIR;
    if (rights & SANDBOX_WRITE)
        access |= ACCESS_WRITE_FILE | ACCESS_TRUNCATE;
    if (rights & SANDBOX_CREATE)
        access |= ACCESS_MAKE_REG | ACCESS_MAKE_DIR;
    if (rights & SANDBOX_REMOVE)
        access |= ACCESS_REMOVE_FILE;
    if (rights & SANDBOX_REMOVE_DIR)
        access |= ACCESS_REMOVE_DIR;
    if (rights & SANDBOX_EXECUTE)
        access |= ACCESS_EXECUTE;
    return access;
}

static int grant(int ruleset, int fd, uint64_t access)
{
    struct path_beneath rule = {.access = access, .parent_fd = fd};
    struct stat status;

    if (fstat(fd, &status) != 0)
        return -errno;
    if (!S_ISDIR(status.st_mode))
        rule.access &= ACCESS_OF_FILES;
    if (!rule.access || syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0)
        return 0;
    /* A pipe or a memory file: it has no name by which it could be opened. */
    return errno == EBADFD ? 0 : -errno;
}

static int grant_path(int ruleset, const struct sandbox_path *path, int abi)
{
    uint64_t access = access_of(path->rights) & known_access(abi);

    if (!path->name)
        return grant(ruleset, path->fd, access);
    int fd = openat(path->fd < 0 ? AT_FDCWD : path->fd, path->name, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
    int err = grant(ruleset, fd, access);
    close(fd);
    return err;
}

int landlock_restrict(const struct landlock_domain *domain, int abi)
{
    /* A kernel that does not know the later fields wants them to be zero. */
    const struct ruleset attributes = {
        .files = known_access(abi),
        .network = abi >= 4 && !domain->tcp ? TCP_BIND | TCP_CONNECT : 0,
        .scoped = abi < 6 ? 0
                          : SCOPE_ABSTRACT_SOCKETS | (domain->signal_others ? 0 : SCOPE_SIGNALS),
    };
    long ruleset = syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    int err = 0;

    if (ruleset < 0)
        return -errno;
    for (size_t i = 0; i < domain->path_count && !err; i++)
        err = grant_path((int)ruleset, &domain->paths[i], abi);
#ifdef UHYVE_SANITIZED
    const struct sandbox_path everything = {-1, "/", SANDBOX_READ | SANDBOX_EXECUTE};
    if (!err)
        err = grant_path((int)ruleset, &everything, abi);
#endif
#ifdef UHYVE_COVERAGE
    const struct sandbox_path counts = {-1, UHYVE_COVERAGE,
                                        SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE};
    if (!err)
        err = grant_path((int)ruleset, &counts, abi);
#endif
    if (!err && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        err = -errno;
    close((int)ruleset);
    return err;
}
