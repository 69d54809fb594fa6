/*
 * Guest buffers as pieces of host memory (spec/hypercalls.md section 1.3).
 */
#include <errno.h>

#include "arch/x86_64/paging.h"
#include "hypercall/call.h"

int call_buffer_physical(const struct call *call, gpa_t address, uint64_t length,
                         struct call_buffer *buffer)
{
    /* An empty buffer has no bytes that could be outside: guests pass any address with it. */
    void *host = ram_at(call->context->ram, address, length);
    if (!host && length)
        return -EFAULT;
    buffer->piece[0] = (struct iovec){host, length};
    buffer->count = length ? 1 : 0;
    buffer->size = length;
    return 0;
}

/* Append host memory; neighbours in the host's address space become one piece. */
static bool append(struct call_buffer *buffer, uint8_t *host, size_t size)
{
    struct iovec *last = buffer->count ? &buffer->piece[buffer->count - 1] : NULL;
    if (last && (uint8_t *)last->iov_base + last->iov_len == host) {
        last->iov_len += size;
    } else {
        if (buffer->count == CALL_PIECES)
            return false;
        buffer->piece[buffer->count++] = (struct iovec){host, size};
    }
    buffer->size += size;
    return true;
}

int call_buffer_virtual(const struct call *call, gva_t address, uint64_t length,
                        struct call_buffer *buffer)
{
    const struct ram *ram = call->context->ram;
    uint64_t cr3, end;

    buffer->count = 0;
    buffer->size = 0;
    if (!length)
        return 0;
    /* No buffer is larger than the memory: a bound for the walk when tables map one page many
     * times. */
    if (checked_add(address, length, &end) || length > ram->size ||
        !call->caller->page_tables(call->caller->vcpu, &cr3))
        return -EFAULT;
    while (length) {
        gpa_t gpa;
        uint64_t size;
        if (!paging_translate(ram, cr3, address, &gpa, &size))
            return -EFAULT;
        size = size < length ? size : length;
        uint8_t *host = ram_at(ram, gpa, size);
        if (!host)
            return -EFAULT;
        if (!append(buffer, host, size))
            return 0;
        address += size;
        length -= size;
    }
    return 0;
}
