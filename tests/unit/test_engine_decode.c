/* The decoder of the engine of `direct`: lengths, operands, and what it refuses. */
#include "unit.h"

#include <stdio.h>

#include "accel/direct/engine/decode.h"
#include "accel/direct/engine/device.h"
#include "accel/direct/engine/engine.h"
#include "accel/direct/patch/decode.h"

struct engine engine;

static struct insn insn;

/* The rest of the engine is linked, too. */
void device_access(struct cpu *who, uint64_t gpa, bool write, uint8_t *data, unsigned size)
{
    fail();
}

static bool decodes(const uint8_t *code, unsigned size)
{
    /* What is not there must not matter. */
    uint8_t bytes[INSN_MAX + 1];

    memset(bytes, 0xcc, sizeof bytes);
    memcpy(bytes, code, size);
    return insn_decode(bytes, size, &insn);
}

static void lengths(void **state)
{
    static const struct {
        uint8_t length;
        uint8_t code[INSN_MAX];
    } good[] = {
        {1, {0x90}},
        {1, {0x57}},
        {2, {0x04, 1}},
        {5, {0x3d, 1, 2, 3, 4}},
        {4, {0x66, 0x3d, 1, 2}},
        {2, {0x70, 1}},
        {2, {0xb7, 1}},
        {5, {0xb8, 1, 2, 3, 4}},
        {4, {0x66, 0xbf, 1, 2}},
        {10, {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}},
        {2, {0xd3, 0xe0}},
        {2, {0xdf, 0xe0}},
        {3, {0x48, 0x63, 0xc1}},
        {6, {0x69, 0xc0, 1, 2, 3, 4}},
        {3, {0x6b, 0xc0, 1}},
        {5, {0x68, 1, 2, 3, 4}},
        {2, {0x6a, 1}},
        {2, {0xeb, 1}},
        {5, {0xe8, 1, 2, 3, 4}},
        {9, {0xa0, 1, 2, 3, 4, 5, 6, 7, 8}},
        {6, {0x67, 0xa3, 1, 2, 3, 4}},
        {3, {0xc2, 1, 2}},
        {4, {0xc8, 1, 2, 3}},
        {3, {0xf6, 0xc0, 1}},
        {3, {0xf6, 0xc8, 1}}, /* TEST has two codes */
        {2, {0xf6, 0xd0}},
        {6, {0xf7, 0xc0, 1, 2, 3, 4}},
        {5, {0x66, 0xf7, 0xc0, 1, 2}},
        {2, {0x8f, 0xc0}},
        {2, {0x0f, 0x05}},
        {2, {0x0f, 0xc8}},
        {2, {0x0f, 0x32}},
        {6, {0x0f, 0x80, 1, 2, 3, 4}},
        {3, {0x0f, 0x20, 0x05}}, /* registers, whatever mod is */
        {3, {0x0f, 0x1f, 0x00}},
        {4, {0x0f, 0xba, 0xe0, 1}},
        {5, {0x66, 0x0f, 0x70, 0xc0, 1}},
        {4, {0x0f, 0x38, 0x00, 0xc0}},
        {6, {0x66, 0x0f, 0x3a, 0x0f, 0xc0, 1}},
        {3, {0xc5, 0xf8, 0x77}},
        {4, {0xc5, 0xfc, 0x28, 0xc1}},
        {5, {0xc5, 0xf9, 0x70, 0xc1, 1}},
        {5, {0xc4, 0xe1, 0x78, 0x28, 0xc1}},
        {5, {0xc4, 0xe2, 0x79, 0x18, 0xc1}},
        {6, {0xc4, 0xe3, 0x7d, 0x39, 0xc1, 1}},
        {2, {0x8b, 0x00}},
        {3, {0x8b, 0x40, 1}},
        {6, {0x8b, 0x80, 1, 2, 3, 4}},
        {6, {0x8b, 0x05, 1, 2, 3, 4}},
        {3, {0x8b, 0x04, 0x24}},
        {7, {0x8b, 0x04, 0x25, 1, 2, 3, 4}},
        {4, {0x8b, 0x44, 0x05, 1}},
        {15,
         {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0xf0, 0x48, 0x40, 0x87, 0}},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!decodes(good[i].code, sizeof good[i].code) || insn.length != good[i].length)
            fail_msg("row %zu has %u bytes", i, insn.length);
        assert_true(decodes(good[i].code, good[i].length));
        for (unsigned size = 0; size < good[i].length; size++)
            assert_false(decodes(good[i].code, size));
    }
    const uint8_t endless[INSN_MAX + 1] = {[0 ... INSN_MAX - 1] = 0x2e, [INSN_MAX] = 0x90};
    assert_false(insn_decode(endless, sizeof endless, &insn));
    assert_true(insn_decode(endless + 1, sizeof endless - 1, &insn));
}

