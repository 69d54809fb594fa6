#include "image/hermit_image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/error.h"

static int find_kernel(struct hermit_image *image, const char *path, struct uhyve_error *error)
{
    const char *kernel = image->config.kernel;

    image->kernel = tarball_find(&image->files, kernel);
    if (!image->kernel)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOENT,
                         "image '%s' cannot be booted: the kernel '%.300s' that its " //
                         HERMIT_CONFIG_NAME " names is not in it (build it with the kernel)",
                         path, kernel);
    if (asprintf(&image->kernel_path, "%s:%s", path, image->kernel->name) < 0) {
        image->kernel_path = NULL;
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    }
    return 0;
}

int hermit_image_read(struct hermit_image *image, const struct image *file,
                      enum unpack_format format, uint64_t limit, const struct log *log,
                      struct uhyve_error *error)
{
    *image = (struct hermit_image){.format = format};
    int err = unpack_all(file, format, limit, &image->tar, &image->tar_size, error);
    if (!err)
        err = tarball_read(&image->files, file->path, image->tar, image->tar_size, limit, log,
                           error);
    if (err)
        return err;
    const struct tarball_file *config = tarball_find(&image->files, HERMIT_CONFIG_NAME);
    if (!config)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOENT,
                         "image '%s' has no " HERMIT_CONFIG_NAME
                         " (it must name the kernel: build the image with uhyve-image)",
                         file->path);
    err = hermit_config_read(&image->config, file->path, config->data, config->size, error);
    return err ? err : find_kernel(image, file->path, error);
}

void hermit_image_free(struct hermit_image *image)
{
    free(image->kernel_path);
    hermit_config_free(&image->config);
    tarball_free(&image->files);
    free(image->tar);
    *image = (struct hermit_image){0};
}
