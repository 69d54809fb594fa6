#include "cli/stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void stats_add_duration(struct text *text, uint64_t nanoseconds)
{
    static const struct {
        uint64_t scale;
        int decimals;
        const char *name;
    } units[] = {{1000000000, 9, "s"}, {1000000, 6, "ms"}, {1000, 3, "\u00b5s"}, {1, 0, "ns"}};

    size_t i = 0;
    while (units[i].scale > 1 && nanoseconds < units[i].scale)
        i++;
    text_printf(text, "%" PRIu64, nanoseconds / units[i].scale);
    uint64_t rest = nanoseconds % units[i].scale;
    if (rest) {
        int decimals = units[i].decimals;
        for (; rest % 10 == 0; rest /= 10)
            decimals--;
        text_printf(text, ".%0*" PRIu64, decimals, rest);
    }
    text_add(text, units[i].name);
}

/* CPUs that counted anything: from *first to *last. */
static bool stats_cpu_range(const struct uhyve_stats *stats, unsigned *first, unsigned *last)
{
    *first = stats->cpu_count;
    *last = 0;
    for (size_t i = 0; i < stats->exit_count; i++)
        for (unsigned cpu = 0; cpu < stats->cpu_count; cpu++)
            if (stats->exits[i].per_cpu[cpu]) {
                *first = cpu < *first ? cpu : *first;
                *last = cpu > *last ? cpu : *last;
            }
    return *first <= *last;
}

static void add_exits(struct text *text, const struct uhyve_stats *stats)
{
    unsigned first, last;
    bool any = stats_cpu_range(stats, &first, &last);
    size_t width = 28; /* of the names, each with a colon */

    for (size_t i = 0; i < stats->exit_count; i++)
        if (stats->exits[i].total && strlen(stats->exits[i].name) >= width)
            width = strlen(stats->exits[i].name) + 1;
    text_printf(text, "%-*s %6s  ", (int)width + 2, "VM exits:", "total");
    for (unsigned cpu = first; any && cpu <= last; cpu++) {
        char name[16];
        snprintf(name, sizeof name, "cpu%u", cpu);
        text_printf(text, " %6s ", name);
    }
    text_add(text, "\n");
    for (size_t i = 0; i < stats->exit_count; i++) {
        const struct uhyve_exit_count *row = &stats->exits[i];
        if (!row->total)
            continue;
        text_printf(text, "  %s:%*s %6" PRIu64 "  ", row->name,
                    (int)(width - strlen(row->name) - 1), "", row->total);
        for (unsigned cpu = first; any && cpu <= last; cpu++) {
            if (row->per_cpu[cpu])
                text_printf(text, " %6" PRIu64 " ", row->per_cpu[cpu]);
            else
                text_printf(text, " %6s ", "");
        }
        text_add(text, "\n");
    }
}

static void add_time(struct text *text, const char *name, uint64_t nanoseconds)
{
    if (!nanoseconds)
        return;
    text_printf(text, "  %-28s ", name);
    stats_add_duration(text, nanoseconds);
    text_add(text, "\n");
}

static void add_direction(struct text *text, const char *name, uint64_t frames, uint64_t bytes,
                          uint64_t lost)
{
    char buffer[32];

    text_printf(text, "  %s: %" PRIu64 " frames, %s", name, frames,
                text_format_size(buffer, sizeof buffer, bytes));
    if (lost)
        text_printf(text, ", %" PRIu64 " lost", lost);
    text_add(text, "\n");
}

static void add_net(struct text *text, const struct uhyve_net_stats *net)
{
    text_add(text, "Network:\n");
    add_direction(text, "received", net->received_frames, net->received_bytes, net->received_lost);
    add_direction(text, "sent", net->sent_frames, net->sent_bytes, net->sent_lost);
    text_printf(
        text, "  doorbells: %" PRIu64 ", interrupts: %" PRIu64 ", waits for buffers: %" PRIu64 "\n",
        net->doorbells, net->interrupts, net->stalls);
}

