/*
 * A stand-in for the virtual machine behind include/uhyve.h: tests of the program say what a run
 * leads to, without a guest, and see the parameters it was called with.
 */
#ifndef FAKE_VM_H
#define FAKE_VM_H

#include "uhyve.h"

struct fake_vm {
    struct uhyve_error create_error; /* status 0: uhyve_create succeeds */
    struct uhyve_error run_error;
    struct uhyve_result result;
    struct uhyve_stats stats;
    /* If set: called by uhyve_run, for what a guest does to the outside. */
    void (*run)(const struct uhyve_params *params);
};

extern struct fake_vm fake_vm;

/* Remove all environment variables but the one that tells cmocka how to write its results. */
void clear_environment(void);

#endif
