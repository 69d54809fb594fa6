/* Split virtqueues: what a driver may do, and what one that means harm does. */
#include "unit.h"

#include <errno.h>

#include "device/virtqueue.h"

#define BASE   UINT64_C(0x100000000)
#define MEMORY (UINT64_C(2) << 20)
#define SIZE   8

struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

/* The rings, as the driver sees them. */
struct rings {
    struct descriptor descriptors[SIZE];
    struct {
        uint16_t flags, index, ring[SIZE], used_event;
    } avail;
    uint16_t gap[2];
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, size;
        } ring[SIZE];
        uint16_t avail_event;
    } used;
};

static struct ram ram;
static struct rings *rings;
static struct virtqueue queue;
static struct iovec iov[VIRTQUEUE_SIZE_MAX];
static struct virtio_chain chain;

static int allocate(void **state)
{
    static const struct ram_options options;
    return ram_alloc(&ram, BASE, MEMORY, &options, NULL);
}

static int release(void **state)
{
    ram_free(&ram);
    return 0;
}

static int set_up(void **state)
{
    memset(ram.host, 0, 65536);
    rings = (struct rings *)(void *)ram.host;
    queue.ram = &ram;
    virtqueue_reset(&queue);
    queue.size = SIZE;
    queue.descriptors = BASE;
    queue.driver = BASE + offsetof(struct rings, avail);
    queue.device = BASE + offsetof(struct rings, used);
    return virtqueue_enable(&queue) ? 0 : -1;
}

static void describe(unsigned index, uint64_t offset, uint32_t size, uint16_t flags, uint16_t next)
{
    rings->descriptors[index] = (struct descriptor){BASE + offset, size, flags, next};
}

static void offer(uint16_t head)
{
    rings->avail.ring[rings->avail.index++ % SIZE] = head;
}

static int peek(uint16_t ahead)
{
    return virtqueue_peek(&queue, ahead, iov, VIRTQUEUE_SIZE_MAX, &chain);
}

static void rings_must_be_in_memory_and_aligned(void **state)
{
    static const struct {
        uint64_t descriptors, driver, device;
    } bad[] = {
        {BASE + 8, BASE + 4096, BASE + 8192},
        {BASE, BASE + 4097, BASE + 8192},
        {BASE, BASE + 4096, BASE + 8194},
        {BASE - 16, BASE + 4096, BASE + 8192},
        {BASE, BASE + MEMORY, BASE + 8192},
        {BASE, BASE + 4096, BASE + MEMORY - 64},
        {BASE + MEMORY - 112, BASE, BASE},
        {BASE, BASE + MEMORY - 18, BASE},
        {UINT64_MAX - 15, BASE, BASE},
        {0, 0, 0},
        {BASE, UINT64_MAX - 1, BASE},
        {BASE, BASE, UINT64_MAX - 3},
        {BASE, BASE, BASE + MEMORY - 4 - 8 * SIZE}, /* no room for the index behind the entries */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        virtqueue_reset(&queue);
        queue.size = SIZE;
        queue.descriptors = bad[i].descriptors;
        queue.driver = bad[i].driver;
        queue.device = bad[i].device;
        assert_false(virtqueue_enable(&queue));
        assert_false(queue.enabled);
    }
    virtqueue_reset(&queue);
    assert_int_equal(queue.size, VIRTQUEUE_SIZE_MAX);
    queue.size = SIZE;
    queue.descriptors = BASE + MEMORY - SIZE * 16;
    queue.driver = BASE + MEMORY - 2 * (3 + SIZE);
    queue.device = BASE + MEMORY - (4 + 8 * SIZE + 2) - 2;
    assert_true(virtqueue_enable(&queue));
}

static void an_empty_queue_has_nothing(void **state)
{
    assert_int_equal(peek(0), 0);
    assert_int_equal(rings->used.flags, 1); /* no notifications before they are asked for */
}

