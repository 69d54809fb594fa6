#include "lib/hypercall.h"

#include "lib/build.h"
#include "lib/text.h"

static uint64_t address_of(const volatile void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* What a result field holds before the call: a VMM that ignores the call leaves it there. */
#define IGNORED (-GUEST_ENOSYS)

/* Blocks of the calls whose layout both generations share. */
static void call_either(enum hermit_v1_port port, enum hermit_v2_address address, void *block)
{
    if (guest_interface == 1)
        hypercall_v1(port, address_of(block));
    else
        hypercall_v2(address, address_of(block));
}

_Noreturn void guest_exit(int code)
{
    for (;;) { /* a VMM that goes on after an exit is asked again */
        if (guest_interface == 1) {
            struct hermit_v1_exit block = {.code = code};
            hypercall_v1(HERMIT_V1_EXIT, address_of(&block));
        } else {
            hypercall_v2(HERMIT_V2_EXIT, (uint32_t)code);
        }
    }
}

int64_t file_read(int fd, void *buffer, size_t size)
{
    if (guest_interface == 1) {
        struct hermit_v1_read block = {
            .fd = fd, .buf = address_of(buffer), .len = size, .ret = IGNORED};
        hypercall_v1(HERMIT_V1_FILE_READ, address_of(&block));
        return block.ret;
    }
    struct hermit_v2_read block = {
        .fd = fd, .buf = address_of(buffer), .len = size, .ret = IGNORED};
    hypercall_v2(HERMIT_V2_FILE_READ, address_of(&block));
    return block.ret;
}

int64_t file_write(int fd, const void *buffer, size_t size)
{
    if (guest_interface == 1) {
        struct hermit_v1_write block = {.fd = fd, .buf = address_of(buffer), .len = size};
        hypercall_v1(HERMIT_V1_FILE_WRITE, address_of(&block));
        return (int64_t)size;
    }
    struct hermit_v2_write block = {
        .fd = fd, .buf = address_of(buffer), .len = size, .ret = IGNORED};
    hypercall_v2(HERMIT_V2_FILE_WRITE, address_of(&block));
    return block.ret;
}

int file_open(const char *path, int flags, int mode)
{
    struct hermit_open block = {
        .path = address_of(path), .flags = flags, .mode = mode, .ret = IGNORED};
    call_either(HERMIT_V1_FILE_OPEN, HERMIT_V2_FILE_OPEN, &block);
    return block.ret;
}

int file_close(int fd)
{
    struct hermit_close block = {.fd = fd, .ret = IGNORED};
    call_either(HERMIT_V1_FILE_CLOSE, HERMIT_V2_FILE_CLOSE, &block);
    return block.ret;
}

int file_unlink(const char *path)
{
    struct hermit_unlink block = {.path = address_of(path), .ret = IGNORED};
    call_either(HERMIT_V1_FILE_UNLINK, HERMIT_V2_FILE_UNLINK, &block);
    return block.ret;
}

int64_t file_seek(int fd, int64_t offset, int whence)
{
    if (guest_interface == 1) {
        struct hermit_v1_lseek block = {.fd = fd, .offset = offset, .whence = whence};
        hypercall_v1(HERMIT_V1_FILE_LSEEK, address_of(&block));
        return block.offset;
    }
    struct hermit_v2_lseek block = {.fd = fd, .offset = offset, .whence = (uint32_t)whence};
    hypercall_v2(HERMIT_V2_FILE_LSEEK, address_of(&block));
    return block.offset;
}

int64_t file_list(int fd, void *buffer, size_t size)
{
    struct hermit_getdents block = {.fd = fd, .buf = address_of(buffer), .len = size};
    hypercall_v2(HERMIT_V2_GETDENTS, address_of(&block));
    switch (block.tag) {
    case HERMIT_GETDENTS_OK:
        return (int64_t)block.result.written;
    case HERMIT_GETDENTS_END:
        return 0;
    case HERMIT_GETDENTS_ERROR:
        return -block.result.error;
    default:
        return IGNORED;
    }
}

static int tagged_result(uint32_t tag, int32_t error)
{
    if (tag == HERMIT_RESULT_OK)
        return 0;
    return tag == HERMIT_RESULT_ERROR ? -error : IGNORED;
}

int file_stat(const char *path, uint32_t kind, struct hermit_attr *attr)
{
    struct hermit_stat block = {.path = address_of(path), .kind = kind, .attr = address_of(attr)};
    hypercall_v2(HERMIT_V2_FILE_STAT, address_of(&block));
    return tagged_result(block.tag, block.error);
}

int file_stat_fd(int fd, struct hermit_attr *attr)
{
    struct hermit_fstat block = {.fd = fd, .attr = address_of(attr)};
    hypercall_v2(HERMIT_V2_FILE_FSTAT, address_of(&block));
    return tagged_result(block.tag, block.error);
}

int file_make_directory(const char *path)
{
    struct hermit_mkdir block = {.path = address_of(path), .len = text_length(path) + 1};
    hypercall_v2(HERMIT_V2_MKDIR, address_of(&block));
    return tagged_result(block.tag, block.error);
}

void serial_write_byte(char byte)
{
    if (guest_interface == 1)
        hypercall_v1(HERMIT_V1_UART, (uint8_t)byte);
    else
        hypercall_v2(HERMIT_V2_SERIAL_WRITE_BYTE, (uint8_t)byte);
}

void serial_write(const void *buffer, size_t size)
{
    if (guest_interface == 1) {
        struct hermit_v1_serial_write block = {.buf = address_of(buffer), .len = size};
        hypercall_v1(HERMIT_V1_SERIAL_WRITE_BUFFER, address_of(&block));
    } else {
        struct hermit_v2_serial_write block = {.buf = address_of(buffer), .len = size};
        hypercall_v2(HERMIT_V2_SERIAL_WRITE_BUFFER, address_of(&block));
    }
}
