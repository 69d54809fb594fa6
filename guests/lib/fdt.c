#include "lib/fdt.h"

#include "lib/text.h"

#define FDT_MAGIC      0xd00dfeed
#define FDT_BEGIN_NODE 1
#define FDT_END_NODE   2
#define FDT_PROPERTY   3
#define FDT_NOP        4

/* All fields big-endian. */
struct fdt {
    uint8_t magic[4];
    uint8_t total_size[4];
    uint8_t structure_offset[4];
    uint8_t strings_offset[4];
};

uint32_t fdt_u32(const void *data)
{
    const uint8_t *bytes = data;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

uint64_t fdt_u64(const void *data)
{
    const uint8_t *bytes = data;
    return (uint64_t)fdt_u32(bytes) << 32 | fdt_u32(bytes + 4);
}

const struct fdt *fdt_at(uint64_t address)
{
    const struct fdt *fdt = (const void *)(uintptr_t)address;
    if (fdt == NULL || fdt_u32(fdt->magic) != FDT_MAGIC)
        return NULL;
    return fdt;
}

/* Everything in the structure block is padded to four bytes. */
static const uint8_t *skip(const uint8_t *position, size_t size)
{
    return position + ((size + 3) & ~(size_t)3);
}

/* Append "/name" to the path; the root's name is empty and its path "/". */
static size_t path_enter(char *path, size_t length, const char *name)
{
    if (length != 1 && length + 1 < FDT_PATH_MAX)
        path[length++] = '/';
    while (*name != '\0' && length + 1 < FDT_PATH_MAX)
        path[length++] = *name++;
    path[length] = '\0';
    return length;
}

static size_t path_leave(char *path, size_t length)
{
    while (length > 0 && path[length - 1] != '/')
        length--;
    if (length > 1)
        length--; /* the separator, unless it is the root itself */
    path[length] = '\0';
    return length;
}

void fdt_walk(const struct fdt *fdt, fdt_visitor *visit, void *context)
{
    const uint8_t *start = (const uint8_t *)fdt;
    const uint8_t *position = start + fdt_u32(fdt->structure_offset);
    const char *strings = (const char *)start + fdt_u32(fdt->strings_offset);
    char path[FDT_PATH_MAX] = "";
    size_t length = 0;

    for (;;) {
        uint32_t token = fdt_u32(position);
        position += 4;
        if (token == FDT_BEGIN_NODE) {
            const char *name = (const char *)position;
            length = path_enter(path, length, name);
            position = skip(position, text_length(name) + 1);
            if (!visit(context, path, NULL, NULL))
                return;
        } else if (token == FDT_END_NODE) {
            length = path_leave(path, length);
        } else if (token == FDT_PROPERTY) {
            struct fdt_value value = {.data = position + 8, .size = fdt_u32(position)};
            if (!visit(context, path, strings + fdt_u32(position + 4), &value))
                return;
            position = skip(position + 8, value.size);
        } else if (token != FDT_NOP) {
            return;
        }
    }
}

/* Compare, skipping in `path` any "@..." that `wanted` does not have. */
static bool path_matches(const char *path, const char *wanted)
{
    for (;;) {
        if (*path == '@' && *wanted != '@')
            while (*path != '\0' && *path != '/')
                path++;
        if (*path != *wanted)
            return false;
        if (*path == '\0')
            return true;
        path++;
        wanted++;
    }
}

struct search {
    const char *path;
    const char *name;
    struct fdt_value *value;
    bool found;
    unsigned nodes;
};

static bool search_property(void *context, const char *path, const char *name,
                            const struct fdt_value *value)
{
    struct search *search = context;
    if (name == NULL || !text_equal(name, search->name) || !path_matches(path, search->path))
        return true;
    *search->value = *value;
    search->found = true;
    return false;
}

bool fdt_find(const struct fdt *fdt, const char *path, const char *name, struct fdt_value *value)
{
    struct search search = {.path = path, .name = name, .value = value};
    fdt_walk(fdt, search_property, &search);
    return search.found;
}

static bool count_node(void *context, const char *path, const char *name,
                       const struct fdt_value *value)
{
    struct search *search = context;
    (void)value;
    if (name == NULL && path_matches(path, search->path))
        search->nodes++;
    return true;
}

unsigned fdt_count(const struct fdt *fdt, const char *path)
{
    struct search search = {.path = path};
    fdt_walk(fdt, count_node, &search);
    return search.nodes;
}
