/*
 * Hostile addresses, lengths and numbers in the parameter blocks, and blocks at hostile addresses.
 */
#include "hostile.h"

#include <stddef.h>

#include "lib/paging.h"
#include "lib/tap.h"
#include "lib/text.h"

#define NO_RESULT   0x5a5a5a5a /* in a result field until the VMM writes it */
#define GUARD_BYTES 64         /* watched at the end of RAM */
#define LONG_PATH   (2 * HERMIT_PATH_MAX)

static uint8_t block[2048] __attribute__((aligned(4096)));
static char text[LONG_PATH + 1];

static uint64_t address_of(const volatile void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static volatile uint8_t *guard_area(void)
{
    return (volatile uint8_t *)(uintptr_t)(ram_end - GUARD_BYTES);
}

static bool blocks_unchanged(void)
{
    return hostile_is_filled(block, sizeof(block)) && hostile_is_filled(guard_area(), GUARD_BYTES);
}

/* Parameter blocks where there is no RAM, or not enough: the call must be dropped. */
static void attack_block(const struct hostile_call *call)
{
    uint64_t good = address_of(block);
    const uint64_t bad[] = {
        0,
        1,
        ram_start - 1,
        ram_start - call->size + 1,
        ram_end - call->size + 1,
        ram_end - 1,
        ram_end,
        UINT64_MAX,
        UINT64_MAX - call->size + 2,
        0xffffffff,
        0xffffffff - call->size + 2,
        good | UINT64_C(1) << 48,
        good | UINT64_C(1) << 51,
        good | UINT64_C(1) << 52,
        good | UINT64_C(1) << 63,
        good | UINT64_C(0xfff) << 52,
    };
    bool unchanged = true;
    unsigned tried = 0;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t payload = call->generation == 1 ? (uint32_t)bad[i] : bad[i];
        if (hostile_is_ram(payload, call->size))
            continue; /* not bad for this generation, or with RAM at address 0 */
        hostile_issue(call, payload);
        unchanged = unchanged && blocks_unchanged();
        tried++;
    }
    tap_ok(unchanged, "%s ignores %u bad block addresses", call->name, tried);
}

void attack_blocks(void)
{
    hostile_fill(block, sizeof(block));
    hostile_fill(guard_area(), GUARD_BYTES);
    for (unsigned i = 0; i < hostile_call_count; i++)
        attack_block(&hostile_calls[i]);
}

/* Blocks at odd addresses and in the very last bytes of RAM are as good as any: a close of a
 * descriptor that is not open must be answered. */
static void close_at(uint64_t address, const char *name)
{
    volatile struct hermit_close *request = (volatile struct hermit_close *)(uintptr_t)address;
    request->fd = HOSTILE_BAD_FD;
    if (hostile_v1_reaches_ram()) {
        request->ret = NO_RESULT;
        hypercall_v1(HERMIT_V1_FILE_CLOSE, address);
        tap_ok(request->ret == -GUEST_EBADF, "v1 block %s", name);
    }
    request->ret = NO_RESULT;
    hypercall_v2(HERMIT_V2_FILE_CLOSE, address);
    tap_ok(request->ret == -GUEST_EBADF, "v2 block %s", name);
}

void attack_unaligned(void)
{
    for (unsigned offset = 1; offset < 8; offset += 2)
        close_at(address_of(block) + offset, "at an odd address");
    close_at(address_of(block) + PAGE_SIZE / 2 - 3, "across an address multiple of 2048");
    close_at(ram_end - sizeof(struct hermit_close), "at the end of RAM");

    /* A structure that the specification aligns naturally. */
    volatile struct hermit_v2_write *request = (volatile void *)(block + 4);
    *request = (struct hermit_v2_write){
        .fd = HOSTILE_BAD_FD, .buf = address_of(block), .len = 1, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_WRITE, address_of(request));
    tap_equal(request->ret, -GUEST_EBADF, "v2 write with an unaligned block");
}

/* A range that is not all RAM. */
struct range {
    uint64_t start, size;
    const char *name;
};

