/*
 * Makes random hypercalls of both generations on all CPUs, at full speed. Application arguments:
 * SECONDS (default 1) and SEED (default 1). The VM must survive and this guest reach its end; run
 * it with an empty standard input. Prints how many calls it made; exit code 0.
 *
 * Nothing it does prints: what would be shown has an invalid or empty range. Nothing it does can
 * hurt itself: the addresses it makes up are in the arena of the calling CPU, in free memory, or
 * nowhere.
 */
#include "lib/args.h"
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/trap.h"

#define ARENA_WORDS     512
#define ARENA_ADDRESSES (ARENA_WORDS * 8 - 1040) /* room for the largest block behind each */
#define CALLS_PER_CHECK 64                       /* between looks at the clock */
#define UNKNOWN_KHZ     2000000                  /* assumed TSC frequency */

/* The gap keeps a path that does not end, of which the VMM reads at most HERMIT_PATH_MAX bytes, off
 * the next arena: a race for the sanitizer that is of no interest. */
static struct {
    uint64_t words[ARENA_WORDS];
    uint8_t gap[HERMIT_PATH_MAX];
} arenas[SMP_MAX_CPUS];
static uint64_t deadline;
static uint64_t seed;
static uint64_t calls;

struct storm {
    uint64_t random;
    uint64_t *arena;
    int opened; /* highest descriptor so far */
};

