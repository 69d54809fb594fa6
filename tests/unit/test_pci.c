/* The PCI bus: configuration mechanism #1, the header's masks, BAR 0. */
#include "unit.h"

#include "device/pci.h"

#define ENABLE 0x80000000u
#define BAR    UINT64_C(0xfe000000)
#define SIZE   UINT64_C(0x200000)

static struct pci_function function;
static struct pci_bus bus;

/* The device behind the header: what was asked of it. */
static unsigned device_offset, device_size, header_writes;
static uint8_t device_data[8];

static void device_read(struct pci_function *f, unsigned offset, uint8_t *data, unsigned size)
{
    device_offset = offset;
    device_size = size;
    memset(data, 0x5a, size);
}

static void device_write(struct pci_function *f, unsigned offset, const uint8_t *data,
                         unsigned size)
{
    device_offset = offset;
    device_size = size;
    memcpy(device_data, data, size);
}

static void header_written(struct pci_function *f)
{
    header_writes++;
}

static const struct pci_ops ops = {device_read, device_write, header_written};

static int set_up(void **state)
{
    const struct pci_identity identity = {
        .vendor = 0x1af4,
        .device = 0x1041,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x41,
        .revision = 1,
        .class_code = {0, 0, 2},
        .capabilities = 0x40,
        .interrupt_line = 11,
        .bar0 = BAR,
        .bar0_size = SIZE,
    };
    pci_function_init(&function, &identity, &ops);
    bus = (struct pci_bus){.function = &function};
    header_writes = 0;
    return 0;
}

static int tear_down(void **state)
{
    pci_function_destroy(&function);
    return 0;
}

static uint32_t in(uint16_t port, unsigned size)
{
    uint32_t value = 0;
    assert_true(pci_io(&bus, port, size, true, (uint8_t *)&value));
    return value;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
    assert_true(pci_io(&bus, port, size, false, (uint8_t *)&value));
}

static uint32_t config_read(unsigned offset)
{
    out(0xcf8, 4, ENABLE | offset);
    return in(0xcfc, 4);
}

static void config_write(unsigned offset, uint32_t value)
{
    out(0xcf8, 4, ENABLE | offset);
    out(0xcfc, 4, value);
}

static void only_its_own_ports(void **state)
{
    uint8_t data[4] = {1, 2, 3, 4};
    assert_false(pci_io(&bus, 0xcf7, 1, true, data));
    assert_false(pci_io(&bus, 0xd00, 4, true, data));
    assert_int_equal(data[0], 1);
}

static void the_header_is_there(void **state)
{
    assert_int_equal(config_read(0x00), 0x10411af4);
    assert_int_equal(config_read(0x04), 0x00100000);
    assert_int_equal(config_read(0x08), 0x02000001);
    assert_int_equal(config_read(0x0c), 0);
    assert_int_equal(config_read(0x2c), 0x00411af4);
    assert_int_equal(config_read(0x34), 0x40);
    assert_int_equal(config_read(0x3c), 0x010b);
    assert_int_equal(config_read(0x18), 0);
}

static void nothing_else_is(void **state)
{
    static const uint32_t addresses[] = {
        0,                    /* not enabled */
        ENABLE | 1u << 8,     /* function 1 */
        ENABLE | 1u << 11,    /* device 1 */
        ENABLE | 1u << 16,    /* bus 1 */
        ENABLE | 0x80u << 16, /* bus 128 */
        ENABLE | 1u << 24,    /* reserved */
    };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        out(0xcf8, 4, addresses[i]);
        assert_int_equal(in(0xcfc, 4), UINT32_MAX);
        out(0xcfc, 4, 0x12345678);
    }
    bus.function = NULL;
    assert_int_equal(config_read(0x00), UINT32_MAX);
    bus.function = &function;
    assert_int_equal(config_read(0x10), 0xfe00000c);
}

static void the_address_is_latched(void **state)
{
    out(0xcf8, 4, ENABLE | 0x34);
    assert_int_equal(in(0xcf8, 4), ENABLE | 0x34);
    out(0xcf8, 1, 0);
    out(0xcf9, 1, 6);
    out(0xcf8, 2, 0);
    assert_int_equal(in(0xcf8, 4), ENABLE | 0x34);
    assert_int_equal(in(0xcf9, 1), 0xff);
    /* The lowest two bits have no meaning. */
    out(0xcf8, 4, ENABLE | 3);
    assert_int_equal(in(0xcfc, 2), 0x1af4);
    /* Across the end of the ports. */
    assert_int_equal(in(0xcff, 2), 0xffff);
}

