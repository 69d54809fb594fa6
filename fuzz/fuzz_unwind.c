/* Unwind tables of an image; the input is a file, or if it is none the two sections themselves. */
#include <string.h>

#include "fuzz.h"
#include "image/unwind.h"

static bool read_word(void *context, uint64_t address, uint64_t *word)
{
    *word = address * UINT64_C(0x9e3779b97f4a7c15);
    return address & 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t places[] = {0, 0x1000, 0x1040, 0x401136, UINT64_MAX};
    struct unwind_tables tables;

    unwind_open(&tables, data, size);
    if (!tables.eh_frame.data && !tables.debug_frame.data) {
        tables.eh_frame = (struct image_section){data, size / 2, 0x1000};
        tables.debug_frame = (struct image_section){data + size / 2, size - size / 2, 0};
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct unwind_registers at = {.known = 0x1ffff};
        for (unsigned step = 0; step < 4; step++)
            if (!unwind_step(&tables, places[i] + step, &at, read_word, NULL))
                break;
    }
    return 0;
}
