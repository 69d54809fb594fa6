#include "fake_vm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct fake_vm fake_vm;

struct uhyve_vm {
    const struct uhyve_params *params;
    volatile sig_atomic_t stopped;
};

static struct uhyve_vm the_vm;

void clear_environment(void)
{
    const char *format = getenv("CMOCKA_MESSAGE_OUTPUT");
    char *copy = format ? strdup(format) : NULL;

    clearenv();
    if (copy)
        setenv("CMOCKA_MESSAGE_OUTPUT", copy, 1);
    free(copy);
}

int uhyve_create(const struct uhyve_params *params, struct uhyve_vm **vm, struct uhyve_error *error)
{
    *vm = NULL;
    if (fake_vm.create_error.status) {
        *error = fake_vm.create_error;
        return -EIO;
    }
    the_vm = (struct uhyve_vm){.params = params};
    *vm = &the_vm;
    return 0;
}

int uhyve_run(struct uhyve_vm *vm, struct uhyve_result *result, struct uhyve_error *error)
{
    if (fake_vm.run)
        fake_vm.run(vm->params);
    if (fake_vm.run_error.status) {
        *error = fake_vm.run_error;
        return -EIO;
    }
    *result = fake_vm.result;
    if (vm->stopped)
        result->outcome = UHYVE_STOPPED;
    return 0;
}

void uhyve_stop(struct uhyve_vm *vm)
{
    vm->stopped = 1;
}

void uhyve_get_stats(struct uhyve_vm *vm, struct uhyve_stats *stats)
{
    *stats = fake_vm.stats;
}

void uhyve_destroy(struct uhyve_vm *vm)
{
}

const char *uhyve_version(void)
{
    return "0.0-fake";
}
