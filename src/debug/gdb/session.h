/*
 * One conversation with GDB, from the first byte to detach, kill or the guest's end (spec/debug.md
 * sections 2, 5 and 6): bytes in, bytes out, and calls of the machine in between. No sockets and no
 * threads here, see server.c and vm/debugger.c.
 *
 * All-stop: while the guest runs, the client has nothing to ask; it waits for a stop reply, or
 * sends an interrupt. Threads are vCPUs, their numbers start with 1, in process 1.
 *
 * The client is not trusted with the VMM: nothing it sends may crash, hang or fill it.
 */
#ifndef DEBUG_GDB_SESSION_H
#define DEBUG_GDB_SESSION_H

#include <limits.h>

#include "debug/gdb/machine.h"
#include "debug/gdb/memory.h"
#include "debug/gdb/packet.h"
#include "debug/gdb/registers.h"

#define GDB_ALL_CPUS UINT_MAX

struct gdb_session {
    const struct gdb_machine *machine;
    struct packet_parser parser;
    struct text out;   /* for the client; whoever sends it sets the size to 0 */
    struct text reply; /* payload of the packet in the making */
    struct text last;  /* the last packet, for a client that did not get it */
    bool silent;       /* the packet in hand gets no reply, or gets it later */
    bool no_ack;
    bool no_ack_next;                    /* from the next packet on */
    bool multiprocess, swbreak, hwbreak; /* the client knows these words */
    bool running;                        /* the guest; the client waits for it to stop */
    bool over;            /* nothing more to say: close the connection when `out` is sent */
    bool avx;             /* the machine has YMM registers */
    unsigned cpu;         /* which registers and memory are about */
    unsigned resume;      /* which one `c` and `s` are about, or GDB_ALL_CPUS */
    struct gdb_stop stop; /* the last one */
    struct gdb_breakpoints breakpoints;
    struct gdb_action *actions;     /* room for cpu_count */
    struct gdb_registers registers; /* scratch */
    struct text document;           /* of qXfer, which is read in pieces */
};

/*
 * All vCPUs are stopped, and a client is there. Borrows the machine. Returns 0 or -ENOMEM;
 * gdb_session_free releases it (also after a failure) and lets go of the guest if that is still
 * stopped.
 */
int gdb_session_init(struct gdb_session *session, const struct gdb_machine *machine);
void gdb_session_free(struct gdb_session *session);

/* Bytes from the client. May resume, interrupt, detach from or kill the machine. */
void gdb_session_receive(struct gdb_session *session, const void *bytes, size_t size);

/* The machine has stopped after it was resumed. */
void gdb_session_stopped(struct gdb_session *session, const struct gdb_stop *stop);

/* The guest is no more: it exited with this code, or ended by this signal. */
void gdb_session_exited(struct gdb_session *session, int code);
void gdb_session_signalled(struct gdb_session *session, enum gdb_signal signal);

#endif
