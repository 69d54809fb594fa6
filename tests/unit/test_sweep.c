/* Instruction boundaries, sensitive instructions, and when the sweep is sure of them. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "accel/direct/patch/code_map.h"
#include "accel/direct/patch/sweep.h"
#include "patch_image.h"

#ifdef HAVE_ZYDIS
#include <Zydis/Zydis.h>
#endif

#define BASE UINT64_C(0x400000)
#define MAX  64

static void lengths(void **state)
{
    static const struct {
        uint8_t length;
        uint8_t code[15];
    } good[] = {
        {1, {0x90}},
        {2, {0x31, 0xC0}},
        {3, {0x48, 0x89, 0xC8}},
        {7, {0x48, 0x8D, 0x05, 1, 2, 3, 4}},
        {7, {0x8B, 0x04, 0x25, 1, 2, 3, 4}},
        {8, {0x48, 0x8B, 0x84, 0x24, 1, 2, 3, 4}},
        {10, {0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8}},
        {5, {0xB8, 1, 2, 3, 4}},
        {4, {0x66, 0xB8, 1, 2}},
        {9, {0xA1, 1, 2, 3, 4, 5, 6, 7, 8}},
        {6, {0x67, 0xA1, 1, 2, 3, 4}},
        {3, {0xF6, 0xC4, 2}},
        {2, {0xF6, 0xDC}},
        {6, {0xF7, 0xC1, 1, 2, 3, 4}},
        {5, {0x66, 0xF7, 0xC1, 1, 2}},
        {7, {0x66, 0xF2, 0x0F, 0x78, 0xC0, 1, 2}},       /* insertq, with one prefix too many */
        {5, {0x0F, 0x38, 0x00, 0x04, 0x24}},             /* pshufb */
        {4, {0xC5, 0xF9, 0x6E, 0x00}},                   /* vmovd */
        {5, {0xC4, 0xE2, 0x79, 0x18, 0x00}},             /* vbroadcastss */
        {7, {0x62, 0xF2, 0x7D, 0x48, 0x18, 0x40, 1}},    /* evex vbroadcastss */
        {7, {0x62, 0xF3, 0x7D, 0x48, 0x39, 0xC1, 1}},    /* evex vextracti32x4 */
        {6, {0x62, 0xF5, 0x7C, 0x48, 0x58, 0xC1}},       /* evex vaddph */
        {6, {0x62, 0xF6, 0x7D, 0x48, 0x98, 0xC1}},       /* evex vfmadd132ph */
        {6, {0x8F, 0xE8, 0x78, 0xC0, 0xC1, 3}},          /* xop vprotb */
        {9, {0x8F, 0xEA, 0x78, 0x10, 0xC1, 1, 2, 3, 4}}, /* xop bextr */
        {6, {0xC7, 0xF8, 1, 2, 3, 4}},                   /* xbegin */
        {5, {0x66, 0xC7, 0xF8, 1, 2}},
        {2, {0xF7, 0xD9}},
        {4, {0xC8, 1, 2, 3}},
        {3, {0xC2, 1, 2}},
        {2, {0x8F, 0xC0}},
        {5, {0x8F, 0xE9, 0x78, 0xC1, 0xC0}},          /* xop vphaddbw */
        {4, {0xC5, 0xF8, 0x28, 0xC1}},                /* vmovaps */
        {3, {0xC5, 0xF8, 0x77}},                      /* vzeroupper */
        {5, {0xC5, 0xF9, 0x70, 0xC1, 3}},             /* vpshufd */
        {6, {0xC4, 0xE3, 0x7D, 0x39, 0xC1, 1}},       /* vextracti128 */
        {6, {0x62, 0xF1, 0x7C, 0x48, 0x28, 0xC1}},    /* evex vmovaps */
        {7, {0x62, 0xF1, 0x7D, 0x48, 0x72, 0xE1, 3}}, /* evex vpsrad */
        {6, {0x66, 0x0F, 0x78, 0xC0, 1, 2}},          /* extrq */
        {4, {0x0F, 0x0F, 0xC1, 0x9E}},                /* 3DNow! */
        {3, {0x0F, 0x20, 0x05}},                      /* mov cr: mod counts as 3 */
        {6, {0x66, 0x0F, 0x3A, 0x0F, 0xC1, 4}},
        {15, {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x2E, 0x0F, 0x1F, 0x84}},
    };
    static const uint8_t bad[][4] = {{0x06},
                                     {0x27},
                                     {0x60},
                                     {0x82, 0xC0, 1},
                                     {0x9A},
                                     {0xD4, 1},
                                     {0xEA},
                                     {0xFF, 0xF8},
                                     {0x0F, 0x04},
                                     {0xFE, 0xD0},
                                     {0x8F, 0xC8},
                                     {0xC6, 0xC8, 1},
                                     {0xC4, 0xE0, 0x78, 0x28}, /* vex maps 0, 4 */
                                     {0xC4, 0xE4, 0x78, 0x28},
                                     {0xC5, 0xF8, 0x80, 0xC0}, /* no conditional jump */
                                     {0x8F, 0xEB, 0x78, 0xC0}, /* xop map 11 */
                                     {0x62, 0xF9, 0x7C, 0x48}, /* evex: a bit that is 0, one 1 */
                                     {0x62, 0xF1, 0x78, 0x48},
                                     {0x62, 0xF0, 0x7C, 0x48}, /* evex map 0 */
                                     {0x62, 0xF1, 0x7C, 0x77}};
    struct decode_insn insn;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(decode(good[i].code, sizeof good[i].code, &insn));
        assert_int_equal(insn.length, good[i].length);
        assert_true(decode(good[i].code, good[i].length, &insn));
        for (size_t size = 0; size < good[i].length; size++)
            assert_false(decode(good[i].code, size, &insn));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(decode(bad[i], sizeof bad[i], &insn));
    static const uint8_t no_vzeroupper[] = {0x62, 0xF1, 0x7C, 0x48, 0x77, 0xC0, 0xC0};
    assert_false(decode(no_vzeroupper, sizeof no_vzeroupper, &insn));
    static const uint8_t endless[16] = {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                        0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90};
    assert_false(decode(endless, sizeof endless, &insn));
}

