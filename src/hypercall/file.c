/*
 * The file calls (spec/hypercalls.md sections 4.1 to 4.8 and 4.12): parameters in, a call of
 * fs/files.h, results out. Descriptors 1 and 2 lead to the console.
 */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "console/console.h"
#include "fs/files.h"
#include "hermit/hypercall.h"
#include "hypercall/call.h"

static int64_t read_fd(const struct call *call, int32_t fd, const struct call_buffer *buffer)
{
    return files_read(call->context->files, fd, buffer->piece, buffer->count);
}

static int64_t write_fd(const struct call *call, int32_t fd, const struct call_buffer *buffer)
{
    if (fd == STDOUT_FILENO || fd == STDERR_FILENO)
        return console_program_write(call->context->console, fd, buffer->piece,
                                     (size_t)buffer->count);
    return files_write(call->context->files, fd, buffer->piece, buffer->count);
}

/* Fetch a path: 0, or the error that a call with this path is to report. */
static int read_path(const struct call *call, gpa_t address, char path[HERMIT_PATH_MAX])
{
    int length = ram_read_string(call->context->ram, address, path, HERMIT_PATH_MAX);
    return length < 0 ? length : 0;
}

enum hypercall_outcome call_open(struct call *call)
{
    struct hermit_open block;
    char path[HERMIT_PATH_MAX];

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = read_path(call, block.path, path);
    block.ret = err ? err : files_open(call->context->files, path, block.flags, block.mode);
    CALL_WRITE_FIELD(call, &block, ret);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_close(struct call *call)
{
    struct hermit_close block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    block.ret = files_close(call->context->files, block.fd);
    CALL_WRITE_FIELD(call, &block, ret);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_unlink(struct call *call)
{
    struct hermit_unlink block;
    char path[HERMIT_PATH_MAX];

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = read_path(call, block.path, path);
    block.ret = err ? err : files_unlink(call->context->files, path);
    CALL_WRITE_FIELD(call, &block, ret);
    return HYPERCALL_DONE;
}

/* Interface 1: buffers are guest-virtual, writes have no result. */

enum hypercall_outcome call_v1_read(struct call *call)
{
    struct hermit_v1_read block;
    struct call_buffer buffer;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = call_buffer_virtual(call, block.buf, block.len, &buffer);
    block.ret = err ? err : read_fd(call, block.fd, &buffer);
    CALL_WRITE_FIELD(call, &block, ret);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_v1_write(struct call *call)
{
    struct hermit_v1_write block;
    struct call_buffer buffer;
    int64_t count = 0;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    /* A buffer that is scattered over many pages takes several rounds. */
    for (uint64_t done = 0; done < block.len; done += (uint64_t)count) {
        count = call_buffer_virtual(call, block.buf + done, block.len - done, &buffer);
        if (count == 0)
            count = write_fd(call, block.fd, &buffer);
        if (count <= 0)
            break;
    }
    /* Of errors of the console it tells itself, and at the stop nobody minds. */
    bool console = block.fd == STDOUT_FILENO || block.fd == STDERR_FILENO;
    if (count < 0 && count != -EINTR && (!console || count == -EFAULT))
        call_log_lost_write(call, block.fd, (int)-count);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_v1_lseek(struct call *call)
{
    struct hermit_v1_lseek block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int64_t position = files_seek(call->context->files, block.fd, block.offset,
                                  (uint32_t)block.whence);
    block.offset = position < 0 ? -1 : position; /* interface 1 has no error numbers here */
    CALL_WRITE_FIELD(call, &block, offset);
    return HYPERCALL_DONE;
}

/* Generation 2: everything is guest-physical. */

enum hypercall_outcome call_v2_read(struct call *call)
{
    struct hermit_v2_read block;
    struct call_buffer buffer;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = call_buffer_physical(call, block.buf, block.len, &buffer);
    block.ret = err ? err : read_fd(call, block.fd, &buffer);
    CALL_WRITE_FIELD(call, &block, ret);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_v2_write(struct call *call)
{
    struct hermit_v2_write block;
    struct call_buffer buffer;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = call_buffer_physical(call, block.buf, block.len, &buffer);
    block.ret = err ? err : write_fd(call, block.fd, &buffer);
    CALL_WRITE_FIELD(call, &block, ret);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_v2_lseek(struct call *call)
{
    struct hermit_v2_lseek block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    block.offset = files_seek(call->context->files, block.fd, block.offset, block.whence);
    CALL_WRITE_FIELD(call, &block, offset);
    return HYPERCALL_DONE;
}

/* Interface 3. */

enum hypercall_outcome call_getdents(struct call *call)
{
    struct hermit_getdents block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    void *buffer = ram_at(call->context->ram, block.buf, block.len);
    int64_t written = buffer ? files_list(call->context->files, block.fd, buffer, block.len)
                             : -EFAULT;
    block.tag = written > 0    ? HERMIT_GETDENTS_OK
                : written == 0 ? HERMIT_GETDENTS_END
                               : HERMIT_GETDENTS_ERROR;
    block.padding1 = 0;
    block.result.written = written > 0 ? (uint64_t)written : 0;
    if (written < 0)
        block.result.error = (int32_t)-written;
    CALL_WRITE_FIELD(call, &block, result);
    CALL_WRITE_FIELD(call, &block, tag);
    return HYPERCALL_DONE;
}

/* Put attributes where the guest wants them; `err` is what came before. Returns the error number
 * for the guest. */
static int32_t deliver_attr(const struct call *call, gpa_t to, const struct hermit_attr *attr,
                            int err)
{
    if (!err && !ram_write(call->context->ram, to, attr, sizeof *attr))
        err = -EFAULT;
    return -err;
}

static uint32_t result_tag(int32_t error)
{
    return error ? HERMIT_RESULT_ERROR : HERMIT_RESULT_OK;
}

enum hypercall_outcome call_stat(struct call *call)
{
    struct hermit_stat block;
    struct hermit_attr attr;
    char path[HERMIT_PATH_MAX];

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = read_path(call, block.path, path);
    if (!err && block.kind > HERMIT_STAT_NO_FOLLOW)
        err = -EINVAL;
    if (!err && !ram_at(call->context->ram, block.attr, sizeof attr))
        err = -EFAULT;
    if (!err)
        err = files_stat(call->context->files, path, block.kind == HERMIT_STAT_FOLLOW, &attr);
    block.error = deliver_attr(call, block.attr, &attr, err);
    block.tag = result_tag(block.error);
    CALL_WRITE_FIELD(call, &block, error);
    CALL_WRITE_FIELD(call, &block, tag);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_fstat(struct call *call)
{
    struct hermit_fstat block;
    struct hermit_attr attr;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = files_stat_fd(call->context->files, block.fd, &attr);
    block.error = deliver_attr(call, block.attr, &attr, err);
    block.tag = result_tag(block.error);
    CALL_WRITE_FIELD(call, &block, error);
    CALL_WRITE_FIELD(call, &block, tag);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_mkdir(struct call *call)
{
    struct hermit_mkdir block;
    char path[HERMIT_PATH_MAX];

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = read_path(call, block.path, path);
    block.error = -(err ? err : files_mkdir(call->context->files, path));
    block.tag = result_tag(block.error);
    CALL_WRITE_FIELD(call, &block, error);
    CALL_WRITE_FIELD(call, &block, tag);
    return HYPERCALL_DONE;
}
