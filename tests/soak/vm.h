/*
 * A VM made through the library, as the soak tests make thousands: its parameters, the files behind
 * its streams, and what it may end with. A VM belongs to one thread, but for what vm_port and
 * uhyve_stop are for.
 */
#ifndef SOAK_VM_H
#define SOAK_VM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "soak.h"
#include "uhyve.h"

#define VM_ARGUMENTS 4

struct vm {
    struct uhyve_params params; /* to be changed before uhyve_create */
    struct uhyve_file_mapping mapping[2];
    char path[300], mapped[2][300], socket[300];
    char argument[VM_ARGUMENTS][120];
    const char *arguments[VM_ARGUMENTS];
    int out, log;        /* files in memory */
    int input, input_in; /* stdin_fd and the other end of it; -1: none */
    struct uhyve_vm *vm;
    struct uhyve_result result;
    struct uhyve_error error;
    int err;         /* of uhyve_create or uhyve_run */
    atomic_int port; /* on which a debugger is awaited */

    /* What is expected when nothing stops it. */
    bool endless, crashes;
    int exit_code;
    const char *text; /* in its output; NULL: anything */
    char buffer[200];
};

/* Which accelerator: the environment variable ACCELERATOR, "direct" (default) or "kvm". NULL, or
 * why it runs no guests here. */
const char *vm_obstacle(void);

/* `directory` is for mapped files. False if files cannot be made. */
bool vm_init(struct vm *vm, const char *guest);
void vm_argument(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));
void vm_with_input(struct vm *vm);
void vm_with_files(struct vm *vm, const char *directory, unsigned number);
void vm_finish(struct vm *vm); /* uhyve_destroy, and the files */

/* The end is one that this guest can have; `disturbed`: it may also have been stopped, or its
 * engine killed. Else false with the reason in `why`. */
bool vm_is_good(const struct vm *vm, bool disturbed, char *why, size_t size);

#endif
