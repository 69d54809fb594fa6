/* One run of the program from its directory to the comparison of what came out. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kinds.h"

#define ERRORS_SHOWN 1000

const char *const victim_names[] = {"nobody", "uhyve", "its engine", "its file process"};

static const char *const victim_processes[] = {NULL, NULL, "uhyve-engine", "uhyve-files"};

void run_remove_directory(const struct run *run)
{
    DIR *entries = opendir(run->directory);

    for (const struct dirent *entry; entries && (entry = readdir(entries));)
        unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries)
        closedir(entries);
    rmdir(run->directory);
}

bool run_make_directory(struct run *run, const char *work)
{
    snprintf(run->directory, sizeof run->directory, "%s/run-XXXXXX", work);
    if (mkdtemp(run->directory))
        return true;
    snprintf(run->why, sizeof run->why, "cannot make %s: %s", run->directory, strerror(errno));
    return false;
}

static void prepare(struct run *run)
{
    run_word(run, "%s", program_path());
    run_word(run, "--accel");
    run_word(run, "%s", run->accel);
    run_word(run, "-c");
    run_word(run, "%u", run->cpus);
    run_word(run, "-m");
    run_word(run, "%u", 32 << soak_random(&run->random, 4));
    strcat(run->words[run->count - 1], "M");
    run->kind->prepare(run);
}

/* Some time after it appeared, kill it, or the process that works for it. False if that is not
 * there. */
static bool strike(struct run *run, enum victim victim, uint64_t delay)
{
    const char *name = victim_processes[victim];
    int pid = run->pid;

    while (name && !soak_children(run->pid, name, &pid, 1))
        if (run_has_ended(run, 0.001))
            return false;
    soak_sleep_us(delay);
    return (!name || soak_children(run->pid, name, &pid, 1)) && kill(pid, SIGKILL) == 0;
}

static bool fail(struct run *run, const char *what)
{
    char *errors = run_output(run->err, NULL), *output = run_output(run->out, NULL);

    snprintf(run->why, sizeof run->why,
             "%s: status %d (expected %d)\noutput: %.300s\nerrors: %.1000s", what, run_status(run),
             run->status, output, errors);
    free(errors);
    free(output);
    return false;
}

static bool is_as_expected(struct run *run)
{
    size_t size, errors_size;

    if (run->hung)
        return fail(run, "it did not end");
    if (run_status(run) != run->status)
        return fail(run, "another status");
    char *output = run_output(run->out, &size);
    char *errors = run_output(run->err, &errors_size);
    bool same = run->any_text || (size == strlen(run->text) && !memcmp(output, run->text, size));
    bool quiet = run->any_errors || errors_size == 0;
    free(output);
    free(errors);
    if (!same)
        return fail(run, "another output");
    if (!quiet)
        return fail(run, "something on standard error");
    return !run->kind->check || run->kind->check(run);
}

/* What may become of a run whose victim was hit. */
static bool is_as_killed(struct run *run, enum victim victim)
{
    int status = run_status(run);
    unsigned messages = 0;

    if (run->hung)
        return fail(run, "it did not end");
    char *errors = run_output(run->err, NULL);
    for (const char *at = errors; (at = strstr(at, "uhyve: error: ")); at++)
        messages++;
    free(errors);
    switch (victim) {
    case VICTIM_VMM:
        return status == 128 + SIGKILL || fail(run, "killed");
    case VICTIM_ENGINE:
        /* As a crash of the guest; a failure before it could start. */
        /* A signal that was to stop it may come when it has reported that. */
        return ((status == 134 || status == 125 || (status > 128 && status == run->status)) &&
                messages == 1) ||
               fail(run, "engine killed");
    default:
        /* The guest's calls fail, and what it makes of that is its business; or it could not start.
         */
        return messages == (status == 125 || status == 134) || fail(run, "file process killed");
    }
}

bool run_whole(struct run *run, const char *work, enum victim victim, uint64_t delay, bool *hit)
{
    bool good = run_make_directory(run, work);

    *hit = false;
    if (!good)
        return false;
    prepare(run);
    good = run_start(run);
    if (good) {
        if (victim != VICTIM_NONE)
            *hit = strike(run, victim, delay);
        if (run->kind->meanwhile)
            run->kind->meanwhile(run);
        run_wait(run);
        /* Who was about to end anyway has ended as it should. */
        good = (*hit && is_as_killed(run, victim)) || is_as_expected(run);
    }
    run_release(run);
    run_remove_directory(run);
    return good;
}
