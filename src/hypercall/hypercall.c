#include "hypercall/hypercall.h"

#include <string.h>

#include "hermit/hypercall.h"
#include "hypercall/call.h"

enum argument {
    BLOCK_V1, /* EAX is the address of the parameter block */
    BYTE_V1,  /* each element of the write is a character */
    RDI_V2,   /* register RDI is the address or the value */
};

struct hypercall {
    enum argument argument;
    const char *name;
    enum hypercall_outcome (*handler)(struct call *call);
};

static enum hypercall_outcome call_v1_exit(struct call *call)
{
    struct hermit_v1_exit block;
    /* The guest wants to end in any case; without a readable code it did so in error. */
    call->exit_code = call_read_block(call, &block, sizeof block) ? block.code : -1;
    return HYPERCALL_EXIT;
}

static enum hypercall_outcome call_v2_exit(struct call *call)
{
    call->exit_code = (int)(uint32_t)call->payload;
    return HYPERCALL_EXIT;
}

/* Both generations number their calls in even steps, so a call is found by its place in one table
 * with holes. */
#define V1_FIRST      HERMIT_V1_FILE_WRITE
#define V1_LAST       HERMIT_V1_SERIAL_WRITE_BUFFER
#define V1_STEP       0x40
#define V2_FIRST      HERMIT_V2_EXIT
#define V2_LAST       HERMIT_V2_MKDIR
#define V2_STEP       0x10
#define V1_SLOT(port) (((port)-V1_FIRST) / V1_STEP)
#define V2_SLOT(port) (V1_SLOT(V1_LAST) + 1 + ((port)-V2_FIRST) / V2_STEP)

static const struct hypercall calls[] = {
    [V1_SLOT(HERMIT_V1_FILE_WRITE)] = {BLOCK_V1, "Hypercall(V1(FileWrite))", call_v1_write},
    [V1_SLOT(HERMIT_V1_FILE_OPEN)] = {BLOCK_V1, "Hypercall(V1(FileOpen))", call_open},
    [V1_SLOT(HERMIT_V1_FILE_CLOSE)] = {BLOCK_V1, "Hypercall(V1(FileClose))", call_close},
    [V1_SLOT(HERMIT_V1_FILE_READ)] = {BLOCK_V1, "Hypercall(V1(FileRead))", call_v1_read},
    [V1_SLOT(HERMIT_V1_EXIT)] = {BLOCK_V1, "Hypercall(V1(Exit))", call_v1_exit},
    [V1_SLOT(HERMIT_V1_FILE_LSEEK)] = {BLOCK_V1, "Hypercall(V1(FileLseek))", call_v1_lseek},
    [V1_SLOT(HERMIT_V1_CMDSIZE)] = {BLOCK_V1, "Hypercall(V1(Cmdsize))", call_v1_cmdsize},
    [V1_SLOT(HERMIT_V1_CMDVAL)] = {BLOCK_V1, "Hypercall(V1(Cmdval))", call_v1_cmdval},
    [V1_SLOT(HERMIT_V1_UART)] = {BYTE_V1, "Hypercall(V1(Uart))", call_serial_byte},
    [V1_SLOT(HERMIT_V1_FILE_UNLINK)] = {BLOCK_V1, "Hypercall(V1(FileUnlink))", call_unlink},
    [V1_SLOT(HERMIT_V1_SERIAL_WRITE_BUFFER)] = {BLOCK_V1, "Hypercall(V1(SerialBufferWrite))",
                                                call_v1_serial_buffer},
    [V2_SLOT(HERMIT_V2_EXIT)] = {RDI_V2, "Hypercall(V2(Exit))", call_v2_exit},
    [V2_SLOT(HERMIT_V2_SERIAL_WRITE_BYTE)] = {RDI_V2, "Hypercall(V2(SerialWriteByte))",
                                              call_serial_byte},
    [V2_SLOT(HERMIT_V2_SERIAL_WRITE_BUFFER)] = {RDI_V2, "Hypercall(V2(SerialWriteBuffer))",
                                                call_v2_serial_buffer},
    [V2_SLOT(HERMIT_V2_SERIAL_READ_BYTE)] = {RDI_V2, "Hypercall(V2(SerialReadByte))",
                                             call_v2_serial_read_byte},
    [V2_SLOT(HERMIT_V2_SERIAL_READ_BUFFER)] = {RDI_V2, "Hypercall(V2(SerialReadBuffer))",
                                               call_v2_serial_read_buffer},
    [V2_SLOT(HERMIT_V2_FILE_WRITE)] = {RDI_V2, "Hypercall(V2(FileWrite))", call_v2_write},
    [V2_SLOT(HERMIT_V2_FILE_OPEN)] = {RDI_V2, "Hypercall(V2(FileOpen))", call_open},
    [V2_SLOT(HERMIT_V2_FILE_CLOSE)] = {RDI_V2, "Hypercall(V2(FileClose))", call_close},
    [V2_SLOT(HERMIT_V2_FILE_READ)] = {RDI_V2, "Hypercall(V2(FileRead))", call_v2_read},
    [V2_SLOT(HERMIT_V2_FILE_LSEEK)] = {RDI_V2, "Hypercall(V2(FileLseek))", call_v2_lseek},
    [V2_SLOT(HERMIT_V2_FILE_UNLINK)] = {RDI_V2, "Hypercall(V2(FileUnlink))", call_unlink},
    [V2_SLOT(HERMIT_V2_GETDENTS)] = {RDI_V2, "Hypercall(V2(Getdents))", call_getdents},
    [V2_SLOT(HERMIT_V2_FILE_STAT)] = {RDI_V2, "Hypercall(V2(FileStat))", call_stat},
    [V2_SLOT(HERMIT_V2_FILE_FSTAT)] = {RDI_V2, "Hypercall(V2(FileFstat))", call_fstat},
    [V2_SLOT(HERMIT_V2_MKDIR)] = {RDI_V2, "Hypercall(V2(Mkdir))", call_mkdir},
};

