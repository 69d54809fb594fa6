#include "debug/guest_view.h"

#include "debug/demangle.h"

/* Longer names (generic code nests them deeply) are cut. */
#define NAME_SHOWN 240

static bool in_kernel(const struct guest_view *view, gva_t address)
{
    return address >= view->kernel_start && address < view->kernel_end;
}

bool guest_view_is_code(const struct guest_view *view, gva_t address)
{
    return in_kernel(view, address) &&
           (!view->symbols || symbols_is_executable(view->symbols, address - view->load_offset));
}

/*
 * Length of an indirect near call, FF /2, from its first two or three bytes: opcode, ModRM and, if
 * that asks for it, SIB (AMD64 Architecture Programmer's Manual volume 3, sections 1.4 and 3).
 * 0 for anything else.
 */
static size_t indirect_call_length(const uint8_t *code)
{
    unsigned mod = code[1] >> 6, reg = code[1] >> 3 & 7, rm = code[1] & 7;
    if (code[0] != 0xff || reg != 2)
        return 0;
    if (mod == 3)
        return 2;
    size_t length = 2 + (rm == 4); /* with SIB */
    if (mod == 1)
        return length + 1;
    if (mod == 2 || rm == 5 || (rm == 4 && (code[2] & 7) == 5))
        return length + 4;
    return length;
}

bool guest_view_follows_call(const struct guest_view *view, gva_t address)
{
    enum { LONGEST = 7, RELATIVE = 5 };
    /* The bytes before `address`, as many as can be read, and a zero for the SIB byte that a
     * cut-off instruction would have. */
    uint8_t code[LONGEST + 1] = {0};
    for (unsigned back = 1; back <= LONGEST; back++) {
        const uint8_t *at = &code[LONGEST - back];
        if (address < back || !view->read(view->context, address - back, &code[LONGEST - back], 1))
            break;
        if (back == RELATIVE && *at == 0xe8) {
            uint32_t distance = at[1] | (uint32_t)at[2] << 8 | (uint32_t)at[3] << 16 |
                                (uint32_t)at[4] << 24;
            if (guest_view_is_code(view, address + (uint64_t)(int64_t)(int32_t)distance))
                return true;
        }
        if (back >= 2 && indirect_call_length(at) == back)
            return true;
    }
    return false;
}

void guest_view_describe(const struct guest_view *view, gva_t address, gva_t lookup,
                         struct text *text)
{
    char source[DEMANGLE_MAX];
    uint64_t offset;
    if (!in_kernel(view, lookup))
        return;
    const char *name = view->symbols
                           ? symbols_find(view->symbols, lookup - view->load_offset, &offset)
                           : NULL;
    if (name)
        text_printf(text, " %.*s+0x%llx", NAME_SHOWN, demangle(name, source),
                    (unsigned long long)(offset + (address - lookup)));
    if (view->load_offset)
        text_printf(text, " (image 0x%llx)", (unsigned long long)(address - view->load_offset));
}
