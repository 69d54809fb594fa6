/*
 * What goes into an image: the regular files below a directory.
 */
#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/guest_path.h"
#include "image/tarball.h"
#include "image_tool/image_tool.h"
#include "util/error.h"

static int error_memory(struct uhyve_error *error)
{
    return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
}

void source_files_free(struct source_files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->items[i].name);
        free(files->items[i].path);
    }
    free(files->items);
    *files = (struct source_files){0};
}

static int add(struct source_files *files, const char *name, const char *path,
               struct uhyve_error *error)
{
    if (!text_is_utf8(name, strlen(name))) {
        char shown[201];
        snprintf(shown, sizeof shown, "%s", path);
        text_make_ascii(shown);
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, EINVAL,
                         "file '%s' has a name that is not UTF-8 (rename it)", shown);
    }
    if (files->count == files->capacity) {
        size_t capacity = files->capacity ? 2 * files->capacity : 64;
        struct source_file *items = reallocarray(files->items, capacity, sizeof *items);
        if (!items)
            return error_memory(error);
        files->items = items;
        files->capacity = capacity;
    }
    struct source_file *file = &files->items[files->count];
    file->name = strdup(name);
    file->path = strdup(path);
    if (!file->name || !file->path) {
        free(file->name);
        free(file->path);
        return error_memory(error);
    }
    files->count++;
    return 0;
}

/* One thing that is below the directory. `skip` is what an existing output is. */
static int visit(struct source_files *files, const FTSENT *entry, size_t prefix,
                 const struct stat *skip, struct uhyve_error *error)
{
    const char *name = entry->fts_path + prefix;
    struct stat target;

    name += strspn(name, "/");
    switch (entry->fts_info) {
    case FTS_D:
    case FTS_DP:
        return 0;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return error_set(error, UHYVE_STATUS_FAILED, entry->fts_errno, "cannot read '%s': %s",
                         entry->fts_path, strerror(entry->fts_errno));
    case FTS_F:
        target = *entry->fts_statp;
        break;
    default: /* a link is taken for what it leads to */
        if (stat(entry->fts_path, &target) != 0 || !S_ISREG(target.st_mode))
            return error_set(error, UHYVE_STATUS_BAD_IMAGE, EINVAL,
                             "'%s' is neither a regular file nor a link to one (an image holds "
                             "nothing else: remove it)",
                             entry->fts_path);
    }
    if (target.st_dev == skip->st_dev && target.st_ino == skip->st_ino)
        return 0;
    return add(files, name, entry->fts_path, error);
}

static int compare(const void *a, const void *b)
{
    const struct source_file *left = a, *right = b;
    return strcmp(left->name, right->name);
}

int source_files_find(struct source_files *files, const char *directory, const char *skip,
                      struct uhyve_error *error)
{
    char *roots[] = {strdup(directory), NULL};
    struct stat status, output = {0};
    const FTSENT *entry;
    int err = 0;

    *files = (struct source_files){0};
    if (!roots[0])
        return error_memory(error);
    FTS *tree = NULL;
    if (stat(directory, &status) != 0) {
        err = error_set(error, error_status(UHYVE_STATUS_NO_IMAGE, errno), errno,
                        "cannot read directory '%s': %s", directory, strerror(errno));
    } else if (!S_ISDIR(status.st_mode)) {
        err = error_set(error, UHYVE_STATUS_USAGE, ENOTDIR,
                        "'%s' is not a directory (give one with " //
                        "hermit.toml, the kernel and the files)",
                        directory);
    } else if (stat(skip, &output) != 0 && errno != ENOENT) {
        err = error_set(error, UHYVE_STATUS_FAILED, errno, "cannot examine image '%s': %s", skip,
                        strerror(errno));
    } else if (!(tree = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL))) {
        err = error_set(error, UHYVE_STATUS_FAILED, errno, "cannot read directory '%s': %s",
                        directory, strerror(errno));
    } else {
        while (!err && (errno = 0, entry = fts_read(tree)))
            err = visit(files, entry, strlen(directory), &output, error);
        if (!err && errno)
            err = error_set(error, UHYVE_STATUS_FAILED, errno, "cannot read directory '%s': %s",
                            directory, strerror(errno));
    }
    if (tree)
        fts_close(tree);
    free(roots[0]);
    if (!err && files->count)
        qsort(files->items, files->count, sizeof *files->items, compare);
    return err;
}

const struct source_file *source_files_get(const struct source_files *files, const char *name)
{
    char normal[TARBALL_NAME_MAX + 2];
    struct source_file key = {.name = normal};

    if (!files->count || guest_path_normalize(name, normal, sizeof normal) != 0)
        return NULL;
    return bsearch(&key, files->items, files->count, sizeof *files->items, compare);
}
