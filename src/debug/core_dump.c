#include "debug/core_dump.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>
#include <unistd.h>

#include "arch/x86_64/paging.h"
#include "util/text.h"

#define PAGE         4096
#define SEGMENTS_MAX 20000      /* program headers: there are at most 65,534 */
#define ENTRIES_MAX  (1U << 24) /* page-table entries that are looked at */
#define NO_EXECUTE   (UINT64_C(1) << 63)
#define FXSAVE_SIZE  512
#define XCR0_OFFSET  464 /* in the XSAVE area, where gdb looks for it */
#define XSTATE_BV    512

const struct sandbox_call core_dump_calls[] = {
    SANDBOX_CALL(pwrite64),
    SANDBOX_CALL(ftruncate),
    SANDBOX_END,
};

/* Neighbouring pages whose memory is in one piece, too. */
struct segment {
    gva_t start;
    gpa_t gpa;
    uint64_t size;
    uint32_t flags;
};

struct map {
    const struct ram *ram;
    gpa_t top;
    struct segment *segments;
    size_t count, capacity;
    uint64_t bytes, bytes_max;
    uint32_t entries;
    bool full;   /* a limit is reached */
    bool failed; /* there is not enough memory */
};

static void add_page(struct map *map, gva_t gva, gpa_t gpa, uint64_t size, uint32_t flags)
{
    struct segment *last = map->count ? &map->segments[map->count - 1] : NULL;

    if (!ram_at(map->ram, gpa, size))
        return;
    if (map->bytes + size > map->bytes_max) {
        map->full = true;
        return;
    }
    map->bytes += size;
    if (last && last->start + last->size == gva && last->gpa + last->size == gpa &&
        last->flags == flags) {
        last->size += size;
        return;
    }
    if (map->count == SEGMENTS_MAX) {
        map->full = true;
        return;
    }
    if (map->count == map->capacity) {
        size_t capacity = map->capacity ? map->capacity * 2 : 64;
        struct segment *larger = realloc(map->segments, capacity * sizeof *larger);
        if (!larger) {
            map->full = true;
            map->failed = true;
            return;
        }
        map->segments = larger;
        map->capacity = capacity;
    }
    map->segments[map->count++] = (struct segment){gva, gpa, size, flags};
}

/* All pages below one table, in ascending order. `permit` is what the levels above permit. */
static void walk(struct map *map, gpa_t table, unsigned level, gva_t base, uint32_t permit)
{
    for (unsigned i = 0; i < 512 && !map->full; i++) {
        gva_t gva = base + ((uint64_t)i << (12 + 9 * level));
        uint64_t entry;
        if (++map->entries > ENTRIES_MAX) {
            map->full = true;
            return;
        }
        if (!ram_read(map->ram, table + 8 * i, &entry, sizeof entry) || !(entry & X86_PTE_PRESENT))
            continue;
        if (level == 3 && i >= 256)
            gva |= UINT64_C(0xffff) << 48;
        /* A kernel that maps its tables into themselves does so in the highest level. */
        if (level == 3 && (entry & X86_PTE_FRAME) == map->top)
            continue;
        uint32_t flags = permit & ~(uint32_t)((entry & X86_PTE_WRITABLE ? 0 : PF_W) |
                                              (entry & NO_EXECUTE ? PF_X : 0));
        uint64_t size = UINT64_C(1) << (12 + 9 * level);
        if (level == 0 || (level < 3 && (entry & X86_PTE_LARGE)))
            add_page(map, gva, align_down(entry & X86_PTE_FRAME, size), size, flags);
        else
            walk(map, entry & X86_PTE_FRAME, level - 1, gva, flags);
    }
}

