/*
 * Fuzz target: guest memory full of hostile page tables. The walk must stay inside memory, and what
 * it finds must be consistent within the page it found.
 *
 * Input: a byte that selects where memory starts, CR3, a guest-virtual address, then memory.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/boot.h"
#include "arch/x86_64/paging.h"
#include "fuzz.h"
#include "input.h"

#define MEMORY_SIZE (32 * 1024)

static void check_translation(const struct ram *ram, uint64_t cr3, gva_t gva)
{
    gpa_t gpa, last;
    uint64_t size, rest;

    if (!paging_translate(ram, cr3, gva, &gpa, &size))
        return;
    require(gva < UINT64_C(1) << 47 || gva >= UINT64_MAX << 47); /* canonical */
    require(size >= 1 && size <= UINT64_C(1) << 30);
    require(gpa % 4096 == gva % 4096);
    require(gpa + size > gpa && (gpa + size) % 4096 == 0 && gpa + size <= UINT64_C(1) << 52);
    /* The last byte of the page is in the same page. */
    require(paging_translate(ram, cr3, gva + size - 1, &last, &rest));
    require(last == gpa + size - 1 && rest == 1);
}

static void check_exception(const struct ram *ram, uint64_t cr3, gva_t stack)
{
    const struct layout layout = {.idt = 0x6000, .exception_stubs = 0x7000};
    for (unsigned vector = 13; vector < 17; vector++) {
        struct x86_state state = {.cr3 = cr3, .rip = 0x7000 + 8 * vector, .idt.base = 0x6000};
        struct x86_exception exception;
        state.gpr[X86_RSP] = stack;
        if (x86_boot_exception(ram, &layout, &state, &exception))
            require(exception.vector == vector);
        else
            require(state.gpr[X86_RSP] == stack);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const gpa_t bases[] = {0, 0x10000, UINT64_C(0x100000000)};
    uint64_t cr3;
    gva_t gva;
    size_t header = 1 + sizeof cr3 + sizeof gva;

    if (size < header)
        return 0;
    memcpy(&cr3, bytes + 1, sizeof cr3);
    memcpy(&gva, bytes + 1 + sizeof cr3, sizeof gva);
    struct ram ram = {
        .base = bases[bytes[0] % 3],
        .size = MEMORY_SIZE,
        .host = calloc(1, MEMORY_SIZE),
    };
    require(ram.host != NULL);
    size_t content = size - header < MEMORY_SIZE ? size - header : MEMORY_SIZE;
    memcpy(ram.host, bytes + header, content);
    check_translation(&ram, cr3, gva);
    check_exception(&ram, cr3, gva);
    free(ram.host);
    return 0;
}
