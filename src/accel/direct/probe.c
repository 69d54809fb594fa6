/*
 * Can guests run natively here. Everything that is needed is part of Linux 5.13 and of what
 * containers allow by default; what cannot be known without trying is tried when a VM is created.
 */
#include <cpuid.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "accel/direct/direct.h"
#include "util/error.h"

#define LEAF_EXTENDED1_EDX_RDTSCP (1u << 27)

static int check_memory_files(struct uhyve_error *error)
{
    int fd = memfd_create("uhyve-probe", MFD_CLOEXEC);
    if (fd < 0) {
        int err = errno;
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         "the accelerator 'direct' cannot share memory with guests here: "
                         "memfd_create: %s (%s)",
                         strerror(err),
                         error_remedy(err, "in a container, let its seccomp profile allow it"));
    }
    close(fd);
    return 0;
}

int direct_host_open(struct accel_host **host, bool *degraded, struct uhyve_error *error)
{
    uint32_t action = SECCOMP_RET_TRAP, a, b, c, d;

    *host = NULL;
    *degraded = false;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
        int err = errno;
        return error_set(
            error, UHYVE_STATUS_FAILED, err,
            "the accelerator 'direct' cannot confine guests here: seccomp filters: %s "
            "(use a kernel with CONFIG_SECCOMP_FILTER; in a container, let its seccomp "
            "profile allow them)",
            strerror(err));
    }
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(d & LEAF_EXTENDED1_EDX_RDTSCP))
        return error_set(error, UHYVE_STATUS_FAILED, ENOTSUP,
                         "the accelerator 'direct' cannot run on this processor: it lacks RDTSCP "
                         "(in a virtual machine, give it a newer CPU model)");
    return check_memory_files(error);
}

void direct_host_close(struct accel_host *host)
{
    /* There is nothing to keep open. */
}
