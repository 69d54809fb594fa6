#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TEXT_MAX 4000

static enum uhyve_accel accelerator(void)
{
    const char *name = getenv("ACCELERATOR");

    return name && strcmp(name, "kvm") == 0 ? UHYVE_ACCEL_KVM : UHYVE_ACCEL_DIRECT;
}

const char *vm_obstacle(void)
{
    static struct uhyve_error error;
    /* These guests need neither SSE nor XSAVE: a degraded accelerator will do. */
    int err = uhyve_probe(accelerator(), &error);

    return err && err != -EOPNOTSUPP ? error.message : NULL;
}

/* Where a debugger can connect is told in a message. */
static void take_message(void *context, enum uhyve_level level, const char *text)
{
    static const char before[] = "GDB connection on port ";
    struct vm *vm = context;
    const char *at = strstr(text, before);

    if (at)
        atomic_store(&vm->port, atoi(at + strlen(before)));
    else if (strstr(text, "GDB connection on socket"))
        atomic_store(&vm->port, -1);
}

bool vm_init(struct vm *vm, const char *guest)
{
    const char *guests = getenv("GUESTS");

    memset(vm, 0, sizeof *vm);
    vm->input = vm->input_in = -1;
    vm->out = memfd_create("stdout", MFD_CLOEXEC);
    vm->log = memfd_create("log", MFD_CLOEXEC);
    snprintf(vm->path, sizeof vm->path, "%s/%s-gpr", guests ? guests : "build/guests", guest);
    uhyve_params_init(&vm->params);
    vm->params.image = vm->path;
    vm->params.accel = accelerator();
    vm->params.memory_size = 32 * UHYVE_MIB;
    vm->params.stdout_fd = vm->out;
    vm->params.log_fd = vm->log;
    vm->params.app_args = vm->arguments;
    vm->params.message = take_message;
    vm->params.message_context = vm;
    return vm->out >= 0 && vm->log >= 0;
}

void vm_argument(struct vm *vm, const char *format, ...)
{
    size_t number = vm->params.app_arg_count++;
    va_list arguments;

    if (number >= VM_ARGUMENTS)
        abort();
    va_start(arguments, format);
    vsnprintf(vm->argument[number], sizeof vm->argument[number], format, arguments);
    va_end(arguments);
    vm->arguments[number] = vm->argument[number];
}

void vm_with_input(struct vm *vm)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    vm->params.stdin_fd = vm->input = ends[0];
    vm->input_in = ends[1];
}

void vm_with_files(struct vm *vm, const char *directory, unsigned number)
{
    snprintf(vm->mapped[0], sizeof vm->mapped[0], "%s", directory);
    snprintf(vm->mapped[1], sizeof vm->mapped[1], "%s/file-%u", directory, number);
    vm->mapping[0] = (struct uhyve_file_mapping){.host = vm->mapped[0], .guest = "/d"};
    vm->mapping[1] = (struct uhyve_file_mapping){.host = vm->mapped[1], .guest = "/in/a"};
    vm->params.file_mappings = vm->mapping;
    vm->params.file_mapping_count = 2;
}

void vm_finish(struct vm *vm)
{
    const int fds[] = {vm->out, vm->log, vm->input, vm->input_in};

    uhyve_destroy(vm->vm);
    vm->vm = NULL;
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (vm->mapped[1][0])
        unlink(vm->mapped[1]);
    if (vm->params.gdb_socket)
        unlink(vm->params.gdb_socket);
}

static bool is_engine_killed(const char *text)
{
    return text && strstr(text, "process was ended by signal 9");
}

static const char *problem(const struct vm *vm, bool disturbed, const char *output)
{
    if (vm->err)
        return disturbed && is_engine_killed(vm->error.message) ? NULL : vm->error.message;
    switch (vm->result.outcome) {
    case UHYVE_STOPPED:
        return disturbed ? NULL : "stopped";
    case UHYVE_CRASHED:
        if (vm->crashes || (disturbed && is_engine_killed(vm->result.report)))
            return NULL;
        return vm->result.report;
    case UHYVE_EXITED:
        if (vm->endless || vm->crashes)
            return "exited, which it never does";
        if (vm->result.exit_code != vm->exit_code)
            return "another exit code";
        return !vm->text || strstr(output, vm->text) ? NULL : "another output";
    }
    return "no outcome that is known";
}

bool vm_is_good(const struct vm *vm, bool disturbed, char *why, size_t size)
{
    char output[TEXT_MAX] = "";
    ssize_t got = pread(vm->out, output, sizeof output - 1, 0);

    output[got > 0 ? got : 0] = '\0';
    const char *what = problem(vm, disturbed, output);
    if (what)
        snprintf(why, size, "%s: %.600s (outcome %d, exit code %d, output %.200s)",
                 strrchr(vm->path, '/') + 1, what, (int)vm->result.outcome, vm->result.exit_code,
                 output);
    return !what;
}
