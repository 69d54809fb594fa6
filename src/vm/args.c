/*
 * Arguments and environment in the two forms that kernels want: a command line, and for interface 1
 * frozen lists (spec/hypercalls.md section 4.11).
 */
#include <errno.h>
#include <stdlib.h>

#include "boot/bootargs.h"
#include "hermit/hypercall.h"
#include "util/error.h"
#include "vm/vm.h"

/*
 * Kernels of that time leave the terminator of their environment vector uninitialised and follow
 * garbage when there are fewer than four variables (spec/hypercalls.md section 8): fill up with
 * harmless ones.
 */
#define VERSION_VARIABLE "HERMIT_VMM_VERSION=" UHYVE_VERSION

static const char *const padding[] = {
    "HERMIT_VMM=uhyve",           VERSION_VARIABLE,       "HERMIT_VMM_INTERFACE=1",
    "HERMIT_VMM_PLATFORM=x86_64", "HERMIT_VMM_PADDING=1",
};

#define PADDING (sizeof padding / sizeof *padding)

static int list_new(struct string_list *list, size_t capacity, struct uhyve_error *error)
{
    list->items = calloc(capacity ? capacity : 1, sizeof *list->items);
    list->count = 0;
    return list->items ? 0 : error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
}

/* Append as many as fit below the limit of the interface; returns how many did not. */
static size_t list_add(struct string_list *list, const char *const *items, size_t count)
{
    size_t room = HERMIT_V1_MAX_STRINGS - list->count;
    size_t taken = count < room ? count : room;
    for (size_t i = 0; i < taken; i++)
        list->items[list->count++] = items[i];
    return count - taken;
}

/* Kernels since 0.10 take the command line, which has no such limit. */
static void warn_dropped(const struct uhyve_vm *vm, size_t dropped, const char *what)
{
    if (dropped && !elf_version_at_least(&vm->elf.version, 0, 10, 0))
        log_warn(&vm->log, "%zu %s are dropped: the interface of this kernel takes %d", dropped,
                 what, HERMIT_V1_MAX_STRINGS);
}

static void make_arguments(struct uhyve_vm *vm, struct string_list *list)
{
    static const char *const separator = "--";
    const struct uhyve_params *params = &vm->params;
    size_t dropped = list_add(list, &params->image, 1);

    dropped += list_add(list, params->kernel_args, params->kernel_arg_count);
    if (params->app_arg_count) {
        dropped += list_add(list, &separator, 1);
        dropped += list_add(list, params->app_args, params->app_arg_count);
    }
    warn_dropped(vm, dropped, "arguments");
}

static void make_environment(struct uhyve_vm *vm, struct string_list *list)
{
    const struct uhyve_params *params = &vm->params;
    size_t dropped = list_add(list, params->env, params->env_count);

    warn_dropped(vm, dropped, "environment variables");
    if (list->count < PADDING)
        list_add(list, padding, PADDING - list->count);
}

int vm_args_init(struct uhyve_vm *vm, struct uhyve_error *error)
{
    bootargs_format(&vm->bootargs, &vm->params);
    text_add(&vm->bootargs, "");
    if (vm->bootargs.failed)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    int err = list_new(&vm->hypercalls.arguments, HERMIT_V1_MAX_STRINGS, error);
    if (!err)
        err = list_new(&vm->hypercalls.environment, HERMIT_V1_MAX_STRINGS, error);
    if (err)
        return err;
    make_arguments(vm, &vm->hypercalls.arguments);
    make_environment(vm, &vm->hypercalls.environment);
    return 0;
}

void vm_args_free(struct uhyve_vm *vm)
{
    free(vm->hypercalls.arguments.items);
    free(vm->hypercalls.environment.items);
    text_free(&vm->bootargs);
}
