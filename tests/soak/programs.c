/*
 * Runs of the program under test, many of them:
 *
 *   soak-programs series COUNT           one after another
 *   soak-programs crowd COUNT AT-ONCE    so many at the same time
 *   soak-programs kills COUNT AT-ONCE    the same while some are killed with SIGKILL: uhyve itself,
 *                                        its engine, or the process that opens single files
 *   soak-programs lives COUNT AT-ONCE    signals, debuggers and ends of input at random
 *
 * COUNT may be a time instead: "60s".
 *
 * What runs, on which accelerator and with how many CPUs, is drawn from the seed (environment
 * variable SEED). Every status and every output must be as expected, no process and no temporary
 * file may be left. UHYVE and GUESTS say what is tested, ACCELERATORS where ("direct kvm").
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kinds.h"
#include "lives.h"

#define KINDS_MAX      32
#define CPUS_MOST      8
#define KILLED_PERCENT 40
#define END_LIMIT      10.0 /* seconds in which processes without parent must have ended */

static struct soak {
    uint64_t seed;
    unsigned count; /* UINT_MAX: until `end` */
    double end;
    bool kills, lives;
    char work[120];
    const char *accelerators[2];
    unsigned accelerator_count;
    atomic_uint next;
    pthread_mutex_t lock;
    unsigned good[KINDS_MAX], bad[KINDS_MAX];
    unsigned hits[VICTIM_COUNT];
    char failures[KINDS_MAX][2000]; /* the first of each kind */
} soak = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum victim choose_victim(struct run *run)
{
    if (!soak.kills || !soak_chance(&run->random, KILLED_PERCENT))
        return VICTIM_NONE;
    if (strcmp(run->accel, "kvm") == 0)
        return VICTIM_VMM;
    return (enum victim)(VICTIM_VMM + soak_random(&run->random, VICTIM_COUNT - VICTIM_VMM));
}

static void count_result(const struct run *run, unsigned number, bool good, enum victim victim,
                         bool hit)
{
    unsigned kind = run->kind ? (unsigned)(run->kind - run_kinds) : run_kind_count;

    pthread_mutex_lock(&soak.lock);
    if (good)
        soak.good[kind]++;
    else if (soak.bad[kind]++ == 0)
        snprintf(soak.failures[kind], sizeof soak.failures[kind],
                 "run %u with %s, %u CPUs, %s killed: %.1800s", number, run->accel, run->cpus,
                 victim_names[hit ? victim : VICTIM_NONE], run->why);
    if (hit)
        soak.hits[victim]++;
    pthread_mutex_unlock(&soak.lock);
}

/* Its number; UINT_MAX: enough. */
static unsigned next_run(void)
{
    return soak.end > 0 && soak_now() > soak.end ? UINT_MAX : atomic_fetch_add(&soak.next, 1);
}

static void run_kind(struct run *run, unsigned number)
{
    bool hit = false;

    run_choose(run, CPUS_MOST);
    enum victim victim = choose_victim(run);
    if (victim == VICTIM_KEEPER)
        run->kind = run_kind_with_keeper;
    /* As often in the first tenth of a millisecond as in the last half second. */
    uint64_t delay = soak_random(&run->random, UINT64_C(64) << soak_random(&run->random, 14));
    bool good = run_whole(run, soak.work, victim, delay, &hit);
    count_result(run, number, good, victim, hit);
}

static void *work(void *unused)
{
    struct run *run = malloc(sizeof *run);

    if (!run)
        abort();
    for (unsigned number; (number = next_run()) < soak.count;) {
        memset(run, 0, sizeof *run);
        soak_random_start(&run->random, soak.seed, number);
        run->accel = soak.accelerators[soak_random(&run->random, soak.accelerator_count)];
        if (soak.lives)
            count_result(run, number, live(run, soak.work), VICTIM_NONE, false);
        else
            run_kind(run, number);
    }
    free(run);
    return NULL;
}

static void run_all(unsigned threads)
{
    pthread_t *thread = calloc(threads, sizeof *thread);

    if (!thread)
        abort();
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, NULL) != 0)
            abort();
    for (unsigned i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    free(thread);
}

static void report_kinds(const char *phase)
{
    char name[120];

    for (unsigned i = 0; i <= run_kind_count; i++) {
        if (!soak.good[i] && !soak.bad[i])
            continue;
        snprintf(name, sizeof name, "%s: %s: %u of %u runs", phase,
                 i < run_kind_count ? run_kinds[i].name : "disturbed", soak.good[i],
                 soak.good[i] + soak.bad[i]);
        soak_result(!soak.bad[i], name, soak.failures[i]);
    }
}

static unsigned total(void)
{
    unsigned sum = 0;

    for (unsigned i = 0; i <= run_kind_count; i++)
        sum += soak.good[i] + soak.bad[i];
    return sum;
}

