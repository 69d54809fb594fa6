#include "fs/wait.h"

#include <errno.h>
#include <poll.h>

int wait_ready(int fd, short events, int stop_fd)
{
    struct pollfd fds[] = {{.fd = stop_fd, .events = POLLIN}, {.fd = fd, .events = events}};
    for (;;) {
        if (poll(fds, 2, -1) < 0) {
            if (errno != EINTR)
                return -errno;
            continue;
        }
        if (fds[0].revents)
            return -EINTR;
        if (fds[1].revents & POLLNVAL)
            return -EBADF;
        if (fds[1].revents)
            return 0;
    }
}

bool wait_is_over(int stop_fd)
{
    struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
    return poll(&stop, 1, 0) > 0;
}