static void targets(void **state)
{
    static const uint8_t short_back[] = {0x74, 0xFE}, near[] = {0x0F, 0x85, 0, 1, 0, 0},
                         call[] = {0xE8, 0xFB, 0xFF, 0xFF, 0xFF};
    struct decode_insn insn;
    assert_true(decode(short_back, sizeof short_back, &insn));
    assert_int_equal(insn.flow, DECODE_BRANCH);
    assert_int_equal(decode_target(&insn, short_back, BASE), BASE);
    assert_true(decode(near, sizeof near, &insn));
    assert_int_equal(insn.flow, DECODE_BRANCH);
    assert_int_equal(decode_target(&insn, near, BASE), BASE + 0x106);
    assert_true(decode(call, sizeof call, &insn));
    assert_int_equal(insn.flow, DECODE_CALL);
    assert_int_equal(decode_target(&insn, call, BASE), BASE);
}

static void kinds(void **state)
{
    static const struct {
        enum sweep_kind kind;
        uint8_t code[8];
    } cases[] = {
        {SWEEP_PUSHF, {0x9C}},
        {SWEEP_PUSHF, {0x66, 0x9C}},
        {SWEEP_POPF, {0x9D}},
        {SWEEP_CLI, {0xFA}},
        {SWEEP_STI, {0xFB}},
        {SWEEP_CPUID, {0x0F, 0xA2}},
        {SWEEP_READ_SEGMENT, {0x8C, 0xC8}},        /* mov %cs, %eax */
        {SWEEP_READ_SEGMENT, {0x66, 0x8C, 0x18}},  /* mov %ds, (%rax) */
        {SWEEP_READ_SEGMENT, {0x0F, 0xA0}},        /* push %fs */
        {SWEEP_LOAD_SEGMENT, {0x8E, 0xD8}},        /* mov %eax, %ds */
        {SWEEP_LOAD_SEGMENT, {0x0F, 0xA9}},        /* pop %gs */
        {SWEEP_LOAD_SEGMENT, {0x0F, 0xB2, 0x20}},  /* lss */
        {SWEEP_READ_TABLE, {0x0F, 0x00, 0xC0}},    /* sldt */
        {SWEEP_READ_TABLE, {0x0F, 0x00, 0xC8}},    /* str */
        {SWEEP_READ_TABLE, {0x0F, 0x01, 0x00}},    /* sgdt */
        {SWEEP_READ_TABLE, {0x0F, 0x01, 0x08}},    /* sidt */
        {SWEEP_READ_TABLE, {0x0F, 0x01, 0xE0}},    /* smsw */
        {SWEEP_PROBE_SEGMENT, {0x0F, 0x02, 0xC1}}, /* lar */
        {SWEEP_PROBE_SEGMENT, {0x0F, 0x03, 0xC1}}, /* lsl */
        {SWEEP_PROBE_SEGMENT, {0x0F, 0x00, 0xE0}}, /* verr */
        {SWEEP_PROBE_SEGMENT, {0x0F, 0x00, 0xE8}}, /* verw */
        {SWEEP_SYSTEM_CALL, {0x0F, 0x05}},         /* syscall */
        {SWEEP_SYSTEM_CALL, {0x0F, 0x34}},         /* sysenter */
        {SWEEP_SYSTEM_CALL, {0xCD, 0x80}},         /* int 0x80 */
        {SWEEP_FAR_TRANSFER, {0x48, 0xCF}},        /* iretq */
        {SWEEP_FAR_TRANSFER, {0x48, 0xCB}},        /* retfq */
        {SWEEP_FAR_TRANSFER, {0xFF, 0x28}},        /* far jmp */
        {SWEEP_RDTSCP, {0x0F, 0x01, 0xF9}},
        {SWEEP_RDPID, {0xF3, 0x0F, 0xC7, 0xF8}},
        {SWEEP_NONE, {0xCC}},                         /* int3 */
        {SWEEP_NONE, {0xF4}},                         /* hlt traps */
        {SWEEP_EXTENDED, {0x0F, 0x01, 0xD0}},         /* xgetbv */
        {SWEEP_EXTENDED, {0x48, 0x0F, 0xAE, 0x27}},   /* xsave64 */
        {SWEEP_EXTENDED, {0x0F, 0xAE, 0x2F}},         /* xrstor */
        {SWEEP_EXTENDED, {0x0F, 0xAE, 0x37}},         /* xsaveopt */
        {SWEEP_EXTENDED, {0x0F, 0xC7, 0x27}},         /* xsavec */
        {SWEEP_NONE, {0x66, 0x0F, 0xAE, 0x37}},       /* clwb */
        {SWEEP_NONE, {0x0F, 0xAE, 0xE8}},             /* lfence */
        {SWEEP_NONE, {0x0F, 0xAE, 0x07}},             /* fxsave */
        {SWEEP_NONE, {0xF0, 0x48, 0x0F, 0xC7, 0x0F}}, /* cmpxchg16b */
        {SWEEP_HYPERCALL, {0x0F, 0x01, 0xC1}},        /* vmcall */
        {SWEEP_HYPERCALL, {0x0F, 0x01, 0xD9}},        /* vmmcall */
        {SWEEP_NONE, {0x0F, 0x01, 0x10}},             /* lgdt traps */
        {SWEEP_NONE, {0x0F, 0x00, 0xD8}},             /* ltr traps */
        {SWEEP_NONE, {0x0F, 0x31}},                   /* rdtsc */
        {SWEEP_NONE, {0xFF, 0xE0}},                   /* near jmp */
        {SWEEP_NONE, {0x0F, 0xC7, 0xF8}},             /* rdseed */
        {SWEEP_NONE, {0xC5, 0xF9, 0x9C, 0xC0}},       /* 9C as a vector opcode */
        {SWEEP_NONE, {0x8C, 0xF0}},                   /* there are six segment registers */
        {SWEEP_NONE, {0x8E, 0xF0}},
        {SWEEP_NONE, {0x8E, 0xC8}},         /* mov %eax, %cs: undefined */
        {SWEEP_FAR_TRANSFER, {0xFF, 0x18}}, /* far call */
        {SWEEP_NONE, {0xFF, 0xD8}},         /* not with registers */
        {SWEEP_NONE, {0xFF, 0xE8}},
        {SWEEP_NONE, {0x0F, 0x01, 0xC8}},       /* monitor traps */
        {SWEEP_NONE, {0x0F, 0xAE, 0x3F}},       /* clflush */
        {SWEEP_NONE, {0x66, 0x0F, 0xC7, 0x30}}, /* vmclear, vmxon trap */
        {SWEEP_NONE, {0xF3, 0x0F, 0xC7, 0x30}},
        {SWEEP_NONE, {0x66, 0x0F, 0xC7, 0xF8}}, /* rdseed %ax */
    };
    struct decode_insn insn;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(decode(cases[i].code, sizeof cases[i].code, &insn));
        assert_int_equal(sweep_classify(&insn), cases[i].kind);
    }
}

