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

void accel_release(struct accel_choice *choice)
{
    if (choice->accel)
        choice->accel->host_close(choice->host);
    *choice = (struct accel_choice){0};
}

static int no_such_accelerator(enum uhyve_accel wanted, struct uhyve_error *error)
{
    return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                     "there is no accelerator with the number %d (use UHYVE_ACCEL_AUTO)",
                     (int)wanted);
}

int accel_select(enum uhyve_accel wanted, const struct log *log, struct accel_choice *choice,
                 struct uhyve_error *error)
{
    struct accel_choice second_best = {0};
    int err = 0;

    *choice = (struct accel_choice){0};
    for (size_t i = 0; i < ACCELERATORS && !choice->accel; i++) {
        struct accel_choice candidate = {.accel = accelerators[i].accel};
        struct uhyve_error reason = {0};
        bool degraded = false;
        if (wanted != UHYVE_ACCEL_AUTO && wanted != accelerators[i].id)
            continue;
        int opened = candidate.accel->host_open(&candidate.host, &degraded, &reason);
        if (opened || degraded)
            log_info(log, "accelerator '%s': %s", candidate.accel->name, reason.message);
        if (opened) {
            err = opened;
            if (error)
                *error = reason;
        } else if (!degraded) {
            *choice = candidate;
        } else if (!second_best.accel) {
            second_best = candidate;
        } else {
            accel_release(&candidate);
        }
    }
    if (choice->accel)
        accel_release(&second_best);
    else
        *choice = second_best;
    if (!choice->accel)
        return err ? err : no_such_accelerator(wanted, error);
    log_info(log, "using the accelerator '%s'", choice->accel->name);
    return 0;
}

int uhyve_probe(enum uhyve_accel wanted, struct uhyve_error *error)
{
    int err = 0;

    for (size_t i = 0; i < ACCELERATORS; i++) {
        struct accel_host *host;
        bool degraded = false;
        if (wanted != UHYVE_ACCEL_AUTO && wanted != accelerators[i].id)
            continue;
        err = accelerators[i].accel->host_open(&host, &degraded, error);
        if (err)
            continue;
        accelerators[i].accel->host_close(host);
        if (!degraded)
            return 0;
        err = -EOPNOTSUPP;
    }
    return err ? err : no_such_accelerator(wanted, error);
}
