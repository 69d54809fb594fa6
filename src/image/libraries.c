#include "image/libraries.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "util/error.h"

struct function {
    const char *name;
    void **place;
};

/* What a person must know about a library that is missing. */
struct library {
    const char *file, *package, *remedy;
};

static int load(void **handle, const struct library *library, const struct function *functions,
                size_t count, const char *path, struct uhyve_error *error)
{
    /* Lazily: binding all symbols of libarchive's own libraries takes longer than an image does. */
    *handle = dlopen(library->file, RTLD_LAZY | RTLD_LOCAL);
    const char *reason = *handle ? NULL : dlerror();
    if (reason && error_is_of_limit(reason))
        return error_set(error, UHYVE_STATUS_FAILED, EIO,
                         "image '%s' cannot be unpacked: %s (raise the limits on open files and "
                         "memory: ulimit -n, -v, -d)",
                         path, reason);
    if (!*handle)
        return error_set(error, UHYVE_STATUS_FAILED, ENOENT,
                         "image '%s' cannot be unpacked: the library %s is not there (install the "
                         "package %s%s)",
                         path, library->file, library->package, library->remedy);
    for (size_t i = 0; i < count; i++) {
        *functions[i].place = dlsym(*handle, functions[i].name);
        if (*functions[i].place)
            continue;
        library_unload(*handle);
        return error_set(error, UHYVE_STATUS_FAILED, ENOSYS,
                         "image '%s' cannot be unpacked: the library %s is too old, it has no %s "
                         "(install a newer package %s%s)",
                         path, library->file, functions[i].name, library->package, library->remedy);
    }
    return 0;
}

int library_archive_load(struct library_archive *archive, const char *path,
                         struct uhyve_error *error)
{
    static const struct library library = {"libarchive.so.13", "libarchive13", ""};
    const struct function functions[] = {
        {"archive_read_new", (void **)&archive->read_new},
        {"archive_read_free", (void **)&archive->read_free},
        {"archive_read_support_format_tar", (void **)&archive->support_tar},
        {"archive_read_open_memory", (void **)&archive->open_memory},
        {"archive_read_next_header", (void **)&archive->next_header},
        {"archive_read_data_block", (void **)&archive->data_block},
        {"archive_read_data_skip", (void **)&archive->data_skip},
        {"archive_filter_bytes", (void **)&archive->filter_bytes},
        {"archive_error_string", (void **)&archive->error_string},
        {"archive_entry_pathname", (void **)&archive->entry_pathname},
        {"archive_entry_filetype", (void **)&archive->entry_filetype},
        {"archive_entry_hardlink", (void **)&archive->entry_hardlink},
        {"archive_entry_size", (void **)&archive->entry_size},
    };
    return load(&archive->handle, &library, functions, sizeof functions / sizeof *functions, path,
                error);
}

int library_zlib_load(struct library_zlib *zlib, const char *path, struct uhyve_error *error)
{
    static const struct library library = {"libz.so.1", "zlib1g", ""};
    const struct function functions[] = {
        {"inflateInit2_", (void **)&zlib->init},
        {"inflateReset", (void **)&zlib->reset},
        {"inflate", (void **)&zlib->inflate},
        {"inflateEnd", (void **)&zlib->end},
    };
    return load(&zlib->handle, &library, functions, sizeof functions / sizeof *functions, path,
                error);
}

int library_zstd_load(struct library_zstd *zstd, const char *path, struct uhyve_error *error)
{
    static const struct library library = {"libzstd.so.1", "libzstd1",
                                           ", or pack the image with gzip"};
    const struct function functions[] = {
        {"ZSTD_createDStream", (void **)&zstd->create},
        {"ZSTD_freeDStream", (void **)&zstd->destroy},
        {"ZSTD_decompressStream", (void **)&zstd->decompress},
        {"ZSTD_isError", (void **)&zstd->is_error},
        {"ZSTD_getErrorName", (void **)&zstd->error_name},
    };
    return load(&zstd->handle, &library, functions, sizeof functions / sizeof *functions, path,
                error);
}

void library_unload(void *handle)
{
    if (handle)
        dlclose(handle);
}
