/*
 * What back ends with a thread of their own have in common: two rings of frames, and the thread
 * that moves frames between them and whatever the back end is.
 *
 * The thread sleeps in poll, on the back end's descriptors and on an event that `send` sets if the
 * thread is asleep. While the ring towards the guest is full (`choked`), the back end takes nothing
 * in: who sends to the guest is slowed down instead of frames being dropped.
 *
 * A back end embeds struct pump as its first member. Its functions below are called on the pump's
 * thread only.
 */
#ifndef NET_PUMP_H
#define NET_PUMP_H

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "net/frame_ring.h"
#include "net/net.h"

#define PUMP_POLLS_MAX 4096
#define PUMP_FOREVER   (-1)

struct pump;

struct pump_ops {
    /*
     * What to wait for: call pump_add_poll, return milliseconds or PUMP_FOREVER. With
     * pump->blocked set, frames of the guest are no reason to stay awake.
     */
    int (*prepare)(struct pump *pump);
    /*
     * Move frames, without waiting for anything. What poll has found is valid if pump->ready is not
     * 0. With pump->patience set, it may be called twice between two calls of `prepare`.
     */
    void (*work)(struct pump *pump);
    /* The thread ends. NULL: nothing to do. */
    void (*finish)(struct pump *pump);
};

struct pump {
    struct net_backend net; /* the caller sets ops and info */
    const struct pump_ops *ops;
    struct frame_ring to_guest, to_host;
    struct pollfd *polls; /* the first is the pump's own */
    size_t poll_count;
    int ready;     /* descriptors of the back end that poll has found ready */
    long patience; /* set by the back end: ns, less than a second, that the guest's answer is worth
                      waiting for, rather than calling `prepare` now */
    bool choked;   /* nothing more for the guest in this round */
    bool blocked;  /* set by the back end: it takes no frames of the guest now */

    struct net_client client;
    pthread_t thread;
    bool has_thread;
    sem_t confined;                  /* posted when the thread has restricted itself ... */
    int confine_error;               /* ... or has ended, since it could not: -errno ... */
    struct uhyve_error *start_error; /* ... and why */
    int event;                       /* wakes the thread */
    atomic_bool stopping;
    atomic_bool asleep;
    atomic_bool starved; /* the guest was told to try again */
    atomic_bool waiting; /* the thread wants to know about room towards the guest */
};

/* The caller has zeroed the structure and set net.info. Returns 0 or -errno; pump_release may be
 * called then. */
int pump_init(struct pump *pump, const struct pump_ops *ops);

/* Ends the thread. */
void pump_stop(struct pump *pump);

/* After pump_stop: releases what pump_init allocated, not the structure. */
void pump_release(struct pump *pump);

/* What the thread calls for the pump itself. */
extern const struct sandbox_call pump_calls[];

/* The three calls for struct net_ops. */
int pump_start(struct net_backend *net, const struct net_client *client, struct uhyve_error *error);
int pump_send(struct net_backend *net, const struct iovec *iov, int count);
ssize_t pump_receive(struct net_backend *net, const struct iovec *iov, int count);

/* From `prepare`: the index in pump->polls, or 0 if there are too many already. */
size_t pump_add_poll(struct pump *pump, int fd, short events);

/* Make the thread look again. Any thread. */
void pump_wake(struct pump *pump);

#endif
