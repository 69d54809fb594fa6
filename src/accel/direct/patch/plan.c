#include "accel/direct/patch/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "accel/direct/patch/targets.h"
#include "util/checked.h"
#include "util/error.h"

#define JUMP_SIZE      5
#define JUMP           0xE9
#define ALIGNMENT      16U  /* of trampolines */
#define SITES_EXPECTED 4096 /* an image of Hermit has 400 to 1400 */

struct plan {
    const struct plan_image *image;
    const struct plan_area *area;
    struct sweep sweep;
    uint64_t *memory; /* of the sweep */
    struct patch_table *table;
    size_t done; /* offset behind the last piece that was dealt with */
    struct plan_report report;
};

/* Instructions [start, end) of the image, as offsets. */
struct piece {
    size_t start, end;
    bool closed; /* nothing falls through at the end */
};

/* Decode the instruction that the sweep found at `at`. False if it found none there. */
static bool insn_at(const struct plan *plan, size_t at, struct decode_insn *insn)
{
    return at < plan->image->size && sweep_bit(plan->sweep.starts, at) &&
           decode(plan->image->bytes + at, plan->image->size - at, insn);
}

/*
 * True for sti before hlt or mwait: the engine must see both, for an interrupt that came between
 * them would be slept through.
 */
static bool is_idle(const struct plan *plan, size_t at, const struct decode_insn *insn)
{
    struct decode_insn next;
    return sweep_classify(insn) == SWEEP_STI && insn_at(plan, at + insn->length, &next) &&
           ((next.map == DECODE_ONE_BYTE && next.opcode == PATCH_TRAP) ||
            (next.map == DECODE_0F && next.opcode == 0x01));
}

static bool can_replace(const struct plan *plan, size_t at, const struct decode_insn *insn)
{
    return trampoline_replaces(insn) && !is_idle(plan, at, insn);
}

static bool fits_trampoline(const struct plan *plan, size_t at, const struct decode_insn *insn)
{
    return can_replace(plan, at, insn) || trampoline_can_move(insn);
}

/* True if control comes to `at` only from the instruction before it. */
static bool is_interior(const struct plan *plan, size_t at)
{
    return !sweep_bit(plan->sweep.targets, at) && !sweep_bit(plan->sweep.anchors, at);
}

static void extend_forward(const struct plan *plan, struct piece *piece)
{
    struct decode_insn insn;
    while (piece->end - piece->start < JUMP_SIZE && !piece->closed) {
        if (!is_interior(plan, piece->end) || !insn_at(plan, piece->end, &insn) ||
            !fits_trampoline(plan, piece->end, &insn))
            return;
        piece->end += insn.length;
        piece->closed = decode_ends_block(&insn);
    }
}

static void extend_backward(const struct plan *plan, struct piece *piece)
{
    struct decode_insn insn;
    while (piece->end - piece->start < JUMP_SIZE) {
        size_t before = piece->start;
        do {
            if (before <= plan->done || piece->start - before == DECODE_MAX_LENGTH)
                return;
            before--;
        } while (!sweep_bit(plan->sweep.starts, before));
        if (!is_interior(plan, piece->start) || !insn_at(plan, before, &insn) ||
            before + insn.length != piece->start || !fits_trampoline(plan, before, &insn) ||
            decode_ends_block(&insn))
            return;
        piece->start = before;
    }
}

static struct patch *add_patch(struct plan *plan, const struct piece *piece, uint8_t kind)
{
    struct patch *patch = &plan->table->list[plan->table->count];
    *patch = (struct patch){
        .address = plan->image->address + piece->start,
        .trampoline = plan->table->area_used,
        .kind = kind,
        .length = (uint8_t)(piece->end - piece->start),
    };
    memcpy(patch->original, plan->image->bytes + piece->start, patch->length);
    return patch;
}

