#include "image/tarball.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/guest_path.h"
#include "image/libraries.h"
#include "util/checked.h"
#include "util/error.h"
#include "util/text.h"

#define BLOCK 512

struct tarball_memory {
    struct tarball_memory *next;
    char data[];
};

struct reader {
    struct tarball *tarball;
    const char *path;
    const uint8_t *data;
    size_t size;
    uint64_t limit, content; /* bytes that all files may have, and have so far */
    size_t entries;
    size_t left_out; /* entries that are no regular files or directories */
    uint64_t end;    /* offset behind the last entry */
    struct library_archive library;
    struct archive *archive;
    struct uhyve_error *error;
};

static int error_memory(struct reader *reader)
{
    return error_set(reader->error, UHYVE_STATUS_FAILED, ENOMEM,
                     "not enough memory for the files of image '%s'", reader->path);
}

static int error_corrupt(struct reader *reader, const char *why)
{
    return error_set(reader->error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                     "image '%s' is corrupt: its tar archive cannot be read: %s (build or copy it "
                     "again)",
                     reader->path, why);
}

static int error_archive(struct reader *reader)
{
    const char *why = reader->library.error_string(reader->archive);
    return error_corrupt(reader, why ? why : "unknown error");
}

static int error_truncated(struct reader *reader)
{
    return error_corrupt(reader, "it ends too early");
}

static int error_name(struct reader *reader, const char *name, const char *why)
{
    return error_set(reader->error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                     "image '%s' cannot be used: its file '%.200s' %s", reader->path, name, why);
}

/* Sizes in an archive are signed, so there is room for what is before them. */
static void *allocate(struct reader *reader, size_t size)
{
    struct tarball_memory *memory = calloc(1, sizeof *memory + size);
    if (!memory)
        return NULL;
    memory->next = reader->tarball->memory;
    reader->tarball->memory = memory;
    return memory->data;
}

/* A name in an unknown encoding, for a terminal that expects UTF-8. */
static int error_encoding(struct reader *reader, const char *raw)
{
    char shown[201];

    snprintf(shown, sizeof shown, "%s", raw);
    text_make_ascii(shown);
    return error_name(reader, shown, "has a name that is not UTF-8 (rename it)");
}

/* The name in its normal form; it belongs to the tarball. */
static int read_name(struct reader *reader, const char *raw, const char **name)
{
    char normal[TARBALL_NAME_MAX + 2];

    if (strlen(raw) > TARBALL_NAME_MAX)
        return error_name(reader, raw, "has a name of more than 4095 bytes");
    if (guest_path_normalize(raw, normal, sizeof normal) != 0)
        return error_encoding(reader, raw);
    if (!guest_path_is_name(normal))
        return error_name(reader, raw, "has a name that leads out of the archive");
    char *copy = allocate(reader, strlen(normal) + 1);
    if (!copy)
        return error_memory(reader);
    strcpy(copy, normal);
    *name = copy;
    return 0;
}

/* A file that is stored in pieces: sparse ones have holes between them. */
static int copy_content(struct reader *reader, struct tarball_file *file, const void *block,
                        size_t length, int64_t offset)
{
    uint8_t *copy = allocate(reader, file->size);
    int result = ARCHIVE_OK;

    if (!copy)
        return error_memory(reader);
    while (result == ARCHIVE_OK) {
        if (offset < 0 || !range_inside((uint64_t)offset, length, file->size))
            return error_corrupt(reader, "a piece of a sparse file lies outside of it");
        if (length)
            memcpy(copy + offset, block, length);
        result = reader->library.data_block(reader->archive, &block, &length, &offset);
    }
    file->data = copy;
    return result == ARCHIVE_EOF ? 0 : error_archive(reader);
}

static int read_content(struct reader *reader, struct archive_entry *entry,
                        struct tarball_file *file)
{
    int64_t size = reader->library.entry_size(entry), offset;
    const void *block;
    size_t length;