static struct sweep_site sites[MAX];

static size_t find(const uint8_t *code, size_t size, const struct sweep_symbols *symbols)
{
    size_t count = 0;
    memset(sites, 0, sizeof sites);
    assert_int_equal(sweep_find(code, size, BASE, symbols, sites, MAX, &count), 0);
    return count;
}

static void only_whole_instructions_are_found(void **state)
{
    /* mov $0x9d9c9d9c, %eax; pushfq; ret */
    static const uint8_t code[] = {0xB8, 0x9C, 0x9D, 0x9C, 0x9D, 0x9C, 0xC3};
    assert_int_equal(find(code, sizeof code, NULL), 1);
    assert_int_equal(sites[0].address, BASE + 5);
    assert_int_equal(sites[0].kind, SWEEP_PUSHF);
    assert_int_equal(sites[0].length, 1);
    assert_true(sites[0].proven);
}

static void undecodable_runs_prove_nothing(void **state)
{
    /* A run with data in it, then a function on the next boundary. */
    uint8_t code[32] = {0x9C, 0x58, 0x06, 0xFA, 0xC3};
    memset(code + 5, 0xCC, 11);
    memcpy(code + 16, (const uint8_t[]){0xFA, 0x75, 0xFD, 0xC3}, 4);
    memset(code + 20, 0xCC, 12);
    assert_int_equal(find(code, sizeof code, NULL), 3);
    assert_false(sites[0].proven);
    assert_false(sites[1].proven);
    assert_int_equal(sites[2].address, BASE + 16);
    assert_true(sites[2].proven);
}

