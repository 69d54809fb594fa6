/*
 * Theory of operation. A trap costs more than a microsecond before the engine has looked at it, an
 * emulated instruction some ten nanoseconds. What a kernel does as a kernel comes in clusters: it
 * walks its page tables through addresses that cannot be mapped, scans a bus port by port, prints a
 * line byte by byte. Between two such instructions there are a dozen ordinary ones. So the engine
 * goes on emulating behind an emulated instruction until WINDOW ordinary ones in a row were not
 * worth it, and counts an instruction that would have trapped as a success.
 *
 * Whether to go on is decided by RIP, from what came of it the last times (struct site): code that
 * traps once is not worth decoding unless the last trap was just before, and where nothing came the
 * next tries are put off further and further.
 *
 * The rules. Everything emulated here must have the effect it has natively, including page faults:
 * an instruction that faults or that nobody here knows is left to the guest, which then traps in
 * the ordinary way. Events are looked at after every instruction that would have trapped and after
 * WINDOW others at most, like at the end of a trap. Where instructions are to be noticed one by one
 * (trap flag, single steps), nothing is run ahead.
 *
 * Decoded instructions are kept by guest-physical address and compared with the bytes in memory,
 * patched or not, before they are used again: code may change at any time.
 */
#include "accel/direct/engine/ahead.h"

#include "accel/direct/engine/apic.h"
#include "accel/direct/engine/execute.h"
#include "accel/direct/engine/memory.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"
#include "accel/direct/engine/privileged.h"
#include "accel/direct/engine/queue.h"

#define WINDOW      48
#define TOTAL       4096 /* instructions before the guest runs natively again */
#define BACKOFF_MAX 64
#define STRING_MAX  32 /* elements of a string instruction */

#define CACHE_SIZE 2048
#define SITES      1024

/* A decoded instruction. */
struct cached {
    uint64_t gpa; /* 0: none; there is no code at address 0 */
    uint64_t bytes[2];
    struct insn insn;
};

/* What comes of going on at an address. */
struct site {
    uint32_t tag;
    uint8_t known;   /* trapped here before */
    uint8_t wait;    /* so many times it is not tried */
    uint8_t backoff; /* the next such number */
};

struct ahead {
    uint64_t page; /* guest-virtual page of code that was translated last; 1: none */
    uint64_t page_gpa;
    const uint8_t *page_view;
    struct insn uncached;
    struct mmu_cache data;
    struct site sites[SITES];
    struct cached cache[CACHE_SIZE];
};

_Static_assert(sizeof(struct ahead) <= AHEAD_SIZE, "its place in a thread's memory");