static void attack_range_v2(const struct range *range)
{
    struct hermit_v2_write write = {
        .fd = 1, .buf = range->start, .len = range->size, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_WRITE, address_of(&write));
    tap_ok(write.ret == -GUEST_EFAULT, "v2 write: %s", range->name);

    struct hermit_v2_read read = {
        .fd = 0, .buf = range->start, .len = range->size, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_READ, address_of(&read));
    tap_ok(read.ret == -GUEST_EFAULT, "v2 read: %s", range->name);

    struct hermit_getdents list = {.fd = 1, .buf = range->start, .len = range->size};
    hypercall_v2(HERMIT_V2_GETDENTS, address_of(&list));
    tap_ok(list.tag == HERMIT_GETDENTS_ERROR, "v2 getdents: %s", range->name);

    struct hermit_stat stat = {.path = address_of("/nothing"), .attr = range->start};
    hypercall_v2(HERMIT_V2_FILE_STAT, address_of(&stat));
    tap_ok(stat.tag == HERMIT_RESULT_ERROR, "v2 stat: %s", range->name);

    struct hermit_v2_serial_write serial = {.buf = range->start, .len = range->size};
    hypercall_v2(HERMIT_V2_SERIAL_WRITE_BUFFER, address_of(&serial));
    struct hermit_v2_serial_read serial_read = {.buf = range->start, .maxlen = range->size};
    hypercall_v2(HERMIT_V2_SERIAL_READ_BUFFER, address_of(&serial_read));
    tap_ok(serial_read.len == 0, "v2 serial: %s", range->name);
}

/* Buffers of generation 1 are virtual addresses: what is not mapped is as bad as what is not RAM.
 */
static void attack_range_v1(const struct range *range)
{
    struct hermit_v1_serial_write serial = {.buf = range->start, .len = range->size};
    hypercall_v1(HERMIT_V1_SERIAL_WRITE_BUFFER, address_of(&serial));

    struct hermit_v1_write write = {.fd = 1, .buf = range->start, .len = range->size};
    hypercall_v1(HERMIT_V1_FILE_WRITE, address_of(&write));

    struct hermit_v1_read read = {
        .fd = 0, .buf = range->start, .len = range->size, .ret = NO_RESULT};
    hypercall_v1(HERMIT_V1_FILE_READ, address_of(&read));
    tap_ok(read.ret == -GUEST_EFAULT, "v1 read: %s", range->name);
}

static void attack_empty_ranges(void)
{
    struct hermit_v2_write write = {.fd = 1, .buf = ram_end, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_WRITE, address_of(&write));
    tap_equal(write.ret, 0, "v2 write: nothing at the end of RAM");
    struct hermit_v2_read read = {.fd = 0, .buf = ram_end, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_READ, address_of(&read));
    tap_equal(read.ret, 0, "v2 read: nothing at the end of RAM");
    struct hermit_v2_serial_write serial = {.buf = ram_end};
    hypercall_v2(HERMIT_V2_SERIAL_WRITE_BUFFER, address_of(&serial));
}

void attack_buffers(void)
{
    uint64_t good = address_of(block);
    const struct range ranges[] = {
        {ram_end - 1, 2, "one byte too many"},
        {ram_end, 1, "behind RAM"},
        {ram_start - 1, 2, "starts before RAM"},
        {good, ram_end - good + 1, "long, one byte too many"},
        {good, UINT64_C(1) << 63, "length 2^63"},
        {good, UINT64_MAX, "length 2^64-1"},
        {good, -good + 1, "wraps to one byte"},
        {ram_end, ram_start - ram_end + 8, "wraps into RAM"},
        {UINT64_MAX, 1, "the last address"},
        {UINT64_MAX, 2, "wraps at once"},
        {good | UINT64_C(1) << 52, 8, "bit 52"},
        {good | UINT64_C(1) << 63, 8, "bit 63"},
        {UINT64_C(0x8000000000000000), 8, "not canonical"},
    };
    for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        attack_range_v2(&ranges[i]);
        if (hostile_v1_reaches_ram())
            attack_range_v1(&ranges[i]);
    }
    attack_empty_ranges();
}

