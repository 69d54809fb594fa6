#include "debug/profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug/demangle.h"

#define STACKS_MAX    (1U << 18)
#define ADDRESSES_MAX (1U << 22) /* 32 MiB */
#define NODES_MAX     (1U << 20)
#define NAME_SHOWN    240

/* Make room for one more of `size` bytes. */
static bool grow(void **array, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity)
        return true;
    size_t wanted = *capacity ? *capacity * 2 : 256;
    while (wanted < needed)
        wanted *= 2;
    void *larger = realloc(*array, wanted * size);
    if (!larger)
        return false;
    *array = larger;
    *capacity = wanted;
    return true;
}

static uint64_t hash_stack(unsigned kind, unsigned label, const uint64_t *stack, size_t depth)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ kind << 8 ^ label;
    for (size_t i = 0; i < depth; i++)
        hash = (hash ^ stack[i]) * UINT64_C(0x9e3779b97f4a7c15), hash ^= hash >> 29;
    return hash;
}

static bool same_stack(const struct profile_log *log, const struct profile_stack *known,
                       const struct profile_stack *wanted, const uint64_t *stack)
{
    return known->kind == wanted->kind && known->label == wanted->label &&
           known->depth == wanted->depth &&
           (!known->depth ||
            memcmp(log->addresses + known->first, stack, known->depth * sizeof *stack) == 0);
}

/* The place of the stack in the table, or of the free entry for it. */
static uint32_t *find_slot(const struct profile_log *log, const struct profile_stack *wanted,
                           const uint64_t *stack)
{
    uint64_t at = hash_stack(wanted->kind, wanted->label, stack, wanted->depth);
    for (;; at++) {
        uint32_t *slot = &log->table[at & (log->table_size - 1)];
        if (!*slot || same_stack(log, &log->stacks[*slot - 1], wanted, stack))
            return slot;
    }
}

/* Keep the table at most half full. */
static bool grow_table(struct profile_log *log)
{
    struct profile_log larger = *log;

    if (log->stack_count * 2 < log->table_size)
        return true;
    larger.table_size = log->table_size ? log->table_size * 2 : 1024;
    larger.table = calloc(larger.table_size, sizeof *larger.table);
    if (!larger.table)
        return false;
    for (uint32_t i = 0; i < log->stack_count; i++) {
        const struct profile_stack *stack = &log->stacks[i];
        *find_slot(&larger, stack, log->addresses + stack->first) = i + 1;
    }
    free(log->table);
    log->table = larger.table;
    log->table_size = larger.table_size;
    return true;
}

void profile_log_add(struct profile_log *log, enum profile_kind kind, unsigned label,
                     const uint64_t *stack, size_t depth)
{
    log->samples++;
    depth = depth < PROFILE_DEPTH ? depth : PROFILE_DEPTH;
    if (log->stack_count >= STACKS_MAX / 2 || log->address_count >= ADDRESSES_MAX / 2)
        depth = depth ? 1 : 0; /* too many different ones: without the callers there are fewer */
    const struct profile_stack wanted = {1, (uint16_t)depth, (uint8_t)kind, (uint8_t)label,
                                         (uint32_t)log->address_count};

    if (!grow_table(log)) {
        log->lost++;
        return;
    }
    uint32_t *slot = find_slot(log, &wanted, stack);
    if (*slot) {
        log->stacks[*slot - 1].count++;
        return;
    }
    if (log->stack_count >= STACKS_MAX || log->address_count + depth > ADDRESSES_MAX ||
        !grow((void **)&log->stacks, &log->stack_capacity, log->stack_count + 1,
              sizeof *log->stacks) ||
        !grow((void **)&log->addresses, &log->address_capacity, log->address_count + depth,
              sizeof *log->addresses)) {
        log->lost++;
        return;
    }
    if (depth)
        memcpy(log->addresses + log->address_count, stack, depth * sizeof *stack);
    log->address_count += depth;
    log->stacks[log->stack_count++] = wanted;
    *slot = (uint32_t)log->stack_count;
}

