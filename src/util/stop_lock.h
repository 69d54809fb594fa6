/*
 * A mutex whose waiters give up when the VM stops.
 *
 * The holder may be blocked for as long as somebody else's process likes (a full pipe), so a plain
 * mutex would let shutdown hang on the threads queued behind it. Here a waiter sleeps on two
 * descriptors, "the lock was released" and the VM's stop event, and leaves with the second.
 *
 * Taking and releasing a free lock makes no system call. Any thread may use a lock; it is not
 * recursive and not fair. The owner of the lock keeps stop_fd open as long as the lock exists.
 */
#ifndef UTIL_STOP_LOCK_H
#define UTIL_STOP_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>

struct stop_lock {
    atomic_int state;
    int wake_fd; /* eventfd: readable when a released lock may have waiters */
    int stop_fd; /* readable, and never read here, once the VM stops; -1: never */
};

/* Returns 0 or -errno. stop_lock_destroy is for locks that nobody holds or waits for. */
int stop_lock_init(struct stop_lock *lock, int stop_fd);
void stop_lock_destroy(struct stop_lock *lock);

/*
 * True: the caller holds the lock. False: it was taken and the VM stopped meanwhile. A free lock is
 * given out even when the VM has stopped.
 */
bool stop_lock_acquire(struct stop_lock *lock);
void stop_lock_release(struct stop_lock *lock);

#endif