/* All calls that take a path. Returns whether every one gave an error. */
static bool all_refuse_path(uint64_t path)
{
    bool refused = true;
    struct hermit_open open = {.path = path, .ret = NO_RESULT};
    struct hermit_unlink unlink = {.path = path, .ret = NO_RESULT};
    if (hostile_v1_reaches_ram()) {
        hypercall_v1(HERMIT_V1_FILE_OPEN, address_of(&open));
        hypercall_v1(HERMIT_V1_FILE_UNLINK, address_of(&unlink));
        refused = open.ret < 0 && unlink.ret < 0;
        open.ret = unlink.ret = NO_RESULT;
    }
    hypercall_v2(HERMIT_V2_FILE_OPEN, address_of(&open));
    hypercall_v2(HERMIT_V2_FILE_UNLINK, address_of(&unlink));

    struct hermit_attr attr;
    struct hermit_stat stat = {.path = path, .attr = address_of(&attr)};
    hypercall_v2(HERMIT_V2_FILE_STAT, address_of(&stat));
    struct hermit_mkdir mkdir = {.path = path, .len = UINT64_MAX};
    hypercall_v2(HERMIT_V2_MKDIR, address_of(&mkdir));
    return refused && open.ret < 0 && unlink.ret < 0 && stat.tag == HERMIT_RESULT_ERROR &&
           mkdir.tag == HERMIT_RESULT_ERROR;
}

static int open_result(uint64_t path)
{
    struct hermit_open open = {.path = path, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_OPEN, address_of(&open));
    return open.ret;
}

/* A path of `length` letters "a". */
static uint64_t long_path(size_t length)
{
    memset(text, 'a', length);
    text[0] = '/';
    text[length] = '\0';
    return address_of(text);
}

void attack_strings(void)
{
    const uint64_t outside[] = {ram_end, ram_start - 1, UINT64_MAX, UINT64_C(1) << 63,
                                address_of(text) | UINT64_C(1) << 52};
    for (unsigned i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        tap_ok(all_refuse_path(outside[i]), "path at %lx", outside[i]);
        tap_equal(open_result(outside[i]), -GUEST_EFAULT, "its error is EFAULT");
    }

    hostile_fill(guard_area(), GUARD_BYTES);
    memset((void *)(uintptr_t)(ram_end - GUARD_BYTES), 'a', GUARD_BYTES);
    tap_ok(all_refuse_path(ram_end - GUARD_BYTES), "path without end at the end of RAM");
    int error = open_result(ram_end - 1);
    tap_ok(error == -GUEST_EFAULT || error == -GUEST_ENAMETOOLONG, "its error is %d", error);

    tap_ok(all_refuse_path(long_path(HERMIT_PATH_MAX - 1)), "path of 4095 bytes");
    const size_t too_long[] = {HERMIT_PATH_MAX, HERMIT_PATH_MAX + 1, LONG_PATH};
    for (unsigned i = 0; i < sizeof(too_long) / sizeof(too_long[0]); i++) {
        uint64_t path = long_path(too_long[i]);
        tap_ok(all_refuse_path(path), "path of %zu bytes", too_long[i]);
        tap_equal(open_result(path), -GUEST_ENAMETOOLONG, "its error is ENAMETOOLONG");
    }

    static const char *const strange[] = {
        "",
        "/",
        "//",
        ".",
        "..",
        "/..",
        "/../../../etc/passwd",
        "../../../../etc/passwd",
        "/proc/self/mem",
        "/\x80",
        "/\xc0\xaf",
        "/\xed\xa0\x80",
        "/\xf8\x88\x80\x80\x80",
        "/a\nb",
        "/%s%n",
    };
    for (unsigned i = 0; i < sizeof(strange) / sizeof(strange[0]); i++)
        tap_ok(open_result(address_of(strange[i])) < 0, "strange path %u is not opened", i);
}

static void attack_descriptor_v1(int32_t fd)
{
    struct hermit_v1_read read = {.fd = fd, .buf = address_of(block), .len = 8, .ret = NO_RESULT};
    hypercall_v1(HERMIT_V1_FILE_READ, address_of(&read));
    tap_ok(read.ret == -GUEST_EBADF, "v1 read from %d", fd);

    struct hermit_v1_write write = {.fd = fd, .buf = address_of(block), .len = 8};
    hypercall_v1(HERMIT_V1_FILE_WRITE, address_of(&write));

    struct hermit_v1_lseek seek = {.fd = fd};
    hypercall_v1(HERMIT_V1_FILE_LSEEK, address_of(&seek));
    tap_ok(seek.offset == -1, "v1 seek in %d", fd);

    struct hermit_close close = {.fd = fd, .ret = NO_RESULT};
    hypercall_v1(HERMIT_V1_FILE_CLOSE, address_of(&close));
    tap_ok(close.ret == (fd < 3 ? 0 : -GUEST_EBADF), "v1 close of %d", fd);
}

