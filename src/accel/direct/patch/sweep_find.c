#include <errno.h>
#include <stdlib.h>

#include "accel/direct/patch/sweep.h"

int sweep_find(const uint8_t *code, size_t size, uint64_t address,
               const struct sweep_symbols *symbols, struct sweep_site *sites, size_t max,
               size_t *count)
{
    struct sweep sweep;
    if (size > UINT32_MAX)
        return -E2BIG;
    uint64_t *bits = malloc(SWEEP_BITS_WORDS(size) * sizeof *bits);
    if (!bits)
        return -ENOMEM;
    sweep_start(&sweep, code, (uint32_t)size, address, bits, sites, max);
    sweep_range(&sweep, 0, size, symbols);
    sweep_prove(&sweep);
    *count = sweep.count;
    free(bits);
    return *count > max ? -ENOSPC : 0;
}