/* Engines and file processes whose VMM is gone have become our children. */
static void report_processes(const char *phase)
{
    char name[120];
    unsigned left;

    for (double end = soak_now() + END_LIMIT;; soak_sleep_us(10000)) {
        while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
            ;
        left = soak_children(getpid(), NULL, NULL, 0);
        if (!left || soak_now() > end)
            break;
    }
    snprintf(name, sizeof name, "%s: no process is left", phase);
    char why[40];
    snprintf(why, sizeof why, "%u processes", left);
    soak_result(!left, name, why);
}

/* Entries of a directory, and of those in it. */
static unsigned count_files(const char *path, char *found, size_t size, bool deeper)
{
    unsigned count = 0;
    char below[600];
    DIR *entries = opendir(path);

    for (const struct dirent *entry; entries && (entry = readdir(entries));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(below, sizeof below, "%.300s/%.255s", path, entry->d_name);
        if (deeper) {
            count += count_files(below, found, size, false);
        } else {
            count++;
            snprintf(found, size, "%s", below);
        }
    }
    if (entries)
        closedir(entries);
    return count;
}

/* A run that is killed leaves its temporary directory, which the next run of that user removes. */
static void report_files(const char *phase)
{
    char name[120], found[600] = "", why[700];
    struct run *run = calloc(1, sizeof *run);
    bool hit, good = run != NULL;

    for (unsigned i = 0; good && (soak.kills || soak.lives) && i < 20; i++) {
        memset(run, 0, sizeof *run);
        run->accel = soak.accelerators[0];
        run->cpus = 1;
        run->kind = &run_kinds[0];
        soak_random_start(&run->random, soak.seed, i);
        good = run_whole(run, soak.work, VICTIM_NONE, 0, &hit);
        if (!count_files(getenv("TMPDIR"), found, sizeof found, true))
            break;
    }
    free(run);
    unsigned left = count_files(getenv("TMPDIR"), found, sizeof found, true);
    snprintf(name, sizeof name, "%s: no temporary file is left", phase);
    snprintf(why, sizeof why, "%u, such as %s", left, found);
    soak_result(good && !left, name, why);
}

static bool set_up(void)
{
    static char accelerators[64];
    const char *base = getenv("TMPDIR"), *list = getenv("ACCELERATORS");
    char temporary[160];

    snprintf(accelerators, sizeof accelerators, "%s", list && *list ? list : "direct");
    for (char *at, *next = accelerators; (at = strtok_r(next, " ", &next));)
        if (soak.accelerator_count < 2)
            soak.accelerators[soak.accelerator_count++] = at;
    snprintf(soak.work, sizeof soak.work, "%.80s/soak-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(soak.work))
        return false;
    snprintf(temporary, sizeof temporary, "%s/tmp", soak.work);
    unsetenv("UHYVE_ACCEL");
    return mkdir(temporary, 0700) == 0 && setenv("TMPDIR", temporary, 1) == 0;
}

static void clear_up(void)
{
    char path[300];

    const unsigned users[] = {geteuid(), 65534};

    for (unsigned i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/uhyve-%u", getenv("TMPDIR"), users[i]);
        rmdir(path);
    }
    rmdir(getenv("TMPDIR"));
    rmdir(soak.work);
}

int main(int argc, char **argv)
{
    const char *phase = argc > 1 ? argv[1] : "";
    unsigned at_once = 1;

    if (argc > 2)
        soak.count = (unsigned)atoi(argv[2]);
    if (argc > 2 && strchr(argv[2], 's')) {
        soak.end = soak_now() + soak.count;
        soak.count = UINT_MAX;
    }
    if (argc > 3)
        at_once = (unsigned)atoi(argv[3]);
    soak.kills = strcmp(phase, "kills") == 0;
    soak.lives = strcmp(phase, "lives") == 0;
    if (!soak.count || !at_once) {
        fprintf(stderr, "usage: soak-programs series|crowd|kills|lives COUNT [AT-ONCE]\n");
        return 2;
    }
    if (!set_up()) {
        fprintf(stderr, "soak-programs: no directory for files: %s\n", strerror(errno));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    soak.seed = soak_seed();
    soak_note("%s: SEED=%llu, %u at once", phase, (unsigned long long)soak.seed, at_once);
    double begin = soak_now();
    run_all(at_once);
    report_kinds(phase);
    report_processes(phase);
    report_files(phase);
    if (soak.kills)
        soak_note("killed: %u uhyve, %u engines, %u file processes", soak.hits[VICTIM_VMM],
                  soak.hits[VICTIM_ENGINE], soak.hits[VICTIM_KEEPER]);
    soak_note("%u runs in %.1f s", total(), soak_now() - begin);
    clear_up();
    return soak_finish();
}
