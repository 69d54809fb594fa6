/* Frames between two threads: order, limits, vectors of any shape. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>

#include "net/frame_ring.h"

#define FRAME_MAX 2046

static struct frame_ring ring;

static int start(void **state)
{
    return frame_ring_init(&ring, FRAME_MAX);
}

static int end(void **state)
{
    frame_ring_destroy(&ring);
    return 0;
}

static int put(const char *text)
{
    struct iovec iov = {(char *)(uintptr_t)text, strlen(text)};
    return frame_ring_put(&ring, &iov, 1, 0);
}

static void frames_come_out_in_order(void **state)
{
    char text[16], out[16];
    struct iovec iov = {out, sizeof out};

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < FRAME_RING_SLOTS; i++) {
            snprintf(text, sizeof text, "frame %d", i);
            assert_int_equal(put(text), 0);
        }
        assert_int_equal(put("one more"), -EAGAIN);
        assert_int_equal(frame_ring_count(&ring), FRAME_RING_SLOTS);
        for (int i = 0; i < FRAME_RING_SLOTS; i++) {
            int size = snprintf(text, sizeof text, "frame %d", i);
            assert_int_equal(frame_ring_take(&ring, &iov, 1, 0), size);
            assert_memory_equal(out, text, (size_t)size);
        }
        assert_int_equal(frame_ring_take(&ring, &iov, 1, 0), -EAGAIN);
        put("odd"); /* so that the next round starts elsewhere */
        frame_ring_take(&ring, &iov, 1, 0);
    }
}

/* However headers and frames are cut into pieces. */
static void vectors_may_have_any_shape(void **state)
{
    char in[] = "HEADERframe", out[16];

    for (size_t a = 0; a <= 11; a++)
        for (size_t b = a; b <= 11; b++) {
            struct iovec from[] = {{in, a}, {in + a, b - a}, {in + b, 11 - b}};
            struct iovec to[] = {{out, a}, {out + a, b - a}, {out + b, sizeof out - b}};
            assert_int_equal(frame_ring_put(&ring, from, 3, 6), 0);
            memset(out, 'x', sizeof out);
            assert_int_equal(frame_ring_take(&ring, to, 3, 2), 7);
            assert_memory_equal(out, "\0\0framexxx", 10);
        }
}

static void sizes_have_limits(void **state)
{
    char frame[FRAME_MAX + 12] = "";
    struct iovec iov = {frame, sizeof frame};

    assert_int_equal(frame_ring_put(&ring, &iov, 1, 11), -EMSGSIZE);
    assert_int_equal(frame_ring_put(&ring, &iov, 1, sizeof frame), -EMSGSIZE);
    assert_int_equal(frame_ring_put(&ring, &iov, 1, sizeof frame + 1), -EMSGSIZE);
    assert_int_equal(frame_ring_put(&ring, NULL, 0, 0), -EMSGSIZE);
    assert_int_equal(frame_ring_count(&ring), 0);
    assert_int_equal(frame_ring_put(&ring, &iov, 1, 12), 0);
    assert_int_equal(frame_ring_take(&ring, &iov, 1, 12), sizeof frame);
    assert_int_equal(frame_ring_put(&ring, &iov, 1, 12), 0);
    assert_int_equal(frame_ring_take(&ring, &iov, 1, 13), -EMSGSIZE);
    assert_int_equal(frame_ring_count(&ring), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_come_out_in_order, start, end),
        cmocka_unit_test_setup_teardown(vectors_may_have_any_shape, start, end),
        cmocka_unit_test_setup_teardown(sizes_have_limits, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
