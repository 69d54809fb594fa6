#include "lives.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "debugger.h"
#include "kinds.h"

#define ACTS_MAX 8
#define NEVER    (-1) /* instead of a status: this guest does not end by itself */

/* Signals that mean the end for it, and such that do not, once it has started. */
static const int fatal[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGQUIT, SIGKILL};
static const int harmless[] = {SIGCHLD, SIGWINCH, SIGCONT, SIGURG, SIGPIPE};

#define ANY(random, list) (list)[soak_random(random, sizeof(list) / sizeof *(list))]

/* What has happened to a run, and so may show in its status. */
struct life {
    struct run *run;
    uint64_t signals; /* sent to it, as bits */
    bool engine_killed;
    int debugger;
    char plan[1000];
};

static void note(struct life *life, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(struct life *life, const char *format, ...)
{
    size_t at = strlen(life->plan);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(life->plan + at, sizeof life->plan - at, format, arguments);
    va_end(arguments);
}

static void choose_guest(struct run *run)
{
    static const struct {
        const char *name, *argument;
        int status;
        bool with_input;
    } guests[] = {
        {"spin-forever-v2", NULL, NEVER, false},
        {"hlt-forever-v2", NULL, NEVER, false},
        {"prompt-v2", "halt", NEVER, false},
        {"cat-v2", NULL, 0, true},
        {"hello-v2", NULL, 0, false},
        {"exit-code-v2", "99", 99, false},
        {"crash-v2", "ud2", 134, false},
        {"storm-v2", "1", 0, false},
        {"net-server-v2", NULL, NEVER, false},
    };
    unsigned guest = (unsigned)soak_random(&run->random, sizeof guests / sizeof *guests);

    if (strcmp(guests[guest].name, "net-server-v2") == 0 || soak_chance(&run->random, 15)) {
        run_word(run, "--net");
        run_word(run, "user");
    }
    run_guest(run, guests[guest].name);
    run->with_input = guests[guest].with_input;
    run->status = guests[guest].status;
    if (guests[guest].argument) {
        run_word(run, "--");
        run_word(run, "--");
        run_word(run, "%s", guests[guest].argument);
    }
}

static bool choose(struct run *run)
{
    bool debugged = soak_chance(&run->random, 40);

    run_word(run, "%s", program_path());
    run_word(run, "--accel=%s", run->accel);
    run_word(run, "-c");
    run->cpus = 1 + (unsigned)soak_random(&run->random, 4);
    run_word(run, "%u", run->cpus);
    run_word(run, "-m");
    run_word(run, "64M");
    if (debugged)
        run_word(run, "-s=0");
    if (soak_chance(&run->random, 30)) {
        run_word(run, "--file-mapping");
        run_word(run, "%s/single:/in/single", run->directory);
    }
    if (soak_chance(&run->random, 15))
        run_word(run, "--profile=%s/profile.folded", run->directory);
    if (soak_chance(&run->random, 15))
        run_word(run, "--trace=summary");
    choose_guest(run);
    return debugged;
}

static void send_signal(struct life *life)
{
    struct run *run = life->run;
    bool is_fatal = soak_chance(&run->random, 40);
    int number = is_fatal ? ANY(&run->random, fatal) : ANY(&run->random, harmless);

    note(life, " %s", sigabbrev_np(number));
    if (is_fatal || number == SIGPIPE)
        life->signals |= UINT64_C(1) << number;
    kill(run->pid, number);
}

/* As Ctrl-Z and fg do it, or only one of the processes. */
static void suspend(struct life *life)
{
    struct run *run = life->run;
    int pid = run->pid;

    if (soak_chance(&run->random, 40))
        soak_children(run->pid, "uhyve-engine", &pid, 1);
    else if (soak_chance(&run->random, 60))
        pid = -pid;
    note(life, " %s stopped", pid < 0 ? "group" : pid == run->pid ? "uhyve" : "engine");
    kill(pid, SIGSTOP);
    soak_sleep_us(soak_random(&run->random, UINT64_C(1000) << soak_random(&run->random, 6)));
    kill(pid, SIGCONT);
}

static void kill_engine(struct life *life)
{
    int pid;

    if (!soak_children(life->run->pid, "uhyve-engine", &pid, 1))
        return;
    note(life, " engine killed");
    life->engine_killed = true;
    kill(pid, SIGKILL);
}

static void use_input(struct life *life)
{
    struct run *run = life->run;

    if (run->in < 0)
        return;
    if (soak_chance(&run->random, 50)) {
        note(life, " input");
        if (write(run->in, "a line\n", 7) < 0)
            note(life, " (nobody reads it)");
    } else {
        note(life, " end of input");
        close(run->in);
        run->in = -1;
    }
}

static void use_debugger(struct life *life)
{
    struct soak_random *random = &life->run->random;

    if (life->debugger < 0) {
        int port = run_has_ended(life->run, 0) ? 0 : run_port(life->run);
        note(life, " attach");
        life->debugger = port ? debugger_connect(port) : -1;
        return;
    }
    switch (soak_random(random, 6)) {
    case 0:
        note(life, " garbage");
        debugger_garbage(life->debugger, random);
        break;
    case 1:
        note(life, " reset");
        debugger_reset(&life->debugger);
        break;
    case 2:
        note(life, " detach");
        debugger_send(life->debugger, "D");
        break;
    default:
        note(life, " packets");
        debugger_talk(life->debugger, random);
    }
}

static void disturb(struct life *life, bool debugged)
{
    struct soak_random *random = &life->run->random;

    for (uint64_t acts = soak_random(random, ACTS_MAX + 1); acts; acts--) {
        uint64_t wait = soak_random(random, UINT64_C(16) << soak_random(random, 12));
        note(life, ", %llu us", (unsigned long long)wait);
        soak_sleep_us(wait);
        uint64_t act = soak_random(random, debugged ? 10 : 6);
        if (act < 2)
            send_signal(life);
        else if (act < 4)
            suspend(life);
        else if (act < 5)
            use_input(life);
        else if (act < 6 && soak_chance(random, 30))
            kill_engine(life);
        else if (act >= 6)
            use_debugger(life);
    }
}

/* Everything that was done to it may or may not have reached it in time. */
static bool is_explained(const struct life *life)
{
    const struct run *run = life->run;
    int status = run_status(run);

    if (status == run->status && run->status != NEVER)
        return true;
    if (status > 128 && status < 128 + 64 && (life->signals >> (status - 128) & 1))
        return true;
    return life->engine_killed && (status == 134 || status == 125);
}

bool live(struct run *run, const char *work)
{
    struct life life = {.run = run, .debugger = -1};

    if (!run_make_directory(run, work))
        return false;
    bool debugged = choose(run);
    for (unsigned i = 1; i < run->count; i++)
        note(&life, "%s ", run->words[i]);
    bool good = run_start(run);
    if (good) {
        disturb(&life, debugged);
        life.signals |= UINT64_C(1) << SIGTERM;
        kill(run->pid, SIGTERM);
        run_wait(run);
        if (life.debugger >= 0)
            close(life.debugger);
        good = !run->hung && is_explained(&life);
    }
    if (!good) {
        char *errors = run_output(run->err, NULL);
        snprintf(run->why, sizeof run->why, "%.900s\n%s, status %d\n%.800s", life.plan,
                 run->hung ? "it did not end" : "it ended", run_status(run), errors);
        free(errors);
    }
    run_release(run);
    run_remove_directory(run);
    return good;
}
