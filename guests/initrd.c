/*
 * Finds the Hermit image that uhyve left in memory (spec/files.md section 6.4, internal mode) and
 * prints the files of its tar archive: "file=NAME size=N sum=N" with the sum of the bytes. Exits
 * with 1 if something about it is wrong.
 */
#include <stdbool.h>

#include "lib/boot.h"
#include "lib/print.h"
#include "lib/text.h"

#define BLOCK       512
#define PAGE        4096
#define SIZE_AT     124
#define SIZE_LEN    12
#define SUM_AT      148
#define SUM_LEN     8
#define TYPE_AT     156
#define RESERVED_AT 16 /* in the header of a device tree: offset of the reserved ranges */

static uint64_t octal(const char *digits, unsigned length)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < length && digits[i] >= '0' && digits[i] <= '7'; i++)
        value = value * 8 + (uint64_t)(digits[i] - '0');
    return value;
}

static bool checksum_is_right(const uint8_t *header)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_LEN ? ' ' : header[i];
    const char *field = (const char *)header + SUM_AT;
    return octal(field, SUM_LEN) == sum;
}

/* Is [start, end) inside one of the ranges the device tree reserves? */
static bool is_reserved(uint64_t start, uint64_t end)
{
    const uint8_t *tree = (const uint8_t *)boot_fdt;
    const uint8_t *range = tree + fdt_u32(tree + RESERVED_AT);
    for (; fdt_u64(range + 8) != 0; range += 16)
        if (fdt_u64(range) <= start && end <= fdt_u64(range) + fdt_u64(range + 8))
            return true;
    return false;
}

static bool print_archive(const uint8_t *archive, uint64_t size)
{
    uint64_t offset = 0;

    while (offset + BLOCK <= size && archive[offset] != '\0') {
        const uint8_t *header = archive + offset;
        uint64_t length = octal((const char *)header + SIZE_AT, SIZE_LEN), sum = 0;
        if (!checksum_is_right(header) || length > size - offset - BLOCK)
            return false;
        for (uint64_t i = 0; i < length; i++)
            sum += header[BLOCK + i];
        if (header[TYPE_AT] == '0')
            print("file=%s size=%lu sum=%lu\n", (const char *)header, length, sum);
        offset += BLOCK + (length + BLOCK - 1) / BLOCK * BLOCK;
    }
    return offset + 2 * BLOCK <= size;
}

int main(void)
{
    struct fdt_value first, last;

    if (!fdt_find(boot_fdt, "/chosen", "linux,initrd-start", &first) ||
        !fdt_find(boot_fdt, "/chosen", "linux,initrd-end", &last)) {
        print("no archive\n");
        return 0;
    }
    uint64_t start = fdt_u64(first.data), end = fdt_u64(last.data);
    bool placed = start % PAGE == 0 && start >= boot_info->kernel_image_end &&
                  end <= boot_info->phys_addr_end && end > start;
    print("placed=%d reserved=%d blocks=%d\n", placed,
          is_reserved(start, (end + PAGE - 1) & ~UINT64_C(0xfff)), (end - start) % BLOCK == 0);
    return placed && print_archive((const uint8_t *)start, end - start) ? 0 : 1;
}
