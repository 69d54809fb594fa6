#include "memory/ram.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "util/error.h"
#include "util/text.h"

#define HUGE_PAGE (UINT64_C(2) << 20)

static void *map_anonymous(uint64_t size)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                0);
}

/* Recent kernels align large mappings themselves; elsewhere ask for more and cut both ends off. */
static void *map_aligned(uint64_t size)
{
    uint8_t *memory = map_anonymous(size);
    if (memory == MAP_FAILED || (uintptr_t)memory % HUGE_PAGE == 0)
        return memory;
    munmap(memory, size);
    memory = map_anonymous(size + HUGE_PAGE);
    if (memory == MAP_FAILED)
        return memory;
    size_t head = -(uintptr_t)memory % HUGE_PAGE;
    if (head)
        munmap(memory, head);
    munmap(memory + head + size, HUGE_PAGE - head);
    return memory + head;
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
    void *host = map_aligned(size);
    if (host == MAP_FAILED) {
        char text[32];
        int err = errno;
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         "cannot reserve %s of guest memory: %s (use a smaller -m)",
                         text_format_size(text, sizeof text, size), strerror(err));
    }
    *ram = (struct ram){.base = base, .size = size, .host = host};
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
    *ram = (struct ram){0};
}

bool ram_read(const struct ram *ram, gpa_t gpa, void *to, size_t size)
{
    const void *from = ram_at(ram, gpa, size);
    if (!from)
        return false;
    memcpy(to, from, size);
    return true;
}

bool ram_write(const struct ram *ram, gpa_t gpa, const void *from, size_t size)
{
    void *to = ram_at(ram, gpa, size);
    if (!to)
        return false;
    memcpy(to, from, size);
    return true;
}

int ram_read_string(const struct ram *ram, gpa_t gpa, char *to, size_t capacity)
{
    const char *from = ram_at(ram, gpa, 1);
    if (!from)
        return -EFAULT;
    uint64_t available = ram->size - (gpa - ram->base);
    size_t size = available < capacity ? (size_t)available : capacity;
    /* The terminator is searched in the copy: the guest may change the original meanwhile. */
    memcpy(to, from, size);
    const char *end = memchr(to, '\0', size);
    if (end)
        return (int)(end - to);
    return size < capacity ? -EFAULT : -ENAMETOOLONG;
}
