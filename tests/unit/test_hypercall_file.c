/* The file calls: parameters, buffers, and the standard streams (spec/hypercalls.md sections 4.1 to
 * 4.8 and 4.12). What they do with files is tested in test_files.c. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86_64/paging.h"
#include "hypercall_fixture.h"

#define B(offset) (FIXTURE_BASE + (offset))
#define BLOCK     B(0) /* where the tests put their parameter blocks */

/* Buffers that are not, or not entirely, in guest memory. */
static const uint64_t bad_buffers[][2] = {
    {FIXTURE_END - 4, 5},
    {FIXTURE_BASE - 1, 4},
    {FIXTURE_END, 1},
    {0, 4},
    {FIXTURE_BASE, UINT64_MAX},
    {FIXTURE_BASE, FIXTURE_SIZE + 1},
    {UINT64_MAX, 1},
    {UINT64_MAX - 3, FIXTURE_END},
    {FIXTURE_BASE, INT64_MAX},
};

#define BAD_BUFFERS (sizeof bad_buffers / sizeof *bad_buffers)

/* Paths and what a call with such a path is to report. */
#define PATH_GOOD B(0x1000)
#define PATH_LONG B(0x2000)
#define PATH_BAD  B(0x4000)

static void put_paths(struct fixture *fixture)
{
    fixture_put(fixture, PATH_GOOD, "/missing", 9);
    memset(fixture_at(fixture, PATH_LONG, 4096), 'x', 4096);
    fixture_put(fixture, PATH_BAD, "/\xff\xfe", 4);
    fixture_put(fixture, FIXTURE_END - 4, "/abc", 4); /* no terminator */
}

static const struct {
    gpa_t path;
    int error;
} paths[] = {
    {PATH_GOOD, ENOENT},        {PATH_LONG, ENAMETOOLONG}, {PATH_BAD, EINVAL},
    {FIXTURE_END - 4, EFAULT},  {FIXTURE_END, EFAULT},     {0, EFAULT},
    {FIXTURE_BASE - 1, EFAULT}, {UINT64_MAX, EFAULT},
};

#define PATHS (sizeof paths / sizeof *paths)

static int32_t open_path(struct fixture *fixture, uint16_t port, gpa_t path, int32_t flags)
{
    struct hermit_open block = {.path = path, .flags = flags, .ret = -1000};
    fixture_put(fixture, BLOCK, &block, sizeof block);
    if (port < 0x1000)
        fixture_v1(fixture, port, BLOCK);
    else
        fixture_v2(fixture, port, BLOCK);
    memcpy(&block, fixture_at(fixture, BLOCK, sizeof block), sizeof block);
    return block.ret;
}

static void paths_are_checked_by_open(void **state)
{
    struct fixture *fixture = *state;
    static const uint16_t ports[] = {HERMIT_V1_FILE_OPEN, HERMIT_V2_FILE_OPEN};
    put_paths(fixture);
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < PATHS; j++)
            assert_int_equal(open_path(fixture, ports[i], paths[j].path, 0), -paths[j].error);
        assert_int_equal(
            open_path(fixture, ports[i], PATH_GOOD, HERMIT_O_CREAT | HERMIT_O_DIRECTORY), -EINVAL);
        assert_int_equal(open_path(fixture, ports[i], PATH_GOOD, ~HERMIT_O_MASK), -ENOENT);
        assert_int_equal(open_path(fixture, ports[i], PATH_GOOD, HERMIT_O_ACCMODE), -EINVAL);
    }
}

