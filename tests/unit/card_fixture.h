/*
 * A network card with its driver and a back end, for tests, one card in a program: the driver is
 * the test, register by register; the back end keeps one frame that comes and the last one sent. No
 * thread runs unless the test starts one.
 */
#ifndef CARD_FIXTURE_H
#define CARD_FIXTURE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "device/virtio_net_card.h"

#define BASE   UINT64_C(0x100000000)
#define MEMORY (UINT64_C(64) << 20)
#define BAR    UINT64_C(0xfe000000)

#define COMMON(field) (VIRTIO_COMMON + (field))
#define STATUS        COMMON(20)

/* Rings of queue N are in memory at N * 0x10000: descriptors, driver's ring, device's ring. */
#define RINGS(queue)   (BASE + 0x10000 * (uint64_t)(queue))
#define DRIVER(queue)  (RINGS(queue) + 0x2000)
#define DEVICE(queue)  (RINGS(queue) + 0x4000)
#define BUFFER(number) (BASE + 0x40000 + 0x1000 * (uint64_t)(number))

static struct ram ram;
static struct pci_bus bus;
static struct virtio_net *card;
static atomic_bool line;
static pthread_mutex_t notes = PTHREAD_MUTEX_INITIALIZER; /* the card's thread takes some, too */
static char last_message[256];                            /* of the log */
static unsigned messages;
static char last_trace[128];

/* The back end: one frame to be received, the last one sent. */
static uint8_t incoming[NET_FRAME_MAX + 500], outgoing[NET_FRAME_MAX];
static size_t incoming_size, outgoing_size;
static unsigned incoming_count, outgoing_count, offloads;
static int send_result, receive_result;
static void (*meanwhile)(void); /* called once, while the back end is at it */

static inline void let_happen(void)
{
    void (*function)(void) = meanwhile;

    meanwhile = NULL;
    if (function)
        function();
}

static inline int send_frame(struct net_backend *net, const struct iovec *iov, int count)
{
    let_happen();
    if (send_result)
        return send_result;
    outgoing_size = 0;
    for (int i = 0; i < count; i++) {
        memcpy(outgoing + outgoing_size, iov[i].iov_base, iov[i].iov_len);
        outgoing_size += iov[i].iov_len;
    }
    outgoing_count++;
    return 0;
}

static inline ssize_t receive_frame(struct net_backend *net, const struct iovec *iov, int count)
{
    size_t done = 0;

    if (receive_result)
        return receive_result;
    if (!incoming_count) {
        let_happen();
        return -EAGAIN;
    }
    incoming_count--;
    for (int i = 0; i < count && done < incoming_size; i++) {
        size_t part = incoming_size - done < iov[i].iov_len ? incoming_size - done : iov[i].iov_len;
        memcpy(iov[i].iov_base, incoming + done, part);
        done += part;
    }
    return (ssize_t)done;
}

static inline void set_offloads(struct net_backend *net, unsigned value)
{
    offloads = value;
}

static inline void close_nothing(struct net_backend *net)
{
}

static const struct net_ops ops = {.name = "test",
                                   .send = send_frame,
                                   .receive = receive_frame,
                                   .set_offloads = set_offloads,
                                   .close = close_nothing};

static struct net_backend backend = {
    .ops = &ops,
    .info = {.mac = {2, 0, 0, 0, 0, 7},
             .mtu = 1500,
             .offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN,
             .frame_max = NET_FRAME_MAX},
    .fd = -1,
};

static inline void set_line(void *context, bool level)
{
    line = level;
}

static inline void note_message(void *context, enum uhyve_level level, const char *text)
{
    pthread_mutex_lock(&notes);
    messages++;
    snprintf(last_message, sizeof last_message, "%s", text);
    pthread_mutex_unlock(&notes);
}

static inline void note_trace(void *context, const char *text)
{
    pthread_mutex_lock(&notes);
    snprintf(last_trace, sizeof last_trace, "%s", text);
    pthread_mutex_unlock(&notes);
}

