#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "net_fixture.h"

static void take_all(struct net_fixture *fixture)
{
    uint8_t header[sizeof(struct net_header)];
    ssize_t size = 0;

    while (!fixture->closed && size >= 0) {
        /* Beyond what is kept, the last one is replaced. */
        fixture->count -= fixture->count == NET_FRAMES_KEPT;
        struct iovec iov[] = {
            {header, sizeof header},
            {fixture->frames[fixture->count].bytes, sizeof fixture->frames[0].bytes}};
        size = fixture->net->ops->receive(fixture->net, iov, 2);
        if (size >= 0) {
            assert_true((size_t)size > sizeof header);
            fixture->frames[fixture->count++].size = (size_t)size - sizeof header;
        }
    }
}

static void ready(void *context)
{
    struct net_fixture *fixture = context;

    pthread_mutex_lock(&fixture->lock);
    fixture->ready_calls++;
    take_all(fixture);
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

void net_fixture_start(struct net_fixture *fixture, struct net_backend *net)
{
    const struct net_client client = {ready, fixture};
    struct uhyve_error error;

    memset(fixture, 0, sizeof *fixture);
    fixture->net = net;
    pthread_mutex_init(&fixture->lock, NULL);
    pthread_cond_init(&fixture->changed, NULL);
    assert_int_equal(net->fd, -1);
    assert_int_equal(net->ops->start(net, &client, &error), 0);
}

void net_fixture_end(struct net_fixture *fixture)
{
    net_close(fixture->net);
    pthread_mutex_destroy(&fixture->lock);
    pthread_cond_destroy(&fixture->changed);
}

void net_fixture_send(struct net_fixture *fixture, const void *frame, size_t size)
{
    struct net_header header = {0};
    const struct iovec iov[] = {{&header, sizeof header}, {(void *)(uintptr_t)frame, size}};
    int err;

    while ((err = fixture->net->ops->send(fixture->net, iov, 2)) == -EAGAIN)
        usleep(100);
    assert_int_equal(err, 0);
}

const uint8_t *net_fixture_next(struct net_fixture *fixture, size_t *size)
{
    struct timespec limit;
    int err = 0;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 10;
    pthread_mutex_lock(&fixture->lock);
    while (fixture->next == fixture->count && !err)
        err = pthread_cond_timedwait(&fixture->changed, &fixture->lock, &limit);
    size_t index = fixture->next;
    fixture->next += !err;
    pthread_mutex_unlock(&fixture->lock);
    if (err)
        fail_msg("no frame arrived");
    *size = fixture->frames[index].size;
    return fixture->frames[index].bytes;
}

void net_fixture_open(struct net_fixture *fixture, bool open)
{
    pthread_mutex_lock(&fixture->lock);
    fixture->closed = !open;
    if (open)
        take_all(fixture);
    pthread_mutex_unlock(&fixture->lock);
}

void net_fixture_forget(struct net_fixture *fixture)
{
    pthread_mutex_lock(&fixture->lock);
    fixture->count = fixture->next = 0;
    pthread_mutex_unlock(&fixture->lock);
}