static void a_run_nobody_refers_to_is_doubtful(void **state)
{
    uint8_t code[48];
    memset(code, 0xCC, sizeof code);
    memcpy(code, (const uint8_t[]){0xE8, 27, 0, 0, 0, 0xC3}, 6); /* call 32 */
    memcpy(code + 16, (const uint8_t[]){0x9C, 0x58, 0xC3}, 3);
    memcpy(code + 32, (const uint8_t[]){0x9C, 0x58, 0xC3}, 3);
    assert_int_equal(find(code, sizeof code, NULL), 2);
    assert_false(sites[0].proven);
    assert_true(sites[1].proven);
    struct sweep_symbol symbol = {BASE + 16, 3, true};
    struct sweep_symbols symbols = {&symbol, 1};
    assert_int_equal(find(code, sizeof code, &symbols), 2);
    assert_true(sites[0].proven && sites[1].proven);
}

static void a_branch_into_an_instruction_proves_otherwise(void **state)
{
    uint8_t code[32];
    memset(code, 0xCC, sizeof code);
    memcpy(code, (const uint8_t[]){0xE8, 12, 0, 0, 0, 0xC3}, 6); /* call 17, into the mov */
    memcpy(code + 16, (const uint8_t[]){0xB8, 1, 0, 0, 0, 0x9C, 0x58, 0xC3}, 8);
    struct sweep_symbol list[] = {{BASE, 6, true}, {BASE + 16, 8, true}};
    struct sweep_symbols symbols = {list, 2};
    assert_int_equal(find(code, sizeof code, &symbols), 1);
    assert_false(sites[0].proven);
    code[1] = 11;
    assert_int_equal(find(code, sizeof code, &symbols), 1);
    assert_true(sites[0].proven);
}

static void symbols_bring_the_sweep_into_step(void **state)
{
    /* Data that ends with the start of a long instruction, then a function. */
    static const uint8_t code[] = {0xC3, 0x9C, 0x48, 0xB8, 0x9C, 0x58, 0xFA, 0xC3};
    struct sweep_symbol list[] = {{BASE + 4, 4, true}};
    struct sweep_symbols symbols = {list, 1};
    assert_int_equal(find(code, sizeof code, &symbols), 3);
    assert_false(sites[0].proven);
    assert_int_equal(sites[1].address, BASE + 4);
    assert_true(sites[1].proven);
    struct sweep_symbol all_data[] = {{BASE + 1, 100, false}, {BASE + 4, 4, true}};
    symbols = (struct sweep_symbols){all_data, 2};
    assert_int_equal(find(code, sizeof code, &symbols), 0);
    struct sweep_symbol with_data[] = {{BASE + 1, 3, false}, {BASE + 4, 4, true}};
    symbols = (struct sweep_symbols){with_data, 2};
    assert_int_equal(find(code, sizeof code, &symbols), 2);
    assert_int_equal(sites[0].address, BASE + 4);
}