void profile_log_free(struct profile_log *log)
{
    free(log->stacks);
    free(log->addresses);
    free(log->table);
    *log = (struct profile_log){0};
}

static void make_root(struct profile *profile)
{
    if (profile->count)
        return;
    if (!grow((void **)&profile->nodes, &profile->capacity, 1, sizeof *profile->nodes) ||
        !grow((void **)&profile->names, &profile->names_capacity, 4, 1)) {
        profile->failed = true;
        return;
    }
    memcpy(profile->names, "all", 4);
    profile->names_size = 4;
    profile->nodes[0] = (struct profile_node){0};
    profile->count = 1;
}

static uint32_t add_name(struct profile *profile, const char *name)
{
    size_t size = strlen(name) + 1;

    if (!grow((void **)&profile->names, &profile->names_capacity, profile->names_size + size, 1)) {
        profile->failed = true;
        return 0;
    }
    memcpy(profile->names + profile->names_size, name, size);
    profile->names_size += size;
    return (uint32_t)(profile->names_size - size);
}

/* The child of this name; a new one if there is none. 0: out of memory. */
static uint32_t get_child(struct profile *profile, uint32_t parent, const char *name)
{
    uint32_t child = profile->nodes[parent].child;
    for (; child; child = profile->nodes[child].sibling)
        if (strcmp(profile->names + profile->nodes[child].name, name) == 0)
            return child;
    if (profile->count >= NODES_MAX || !grow((void **)&profile->nodes, &profile->capacity,
                                             profile->count + 1, sizeof *profile->nodes)) {
        profile->failed = true;
        return 0;
    }
    child = (uint32_t)profile->count++;
    profile->nodes[child] = (struct profile_node){
        .parent = parent, .sibling = profile->nodes[parent].child, .name = add_name(profile, name)};
    profile->nodes[parent].child = child;
    return child;
}

static void name_address(const struct symbols *symbols, uint64_t address, bool is_return,
                         char shown[NAME_SHOWN])
{
    char source[DEMANGLE_MAX];
    uint64_t offset;
    const char *name = symbols_find(symbols, address - is_return, &offset);

    if (name)
        snprintf(shown, NAME_SHOWN, "%s", demangle(name, source));
    else
        snprintf(shown, NAME_SHOWN, "[unknown]");
}

void profile_add(struct profile *profile, const struct profile_log *log,
                 const struct symbols *symbols, uint64_t load_offset, const char *const *labels,
                 size_t label_count)
{
    char name[NAME_SHOWN];

    make_root(profile);
    profile->lost += log->lost;
    for (size_t i = 0; i < log->stack_count && !profile->failed; i++) {
        const struct profile_stack *stack = &log->stacks[i];
        uint32_t node = 0;
        for (size_t at = stack->depth; at-- > 0 && !profile->failed;) {
            bool is_return = at > 0 || stack->kind == PROFILE_CALL;
            name_address(symbols, log->addresses[stack->first + at] - load_offset, is_return, name);
            node = get_child(profile, node, name);
        }
        if (stack->kind == PROFILE_IDLE) {
            node = get_child(profile, node, "[idle]");
        } else if (stack->kind == PROFILE_CALL) {
            snprintf(name, sizeof name, "[%s]",
                     stack->label < label_count ? labels[stack->label] : "uhyve");
            node = get_child(profile, node, name);
        }
        if (profile->failed)
            return;
        profile->kinds[stack->kind] += stack->count;
        profile->nodes[node].self += stack->count;
        for (uint32_t up = node; up; up = profile->nodes[up].parent)
            profile->nodes[up].total += stack->count;
        profile->nodes[0].total += stack->count;
    }
}

void profile_free(struct profile *profile)
{
    free(profile->nodes);
    free(profile->names);
    *profile = (struct profile){0};
}

struct row {
    const char *name;
    uint64_t self, total;
};

