/*
 * Hostile instructions and machine state: ports, string I/O, page tables, memory that is not there,
 * and blocks that change while a call is under way.
 */
#include "hostile.h"

#include "lib/cpu.h"
#include "lib/paging.h"
#include "lib/smp.h"
#include "lib/tap.h"

static uint8_t block[2048] __attribute__((aligned(4096)));

static uint64_t address_of(const volatile void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* Port I/O of every width with a payload in both places where a call may look for one. */

static void out_sized(uint16_t port, unsigned size, uint64_t payload)
{
    if (size == 1)
        __asm__ volatile("outb %%al, %%dx" : : "a"(payload), "d"(port), "D"(payload) : "memory");
    else if (size == 2)
        __asm__ volatile("outw %%ax, %%dx" : : "a"(payload), "d"(port), "D"(payload) : "memory");
    else
        __asm__ volatile("outl %%eax, %%dx" : : "a"(payload), "d"(port), "D"(payload) : "memory");
}

static void in_sized(uint16_t port, unsigned size, uint64_t payload)
{
    uint64_t value = payload;
    if (size == 1)
        __asm__ volatile("inb %%dx, %%al" : "+a"(value) : "d"(port), "D"(payload) : "memory");
    else if (size == 2)
        __asm__ volatile("inw %%dx, %%ax" : "+a"(value) : "d"(port), "D"(payload) : "memory");
    else
        __asm__ volatile("inl %%dx, %%eax" : "+a"(value) : "d"(port), "D"(payload) : "memory");
}

/* True for ports of calls and of the interrupt controllers that KVM itself provides. */
static bool port_is_known(uint16_t port)
{
    for (unsigned i = 0; i < hostile_call_count; i++)
        if (port == hostile_calls[i].port)
            return true;
    return port == HERMIT_V1_EXIT || port == HERMIT_V1_UART || port == HERMIT_V2_EXIT ||
           port == HERMIT_V2_SERIAL_WRITE_BYTE || port == 0x20 || port == 0x21 || port == 0xa0 ||
           port == 0xa1 || port == 0x4d0 || port == 0x4d1;
}

void attack_ports(void)
{
    /* Reserved calls, neighbours of real ones, PC devices that are not there, PCI. */
    static const uint16_t ports[] = {
        0x0,    0x40,   0x43,   0x60,   0x61,   0x64,   0x70,   0x71,   0x80,   0x92,
        0x3f8,  0x401,  0x43f,  0x441,  0x541,  0x640,  0x680,  0x700,  0x7ff,  0x801,
        0xcf8,  0xcf9,  0xcfc,  0xcfd,  0xcff,  0x1000, 0x100f, 0x1011, 0x1040, 0x10ff,
        0x11a0, 0x1200, 0x1210, 0x7fff, 0x8000, 0xfff0, 0xffff,
    };
    hostile_fill(block, sizeof(block));
    for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        for (unsigned size = 1; size <= 4; size *= 2) {
            out_sized(ports[i], size, address_of(block));
            in_sized(ports[i], size, address_of(block));
        }
    }
    tap_ok(hostile_is_filled(block, sizeof(block)), "unknown ports change nothing");

    for (uint16_t port = 0; port <= 0xff; port++) /* those that fit into the instruction */
        if (!port_is_known(port))
            out_sized(port, 1, UINT64_MAX);
    for (uint32_t port = 0; port <= 0xffff; port += 61)
        for (unsigned size = 1; size <= 4 && !port_is_known((uint16_t)port); size *= 2)
            out_sized((uint16_t)port, size, UINT64_MAX);
    tap_ok(true, "a sweep over all ports");
}

