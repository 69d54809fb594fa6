#include "debug/backtrace.h"

#include <string.h>

#include "image/lines.h"
#include "util/checked.h"

static bool read_word(const struct guest_view *view, gva_t address, uint64_t *value)
{
    return view->read(view->context, address, value, sizeof *value);
}

/* A frame pointer points at the caller's; the return address is above it. */
static size_t walk_frame_pointers(const struct guest_view *view, gva_t pointer,
                                  struct frame frames[BACKTRACE_MAX])
{
    size_t count = 0;
    while (count < BACKTRACE_MAX && pointer && pointer % 8 == 0) {
        uint64_t next, back;
        gva_t slot;
        if (checked_add(pointer, 8, &slot) || !read_word(view, pointer, &next) ||
            !read_word(view, slot, &back) || !guest_view_is_code(view, back))
            break;
        frames[count++] = (struct frame){FRAME_POINTER, back, slot, false};
        if (next <= pointer)
            break;
        pointer = next;
    }
    return count;
}

static bool is_known(const struct frame *frames, size_t count, gva_t slot)
{
    for (size_t i = 0; i < count; i++)
        if (frames[i].slot == slot)
            return true;
    return false;
}

static size_t scan_stack(const struct guest_view *view, gva_t stack, unsigned bytes, bool earlier,
                         const struct frame *known, size_t known_count,
                         struct frame guesses[BACKTRACE_MAX])
{
    size_t count = 0;
    gva_t start;
    if (checked_align_up(stack, 8, &start))
        return 0;
    for (unsigned at = 0; at < bytes && count < BACKTRACE_MAX; at += 8) {
        uint64_t value;
        gva_t slot;
        if (checked_add(start, at, &slot) || !read_word(view, slot, &value))
            break;
        if (guest_view_is_code(view, value) && !is_known(known, known_count, slot) &&
            guest_view_follows_call(view, value))
            guesses[count++] = (struct frame){FRAME_GUESS, value, slot, earlier};
    }
    return count;
}

/* Both parts are in order already, so this is a merge. */
static void sort_by_slot(struct frame *frames, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct frame frame = frames[i];
        size_t to = i;
        for (; to && frames[to - 1].slot > frame.slot; to--)
            frames[to] = frames[to - 1];
        frames[to] = frame;
    }
}

static bool is_return_address(const struct guest_view *view, gva_t slot)
{
    uint64_t value;
    return read_word(view, slot, &value) && guest_view_is_code(view, value) &&
           guest_view_follows_call(view, value);
}

/* Is the return address in one of the functions with which Hermit kernels change stacks? */
static bool changes_stacks(const struct guest_view *view, gva_t address)
{
    uint64_t offset;
    const char *name = view->symbols
                           ? symbols_find(view->symbols, address - 1 - view->load_offset, &offset)
                           : NULL;
    return name && (strncmp(name, "sys_", 4) == 0 || strstr(name, "call_with_stack"));
}

/* The highest address of the current stack that is in use, as far as the frames tell. */
static gva_t stack_top(const struct guest_view *view, gva_t rsp, const struct frame *frames,
                       size_t count)
{
    gva_t top = rsp;

    for (size_t i = 1; i < count; i++) {
        top = frames[i].slot > top ? frames[i].slot : top;
        if (changes_stacks(view, frames[i].address))
            break; /* what lies above is left over, or of somebody else */
    }
    return top;
}

/*
 * A kernel that changes to a stack of its own does so in a function that pushes R12, keeps the old
 * stack pointer there and calls on. So where a saved stack pointer points there is R12, then a
 * return address. The value itself is still in R12, or was saved by one of the functions since:
 * between RSP and the outermost frame.
 */
static gva_t find_other_stack(const struct guest_view *view, gva_t rsp, uint64_t r12,
                              const struct frame *frames, size_t count)
{
    gva_t top = stack_top(view, rsp, frames, count);

    for (gva_t slot = top; slot >= rsp && slot - rsp < BACKTRACE_SCAN_BYTES; slot -= 8) {
        uint64_t value;
        if (read_word(view, slot, &value) && value % 8 == 0 && value < UINT64_MAX - 8 &&
            (value < rsp || value > top) && is_return_address(view, value + 8))
            return value;
        if (slot < 8)
            break;
    }
    return r12 % 8 == 0 && r12 < UINT64_MAX - 8 && (r12 < rsp || r12 > top) &&
                   is_return_address(view, r12 + 8)
               ? r12
               : 0;
}

static bool read_stack(void *context, uint64_t address, uint64_t *word)
{
    return read_word(context, address, word);
}

