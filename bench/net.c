/*
 * How fast a guest's network is, against QEMU's virtio network card with the same guest and the
 * same back end. tests/net/tap-session makes a network namespace, with a tap interface where one is
 * needed, starts the program in it and has net-peer talk to the guest; the figure is what net-peer
 * prints.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define RUNS_MOST       7 /* a sample takes about a second */
#define STATUS_NOT_HERE 77
#define LATENCY_COMMAND "latency 5000"
#define BULK_COMMAND    "bulk 128"
#define REQUEST_COMMAND "requests 3000"
#define USER_FORWARDS   "user,hostfwd=udp::20007-:7"

struct session {
    struct bench_command command;
    char script[4096], peer[4096], qemu[4096];
};

static enum bench_outcome sample(const void *context, double *value, struct bench_result *result)
{
    const struct session *session = context;
    struct process_run run;

    int failed = process_run(session->command.argv, &run);
    if (failed)
        return bench_fail(result, "cannot run %s: %s", session->script, strerror(-failed));
    if (run.status == STATUS_NOT_HERE)
        return bench_skip(result, "%s", run.output);
    char *end;
    *value = strtod(run.output, &end);
    if (run.status != 0 || end == run.output)
        return bench_fail(result, "%s ended with status %d: %s", session->script, run.status,
                          run.errors[0] ? run.errors : run.output);
    return BENCH_DONE;
}

/* The arguments up to the program that runs the guest. */
static int start(struct session *session, const struct bench_config *config, bool user,
                 const char *what)
{
    const char **argv = session->command.argv;
    int count = 0;

    snprintf(session->script, sizeof session->script, "%s/tests/net/tap-session", BENCH_SOURCE);
    snprintf(session->qemu, sizeof session->qemu, "%s/bench/net-qemu", BENCH_SOURCE);
    snprintf(session->peer, sizeof session->peer, "%s/../tests/net/net-peer", config->guests);
    argv[count++] = session->script;
    argv[count++] = "-k";
    if (user)
        argv[count++] = "-u";
    argv[count++] = session->peer;
    argv[count++] = "wait";
    argv[count++] = what;
    argv[count++] = "--";
    return count;
}

static void end(struct session *session, const struct bench_config *config, int count,
                const char *guest, const char *last)
{
    snprintf(session->command.image, sizeof session->command.image, "%s/%s", config->guests, guest);
    session->command.argv[count++] = session->command.image;
    session->command.argv[count++] = last;
    session->command.argv[count] = NULL;
}

static enum bench_outcome compare(const struct bench_config *config, bool user, const char *what,
                                  struct bench_result *result)
{
    struct session ours, against;
    unsigned runs = config->runs < RUNS_MOST ? config->runs : RUNS_MOST;

    if (system("command -v qemu-system-x86_64 >/dev/null 2>&1") != 0)
        return bench_skip(result, "QEMU is not installed");
    int count = start(&ours, config, user, what);
    ours.command.argv[count++] = config->uhyve;
    ours.command.argv[count++] = "--output=none";
    ours.command.argv[count++] = user ? "--net=" USER_FORWARDS : "--net=tap";
    if (user) {
        ours.command.argv[count++] = "-p20007:7";
        ours.command.argv[count++] = "-p20009:9";
        ours.command.argv[count++] = "-p20019:19";
        ours.command.argv[count++] = "-p20080:80";
    }
    end(&ours, config, count, "net-server-v2", NULL);
    count = start(&against, config, user, what);
    against.command.argv[count++] = against.qemu;
    end(&against, config, count, "net-server-qemu", user ? "user" : "tap");
    return bench_compare(runs, sample, &ours, &against, result);
}

enum bench_outcome bench_net_tap_throughput(const struct bench_config *config,
                                            struct bench_result *result)
{
    return compare(config, false, BULK_COMMAND, result);
}

enum bench_outcome bench_net_tap_latency(const struct bench_config *config,
                                         struct bench_result *result)
{
    return compare(config, false, LATENCY_COMMAND, result);
}

enum bench_outcome bench_net_user_throughput(const struct bench_config *config,
                                             struct bench_result *result)
{
    return compare(config, true, BULK_COMMAND, result);
}

enum bench_outcome bench_net_user_latency(const struct bench_config *config,
                                          struct bench_result *result)
{
    return compare(config, true, LATENCY_COMMAND, result);
}

enum bench_outcome bench_net_tap_requests(const struct bench_config *config,
                                          struct bench_result *result)
{
    return compare(config, false, REQUEST_COMMAND, result);
}

enum bench_outcome bench_net_user_requests(const struct bench_config *config,
                                           struct bench_result *result)
{
    return compare(config, true, REQUEST_COMMAND, result);
}
