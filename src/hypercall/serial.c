/*
 * The serial channel (spec/hypercalls.md section 4.10): the kernel's log, and what kernels print
 * for applications.
 */
#include "console/console.h"
#include "hermit/hypercall.h"
#include "hypercall/call.h"

enum hypercall_outcome call_serial_byte(struct call *call)
{
    char byte = (char)call->payload;
    console_serial_write(call->context->console, &byte, 1);
    return HYPERCALL_DONE;
}

static enum hypercall_outcome write_buffer(struct call *call, gpa_t address, uint64_t length)
{
    const void *data = ram_at(call->context->ram, address, length);
    if (data)
        console_serial_write(call->context->console, data, length);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_v1_serial_buffer(struct call *call)
{
    struct hermit_v1_serial_write block;
    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    return write_buffer(call, block.buf, block.len);
}

enum hypercall_outcome call_v2_serial_buffer(struct call *call)
{
    struct hermit_v2_serial_write block;
    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    return write_buffer(call, block.buf, block.len);
}

/* Nothing ever arrives on the serial channel: input is read from file descriptor 0. */

enum hypercall_outcome call_v2_serial_read_byte(struct call *call)
{
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_v2_serial_read_buffer(struct call *call)
{
    struct hermit_v2_serial_read block;
    if (call_read_block(call, &block, sizeof block)) {
        block.len = 0;
        CALL_WRITE_FIELD(call, &block, len);
    }
    return HYPERCALL_DONE;
}