static void attack_descriptor_v2(int32_t fd)
{
    struct hermit_v2_read read = {.fd = fd, .buf = address_of(block), .len = 8, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_READ, address_of(&read));
    tap_ok(read.ret == -GUEST_EBADF, "v2 read from %d", fd);

    struct hermit_v2_write write = {.fd = fd, .buf = address_of(block), .len = 8, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_WRITE, address_of(&write));
    tap_ok(write.ret == -GUEST_EBADF, "v2 write to %d", fd);

    struct hermit_v2_lseek seek = {.fd = fd, .whence = UINT32_MAX, .offset = INT64_MIN};
    hypercall_v2(HERMIT_V2_FILE_LSEEK, address_of(&seek));
    tap_ok(seek.offset < 0 && seek.offset != INT64_MIN, "v2 seek in %d", fd);

    struct hermit_close close = {.fd = fd, .ret = NO_RESULT};
    hypercall_v2(HERMIT_V2_FILE_CLOSE, address_of(&close));
    tap_ok(close.ret == (fd < 3 ? 0 : -GUEST_EBADF), "v2 close of %d", fd);

    struct hermit_getdents list = {.fd = fd, .buf = address_of(block), .len = sizeof(block)};
    hypercall_v2(HERMIT_V2_GETDENTS, address_of(&list));
    tap_ok(list.tag == HERMIT_GETDENTS_ERROR && list.result.error == GUEST_EBADF,
           "v2 getdents of %d", fd);

    struct hermit_fstat stat = {.fd = fd, .attr = address_of(block)};
    hypercall_v2(HERMIT_V2_FILE_FSTAT, address_of(&stat));
    tap_ok(stat.tag == HERMIT_RESULT_ERROR && stat.error == GUEST_EBADF, "v2 fstat of %d", fd);
}

void attack_descriptors(void)
{
    /* Small numbers are open in the VMM, but not for the guest. */
    const int32_t bad[] = {INT32_MIN, INT32_MIN + 1, -1,   3,     4,        5, 6, 7,
                           8,         255,           1024, 65536, INT32_MAX};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        attack_descriptor_v2(bad[i]);
        if (hostile_v1_reaches_ram())
            attack_descriptor_v1(bad[i]);
    }
}

static void cmdval(uint64_t argv, uint64_t envp, const char *name)
{
    struct hermit_v1_cmdval values = {.argv = argv, .envp = envp};
    hypercall_v1(HERMIT_V1_CMDVAL, address_of(&values));
    tap_ok(true, "cmdval with %s", name);
}

void attack_cmdval(void)
{
    if (!hostile_v1_reaches_ram()) {
        tap_skip("cmdval", "RAM is above 4 GiB");
        return;
    }
    static uint64_t vector[HERMIT_V1_MAX_STRINGS];
    const uint64_t bad[] = {0,
                            1,
                            ram_end - 4,
                            ram_end - 1,
                            ram_end,
                            UINT64_MAX,
                            UINT64_MAX - 7,
                            UINT64_C(1) << 63,
                            address_of(vector) | UINT64_C(1) << 52};

    static struct hermit_v1_cmdsize sizes;
    hypercall_v1(HERMIT_V1_CMDSIZE, address_of(&sizes));
    tap_ok(sizes.argc >= 1 && sizes.argc <= HERMIT_V1_MAX_STRINGS && sizes.envc >= 0 &&
               sizes.envc <= HERMIT_V1_MAX_STRINGS,
           "cmdsize: %d arguments, %d variables", sizes.argc, sizes.envc);

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (bad[i] < 2 && hostile_is_ram(bad[i], sizeof(vector)))
            continue; /* would be taken for a vector, of whatever lies there */
        for (unsigned j = 0; j < HERMIT_V1_MAX_STRINGS; j++)
            vector[j] = ram_end;
        cmdval(bad[i], address_of(vector), "a bad argument vector");
        cmdval(address_of(vector), bad[i], "a bad environment vector");
        for (unsigned j = 0; j < HERMIT_V1_MAX_STRINGS; j++)
            vector[j] = bad[i] < 2 ? ram_end - 1 : bad[i];
        hostile_fill(guard_area(), GUARD_BYTES);
        cmdval(address_of(vector), address_of(vector), "bad destinations");
    }
}