static void a_chain_is_read_in_order(void **state)
{
    describe(3, 0x1000, 12, NEXT, 1);
    describe(1, 0x2000, 100, NEXT, 5);
    describe(5, 0x3000, 0, NEXT | WRITE, 6); /* empty: left out */
    describe(6, 0x4000, 1514, WRITE, 0);
    offer(3);
    assert_int_equal(peek(0), 1);
    assert_int_equal(chain.head, 3);
    assert_int_equal(chain.out_count, 2);
    assert_int_equal(chain.in_count, 1);
    assert_int_equal(chain.out_bytes, 112);
    assert_int_equal(chain.in_bytes, 1514);
    assert_ptr_equal(iov[0].iov_base, ram.host + 0x1000);
    assert_ptr_equal(iov[1].iov_base, ram.host + 0x2000);
    assert_ptr_equal(iov[2].iov_base, ram.host + 0x4000);
    assert_int_equal(peek(1), 0);
}

static void chains_come_back_when_published(void **state)
{
    for (unsigned round = 0; round < 70000; round++) { /* indexes wrap around */
        describe(round % SIZE, 0x1000, 10, WRITE, 0);
        offer((uint16_t)(round % SIZE));
        assert_int_equal(peek(0), 1);
        virtqueue_use(&queue, &chain, 10);
        assert_int_equal(rings->used.index, (uint16_t)round);
        virtqueue_publish(&queue);
        assert_int_equal(rings->used.index, (uint16_t)(round + 1));
        assert_int_equal(rings->used.ring[round % SIZE].id, round % SIZE);
        assert_int_equal(rings->used.ring[round % SIZE].size, 10);
    }
    assert_int_equal(peek(0), 0);
}

static void looking_ahead_takes_nothing(void **state)
{
    describe(0, 0x1000, 1, WRITE, 0);
    describe(1, 0x2000, 2, WRITE, 0);
    offer(0);
    offer(1);
    assert_int_equal(peek(1), 1);
    assert_int_equal(chain.in_bytes, 2);
    assert_int_equal(peek(0), 1);
    assert_int_equal(chain.in_bytes, 1);
    assert_int_equal(peek(2), 0);
}

static void a_short_vector_is_not_overrun(void **state)
{
    describe(0, 0x1000, 1, NEXT, 1);
    describe(1, 0x2000, 2, NEXT, 2);
    describe(2, 0x2000, 2, 0, 0);
    offer(0);
    assert_int_equal(virtqueue_peek(&queue, 0, iov, 2, &chain), -ENOSPC);
    assert_int_equal(virtqueue_peek(&queue, 0, iov, 3, &chain), 1);
    assert_null(queue.broken);
}

static void expect_broken(const char *why)
{
    assert_int_equal(peek(0), -EIO);
    assert_non_null(strstr(queue.broken, why));
    /* And stays so. */
    rings->avail.index = queue.next_avail;
    assert_int_equal(peek(0), -EIO);
}

static void an_index_too_far_breaks(void **state)
{
    rings->avail.index = SIZE + 1;
    expect_broken("index");
}

static void an_index_that_goes_back_breaks(void **state)
{
    rings->avail.index = UINT16_MAX;
    expect_broken("index");
}

static void a_head_out_of_range_breaks(void **state)
{
    offer(SIZE);
    expect_broken("number of a descriptor");
}

static void a_next_out_of_range_breaks(void **state)
{
    describe(0, 0x1000, 1, NEXT, UINT16_MAX);
    offer(0);
    expect_broken("number of a descriptor");
}

static void a_loop_breaks(void **state)
{
    describe(0, 0x1000, 1, NEXT, 1);
    describe(1, 0x1000, 1, NEXT, 0);
    offer(0);
    expect_broken("no end");
}

static void a_loop_of_empty_buffers_breaks(void **state)
{
    describe(0, 0x1000, 0, NEXT, 0);
    offer(0);
    expect_broken("no end");
}

static void a_buffer_outside_of_memory_breaks(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t size;
    } bad[] = {
        {0, 1},
        {BASE - 1, 2},
        {BASE + MEMORY, 1},
        {BASE + MEMORY - 1, 2},
        {BASE, UINT32_MAX},
        {UINT64_MAX, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set_up(state);
        rings->descriptors[0] = (struct descriptor){bad[i].address, bad[i].size, 0, 0};
        offer(0);
        expect_broken("not in memory");
    }
}

static void reading_after_writing_breaks(void **state)
{
    describe(0, 0x1000, 1, NEXT | WRITE, 1);
    describe(1, 0x1000, 1, 0, 0);
    offer(0);
    expect_broken("follows");
}

