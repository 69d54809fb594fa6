/*
 * Fuzz target: a guest that makes hypercalls of both generations, with anything as their arguments.
 * It must get at nothing outside its memory, and nothing it does may fail the VMM.
 *
 * Input: a sequence of steps, each a byte that selects what to do, followed by its parameters:
 *
 *   0  patch memory     offset (2 bytes), length (1 byte), bytes
 *   1  make a call      number of the call (1 byte), offset of its block in memory (2 bytes)
 *   2  make a call      number (1 byte), payload (8 bytes)
 *   3  string output    number (1 byte), width (1 byte), count (1 byte)
 *   4  page tables      offset (2 bytes)
 */
#include <fcntl.h>
#include <unistd.h>

#include "console/console.h"
#include "fs/files.h"
#include "fuzz.h"
#include "hermit/hypercall.h"
#include "hypercall/hypercall.h"
#include "input.h"
#include "util/log.h"

#define MEMORY_BASE UINT64_C(0x10000)
#define MEMORY_SIZE (64 * 1024)
#define STEPS_MAX   64

static const char *const strings[] = {"kernel", "--", "", "an argument"};

struct guest {
    struct ram ram;
    struct log log;
    struct hypercall_context context;
    struct hypercall_caller caller;
    uint64_t cr3;
    unsigned messages;
    uint8_t string[8 * 255];
};

static void count_message(void *context, enum uhyve_level level, const char *text)
{
    struct guest *guest = context;
    require(text[0] && !strchr(text, '\n'));
    guest->messages++;
}

static bool page_tables(void *vcpu, uint64_t *cr3)
{
    struct guest *guest = vcpu;
    *cr3 = guest->cr3;
    return guest->cr3 != 0;
}

static void patch_memory(struct guest *guest, struct input *input)
{
    size_t offset = take(input, 2) % MEMORY_SIZE, length = take(input, 1);
    length = length < input->size ? length : input->size;
    length = length < MEMORY_SIZE - offset ? length : MEMORY_SIZE - offset;
    memcpy(guest->ram.host + offset, input->bytes, length);
    input->bytes += length;
    input->size -= length;
}

/* The calls by number. They are found as a guest finds them: by their ports. */
static const struct hypercall *find_call(unsigned number)
{
    static const struct hypercall *calls[64];
    static size_t count;
    static bool full;
    for (unsigned port = 0; !full && port <= UINT16_MAX; port++) {
        const struct hypercall *call = hypercall_find((uint16_t)port);
        if (call)
            calls[count++] = call;
    }
    full = true;
    return calls[number % count];
}

static void make_call(struct guest *guest, unsigned number, uint64_t payload)
{
    uint32_t eax = (uint32_t)payload;
    const struct hypercall_write write = {4, 1, (const uint8_t *)&eax, payload};
    int exit_code;
    hypercall_run(find_call(number), &guest->context, &guest->caller, &write, &exit_code);
}

static void write_string(struct guest *guest, struct input *input)
{
    static const uint8_t widths[] = {1, 2, 4};
    const struct hypercall *call = find_call((unsigned)take(input, 1));
    const struct hypercall_write write = {
        .size = widths[take(input, 1) % 3],
        .count = (uint32_t)take(input, 1),
        .data = guest->string,
        .rdi = MEMORY_BASE,
    };
    int exit_code;
    memset(guest->string, '[', sizeof guest->string);
    hypercall_run(call, &guest->context, &guest->caller, &write, &exit_code);
}

static void run(struct guest *guest, struct input *input)
{
    for (unsigned step = 0; step < STEPS_MAX && input->size; step++) {
        unsigned number;
        switch (take(input, 1) % 5) {
        case 0:
            patch_memory(guest, input);
            break;
        case 1:
            number = (unsigned)take(input, 1);
            make_call(guest, number, MEMORY_BASE + take(input, 2));
            break;
        case 2:
            number = (unsigned)take(input, 1);
            make_call(guest, number, take(input, 8));
            break;
        case 3:
            write_string(guest, input);
            break;
        case 4:
            guest->cr3 = MEMORY_BASE + (take(input, 2) & ~UINT64_C(0xfff));
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct uhyve_params params;
    struct input input = {bytes, size};
    struct guest guest = {
        .ram = {.base = MEMORY_BASE, .size = MEMORY_SIZE, .host = calloc(1, MEMORY_SIZE)},
        .log = {count_message, &guest, UHYVE_LEVEL_DEBUG},
        .caller = {page_tables, &guest},
    };
    const struct files_options options = {&params, true, -1, &guest.log};

    uhyve_params_init(&params); /* which discards all output */
    params.stdin_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    guest.context = (struct hypercall_context){
        .ram = &guest.ram,
        .log = &guest.log,
        .arguments = {(const char **)(uintptr_t)strings, 4},
        .environment = {(const char **)(uintptr_t)strings, 3},
    };
    require(guest.ram.host && params.stdin_fd >= 0);
    require(files_create(&guest.context.files, &options, NULL) == 0);
    require(console_create(&guest.context.console, &params, -1, &guest.log, NULL) == 0);
    run(&guest, &input);
    console_flush(guest.context.console);
    require(console_error(guest.context.console) == 0);
    require(guest.messages <= 4 * LOG_LIMIT);
    console_destroy(guest.context.console);
    files_destroy(guest.context.files);
    close(params.stdin_fd);
    free(guest.ram.host);
    return 0;
}