static void more_sites_than_room(void **state)
{
    uint8_t code[200];
    size_t count = 0;
    memset(code, 0x9C, sizeof code);
    assert_int_equal(sweep_find(code, sizeof code, BASE, NULL, sites, MAX, &count), -ENOSPC);
    assert_int_equal(count, sizeof code);
    assert_int_equal(sites[MAX - 1].address, BASE + MAX - 1);
}

#ifdef HAVE_ZYDIS
static ZydisDecoder zydis;

static void check_length(const uint8_t *code, size_t size)
{
    ZydisDecodedInstruction other;
    struct decode_insn insn;
    if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zydis, NULL, code, size, &other)) &&
        decode(code, size, &insn))
        assert_int_equal(insn.length, other.length);
}

static void random_bytes_have_the_same_length(void **state)
{
    srand(1);
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t code[16];
        for (size_t k = 0; k < sizeof code; k++)
            code[k] = (uint8_t)(rand() >> 8);
        switch (i % 6) {
        case 0:
            code[0] = 0x0F;
            break;
        case 1:
            code[0] = 0x66;
            code[1] = 0x0F;
            break;
        case 2:
            code[0] = 0xC4;
            code[1] = (code[1] & 0xE0) | (1 + i % 3);
            break;
        case 3:
            code[0] = 0x62;
            code[1] = (code[1] & 0xF0) | (1 + i % 6);
            code[2] |= 4;
            break;
        default:
            break;
        }
        check_length(code, sizeof code);
    }
}

/* All code of an image: every boundary, and every sensitive instruction. */
static void check_image(const char *path)
{
    struct patch_image image;
    patch_image_load(&image, path);
    size_t max = image.size, count = 0;
    struct sweep_site *found = calloc(max, sizeof *found);
    uint64_t *bits = malloc(SWEEP_BITS_WORDS(image.size) * sizeof *bits);
    struct sweep sweep;
    struct sweep_symbols symbols = {image.map.symbols, image.map.symbol_count};
    assert_non_null(found);
    assert_non_null(bits);
    sweep_start(&sweep, image.bytes, (uint32_t)image.size, image.address, bits, found, max);
    for (size_t i = 0; i < image.map.range_count; i++)
        sweep_range(&sweep, image.map.ranges[i].offset, image.map.ranges[i].size, &symbols);
    for (size_t i = 0; i < image.map.range_count; i++) {
        size_t at = image.map.ranges[i].offset, end = at + image.map.ranges[i].size;
        for (; at < end; at++)
            if (sweep_bit(sweep.starts, at)) {
                ZydisDecodedInstruction other;
                struct decode_insn insn;
                assert_true(decode(image.bytes + at, end - at, &insn));
                assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(
                    &zydis, NULL, image.bytes + at, end - at, &other)));
                assert_int_equal(insn.length, other.length);
                count++;
            }
    }
    print_message("# %s: %zu instructions, %zu sites\n", path, count, sweep.count);
    assert_true(count > 100);
    free(bits);
    free(found);
    patch_image_unload(&image);
}

static void whole_programs_have_the_same_boundaries(void **state)
{
    check_image("/proc/self/exe");
    patch_image_each(check_image);
}
#endif

int main(void)
{
#ifdef HAVE_ZYDIS
    ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths),
        cmocka_unit_test(targets),
        cmocka_unit_test(kinds),
        cmocka_unit_test(only_whole_instructions_are_found),
        cmocka_unit_test(undecodable_runs_prove_nothing),
        cmocka_unit_test(a_run_nobody_refers_to_is_doubtful),
        cmocka_unit_test(a_branch_into_an_instruction_proves_otherwise),
        cmocka_unit_test(symbols_bring_the_sweep_into_step),
        cmocka_unit_test(more_sites_than_room),
#ifdef HAVE_ZYDIS
        cmocka_unit_test(random_bytes_have_the_same_length),
        cmocka_unit_test(whole_programs_have_the_same_boundaries),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