static void indirect_descriptors_break(void **state)
{
    describe(0, 0x1000, 16, INDIRECT, 0);
    offer(0);
    expect_broken("indirect");
}

static void reset_repairs(void **state)
{
    offer(SIZE);
    assert_int_equal(peek(0), -EIO);
    set_up(state);
    assert_int_equal(peek(0), 0);
}

static void use_one(void)
{
    describe(0, 0x1000, 1, WRITE, 0);
    offer(0);
    assert_int_equal(peek(0), 1);
    virtqueue_use(&queue, &chain, 1);
    virtqueue_publish(&queue);
}

static void interrupts_by_flag(void **state)
{
    assert_false(virtqueue_interrupt_wanted(&queue)); /* nothing happened */
    use_one();
    assert_true(virtqueue_interrupt_wanted(&queue));
    assert_false(virtqueue_interrupt_wanted(&queue)); /* already told */
    rings->avail.flags = 1;
    use_one();
    assert_false(virtqueue_interrupt_wanted(&queue));
}

static void interrupts_by_event_index(void **state)
{
    queue.event_index = true;
    rings->avail.flags = 1; /* means nothing now */
    rings->avail.used_event = 2;
    use_one();
    assert_false(virtqueue_interrupt_wanted(&queue));
    use_one();
    use_one();
    assert_true(virtqueue_interrupt_wanted(&queue));
    use_one();
    assert_false(virtqueue_interrupt_wanted(&queue));
}

static void notifications_by_flag(void **state)
{
    assert_false(virtqueue_want_notifications(&queue, 0));
    assert_int_equal(rings->used.flags, 0);
    virtqueue_refuse_notifications(&queue);
    assert_int_equal(rings->used.flags, 1);
    describe(0, 0x1000, 1, WRITE, 0);
    offer(0);
    assert_true(virtqueue_want_notifications(&queue, 0));
    assert_false(virtqueue_want_notifications(&queue, 1));
}

static void notifications_by_event_index(void **state)
{
    set_up(state);
    virtqueue_reset(&queue);
    queue.event_index = true;
    queue.size = SIZE;
    queue.descriptors = BASE;
    queue.driver = BASE + offsetof(struct rings, avail);
    queue.device = BASE + offsetof(struct rings, used);
    assert_true(virtqueue_enable(&queue));
    assert_int_equal(rings->used.flags, 0);
    use_one();
    assert_false(virtqueue_want_notifications(&queue, 0));
    assert_int_equal(rings->used.avail_event, 1);
    assert_int_equal(rings->used.flags, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rings_must_be_in_memory_and_aligned, set_up),
        cmocka_unit_test_setup(an_empty_queue_has_nothing, set_up),
        cmocka_unit_test_setup(a_chain_is_read_in_order, set_up),
        cmocka_unit_test_setup(chains_come_back_when_published, set_up),
        cmocka_unit_test_setup(looking_ahead_takes_nothing, set_up),
        cmocka_unit_test_setup(a_short_vector_is_not_overrun, set_up),
        cmocka_unit_test_setup(an_index_too_far_breaks, set_up),
        cmocka_unit_test_setup(an_index_that_goes_back_breaks, set_up),
        cmocka_unit_test_setup(a_head_out_of_range_breaks, set_up),
        cmocka_unit_test_setup(a_next_out_of_range_breaks, set_up),
        cmocka_unit_test_setup(a_loop_breaks, set_up),
        cmocka_unit_test_setup(a_loop_of_empty_buffers_breaks, set_up),
        cmocka_unit_test_setup(a_buffer_outside_of_memory_breaks, set_up),
        cmocka_unit_test_setup(reading_after_writing_breaks, set_up),
        cmocka_unit_test_setup(indirect_descriptors_break, set_up),
        cmocka_unit_test_setup(reset_repairs, set_up),
        cmocka_unit_test_setup(interrupts_by_flag, set_up),
        cmocka_unit_test_setup(interrupts_by_event_index, set_up),
        cmocka_unit_test_setup(notifications_by_flag, set_up),
        cmocka_unit_test_setup(notifications_by_event_index, set_up),
    };
    return cmocka_run_group_tests(tests, allocate, release);
}