/* Callers as the unwind tables tell; `at` becomes the outermost one's registers. */
static size_t walk_tables(const struct guest_view *view, struct unwind_registers *at, bool returned,
                          bool earlier, struct frame frames[BACKTRACE_MAX])
{
    size_t count = 0;

    while (view->unwind && count < BACKTRACE_MAX) {
        struct unwind_registers caller = *at;
        gva_t pc = at->value[UNWIND_RA] - (returned || count > 0), old = at->value[UNWIND_RSP];
        if (!guest_view_is_code(view, pc) ||
            !unwind_step(view->unwind, pc - view->load_offset, &caller, read_stack,
                         (void *)(uintptr_t)view) ||
            !guest_view_is_code(view, caller.value[UNWIND_RA] - 1) ||
            caller.value[UNWIND_RSP] <= old)
            break;
        *at = caller;
        frames[count++] = (struct frame){FRAME_TABLE, at->value[UNWIND_RA],
                                         at->value[UNWIND_RSP] - 8, earlier};
    }
    return count;
}

static void to_unwind(const struct x86_state *state, struct unwind_registers *registers)
{
    static const uint8_t order[] = {X86_RAX, X86_RDX, X86_RCX, X86_RBX, X86_RSI, X86_RDI,
                                    X86_RBP, X86_RSP, X86_R8,  X86_R9,  X86_R10, X86_R11,
                                    X86_R12, X86_R13, X86_R14, X86_R15};

    for (unsigned i = 0; i < UNWIND_RA; i++)
        registers->value[i] = state->gpr[order[i]];
    registers->value[UNWIND_RA] = state->rip;
    registers->known = (1u << UNWIND_COLUMNS) - 1;
}

/* What follows where the tables end, on one stack. */
static size_t walk_rest(const struct guest_view *view, const struct unwind_registers *at,
                        unsigned bytes, bool earlier, struct frame *frames, size_t from)
{
    size_t count = from;
    gva_t rbp = !earlier && at->known >> UNWIND_RBP & 1 ? at->value[UNWIND_RBP] : 0;

    count += walk_frame_pointers(view, rbp, &frames[count]);
    count += scan_stack(view, at->value[UNWIND_RSP], bytes, earlier, frames, count, &frames[count]);
    sort_by_slot(&frames[from], count - from);
    return count;
}

size_t backtrace_walk(const struct guest_view *view, const struct x86_state *state,
                      struct frame frames[BACKTRACE_FRAMES])
{
    struct unwind_registers at;
    uint64_t word;

    frames[0] = (struct frame){FRAME_RIP, state->rip, 0, false};
    size_t count = 1;
    to_unwind(state, &at);
    count += walk_tables(view, &at, false, false, &frames[count]);
    count = walk_rest(view, &at, BACKTRACE_SCAN_BYTES, false, frames, count);
    gva_t other = find_other_stack(view, state->gpr[X86_RSP], state->gpr[X86_R12], frames, count);
    if (!other || !read_word(view, other, &at.value[UNWIND_R12]) ||
        !read_word(view, other + 8, &word))
        return count;
    at.value[UNWIND_RSP] = other + 16;
    at.value[UNWIND_RA] = word;
    frames[count++] = (struct frame){FRAME_GUESS, word, other + 8, true};
    count += walk_tables(view, &at, true, true, &frames[count]);
    return walk_rest(view, &at, BACKTRACE_SCAN_OTHER, true, frames, count);
}

static void find_places(const struct guest_view *view, const struct frame *frames, size_t count,
                        struct line_place *places)
{
    for (size_t i = 0; i < count; i++)
        places[i] = (struct line_place){
            .address = frames[i].address - (frames[i].origin != FRAME_RIP) - view->load_offset};
    if (view->file)
        lines_find(view->file, view->file_size, places, count);
}

static void add_place(const struct line_place *place, struct text *text)
{
    if (place->line)
        text_printf(text, " at %s:%u", place->file, place->line);
}

void backtrace_add_place(const struct guest_view *view, const struct frame *frame,
                         struct text *text)
{
    struct line_place place;

    find_places(view, frame, 1, &place);
    add_place(&place, text);
}

void backtrace_format(const struct guest_view *view, const struct frame *frames, size_t count,
                      struct text *text)
{
    struct line_place places[BACKTRACE_FRAMES];
    unsigned number = 0;

    find_places(view, frames, count, places);
    for (size_t i = 0; i < count; i++) {
        const struct frame *frame = &frames[i];
        if (frame->earlier && !frames[i - 1].earlier)
            text_add(text, "  on the stack before this one:\n");
        if (frame->origin == FRAME_GUESS)
            text_add(text, "  ?  ");
        else
            text_printf(text, "  #%-2u", number++);
        text_printf(text, " 0x%016llx", (unsigned long long)frame->address);
        guest_view_describe(view, frame->address, frame->address - (frame->origin != FRAME_RIP),
                            text);
        add_place(&places[i], text);
        text_add(text, "\n");
    }
}