/* Calls whose payload is not 32 bits wide. */
void attack_port_sizes(void)
{
    /* 16 and 8 bits can only point to the lowest memory: the unused page below the page tables. */
    volatile uint8_t *low = (volatile uint8_t *)(uintptr_t)(ram_start + 0x8000);
    hostile_fill(low, sizeof(block));
    hostile_fill(block, sizeof(block));
    for (unsigned i = 0; i < hostile_call_count; i++) {
        const struct hostile_call *call = &hostile_calls[i];
        for (unsigned size = 1; size <= 2; size++) {
            out_sized(call->port, size, address_of(low));
            out_sized(call->port, size, address_of(block));
        }
        tap_ok(hostile_is_filled(block, sizeof(block)) && hostile_is_filled(low, sizeof(block)),
               "%s ignores 8 and 16 bits", call->name);
    }
    for (uint64_t i = 0; i < sizeof(block); i++)
        low[i] = 0;
}

/* IN from the ports of calls is no call. */
void attack_port_reads(void)
{
    hostile_fill(block, sizeof(block));
    for (unsigned i = 0; i < hostile_call_count; i++) {
        for (unsigned size = 1; size <= 4; size *= 2)
            in_sized(hostile_calls[i].port, size, address_of(block));
        tap_ok(hostile_is_filled(block, sizeof(block)), "%s is not called by IN",
               hostile_calls[i].name);
    }
    static const uint16_t others[] = {HERMIT_V1_EXIT, HERMIT_V1_UART, HERMIT_V2_EXIT,
                                      HERMIT_V2_SERIAL_WRITE_BYTE};
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        for (unsigned size = 1; size <= 4; size *= 2)
            in_sized(others[i], size, '!');
    tap_ok(true, "IN from exit and serial ports");
}

static void out_string(uint16_t port, const void *from, uint64_t count, unsigned size)
{
    /* RDI is not used by OUTS: put there what a call would take for its payload. */
    if (size == 1)
        __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(port), "D"(block) : "memory");
    else if (size == 2)
        __asm__ volatile("rep outsw" : "+S"(from), "+c"(count) : "d"(port), "D"(block) : "memory");
    else
        __asm__ volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(port), "D"(block) : "memory");
}

static void in_string(uint16_t port, void *to, uint64_t count, unsigned size)
{
    if (size == 1)
        __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(port) : "memory");
    else if (size == 2)
        __asm__ volatile("rep insw" : "+D"(to), "+c"(count) : "d"(port) : "memory");
    else
        __asm__ volatile("rep insl" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}

void attack_string_io(void)
{
    static uint8_t data[2048];
    out_string(HERMIT_V1_UART, "# string output\n", 16, 1);

    /* Elements of 32 bits that each are the address of a block. KVM does not tell them from single
     * calls, so nothing but survival can be asked; narrower ones are no calls in any case. */
    uint32_t *addresses = (uint32_t *)data;
    for (unsigned i = 0; i < 8; i++)
        addresses[i] = (uint32_t)address_of(block);
    for (unsigned i = 0; i < hostile_call_count; i++) {
        uint16_t port = hostile_calls[i].port;
        hostile_fill(block, sizeof(block));
        out_string(port, data, 8, 1);
        out_string(port, data, 8, 2);
        tap_ok(hostile_is_filled(block, sizeof(block)), "%s ignores short string output",
               hostile_calls[i].name);
        out_string(port, data, 8, 4);
    }
    tap_ok(true, "string output of 32-bit elements");

    static const uint16_t ports[] = {
        HERMIT_V1_UART, HERMIT_V1_FILE_OPEN, HERMIT_V2_FILE_OPEN, HERMIT_V2_EXIT, 0xcf8, 0xcfc,
        0xffff};
    hostile_fill(block, sizeof(block));
    for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
        for (unsigned size = 1; size <= 4; size *= 2)
            in_string(ports[i], data, 300, size);
    tap_ok(hostile_is_filled(block, sizeof(block)), "string input");
    tap_ok(true, "string input of more than a page");
}

/* A read of generation 1 into a virtual address; standard input is empty, so 0 means the VMM found
 * memory there. */
