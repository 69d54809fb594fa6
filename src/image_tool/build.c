/*
 * uhyve-image build: check the directory, pack it into a temporary file beside the output, read
 * that back, and give it its name.
 *
 * The archive depends on names and contents only: names are sorted, owners, times and permissions
 * are the same for all files.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/elf.h"
#include "image/hermit_image.h"
#include "image_tool/image_tool.h"
#include "image_tool/pack.h"
#include "util/error.h"

#define COPY_SIZE (256 * 1024)

struct build {
    const struct build_options *options;
    const struct log *log;
    struct source_files files;
    char *temporary; /* path; NULL: it does not exist */
    int fd;
    struct packer *packer;
    struct uhyve_error *error;
};

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    interrupted = number;
}

/* A signal is to remove what is half done. */
static void catch_signals(void (*handler)(int))
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = handler}, old;

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
}

/* The configuration, as it is in the directory. */
static int read_config(struct build *build, struct hermit_config *config)
{
    const struct source_file *file = source_files_get(&build->files, HERMIT_CONFIG_NAME);
    struct image source = {.fd = -1};

    if (!file)
        return error_set(build->error, UHYVE_STATUS_BAD_IMAGE, ENOENT,
                         "directory '%s' has no " HERMIT_CONFIG_NAME
                         " (see docs/images.md for what belongs into it)",
                         build->options->directory);
    int err = image_open(&source, file->path, build->error);
    if (err)
        return err;
    /* One byte more than the parser takes, so that it says so. */
    size_t size = source.size < 1024 * 1024 ? (size_t)source.size : 1024 * 1024;
    char *data = malloc(size ? size : 1);
    if (!data)
        err = error_set(build->error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    if (!err)
        err = image_read(&source, 0, data, size, "contents", build->error);
    if (!err)
        err = hermit_config_read(config, build->options->directory, data, size, build->error);
    free(data);
    image_close(&source);
    return err;
}

/* Load the kernel as a guest's memory would get it, to see that it can be done. */
static int check_kernel(struct build *build, const struct hermit_config *config)
{
    const struct source_file *file = source_files_get(&build->files, config->kernel);
    struct image source = {.fd = -1};
    struct elf elf;

    if (!file)
        return error_set(build->error, UHYVE_STATUS_BAD_IMAGE, ENOENT,
                         "the kernel '%.300s' that " HERMIT_CONFIG_NAME
                         " names is not in directory '%s'",
                         config->kernel, build->options->directory);
    int err = image_open(&source, file->path, build->error);
    if (!err)
        err = elf_read(&source, &elf, build->error);
    if (!err) {
        uint8_t *memory = calloc(1, elf.size ? elf.size : 1);
        if (!memory)
            err = error_set(build->error, UHYVE_STATUS_FAILED, ENOMEM,
                            "not enough memory for checking the kernel");
        else
            err = elf_load(&elf, &source, memory, elf.relocatable ? 0x40000 : elf.start,
                           build->error);
        free(memory);
    }
    image_close(&source);
    return err;
}

static int check(struct build *build)
{
    struct hermit_config config = {0};

    int err = read_config(build, &config);
    if (!err)
        err = check_kernel(build, &config);
    hermit_config_free(&config);
    return err;
}

static int error_output(struct build *build, int err, const char *what)
{
    return error_set(build->error, UHYVE_STATUS_FAILED, err, "cannot %s image '%s': %s (%s)", what,
                     build->options->output, strerror(err),
                     error_remedy(err, err == EINTR    ? "start it again"
                                       : err == ENOMEM ? "is there enough memory?"
                                                       : "check its directory and permissions"));
}

static int error_pack(struct build *build, int err, const char *name)
{
    if (err == -ENAMETOOLONG)
        return error_set(build->error, UHYVE_STATUS_BAD_IMAGE, -err,
                         "'%s' has too long a name for an image: 100 bytes, or 155 and 100 around "
                         "a slash, are possible (rename it)",
                         name);
    if (err == -EOVERFLOW)
        return error_set(build->error, UHYVE_STATUS_BAD_IMAGE, -err,
                         "'%s' is too large for an image: 8 GiB are possible", name);
    return error_output(build, -err, "write");
}

static int open_temporary(struct build *build)
{
    mode_t mask = umask(0);

    umask(mask);
    bool exists = !build->options->force && access(build->options->output, F_OK) == 0;
    if (exists)
        return error_set(build->error, UHYVE_STATUS_FAILED, EEXIST,
                         "image '%s' exists already (use --force to replace it)",
                         build->options->output);
    if (!build->options->force && errno != ENOENT)
        return error_output(build, errno, "create");
    if (asprintf(&build->temporary, "%s.XXXXXX", build->options->output) < 0) {
        build->temporary = NULL;
        return error_output(build, ENOMEM, "create");
    }
    build->fd = mkostemp(build->temporary, O_CLOEXEC);
    if (build->fd < 0) {
        int err = errno;
        free(build->temporary);
        build->temporary = NULL;
        return error_output(build, err, "create");
    }
    if (fchmod(build->fd, 0666 & ~mask) != 0)
        return error_output(build, errno, "create");
    return 0;
}

static int error_read(struct build *build, int err, const struct source_file *file)
{
    return error_set(build->error, UHYVE_STATUS_FAILED, err, "cannot read '%s': %s", file->path,
                     strerror(err));
}

/* Exactly `size` bytes: that is what the header has said. */
static int copy_content(struct build *build, const struct source_file *file, int fd, uint64_t size)
{
    char *buffer = malloc(COPY_SIZE);
    int err = buffer ? 0 : error_output(build, ENOMEM, "create");

    while (!err && size) {
        ssize_t count = read(fd, buffer, size < COPY_SIZE ? (size_t)size : COPY_SIZE);
        if (interrupted)
            err = error_output(build, EINTR, "finish");
        else if (count == 0)
            err = error_set(build->error, UHYVE_STATUS_FAILED, EIO,
                            "'%s' became shorter while it was packed (try again)", file->path);
        else if (count < 0 && errno != EINTR)
            err = error_read(build, errno, file);
        if (err || count < 0)
            continue;
        err = packer_write(build->packer, buffer, (size_t)count);
        if (err)
            err = error_pack(build, err, file->path);
        size -= (uint64_t)count;
    }
    free(buffer);
    return err;
}

static int pack_file(struct build *build, const struct source_file *file)
{
    struct stat status;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return error_read(build, errno, file);
    int err = fstat(fd, &status) == 0 ? 0 : error_read(build, errno, file);
    if (!err) {
        err = packer_add(build->packer, file->name, (uint64_t)status.st_size);
        err = err ? error_pack(build, err, file->path)
                  : copy_content(build, file, fd, (uint64_t)status.st_size);
    }
    close(fd);
    return err;
}

static int pack(struct build *build)
{
    int err = 0;

    build->packer = packer_create(build->fd, build->options->zstd);
    if (!build->packer)
        return error_output(build, ENOMEM, "create");
    for (size_t i = 0; !err && i < build->files.count; i++)
        err = interrupted ? error_output(build, EINTR, "finish")
                          : pack_file(build, &build->files.items[i]);
    if (!err) {
        err = packer_finish(build->packer);
        err = err ? error_pack(build, err, build->options->output) : 0;
    }
    packer_destroy(build->packer);
    return err;
}

/* What was written must be readable, with every file in it. */
static int read_back(struct build *build)
{
    struct image file = {.fd = -1};
    struct hermit_image image = {0};
    enum unpack_format format;

    int err = image_open(&file, build->temporary, build->error);
    if (err)
        return err;
    file.path = build->options->output;
    err = unpack_detect(&file, &format, build->error);
    if (!err)
        err = hermit_image_read(&image, &file, format, UINT64_MAX, build->log, build->error);
    if (!err && image.files.count != build->files.count)
        err = error_output(build, EIO, "write");
    if (!err && image.tar_size > UHYVE_IMAGE_LIMIT) {
        char text[32];
        log_warn(build->log, "image '%s' has %s unpacked: start it with --limit-image",
                 build->options->output, text_format_size(text, sizeof text, image.tar_size));
    }
    hermit_image_free(&image);
    image_close(&file);
    return err;
}

static int give_name(struct build *build)
{
    const char *output = build->options->output;

    if (fsync(build->fd) != 0)
        return error_output(build, errno, "write");
    /* Without --force an output that appeared meanwhile stays. */
    int result = renameat2(AT_FDCWD, build->temporary, AT_FDCWD, output,
                           build->options->force ? 0 : RENAME_NOREPLACE);
    if (result != 0 && errno == EINVAL) /* a file system without RENAME_NOREPLACE */
        result = rename(build->temporary, output);
    if (result != 0)
        return error_output(build, errno, "create");
    free(build->temporary);
    build->temporary = NULL;
    return 0;
}

int build_image(const struct build_options *options, const struct log *log,
                struct uhyve_error *error)
{
    struct build build = {.options = options, .log = log, .fd = -1, .error = error};

    int err = source_files_find(&build.files, options->directory, options->output, error);
    if (!err)
        err = check(&build);
    catch_signals(note_signal);
    if (!err)
        err = open_temporary(&build);
    if (!err)
        err = pack(&build);
    if (!err)
        err = read_back(&build);
    if (!err)
        err = give_name(&build);
    if (build.temporary)
        unlink(build.temporary);
    if (build.fd >= 0)
        close(build.fd);
    free(build.temporary);
    source_files_free(&build.files);
    catch_signals(SIG_DFL);
    if (interrupted)
        raise(interrupted);
    return err;
}
