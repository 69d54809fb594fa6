/*
 * Is there a KVM here that can run a Hermit guest, and if not, why not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "accel/kvm/kvm.h"
#include "util/error.h"

#define DEVICE            "/dev/kvm"
#define CPUID_1_ECX_XSAVE (1u << 26)

static int open_device(struct uhyve_error *error)
{
    int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        int err = errno;
        const char *remedy =
            err == ENOENT
                ? "load the module kvm_intel or kvm_amd, and enable virtualization in the firmware "
                  "or, in a virtual machine, nested virtualization"
            : err == EACCES || err == EPERM
                ? "add your user to the group that owns it, often: sudo usermod -aG kvm $USER, "
                  "then log in again"
                : error_remedy(err, "check that the module kvm_intel or kvm_amd is loaded");
        return error_set(error, UHYVE_STATUS_FAILED, err, "cannot open " DEVICE ": %s (%s)",
                         strerror(err), remedy);
    }
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version < 0) {
        int err = errno;
        close(fd);
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         "cannot use " DEVICE ": %s (in a container, let its profile allow ioctl)",
                         strerror(err));
    }
    if (version != KVM_API_VERSION) {
        close(fd);
        return error_set(error, UHYVE_STATUS_FAILED, ENOTSUP,
                         DEVICE " does not speak version %d of the KVM interface (use a Linux "
                                "kernel from this century)",
                         KVM_API_VERSION);
    }
    return fd;
}

bool kvm_cpuid_emulates_ring0(const struct kvm_cpuid_table *cpuid)
{
    for (unsigned i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == 1)
            return !(cpuid->entries[i].ecx & CPUID_1_ECX_XSAVE);
    return true;
}

static int set_up(struct accel_host *host, struct uhyve_error *error)
{
    host->fd = open_device(error);
    if (host->fd < 0)
        return host->fd;
    host->cpuid.nent = KVM_CPUID_MAX;
    if (ioctl(host->fd, KVM_GET_SUPPORTED_CPUID, &host->cpuid) != 0) {
        int err = errno;
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         DEVICE
                         " does not tell the CPU features it supports: %s (it may be too new "
                         "or too old for this uhyve)",
                         strerror(err));
    }
    return 0;
}

int kvm_host_open(struct accel_host **result, bool *degraded, struct uhyve_error *error)
{
    struct accel_host *host = calloc(1, sizeof *host);
    if (!host)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    int err = set_up(host, error);
    if (err) {
        kvm_host_close(host);
        return err;
    }
    host->emulates_ring0 = *degraded = kvm_cpuid_emulates_ring0(&host->cpuid);
    if (*degraded)
        error_set(error, UHYVE_STATUS_FAILED, EOPNOTSUPP,
                  DEVICE " emulates privileged guest code instead of running it: it cannot run "
                         "kernels that use SSE or XSAVE, as Hermit does (this machine is itself a "
                         "virtual machine without nested virtualization)");
    *result = host;
    return 0;
}

void kvm_host_close(struct accel_host *host)
{
    if (host->fd >= 0)
        close(host->fd);
    free(host);
}
