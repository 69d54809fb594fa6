#include "debug/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "console/sink.h"
#include "debug/call_text.h"
#include "util/error.h"

struct tally {
    uint64_t calls, errors, ns, longest_ns;
};

/* One vCPU's part: no two threads write to the same. */
struct cpu_trace {
    struct call_history *history;
    struct tally tally[CALL_NAMES_MAX];
};

struct trace {
    bool selected[CALL_NAMES_MAX];
    bool net; /* the network card's queues, too */
    bool summary;
    uint64_t start;
    unsigned cpu_count;
    int stop_fd;
    struct cpu_trace *cpus;
    pthread_mutex_t lock; /* guards what follows */
    struct sink sink;
    int error;
};

static void select_calls(struct trace *trace, const char *name, size_t size, bool on, bool *known)
{
    unsigned group = call_group_find(name, size);
    bool net = size == 3 && (!memcmp(name, "net", 3) || !memcmp(name, "all", 3));

    *known = group != 0 || net;
    if (net)
        trace->net = on;
    for (size_t i = 0; i < call_name_count; i++) {
        bool same = strlen(call_names[i].name) == size && !memcmp(call_names[i].name, name, size);
        if (same || call_names[i].groups & group) {
            trace->selected[i] = on;
            *known = true;
        }
    }
}

static int refuse_name(const char *name, size_t size, struct uhyve_error *error)
{
    struct text names = {0};
    char shown[64];

    snprintf(shown, sizeof shown, "%.*s", (int)size, name);
    text_make_printable(shown);
    for (size_t i = 0; i < call_name_count; i++)
        text_printf(&names, " %s", call_names[i].name);
    int err = error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                        "the trace filter has an unknown name '%s' (use summary, the groups all "
                        "file path desc serial process net, or the calls%s)",
                        shown, names.failed ? "" : names.data);
    text_free(&names);
    return err;
}

static int parse_filter(struct trace *trace, const char *filter, struct uhyve_error *error)
{
    bool any = false, known;

    for (size_t pass = 0; pass < 2; pass++) {
        /* First what is chosen, then what is left out. */
        for (const char *at = filter; *at; at += strcspn(at, ","), at += *at == ',') {
            bool negative = *at == '!';
            const char *name = at + negative;
            size_t size = strcspn(name, ",");
            if (size == 7 && !negative && memcmp(name, "summary", 7) == 0) {
                trace->summary = true;
            } else if (negative == (pass == 1)) {
                select_calls(trace, name, size, !negative, &known);
                if (!known)
                    return refuse_name(name, size, error);
                any |= !negative;
            }
        }
        if (pass == 0 && !any)
            select_calls(trace, "all", 3, true, &known);
    }
    return 0;
}

int trace_create(struct trace **result, const char *filter, int fd, int stop_fd, uint64_t start,
                 unsigned cpu_count, struct uhyve_error *error)
{
    struct trace *trace = calloc(1, sizeof *trace);

    *result = NULL;
    if (trace)
        trace->cpus = calloc(cpu_count, sizeof *trace->cpus);
    if (!trace || !trace->cpus) {
        free(trace);
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    }
    trace->start = start;
    trace->cpu_count = cpu_count;
    trace->stop_fd = stop_fd;
    int err = parse_filter(trace, filter, error);
    if (err) {
        free(trace->cpus);
        free(trace);
        return err;
    }
    pthread_mutex_init(&trace->lock, NULL);
    sink_open(&trace->sink, fd, stop_fd);
    *result = trace;
    return 0;
}

void trace_destroy(struct trace *trace)
{
    if (!trace)
        return;
    sink_close(&trace->sink);
    pthread_mutex_destroy(&trace->lock);
    free(trace->cpus);
    free(trace);
}

static void write_text(struct trace *trace, const struct text *text)
{
    const struct iovec iov = {text->data, text->size};
    size_t written;

    pthread_mutex_lock(&trace->lock);
    int err = text->failed ? -ENOMEM : sink_write(&trace->sink, &iov, 1, &written);
    if (err && err != -EINTR && !trace->error)
        trace->error = -err;
    pthread_mutex_unlock(&trace->lock);
}

static void write_line(struct trace *trace, unsigned cpu, const struct call_record *record)
{
    struct text text = {0};
    uint64_t at = (record->start_ns - trace->start) / 1000;

    text_printf(&text, "%3" PRIu64 ".%06" PRIu64 " cpu%-2u ", at / 1000000, at % 1000000, cpu);
    call_format(record, &text);
    text_printf(&text, " <%" PRIu64 ".%09" PRIu64 ">\n", record->duration_ns / 1000000000,
                record->duration_ns % 1000000000);
    write_text(trace, &text);
    text_free(&text);
}

