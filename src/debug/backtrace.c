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

static size_t scan_stack(const struct guest_view *view, gva_t stack, const struct frame *known,
                         size_t known_count, struct frame guesses[BACKTRACE_MAX])
{
    size_t count = 0;
    gva_t start;
    if (checked_align_up(stack, 8, &start))
        return 0;
    for (unsigned at = 0; at < BACKTRACE_SCAN_BYTES && count < BACKTRACE_MAX; at += 8) {
        uint64_t value;
        gva_t slot;
        if (checked_add(start, at, &slot) || !read_word(view, slot, &value))
            break;
        if (guest_view_is_code(view, value) && !is_known(known, known_count, slot) &&
            guest_view_follows_call(view, value))
            guesses[count++] = (struct frame){FRAME_GUESS, value, slot};
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

size_t backtrace_walk(const struct guest_view *view, const struct x86_state *state,
                      struct frame frames[BACKTRACE_FRAMES])
{
    frames[0] = (struct frame){FRAME_RIP, state->rip, 0};
    size_t count = 1;
    count += walk_frame_pointers(view, state->gpr[X86_RBP], &frames[count]);
    count += scan_stack(view, state->gpr[X86_RSP], frames, count, &frames[count]);
    sort_by_slot(&frames[1], count - 1);
    return count;
}

void backtrace_format(const struct guest_view *view, const struct frame *frames, size_t count,
                      struct text *text)
{
    unsigned number = 0;
    for (size_t i = 0; i < count; i++) {
        const struct frame *frame = &frames[i];
        if (frame->origin == FRAME_GUESS)
            text_add(text, "  ?  ");
        else
            text_printf(text, "  #%-2u", number++);
        text_printf(text, " 0x%016llx", (unsigned long long)frame->address);
        guest_view_describe(view, frame->address, frame->address - (frame->origin != FRAME_RIP),
                            text);
        text_add(text, "\n");
    }
}