static bool add_trampoline(struct plan *plan, const struct sweep_site *site)
{
    const struct plan_area *area = plan->area;
    uint32_t used = plan->table->area_used;
    struct piece piece = {.start = site->address - plan->image->address};
    struct decode_insn insn;
    if (area->target.mode == TRAMPOLINE_NONE || area->size < TRAMPOLINE_SIZE_MAX ||
        used > area->size - TRAMPOLINE_SIZE_MAX || !insn_at(plan, piece.start, &insn) ||
        !can_replace(plan, piece.start, &insn))
        return false;
    piece.end = piece.start + insn.length;
    extend_forward(plan, &piece);
    extend_backward(plan, &piece);
    if (piece.end - piece.start < JUMP_SIZE || piece.end - piece.start > PATCH_BYTES_MAX)
        return false;
    struct patch *patch = add_patch(plan, &piece, site->kind);
    uint64_t jump = area->address + used - (patch->address + JUMP_SIZE);
    if ((int64_t)jump != (int32_t)jump ||
        !trampoline_emit(&area->target, patch, area->bytes + used, area->address + used,
                         plan->table->shapes))
        return false;
    plan->table->count++;
    plan->table->area_used = (used + patch->size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    plan->done = piece.end;
    plan->report.trampolines++;
    plan->report.replaced++;
    return true;
}

static void add_site(struct plan *plan, const struct sweep_site *site)
{
    size_t at = site->address - plan->image->address;
    if (!site->proven) {
        plan->report.doubtful++;
    } else if (at < plan->done) {
        plan->report.replaced++;
    } else if (plan->image->native & PLAN_NATIVE(site->kind)) {
        plan->report.untouched++;
    } else if (add_trampoline(plan, site)) {
        return;
    } else if (sweep_traps(site->kind)) {
        plan->report.untouched++;
    } else {
        struct piece piece = {at, at + site->length, true};
        add_patch(plan, &piece, site->kind);
        plan->table->count++;
        plan->done = piece.end;
        plan->report.trapped++;
    }
}

static void apply(const struct plan *plan)
{
    const struct patch_table *table = plan->table;
    for (size_t i = 0; i < table->count; i++) {
        const struct patch *patch = &table->list[i];
        uint8_t *code = plan->image->bytes + (patch->address - plan->image->address);
        if (patch->step_count == 0) {
            code[0] = PATCH_TRAP;
            continue;
        }
        uint64_t to = table->area_address + patch->trampoline;
        uint32_t distance = (uint32_t)(to - (patch->address + JUMP_SIZE));
        memset(code, PATCH_TRAP, patch->length);
        code[0] = JUMP;
        memcpy(code + 1, &distance, sizeof distance);
    }
}

/* Sweep all ranges with room for `max` sites. The sites and all bits are in one allocation. */
static int sweep_image(struct plan *plan, size_t max)
{
    const struct plan_image *image = plan->image;
    if (image->size > UINT32_MAX)
        return -E2BIG;
    size_t words = SWEEP_BITS_WORDS(image->size);
    plan->memory = malloc(words * sizeof(uint64_t) + max * sizeof(struct sweep_site));
    if (!plan->memory)
        return -ENOMEM;
    sweep_start(&plan->sweep, image->bytes, (uint32_t)image->size, image->address, plan->memory,
                (struct sweep_site *)(plan->memory + words), max);
    if (image->code_count) {
        const struct plan_range *last = &image->code[image->code_count - 1];
        plan->sweep.code_start = image->code[0].offset;
        plan->sweep.code_end = last->offset + last->size;
    }
    for (size_t i = 0; i < image->code_count; i++)
        sweep_range(&plan->sweep, image->code[i].offset, image->code[i].size, &image->symbols);
    return 0;
}

static int sweep_all(struct plan *plan)
{
    int error = sweep_image(plan, SITES_EXPECTED);
    size_t count = plan->sweep.count;
    if (!error && count > SITES_EXPECTED) {
        free(plan->memory);
        error = sweep_image(plan, count);
    }
    if (error)
        return error;
    targets_of_data(&plan->sweep, &plan->image->symbols);
    sweep_prove(&plan->sweep);
    return 0;
}

int plan_make(const struct plan_image *image, const struct plan_area *area,
              struct patch_table **table, struct plan_report *report, struct uhyve_error *error)
{
    struct plan_area none = {0};
    struct plan plan = {.image = image, .area = area};
    int failure = sweep_all(&plan);
    if (!failure) {
        plan.table = calloc(1, sizeof *plan.table + plan.sweep.count * sizeof plan.table->list[0]);
        failure = plan.table ? 0 : -ENOMEM;
    }
    if (failure) {
        free(plan.memory);
        return error_set(error, UHYVE_STATUS_FAILED, -failure,
                         "cannot prepare the image's %zu bytes for direct execution: %s",
                         image->size, strerror(-failure));
    }
    if (!targets_complete(&plan.sweep))
        plan.area = &none;
    plan.table->area_address = area->address;
    for (size_t i = 0; i < plan.sweep.count; i++)
        add_site(&plan, &plan.sweep.sites[i]);
    apply(&plan);
    plan.report.sites = plan.sweep.count;
    if (report)
        *report = plan.report;
    *table = plan.table;
    free(plan.memory);
    return 0;
}
