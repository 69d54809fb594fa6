#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/error.h"

/* The kernel transfers at most this much in one call (Linux read(2)); larger segments take several.
 */
#define READ_MAX 0x7ffff000

int image_open(struct image *image, const char *path, struct uhyve_error *error)
{
    /* Not blocking: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        int err = errno;
        if (err == ENOENT || err == ENOTDIR)
            return error_set(error, UHYVE_STATUS_NO_IMAGE, err,
                             "image '%s' was not found: %s (check the path)", path, strerror(err));
        return error_set(error, error_status(UHYVE_STATUS_BAD_IMAGE, err), err,
                         "cannot open image '%s': %s (%s)", path, strerror(err),
                         error_remedy(err, "check its permissions"));
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        int err = errno;
        close(fd);
        return error_set(error, error_status(UHYVE_STATUS_BAD_IMAGE, err), err,
                         "cannot examine image '%s': %s", path, strerror(err));
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, EINVAL,
                         "image '%s' is %s (give the path of a Hermit kernel file)", path,
                         S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
    }
    *image = (struct image){.path = path, .fd = fd, .size = (uint64_t)st.st_size};
    return 0;
}

void image_from_memory(struct image *image, const char *path, const void *data, size_t size)
{
    *image = (struct image){.path = path, .fd = -1, .data = data, .size = size};
}

void image_close(struct image *image)
{
    if (image->path && image->fd >= 0)
        close(image->fd);
    *image = (struct image){.fd = -1};
}

static int error_truncated(const struct image *image, const char *what, struct uhyve_error *error)
{
    return error_set(
        error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
        "image '%s' is truncated: the file ends inside its %s (copy or build it again)",
        image->path, what);
}

const struct sandbox_call image_calls[] = {
    SANDBOX_CALL(pread64), /* the kernel, and its symbols for a crash report */
    SANDBOX_END,
};

int image_read(const struct image *image, uint64_t offset, void *to, uint64_t size,
               const char *what, struct uhyve_error *error)
{
    if (!range_inside(offset, size, image->size))
        return error_truncated(image, what, error);
    if (image->fd < 0) {
        memcpy(to, image->data + offset, size);
        return 0;
    }
    for (uint64_t done = 0; done < size;) {
        size_t chunk = size - done < READ_MAX ? (size_t)(size - done) : READ_MAX;
        ssize_t count = pread(image->fd, (uint8_t *)to + done, chunk, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0) {
            int err = errno;
            return error_set(error, UHYVE_STATUS_BAD_IMAGE, err, "cannot read image '%s': %s",
                             image->path, strerror(err));
        }
        if (count == 0)
            return error_truncated(image, what, error);
        done += (uint64_t)count;
    }
    return 0;
}
