/*
 * The file calls (spec/hypercalls.md sections 4.1 to 4.8 and 4.12) for a guest to which no host
 * file is mapped: its descriptors are 0, 1 and 2, every path is unknown, and there is no place to
 * create anything.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "console/console.h"
#include "hermit/hypercall.h"
#include "hypercall/call.h"
#include "util/text.h"

const struct sandbox_call hypercall_file_calls[] = {
    SANDBOX_CALL(poll),
    SANDBOX_CALL(readv),
    SANDBOX_END,
};

/*
 * Read from the VMM's standard input: waits for data, but not beyond the end of the VM. The wait is
 * a poll, so that the stop is never missed; the read after it can still block if another process
 * took the data, which the signal that accompanies a stop ends.
 */
static int64_t read_stdin(const struct call *call, const struct call_buffer *buffer)
{
    const struct hypercall_context *context = call->context;
    struct pollfd fds[] = {
        {.fd = context->stop_fd, .events = POLLIN},
        {.fd = context->stdin_fd, .events = POLLIN},
    };

    if (context->stdin_fd < 0 || !buffer->size)
        return 0;
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return -errno;
        if (fds[0].revents)
            return -EINTR;
        if (!fds[1].revents)
            continue;
        if (fds[1].revents & POLLNVAL)
            return -EBADF;
        ssize_t count = readv(context->stdin_fd, buffer->piece, buffer->count);
        if (count >= 0)
            return count;
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

static int64_t read_fd(const struct call *call, int32_t fd, const struct call_buffer *buffer)
{
    return fd == STDIN_FILENO ? read_stdin(call, buffer) : -EBADF;
}

static int64_t write_fd(const struct call *call, int32_t fd, const struct call_buffer *buffer)
{
    if (fd != STDOUT_FILENO && fd != STDERR_FILENO)
        return -EBADF;
    return console_program_write(call->context->console, fd, buffer->piece, (size_t)buffer->count);
}

static int64_t seek_fd(int32_t fd)
{
    return fd >= STDIN_FILENO && fd <= STDERR_FILENO ? -ESPIPE : -EBADF;
}

/* Fetch a path. Returns 0 or the error that a call with this path is to report. */
static int read_path(const struct call *call, gpa_t address)
{
    char path[HERMIT_PATH_MAX];
    int length = ram_read_string(call->context->ram, address, path, sizeof path);
    if (length < 0)
        return length;
    return text_is_utf8(path, (size_t)length) ? 0 : -EINVAL;
}

enum hypercall_outcome call_open(struct call *call)
{
    struct hermit_open block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = read_path(call, block.path);
    bool create = block.flags & HERMIT_O_CREAT;
    if (err)
        block.ret = err;
    else if (create && (block.flags & HERMIT_O_DIRECTORY))
        block.ret = -EINVAL;
    else
        block.ret = create ? -EROFS : -ENOENT;
    CALL_WRITE_FIELD(call, &block, ret);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_close(struct call *call)
{
    struct hermit_close block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    /* Closing a standard stream (or a negative number) is allowed and does nothing. */
    block.ret = block.fd <= STDERR_FILENO ? 0 : -EBADF;
    CALL_WRITE_FIELD(call, &block, ret);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_unlink(struct call *call)
{
    struct hermit_unlink block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = read_path(call, block.path);
    block.ret = err ? err : -ENOENT;
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
    if (count == -EFAULT || count == -EBADF) /* of other errors the console tells */
        call_log_lost_write(call, block.fd, (int)-count);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_v1_lseek(struct call *call)
{
    struct hermit_v1_lseek block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    block.offset = -1; /* interface 1 has no error numbers here */
    CALL_WRITE_FIELD(call, &block, offset);
    return HYPERCALL_DONE;
}

/* Interface 2: buffers are guest-physical. */

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
    block.offset = seek_fd(block.fd);
    CALL_WRITE_FIELD(call, &block, offset);
    return HYPERCALL_DONE;
}

/* Interface 3. */

enum hypercall_outcome call_getdents(struct call *call)
{
    struct hermit_getdents block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    block.tag = HERMIT_GETDENTS_ERROR;
    block.result.written = 0;
    block.result.error = ram_at(call->context->ram, block.buf, block.len) ? EBADF : EFAULT;
    CALL_WRITE_FIELD(call, &block, result);
    CALL_WRITE_FIELD(call, &block, tag);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_stat(struct call *call)
{
    struct hermit_stat block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = read_path(call, block.path);
    if (err)
        block.error = -err;
    else if (block.kind > HERMIT_STAT_NO_FOLLOW)
        block.error = EINVAL;
    else if (!ram_at(call->context->ram, block.attr, sizeof(struct hermit_attr)))
        block.error = EFAULT;
    else
        block.error = ENOENT;
    block.tag = HERMIT_RESULT_ERROR;
    CALL_WRITE_FIELD(call, &block, error);
    CALL_WRITE_FIELD(call, &block, tag);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_fstat(struct call *call)
{
    struct hermit_fstat block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    block.tag = HERMIT_RESULT_ERROR;
    block.error = EBADF;
    CALL_WRITE_FIELD(call, &block, error);
    CALL_WRITE_FIELD(call, &block, tag);
    return HYPERCALL_DONE;
}

enum hypercall_outcome call_mkdir(struct call *call)
{
    struct hermit_mkdir block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    int err = read_path(call, block.path);
    block.tag = HERMIT_RESULT_ERROR;
    block.error = err ? -err : EROFS;
    CALL_WRITE_FIELD(call, &block, error);
    CALL_WRITE_FIELD(call, &block, tag);
    return HYPERCALL_DONE;
}
