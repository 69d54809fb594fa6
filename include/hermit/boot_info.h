/*
 * The structure a Hermit kernel finds at the address in RDI when it starts: "raw boot info" of
 * entry version 4 (spec/boot.md section 8). Shared by the VMM, the in-tree guests and the tests.
 *
 * All integers are little-endian; an optional value is 0 when absent; padding is written as zero.
 */
#ifndef HERMIT_BOOT_INFO_H
#define HERMIT_BOOT_INFO_H

#include <stddef.h>
#include <stdint.h>

/* Platform tags of x86_64; a uhyve guest only ever sees the one named here. */
#define HERMIT_PLATFORM_UHYVE 1

struct hermit_tls_info {
    uint64_t start;  /* guest-physical address of the initialisation image */
    uint64_t filesz; /* bytes */
    uint64_t memsz;  /* bytes */
    uint64_t align;  /* bytes */
};

struct hermit_boot_info {
    uint64_t phys_addr_start;
    uint64_t phys_addr_end;    /* exclusive */
    uint16_t serial_port_base; /* interface 1: 0x800; interface 2 and 3: 0x1030 */
    uint8_t padding0[6];
    uint64_t device_tree; /* guest-physical address, 0 for none */
    uint64_t kernel_image_start;
    uint64_t kernel_image_end;  /* exclusive */
    struct hermit_tls_info tls; /* all zero: the image has no TLS segment */
    uint32_t platform;          /* HERMIT_PLATFORM_UHYVE */
    uint32_t padding1;
    uint8_t has_pci; /* 0 or 1 */
    uint8_t padding2[7];
    uint64_t cpu_count; /* never 0 */
    uint32_t cpu_khz;   /* TSC frequency in kHz, 0 for unknown */
    uint32_t padding3;
    uint64_t boot_time_low; /* signed 128-bit nanoseconds since the Unix epoch */
    uint64_t boot_time_high;
};

_Static_assert(sizeof(struct hermit_boot_info) == 128, "boot info is 128 bytes");
_Static_assert(offsetof(struct hermit_boot_info, device_tree) == 0x18, "device_tree");
_Static_assert(offsetof(struct hermit_boot_info, tls) == 0x30, "tls");
_Static_assert(offsetof(struct hermit_boot_info, platform) == 0x50, "platform");
_Static_assert(offsetof(struct hermit_boot_info, has_pci) == 0x58, "has_pci");
_Static_assert(offsetof(struct hermit_boot_info, cpu_khz) == 0x68, "cpu_khz");
_Static_assert(offsetof(struct hermit_boot_info, boot_time_low) == 0x70, "boot_time");

#endif
