/*
 * Fuzz target: what is told about a guest that has crashed: the report and the core file, from
 * memory, page tables, registers, log and an image that are all the guest's own making. The work is
 * bounded, the text is text, and the core file is one.
 *
 * Input: RIP, RSP, RBP, CR2 (8 bytes each), which page tables (2), size of the log (2), of the
 * image (2), of a call record (1), then these three, then memory, which is repeated until it is
 * full.
 */
#include <elf.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/x86_64/paging.h"
#include "debug/core_dump.h"
#include "debug/crash.h"
#include "debug/disassembly.h"
#include "fuzz.h"
#include "input.h"

#define BASE        UINT64_C(0x10000)
#define MEMORY_SIZE 65536
#define REPORT_MAX  (64 * 1024)
#define CORE_MAX    (UINT64_C(64) << 20)

struct guest {
    struct ram ram;
    struct x86_state state;
    struct symbols symbols;
    struct unwind_tables unwind;
    struct call_history history;
    struct panic panic;
};

static bool read_memory(void *context, gva_t address, void *to, size_t size)
{
    struct guest *guest = context;
    uint8_t *bytes = to;

    while (size) {
        gpa_t gpa;
        uint64_t part;
        if (!paging_translate(&guest->ram, guest->state.cr3, address, &gpa, &part))
            return false;
        part = part < size ? part : size;
        if (!ram_read(&guest->ram, gpa, bytes, part))
            return false;
        bytes += part;
        address += part;
        size -= part;
    }
    return true;
}

static void check_text(const struct text *text)
{
    require(!text->failed && text->size > 0 && text->size < REPORT_MAX);
    for (size_t i = 0; i < text->size; i++)
        require((unsigned char)text->data[i] >= ' ' || text->data[i] == '\n' ||
                text->data[i] == '\t');
}

static void make_report(struct guest *guest, struct input image, const char *log)
{
    static struct disassembler *disassembler;
    struct text text = {0};
    const struct guest_view view = {
        .read = read_memory,
        .context = guest,
        .symbols = &guest->symbols,
        .unwind = &guest->unwind,
        .file = image.bytes,
        .file_size = image.size,
        .kernel_start = BASE,
        .kernel_end = BASE + MEMORY_SIZE,
    };

    if (!disassembler)
        disassembler = disassembler_open();
    const struct crash crash = {
        .cause = "the input says so",
        .registers_valid = true,
        .state = &guest->state,
        .view = &view,
        .panic = &guest->panic,
        .has_address = guest->state.cr2 & 1,
        .address = guest->state.cr2,
        .ram = &guest->ram,
        .disassembler = disassembler,
        .history = &guest->history,
        .log = log,
    };
    panic_find(&guest->panic, log, strlen(log));
    crash_report(&crash, &text);
    check_text(&text);
    text_free(&text);
}

static void check_core(int fd)
{
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    struct stat status;
    uint64_t end = 0;

    require(pread(fd, &header, sizeof header, 0) == sizeof header);
    require(memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_type == ET_CORE);
    require(fstat(fd, &status) == 0 && (uint64_t)status.st_size <= CORE_MAX);
    for (unsigned i = 0; i < header.e_phnum; i++) {
        require(pread(fd, &segment, sizeof segment, (off_t)(header.e_phoff + i * sizeof segment)) ==
                sizeof segment);
        require(range_inside(segment.p_offset, segment.p_filesz, (uint64_t)status.st_size));
        if (segment.p_type != PT_LOAD)
            continue;
        require(segment.p_vaddr % 4096 == 0 && segment.p_filesz % 4096 == 0 && segment.p_filesz);
        require(i == 1 || segment.p_vaddr >= end);
        end = segment.p_vaddr + segment.p_filesz;
    }
}

static void make_core(struct guest *guest, struct input xsave)
{
    const struct core_cpu cpus[] = {{0, &guest->state, xsave.bytes, xsave.size},
                                    {1, &guest->state, NULL, 0}};
    const struct core_dump dump = {.ram = &guest->ram,
                                   .cpus = cpus,
                                   .cpu_count = 2,
                                   .signal = 11,
                                   .name = "kernel",
                                   .entry = 1};
    int fd = memfd_create("core", MFD_CLOEXEC);

    require(fd >= 0);
    if (core_dump_write(&dump, fd) == 0)
        check_core(fd);
    close(fd);
}

/* The calls before the end. */
static void make_history(struct guest *guest, struct input record)
{
    for (size_t i = 0; i < CALL_HISTORY; i++) {
        uint8_t *bytes = (uint8_t *)&guest->history.records[i];
        struct call_record *made = &guest->history.records[i];
        size_t start = offsetof(struct call_record, payload);
        size_t room = sizeof *made - start;
        memcpy(bytes + start, record.bytes, record.size < room ? record.size : room);
        made->port = record.size ? (uint16_t)(0x1000 + record.bytes[i % record.size] * 16) : 0x1010;
        made->finished = made->has_block = i & 1;
        made->has_text = i & 2;
        made->text_size = record.size ? record.bytes[0] % CALL_RECORD_TEXT : 0;
    }
    guest->history.total = record.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct guest guest;
    struct input input = {bytes, size};

    memset(&guest, 0, sizeof guest);
    guest.state.rip = take(&input, 8);
    guest.state.gpr[X86_RSP] = take(&input, 8);
    guest.state.gpr[X86_RBP] = take(&input, 8);
    guest.state.cr2 = take(&input, 8);
    guest.state.cr3 = BASE + (take(&input, 2) & 0xf000);
    size_t log_size = take(&input, 2) % 4096, image_size = take(&input, 2),
           record = take(&input, 1);
    struct input log = take_bytes(&input, log_size), image = take_bytes(&input, image_size);
    make_history(&guest, take_bytes(&input, record));
    guest.ram = (struct ram){.base = BASE, .size = MEMORY_SIZE, .host = malloc(MEMORY_SIZE)};
    char *text = calloc(1, log.size + 1);
    require(guest.ram.host && text);
    if (log.size)
        memcpy(text, log.bytes, log.size);
    memset(guest.ram.host, 0, MEMORY_SIZE);
    for (size_t at = 0; input.size && at < MEMORY_SIZE; at += input.size)
        memcpy(guest.ram.host + at, input.bytes,
               input.size < MEMORY_SIZE - at ? input.size : MEMORY_SIZE - at);
    symbols_read(&guest.symbols, image.bytes, image.size);
    unwind_open(&guest.unwind, image.bytes, image.size);
    make_report(&guest, image, text);
    make_core(&guest, image);
    symbols_free(&guest.symbols);
    free(guest.ram.host);
    free(text);
    return 0;
}
