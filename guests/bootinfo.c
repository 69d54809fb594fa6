/*
 * Prints every field of the boot information and every property of the device tree as key=value,
 * one per line, numbers in hexadecimal (spec/boot.md sections 8 and 11).
 */
#include <stdbool.h>

#include "lib/boot.h"
#include "lib/build.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/text.h"

/* Gives the image a TLS segment, so that the VMM has one to describe. */
#define TLS_MAGIC 0x746c7321u
static _Thread_local volatile uint32_t tls_initialised __attribute__((aligned(64))) = TLS_MAGIC;
static _Thread_local volatile uint32_t tls_zero;

#define MSR_FS_BASE  0xc0000100
#define TLS_SIZE_MAX 256

/* Defined by the linker: where the image begins and ends. */
extern const uint8_t __ehdr_start[] __attribute__((visibility("hidden")));
extern const uint8_t _end[] __attribute__((visibility("hidden")));

static void print_boot_info(void)
{
    const struct hermit_boot_info *info = boot_info;
    print("boot_info=%lx\n", (uint64_t)(uintptr_t)info);
    print("phys_addr_start=%lx\n", info->phys_addr_start);
    print("phys_addr_end=%lx\n", info->phys_addr_end);
    print("serial_port_base=%x\n", info->serial_port_base);
    print("device_tree=%lx\n", info->device_tree);
    print("kernel_image_start=%lx\n", info->kernel_image_start);
    print("kernel_image_end=%lx\n", info->kernel_image_end);
    print("tls_start=%lx\n", info->tls.start);
    print("tls_filesz=%lx\n", info->tls.filesz);
    print("tls_memsz=%lx\n", info->tls.memsz);
    print("tls_align=%lx\n", info->tls.align);
    print("platform=%x\n", info->platform);
    print("has_pci=%x\n", info->has_pci);
    print("cpu_count=%lx\n", info->cpu_count);
    print("cpu_khz=%x\n", info->cpu_khz);
    print("boot_time=%lx%016lx\n", info->boot_time_high, info->boot_time_low);

    uint32_t padding = info->padding1 | info->padding3;
    for (unsigned i = 0; i < sizeof(info->padding0); i++)
        padding |= info->padding0[i];
    for (unsigned i = 0; i < sizeof(info->padding2); i++)
        padding |= info->padding2[i];
    print("padding=%x\n", padding);
}

/*
 * Make the thread-local variables usable, from nothing but the boot information: their block ends
 * where FS points to (System V ABI for x86-64, "variant II"). True if they then have their values.
 */
static bool tls_works(void)
{
    static uint8_t block[TLS_SIZE_MAX] __attribute__((aligned(64)));
    const struct hermit_tls_info *tls = &boot_info->tls;
    if (tls->align != 64 || tls->memsz > sizeof(block) || tls->filesz > tls->memsz)
        return false;

    uint8_t *thread = block + sizeof(block);
    uint64_t size = (tls->memsz + tls->align - 1) & ~(tls->align - 1);
    memcpy(thread - size, (const void *)(uintptr_t)tls->start, tls->filesz);
    cpu_write_msr(MSR_FS_BASE, (uintptr_t)thread);
    return tls_initialised == TLS_MAGIC && tls_zero == 0;
}

/* What the guest can check against its own idea of itself: 1 is right, 0 is wrong. */
static void print_checks(void)
{
    uint64_t start = (uintptr_t)__ehdr_start, end = (uintptr_t)_end;
    print("interface=%x\n", guest_interface);
    print("image_start_matches=%d\n", boot_info->kernel_image_start == start);
    print("image_end_matches=%d\n", boot_info->kernel_image_end == end);
    print("tls_works=%d\n", tls_works());
}

/* Terminated printable strings, one after the other, are shown as text. */
static bool is_text(const struct fdt_value *value)
{
    const char *bytes = value->data;
    if (value->size == 0 || bytes[value->size - 1] != '\0' || bytes[0] == '\0')
        return false;
    for (uint32_t i = 0; i + 1 < value->size; i++)
        if ((bytes[i] < ' ' || bytes[i] > '~') && (bytes[i] != '\0' || bytes[i + 1] == '\0'))
            return false;
    return true;
}

static bool print_property(void *context, const char *path, const char *name,
                           const struct fdt_value *value)
{
    (void)context;
    if (name == NULL) {
        print("node=%s\n", path);
        return true;
    }
    const char *separator = text_equal(path, "/") ? "" : "/";
    print("%s%s%s=", path, separator, name);
    if (is_text(value)) {
        const char *text = value->data;
        for (uint32_t i = 0; i < value->size; i += (uint32_t)text_length(text + i) + 1)
            print("%s%s", i == 0 ? "" : ",", text + i);
    } else {
        const uint8_t *bytes = value->data;
        for (uint32_t i = 0; i < value->size; i++)
            print("%02x", bytes[i]);
    }
    print("\n");
    return true;
}

int main(void)
{
    print_boot_info();
    print_checks();
    if (boot_fdt != NULL)
        fdt_walk(boot_fdt, print_property, NULL);
    return 0;
}
