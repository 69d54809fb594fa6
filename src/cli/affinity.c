#include "cli/affinity.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "util/error.h"
#include "util/text.h"

/* The largest number of CPUs that Linux can be configured for on any architecture. */
#define CORES_MAX 8192

/* A set of cores in the form of the scheduler's system calls. */
union core_set {
    cpu_set_t set;
    unsigned long words[CORES_MAX / (8 * sizeof(unsigned long))];
};

/* A number at *p of less than CORES_MAX; moves *p behind it. */
static bool parse_core(const char **p, unsigned *core)
{
    const char *start = *p;

    for (*core = 0; **p >= '0' && **p <= '9'; ++*p) {
        *core = *core * 10 + (unsigned)(**p - '0');
        if (*core >= CORES_MAX)
            return false;
    }
    return *p > start;
}

int affinity_parse(struct cli_settings *settings, const struct cli_source *source, const char *list,
                   struct uhyve_error *error)
{
    const char *p = list;

    settings->affinity_given = true;
    settings->affinity_count = 0;
    for (;;) {
        unsigned first, last;
        p += strspn(p, ", ");
        if (!*p)
            return 0;
        bool valid = parse_core(&p, &first);
        last = first;
        if (valid && *p == '-') {
            p++;
            valid = parse_core(&p, &last);
        }
        if (!valid || (*p && *p != ',' && *p != ' '))
            return option_refuse(source, error,
                                 "'%.80s' is not a list of core numbers such as 0,2,4-7", list);
        for (unsigned core = first; core <= last; core++) {
            if (settings->affinity_count == UHYVE_CPUS_MAX)
                return option_refuse(source, error, "the list has more than %d cores",
                                     UHYVE_CPUS_MAX);
            settings->affinity[settings->affinity_count++] = core;
        }
    }
}

/* "0-3,8" */
static void add_cores(struct text *text, const union core_set *cores)
{
    const char *separator = "";

    for (unsigned first = 0; first < CORES_MAX; first++) {
        if (!CPU_ISSET_S(first, sizeof *cores, &cores->set))
            continue;
        unsigned last = first;
        while (last + 1 < CORES_MAX && CPU_ISSET_S(last + 1, sizeof *cores, &cores->set))
            last++;
        text_printf(text, last > first ? "%s%u-%u" : "%s%u", separator, first, last);
        separator = ",";
        first = last;
    }
}

static int refuse_cores(const union core_set *available, const union core_set *requested,
                        struct uhyve_error *error)
{
    struct text text = {0};

    text_add(&text, "--affinity: this process may use the cores ");
    add_cores(&text, available);
    text_add(&text, ", but the cores ");
    add_cores(&text, requested);
    text_add(&text, " were requested");
    int err = error_set(error, UHYVE_STATUS_USAGE, EINVAL, "%s (see uhyve --help)",
                        text.failed ? "some requested cores are not available" : text.data);
    text_free(&text);
    return err;
}

int affinity_check(struct cli_settings *settings, struct uhyve_error *error)
{
    struct uhyve_params *params = &settings->params;
    union core_set available = {0}, requested = {0};
    bool all = true;

    if (!settings->affinity_given)
        return 0;
    if (sched_getaffinity(0, sizeof available, &available.set) != 0)
        return error_set(error, UHYVE_STATUS_FAILED, errno,
                         "cannot find out which cores are available: %s", strerror(errno));
    for (size_t i = 0; i < settings->affinity_count; i++) {
        unsigned core = settings->affinity[i];
        CPU_SET_S(core, sizeof requested, &requested.set);
        all = all && CPU_ISSET_S(core, sizeof available, &available.set);
    }
    if (!all)
        return refuse_cores(&available, &requested, error);
    if (settings->affinity_count != params->cpu_count)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "--affinity: %u core%s needed (one for each CPU of --cpu-count), but %zu "
                         "%s given (see uhyve --help)",
                         params->cpu_count, params->cpu_count == 1 ? " is" : "s are",
                         settings->affinity_count, settings->affinity_count == 1 ? "was" : "were");
    params->affinity = settings->affinity;
    params->affinity_count = settings->affinity_count;
    return 0;
}