static void bytes_and_words(void **state)
{
    out(0xcf8, 4, ENABLE);
    assert_int_equal(in(0xcfc, 1), 0xf4);
    assert_int_equal(in(0xcfd, 1), 0x1a);
    assert_int_equal(in(0xcfe, 2), 0x1041);
    out(0xcf8, 4, ENABLE | 0x3c);
    assert_int_equal(in(0xcfd, 1), 1);
    out(0xcf8, 4, ENABLE | 0x04);
    out(0xcfc, 1, 0x04);
    assert_int_equal(in(0xcfc, 4), 0x00100004);
    out(0xcfd, 1, 0xff);
    assert_int_equal(in(0xcfc, 4), 0x00100504);
    assert_int_equal(header_writes, 2);
}

static void what_must_not_change_does_not(void **state)
{
    for (unsigned offset = 0; offset < PCI_HEADER_SIZE; offset += 4)
        if (offset != 0x04 && offset != 0x10 && offset != 0x14) {
            uint32_t before = config_read(offset);
            config_write(offset, ~before);
            assert_int_equal(config_read(offset), before);
        }
    config_write(0x04, UINT32_MAX);
    assert_int_equal(config_read(0x04), 0x00100547);
    assert_true(pci_interrupts_disabled(&function));
}

static void the_bar_is_sized_and_moved(void **state)
{
    uint8_t data[4];

    config_write(0x10, UINT32_MAX);
    assert_int_equal(config_read(0x10), 0xffe0000c);
    config_write(0x14, UINT32_MAX);
    assert_int_equal(config_read(0x14), UINT32_MAX);
    assert_false(pci_memory(&bus, BAR, 4, false, data));
    config_write(0x10, 0x40000000);
    config_write(0x14, 0x12);
    assert_int_equal(config_read(0x10), 0x4000000c);
    assert_true(pci_memory(&bus, UINT64_C(0x1240000000), 4, false, data));
    assert_memory_equal(data, "\xf4\x1a\x41\x10", 4);
    config_write(0x10, 0xfe00000c);
    config_write(0x14, 0);
    assert_true(pci_memory(&bus, BAR, 4, false, data));
}

static void the_bar_shows_the_function(void **state)
{
    uint8_t data[8];

    assert_true(pci_memory(&bus, BAR + SIZE - 0x100 + 0x34, 1, false, data));
    assert_int_equal(data[0], 0x40);
    assert_true(pci_memory(&bus, BAR + 0x1000 + 0x88, 4, false, data));
    assert_int_equal(device_offset, 0x88);
    assert_int_equal(data[3], 0x5a);
    assert_true(pci_memory(&bus, BAR + 0xd0, 2, true, (uint8_t *)"ab"));
    assert_int_equal(device_offset, 0xd0);
    assert_int_equal(device_size, 2);
    assert_memory_equal(device_data, "ab", 2);

    assert_false(pci_memory(&bus, BAR - 1, 1, false, data));
    assert_false(pci_memory(&bus, BAR + SIZE, 1, false, data));
    assert_false(pci_memory(&bus, BAR + SIZE - 4, 8, false, data));
    assert_false(pci_memory(&bus, UINT64_MAX, 8, false, data));
}

static void accesses_may_cross(void **state)
{
    uint8_t data[8];

    /* From the header to the device, and from the end to the next copy's start. */
    assert_true(pci_memory(&bus, BAR + 0x3d, 8, false, data));
    assert_memory_equal(data, "\1\0\0\x5a\x5a\x5a\x5a\x5a", 8);
    assert_int_equal(device_offset, 0x40);
    assert_int_equal(device_size, 5);
    assert_true(pci_memory(&bus, BAR + 0xfe, 4, false, data));
    assert_memory_equal(data, "\x5a\x5a\xf4\x1a", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_its_own_ports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_header_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_else_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_address_is_latched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_and_words, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_must_not_change_does_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_bar_is_sized_and_moved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_bar_shows_the_function, set_up, tear_down),
        cmocka_unit_test_setup_teardown(accesses_may_cross, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