static int64_t read_into(uint64_t address, uint64_t size)
{
    struct hermit_v1_read read = {.fd = 0, .buf = address, .len = size, .ret = -GUEST_ENOSYS};
    hypercall_v1(HERMIT_V1_FILE_READ, address_of(&read));
    return read.ret;
}

static uint64_t slot_address(unsigned slot)
{
    uint64_t address = (uint64_t)slot << 39;
    return slot < TABLE_ENTRIES / 2 ? address : address | UINT64_C(0xffff) << 48;
}

void attack_page_tables(void)
{
    if (!hostile_v1_reaches_ram()) {
        tap_skip("page tables", "only generation 1 has virtual addresses");
        return;
    }
    /* Top-level entries nobody uses. The CPU never walks them: only the VMM does. */
    uint64_t *top = paging_top();
    const uint64_t flags = PAGE_PRESENT | PAGE_WRITABLE;
    const uint64_t outside[] = {ram_end, ram_end + LARGE_PAGE, PAGE_ADDRESS, UINT64_C(1) << 51,
                                UINT64_C(1) << 40};
    for (unsigned i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        uint64_t *pointers = paging_new_table(), *directory = paging_new_table();
        top[300] = (outside[i] & PAGE_ADDRESS) | flags;
        tap_ok(read_into(slot_address(300), 8) == -GUEST_EFAULT, "pointer table at %lx",
               outside[i]);

        top[301] = address_of(pointers) | flags;
        pointers[0] = (outside[i] & PAGE_ADDRESS) | flags;
        tap_ok(read_into(slot_address(301), 8) == -GUEST_EFAULT, "directory at %lx", outside[i]);
        pointers[1] = (outside[i] & PAGE_ADDRESS) | flags | PAGE_LARGE;
        tap_ok(read_into(slot_address(301) + (UINT64_C(1) << 30) + 0x3ffff000, 8) == -GUEST_EFAULT,
               "1 GiB page at %lx", outside[i]);

        pointers[2] = address_of(directory) | flags;
        directory[0] = (outside[i] & PAGE_ADDRESS) | flags;
        tap_ok(read_into(slot_address(301) + (UINT64_C(2) << 30), 8) == -GUEST_EFAULT,
               "table at %lx", outside[i]);
        directory[1] = (outside[i] & PAGE_ADDRESS) | flags | PAGE_LARGE;
        tap_ok(read_into(slot_address(301) + (UINT64_C(2) << 30) + LARGE_PAGE, 8) == -GUEST_EFAULT,
               "2 MiB page at %lx", outside[i]);
    }

    uint64_t *loop = paging_new_table();
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        loop[i] = address_of(loop) | flags;
    top[302] = address_of(loop) | flags;
    tap_ok(read_into(slot_address(302), 8) == 0, "a table that points to itself");
    tap_ok(read_into(slot_address(302), UINT64_C(1) << 39) <= 0, "512 GiB of one page");
    tap_ok(read_into(slot_address(302), UINT64_MAX) == -GUEST_EFAULT, "2^64-1 bytes of it");

    top[303] = top[paging_index(ram_start, 3)] | PAGE_LARGE; /* reserved at this level */
    tap_ok(read_into(slot_address(303), 8) <= 0, "a large page in the top table");

    tap_ok(read_into(slot_address(200), 8) == -GUEST_EFAULT, "an address that is not mapped");
    uint64_t last_mapped = ram_end - PAGE_SIZE;
    tap_ok(read_into(last_mapped, 2 * PAGE_SIZE + LARGE_PAGE) == -GUEST_EFAULT,
           "a buffer that begins in RAM and ends outside");
    tap_ok(read_into(UINT64_C(1) << 47, 8) == -GUEST_EFAULT, "a non-canonical address");
    for (unsigned slot = 300; slot <= 303; slot++)
        top[slot] = 0;
}

