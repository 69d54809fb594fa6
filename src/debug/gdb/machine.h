/*
 * What the debug server knows of the machine it debugs. The VM fills this in (vm/debugger.c), tests
 * have one of their own.
 *
 * All functions are called by the thread that owns the session. Those about registers and memory
 * are called only while every vCPU is stopped, that is, between the session's start or
 * gdb_session_stopped and the next `resume`.
 */
#ifndef DEBUG_GDB_MACHINE_H
#define DEBUG_GDB_MACHINE_H

#include "accel/accel.h"
#include "arch/x86_64/state.h"
#include "memory/ram.h"
#include "util/text.h"

/* What accelerators give of the XSAVE area at most. */
#define GDB_XSAVE_MAX 4096

enum gdb_action_kind {
    GDB_HOLD, /* stays stopped */
    GDB_CONTINUE,
    GDB_STEP, /* one instruction, and further ones while RIP is in [range_start, range_end) */
};

struct gdb_action {
    enum gdb_action_kind kind;
    gva_t range_start, range_end;
};

/* Numbers of signals in GDB's protocol, which are not those of the host everywhere. */
enum gdb_signal {
    GDB_SIGINT = 2,
    GDB_SIGILL = 4,
    GDB_SIGTRAP = 5,
    GDB_SIGABRT = 6,
    GDB_SIGFPE = 8,
    GDB_SIGBUS = 10,
    GDB_SIGSEGV = 11,
    GDB_SIGTERM = 15,
};

enum gdb_reason {
    GDB_REASON_NONE, /* the signal tells all */
    GDB_REASON_SOFTWARE,
    GDB_REASON_HARDWARE,
    GDB_REASON_WATCH,
    GDB_REASON_ACCESS,
};

struct gdb_stop {
    unsigned cpu;
    enum gdb_signal signal;
    enum gdb_reason reason;
    gva_t address; /* of the watchpoint */
};

struct gdb_machine {
    void *context; /* first argument of all functions */
    unsigned cpu_count;
    const struct ram *ram;
    const char *image;   /* absolute path of the ELF file, NULL if there is none */
    bool relocated;      /* it was loaded to other addresses than its own */
    gva_t first_segment; /* where its first segment is in memory */

    /* 0 or -errno: -EBUSY if the vCPU is in the middle of a host call. */
    int (*get_state)(void *context, unsigned cpu, struct x86_state *state);
    int (*set_state)(void *context, unsigned cpu, const struct x86_state *state);
    /* Size of the area or -errno; 0 or -errno. */
    int (*get_xsave)(void *context, unsigned cpu, void *area, size_t size);
    int (*set_xsave)(void *context, unsigned cpu, const void *area, size_t size);

    /* As in struct accel. */
    void (*original_code)(void *context, gpa_t gpa, void *copy, size_t size);
    void (*code_written)(void *context, gpa_t gpa, size_t size);

    /* For all vCPUs, from the next resume on; 0 or -errno. */
    int (*set_hardware)(void *context, const struct accel_hardware_breakpoint *slots);

    /* Let the vCPUs run; cpu_count actions. */
    void (*resume)(void *context, const struct gdb_action *actions);
    /* Stop them all; gdb_session_stopped follows. */
    void (*interrupt)(void *context);
    /* The session ends: let them run on without a debugger, or end the guest. */
    void (*detach)(void *context);
    void (*kill)(void *context);

    /* What `monitor info` and `monitor stats` show. */
    void (*describe)(void *context, struct text *text);
    void (*statistics)(void *context, struct text *text);
};

#endif
