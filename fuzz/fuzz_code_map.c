/* Where an arbitrary file says it has code: in bounds and in order, or not at all. */
#include <stdlib.h>
#include <string.h>

#include "accel/direct/patch/code_map.h"
#include "fuzz.h"
#include "input.h"

#define START   UINT64_C(0x800000)
#define SIZE    UINT64_C(0x10000)
#define ADDRESS UINT64_C(0x400000)

static int read_input(const void *context, uint64_t offset, void *to, size_t size)
{
    memcpy(to, (const uint8_t *)context + offset, size);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct code_map map;
    const struct code_map_file file = {read_input, data, size};
    if (code_map_read(&map, &file, START, SIZE, ADDRESS) == 0) {
        size_t end = 0;
        require(map.range_count <= CODE_MAP_RANGES);
        for (size_t i = 0; i < map.range_count; i++) {
            require(map.ranges[i].offset >= end && map.ranges[i].size > 0);
            end = map.ranges[i].offset + map.ranges[i].size;
            require(end <= SIZE && end > map.ranges[i].offset);
        }
        for (size_t i = 0; i < map.symbol_count; i++) {
            require(map.symbols[i].address - ADDRESS < SIZE);
            require(i == 0 || map.symbols[i - 1].address <= map.symbols[i].address);
        }
    }
    code_map_free(&map);
    return 0;
}
