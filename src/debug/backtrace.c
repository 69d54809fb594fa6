#include "debug/backtrace.h"

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
        frames[count++] = (struct frame){FRAME_POINTER, back, slot};
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

static size_t scan_stack(const struct guest_view *view, gva_t stack, unsigned bytes,
                         enum frame_origin origin, const struct frame *known, size_t known_count,
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
            guesses[count++] = (struct frame){origin, value, slot};
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

/*
 * A kernel that changes to a stack of its own does so in a function that pushes R12, keeps the old
 * stack pointer there and calls on. So two words from where a saved stack pointer points there is a
 * return address. The value itself is still in R12, or was saved by one of the functions since:
 * between RSP and the outermost frame.
 */
static gva_t find_other_stack(const struct guest_view *view, const struct x86_state *state,
                              const struct frame *frames, size_t count)
{
    gva_t rsp = state->gpr[X86_RSP], top = rsp, found = 0;

    for (size_t i = 0; i < count; i++)
        top = frames[i].slot > top ? frames[i].slot : top;
    for (gva_t slot = top; slot >= rsp && slot - rsp < BACKTRACE_SCAN_BYTES && !found; slot -= 8) {
        uint64_t value;
        if (read_word(view, slot, &value) && value % 8 == 0 && value < UINT64_MAX - 8 &&
            (value < rsp || value > top) && is_return_address(view, value + 8))
            found = value;
        if (slot < 8)
            break;
    }
    gva_t r12 = state->gpr[X86_R12];
    if (!found && r12 % 8 == 0 && r12 < UINT64_MAX - 8 && (r12 < rsp || r12 > top) &&
        is_return_address(view, r12 + 8))
        found = r12;
    return found;
}

size_t backtrace_walk(const struct guest_view *view, const struct x86_state *state,
                      struct frame frames[BACKTRACE_FRAMES])
{
    frames[0] = (struct frame){FRAME_RIP, state->rip, 0};
    size_t count = 1;
    count += walk_frame_pointers(view, state->gpr[X86_RBP], &frames[count]);
    count += scan_stack(view, state->gpr[X86_RSP], BACKTRACE_SCAN_BYTES, FRAME_GUESS, frames, count,
                        &frames[count]);
    sort_by_slot(&frames[1], count - 1);
    gva_t other = find_other_stack(view, state, frames, count);
    if (other)
        count += scan_stack(view, other, BACKTRACE_SCAN_OTHER, FRAME_CALLER, frames, count,
                            &frames[count]);
    return count;
}

void backtrace_format(const struct guest_view *view, const struct frame *frames, size_t count,
                      struct text *text)
{
    unsigned number = 0;
    for (size_t i = 0; i < count; i++) {
        const struct frame *frame = &frames[i];
        if (frame->origin == FRAME_CALLER && frames[i - 1].origin != FRAME_CALLER)
            text_add(text, "  on the stack before this one:\n");
        if (frame->origin == FRAME_GUESS || frame->origin == FRAME_CALLER)
            text_add(text, "  ?  ");
        else
            text_printf(text, "  #%-2u", number++);
        text_printf(text, " 0x%016llx", (unsigned long long)frame->address);
        guest_view_describe(view, frame->address, frame->address - (frame->origin != FRAME_RIP),
                            text);
        text_add(text, "\n");
    }
}
