/*
 * One hypercall in progress: what the files of this folder share.
 */
#ifndef HYPERCALL_CALL_H
#define HYPERCALL_CALL_H

#include <sys/types.h>
#include <sys/uio.h>

#include "hypercall/hypercall.h"

struct call {
    struct hypercall_context *context;
    const struct hypercall_caller *caller;
    uint64_t payload; /* address of the parameter block, or the immediate value */
    int exit_code;
};

/* Copy the parameter block in. False if it is not in guest memory: the call is dropped, which is
 * logged. */
bool call_read_block(struct call *call, void *block, size_t size);

/* Likewise copy out a block that consists of results only. */
bool call_write_block(struct call *call, const void *block, size_t size);

/* Interface 1 has no way to tell the guest that a write failed: tell the log. */
void call_log_lost_write(struct call *call, int32_t fd, int error);

/* Copy one result field out: the member `field` of the block that was read into the structure
 * *block. */
#define CALL_WRITE_FIELD(call, block, field)                                                       \
    ram_write((call)->context->ram,                                                                \
              (call)->payload + (size_t)((char *)&(block)->field - (char *)(block)),               \
              &(block)->field, sizeof(block)->field)

/* A guest buffer as host memory, in pieces. */
#define CALL_PIECES 256 /* 1 MiB in scattered pages */

struct call_buffer {
    struct iovec piece[CALL_PIECES];
    int count;
    uint64_t size; /* bytes in the pieces */
};

/*
 * Describe [address, address + length), or its beginning if it takes more than CALL_PIECES pieces.
 * The virtual variant translates with the caller's page tables. Returns 0 or -EFAULT if it is not
 * all guest memory.
 */
int call_buffer_physical(const struct call *call, gpa_t address, uint64_t length,
                         struct call_buffer *buffer);
int call_buffer_virtual(const struct call *call, gva_t address, uint64_t length,
                        struct call_buffer *buffer);

/* Handlers, in the files named after what they do. */

/* args.c */
enum hypercall_outcome call_v1_cmdsize(struct call *call);
enum hypercall_outcome call_v1_cmdval(struct call *call);

/* file.c */
enum hypercall_outcome call_v1_write(struct call *call);
enum hypercall_outcome call_v1_read(struct call *call);
enum hypercall_outcome call_v1_lseek(struct call *call);
enum hypercall_outcome call_open(struct call *call);
enum hypercall_outcome call_close(struct call *call);
enum hypercall_outcome call_unlink(struct call *call);
enum hypercall_outcome call_v2_write(struct call *call);
enum hypercall_outcome call_v2_read(struct call *call);
enum hypercall_outcome call_v2_lseek(struct call *call);
enum hypercall_outcome call_getdents(struct call *call);
enum hypercall_outcome call_stat(struct call *call);
enum hypercall_outcome call_fstat(struct call *call);
enum hypercall_outcome call_mkdir(struct call *call);

/* serial.c */
enum hypercall_outcome call_serial_byte(struct call *call);
enum hypercall_outcome call_v1_serial_buffer(struct call *call);
enum hypercall_outcome call_v2_serial_buffer(struct call *call);
enum hypercall_outcome call_v2_serial_read_byte(struct call *call);
enum hypercall_outcome call_v2_serial_read_buffer(struct call *call);

#endif
