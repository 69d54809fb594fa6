/* Registers in GDB's numbering, and their places in a vCPU's state (spec/debug.md section 3). */
#include "unit.h"

#include "debug/gdb/registers.h"

#define FCTRL  32
#define FSTAT  33
#define FTAG   34
#define FISEG  35
#define FIOFF  36
#define FOSEG  37
#define FOOFF  38
#define FOP    39
#define ST0    24
#define XMM0   40
#define MXCSR  56
#define FSBASE 57
#define CR0    59
#define EFER   64
#define YMM0H  65

static struct gdb_registers registers;

static int fresh(void **state)
{
    memset(&registers, 0, sizeof registers);
    registers.state_valid = true;
    registers.xsave_size = 832;
    registers.xsave[512] = 7; /* everything is in use */
    return 0;
}

static uint64_t get(unsigned number)
{
    uint8_t value[GDB_REGISTER_MAX_SIZE] = {0};
    uint64_t word;
    assert_true(gdb_register_get(&registers, number, value));
    memcpy(&word, value, sizeof word);
    return gdb_register_size(number) < 8 ? word & UINT32_MAX : word;
}

static enum gdb_register_part set(unsigned number, uint64_t word)
{
    uint8_t value[GDB_REGISTER_MAX_SIZE] = {0};
    memcpy(value, &word, sizeof word);
    return gdb_register_set(&registers, number, value);
}

/* Offsets of the block in the pages. */
static void block_has_its_layout(void **state)
{
    static const struct {
        unsigned number;
        size_t offset;
    } places[] = {{16, 0x80},    {17, 0x88},    {18, 0x8c},     {ST0, 0xa4},
                  {FCTRL, 0xf4}, {XMM0, 0x114}, {MXCSR, 0x214}, {FSBASE, GDB_REGISTERS_MIN_SIZE}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        size_t offset = 0;
        for (unsigned j = 0; j < places[i].number; j++)
            offset += gdb_register_size(j);
        assert_int_equal(offset, places[i].offset);
    }
    assert_int_equal(gdb_register_count(true), YMM0H + 16);
    assert_int_equal(gdb_register_count(false), YMM0H);
    assert_int_equal(gdb_register_size(YMM0H + 16), 0);
}

static void general_registers(void **state)
{
    static const enum x86_gpr order[] = {X86_RAX, X86_RBX, X86_RCX, X86_RDX,
                                         X86_RSI, X86_RDI, X86_RBP, X86_RSP};
    for (unsigned i = 0; i < X86_GPR_COUNT; i++) {
        enum x86_gpr gpr = i < 8 ? order[i] : (enum x86_gpr)i;
        registers.state.gpr[gpr] = 0x1000 + i;
        assert_int_equal(get(i), 0x1000 + i);
        assert_int_equal(set(i, 0x2000 + i), GDB_PART_STATE);
        assert_int_equal(registers.state.gpr[gpr], 0x2000 + i);
    }
    registers.state.rip = 5;
    assert_int_equal(get(GDB_REGISTER_RIP), 5);
    registers.state.gs.selector = 0x33;
    assert_int_equal(get(23), 0x33);
    registers.state.ss.base = 1;
    assert_int_equal(set(19, 0x18), GDB_PART_STATE);
    assert_int_equal(registers.state.ss.selector, 0x18);
    assert_int_equal(registers.state.ss.base, 1);
}

static void upper_half_of_flags_is_kept(void **state)
{
    registers.state.rflags = UINT64_C(0xabcd000000000246);
    assert_int_equal(get(17), 0x246);
    set(17, 0x2);
    assert_int_equal(registers.state.rflags, UINT64_C(0xabcd000000000002));
}

static void system_registers(void **state)
{
    registers.state.fs.base = 0x123456789abc;
    registers.state.cr0 = 0x80000011;
    registers.state.efer = 0xd00;
    assert_int_equal(get(FSBASE), 0x123456789abc);
    assert_int_equal(get(CR0), 0x80000011);
    assert_int_equal(get(EFER), 0xd00);
    assert_int_equal(set(FSBASE + 1, 7), GDB_PART_STATE);
    assert_int_equal(registers.state.gs.base, 7);
}

static void x87_pointers_are_not_swapped(void **state)
{
    static const uint8_t fip[] = {1, 2, 3, 4, 5, 6, 0, 0};
    memcpy(registers.xsave + 8, fip, sizeof fip);
    memcpy(registers.xsave + 16, fip, sizeof fip);
    registers.xsave[6] = 0xab;
    assert_int_equal(get(FIOFF), 0x04030201);
    assert_int_equal(get(FISEG), 0x0605);
    assert_int_equal(get(FOOFF), 0x04030201);
    assert_int_equal(get(FOSEG), 0x0605);
    assert_int_equal(get(FOP), 0xab);
    assert_int_equal(set(FISEG, 0x08), GDB_PART_XSAVE);
    assert_int_equal(registers.xsave[12], 0x08);
    assert_int_equal(registers.xsave[8], 1);
}

