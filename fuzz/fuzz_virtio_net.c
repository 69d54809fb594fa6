/*
 * Fuzz target: a guest with a network card. It writes anything to the registers and to its memory,
 * in any order, while frames come from the back end. Nothing may fail but the guest, the interrupt
 * line must follow the ISR, and after a reset the card works.
 *
 * Input: a sequence of steps, each a byte that selects what to do, followed by its parameters:
 *
 *   0  patch memory         offset (2 bytes), length (1 byte), bytes
 *   1  access configuration offset (1 byte), size (1 byte), value (4 bytes)
 *   2  access BAR 0         offset (1 byte), size (1 byte), value (8 bytes)
 *   3  frames come          number (1 byte), bytes of each (2 bytes)
 *   4  bring the card up    features (8 bytes): as a correct driver does, with queues in place
 *   5  offer a chain        queue (1 byte), head (1 byte)
 *   6  the back end is full, or not: number of frames it still takes (1 byte)
 *   7  the worker looks around
 */
#include <errno.h>

#include "device/virtio_net_card.h"
#include "fuzz.h"
#include "input.h"

#define MEMORY_BASE UINT64_C(0x10000)
#define MEMORY_SIZE 65536
#define BAR         UINT64_C(0xfe000000)
#define STEPS_MAX   64

#define QUEUE_BYTES 8192 /* each queue's rings: descriptors, driver's at 4096, device's at 5120 */

struct world {
    struct net_backend net; /* first */
    struct ram ram;
    struct log log;
    struct pci_bus bus;
    struct virtio_net *card;
    unsigned frames, frame_size, takes;
    unsigned messages;
    bool line;
};

static void count_message(void *context, enum uhyve_level level, const char *text)
{
    struct world *world = context;
    require(text[0] && !strchr(text, '\n'));
    world->messages += level <= UHYVE_LEVEL_WARN;
}

static void set_line(void *context, bool level)
{
    struct world *world = context;
    world->line = level;
}

/* The back end. */

/* A header asks for nothing but what was negotiated, and refers to what is in the frame. */
static void check_header(const struct world *world, const struct net_header *header, size_t size)
{
    uint64_t features = world->card->virtio.features;
    unsigned kind = header->gso_type & ~(unsigned)NET_GSO_ECN;

    require(size >= 14 && !(header->flags & ~NET_HEADER_NEEDS_CSUM));
    if (header->flags & NET_HEADER_NEEDS_CSUM) {
        require(features & NET_F_CSUM);
        require((size_t)header->csum_start + header->csum_offset + 2 <= size);
    }
    require(kind == NET_GSO_NONE || kind == NET_GSO_TCPV4 || kind == NET_GSO_TCPV6);
    require(kind != NET_GSO_TCPV4 || features & NET_F_HOST_TSO4);
    require(kind != NET_GSO_TCPV6 || features & NET_F_HOST_TSO6);
    require(!(header->gso_type & NET_GSO_ECN) || features & NET_F_HOST_ECN);
}

static int send(struct net_backend *net, const struct iovec *iov, int count)
{
    struct world *world = (struct world *)net;
    struct net_header header;
    unsigned sum = 0;
    size_t size = 0;

    if (!world->takes)
        return -EAGAIN;
    world->takes--;
    require(count >= 2 && iov[0].iov_len == sizeof header);
    memcpy(&header, iov[0].iov_base, sizeof header);
    for (int i = 1; i < count; i++)
        for (size_t k = 0; k < iov[i].iov_len; k++, size++)
            sum += ((const uint8_t *)iov[i].iov_base)[k];
    check_header(world, &header, size);
    return sum % 16 ? 0 : -EIO;
}

static ssize_t receive(struct net_backend *net, const struct iovec *iov, int count)
{
    struct world *world = (struct world *)net;
    size_t left = world->frame_size, room = 0;

    for (int i = 0; i < count; i++)
        room += iov[i].iov_len;
    require(room >= net->info.frame_max);
    if (!world->frames)
        return -EAGAIN;
    world->frames--;
    for (int i = 0; i < count && left; i++) {
        size_t part = left < iov[i].iov_len ? left : iov[i].iov_len;
        memset(iov[i].iov_base, 0, part);
        left -= part;
    }
    return (ssize_t)world->frame_size;
}

