#include <errno.h>

#include "accel/accel.h"
#include "util/error.h"

/* In order of preference. */
static const struct {
    enum uhyve_accel id;
    const struct accel *accel;
} accelerators[] = {
    {UHYVE_ACCEL_KVM, &accel_kvm},
    {UHYVE_ACCEL_DIRECT, &accel_direct},
};

#define ACCELERATORS (sizeof accelerators / sizeof *accelerators)

int accel_select(enum uhyve_accel wanted, const struct log *log, const struct accel **accel,
                 struct uhyve_error *error)
{
    struct uhyve_error reason;
    const struct accel *second_best = NULL;
    int err = -ENODEV;

    *accel = NULL;
    for (size_t i = 0; i < ACCELERATORS; i++) {
        const struct accel *candidate = accelerators[i].accel;
        bool degraded = false;
        if (wanted != UHYVE_ACCEL_AUTO && wanted != accelerators[i].id)
            continue;
        reason.message[0] = '\0';
        int probed = candidate->probe(&degraded, &reason);
        if (probed == 0 && !degraded) {
            log_info(log, "using the accelerator '%s'", candidate->name);
            *accel = candidate;
            return 0;
        }
        log_info(log, "accelerator '%s': %s", candidate->name, reason.message);
        if (probed == 0)
            second_best = second_best ? second_best : candidate;
        else if (error) {
            *error = reason;
            err = probed;
        }
    }
    if (second_best) {
        log_info(log, "using the accelerator '%s' nevertheless", second_best->name);
        *accel = second_best;
        return 0;
    }
    return err;
}

int uhyve_probe(enum uhyve_accel wanted, struct uhyve_error *error)
{
    int err = -ENODEV;

    for (size_t i = 0; i < ACCELERATORS; i++) {
        bool degraded = false;
        if (wanted != UHYVE_ACCEL_AUTO && wanted != accelerators[i].id)
            continue;
        err = accelerators[i].accel->probe(&degraded, error);
        if (!err && degraded)
            err = -EOPNOTSUPP;
        if (!err)
            return 0;
    }
    return err;
}