static void others_are_refused(void **state)
{
    static const uint8_t bad[][8] = {
        {0x06},
        {0x07},
        {0x27},
        {0x60},
        {0x82, 0xc0, 1},
        {0x9a},
        {0xd4, 1},
        {0xd6},
        {0xea},
        {0x62, 0xf1, 0x7c, 0x48, 0x28, 0xc1}, /* EVEX */
        {0x8f, 0xe9, 0x78, 0xc1, 0xc0},       /* XOP */
        {0x0f, 0x04},                         /* nothing */
        {0x0f, 0x0f, 0xc1, 0x9e},             /* 3DNow! */
        {0x0f, 0x78, 0xc0, 1, 2},             /* with an encoding of its own */
        {0xc4, 0xe0, 0x78, 0x28, 0xc1},       /* VEX maps 0, 4, 31 */
        {0xc4, 0xe4, 0x78, 0x28, 0xc1},
        {0xc4, 0xff, 0x78, 0x28, 0xc1},
        {0xc5, 0xf8, 0x05}, /* no SYSCALL, no CPUID, no jump with VEX */
        {0xc4, 0xe1, 0x78, 0xa2},
        {0xc5, 0xf8, 0x84, 1, 2, 3, 4},
        {0x66, 0xe8, 1, 2, 3, 4}, /* processors differ */
        {0x66, 0xe9, 1, 2, 3, 4},
        {0x66, 0x0f, 0x84, 1, 2, 3, 4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (decodes(bad[i], sizeof bad[i]))
            fail_msg("row %zu was taken", i);
    /* With REX.W the other prefix does not count. */
    assert_true(decodes((const uint8_t[]){0x66, 0x48, 0xe8, 1, 2, 3, 4}, 7));
}

static void operands_in_memory(void **state)
{
    /* mov rax, fs:[r13 + r14 * 8 - 0x80] */
    assert_true(decodes((const uint8_t[]){0x64, 0x4b, 0x8b, 0x44, 0xf5, 0x80}, 6));
    assert_true(insn.memory && insn_rex_w(&insn));
    assert_int_equal(insn.segment, SEGMENT_FS);
    assert_int_equal(insn.base, 13);
    assert_int_equal(insn.index, 14);
    assert_int_equal(insn.scale, 3);
    assert_int_equal(insn.displacement, -0x80);
    assert_int_equal(insn.reg, 0);
    assert_int_equal(insn.size, 8);

    /* mov r9d, gs:[rip - 2] */
    assert_true(decodes((const uint8_t[]){0x65, 0x44, 0x8b, 0x0d, 0xfe, 0xff, 0xff, 0xff}, 8));
    assert_int_equal(insn.segment, SEGMENT_GS);
    assert_int_equal(insn.base, INSN_RIP);
    assert_int_equal(insn.index, INSN_NO_REGISTER);
    assert_int_equal(insn.displacement, -2);
    assert_int_equal(insn.reg, 9);
    assert_int_equal(insn.size, 4);

    /* mov [rsp], ax: no index */
    assert_true(decodes((const uint8_t[]){0x66, 0x89, 0x04, 0x24}, 4));
    assert_int_equal(insn.base, 4);
    assert_int_equal(insn.index, INSN_NO_REGISTER);
    assert_int_equal(insn.size, 2);
    /* r12 as index is one */
    assert_true(decodes((const uint8_t[]){0x42, 0x89, 0x04, 0x24}, 4));
    assert_int_equal(insn.index, 12);

    /* mov [0x12345678], eax: neither base nor index */
    assert_true(decodes((const uint8_t[]){0x89, 0x04, 0x25, 0x78, 0x56, 0x34, 0x12}, 7));
    assert_int_equal(insn.base, INSN_NO_REGISTER);
    assert_int_equal(insn.displacement, 0x12345678);

    /* movabs al, [...] */
    assert_true(decodes((const uint8_t[]){0xa0, 8, 7, 6, 5, 4, 3, 2, 1}, 9));
    assert_true(insn.displacement == INT64_C(0x0102030405060708));
    assert_true(decodes((const uint8_t[]){0x67, 0xa0, 8, 7, 6, 0x85}, 6));
    assert_true(insn.displacement == -INT64_C(0x7af9f8f8));
}

static void prefixes_and_immediates(void **state)
{
    /* A REX prefix counts only right before the opcode. */
    assert_true(decodes((const uint8_t[]){0x4f, 0x66, 0x8b, 0xc0}, 4));
    assert_int_equal(insn.rex, 0);
    assert_int_equal(insn.prefix, PREFIX_66);
    assert_true(decodes((const uint8_t[]){0xf2, 0xf3, 0x0f, 0x10, 0xc1}, 5)); /* the last one */
    assert_int_equal(insn.prefix, PREFIX_F3);
    assert_true(insn.rep && !insn.repne);
    assert_true(decodes((const uint8_t[]){0xf3, 0x66, 0xf2, 0x0f, 0x10, 0xc1}, 6));
    assert_int_equal(insn.prefix, PREFIX_F2);
    assert_true(insn.repne && !insn.rep);
    assert_true(decodes((const uint8_t[]){0xf0, 0x0f, 0xb1, 0x00}, 4));
    assert_true(insn.lock);
    assert_int_equal(insn.prefix, PREFIX_NONE);

    assert_true(decodes((const uint8_t[]){0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff}, 7));
    assert_int_equal(insn.immediate, -1);
    assert_true(decodes((const uint8_t[]){0x83, 0xc0, 0x80}, 3));
    assert_int_equal(insn.immediate, -128);
    assert_true(decodes((const uint8_t[]){0xc2, 0xff, 0x7f}, 3));
    assert_int_equal(insn.immediate, 0x7fff);

    /* vmovdqu ymm9, [r8 + r10] and its registers, inverted as they are in the prefix */
    assert_true(decodes((const uint8_t[]){0xc4, 0x01, 0x7e, 0x6f, 0x0c, 0x10}, 6));
    assert_true(insn.vex);
    assert_int_equal(insn.map, MAP_0F);
    assert_int_equal(insn.prefix, PREFIX_F3);
    assert_int_equal(insn.vex_length, 32);
    assert_int_equal(insn.vex_register, 0);
    assert_int_equal(insn.reg, 9);
    assert_int_equal(insn.base, 8);
    assert_int_equal(insn.index, 10);
    /* vaddps xmm1, xmm14, xmm2; and one with W */
    assert_true(decodes((const uint8_t[]){0xc5, 0x88, 0x58, 0xca}, 4));
    assert_int_equal(insn.vex_register, 14);
    assert_int_equal(insn.vex_length, 16);
    assert_int_equal(insn.reg, 1);
    assert_int_equal(insn.rm, 2);
    assert_true(decodes((const uint8_t[]){0xc4, 0xe1, 0xf9, 0x6e, 0xc0}, 5)); /* vmovq */
    assert_true(insn_rex_w(&insn));
    assert_int_equal(insn.size, 8);
}

/* The two decoders were written apart. Where both take something, it has one length, unless there
 * is no such instruction: moves to and from control and debug registers with VEX. */
static void both_decoders_agree(void **state)
{
    static const uint8_t starts[][2] = {{0x0f}, {0x66, 0x0f}, {0xc4}, {0xc5}, {0x48}, {0x67}};
    unsigned both = 0;

    srand(2);
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t code[INSN_MAX + 1];
        struct decode_insn other;
        for (size_t k = 0; k < sizeof code; k++)
            code[k] = (uint8_t)(rand() >> 8);
        const uint8_t *start = starts[i % 8 < 6 ? i % 8 : 0];
        if (i % 8 < 6)
            memcpy(code, start, start[1] ? 2 : 1);
        if (code[0] == 0xc4)
            code[1] = (code[1] & 0xe0) | (1 + i % 3);
        if (!insn_decode(code, sizeof code, &insn) || !decode(code, sizeof code, &other))
            continue;
        if (insn.vex && insn.map == MAP_0F && insn.opcode >= 0x20 && insn.opcode <= 0x23)
            continue;
        both++;
        if (insn.length != other.length)
            fail_msg("%02x %02x %02x %02x: %u or %u bytes", code[0], code[1], code[2], code[3],
                     insn.length, other.length);
    }
    assert_true(both > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(operands_in_memory),
        cmocka_unit_test(prefixes_and_immediates),
        cmocka_unit_test(both_decoders_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