static inline int create(void **state)
{
    static const struct ram_options options;
    static const struct log log = {.message = note_message, .level = UHYVE_LEVEL_WARN};
    const struct virtio_net_config config = {.ram = &ram,
                                             .log = &log,
                                             .line = {set_line, NULL},
                                             .interrupt_line = 11,
                                             .bar0 = BAR,
                                             .trace = note_trace};

    if (ram_alloc(&ram, BASE, MEMORY, &options, NULL) != 0)
        return -1;
    line = false;
    messages = incoming_count = outgoing_count = offloads = 0;
    send_result = receive_result = 0;
    if (virtio_net_create(&config, &backend, &card, NULL) != 0)
        return -1;
    bus.function = virtio_net_function(card);
    return 0;
}

static inline int destroy(void **state)
{
    virtio_net_destroy(card);
    ram_free(&ram);
    return 0;
}

/* The driver. */

static inline uint64_t get(unsigned offset, unsigned size)
{
    uint64_t value = 0;
    assert_true(pci_memory(&bus, BAR + offset, size, false, (uint8_t *)&value));
    return value;
}

static inline void put(unsigned offset, unsigned size, uint64_t value)
{
    assert_true(pci_memory(&bus, BAR + offset, size, true, (uint8_t *)&value));
}

static inline void accept_features(uint64_t features)
{
    put(COMMON(8), 4, 0);
    put(COMMON(12), 4, (uint32_t)features);
    put(COMMON(8), 4, 1);
    put(COMMON(12), 4, features >> 32);
}

static inline void negotiate(uint64_t features)
{
    put(STATUS, 1, 0);
    put(STATUS, 1, 1);
    put(STATUS, 1, 3);
    accept_features(features | VIRTIO_F_VERSION_1);
    put(STATUS, 1, 11);
    assert_int_equal(get(STATUS, 1), 11);
}

static inline void bring_up(uint64_t features)
{
    negotiate(features);
    memset(ram.host, 0, 0x40000);
    for (unsigned i = 0; i < 2; i++) {
        put(COMMON(22), 2, i);
        put(COMMON(32), 4, (uint32_t)RINGS(i));
        put(COMMON(36), 4, RINGS(i) >> 32);
        put(COMMON(40), 8, DRIVER(i));
        put(COMMON(48), 8, DEVICE(i));
        put(COMMON(28), 2, 1);
        assert_int_equal(get(COMMON(28), 2), 1);
    }
    put(STATUS, 1, 15);
    assert_int_equal(get(STATUS, 1), 15);
}

static inline uint16_t *words(uint64_t gpa)
{
    return ram_at(&ram, gpa, 4096);
}

static inline void describe(unsigned queue, unsigned index, uint64_t address, uint32_t size,
                            uint16_t flags, uint16_t next)
{
    uint8_t *to = ram_at(&ram, RINGS(queue) + 16 * index, 16);
    memcpy(to, &address, 8);
    memcpy(to + 8, &size, 4);
    memcpy(to + 12, &flags, 2);
    memcpy(to + 14, &next, 2);
}

static inline void offer(unsigned queue, uint16_t head)
{
    uint16_t *ring = words(DRIVER(queue));
    ring[2 + ring[1] % 256] = head;
    __atomic_store_n(&ring[1], ring[1] + 1, __ATOMIC_RELEASE);
}

static inline void ring_bell(unsigned queue)
{
    put(VIRTIO_NOTIFY + 4 * queue, 2, queue);
}

static inline uint16_t used(unsigned queue)
{
    return __atomic_load_n(&words(DEVICE(queue))[1], __ATOMIC_ACQUIRE);
}

static inline uint32_t written(unsigned queue, unsigned entry)
{
    uint32_t value;
    memcpy(&value, words(DEVICE(queue)) + 2 + 4 * entry + 2, sizeof value);
    return value;
}

static inline void frame_comes(size_t size)
{
    for (size_t i = 0; i < size; i++)
        incoming[i] = i < sizeof(struct net_header) ? 0 : (uint8_t)i;
    incoming_size = size;
    incoming_count++;
    virtio_net_receive(card);
}

#endif
