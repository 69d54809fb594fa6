/* What CPUID tells the guest (spec/boot.md section 5.1), and what it tells about the KVM. */
#include "unit.h"

#include <string.h>

#include "accel/kvm/kvm.h"

static struct kvm_cpuid_table table;

static struct kvm_cpuid_entry2 *add(uint32_t function, uint32_t index)
{
    struct kvm_cpuid_entry2 *entry = &table.entries[table.nent++];
    *entry = (struct kvm_cpuid_entry2){
        .function = function,
        .index = index,
        .eax = 0x11111111,
        .ebx = 0x22222222,
        .ecx = 0x03333333,
        .edx = 0x44444444,
    };
    return entry;
}

static const struct kvm_cpuid_entry2 *find(uint32_t function, uint32_t index)
{
    for (unsigned i = 0; i < table.nent; i++)
        if (table.entries[i].function == function && table.entries[i].index == index)
            return &table.entries[i];
    fail_msg("leaf 0x%x is missing", function);
    return NULL;
}

static int fill(void **state)
{
    static const uint32_t functions[] = {
        0, 1, 7, 0xa, 0xd, 0x80000001, 0x80000002, 0x80000003, 0x80000004, 0x80000008, 0x8000001e};
    table.nent = 0;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        add(functions[i], 0);
    for (uint32_t index = 0; index < 3; index++) {
        add(0xb, index);
        add(0x1f, index);
    }
    return 0;
}

static void apic_ids_are_the_cpu_number(void **state)
{
    static const unsigned cpus[] = {0, 1, 127, 128, 255};
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        fill(state);
        kvm_cpuid_adapt(&table, cpus[i], true);
        assert_int_equal(find(1, 0)->ebx, cpus[i] << 24 | 0x222222);
        for (uint32_t index = 0; index < 3; index++) {
            assert_int_equal(find(0xb, index)->edx, cpus[i]);
            assert_int_equal(find(0x1f, index)->edx, cpus[i]);
            assert_int_equal(find(0xb, index)->ecx, 0x03333333);
        }
        assert_int_equal(find(0x8000001e, 0)->eax, cpus[i]);
    }
}

static void features_of_leaf_1(void **state)
{
    kvm_cpuid_adapt(&table, 0, true);
    assert_int_equal(find(1, 0)->ecx, 0x03333333 | 1u << 31 | 1u << 24);
    assert_int_equal(find(1, 0)->edx, 0x44444444 | 1u << 5);
    assert_int_equal(find(1, 0)->eax, 0x11111111);
    fill(state);
    table.entries[1].ecx = 0;
    kvm_cpuid_adapt(&table, 0, false); /* a KVM without the TSC deadline timer */
    assert_int_equal(find(1, 0)->ecx, 1u << 31);
}

static void no_performance_counters(void **state)
{
    kvm_cpuid_adapt(&table, 0, true);
    assert_int_equal(find(0xa, 0)->eax, 0);
}

static void brand_string_names_us_and_no_frequency(void **state)
{
    char brand[49] = "";
    kvm_cpuid_adapt(&table, 0, true);
    for (uint32_t leaf = 0; leaf < 3; leaf++)
        memcpy(brand + leaf * 16, &find(0x80000002 + leaf, 0)->eax, 16);
    assert_string_equal(brand, "uhyve - unikernel hypervisor");
    static const char zero[20];
    assert_memory_equal(brand + 28, zero, 20);
}

static void other_leaves_stay(void **state)
{
    static const uint32_t functions[] = {0, 7, 0xd, 0x80000001, 0x80000008};
    kvm_cpuid_adapt(&table, 5, true);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        const struct kvm_cpuid_entry2 *entry = find(functions[i], 0);
        assert_int_equal(entry->eax, 0x11111111);
        assert_int_equal(entry->ebx, 0x22222222);
        assert_int_equal(entry->ecx, 0x03333333);
        assert_int_equal(entry->edx, 0x44444444);
    }
    table.nent = 0; /* nothing to adapt is fine, too */
    kvm_cpuid_adapt(&table, 5, true);
}

static void kvm_without_xsave_emulates(void **state)
{
    assert_true(kvm_cpuid_emulates_ring0(&table)); /* bit 26 is not in the pattern */
    table.entries[1].ecx |= 1u << 26;
    assert_false(kvm_cpuid_emulates_ring0(&table));
    table.nent = 1; /* no leaf 1 at all */
    assert_true(kvm_cpuid_emulates_ring0(&table));
}

#define TEST(name) cmocka_unit_test_setup(name, fill)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(apic_ids_are_the_cpu_number), TEST(features_of_leaf_1),
        TEST(no_performance_counters),     TEST(brand_string_names_us_and_no_frequency),
        TEST(other_leaves_stay),           TEST(kvm_without_xsave_emulates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