static void worked_encoding_of_open(void **state)
{
    struct fixture *fixture = *state;
    /* path, flags 0, mode 0, ret -1 */
    static const uint8_t block[20] = {0x00, 0x10, 0x20, 0, 0, 0, 0,    0,    0,    0,
                                      0,    0,    0,    0, 0, 0, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t answer[4] = {0xfe, 0xff, 0xff, 0xff}; /* -ENOENT */
    fixture_put(fixture, PATH_GOOD, "/x", 3);
    fixture_put(fixture, BLOCK, block, sizeof block);
    fixture_v1(fixture, HERMIT_V1_FILE_OPEN, BLOCK);
    assert_memory_equal(fixture_at(fixture, BLOCK, 16), block, 16);
    assert_memory_equal(fixture_at(fixture, BLOCK + 16, 4), answer, 4);
}

static void paths_are_checked_by_unlink(void **state)
{
    struct fixture *fixture = *state;
    put_paths(fixture);
    for (size_t j = 0; j < PATHS; j++) {
        struct hermit_unlink block = {.path = paths[j].path, .ret = -1000};
        fixture_put(fixture, BLOCK, &block, sizeof block);
        fixture_v1(fixture, HERMIT_V1_FILE_UNLINK, BLOCK);
        memcpy(&block, fixture_at(fixture, BLOCK, sizeof block), sizeof block);
        assert_int_equal(block.ret, -paths[j].error);
        fixture_v2(fixture, HERMIT_V2_FILE_UNLINK, BLOCK);
        memcpy(&block, fixture_at(fixture, BLOCK, sizeof block), sizeof block);
        assert_int_equal(block.ret, -paths[j].error);
    }
}

static void paths_are_checked_by_stat_and_mkdir(void **state)
{
    struct fixture *fixture = *state;
    put_paths(fixture);
    for (size_t j = 0; j < PATHS; j++) {
        struct hermit_stat stat = {.path = paths[j].path, .attr = B(0x8000)};
        fixture_put(fixture, BLOCK, &stat, sizeof stat);
        fixture_v2(fixture, HERMIT_V2_FILE_STAT, BLOCK);
        memcpy(&stat, fixture_at(fixture, BLOCK, sizeof stat), sizeof stat);
        assert_int_equal(stat.tag, HERMIT_RESULT_ERROR);
        assert_int_equal(stat.error, paths[j].error);

        struct hermit_mkdir mkdir = {.path = paths[j].path};
        fixture_put(fixture, BLOCK, &mkdir, sizeof mkdir);
        fixture_v2(fixture, HERMIT_V2_MKDIR, BLOCK);
        memcpy(&mkdir, fixture_at(fixture, BLOCK, sizeof mkdir), sizeof mkdir);
        bool good = paths[j].path == PATH_GOOD;
        assert_int_equal(mkdir.tag, good ? HERMIT_RESULT_OK : HERMIT_RESULT_ERROR);
        assert_int_equal(mkdir.error, good ? 0 : paths[j].error);
    }
}

static void stat_checks_its_other_parameters(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t no_entry[] = {2, 0, 0, 0, 2, 0, 0, 0};
    struct hermit_stat stat = {.path = PATH_GOOD, .kind = HERMIT_STAT_NO_FOLLOW, .attr = B(8)};
    put_paths(fixture);
    fixture_put(fixture, BLOCK, &stat, sizeof stat);
    fixture_v2(fixture, HERMIT_V2_FILE_STAT, BLOCK);
    assert_memory_equal(fixture_at(fixture, BLOCK + 24, 8), no_entry, 8);

    stat.kind = 2;
    fixture_put(fixture, BLOCK, &stat, sizeof stat);
    fixture_v2(fixture, HERMIT_V2_FILE_STAT, BLOCK);
    assert_int_equal(*(int32_t *)fixture_at(fixture, BLOCK + 28, 4), EINVAL);

    stat.kind = HERMIT_STAT_FOLLOW;
    stat.attr = FIXTURE_END - sizeof(struct hermit_attr) + 1;
    fixture_put(fixture, BLOCK, &stat, sizeof stat);
    fixture_v2(fixture, HERMIT_V2_FILE_STAT, BLOCK);
    assert_int_equal(*(int32_t *)fixture_at(fixture, BLOCK + 28, 4), EFAULT);
}

static void fstat_knows_no_descriptor(void **state)
{
    struct fixture *fixture = *state;
    static const int32_t fds[] = {0, 1, 2, 3, -1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        struct hermit_fstat block = {.fd = fds[i], .attr = B(0x1000)};
        fixture_put(fixture, BLOCK, &block, sizeof block);
        fixture_v2(fixture, HERMIT_V2_FILE_FSTAT, BLOCK);
        memcpy(&block, fixture_at(fixture, BLOCK, sizeof block), sizeof block);
        assert_int_equal(block.tag, HERMIT_RESULT_ERROR);
        assert_int_equal(block.error, EBADF);
    }
}

static void getdents_knows_no_directory(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t bad_fd[16] = {3, 0, 0, 0, 0, 0, 0, 0, EBADF};
    struct hermit_getdents block = {.fd = 5, .buf = B(0x1000), .len = 4096, .result.written = ~0ul};
    fixture_put(fixture, BLOCK, &block, sizeof block);
    fixture_v2(fixture, HERMIT_V2_GETDENTS, BLOCK);
    assert_memory_equal(fixture_at(fixture, BLOCK + 24, 16), bad_fd, 16);
    for (size_t i = 0; i < BAD_BUFFERS; i++) {
        block.buf = bad_buffers[i][0];
        block.len = bad_buffers[i][1];
        fixture_put(fixture, BLOCK, &block, sizeof block);
        fixture_v2(fixture, HERMIT_V2_GETDENTS, BLOCK);
        assert_int_equal(*(int32_t *)fixture_at(fixture, BLOCK + 24, 4), HERMIT_GETDENTS_ERROR);
        assert_int_equal(*(int32_t *)fixture_at(fixture, BLOCK + 32, 4), EFAULT);
    }
}

static void close_ignores_standard_streams(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        int32_t fd, ret;
    } cases[] = {{0, 0},         {1, 0},      {2, 0},        {-1, 0},
                 {INT32_MIN, 0}, {3, -EBADF}, {100, -EBADF}, {INT32_MAX, -EBADF}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hermit_close block = {.fd = cases[i].fd, .ret = -1000};
        fixture_put(fixture, BLOCK, &block, sizeof block);
        fixture_v1(fixture, HERMIT_V1_FILE_CLOSE, BLOCK);
        assert_int_equal(*(int32_t *)fixture_at(fixture, BLOCK + 4, 4), cases[i].ret);
        fixture_put(fixture, BLOCK, &block, sizeof block);
        fixture_v2(fixture, HERMIT_V2_FILE_CLOSE, BLOCK);
        assert_int_equal(*(int32_t *)fixture_at(fixture, BLOCK + 4, 4), cases[i].ret);
    }
    assert_true(fcntl(fixture->output, F_GETFD) >= 0);
}