/* Is a function of the same name among the callers? Then its samples are counted there. */
static bool is_recursive(const struct profile *profile, uint32_t node)
{
    const char *name = profile->names + profile->nodes[node].name;
    for (uint32_t up = profile->nodes[node].parent; up; up = profile->nodes[up].parent)
        if (strcmp(profile->names + profile->nodes[up].name, name) == 0)
            return true;
    return false;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(((const struct row *)left)->name, ((const struct row *)right)->name);
}

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    if (a->self != b->self)
        return a->self < b->self ? 1 : -1;
    return a->total != b->total ? (a->total < b->total ? 1 : -1) : strcmp(a->name, b->name);
}

/* One row for each function, largest first. NULL: out of memory. */
static struct row *make_rows(const struct profile *profile, size_t *count)
{
    struct row *rows = calloc(profile->count, sizeof *rows);
    size_t kept = 0;

    if (!rows)
        return NULL;
    for (uint32_t i = 1; i < profile->count; i++) {
        const struct profile_node *node = &profile->nodes[i];
        rows[i - 1] = (struct row){profile->names + node->name, node->self,
                                   is_recursive(profile, i) ? 0 : node->total};
    }
    qsort(rows, profile->count - 1, sizeof *rows, compare_names);
    for (size_t i = 0; i + 1 < profile->count; i++) {
        if (kept && strcmp(rows[kept - 1].name, rows[i].name) == 0) {
            rows[kept - 1].self += rows[i].self;
            rows[kept - 1].total += rows[i].total;
        } else {
            rows[kept++] = rows[i];
        }
    }
    qsort(rows, kept, sizeof *rows, compare_rows);
    *count = kept;
    return rows;
}

static double percent(uint64_t part, uint64_t all)
{
    return all ? 100.0 * (double)part / (double)all : 0;
}

void profile_format_table(const struct profile *profile, unsigned rate, unsigned cpus,
                          struct text *text)
{
    uint64_t all = profile->count ? profile->nodes[0].total : 0;
    size_t count = 0;
    struct row *rows = profile->count > 1 ? make_rows(profile, &count) : NULL;

    if (profile->count > 1 && !rows)
        text->failed = true;
    text_printf(text,
                "Profile: %" PRIu64 " samples of %u CPU%s at %u per second: %.1f %% guest, %.1f %% "
                "calls of uhyve, %.1f %% idle\n",
                all, cpus, cpus == 1 ? "" : "s", rate, percent(profile->kinds[PROFILE_GUEST], all),
                percent(profile->kinds[PROFILE_CALL], all),
                percent(profile->kinds[PROFILE_IDLE], all));
    if (profile->lost)
        text_printf(text, "%" PRIu64 " further samples were lost for want of memory\n",
                    profile->lost);
    text_add(text, "  self %  total %  samples  function\n");
    for (size_t i = 0; i < count; i++)
        text_printf(text, "  %6.2f   %6.2f %8" PRIu64 "  %s\n", percent(rows[i].self, all),
                    percent(rows[i].total, all), rows[i].self, rows[i].name);
    free(rows);
}

/* The names from the root to `node`. Separators in names become colons. */
static void add_path(const struct profile *profile, uint32_t node, struct text *text)
{
    uint32_t path[PROFILE_DEPTH + 2];
    size_t depth = 0;

    for (; node && depth < sizeof path / sizeof *path; node = profile->nodes[node].parent)
        path[depth++] = node;
    while (depth-- > 0) {
        const char *name = profile->names + profile->nodes[path[depth]].name;
        for (; *name; name++)
            text_add_bytes(text, *name == ';' ? ":" : name, 1);
        if (depth)
            text_add(text, ";");
    }
}

void profile_format_folded(const struct profile *profile, struct text *text)
{
    for (uint32_t i = 1; i < profile->count; i++) {
        if (!profile->nodes[i].self)
            continue;
        add_path(profile, i, text);
        text_printf(text, " %" PRIu64 "\n", profile->nodes[i].self);
    }
}
