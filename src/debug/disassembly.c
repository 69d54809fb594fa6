#include "debug/disassembly.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef HAVE_ZYDIS

#include <Zydis/Zydis.h>

#define LIBRARY "libZydis.so.4.0"

struct disassembler {
    void *library;
    ZyanStatus (*decode)(ZydisMachineMode mode, ZyanU64 address, const void *code, ZyanUSize size,
                         ZydisDisassembledInstruction *instruction);
};

struct disassembler *disassembler_open(void)
{
    struct disassembler *made = calloc(1, sizeof *made);
    if (!made)
        return NULL;
    /* It stays for the next VM. */
    made->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *symbol = made->library ? dlsym(made->library, "ZydisDisassembleIntel") : NULL;
    if (!symbol) {
        disassembler_close(made);
        return NULL;
    }
    made->decode = (__typeof__(made->decode))symbol;
    return made;
}

void disassembler_close(struct disassembler *disassembler)
{
    if (disassembler && disassembler->library)
        dlclose(disassembler->library);
    free(disassembler);
}

size_t disassemble(const struct disassembler *disassembler, uint64_t address, const uint8_t *code,
                   size_t size, char text[DISASSEMBLY_TEXT])
{
    ZydisDisassembledInstruction instruction;
    if (!ZYAN_SUCCESS(
            disassembler->decode(ZYDIS_MACHINE_MODE_LONG_64, address, code, size, &instruction)))
        return 0;
    snprintf(text, DISASSEMBLY_TEXT, "%s", instruction.text);
    return instruction.info.length;
}

#else

struct disassembler *disassembler_open(void)
{
    return NULL;
}

void disassembler_close(struct disassembler *disassembler)
{
}

size_t disassemble(const struct disassembler *disassembler, uint64_t address, const uint8_t *code,
                   size_t size, char text[DISASSEMBLY_TEXT])
{
    return 0;
}

#endif
