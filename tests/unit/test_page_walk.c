/* Page tables as text. */
#include "unit.h"

#include "arch/x86_64/paging.h"
#include "debug/page_walk.h"

#define BASE UINT64_C(0x200000)

static uint64_t tables[4][512] __attribute__((aligned(4096)));
static const struct ram ram = {.base = BASE, .size = sizeof tables, .host = (uint8_t *)tables};

static void expect(gva_t address, const char *expected)
{
    struct text text = {0};
    page_walk_format(&ram, BASE, address, &text);
    assert_string_equal(text.data, expected);
    text_free(&text);
}

static void all_levels(void **state)
{
    memset(tables, 0, sizeof tables);
    tables[0][0] = (BASE + 0x1000) | 3;
    tables[1][0] = (BASE + 0x2000) | 3;
    tables[2][0] = (BASE + 0x3000) | 0x23;
    tables[2][1] = BASE | 0x83;
    tables[2][2] = 0xfff00000 | 1;
    tables[3][5] = (BASE + 0x1000) | 1 | UINT64_C(1) << 63;
    expect(0x5123, "page tables for 0x5123:\n"
                   "  PML4[  0] 0000000000201003 present writable\n"
                   "  PDPT[  0] 0000000000202003 present writable\n"
                   "  PD  [  0] 0000000000203023 present writable accessed\n"
                   "  PT  [  5] 8000000000201001 present no-execute\n"
                   "  guest-physical 0x201123\n");
    expect(0x6000, "page tables for 0x6000:\n"
                   "  PML4[  0] 0000000000201003 present writable\n"
                   "  PDPT[  0] 0000000000202003 present writable\n"
                   "  PD  [  0] 0000000000203023 present writable accessed\n"
                   "  PT  [  6] 0000000000000000 not present\n");
    expect(0x2fffff, "page tables for 0x2fffff:\n"
                     "  PML4[  0] 0000000000201003 present writable\n"
                     "  PDPT[  0] 0000000000202003 present writable\n"
                     "  PD  [  1] 0000000000200083 present writable large\n"
                     "  guest-physical 0x2fffff, which is outside of the guest's memory\n");
    expect(0x400000, "page tables for 0x400000:\n"
                     "  PML4[  0] 0000000000201003 present writable\n"
                     "  PDPT[  0] 0000000000202003 present writable\n"
                     "  PD  [  2] 00000000fff00001 present\n"
                     "  the PT at 0xfff00000 is outside of the guest's memory\n");
    expect(UINT64_C(0x800000000000), "page tables for 0x800000000000:\n"
                                     "  the address is not canonical: bits 63 to 47 differ\n");
    expect(UINT64_MAX, "page tables for 0xffffffffffffffff:\n"
                       "  PML4[511] 0000000000000000 not present\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_levels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