static void close_nothing(struct net_backend *net)
{
}

static const struct net_ops ops = {
    .name = "fuzz", .send = send, .receive = receive, .close = close_nothing};

/* The guest. */

static void patch_memory(struct world *world, struct input *input)
{
    size_t offset = take(input, 2) % MEMORY_SIZE, length = take(input, 1);
    length = length < input->size ? length : input->size;
    length = length < MEMORY_SIZE - offset ? length : MEMORY_SIZE - offset;
    memcpy(world->ram.host + offset, input->bytes, length);
    input->bytes += length;
    input->size -= length;
}

static void access_configuration(struct world *world, struct input *input)
{
    static const unsigned sizes[] = {1, 2, 4};
    uint32_t address = 0x80000000u | (uint32_t)take(input, 1);
    unsigned way = (unsigned)take(input, 1), size = sizes[way % 3];
    uint64_t value = take(input, 4);

    pci_io(&world->bus, PCI_ADDRESS_PORT, 4, false, (uint8_t *)&address);
    pci_io(&world->bus, (uint16_t)(PCI_DATA_PORT + (way >> 2) % 4), size, way & 0x80,
           (uint8_t *)&value);
}

static void access_bar(struct world *world, struct input *input)
{
    uint64_t offset = take(input, 1);
    unsigned way = (unsigned)take(input, 1), size = 1 + way % 8;
    uint64_t value = take(input, 8);

    pci_memory(&world->bus, BAR + offset, size, !(way & 0x80), (uint8_t *)&value);
}

static void put(struct world *world, unsigned offset, uint64_t value, unsigned size)
{
    require(pci_memory(&world->bus, BAR + offset, size, true, (uint8_t *)&value));
}

static void bring_up(struct world *world, uint64_t features)
{
    uint32_t address = 0x80000000u | PCI_BAR0, low = (uint32_t)BAR, high = 0;

    /* It may have moved. */
    pci_io(&world->bus, PCI_ADDRESS_PORT, 4, false, (uint8_t *)&address);
    pci_io(&world->bus, PCI_DATA_PORT, 4, false, (uint8_t *)&low);
    address += 4;
    pci_io(&world->bus, PCI_ADDRESS_PORT, 4, false, (uint8_t *)&address);
    pci_io(&world->bus, PCI_DATA_PORT, 4, false, (uint8_t *)&high);

    put(world, VIRTIO_COMMON + 20, 0, 1);
    put(world, VIRTIO_COMMON + 20, 3, 1);
    features = (features & world->card->virtio.offered) | VIRTIO_F_VERSION_1;
    put(world, VIRTIO_COMMON + 8, 0, 4);
    put(world, VIRTIO_COMMON + 12, features & UINT32_MAX, 4);
    put(world, VIRTIO_COMMON + 8, 1, 4);
    put(world, VIRTIO_COMMON + 12, features >> 32, 4);
    put(world, VIRTIO_COMMON + 20, 11, 1);
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        uint64_t rings = MEMORY_BASE + QUEUE_BYTES * i;
        put(world, VIRTIO_COMMON + 22, i, 2);
        put(world, VIRTIO_COMMON + 32, rings, 8);
        put(world, VIRTIO_COMMON + 40, rings + 4096, 8);
        put(world, VIRTIO_COMMON + 48, rings + 5120, 8);
        put(world, VIRTIO_COMMON + 28, 1, 2);
        memset(world->ram.host + QUEUE_BYTES * i + 4096, 0, 4);
    }
    put(world, VIRTIO_COMMON + 20, 15, 1);
}

static void offer(struct world *world, struct input *input)
{
    unsigned queue = (unsigned)take(input, 1) % VIRTIO_QUEUES;
    uint16_t head = (uint16_t)take(input, 1), index;
    uint8_t *ring = world->ram.host + QUEUE_BYTES * queue + 4096;

    memcpy(&index, ring + 2, 2);
    memcpy(ring + 4 + 2 * (index % VIRTQUEUE_SIZE_MAX), &head, 2);
    index++;
    memcpy(ring + 2, &index, 2);
    /* Nobody hears it where the BAR has been moved. */
    pci_memory(&world->bus, BAR + VIRTIO_NOTIFY + VIRTIO_NOTIFY_STRIDE * queue, 2, true,
               (uint8_t *)&queue);
}