#define CALLS (sizeof calls / sizeof *calls)

const struct hypercall *hypercall_find(uint16_t port)
{
    size_t slot;

    if (port >= V1_FIRST && port <= V1_LAST && port % V1_STEP == 0)
        slot = V1_SLOT(port);
    else if (port >= V2_FIRST && port <= V2_LAST && port % V2_STEP == 0)
        slot = V2_SLOT(port);
    else
        return NULL;
    return calls[slot].handler ? &calls[slot] : NULL;
}

size_t hypercall_count(void)
{
    return CALLS;
}

unsigned hypercall_number(const struct hypercall *call)
{
    return (unsigned)(call - calls);
}

const char *hypercall_name(unsigned number)
{
    return calls[number].name;
}

static void log_dropped(const struct hypercall_context *context, struct log_limit *limit,
                        const char *what)
{
    bool last;
    if (log_limit_pass(limit, &last))
        log_warn(context->log, "a hypercall of the guest was ignored: %s%s", what,
                 last ? " (further ones are not reported)" : "");
}

static bool block_copied(struct call *call, bool copied)
{
    if (!copied)
        log_dropped(call->context, &call->context->bad_block,
                    "its parameter block is not in guest memory");
    return copied;
}

bool call_read_block(struct call *call, void *block, size_t size)
{
    return block_copied(call, ram_read(call->context->ram, call->payload, block, size));
}

bool call_write_block(struct call *call, const void *block, size_t size)
{
    return block_copied(call, ram_write(call->context->ram, call->payload, block, size));
}

void call_log_lost_write(struct call *call, int32_t fd, int error)
{
    bool last;
    if (log_limit_pass(&call->context->lost_write, &last))
        log_warn(call->context->log, "a write of the guest to its descriptor %d is lost: %s%s", fd,
                 strerror(error), last ? " (further ones are not reported)" : "");
}

enum hypercall_outcome hypercall_run(const struct hypercall *hypercall,
                                     struct hypercall_context *context,
                                     const struct hypercall_caller *caller,
                                     const struct hypercall_write *write, int *exit_code)
{
    struct call call = {.context = context, .caller = caller};
    enum hypercall_outcome outcome = HYPERCALL_DONE;

    if (hypercall->argument == BYTE_V1) {
        for (uint32_t i = 0; i < write->count; i++) {
            call.payload = write->data[(size_t)i * write->size];
            hypercall->handler(&call);
        }
        return HYPERCALL_DONE;
    }
    if (write->size != 4 || write->count != 1) {
        log_dropped(context, &context->bad_width, "it is not one 32-bit OUT");
        return HYPERCALL_DONE;
    }
    if (hypercall->argument == RDI_V2) {
        call.payload = write->rdi;
    } else {
        uint32_t eax;
        memcpy(&eax, write->data, sizeof eax);
        call.payload = eax;
    }
    outcome = hypercall->handler(&call);
    *exit_code = call.exit_code;
    return outcome;
}
