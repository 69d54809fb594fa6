/*
 * Fuzz target: any bytes as a Hermit image. The first byte says whether they are taken as they are
 * or as the content of a tar archive, so that the archive reader is reached without a compressor.
 * Memory stays below the limit, what is found lies inside the archive, and what is refused says why
 * in one line.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "image/hermit_image.h"
#include "image/libraries.h"
#include "input.h"

#define LIMIT (4u << 20)

static void check_files(const struct tarball *files)
{
    uint64_t total = 0;
    unsigned sum = 0;

    for (size_t i = 0; i < files->count; i++) {
        const struct tarball_file *file = &files->files[i];
        require(tarball_find(files, file->name) == file);
        require(file->name[0] && file->name[0] != '/' && strncmp(file->name, "../", 3) != 0);
        total += file->size;
        for (size_t j = 0; j < file->size; j += 61) /* the address sanitizer looks */
            sum += file->data[j];
    }
    require(total <= LIMIT && sum <= UINT32_MAX);
}

/* So that they are not loaded anew for each input. */
static void keep_libraries(void)
{
    static struct library_archive archive;
    static struct library_zlib zlib;
    static struct library_zstd zstd;
    struct uhyve_error error;

    if (archive.handle)
        return;
    require(library_archive_load(&archive, "", &error) == 0);
    require(library_zlib_load(&zlib, "", &error) == 0);
    require(library_zstd_load(&zstd, "", &error) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct log silent;
    struct uhyve_error error = {.message = ""};
    struct hermit_image image = {0};
    enum unpack_format format = UNPACK_TAR;
    struct image file;

    if (!size)
        return 0;
    keep_libraries();
    image_from_memory(&file, "fuzz.hermit", bytes + 1, size - 1);
    if (bytes[0] == 'p')
        require(unpack_detect(&file, &format, &error) == 0);
    if (format == UNPACK_UNKNOWN)
        return 0;
    int err = hermit_image_read(&image, &file, format, LIMIT, &silent, &error);
    require(!err || (error.message[0] && !strchr(error.message, '\n')));
    require(image.tar_size <= LIMIT);
    if (!err) {
        require(image.kernel && image.config.kernel);
        check_files(&image.files);
    }
    hermit_image_free(&image);
    return 0;
}
