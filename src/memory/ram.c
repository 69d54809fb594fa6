#include "memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/error.h"
#include "util/text.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

static void *map(void *at, uint64_t size, int fd, int protection)
{
    int flags = (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | (at ? MAP_FIXED : 0);
    return mmap(at, size, protection, flags | MAP_NORESERVE, fd, 0);
}

/* Recent kernels align large mappings themselves; elsewhere ask for more and cut both ends off. */
static void *map_aligned(uint64_t size, int fd)
{
    const int usable = PROT_READ | PROT_WRITE;
    uint8_t *memory = map(NULL, size, fd, usable);
    if (memory == MAP_FAILED || (uintptr_t)memory % HUGE_PAGE == 0)
        return memory;
    munmap(memory, size);
    /* Where a file is to be: room only, which a limit on data (RLIMIT_DATA) does not concern. */
    memory = map(NULL, size + HUGE_PAGE, -1, fd < 0 ? usable : PROT_NONE);
    if (memory == MAP_FAILED)
        return memory;
    size_t head = -(uintptr_t)memory % HUGE_PAGE;
    if (head)
        munmap(memory, head);
    munmap(memory + head + size, HUGE_PAGE - head);
    return fd < 0 ? memory + head : map(memory + head, size, fd, usable);
}

/* A file that nobody can shrink, which would take memory away from under the VMM's feet. */
static int create_file(uint64_t size)
{
    int fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    int result;
    while ((result = ftruncate(fd, (off_t)size)) != 0 && errno == EINTR)
        ;
    if (result != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int advise(const struct ram *ram, int advice, const char *option, struct uhyve_error *error)
{
    if (madvise(ram->host, ram->size, advice) == 0)
        return 0;
    return error_set(error, UHYVE_STATUS_FAILED, errno,
                     "cannot use %s for guest memory: %s (the host kernel may lack support for it)",
                     option, strerror(errno));
}

int ram_alloc(struct ram *ram, gpa_t base, uint64_t size, const struct ram_options *options,
              struct uhyve_error *error)
{
    int fd = options->shared ? create_file(size) : -1;
    void *host = options->shared && fd < 0 ? MAP_FAILED : map_aligned(size, fd);
    if (host == MAP_FAILED) {
        char text[32];
        int err = options->shared && fd < 0 ? -fd : errno;
        if (fd >= 0)
            close(fd);
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         "cannot reserve %s of guest memory: %s (use a smaller -m, or %s)",
                         text_format_size(text, sizeof text, size), strerror(err),
                         error_remedy(err, "try another accelerator"));
    }
    *ram = (struct ram){
        .base = base, .size = size, .host = host, .fd = fd, .shared = options->shared};
    /* Guest memory is large and of no use in a core dump of the VMM. */
    madvise(host, size, MADV_DONTDUMP);
    int err = 0;
    if (options->thp)
        err = advise(ram, MADV_HUGEPAGE, "huge pages (--thp)", error);
    if (!err && options->ksm)
        err = advise(ram, MADV_MERGEABLE, "merging of equal pages (--ksm)", error);
    if (err)
        ram_free(ram);
    return err;
}

void ram_free(struct ram *ram)
{
    if (ram->host)
        munmap(ram->host, ram->size);
    if (ram->shared)
        close(ram->fd);
    *ram = (struct ram){0};
}