    if (size < 0)
        return error_corrupt(reader, "a file has a negative size");
    if ((uint64_t)size > reader->limit - reader->content) {
        char text[32];
        return error_set(reader->error, UHYVE_STATUS_BAD_IMAGE, EFBIG,
                         "image '%s' has files of more than %s (if it is to be that large, raise "
                         "--limit-image)",
                         reader->path, text_format_size(text, sizeof text, reader->limit));
    }
    reader->content += (uint64_t)size;
    file->size = (size_t)size;
    file->data = reader->data;
    int result = reader->library.data_block(reader->archive, &block, &length, &offset);
    if (result == ARCHIVE_EOF && !size)
        return 0;
    if (result == ARCHIVE_EOF) /* a sparse file with nothing but holes */
        return copy_content(reader, file, NULL, 0, 0);
    if (result != ARCHIVE_OK)
        return error_archive(reader);
    /* Ordinary files are one piece of the archive, and libarchive gives it as it lies there. */
    uint64_t start = (uintptr_t)block - (uintptr_t)reader->data;
    if (offset || length != file->size || !range_inside(start, length, reader->size))
        return copy_content(reader, file, block, length, offset);
    file->data = reader->data + start;
    return 0;
}

static int add_file(struct reader *reader, const struct tarball_file *file)
{
    struct tarball *tarball = reader->tarball;

    if (tarball->count == tarball->capacity) {
        size_t capacity = tarball->capacity ? 2 * tarball->capacity : 64;
        struct tarball_file *files = reallocarray(tarball->files, capacity, sizeof *files);
        if (!files)
            return error_memory(reader);
        tarball->files = files;
        tarball->capacity = capacity;
    }
    tarball->files[tarball->count++] = *file;
    return 0;
}

static int read_entry(struct reader *reader, struct archive_entry *entry)
{
    const char *raw = reader->library.entry_pathname(entry);
    bool regular = reader->library.entry_filetype(entry) == AE_IFREG &&
                   !reader->library.entry_hardlink(entry);
    struct tarball_file file = {0};

    if (++reader->entries > TARBALL_ENTRIES_MAX)
        return error_set(reader->error, UHYVE_STATUS_BAD_IMAGE, E2BIG,
                         "image '%s' has more than %d files (build it from fewer)", reader->path,
                         TARBALL_ENTRIES_MAX);
    if (!regular) {
        reader->left_out += reader->library.entry_filetype(entry) != AE_IFDIR;
    } else if (!raw) {
        return error_corrupt(reader, "a file has no name");
    } else {
        int err = read_name(reader, raw, &file.name);
        if (!err)
            err = read_content(reader, entry, &file);
        if (!err)
            err = add_file(reader, &file);
        if (err)
            return err;
    }
    int result = reader->library.data_skip(reader->archive);
    if (result != ARCHIVE_OK && result != ARCHIVE_EOF)
        return error_archive(reader);
    reader->end = (uint64_t)reader->library.filter_bytes(reader->archive, -1);
    return 0;
}

/* libarchive takes the end of the data for that of the archive; but an archive ends with blocks of
 * zeros, and where there are none, something is missing. */
static int check_end(struct reader *reader)
{
    static const uint8_t zeros[BLOCK];

    if (!range_inside(reader->end, BLOCK, reader->size) ||
        memcmp(reader->data + reader->end, zeros, BLOCK) != 0)
        return error_truncated(reader);
    return 0;
}

static int read_entries(struct reader *reader)
{
    struct archive_entry *entry;

    for (;;) {
        int result = reader->library.next_header(reader->archive, &entry);
        if (result == ARCHIVE_EOF)
            return check_end(reader);
        /* A warning is about something that does not matter here, or about the locale: names are
         * taken as they are. */
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return error_archive(reader);
        int err = read_entry(reader, entry);
        if (err)
            return err;
    }
}