static void nothing_can_be_sought(void **state)
{
    struct fixture *fixture = *state;
    static const int32_t fds[] = {0, 2, 3, -1, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        struct hermit_v1_lseek old = {.fd = fds[i], .offset = 7, .whence = 1};
        fixture_put(fixture, BLOCK, &old, sizeof old);
        fixture_v1(fixture, HERMIT_V1_FILE_LSEEK, BLOCK);
        memcpy(&old, fixture_at(fixture, BLOCK, sizeof old), sizeof old);
        assert_int_equal(old.offset, -1); /* the old interface has no error numbers */

        struct hermit_v2_lseek block = {.fd = fds[i], .offset = 7, .whence = 1};
        fixture_put(fixture, BLOCK, &block, sizeof block);
        fixture_v2(fixture, HERMIT_V2_FILE_LSEEK, BLOCK);
        memcpy(&block, fixture_at(fixture, BLOCK, sizeof block), sizeof block);
        assert_int_equal(block.offset, fds[i] >= 0 && fds[i] <= 2 ? -ESPIPE : -EBADF);
    }
}

/* Writing. */

static int64_t write_v2(struct fixture *fixture, int32_t fd, uint64_t buf, uint64_t len)
{
    struct hermit_v2_write block = {.len = len, .ret = -1000, .buf = buf, .fd = fd};
    fixture_put(fixture, BLOCK, &block, sizeof block);
    fixture_v2(fixture, HERMIT_V2_FILE_WRITE, BLOCK);
    memcpy(&block, fixture_at(fixture, BLOCK, sizeof block), sizeof block);
    return block.ret;
}

static void write_v1(struct fixture *fixture, int32_t fd, gva_t buf, uint64_t len)
{
    struct hermit_v1_write block = {.fd = fd, .buf = buf, .len = len};
    fixture_put(fixture, BLOCK, &block, sizeof block);
    fixture_v1(fixture, HERMIT_V1_FILE_WRITE, BLOCK);
}

static void program_output_of_interface_2(void **state)
{
    struct fixture *fixture = *state;
    fixture_put(fixture, B(0x1000), "hello", 5);
    fixture_put(fixture, FIXTURE_END - 4, "last", 4);
    assert_int_equal(write_v2(fixture, 1, B(0x1000), 5), 5);
    assert_int_equal(write_v2(fixture, 2, B(0x1001), 3), 3);
    assert_int_equal(write_v2(fixture, 1, FIXTURE_END - 4, 4), 4);
    assert_string_equal(fixture_output(fixture), "helloelllast");
}