static void attack_hole(uint64_t address)
{
    volatile uint8_t *hole = paging_map(address);
    bool ones = *hole == UINT8_MAX && *(volatile uint16_t *)hole == UINT16_MAX &&
                *(volatile uint32_t *)hole == UINT32_MAX &&
                *(volatile uint64_t *)hole == UINT64_MAX;
    *hole = 1;
    *(volatile uint16_t *)(hole + 1) = 2;
    *(volatile uint32_t *)(hole + 3) = 3;
    *(volatile uint64_t *)(hole + 5) = 4;
    ones = ones && *(volatile uint64_t *)hole == UINT64_MAX;
    tap_ok(ones, "nothing at %lx", address);
}

void attack_mmio(void)
{
    uint64_t beyond = (ram_end + LARGE_PAGE - 1) & ~(uint64_t)(LARGE_PAGE - 1);
    unsigned bits = cpu_id(0x80000008, 0).eax & 0xff; /* of a physical address */
    if (bits > 47)
        bits = 47;                     /* no more fit into the lower half of virtual addresses */
    attack_hole(UINT64_C(0xe0000000)); /* between 3 and 4 GiB there is never RAM */
    attack_hole(UINT64_C(0xe01ffff0)); /* the end of the same page */
    attack_hole(beyond + 16 * LARGE_PAGE);
    attack_hole(UINT64_C(1) << (bits - 1));

    if (beyond == ram_end) {
        paging_map(ram_end);
        volatile uint64_t *across = (volatile uint64_t *)(uintptr_t)(ram_end - 4);
        *across = 0;
        tap_ok((uint32_t)*across == 0, "across the end of RAM");
    }
}

/* CPU 1 changes the blocks between valid and invalid while CPU 0 makes the calls. All combinations
 * either fail or transfer nothing. */

#define RACE_CALLS 500

static volatile struct hermit_v2_write shared_write;
static volatile struct hermit_v2_read shared_read;
static volatile struct hermit_open shared_open;
static volatile struct hermit_v2_serial_write shared_serial;
static volatile char shared_path[64];
static volatile bool race_over;

static void change_blocks(void)
{
    static const uint64_t sizes[] = {0, UINT64_C(1) << 63, UINT64_MAX, 0};
    static const int32_t descriptors[] = {1, -1, 0, HOSTILE_BAD_FD};
    const uint64_t places[] = {address_of(block), ram_end, UINT64_MAX, ram_start - 1};
    for (unsigned i = 0; !race_over; i++) {
        shared_write.len = shared_read.len = shared_serial.len = sizes[i % 4];
        shared_write.buf = shared_read.buf = shared_serial.buf = places[i / 4 % 4];
        shared_write.fd = shared_read.fd = descriptors[i / 16 % 4];
        shared_open.path = i % 3 == 0 ? address_of(shared_path) : places[i % 4];
        shared_open.flags = (int32_t)(i * 0x9e3779b1u);
        shared_path[i % sizeof(shared_path)] = i % 7 == 0 ? '\0' : 'a';
    }
}

static void make_calls(void)
{
    for (unsigned i = 0; i < RACE_CALLS; i++) {
        hypercall_v2(HERMIT_V2_FILE_WRITE, address_of(&shared_write));
        hypercall_v2(HERMIT_V2_FILE_READ, address_of(&shared_read));
        hypercall_v2(HERMIT_V2_FILE_OPEN, address_of(&shared_open));
        hypercall_v2(HERMIT_V2_FILE_UNLINK, address_of(&shared_open));
        hypercall_v2(HERMIT_V2_SERIAL_WRITE_BUFFER, address_of(&shared_serial));
    }
    race_over = true;
}

static void race(uint32_t cpu)
{
    if (cpu == 0)
        make_calls();
    else if (cpu == 1)
        change_blocks();
}

void attack_race(void)
{
    if (smp_cpu_count() < 2) {
        tap_skip("blocks that change under way", "needs two CPUs");
        return;
    }
    smp_run(race);
    tap_ok(true, "blocks that change under way");
}