static void add_note(struct text *notes, const char *name, uint32_t type, const void *content,
                     size_t size)
{
    static const char zeros[4];
    const Elf64_Nhdr header = {(uint32_t)strlen(name) + 1, (uint32_t)size, type};

    text_add_bytes(notes, &header, sizeof header);
    text_add_bytes(notes, name, header.n_namesz);
    text_add_bytes(notes, zeros, -header.n_namesz & 3);
    text_add_bytes(notes, content, size);
    text_add_bytes(notes, zeros, -size & 3);
}

static void fill_registers(struct user_regs_struct *regs, const struct x86_state *state)
{
    const uint64_t *gpr = state->gpr;

    *regs = (struct user_regs_struct){
        .r15 = gpr[X86_R15],
        .r14 = gpr[X86_R14],
        .r13 = gpr[X86_R13],
        .r12 = gpr[X86_R12],
        .rbp = gpr[X86_RBP],
        .rbx = gpr[X86_RBX],
        .r11 = gpr[X86_R11],
        .r10 = gpr[X86_R10],
        .r9 = gpr[X86_R9],
        .r8 = gpr[X86_R8],
        .rax = gpr[X86_RAX],
        .rcx = gpr[X86_RCX],
        .rdx = gpr[X86_RDX],
        .rsi = gpr[X86_RSI],
        .rdi = gpr[X86_RDI],
        .orig_rax = UINT64_MAX,
        .rip = state->rip,
        .cs = state->cs.selector,
        .eflags = state->rflags,
        .rsp = gpr[X86_RSP],
        .ss = state->ss.selector,
        .fs_base = state->fs.base,
        .gs_base = state->gs.base,
        .ds = state->ds.selector,
        .es = state->es.selector,
        .fs = state->fs.selector,
        .gs = state->gs.selector,
    };
}

/* The vector registers, in one of the sizes that gdb knows, with the features where it looks. */
static void add_xstate(struct text *notes, const struct core_cpu *cpu)
{
    static const struct {
        uint64_t features;
        size_t size;
    } sizes[] = {{0x2e7, 2696}, {0xe7, 2688}, {7, 832}};
    uint8_t area[2696];
    uint64_t used;

    if (cpu->xsave_size < sizes[2].size)
        return;
    memcpy(&used, (const uint8_t *)cpu->xsave + XSTATE_BV, sizeof used);
    for (size_t i = 0; i < 3; i++) {
        bool needed = i == 2 || (used & (sizes[i].features & ~sizes[i + 1].features));
        if (!needed || cpu->xsave_size < sizes[i].size)
            continue;
        memcpy(area, cpu->xsave, sizes[i].size);
        memcpy(area + XCR0_OFFSET, &sizes[i].features, sizeof sizes[i].features);
        add_note(notes, "LINUX", NT_X86_XSTATE, area, sizes[i].size);
        return;
    }
}

static void add_cpu(struct text *notes, const struct core_cpu *cpu, int signal)
{
    struct elf_prstatus status = {
        .pr_info.si_signo = signal,
        .pr_cursig = (short)signal,
        .pr_pid = (pid_t)cpu->index + 1,
        .pr_fpvalid = cpu->xsave != NULL,
    };
    struct user_regs_struct regs;

    fill_registers(&regs, cpu->state);
    memcpy(&status.pr_reg, &regs, sizeof regs);
    add_note(notes, "CORE", NT_PRSTATUS, &status, sizeof status);
    if (!cpu->xsave || cpu->xsave_size < FXSAVE_SIZE)
        return;
    add_note(notes, "CORE", NT_FPREGSET, cpu->xsave, FXSAVE_SIZE);
    add_xstate(notes, cpu);
}

static void make_notes(struct text *notes, const struct core_dump *dump)
{
    const Elf64_auxv_t auxv[] = {
        {AT_PAGESZ, {PAGE}},
        {AT_ENTRY, {dump->entry}},
        {AT_NULL, {0}},
    };
    struct elf_prpsinfo info = {.pr_sname = 'R', .pr_pid = 1};

    /* gdb compares it with the name of the image. */
    snprintf(info.pr_fname, sizeof info.pr_fname, "%s", dump->name);
    snprintf(info.pr_psargs, sizeof info.pr_psargs, "%s", dump->name);
    for (size_t i = 0; i < dump->cpu_count; i++) {
        add_cpu(notes, &dump->cpus[i], i ? 0 : dump->signal);
        if (i == 0) {
            add_note(notes, "CORE", NT_PRPSINFO, &info, sizeof info);
            add_note(notes, "CORE", NT_AUXV, auxv, sizeof auxv);
        }
    }
}