static void other_descriptors_cannot_be_written(void **state)
{
    struct fixture *fixture = *state;
    static const int32_t fds[] = {0, 3, -1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        assert_int_equal(write_v2(fixture, fds[i], B(0x1000), 5), -EBADF);
        /* Not the descriptor of the host with this number either. */
        fixture_map(fixture, 0, B(0x1000));
        write_v1(fixture, fds[i], 0, 5);
    }
    assert_int_equal(write_v2(fixture, fixture->output, B(0x1000), 5), -EBADF);
    assert_string_equal(fixture_output(fixture), "");
}

static void buffers_outside_memory_are_not_written(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < BAD_BUFFERS; i++)
        assert_int_equal(write_v2(fixture, 1, bad_buffers[i][0], bad_buffers[i][1]), -EFAULT);
    assert_string_equal(fixture_output(fixture), "");
}

/* An empty buffer is fine wherever it is: it has no bytes that could be outside. */
static void empty_buffers_are_valid_anywhere(void **state)
{
    struct fixture *fixture = *state;
    static const uint64_t places[] = {FIXTURE_BASE, FIXTURE_END, FIXTURE_END + 1, 0, 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct hermit_v2_read read = {.buf = places[i], .ret = -1000};
        assert_int_equal(write_v2(fixture, 1, places[i], 0), 0);
        fixture_put(fixture, BLOCK, &read, sizeof read);
        fixture_v2(fixture, HERMIT_V2_FILE_READ, BLOCK);
        assert_int_equal(*(int64_t *)fixture_at(fixture, BLOCK + 8, 8), 0);
        write_v1(fixture, 1, places[i], 0);
    }
    assert_int_equal(write_v2(fixture, 5, B(0), 0), -EBADF);
    assert_string_equal(fixture_output(fixture), "");
}

/* Guest-virtual page i is at guest-physical page 250 - i % 240: no two are neighbours in that
 * order.
 */
static char *map_backwards(struct fixture *fixture, unsigned pages)
{
    char *expected = malloc(pages * 4096 + 1);
    for (unsigned i = 0; i < pages; i++) {
        unsigned page = i % 240;
        gpa_t gpa = B((gpa_t)(250 - page) * 4096);
        for (unsigned j = 0; j < 4096; j++)
            expected[i * 4096 + j] = (char)('A' + (page * 5 + j / 7) % 57);
        fixture_put(fixture, gpa, expected + i * 4096, 4096);
        fixture_map(fixture, (gva_t)(16 + i) * 4096, gpa);
    }
    expected[pages * 4096] = '\0';
    return expected;
}

#define VIRTUAL (16 * 4096)

static void scattered_buffers_are_gathered(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        uint64_t offset, size;
    } ranges[] = {{0, 1},          {0, 4096},       {4095, 2},
                  {5, 3 * 4096},   {0, 63 * 4096},  {0, 64 * 4096},
                  {1, 64 * 4096},  {0, 200 * 4096}, {4094, 130 * 4096},
                  {0, 256 * 4096}, {9, 256 * 4096}, {4095, 300 * 4096}};
    char *expected = map_backwards(fixture, 301);
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        write_v1(fixture, 1 + i % 2, VIRTUAL + ranges[i].offset, ranges[i].size);
        const char *output = fixture_output(fixture);
        assert_int_equal(strlen(output), ranges[i].size);
        assert_memory_equal(output, expected + ranges[i].offset, ranges[i].size);
    }
    free(expected);
}

