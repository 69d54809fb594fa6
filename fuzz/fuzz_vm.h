/*
 * The VM of fuzz_vm.c: one at a time.
 */
#ifndef FUZZ_VM_H
#define FUZZ_VM_H

#include <stdatomic.h>

#include "accel/accel.h"
#include "input.h"

#define CPUS_MAX 4

/* What a vCPU works with; each has one, at the end of memory. */
#define ARENA_SIZE UINT64_C(0x10000)

enum feature {
    FEATURE_NET = 1,
    FEATURE_TRACE = 2,
    FEATURE_INPUT = 4,  /* standard input has something */
    FEATURE_WAIT = 8,   /* and no end: whoever reads on waits until the VM is stopped */
    FEATURE_STOP = 16,  /* somebody else stops the VM, at some time */
    FEATURE_SHARE = 32, /* all vCPUs work with the first one's memory */
    FEATURE_V1 = 64,    /* an interface 1 kernel */
};

/* A vCPU. */
struct accel_vcpu {
    unsigned index;
    gpa_t arena;
    struct input input;
    unsigned steps;
    bool finished;
    atomic_bool kicked;
    struct x86_state state;
    uint8_t data[1024];
};

/* One VM at a time. The accelerator's handles lead nowhere else. */
struct world {
    char top[64];
    int base;  /* descriptor of the directory `top` */
    int image; /* memory files of kernels: interface 2 and later, 1 */
    int old_image;
    unsigned features;
    unsigned cpu_count;
    const struct ram *ram;
    struct accel_vcpu cpus[CPUS_MAX];
    struct uhyve_vm *vm;
    atomic_uint finished;
    atomic_uint ends; /* bit 0: an exit, 1: a crash, 2: a stop was asked for */
    unsigned messages;
};
extern struct world world;

#endif
