/*
 * A device in front of a back end, for tests: collects what arrives, in the thread that `ready` is
 * called from.
 */
#ifndef NET_FIXTURE_H
#define NET_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "net/net.h"

#define NET_FRAMES_KEPT 512

struct net_fixture {
    struct net_backend *net;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed; /* the guest has no buffers */
    atomic_uint ready_calls;
    size_t count, next;
    struct {
        size_t size;
        uint8_t bytes[17000];
    } frames[NET_FRAMES_KEPT];
};

/* Start the back end, which now belongs to the fixture. */
void net_fixture_start(struct net_fixture *fixture, struct net_backend *net);
void net_fixture_end(struct net_fixture *fixture);

/* Send one frame, with a header of zeros before it, waiting for room. */
void net_fixture_send(struct net_fixture *fixture, const void *frame, size_t size);

/* The next frame that arrived, without its header; fails the test after 10 seconds. */
const uint8_t *net_fixture_next(struct net_fixture *fixture, size_t *size);

/* Forget what arrived and was not asked for. */
void net_fixture_forget(struct net_fixture *fixture);

/* Whether the guest has buffers for what arrives. */
void net_fixture_open(struct net_fixture *fixture, bool open);

#endif
