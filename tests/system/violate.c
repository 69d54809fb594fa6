/*
 * A library to preload: it makes the VMM make the system call number $VIOLATE when it writes the
 * guest's output, as a guest that has taken it over might. For tests of what happens then.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

__attribute__((visibility("default"))) ssize_t writev(int fd, const struct iovec *iov, int count)
{
    const char *number = getenv("VIOLATE");
    ssize_t (*next)(int, const struct iovec *, int);

    *(void **)&next = dlsym(RTLD_NEXT, "writev");
    if (number)
        syscall(atoi(number), 0, 0, 0, 0, 0, 0);
    return next(fd, iov, count);
}