static int read_archive(struct reader *reader)
{
    if (reader->size % BLOCK || reader->size < 3 * BLOCK)
        return error_truncated(reader);
    int err = library_archive_load(&reader->library, reader->path, reader->error);
    if (err)
        return err;
    reader->archive = reader->library.read_new();
    if (!reader->archive)
        err = error_memory(reader);
    else if (reader->library.support_tar(reader->archive) != ARCHIVE_OK ||
             reader->library.open_memory(reader->archive, reader->data, reader->size) != ARCHIVE_OK)
        err = error_archive(reader);
    if (!err)
        err = read_entries(reader);
    reader->library.read_free(reader->archive);
    library_unload(reader->library.handle);
    return err;
}

/* Where a character stands in the order of names: the slash before all others. */
static unsigned rank(char c)
{
    unsigned code = (unsigned char)c;
    if (code == '/')
        return 1;
    return code && code < '/' ? code + 1 : code;
}

/* Like strcmp in that order, so that what is in a directory comes right behind its name. */
static int compare_names(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    unsigned left = rank(*a), right = rank(*b);
    return (left > right) - (left < right);
}

/* The index decides between equal names. */
struct sorted {
    struct tarball_file file;
    size_t index;
};

static int compare_sorted(const void *a, const void *b)
{
    const struct sorted *left = a, *right = b;
    int order = compare_names(left->file.name, right->file.name);
    return order ? order : (left->index > right->index) - (left->index < right->index);
}

/* Sort the files, and leave the last one of each name. */
static int sort_files(struct reader *reader)
{
    struct tarball *tarball = reader->tarball;
    size_t count = tarball->count;

    if (!count)
        return 0;
    struct sorted *sorted = calloc(count, sizeof *sorted);
    if (!sorted)
        return error_memory(reader);
    for (size_t i = 0; i < count; i++)
        sorted[i] = (struct sorted){tarball->files[i], i};
    qsort(sorted, count, sizeof *sorted, compare_sorted);
    tarball->count = 0;
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || compare_names(sorted[i].file.name, sorted[i + 1].file.name) != 0)
            tarball->files[tarball->count++] = sorted[i].file;
    free(sorted);
    for (size_t i = 0; i + 1 < tarball->count; i++) {
        const char *name = tarball->files[i].name, *next = tarball->files[i + 1].name;
        size_t size = strlen(name);
        if (strncmp(name, next, size) == 0 && next[size] == '/')
            return error_name(reader, name,
                              "is a directory too (leave out one of them and build it again)");
    }
    return 0;
}

int tarball_read(struct tarball *tarball, const char *path, const void *data, size_t size,
                 uint64_t limit, const struct log *log, struct uhyve_error *error)
{
    struct reader reader = {
        .tarball = tarball,
        .path = path,
        .data = data,
        .size = size,
        .limit = limit,
        .error = error,
    };

    *tarball = (struct tarball){0};
    int err = read_archive(&reader);
    if (!err)
        err = sort_files(&reader);
    if (!err && reader.left_out)
        log_warn(log, "image '%s': %zu links or special files in it are left out", path,
                 reader.left_out);
    return err;
}

void tarball_free(struct tarball *tarball)
{
    while (tarball->memory) {
        struct tarball_memory *memory = tarball->memory;
        tarball->memory = memory->next;
        free(memory);
    }
    free(tarball->files);
    *tarball = (struct tarball){0};
}

static int compare_key(const void *key, const void *file)
{
    return compare_names(key, ((const struct tarball_file *)file)->name);
}

const struct tarball_file *tarball_find(const struct tarball *tarball, const char *name)
{
    char normal[TARBALL_NAME_MAX + 2];

    if (!tarball->count || guest_path_normalize(name, normal, sizeof normal) != 0)
        return NULL;
    return bsearch(normal, tarball->files, tarball->count, sizeof *tarball->files, compare_key);
}