void stats_format_text(struct text *text, const struct uhyve_stats *stats)
{
    char buffer[32];

    text_add(text, "Run statistics:\n");
    add_exits(text, stats);
    text_add(text, "CPU runtimes:\n");
    for (unsigned cpu = 0; cpu < stats->cpu_count; cpu++)
        if (stats->cpu_run_ns[cpu]) {
            text_printf(text, "  cpu %u: ", cpu);
            stats_add_duration(text, stats->cpu_run_ns[cpu]);
            text_add(text, "\n");
        }
    text_add(text, "Times:\n");
    add_time(text, "creating the VM:", stats->create_ns);
    add_time(text, "loading the kernel:", stats->load_ns);
    add_time(text, "until first instruction:", stats->first_ns);
    add_time(text, "until the guest's end:", stats->exit_ns);
    if (stats->has_net)
        add_net(text, &stats->net);
    text_printf(text, "Accelerator: %s\nPeak memory: %s\n", stats->accel,
                text_format_size(buffer, sizeof buffer, stats->peak_memory));
}

static void json_add_string(struct text *text, const char *string)
{
    text_add(text, "\"");
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;
        if (c == '"' || c == '\\')
            text_printf(text, "\\%c", c);
        else if (c < 0x20)
            text_printf(text, "\\u%04x", c);
        else
            text_add_bytes(text, string, 1);
    }
    text_add(text, "\"");
}

static void json_add_numbers(struct text *text, const uint64_t *numbers, size_t count)
{
    text_add(text, "[");
    for (size_t i = 0; i < count; i++)
        text_printf(text, "%s%" PRIu64, i ? "," : "", numbers[i]);
    text_add(text, "]");
}

static void json_add_net(struct text *text, const struct uhyve_net_stats *net)
{
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"received_frames", net->received_frames},
        {"received_bytes", net->received_bytes},
        {"received_lost", net->received_lost},
        {"sent_frames", net->sent_frames},
        {"sent_bytes", net->sent_bytes},
        {"sent_lost", net->sent_lost},
        {"doorbells", net->doorbells},
        {"interrupts", net->interrupts},
        {"stalls", net->stalls},
    };

    text_add(text, ",\"net\":{");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        text_printf(text, "%s\"%s\":%" PRIu64, i ? "," : "", fields[i].name, fields[i].value);
    text_add(text, "}");
}

void stats_format_json(struct text *text, const struct uhyve_stats *stats,
                       const struct uhyve_result *result)
{
    text_add(text, "{\"accel\":");
    json_add_string(text, stats->accel);
    text_printf(text, ",\"cpus\":%u,\"exit_code\":", stats->cpu_count);
    if (result->outcome == UHYVE_EXITED)
        text_printf(text, "%d", result->exit_code);
    else
        text_add(text, "null");
    text_printf(text,
                ",\"time_ns\":{\"create\":%" PRIu64 ",\"load\":%" PRIu64
                ",\"first_instruction\":%" PRIu64 ",\"exit\":%" PRIu64 "},\"cpu_run_ns\":",
                stats->create_ns, stats->load_ns, stats->first_ns, stats->exit_ns);
    json_add_numbers(text, stats->cpu_run_ns, stats->cpu_count);
    text_printf(text, ",\"peak_memory\":%" PRIu64 ",\"exits\":{", stats->peak_memory);
    for (size_t i = 0; i < stats->exit_count; i++) {
        text_add(text, i ? "," : "");
        json_add_string(text, stats->exits[i].name);
        text_printf(text, ":{\"total\":%" PRIu64 ",\"per_cpu\":", stats->exits[i].total);
        json_add_numbers(text, stats->exits[i].per_cpu, stats->cpu_count);
        text_add(text, "}");
    }
    text_add(text, "}");
    if (stats->has_net)
        json_add_net(text, &stats->net);
    text_add(text, "}\n");
}