bool trace_selects_net(const struct trace *trace)
{
    return trace->net && !trace->summary;
}

void trace_net(struct trace *trace, const char *what)
{
    struct text text = {0};
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    uint64_t at = (ns - trace->start) / 1000;
    text_printf(&text, "%3" PRIu64 ".%06" PRIu64 " net   %s\n", at / 1000000, at % 1000000, what);
    write_text(trace, &text);
    text_free(&text);
}

static void show(struct trace *trace, unsigned cpu, struct call_record *record)
{
    int name = call_name_find(record->port);

    record->shown = true;
    if (name < 0 || !trace->selected[name])
        return;
    struct tally *tally = &trace->cpus[cpu].tally[name];
    tally->calls += record->refused ? 1 : record->count;
    tally->errors += call_failed(record);
    tally->ns += record->duration_ns;
    if (record->duration_ns > tally->longest_ns)
        tally->longest_ns = record->duration_ns;
    if (!trace->summary)
        write_line(trace, cpu, record);
}

void trace_call_begin(struct trace *trace, unsigned cpu, struct call_history *history,
                      uint16_t port)
{
    struct call_record *last = call_history_last(history);

    trace->cpus[cpu].history = history;
    if (last && !last->shown && !call_record_continues(last, port))
        show(trace, cpu, last);
}

void trace_call_end(struct trace *trace, unsigned cpu, struct call_record *record)
{
    /* Bytes of the serial channel become one line when theirs is complete. */
    if (!call_record_continues(record, record->port))
        show(trace, cpu, record);
}

/* Adds to `sum`, indexed by name. */
static void add_up(const struct trace *trace, struct tally sum[CALL_NAMES_MAX])
{
    for (unsigned cpu = 0; cpu < trace->cpu_count; cpu++)
        for (size_t i = 0; i < call_name_count; i++) {
            const struct tally *part = &trace->cpus[cpu].tally[i];
            sum[i].calls += part->calls;
            sum[i].errors += part->errors;
            sum[i].ns += part->ns;
            if (part->longest_ns > sum[i].longest_ns)
                sum[i].longest_ns = part->longest_ns;
        }
}

static void add_row(struct text *text, const struct tally *tally, uint64_t all_ns, const char *name)
{
    text_printf(text, "%6.2f %11.6f %11.3f %11.3f %9" PRIu64 " %9" PRIu64 " %s\n",
                all_ns ? 100.0 * (double)tally->ns / (double)all_ns : 0.0, (double)tally->ns / 1e9,
                (double)tally->ns / 1e3 / (double)(tally->calls ? tally->calls : 1),
                (double)tally->longest_ns / 1e3, tally->calls, tally->errors, name);
}

static void write_summary(struct trace *trace)
{
    struct tally sum[CALL_NAMES_MAX] = {0}, total = {0};
    bool done[CALL_NAMES_MAX] = {false};
    struct text text = {0};

    add_up(trace, sum);
    for (size_t i = 0; i < call_name_count; i++) {
        total.calls += sum[i].calls;
        total.errors += sum[i].errors;
        total.ns += sum[i].ns;
        if (sum[i].longest_ns > total.longest_ns)
            total.longest_ns = sum[i].longest_ns;
    }
    text_add(&text, "% time     seconds   us/call   longest us     calls    errors hypercall\n");
    text_add(&text,
             "------ ----------- ----------- ----------- --------- --------- ------------\n");
    for (;;) {
        size_t best = call_name_count;
        for (size_t i = 0; i < call_name_count; i++)
            if (!done[i] && sum[i].calls && (best == call_name_count || sum[i].ns > sum[best].ns))
                best = i;
        if (best == call_name_count)
            break;
        done[best] = true;
        add_row(&text, &sum[best], total.ns, call_names[best].name);
    }
    text_add(&text,
             "------ ----------- ----------- ----------- --------- --------- ------------\n");
    add_row(&text, &total, total.ns, "total");
    write_text(trace, &text);
    text_free(&text);
}

void trace_finish(struct trace *trace)
{
    for (unsigned cpu = 0; cpu < trace->cpu_count; cpu++) {
        struct call_history *history = trace->cpus[cpu].history;
        struct call_record *last = history ? call_history_last(history) : NULL;
        if (last && !last->shown)
            show(trace, cpu, last);
    }
    if (trace->summary)
        write_summary(trace);
}

int trace_error(const struct trace *trace)
{
    return trace->error;
}
