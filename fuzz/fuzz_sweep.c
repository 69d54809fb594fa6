/*
 * The sweep and the patches on arbitrary bytes as code. The first byte chooses between ways to
 * place trampolines, the second and third a symbol. Whatever is patched, the rules hold that the
 * engine relies on.
 */
#include <stdlib.h>
#include <string.h>

#include "accel/direct/patch/plan.h"
#include "fuzz.h"
#include "input.h"

#ifdef HAVE_ZYDIS
#include <Zydis/Zydis.h>
#endif

#define BASE      UINT64_C(0x400000)
#define AREA      UINT64_C(0x10000000)
#define STATE     UINT64_C(0x10100000)
#define AREA_SIZE 0x10000
#define CODE_MAX  4096

static bool read_guest(void *context, uint64_t address, uint64_t *value)
{
    *value = address;
    return true;
}

/* Two decoders that take the bytes for an instruction must agree on its length. */
static void check_lengths(const uint8_t *code, size_t size)
{
    for (size_t at = 0; at < size; at++) {
        struct decode_insn insn;
        if (!decode(code + at, size - at, &insn))
            continue;
        require(insn.length > 0 && insn.length <= DECODE_MAX_LENGTH && insn.length <= size - at);
#ifdef HAVE_ZYDIS
        ZydisDecoder zydis;
        ZydisDecodedInstruction other;
        ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zydis, NULL, code + at, size - at, &other)))
            require(insn.length == other.length);
#endif
    }
}

/* Every address in a trampoline leads to an instruction of its patch, or nowhere. */
static void check_settling(const struct patch_table *table)
{
    for (uint64_t rip = AREA; rip < AREA + table->area_used; rip++) {
        struct trampoline_registers registers = {.rip = rip, .rsp = 0x1000};
        if (!trampoline_settle(table, &registers, read_guest, NULL))
            continue;
        const struct patch *at = patch_find(table, registers.rip);
        const struct patch *before = patch_find(table, registers.rip - 1);
        require((at && at->step_count > 0) || (before && before->step_count > 0));
        require(registers.rsp - 0x1000 + 8 <= 16);
    }
}

static void check_table(const struct patch_table *table, const uint8_t *code, size_t size,
                        const uint8_t *before)
{
    uint8_t restored[CODE_MAX];
    uint64_t behind = BASE;
    for (size_t i = 0; i < table->count; i++) {
        const struct patch *patch = &table->list[i];
        require(patch->address >= behind && patch->length > 0);
        behind = patch->address + patch->length;
        require(behind <= BASE + size && patch->length <= PATCH_BYTES_MAX);
        require(patch->step_count <= PATCH_STEPS_MAX);
        require(patch->step_count == 0 || patch->length >= 5);
        require(patch->trampoline + patch->size <= AREA_SIZE);
        require(patch_find(table, patch->address) == patch);
        require(patch_find(table, behind - 1) == patch);
    }
    memcpy(restored, code, size);
    patch_original(table, BASE, restored, size);
    require(memcmp(restored, before, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > CODE_MAX)
        return 0;
    uint8_t code[CODE_MAX];
    uint8_t *area_bytes = malloc(AREA_SIZE);
    struct sweep_symbol symbol = {BASE + data[1], data[2] & 0x7F, data[2] >> 7};
    struct plan_area area = {
        .target = {data[0] % 3, STATE},
        .bytes = area_bytes,
        .size = data[0] & 0x40 ? 2 * TRAMPOLINE_SIZE_MAX : AREA_SIZE,
        .address = AREA,
    };
    size -= 3;
    memcpy(code, data + 3, size);
    require(area_bytes);
    check_lengths(code, size);
    struct plan_range range = {0, size};
    struct plan_image image = {code, size, BASE, &range, 1, {&symbol, data[0] >> 7}};
    struct patch_table *table;
    if (plan_make(&image, &area, &table, NULL, NULL) == 0) {
        check_table(table, code, size, data + 3);
        check_settling(table);
        free(table);
    }
    free(area_bytes);
    return 0;
}
