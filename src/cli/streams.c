#include "cli/streams.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "util/error.h"

int streams_write(int fd, const void *data, size_t size)
{
    const char *p = data;

    while (size) {
        ssize_t done = write(fd, p, size);
        if (done >= 0) {
            p += done;
            size -= (size_t)done;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {.fd = fd, .events = POLLOUT};
            poll(&writable, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* Create a file that must not exist. Returns 0, or -errno with *error filled. */
static int create_file(const char *path, const char *what, int *fd, struct uhyve_error *error)
{
    *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
    if (*fd >= 0)
        return 0;
    return error_set(error, UHYVE_STATUS_FAILED, errno,
                     "cannot create the %s file '%.500s': %s (%s)", what, path, strerror(errno),
                     errno == EEXIST ? "remove it or choose another name"
                                     : error_remedy(errno, "check the path and its permissions"));
}

int streams_open_output(struct cli_settings *settings, struct uhyve_error *error)
{
    struct uhyve_params *params = &settings->params;
    int err = 0;

    params->stdin_fd = STDIN_FILENO;
    params->stdout_fd = STDOUT_FILENO;
    params->log_fd = STDERR_FILENO;
    params->output_fd = -1;
    params->trace_fd = params->profile_fd = STDERR_FILENO;
    if (settings->output)
        err = create_file(settings->output, "output", &params->output_fd, error);
    if (!err && settings->trace_file)
        err = create_file(settings->trace_file, "trace", &params->trace_fd, error);
    if (!err && settings->crash_dump)
        err = create_file(settings->crash_dump, "crash dump", &params->crash_dump_fd, error);
    if (!err && settings->profile_file)
        err = create_file(settings->profile_file, "profile", &params->profile_fd, error);
    if (err)
        streams_remove_output(settings);
    return err;
}

int streams_close_output(const struct cli_settings *settings, struct uhyve_error *error)
{
    const struct uhyve_params *params = &settings->params;
    const struct {
        const char *path;
        int fd;
    } files[] = {
        {settings->output, params->output_fd},
        {settings->trace_file, params->trace_fd},
        {settings->crash_dump, params->crash_dump_fd},
        {settings->profile_file, params->profile_fd},
    };
    int err = 0;

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i].path && files[i].fd > STDERR_FILENO && close(files[i].fd) != 0 &&
            errno != EINTR && !err)
            err = error_set(error, UHYVE_STATUS_FAILED, errno, "cannot write '%.500s': %s (%s)",
                            files[i].path, strerror(errno),
                            error_remedy(errno, "check where it goes"));
    return err;
}

/* Nothing of it shall stay. */
static void remove_file(const char *path, int *fd)
{
    if (*fd < 0 || !path)
        return;
    unlinkat(AT_FDCWD, path, 0); /* not unlink, which the sandbox does not know */
    close(*fd);
    *fd = -1;
}

void streams_remove_output(struct cli_settings *settings)
{
    remove_file(settings->output, &settings->params.output_fd);
    remove_file(settings->crash_dump, &settings->params.crash_dump_fd);
    if (settings->params.trace_fd != STDERR_FILENO)
        remove_file(settings->trace_file, &settings->params.trace_fd);
    if (settings->params.profile_fd != STDERR_FILENO)
        remove_file(settings->profile_file, &settings->params.profile_fd);
}
