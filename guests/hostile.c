/*
 * Abuses every interface of the VMM (spec/hypercalls.md section 5) and checks that it gets the
 * right error, or that nothing happens. Application arguments: names of attacks, or "all". Run it
 * with an empty standard input. Exit code: number of failures.
 *
 * The attack "exit" is not part of "all", because it may end the VM: an exit of generation 1 whose
 * code cannot be read.
 */
#include "hostile.h"

#include "lib/args.h"
#include "lib/boot.h"
#include "lib/paging.h"
#include "lib/print.h"
#include "lib/tap.h"
#include "lib/text.h"
#include "lib/trap.h"

#define CALL_V1(text, number, type, field)                                                         \
    {                                                                                              \
        .name = "v1 " text, .generation = 1, .port = number, .size = sizeof(struct type),          \
        .result = offsetof(struct type, field), .result_size = sizeof(((struct type *)0)->field),  \
    }
#define CALL_V2(text, number, type, field)                                                         \
    {                                                                                              \
        .name = "v2 " text, .generation = 2, .port = number, .size = sizeof(struct type),          \
        .result = offsetof(struct type, field), .result_size = sizeof(((struct type *)0)->field),  \
    }
#define CALL_SILENT(text, number, type, version)                                                   \
    {                                                                                              \
        .name = text, .generation = version, .port = number, .size = sizeof(struct type),          \
    }

const struct hostile_call hostile_calls[] = {
    CALL_SILENT("v1 write", HERMIT_V1_FILE_WRITE, hermit_v1_write, 1),
    CALL_V1("open", HERMIT_V1_FILE_OPEN, hermit_open, ret),
    CALL_V1("close", HERMIT_V1_FILE_CLOSE, hermit_close, ret),
    CALL_V1("read", HERMIT_V1_FILE_READ, hermit_v1_read, ret),
    CALL_V1("seek", HERMIT_V1_FILE_LSEEK, hermit_v1_lseek, offset),
    CALL_V1("cmdsize", HERMIT_V1_CMDSIZE, hermit_v1_cmdsize, argc),
    CALL_SILENT("v1 cmdval", HERMIT_V1_CMDVAL, hermit_v1_cmdval, 1),
    CALL_V1("unlink", HERMIT_V1_FILE_UNLINK, hermit_unlink, ret),
    CALL_SILENT("v1 serial write", HERMIT_V1_SERIAL_WRITE_BUFFER, hermit_v1_serial_write, 1),
    CALL_SILENT("v2 serial write", HERMIT_V2_SERIAL_WRITE_BUFFER, hermit_v2_serial_write, 2),
    CALL_V2("serial read", HERMIT_V2_SERIAL_READ_BUFFER, hermit_v2_serial_read, len),
    CALL_V2("write", HERMIT_V2_FILE_WRITE, hermit_v2_write, ret),
    CALL_V2("open", HERMIT_V2_FILE_OPEN, hermit_open, ret),
    CALL_V2("close", HERMIT_V2_FILE_CLOSE, hermit_close, ret),
    CALL_V2("read", HERMIT_V2_FILE_READ, hermit_v2_read, ret),
    CALL_V2("seek", HERMIT_V2_FILE_LSEEK, hermit_v2_lseek, offset),
    CALL_V2("unlink", HERMIT_V2_FILE_UNLINK, hermit_unlink, ret),
    CALL_V2("getdents", HERMIT_V2_GETDENTS, hermit_getdents, tag),
    CALL_V2("stat", HERMIT_V2_FILE_STAT, hermit_stat, tag),
    CALL_V2("fstat", HERMIT_V2_FILE_FSTAT, hermit_fstat, tag),
    CALL_V2("mkdir", HERMIT_V2_MKDIR, hermit_mkdir, tag),
};
const unsigned hostile_call_count = sizeof(hostile_calls) / sizeof(hostile_calls[0]);

uint64_t ram_start, ram_end;

void hostile_issue(const struct hostile_call *call, uint64_t payload)
{
    if (call->generation == 1)
        hypercall_v1(call->port, payload);
    else
        hypercall_v2(call->port, payload);
}

bool hostile_is_ram(uint64_t address, uint64_t size)
{
    return address >= ram_start && address <= ram_end && size <= ram_end - address;
}

void hostile_fill(volatile void *memory, uint64_t size)
{
    volatile uint64_t *words = memory;
    for (uint64_t i = 0; i < size / sizeof(*words); i++)
        words[i] = HOSTILE_FILL;
}

bool hostile_is_filled(const volatile void *memory, uint64_t size)
{
    const volatile uint64_t *words = memory;
    for (uint64_t i = 0; i < size / sizeof(*words); i++)
        if (words[i] != HOSTILE_FILL)
            return false;
    return true;
}

bool hostile_v1_reaches_ram(void)
{
    return ram_end <= UINT64_C(1) << 32;
}

static const struct {
    const char *name;
    void (*run)(void);
} attacks[] = {
    {"blocks", attack_blocks},
    {"unaligned", attack_unaligned},
    {"buffers", attack_buffers},
    {"strings", attack_strings},
    {"descriptors", attack_descriptors},
    {"cmdval", attack_cmdval},
    {"ports", attack_ports},
    {"port-sizes", attack_port_sizes},
    {"port-reads", attack_port_reads},
    {"string-io", attack_string_io},
    {"page-tables", attack_page_tables},
    {"mmio", attack_mmio},
    {"race", attack_race},
};

#define EXIT_SURVIVED 99

/* Returns if the VMM drops the call. */
static int attack_exit(void)
{
    hypercall_v1(HERMIT_V1_EXIT, ram_end - 1);
    return EXIT_SURVIVED;
}

static bool is_wanted(const char *name)
{
    for (size_t i = 0; i < args.app.count; i++)
        if (text_equal(args.app.item[i], name) || text_equal(args.app.item[i], "all"))
            return true;
    return false;
}

int main(void)
{
    trap_init(); /* also moves the descriptor table away from address 0, an interesting target */
    args_load();
    ram_start = boot_info->phys_addr_start;
    ram_end = boot_info->phys_addr_end;
    paging_map(ram_end - 1);

    if (text_equal(args_app(0), "exit"))
        return attack_exit();
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        if (!is_wanted(attacks[i].name))
            continue;
        print("# %s\n", attacks[i].name);
        attacks[i].run();
    }
    return tap_end();
}
