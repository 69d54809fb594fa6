/* Core files: their structure, and what hostile page tables make of them. */
#include "unit.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/x86_64/paging.h"
#include "debug/core_dump.h"

#define BASE  UINT64_C(0x200000)
#define PAGES 64

static uint8_t memory[PAGES][4096] __attribute__((aligned(4096)));
static const struct ram ram = {.base = BASE, .size = sizeof memory, .host = memory[0]};

static uint64_t *table(unsigned page)
{
    return (uint64_t *)(void *)memory[page];
}

static uint64_t entry(unsigned page, uint64_t flags)
{
    return (BASE + page * 4096) | X86_PTE_PRESENT | flags;
}

/* Returns the descriptor of the file. */
static int dump_ram(const struct ram *of, int *err)
{
    struct x86_state states[2] = {{.rip = 0x1234, .cr3 = BASE}, {.rip = 0x5678, .cr3 = BASE}};
    static uint8_t xsave[1024];
    const struct core_cpu cpus[] = {{1, &states[1], NULL, 0}, {0, &states[0], xsave, sizeof xsave}};
    const struct core_dump core = {
        .ram = of, .cpus = cpus, .cpu_count = 2, .signal = 11, .name = "image", .entry = 0x4711};
    int fd = memfd_create("core", MFD_CLOEXEC);

    *err = core_dump_write(&core, fd);
    return fd;
}

static int dump(int *err)
{
    return dump_ram(&ram, err);
}

static Elf64_Phdr program[32];

static size_t read_headers(int fd)
{
    Elf64_Ehdr header;
    assert_int_equal(pread(fd, &header, sizeof header, 0), sizeof header);
    assert_int_equal(header.e_type, ET_CORE);
    size_t count = header.e_phnum < 32 ? header.e_phnum : 32;
    assert_true(pread(fd, program, count * sizeof *program, (off_t)header.e_phoff) > 0);
    return header.e_phnum;
}

static void mapped_memory(void **state)
{
    int err;
    memset(memory, 0, sizeof memory);
    table(0)[0] = entry(1, X86_PTE_WRITABLE);
    table(0)[511] = entry(0, X86_PTE_WRITABLE); /* into itself: left out */
    table(0)[256] = entry(1, 0);                /* the upper half, read-only */
    table(1)[0] = entry(2, X86_PTE_WRITABLE);
    table(2)[0] = entry(3, X86_PTE_WRITABLE);
    table(3)[1] = entry(10, X86_PTE_WRITABLE);
    table(3)[2] = entry(11, X86_PTE_WRITABLE);  /* goes on */
    table(3)[3] = entry(20, 0);                 /* elsewhere */
    table(3)[4] = 0xfff000 | X86_PTE_PRESENT;   /* not memory */
    table(3)[5] = entry(21, UINT64_C(1) << 63); /* no code */
    memset(memory[11], 'b', 4096);
    int fd = dump(&err);
    assert_int_equal(err, 0);
    assert_int_equal(read_headers(fd), 1 + 2 * 3);
    assert_int_equal(program[0].p_type, PT_NOTE);
    assert_int_equal(program[1].p_vaddr, 0x1000);
    assert_int_equal(program[1].p_filesz, 0x2000);
    assert_int_equal(program[1].p_flags, PF_R | PF_W | PF_X);
    assert_int_equal(program[2].p_vaddr, 0x3000);
    assert_int_equal(program[2].p_flags, PF_R | PF_X);
    assert_int_equal(program[3].p_vaddr, 0x5000);
    assert_int_equal(program[3].p_flags, PF_R);
    assert_int_equal(program[4].p_vaddr, UINT64_C(0xffff800000001000));
    assert_int_equal(program[4].p_flags, PF_R | PF_X);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)program[1].p_offset + 0x1fff), 1);
    assert_int_equal(byte, 'b');
    struct stat status;
    fstat(fd, &status);
    assert_int_equal(status.st_size, program[6].p_offset + program[6].p_filesz);

    /* The first thread is the one that crashed. */
    struct {
        Elf64_Nhdr header;
        char name[8];
        struct elf_prstatus status;
    } __attribute__((packed)) note;
    assert_int_equal(pread(fd, &note, sizeof note, (off_t)program[0].p_offset), sizeof note);
    assert_int_equal(note.header.n_type, NT_PRSTATUS);
    assert_int_equal(note.status.pr_pid, 2);
    assert_int_equal(note.status.pr_cursig, 11);
    assert_int_equal(note.status.pr_reg[16], 0x5678); /* rip */
    close(fd);
}

/* Every entry of every table leads to the same tables: four times 512 levels of mappings. */
static void endless_tables(void **state)
{
    int err;
    struct stat status;
    memset(memory, 0, sizeof memory);
    for (unsigned page = 0; page < 4; page++)
        for (unsigned i = 0; i < 512; i++)
            table(page)[i] = entry(page < 3 ? page + 1 : 10 + i % 2 * 5, X86_PTE_WRITABLE);
    int fd = dump(&err);
    assert_int_equal(err, 0);
    assert_true(read_headers(fd) <= 65534);
    fstat(fd, &status);
    assert_true(status.st_size <= 3 * (off_t)sizeof memory + (2 << 20));
    close(fd);
}

/* The same with pages that are not memory: looking at all would take hours. */
static void endless_tables_without_memory(void **state)
{
    int err;
    memset(memory, 0, sizeof memory);
    for (unsigned page = 0; page < 4; page++)
        for (unsigned i = 0; i < 512; i++)
            table(page)[i] = page < 3 ? entry(page + 1, 0) : 0xfff000 | X86_PTE_PRESENT;
    int fd = dump(&err);
    assert_int_equal(err, 0);
    assert_int_equal(read_headers(fd), 1);
    close(fd);
}

/* More pages that do not follow each other than a file can have program headers. */
static void very_many_segments(void **state)
{
    int err;
    struct ram large = {.base = BASE, .size = UINT64_C(128) << 20};
    large.host = mmap(NULL, large.size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(large.host, MAP_FAILED);
    for (unsigned i = 0; i < 512; i++) {
        for (unsigned page = 0; page < 3; page++)
            ((uint64_t *)(void *)large.host)[512 * page + i] = entry(page + 1, 0);
        ((uint64_t *)(void *)large.host)[512 * 3 + i] = entry(10 + i % 2 * 5, 0);
    }
    int fd = dump_ram(&large, &err);
    assert_int_equal(err, 0);
    assert_int_equal(read_headers(fd), 1 + 20000);
    assert_int_equal(program[31].p_filesz, 4096);
    close(fd);
    munmap(large.host, large.size);
}

static void no_tables(void **state)
{
    int err;
    memset(memory, 0xff, sizeof memory); /* entries far outside of memory */
    int fd = dump(&err);
    assert_int_equal(err, 0);
    assert_int_equal(read_headers(fd), 1);
    close(fd);
}

static void a_file_that_cannot_be_written(void **state)
{
    struct x86_state at = {.cr3 = BASE};
    const struct core_cpu cpu = {0, &at, NULL, 0};
    const struct core_dump core = {.ram = &ram, .cpus = &cpu, .cpu_count = 1, .name = ""};
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(core_dump_write(&core, fd), -ENOSPC);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mapped_memory),
        cmocka_unit_test(endless_tables),
        cmocka_unit_test(endless_tables_without_memory),
        cmocka_unit_test(very_many_segments),
        cmocka_unit_test(no_tables),
        cmocka_unit_test(a_file_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