static int write_at(int fd, const void *data, size_t size, uint64_t offset)
{
    const uint8_t *from = data;

    while (size) {
        ssize_t done = pwrite(fd, from, size, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? -errno : -EIO;
        from += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
    return 0;
}

static bool is_zero(const uint8_t page[PAGE])
{
    return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

static int write_segment(const struct core_dump *dump, const struct segment *segment, int fd,
                         uint64_t offset)
{
    uint8_t page[PAGE];
    int err = 0;

    for (uint64_t at = 0; at < segment->size && !err; at += PAGE) {
        ram_read(dump->ram, segment->gpa + at, page, sizeof page);
        if (is_zero(page))
            continue;
        if (dump->original && segment->flags & PF_X)
            dump->original(dump->context, segment->gpa + at, page, sizeof page);
        err = write_at(fd, page, sizeof page, offset + at);
    }
    return err;
}

static int write_headers(const struct map *map, const struct text *notes, int fd, uint64_t data)
{
    const Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof header,
        .e_ehsize = sizeof header,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (uint16_t)(map->count + 1),
    };
    struct text headers = {0};
    Elf64_Phdr program = {.p_type = PT_NOTE,
                          .p_offset = sizeof header + header.e_phnum * sizeof program,
                          .p_filesz = notes->size,
                          .p_align = 4};

    text_add_bytes(&headers, &header, sizeof header);
    text_add_bytes(&headers, &program, sizeof program);
    for (size_t i = 0; i < map->count; i++) {
        const struct segment *segment = &map->segments[i];
        program = (Elf64_Phdr){.p_type = PT_LOAD,
                               .p_flags = segment->flags,
                               .p_offset = data,
                               .p_vaddr = segment->start,
                               .p_paddr = segment->gpa,
                               .p_filesz = segment->size,
                               .p_memsz = segment->size,
                               .p_align = PAGE};
        text_add_bytes(&headers, &program, sizeof program);
        data += segment->size;
    }
    text_add_bytes(&headers, notes->data, notes->size);
    int err = headers.failed || notes->failed ? -ENOMEM
                                              : write_at(fd, headers.data, headers.size, 0);
    text_free(&headers);
    return err;
}

int core_dump_write(const struct core_dump *dump, int fd)
{
    struct map map = {
        .ram = dump->ram,
        .top = dump->cpus[0].state->cr3 & X86_PTE_FRAME,
        /* Memory that is mapped more than once is in the file more than once. */
        .bytes_max = dump->ram->size * 2,
    };
    struct text notes = {0};

    walk(&map, map.top, 3, 0, PF_R | PF_W | PF_X);
    make_notes(&notes, dump);
    uint64_t offset = sizeof(Elf64_Ehdr) + (map.count + 1) * sizeof(Elf64_Phdr) + notes.size;
    offset = (offset + PAGE - 1) / PAGE * PAGE;
    int err = map.failed ? -ENOMEM : write_headers(&map, &notes, fd, offset);
    for (size_t i = 0; i < map.count && !err; i++) {
        err = write_segment(dump, &map.segments[i], fd, offset);
        offset += map.segments[i].size;
    }
    while (!err && ftruncate(fd, (off_t)offset) != 0)
        err = errno == EINTR ? 0 : -errno;
    if (err) {
        /* The first error is the one to tell. */
        int ignored = ftruncate(fd, 0);
        (void)ignored;
    }
    text_free(&notes);
    free(map.segments);
    return err;
}