/* xorshift64*: small, and the same everywhere for the same seed. */
static uint64_t next_random(struct storm *storm)
{
    storm->random ^= storm->random >> 12;
    storm->random ^= storm->random << 25;
    storm->random ^= storm->random >> 27;
    return storm->random * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t random_arena_address(struct storm *storm)
{
    return (uintptr_t)storm->arena + next_random(storm) % ARENA_ADDRESSES;
}

static uint64_t random_bad_address(struct storm *storm)
{
    uint64_t random = next_random(storm);
    switch (random % 4) {
    case 0:
        return boot_info->phys_addr_end;
    case 1:
        return boot_info->phys_addr_end + (random >> 16);
    case 2:
        return random_arena_address(storm) | UINT64_C(1) << (48 + random / 4 % 16);
    default:
        return UINT64_MAX - random / 4 % 64;
    }
}

static uint64_t random_word(struct storm *storm)
{
    uint64_t random = next_random(storm);
    switch (random % 4) {
    case 0:
        return random / 4 % 16; /* descriptors, flags, small sizes */
    case 1:
        return random_arena_address(storm);
    case 2:
        return random_bad_address(storm);
    default:
        return random | UINT64_C(1) << 63;
    }
}

/* Calls that can do no harm with any block. */
static const uint16_t quiet_ports[] = {
    HERMIT_V1_FILE_OPEN,   HERMIT_V1_FILE_CLOSE,       HERMIT_V1_FILE_READ,
    HERMIT_V1_FILE_LSEEK,  HERMIT_V1_CMDSIZE,          HERMIT_V1_CMDVAL,
    HERMIT_V1_FILE_UNLINK, HERMIT_V2_SERIAL_READ_BYTE, HERMIT_V2_SERIAL_READ_BUFFER,
    HERMIT_V2_FILE_OPEN,   HERMIT_V2_FILE_CLOSE,       HERMIT_V2_FILE_READ,
    HERMIT_V2_FILE_LSEEK,  HERMIT_V2_FILE_UNLINK,      HERMIT_V2_GETDENTS,
    HERMIT_V2_FILE_STAT,   HERMIT_V2_FILE_FSTAT,       HERMIT_V2_MKDIR,
};

static void any_call(struct storm *storm)
{
    uint64_t random = next_random(storm);
    storm->arena[random >> 32 & (ARENA_WORDS - 1)] = random_word(storm);
    uint16_t port = quiet_ports[random / 8 % (sizeof(quiet_ports) / sizeof(quiet_ports[0]))];
    bool bad = random % 8 == 0;
    if (port < HERMIT_V2_EXIT) /* its payload is cut to 32 bits: below their end is no RAM */
        hypercall_v1(port, bad ? UINT32_MAX - random / 8 % 64 : random_arena_address(storm));
    else
        hypercall_v2(port, bad ? random_bad_address(storm) : random_arena_address(storm));
}

/* Buffers of generation 1 are virtual addresses: from here on they are the page tables. */
#define RECURSIVE_SLOT UINT64_C(0xffffff8000000000)

/* Calls that show something, unless the range is bad or empty. */
static void output_call(struct storm *storm)
{
    uint64_t random = next_random(storm);
    bool empty = (random & 1) != 0;
    uint64_t buffer = empty ? random_word(storm) : random_bad_address(storm);
    uint64_t size = empty ? 0 : 2 + random_word(storm) / 2;
    if ((random & 2) != 0) {
        struct hermit_v2_write block = {
            .fd = (int32_t)(random >> 8 & 3), .buf = buffer, .len = size};
        hypercall_v2(HERMIT_V2_FILE_WRITE, (uintptr_t)&block);
        struct hermit_v1_write old = {.fd = block.fd, .buf = buffer, .len = size};
        if (buffer < RECURSIVE_SLOT)
            hypercall_v1(HERMIT_V1_FILE_WRITE, (uintptr_t)&old);
    } else {
        struct hermit_v2_serial_write block = {.buf = buffer, .len = size};
        hypercall_v2(HERMIT_V2_SERIAL_WRITE_BUFFER, (uintptr_t)&block);
        struct hermit_v1_serial_write old = {.buf = buffer, .len = size};
        hypercall_v1(HERMIT_V1_SERIAL_WRITE_BUFFER, (uintptr_t)&old);
    }
}

/* Names, for files that are there or not: below /d there may be a mapped directory. */
static const char *const names[] = {
    "/d",
    "/d/a",
    "/d/b",
    "/d/sub",
    "/d/sub/a",
    "/d/link",
    "/d/out",
    "/d/sub/../a",
    "/d/../../etc/passwd",
    "/d/out/secret",
    "/root/a",
    "/root/b",
    "/root/a/b",
    "/root",
    "/",
    "../secret",
    "/d/sub/./../../secret",
    "/x/y/z",
    "/x/y",
    "/x",
    "",
};

#define NAMES (sizeof(names) / sizeof(names[0]))

/* Calls that mean something: files are opened, filled, listed, removed, by all CPUs at once. */
static void file_call(struct storm *storm)
{
    uint64_t random = next_random(storm);
    const char *name = names[random % NAMES];
    int fd = 3 + (int)((random >> 8 & 4095) % (1 + (unsigned)storm->opened));
    size_t size = (size_t)(random >> 20) % (ARENA_WORDS * 8);
    struct hermit_attr attr;

    switch (random >> 32 & 15) {
    case 0:
    case 1:
    case 2:
    case 3: {
        int opened = file_open(name, (int)(random >> 40 & HERMIT_O_MASK),
                               (int)(random >> 36 & 0777));
        storm->opened = opened > storm->opened ? opened : storm->opened;
        break;
    }
    case 4:
    case 5:
    case 6:
        file_close(fd);
        break;
    case 7:
        file_write(fd, storm->arena, size);
        break;
    case 8:
        file_read(fd, storm->arena, size);
        break;
    case 9:
        file_seek(fd, (int64_t)(random >> 44) - 1000, (int)(random >> 36 & 7));
        break;
    case 10:
        file_list(fd, storm->arena, size);
        break;
    case 11:
        file_stat(name, (uint32_t)(random >> 36 & 1), &attr);
        file_stat_fd(fd, &attr);
        break;
    case 12:
        file_make_directory(name);
        break;
    default:
        file_unlink(name);
        break;
    }
}

static void run_storm(uint32_t cpu)
{
    struct storm storm = {.random = seed + cpu * UINT64_C(0x9e3779b97f4a7c15),
                          .arena = arenas[cpu].words};
    uint64_t made = 0;
    if (storm.random == 0)
        storm.random = 1; /* the generator would stay there */
    for (unsigned i = 0; i < ARENA_WORDS; i++)
        storm.arena[i] = random_word(&storm);
    while (cpu_tsc() < deadline) {
        for (unsigned i = 0; i < CALLS_PER_CHECK; i++) {
            if (i % 8 == 0)
                output_call(&storm);
            else if (i % 3 == 0)
                file_call(&storm);
            else
                any_call(&storm);
        }
        made += CALLS_PER_CHECK;
    }
    __atomic_fetch_add(&calls, made, __ATOMIC_RELAXED);
}

int main(void)
{
    trap_init();
    args_load();
    seed = (uint64_t)args_number(1, 1);
    uint64_t khz = boot_tsc_khz() != 0 ? boot_tsc_khz() : UNKNOWN_KHZ;
    deadline = cpu_tsc() + (uint64_t)args_number(0, 1) * khz * 1000;
    smp_run(run_storm);
    print("storm: %lu calls\n", calls);
    return 0;
}
