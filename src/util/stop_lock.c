#include "util/stop_lock.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/*
 * A waiter announces itself (CONTENDED) before it sleeps, and a releaser that finds the
 * announcement leaves a token in wake_fd. The token stays until it is read, so it cannot be missed
 * between announcement and sleep. A superfluous token only makes a waiter look once more. A waiter
 * that leaves because of the stop may take a token with it: the others see the stop themselves.
 */
enum { LOCK_FREE, LOCK_HELD, LOCK_CONTENDED };

int stop_lock_init(struct stop_lock *lock, int stop_fd)
{
    *lock = (struct stop_lock){.stop_fd = stop_fd};
    lock->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return lock->wake_fd < 0 ? -errno : 0;
}

void stop_lock_destroy(struct stop_lock *lock)
{
    close(lock->wake_fd);
}

bool stop_lock_acquire(struct stop_lock *lock)
{
    int expected = LOCK_FREE;
    if (atomic_compare_exchange_strong_explicit(&lock->state, &expected, LOCK_HELD,
                                                memory_order_acquire, memory_order_relaxed))
        return true;
    while (atomic_exchange_explicit(&lock->state, LOCK_CONTENDED, memory_order_acquire) !=
           LOCK_FREE) {
        struct pollfd fds[] = {
            {.fd = lock->wake_fd, .events = POLLIN},
            {.fd = lock->stop_fd, .events = POLLIN},
        };
        if (poll(fds, 2, -1) < 0)
            continue; /* EINTR: the lock or the stop event will tell */
        if (fds[1].revents)
            return false;
        uint64_t token;
        if (read(lock->wake_fd, &token, sizeof token) < 0)
            continue; /* another waiter was faster */
    }
    return true;
}

void stop_lock_release(struct stop_lock *lock)
{
    if (atomic_exchange_explicit(&lock->state, LOCK_FREE, memory_order_release) == LOCK_CONTENDED)
        eventfd_write(lock->wake_fd, 1);
}
