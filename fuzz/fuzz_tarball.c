/*
 * Fuzz target: tar archives that are nearly right: valid headers with right checksums, made of
 * records, and in some of them fields spoiled before the checksum is made. The files found must be
 * those that were put in, under the names that a second opinion gives them; what leads out of the
 * archive, or is file and directory at once, is refused.
 *
 * Input: for each entry: kind (1 byte), number of components of its name (1), these (1 each), size
 * of its content (2) and a byte of it (1); if the kind says so, a spoiled field: place (2), value
 * (1).
 */
#include <stdio.h>

#include "fs/guest_path.h"
#include "fuzz.h"
#include "image/libraries.h"
#include "image/tarball.h"
#include "input.h"
#include "util/text.h"

#define BLOCK       512
#define ENTRIES_MAX 24
#define LIMIT       (64u << 10)

enum kind {
    KIND_TYPE = 7, /* mask: 0 to 3 a file, 4 a directory, 5 a link, 6 a hard link, 7 a device */
    KIND_SPOILED = 8,
    KIND_LONG = 16,   /* a GNU long name, even if it is short */
    KIND_NO_END = 32, /* of the first entry: the archive just ends */
    KIND_SPARSE = 64, /* in GNU tar's old format */
};

static const char *const components[] = {
    "a",
    "b",
    "c",
    "dir",
    "..",
    ".",
    "",
    "a b",
    "\xc3\xa9",
    "\xff",
    "file.txt",
    "-",
    "a-long-name-of-forty-characters-or-so-xx",
    "c.d",
    "A",
    "~",
};

struct entry {
    char name[700], normal[700];
    bool regular, counts; /* counts: no later one has its name */
    uint8_t byte;
    size_t size;
};

static struct entry entries[ENTRIES_MAX];
static size_t entry_count;

/* The map of a sparse file, whose pieces need not make sense. */
static void add_map(char *header, struct input *input)
{
    unsigned size = (unsigned)take(input, 2);

    header[156] = 'S';
    memcpy(header + 257, "ustar  ", 8);
    for (unsigned i = 0; i < 4; i++) {
        unsigned offset = (unsigned)take(input, 2), length = (unsigned)take(input, 1);
        snprintf(header + 386 + 24 * i, 12, "%011o", offset);
        snprintf(header + 398 + 24 * i, 12, "%011o", length);
    }
    snprintf(header + 483, 12, "%011o", size);
}

static void add_block(struct text *tar, const char *name, char type, size_t size,
                      const struct input *spoiled, struct input *map)
{
    char header[BLOCK + 1] = "";
    unsigned sum = 0;

    memcpy(header, name, strnlen(name, 100));
    strcpy(header + 100, "0000644");
    strcpy(header + 108, "0000000");
    strcpy(header + 116, "0000000");
    snprintf(header + 124, 12, "%011zo", size);
    strcpy(header + 136, "00000000000");
    header[156] = type;
    if (type == '1' || type == '2')
        strcpy(header + 157, "a");
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    if (spoiled) {
        struct input field = *spoiled;
        uint64_t place = take(&field, 2);
        header[place % BLOCK] = (char)take(&field, 1);
    }
    if (map)
        add_map(header, map);
    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += (uint8_t)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    text_add_bytes(tar, header, BLOCK);
}

static void add_content(struct text *tar, const char *bytes, size_t size)
{
    static const char zeros[BLOCK];

    text_add_bytes(tar, bytes, size);
    text_add_bytes(tar, zeros, -size % BLOCK);
}

/* Returns false if fields were spoiled, or pieces are anywhere: anything can come of it. */
static bool add_entry(struct text *tar, struct input *input, uint64_t kind)
{
    static const char types[] = {'0', '0', '0', '\0', '5', '2', '1', '3'};
    struct entry *entry = &entries[entry_count++];
    unsigned count = (unsigned)take(input, 1) % 14;
    struct input spoiled;
    char bytes[4096];

    *entry = (struct entry){.regular = (kind & KIND_TYPE) < 4};
    for (unsigned i = 0; i < count || i == 0; i++) {
        if (i)
            strcat(entry->name, "/");
        strcat(entry->name, components[take(input, 1) % 16]);
    }
    size_t size = take(input, 2);
    entry->size = entry->regular ? size % sizeof bytes : 0;
    entry->byte = (uint8_t)take(input, 1);
    memset(bytes, entry->byte, sizeof bytes);
    if (kind & KIND_SPOILED)
        spoiled = take_bytes(input, 3);
    if (strlen(entry->name) > 99 || kind & KIND_LONG) {
        add_block(tar, "././@LongLink", 'L', strlen(entry->name) + 1, NULL, NULL);
        add_content(tar, entry->name, strlen(entry->name) + 1);
    }
    add_block(tar, entry->name, types[kind & KIND_TYPE], entry->size,
              kind & KIND_SPOILED ? &spoiled : NULL, kind & KIND_SPARSE ? input : NULL);
    add_content(tar, bytes, entry->size);
    return !(kind & (KIND_SPOILED | KIND_SPARSE));
}

