/*
 * Arguments and environment of interface 1 (spec/hypercalls.md section 4.11): first the sizes,
 * then, into memory that the guest allocated for them, the strings. Both calls use the same frozen
 * lists.
 */
#include <string.h>

#include "hermit/hypercall.h"
#include "hypercall/call.h"

static int32_t fill_sizes(int32_t *sizes, const struct string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        sizes[i] = (int32_t)strlen(list->items[i]) + 1;
    return (int32_t)list->count;
}

enum hypercall_outcome call_v1_cmdsize(struct call *call)
{
    struct hermit_v1_cmdsize block = {0};
    int32_t sizes[HERMIT_V1_MAX_STRINGS] = {0};

    block.argc = fill_sizes(sizes, &call->context->arguments);
    memcpy(block.argsz, sizes, sizeof sizes);
    memset(sizes, 0, sizeof sizes);
    block.envc = fill_sizes(sizes, &call->context->environment);
    memcpy(block.envsz, sizes, sizeof sizes);
    call_write_block(call, &block, sizeof block);
    return HYPERCALL_DONE;
}

static void copy_strings(const struct call *call, gpa_t vector, const struct string_list *list)
{
    const struct ram *ram = call->context->ram;

    for (size_t i = 0; i < list->count; i++) {
        uint64_t destination;
        if (!ram_read(ram, vector + i * sizeof destination, &destination, sizeof destination))
            return;
        ram_write(ram, destination, list->items[i], strlen(list->items[i]) + 1);
    }
}

enum hypercall_outcome call_v1_cmdval(struct call *call)
{
    struct hermit_v1_cmdval block;

    if (!call_read_block(call, &block, sizeof block))
        return HYPERCALL_DONE;
    copy_strings(call, block.argv, &call->context->arguments);
    copy_strings(call, block.envp, &call->context->environment);
    return HYPERCALL_DONE;
}