static void holes_in_virtual_buffers_end_them(void **state)
{
    struct fixture *fixture = *state;
    char *expected = map_backwards(fixture, 100);
    /* A short buffer with a hole is refused as a whole. */
    write_v1(fixture, 1, VIRTUAL - 1, 10);
    write_v1(fixture, 1, VIRTUAL + 99 * 4096, 4097);
    assert_string_equal(fixture_output(fixture), "");
    /* So is one that leads out of memory. */
    fixture_map(fixture, VIRTUAL + 4096, FIXTURE_END);
    write_v1(fixture, 1, VIRTUAL, 4097);
    fixture_map(fixture, VIRTUAL + 4096, FIXTURE_BASE - 4096);
    write_v1(fixture, 1, VIRTUAL, 4097);
    fixture_map(fixture, VIRTUAL + 4096, UINT64_C(0x000ffffffffff000));
    write_v1(fixture, 1, VIRTUAL, 4097);
    assert_string_equal(fixture_output(fixture), "");
    /* Lengths that nothing can have, addresses that do not exist. */
    static const uint64_t bad[][2] = {{VIRTUAL, UINT64_MAX},  {VIRTUAL, FIXTURE_SIZE + 1},
                                      {UINT64_MAX, 1},        {UINT64_MAX - 1, 3},
                                      {UINT64_C(1) << 47, 1}, {UINT64_C(1) << 63, 4096}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        write_v1(fixture, 1, bad[i][0], bad[i][1]);
    /* No page tables at all. */
    fixture->cr3 = 0;
    write_v1(fixture, 1, VIRTUAL, 10);
    fixture->cr3 = FIXTURE_END;
    write_v1(fixture, 1, VIRTUAL, 10);
    assert_string_equal(fixture_output(fixture), "");
    free(expected);
}

/* Tables that map one page to all addresses: a walk along them must not take for ever. */
static void one_page_everywhere_is_no_endless_buffer(void **state)
{
    struct fixture *fixture = *state;
    const gpa_t tables = FIXTURE_END - 0x8000, page = FIXTURE_BASE + 0x80000;
    uint64_t *entries = fixture_at(fixture, tables, 0x4000);

    for (unsigned i = 0; i < 4 * 512; i++)
        entries[i] = X86_PTE_PRESENT | (i / 512 < 3 ? tables + 0x1000 * (i / 512 + 1) : page);
    fixture->cr3 = tables;
    memset(fixture_at(fixture, page, 4096), 'x', 4096);
    write_v1(fixture, 1, 0, 2 * 4096);
    assert_int_equal(strlen(fixture_output(fixture)), 2 * 4096);
    static const uint64_t lengths[] = {FIXTURE_SIZE + 1, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        write_v1(fixture, 1, 4096, lengths[i]);
    assert_string_equal(fixture_output(fixture), "");
}

static void failed_writes_of_interface_1_are_reported(void **state)
{
    struct fixture *fixture = *state;
    write_v1(fixture, 1, VIRTUAL, 10); /* nothing is mapped */
    assert_int_equal(fixture->messages, 1);
    fixture_map(fixture, VIRTUAL, B(0x1000));
    write_v1(fixture, 7, VIRTUAL, 10);
    assert_int_equal(fixture->messages, 2);
    for (int i = 0; i < 100; i++)
        write_v1(fixture, 7, VIRTUAL, 10);
    assert_true(fixture->messages <= LOG_LIMIT);
}

/* Reading. */

static int64_t read_v2(struct fixture *fixture, int32_t fd, uint64_t buf, uint64_t len)
{
    struct hermit_v2_read block = {.len = len, .ret = -1000, .buf = buf, .fd = fd};
    fixture_put(fixture, BLOCK, &block, sizeof block);
    fixture_v2(fixture, HERMIT_V2_FILE_READ, BLOCK);
    memcpy(&block, fixture_at(fixture, BLOCK, sizeof block), sizeof block);
    return block.ret;
}

static int64_t read_v1(struct fixture *fixture, int32_t fd, gva_t buf, uint64_t len)
{
    struct hermit_v1_read block = {.fd = fd, .buf = buf, .len = len, .ret = -1000};
    fixture_put(fixture, BLOCK, &block, sizeof block);
    fixture_v1(fixture, HERMIT_V1_FILE_READ, BLOCK);
    memcpy(&block, fixture_at(fixture, BLOCK, sizeof block), sizeof block);
    return block.ret;
}

static void input_comes_from_a_pipe(void **state)
{
    struct fixture *fixture = *state;
    int pipe_fd[2];
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    fixture_input(fixture, pipe_fd[0]);
    assert_int_equal(write(pipe_fd[1], "hello world", 11), 11);
    memset(fixture_at(fixture, B(0x1000), 64), '.', 64);
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 5), 5);
    assert_memory_equal(fixture_at(fixture, B(0x1000), 6), "hello.", 6);
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 64), 6); /* what there is */
    assert_memory_equal(fixture_at(fixture, B(0x1000), 7), " world.", 7);
    assert_int_equal(write(pipe_fd[1], "more", 4), 4);
    fixture_map(fixture, 0x5000, B(0x3000));
    assert_int_equal(read_v1(fixture, 0, 0x5ffe, 2), 2);
    assert_memory_equal(fixture_at(fixture, B(0x3ffe), 2), "mo", 2);
    close(pipe_fd[1]);
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 64), 2);
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 64), 0); /* end of file, again and again */
    assert_int_equal(read_v1(fixture, 0, 0x5000, 64), 0);
    close(pipe_fd[0]);
}