static uint64_t hash(uint64_t address)
{
    return address * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

static struct site *find_site(struct ahead *ahead, uint64_t rip)
{
    struct site *site = &ahead->sites[hash(rip) % SITES];

    if (site->tag != (uint32_t)rip)
        *site = (struct site){.tag = (uint32_t)rip};
    return site;
}

static bool is_worth_trying(struct site *site, bool dense)
{
    bool known = site->known || dense;

    site->known = true;
    if (!site->wait)
        return known;
    site->wait--;
    return false;
}

static void note_failure(struct site *site)
{
    site->backoff = site->backoff >= BACKOFF_MAX ? BACKOFF_MAX : (uint8_t)(2 * site->backoff + 1);
    site->wait = site->backoff;
}

static bool translate_page(struct cpu *cpu, struct ahead *ahead, uint64_t page)
{
    struct translation t;

    ahead->page = 1;
    if (!mmu_translate(cpu, page, ACCESS_EXECUTE, &t))
        return false;
    ahead->page_view = ram_view(t.gpa, DIRECT_PAGE);
    if (!ahead->page_view)
        return false;
    ahead->page_gpa = t.gpa;
    ahead->page = page;
    return true;
}

static const struct insn *decode_slowly(struct cpu *cpu, struct insn *insn)
{
    uint8_t code[INSN_MAX];
    unsigned size = mmu_fetch(cpu, cpu->state->rip, code, sizeof code);
    return insn_decode(code, size, insn) ? insn : (void *)0;
}

/* The instruction at RIP; NULL if there is none that is known. */
static const struct insn *fetch(struct cpu *cpu, struct ahead *ahead)
{
    uint64_t rip = cpu->state->rip, page = rip & ~UINT64_C(0xfff), offset = rip & 0xfff;
    uint64_t bytes[2];

    if (offset > DIRECT_PAGE - sizeof bytes)
        return decode_slowly(cpu, &ahead->uncached);
    if (page != ahead->page && !translate_page(cpu, ahead, page))
        return (void *)0;
    uint64_t gpa = ahead->page_gpa + offset;
    struct cached *cached = &ahead->cache[hash(gpa) % CACHE_SIZE];
    memory_copy(&bytes[0], ahead->page_view + offset, 8);
    memory_copy(&bytes[1], ahead->page_view + offset + 8, 8);
    if (cached->gpa == gpa && cached->bytes[0] == bytes[0] && cached->bytes[1] == bytes[1])
        return &cached->insn;
    /* What a HLT stands for outside the kernel's text may change without the byte. */
    if ((uint8_t)bytes[0] == DIRECT_TRAP &&
        engine.page_kinds[(gpa - engine.ram_base) / DIRECT_PAGE] != DIRECT_PAGE_TEXT)
        return decode_slowly(cpu, &ahead->uncached);
    cached->gpa = 0;
    if (!decode_slowly(cpu, &cached->insn))
        return (void *)0;
    cached->bytes[0] = bytes[0];
    cached->bytes[1] = bytes[1];
    cached->gpa = gpa;
    return &cached->insn;
}

/* Forget translations. */
static void flush(struct ahead *ahead)
{
    ahead->page = 1;
    mmu_cache_flush(&ahead->data);
}

/* Is there something that the end of a trap deals with? */
static bool is_interrupted(const struct cpu *cpu)
{
    const struct x86_state *state = cpu->state;
    uint64_t deadline = cpu->shared->apic.deadline;

    if (cpu->shared->halted || __atomic_load_n(&cpu->shared->pending, __ATOMIC_SEQ_CST) ||
        cpu->stepping || (state->rflags & RFLAGS_TF))
        return true;
    if (!(state->rflags & X86_RFLAGS_IF))
        return false;
    return apic_pending(cpu) >= 0 || (deadline && rdtsc() >= deadline) ||
           (cpu->flags_restored && (state->cr0 & CR0_TS));
}

/* LEA and NOP only look as if they accessed memory. */
static bool accesses_memory(const struct insn *insn)
{
    if (insn->map == MAP_ONE)
        return insn->memory && insn->opcode != 0x8d;
    return insn->memory && insn->opcode >= 0x20;
}

static bool is_unmappable(const struct cpu *cpu, const struct insn *insn)
{
    if (!accesses_memory(insn))
        return false;
    uint64_t gva = operand_address(cpu, insn);
    return gva >= DIRECT_GUEST_END || gva < engine.header->lowest_mapping;
}

/* What trampolines do without a trap. */
static bool is_cheap(const struct cpu *cpu, const struct insn *insn)
{
    if (insn->map != MAP_ONE || !engine.area)
        return false;
    switch (insn->opcode) {
    case 0x9c: /* PUSHF, POPF, CLI, STI */
    case 0x9d:
    case 0xfa:
    case 0xfb:
        return cpu->trampoline;
    case 0xec ... 0xef: /* IN and OUT with the port in DX */
        return queue_port_kind((uint16_t)cpu->state->gpr[X86_RDX]) != TRAMPOLINE_PORT_TRAP;
    default:
        return false;
    }
}

enum progress {
    PROGRESS_NONE,     /* nothing done: left to the guest */
    PROGRESS_ORDINARY, /* an instruction that the guest could have executed */
    PROGRESS_EVENT,    /* the same, but there may be something to deliver now */
    PROGRESS_TRAP,     /* one that would have trapped */
};

/* The processor is much faster at these. */
static bool is_long_string(const struct cpu *cpu, const struct insn *insn)
{
    return (insn->rep || insn->repne) && insn->map == MAP_ONE && insn->opcode >= 0xa4 &&
           insn->opcode <= 0xaf && cpu->state->gpr[X86_RCX] > STRING_MAX;
}

static enum progress step(struct cpu *cpu, const struct insn *insn)
{
    bool trapping = is_unmappable(cpu, insn);

    if (is_long_string(cpu, insn))
        return PROGRESS_NONE;
    cpu->device_reached = false;
    enum result result = execute_run(cpu, insn);
    if (result == RESULT_OK)
        return trapping || cpu->device_reached ? PROGRESS_TRAP : PROGRESS_ORDINARY;
    if (result == RESULT_FAULT || privileged_run(cpu, insn) != RESULT_OK)
        return PROGRESS_NONE;
    if (is_cheap(cpu, insn))
        return PROGRESS_EVENT;
    flush(cpu->ahead);
    return PROGRESS_TRAP;
}

static void run(struct cpu *cpu, struct ahead *ahead, struct site *site)
{
    unsigned ordinary = 0;

    flush(ahead);
    for (unsigned total = 0; total < TOTAL && ordinary < WINDOW; total++) {
        const struct insn *insn = fetch(cpu, ahead);
        enum progress progress = insn ? step(cpu, insn) : PROGRESS_NONE;
        if (progress == PROGRESS_NONE)
            break;
        ordinary++;
        if (progress == PROGRESS_ORDINARY)
            continue;
        if (progress == PROGRESS_TRAP) {
            site->backoff = 0;
            site = find_site(ahead, cpu->state->rip);
            ordinary = 0;
        }
        if (is_interrupted(cpu) || site->wait)
            return;
        cpu->flags_restored = false;
    }
    note_failure(site);
}

void ahead_run(struct cpu *cpu, bool dense)
{
    struct site *site = find_site(cpu->ahead, cpu->state->rip);

    if (!is_worth_trying(site, dense) || is_interrupted(cpu))
        return;
    cpu->mmu_cache = &cpu->ahead->data;
    run(cpu, cpu->ahead, site);
    cpu->mmu_cache = (void *)0;
}