/* 16 bits in the protocol, 8 in the area. TOP is 6: physical registers 6 and 7 are st0 and st1. */
static void tag_word_is_converted(void **state)
{
    static const uint8_t one[10] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};
    registers.xsave[3] = 6 << 3;
    registers.xsave[4] = 0xc0;
    memcpy(registers.xsave + 32, one, sizeof one);
    assert_int_equal(get(FTAG), 0x4fff); /* st0 valid, st1 zero */
    registers.xsave[32 + 16 + 9] = 0x7f;
    registers.xsave[32 + 16 + 8] = 0xff;
    assert_int_equal(get(FTAG), 0x8fff); /* st1 special */
    registers.xsave[32 + 16 + 9] = 0x3f;
    assert_int_equal(get(FTAG), 0x8fff); /* without its integer bit */
    assert_int_equal(set(FTAG, 0xfffc), GDB_PART_XSAVE);
    assert_int_equal(registers.xsave[4], 1);
}

static void unused_components_read_as_initial(void **state)
{
    memset(registers.xsave, 0xee, 512);
    memset(registers.xsave + 576, 0xee, 256);
    memset(registers.xsave + 512, 0, 8);
    assert_int_equal(get(FCTRL), 0x37f);
    assert_int_equal(get(FSTAT), 0);
    assert_int_equal(get(FTAG), 0xffff);
    assert_int_equal(get(ST0), 0);
    assert_int_equal(get(XMM0), 0);
    assert_int_equal(get(YMM0H), 0);
    assert_int_equal(get(MXCSR), 0x1f80);
}

static void writing_begins_to_use_a_component(void **state)
{
    memset(registers.xsave, 0xee, 512);
    memset(registers.xsave + 576, 0xee, 256);
    memset(registers.xsave + 512, 0, 8);
    assert_int_equal(set(XMM0 + 1, 9), GDB_PART_XSAVE);
    assert_int_equal(registers.xsave[512], 2);
    assert_int_equal(get(XMM0 + 1), 9);
    assert_int_equal(get(XMM0), 0);
    assert_int_equal(get(FCTRL), 0x37f);
    set(ST0, 1);
    assert_int_equal(registers.xsave[512], 3);
    assert_int_equal(get(FCTRL), 0x37f);
    set(YMM0H + 15, 8);
    assert_int_equal(registers.xsave[512], 7);
    assert_int_equal(get(YMM0H), 0);
    assert_int_equal(get(YMM0H + 15), 8);
}

static void missing_parts_are_unknown(void **state)
{
    uint8_t value[GDB_REGISTER_MAX_SIZE] = {0};
    registers.xsave_size = 576;
    assert_true(gdb_register_get(&registers, XMM0, value));
    assert_false(gdb_register_get(&registers, YMM0H, value));
    assert_int_equal(gdb_register_set(&registers, YMM0H, value), GDB_PART_NONE);
    registers.xsave_size = 0;
    assert_false(gdb_register_get(&registers, XMM0, value));
    assert_int_equal(gdb_register_set(&registers, MXCSR, value), GDB_PART_NONE);
    registers.state_valid = false;
    assert_false(gdb_register_get(&registers, 0, value));
    assert_int_equal(gdb_register_set(&registers, 0, value), GDB_PART_NONE);
    assert_false(gdb_register_get(&registers, 1000, value));
    assert_int_equal(gdb_register_set(&registers, 1000, value), GDB_PART_NONE);
}

static void description_lists_every_register(void **state)
{
    for (int avx = 0; avx < 2; avx++) {
        struct text text = {0};
        unsigned count = 0;
        gdb_registers_describe(&text, avx);
        for (const char *at = text.data; (at = strstr(at, "<reg ")); at++)
            count++;
        assert_int_equal(count, gdb_register_count(avx));
        assert_non_null(strstr(text.data, "org.gnu.gdb.i386.segments"));
        assert_int_equal(strstr(text.data, "org.gnu.gdb.i386.avx") != NULL, avx);
        text_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(block_has_its_layout, fresh),
        cmocka_unit_test_setup(general_registers, fresh),
        cmocka_unit_test_setup(upper_half_of_flags_is_kept, fresh),
        cmocka_unit_test_setup(system_registers, fresh),
        cmocka_unit_test_setup(x87_pointers_are_not_swapped, fresh),
        cmocka_unit_test_setup(tag_word_is_converted, fresh),
        cmocka_unit_test_setup(unused_components_read_as_initial, fresh),
        cmocka_unit_test_setup(writing_begins_to_use_a_component, fresh),
        cmocka_unit_test_setup(missing_parts_are_unknown, fresh),
        cmocka_unit_test_setup(description_lists_every_register, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
