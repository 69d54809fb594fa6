/* The call trace: what its filter selects, whole lines from several threads, the table. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "debug/call_text.h"
#include "debug/trace.h"
#include "hermit/hypercall.h"

#define CPUS  4
#define CALLS 500

struct scene {
    struct trace *trace;
    int fd;
    struct call_history history[CPUS];
    char text[1 << 20];
};

static void open_trace(struct scene *scene, const char *filter)
{
    struct uhyve_error error = {0};
    memset(scene->history, 0, sizeof scene->history);
    scene->fd = memfd_create("trace", MFD_CLOEXEC);
    if (trace_create(&scene->trace, filter, scene->fd, -1, 0, CPUS, &error) != 0)
        fail_msg("%s", error.message);
}

static void call(struct scene *scene, unsigned cpu, uint16_t port, uint64_t rdi)
{
    static const struct ram no_ram;
    const struct call_detail detail = {.full = true, .ram = &no_ram};
    const struct hypercall_write write = {4, 1, (const uint8_t *)&(uint32_t){0}, rdi};

    trace_call_begin(scene->trace, cpu, &scene->history[cpu], port);
    struct call_record *record = call_record_begin(&scene->history[cpu], port, &write, &detail);
    call_record_end(record, &detail);
    trace_call_end(scene->trace, cpu, record);
}

static const char *close_trace(struct scene *scene)
{
    trace_finish(scene->trace);
    assert_int_equal(trace_error(scene->trace), 0);
    trace_destroy(scene->trace);
    ssize_t size = pread(scene->fd, scene->text, sizeof scene->text - 1, 0);
    assert_true(size >= 0);
    scene->text[size] = '\0';
    close(scene->fd);
    return scene->text;
}

static struct scene scene;

static void filters(void **state)
{
    static const struct {
        const char *filter;
        bool open, lseek, byte, exit;
    } cases[] = {
        {"", true, true, true, true},
        {"all", true, true, true, true},
        {"file", true, true, false, false},
        {"path", true, false, false, false},
        {"desc", false, true, false, false},
        {"serial,exit", false, false, true, true},
        {"!serial", true, true, false, true},
        {"file,!open", false, true, false, false},
        {"!open,file", false, true, false, false},
        {"process", false, false, false, true},
        {"!all,", false, false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_trace(&scene, cases[i].filter);
        call(&scene, 0, HERMIT_V2_FILE_OPEN, 0);
        call(&scene, 1, HERMIT_V2_FILE_LSEEK, 0);
        call(&scene, 2, HERMIT_V2_SERIAL_WRITE_BYTE, 'x');
        call(&scene, 3, HERMIT_V2_EXIT, 3);
        const char *text = close_trace(&scene);
        assert_int_equal(strstr(text, " cpu0  open(0x0) = ? (ignored") != NULL, cases[i].open);
        assert_int_equal(strstr(text, " cpu1  lseek(") != NULL, cases[i].lseek);
        assert_int_equal(strstr(text, " cpu2  serial_byte(\"x\")") != NULL, cases[i].byte);
        assert_int_equal(strstr(text, " cpu3  exit(3) = ? <") != NULL, cases[i].exit);
    }
}

/* What the card does is one group, for lines only. */
static void the_network_card(void **state)
{
    static const struct {
        const char *filter;
        bool net, open;
    } cases[] = {
        {"", true, true},          {"all", true, true},           {"net", true, false},
        {"!net", false, true},     {"all,!net", false, true},     {"file", false, true},
        {"summary", false, false}, {"net,summary", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_trace(&scene, cases[i].filter);
        assert_int_equal(trace_selects_net(scene.trace), cases[i].net);
        if (cases[i].net)
            trace_net(scene.trace, "doorbell of queue 1");
        call(&scene, 0, HERMIT_V2_FILE_OPEN, 0);
        const char *text = close_trace(&scene);
        assert_int_equal(strstr(text, " net   doorbell of queue 1\n") != NULL, cases[i].net);
        assert_int_equal(strstr(text, " cpu0  open(") != NULL, cases[i].open);
    }
}

static void ports_that_are_no_calls(void **state)
{
    open_trace(&scene, "");
    call(&scene, 0, 0x3f8, 0);
    assert_string_equal(close_trace(&scene), "");
    open_trace(&scene, "summary");
    call(&scene, 0, 0x3f8, 0);
    assert_non_null(strstr(close_trace(&scene), "  0.00    0.000000       0.000       0.000 "
                                                "        0         0 total\n"));
}

/* The guest goes on; the first error is what the user is told. */
static void a_full_disk(void **state)
{
    struct uhyve_error error;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    memset(scene.history, 0, sizeof scene.history);
    assert_int_equal(trace_create(&scene.trace, "", fd, -1, 0, CPUS, &error), 0);
    call(&scene, 0, HERMIT_V2_FILE_OPEN, 0);
    assert_int_equal(trace_error(scene.trace), ENOSPC);
    trace_net(scene.trace, "doorbell");
    trace_finish(scene.trace);
    assert_int_equal(trace_error(scene.trace), ENOSPC);
    trace_destroy(scene.trace);
    close(fd);
}

static void wrong_filters(void **state)
{
    static const char *const wrong[] = {"nothing", "open,nothing", "!",   "summaryx",
                                        "Open",    "!summary",     "ten", "nets"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct uhyve_error error = {0};
        assert_int_equal(trace_create(&scene.trace, wrong[i], -1, -1, 0, 1, &error), -EINVAL);
        assert_int_equal(error.status, UHYVE_STATUS_USAGE);
        assert_non_null(strstr(error.message, "serial_write"));
        assert_null(scene.trace);
    }
}

static void the_table(void **state)
{
    open_trace(&scene, "summary,file,serial");
    for (int i = 0; i < 3; i++)
        call(&scene, (unsigned)i, HERMIT_V2_FILE_OPEN, 0);
    for (const char *p = "two\nlines\n"; *p; p++)
        call(&scene, 0, HERMIT_V2_SERIAL_WRITE_BYTE, (uint64_t)*p);
    call(&scene, 0, HERMIT_V2_EXIT, 0);
    const char *text = close_trace(&scene);
    assert_non_null(strstr(text, "         3         0 open\n"));
    assert_non_null(strstr(text, "        10         0 serial_byte\n"));
    assert_non_null(strstr(text, "        13         0 total\n"));
    assert_null(strstr(text, "exit"));
    assert_null(strstr(text, "open("));
}

static void *many_calls(void *argument)
{
    unsigned cpu = (unsigned)(uintptr_t)argument;
    for (unsigned i = 0; i < CALLS; i++)
        call(&scene, cpu, HERMIT_V2_EXIT, cpu);
    return NULL;
}

static void lines_do_not_mix(void **state)
{
    pthread_t threads[CPUS];
    unsigned seen[CPUS] = {0};

    open_trace(&scene, "");
    for (uintptr_t i = 0; i < CPUS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_calls, (void *)i), 0);
    for (size_t i = 0; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    close_trace(&scene);
    char *rest = scene.text;
    for (char *line; (line = strsep(&rest, "\n")) && *line;) {
        unsigned cpu, code;
        int end = 0;
        assert_int_equal(sscanf(line, "%*u.%*u cpu%u exit(%u) = ? <%*u.%*u>%n", &cpu, &code, &end),
                         2);
        assert_int_equal(end, strlen(line));
        assert_int_equal(cpu, code);
        seen[cpu]++;
    }
    for (size_t i = 0; i < CPUS; i++)
        assert_int_equal(seen[i], CALLS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters),
        cmocka_unit_test(the_network_card),
        cmocka_unit_test(ports_that_are_no_calls),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(wrong_filters),
        cmocka_unit_test(the_table),
        cmocka_unit_test(lines_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