/* The second opinion. */

/* False if it is no name. A name of nothing but a slash at its end is a directory to libarchive. */
static bool normalize(struct entry *entry)
{
    char copy[700], *rest = strcpy(copy, entry->name), *stack[700];
    size_t depth = 0;

    if (!text_is_utf8(copy, strlen(copy)))
        return false;
    for (char *part; (part = strsep(&rest, "/"));) {
        if (!*part || strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") != 0)
            stack[depth++] = part;
        else if (depth)
            depth--;
        else if (entry->name[0] != '/')
            return false;
    }
    entry->normal[0] = '\0';
    for (size_t i = 0; i < depth; i++)
        strcat(strcat(entry->normal, i ? "/" : ""), stack[i]);
    return depth > 0;
}

static bool is_beneath(const char *name, const char *directory)
{
    size_t size = strlen(directory);
    return strncmp(name, directory, size) == 0 && name[size] == '/';
}

/* Does the archive hold together? */
static bool judge(void)
{
    for (size_t i = 0; i < entry_count; i++) {
        if (!entries[i].regular)
            continue;
        if (!normalize(&entries[i]))
            return false;
        entries[i].counts = true;
        for (size_t k = 0; k < i; k++)
            if (entries[k].regular && strcmp(entries[k].normal, entries[i].normal) == 0)
                entries[k].counts = false;
    }
    for (size_t i = 0; i < entry_count; i++)
        for (size_t k = 0; k < entry_count; k++)
            if (entries[i].regular && entries[k].regular &&
                is_beneath(entries[i].normal, entries[k].normal))
                return false;
    return true;
}

static void check_files(const struct tarball *tarball)
{
    size_t count = 0;

    for (size_t i = 0; i < entry_count; i++) {
        if (!entries[i].regular || !entries[i].counts)
            continue;
        count++;
        const struct tarball_file *file = tarball_find(tarball, entries[i].normal);
        require(file && file->size == entries[i].size);
        require(strcmp(file->name, entries[i].normal) == 0);
        for (size_t k = 0; k < file->size; k++)
            require(file->data[k] == entries[i].byte);
    }
    require(tarball->count == count);
}

static void check_consistency(const struct tarball *tarball)
{
    uint64_t total = 0;
    unsigned sum = 0;

    for (size_t i = 0; i < tarball->count; i++) {
        const struct tarball_file *file = &tarball->files[i];
        require(tarball_find(tarball, file->name) == file && guest_path_is_name(file->name));
        total += file->size;
        for (size_t k = 0; k < file->size; k++) /* the address sanitizer looks */
            sum += file->data[k];
    }
    require(total <= LIMIT && sum < UINT32_MAX);
}

/* A file whose name ends in a slash is a directory to some, and an empty name is none. */
static bool is_plain(const struct entry *entry)
{
    size_t size = strlen(entry->name);
    return size && entry->name[size - 1] != '/';
}

static void read_archive(const struct text *tar, bool certain)
{
    static const struct log silent;
    struct uhyve_error error = {.message = ""};
    struct tarball tarball;
    uint64_t total = 0;

    for (size_t i = 0; i < entry_count; i++) {
        certain = certain && is_plain(&entries[i]);
        total += entries[i].size;
    }
    int err = tarball_read(&tarball, "fuzz", tar->data, tar->size, LIMIT, &silent, &error);
    if (err)
        require(error.status && error.message[0] && !strchr(error.message, '\n'));
    else
        check_consistency(&tarball);
    if (certain) {
        bool good = judge() && total <= LIMIT;
        require(good == !err);
        if (good)
            check_files(&tarball);
    }
    tarball_free(&tarball);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct library_archive library;
    static const char zeros[2 * BLOCK];
    struct uhyve_error error;
    struct input input = {bytes, size};
    struct text tar = {0};
    bool certain = true, end = !size || !(bytes[0] & KIND_NO_END);

    if (!library.handle) /* so that it is not loaded anew for each input */
        require(library_archive_load(&library, "", &error) == 0);
    entry_count = 0;
    while (input.size && entry_count < ENTRIES_MAX) {
        uint64_t kind = take(&input, 1);
        certain &= add_entry(&tar, &input, kind);
    }
    if (end)
        text_add_bytes(&tar, zeros, sizeof zeros);
    require(!tar.failed);
    if (entry_count)
        read_archive(&tar, certain && end);
    text_free(&tar);
    return 0;
}
