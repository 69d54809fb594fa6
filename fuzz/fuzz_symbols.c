/* The symbol reader on arbitrary files: whatever it accepts must be in order and printable. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "image/symbols.h"
#include "input.h"

static void check_function(const struct symbols *symbols, size_t i)
{
    const struct symbol *function = &symbols->functions[i];
    uint64_t offset;
    require(i == 0 || symbols->functions[i - 1].address < function->address);
    require(symbols_is_executable(symbols, function->address));
    require(function->size == 0 ||
            symbols_is_executable(symbols, function->address + (function->size - 1)));
    const char *name = symbols_find(symbols, function->address, &offset);
    require(name && offset == 0);
    for (size_t k = 0; name[k]; k++)
        require(name[k] >= ' ' && name[k] <= '~');
    symbols_find(symbols, function->address - 1, &offset);
    symbols_find(symbols, function->address + function->size, &offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct symbols symbols;
    if (symbols_read(&symbols, data, size) == 0)
        for (size_t i = 0; i < symbols.count; i++)
            check_function(&symbols, i);
    symbols_free(&symbols);
    return 0;
}