static void look_around(struct world *world)
{
    virtio_net_receive(world->card);
    virtio_net_send(world->card);
}

/* Nobody holds a lock between two steps. */
static void check_locks(struct world *world)
{
    pthread_mutex_t *const locks[] = {
        &world->card->send.lock,       &world->card->receive.lock,
        &world->card->virtio.lock,     &world->card->virtio.interrupt_lock,
        &world->card->virtio.pci.lock,
    };

    for (size_t i = 0; i < sizeof locks / sizeof *locks; i++) {
        require(pthread_mutex_trylock(locks[i]) == 0);
        pthread_mutex_unlock(locks[i]);
    }
}

static void run(struct world *world, struct input *input)
{
    for (unsigned step = 0; step < STEPS_MAX && input->size; step++) {
        switch (take(input, 1) % 8) {
        case 0:
            patch_memory(world, input);
            break;
        case 1:
            access_configuration(world, input);
            break;
        case 2:
            access_bar(world, input);
            break;
        case 3:
            world->frames = (unsigned)take(input, 1);
            world->frame_size = (unsigned)take(input, 2) % (NET_FRAME_MAX + 1);
            look_around(world);
            break;
        case 4:
            bring_up(world, take(input, 8));
            break;
        case 5:
            offer(world, input);
            break;
        case 6:
            world->takes = (unsigned)take(input, 1);
            break;
        case 7:
            look_around(world);
            break;
        }
        check_locks(world);
    }
}

/* Whatever happened: a correct driver gets a frame through. */
static void check_recovery(struct world *world)
{
    struct {
        uint64_t address;
        uint32_t size;
        uint16_t flags, next;
    } descriptor = {MEMORY_BASE + 32768, 64, 0, 0};
    uint8_t *used = world->ram.host + QUEUE_BYTES * QUEUE_SEND + 5120;
    uint16_t before, after;
    uint8_t isr;

    bring_up(world, 0);
    require(!world->line);
    memset(world->ram.host + 32768, 1, 64);
    memset(world->ram.host + 32768, 0, sizeof(struct net_header));
    memcpy(world->ram.host + QUEUE_BYTES * QUEUE_SEND, &descriptor, sizeof descriptor);
    memcpy(&before, used + 2, 2);
    world->takes = 1;
    struct input input = {(const uint8_t *)"\1\0", 2};
    offer(world, &input);
    memcpy(&after, used + 2, 2);
    require(after == 1 && world->takes == 0);
    require(!world->line || pci_memory(&world->bus, BAR + VIRTIO_ISR, 1, false, &isr));
    require(!world->line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct net_info info = {
        .mac = {2, 0, 0, 0, 0, 1},
        .mtu = 1500,
        .offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN,
        .frame_max = NET_FRAME_MAX,
    };
    struct input input = {bytes, size};
    struct world world = {
        .net = {&ops, info, -1},
        .ram = {.base = MEMORY_BASE, .size = MEMORY_SIZE},
        .log = {count_message, &world, UHYVE_LEVEL_DEBUG},
    };
    const struct virtio_net_config config = {.ram = &world.ram,
                                             .log = &world.log,
                                             .line = {set_line, &world},
                                             .interrupt_line = 11,
                                             .bar0 = BAR};

    world.ram.host = aligned_alloc(4096, MEMORY_SIZE);
    require(world.ram.host != NULL);
    memset(world.ram.host, 0, MEMORY_SIZE);
    require(virtio_net_create(&config, &world.net, &world.card, NULL) == 0);
    world.bus.function = virtio_net_function(world.card);
    run(&world, &input);
    check_recovery(&world);
    require(world.messages <= 2 * LOG_LIMIT);
    virtio_net_destroy(world.card);
    free(world.ram.host);
    return 0;
}