static void input_is_scattered_over_pages(void **state)
{
    struct fixture *fixture = *state;
    char *expected = map_backwards(fixture, 20), *mapped = malloc(20 * 4096);
    int file = memfd_create("input", MFD_CLOEXEC);
    memset(mapped, 'z', 20 * 4096);
    assert_int_equal(write(file, mapped, 20 * 4096), 20 * 4096);
    lseek(file, 0, SEEK_SET);
    fixture_input(fixture, file);
    assert_int_equal(read_v1(fixture, 0, VIRTUAL + 100, 10 * 4096), 10 * 4096);
    write_v1(fixture, 1, VIRTUAL, 20 * 4096);
    memset(expected + 100, 'z', 10 * 4096);
    assert_memory_equal(fixture_output(fixture), expected, 20 * 4096);
    close(file);
    free(mapped);
    free(expected);
}

static void input_that_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 10), 0); /* none was given: end of file */
    int closed = dup(fixture->output);
    close(closed);
    fixture_input(fixture, closed);
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 10), -EBADF);
    fixture_input(fixture, open("/", O_RDONLY | O_CLOEXEC));
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 10), -EISDIR);
    close(fixture->params.stdin_fd);
}

static void other_descriptors_cannot_be_read(void **state)
{
    struct fixture *fixture = *state;
    static const int32_t fds[] = {1, 2, 3, -1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        assert_int_equal(read_v2(fixture, fds[i], B(0x1000), 10), -EBADF);
        fixture_map(fixture, 0, B(0x1000));
        assert_int_equal(read_v1(fixture, fds[i], 0, 10), -EBADF);
    }
}

static void buffers_outside_memory_are_not_read_into(void **state)
{
    struct fixture *fixture = *state;
    fixture_input(fixture, open("/dev/zero", O_RDONLY | O_CLOEXEC));
    for (size_t i = 0; i < BAD_BUFFERS; i++)
        assert_int_equal(read_v2(fixture, 0, bad_buffers[i][0], bad_buffers[i][1]), -EFAULT);
    assert_int_equal(read_v1(fixture, 0, VIRTUAL, 10), -EFAULT);
    fixture_map(fixture, VIRTUAL, FIXTURE_END - 4096);
    fixture_map(fixture, VIRTUAL + 4096, FIXTURE_END);
    assert_int_equal(read_v1(fixture, 0, VIRTUAL + 4000, 97), -EFAULT);
    close(fixture->params.stdin_fd);
}

/* Stopping. */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *stop_soon(void *context)
{
    struct fixture *fixture = context;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    eventfd_write(fixture->stop_fd, 1);
    return NULL;
}

static void stop_ends_a_wait_for_input(void **state)
{
    struct fixture *fixture = *state;
    int pipe_fd[2];
    pthread_t thread;
    double start = seconds();
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    fixture_input(fixture, pipe_fd[0]);
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, fixture), 0);
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 10), -EINTR);
    assert_true(seconds() - start < 5);
    assert_int_equal(read_v2(fixture, 0, B(0x1000), 10), -EINTR); /* it stays stopped */
    pthread_join(thread, NULL);
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paths_are_checked_by_open),
        TEST(worked_encoding_of_open),
        TEST(paths_are_checked_by_unlink),
        TEST(paths_are_checked_by_stat_and_mkdir),
        TEST(stat_checks_its_other_parameters),
        TEST(fstat_knows_no_descriptor),
        TEST(getdents_knows_no_directory),
        TEST(close_ignores_standard_streams),
        TEST(nothing_can_be_sought),
        TEST(program_output_of_interface_2),
        TEST(other_descriptors_cannot_be_written),
        TEST(buffers_outside_memory_are_not_written),
        TEST(empty_buffers_are_valid_anywhere),
        TEST(scattered_buffers_are_gathered),
        TEST(holes_in_virtual_buffers_end_them),
        TEST(one_page_everywhere_is_no_endless_buffer),
        TEST(failed_writes_of_interface_1_are_reported),
        TEST(input_comes_from_a_pipe),
        TEST(input_is_scattered_over_pages),
        TEST(input_that_is_not_there),
        TEST(other_descriptors_cannot_be_read),
        TEST(buffers_outside_memory_are_not_read_into),
        TEST(stop_ends_a_wait_for_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
