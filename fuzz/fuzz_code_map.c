/* Where an arbitrary file says it has code: in bounds and in order, or not at all. */
#include <stdlib.h>

#include "accel/direct/patch/code_map.h"
#include "fuzz.h"

#define START   UINT64_C(0x800000)
#define SIZE    UINT64_C(0x10000)
#define ADDRESS UINT64_C(0x400000)

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct code_map map;
    if (code_map_read(&map, data, size, START, SIZE, ADDRESS) == 0) {
        size_t end = 0;
        check(map.range_count <= CODE_MAP_RANGES);
        for (size_t i = 0; i < map.range_count; i++) {
            check(map.ranges[i].offset >= end && map.ranges[i].size > 0);
            end = map.ranges[i].offset + map.ranges[i].size;
            check(end <= SIZE && end > map.ranges[i].offset);
        }
        for (size_t i = 0; i < map.symbol_count; i++) {
            check(map.symbols[i].address - ADDRESS < SIZE);
            check(i == 0 || map.symbols[i - 1].address <= map.symbols[i].address);
        }
    }
    code_map_free(&map);
    return 0;
}
