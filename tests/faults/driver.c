/*
 * Makes host calls of uhyve and uhyve-image fail, one in each run, and checks what comes of it. See
 * tests/faults/run for the command line of people.
 */
#include <errno.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "driver.h"

#define FINDINGS_MAX 4096
#define SITES        (1u << 16) /* hash table */
#define TRIES        3
#define SHOWN        60 /* findings of one case that are printed */

struct job {
    struct plan plan;
    uint64_t site;
};

struct finding {
    struct job job;
    struct place place;
    char call[64], text[512], message[160];
};

/* Shared with the workers. */
struct board {
    atomic_uint next, runs, hits;
    atomic_uint finding_count;
    struct finding findings[FINDINGS_MAX];
};

static struct settings settings = {.limit_ms = 10000, .workers = 2, .level = EACH_SITE};
static struct job *jobs;
static size_t job_count, job_room;
static uint64_t seen[SITES];
static struct board *board;
static unsigned test_number, failures;
static const char *const accelerator_names[] = {"-", "kvm", "direct"};

static void *or_die(void *memory)
{
    if (!memory || memory == MAP_FAILED) {
        perror("fault-driver");
        exit(1);
    }
    return memory;
}

/* True the first time. */
static bool note_site(uint64_t site)
{
    for (uint32_t at = (uint32_t)site % SITES;; at = (at + 1) % SITES) {
        if (seen[at] == site)
            return false;
        if (!seen[at]) {
            seen[at] = site;
            return true;
        }
    }
}

static void add_job(struct plan plan, uint64_t site)
{
    if (job_count == job_room) {
        job_room = job_room ? 2 * job_room : 1024;
        jobs = or_die(realloc(jobs, job_room * sizeof *jobs));
    }
    jobs[job_count++] = (struct job){plan, site};
}

static void add_jobs_of(const struct fault_case *kind, bool engine,
                        const struct fault_record *records, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char call[64];
        struct place place = {"?", "?", 0};
        fault_describe(engine, &records[i], call, sizeof call);
        symbols_find(session_program(&settings, kind, engine), records[i].address, &place);
        const int32_t *faults = fault_choices(engine, &records[i]);
        uint64_t site = records[i].site + engine;
        if (settings.level == EACH_SITE && !note_site(site | 1))
            continue;
        for (unsigned k = 0; k < 8 && faults[k]; k++) {
            struct plan plan = {.engine = engine, .at = i + 1, .fault = faults[k]};
            if (check_is_impossible(call, place.function, faults[k]))
                continue;
            if (settings.level == EACH_CALL && k > 0 && faults[k] != EINTR &&
                faults[k] != FAULT_SHORT)
                continue;
            add_job(plan, records[i].site);
            plan.sticky = true;
            if (settings.level == EVERYTHING && faults[k] > 0 && faults[k] != EINTR)
                add_job(plan, records[i].site);
        }
    }
}

static const struct fault_record *records_of(const struct session *session, bool engine,
                                             uint32_t *count)
{
    const struct fault_control *control = session->control;
    uint32_t made = (engine ? &control->engine.stream : &control->program)->count;
    uint32_t room = engine ? FAULT_ENGINE_RECORDS : FAULT_RECORDS;

    *count = made < room ? made : room;
    return engine ? control->engine.records : control->records;
}

static void first_line(const char *text, char *to, size_t size)
{
    snprintf(to, size, "%.*s", (int)strcspn(text, "\n"), text);
}

static void report(const struct session *run, const struct job *job, const char *text)
{
    unsigned number = atomic_fetch_add(&board->finding_count, 1);
    if (number >= FINDINGS_MAX)
        return;
    struct finding *finding = &board->findings[number];
    uint32_t count;
    const struct fault_record *records = records_of(run, job->plan.engine, &count);

    finding->job = *job;
    snprintf(finding->text, sizeof finding->text, "%s", text);
    first_line(run->errors, finding->message, sizeof finding->message);
    finding->place = (struct place){"?", "?", 0};
    if (job->plan.at == 0 || job->plan.at > count)
        return;
    fault_describe(job->plan.engine, &records[job->plan.at - 1], finding->call,
                   sizeof finding->call);
    symbols_find(session_program(&settings, run->kind, job->plan.engine),
                 records[job->plan.at - 1].address, &finding->place);
}

/* The call that was to fail, if it was that one: threads may come in another order than before. */
static bool was_meant(const struct session *run, const struct job *job)
{
    uint32_t count;
    const struct fault_record *records = records_of(run, job->plan.engine, &count);

    return job->plan.at > count || records[job->plan.at - 1].site == job->site;
}

/* Then it has another number. */
static bool find_again(const struct session *run, struct job *job)
{
    uint32_t count;
    const struct fault_record *records = records_of(run, job->plan.engine, &count);

    for (uint32_t i = 0; i < count; i++)
        if (records[i].site == job->site) {
            job->plan.at = i + 1;
            return true;
        }
    return false;
}

/* One fault, until it was in the place that was meant. */
static void try(struct session *run, const struct session *good, struct job *job)
{
    char text[512];
    bool again = true;

    for (unsigned tries = 0; again && tries < TRIES; tries++) {
        session_run(run, good->kind, good->accelerator, &job->plan);
        check_run(good, run, &job->plan, text, sizeof text);
        /* A machine that is busy with something else gets a second chance. */
        bool slow = run->timed_out, meant = was_meant(run, job);
        if (!slow && (meant || settings.level != EACH_SITE)) {
            if (text[0] && meant)
                report(run, job, text);
            again = false;
        } else if (tries + 1 == TRIES) {
            if (slow && meant)
                report(run, job, text);
        } else if (!meant) {
            again = find_again(run, job);
        }
        session_forget(run);
    }
}

static void __attribute__((noreturn)) work(const struct session *good, unsigned worker)
{
    struct session run;
    char directory[300];

    snprintf(directory, sizeof directory, "%s/worker-%u", settings.work, worker);
    if (good->kind->tap && !tap_make())
        _exit(1);
    if (session_open(&run, &settings, directory) != 0) {
        perror(directory);
        _exit(1);
    }
    for (unsigned i; (i = atomic_fetch_add(&board->next, 1)) < job_count;) {
        struct job job = jobs[i];
        try(&run, good, &job);
        atomic_fetch_add(&board->runs, 1);
        if (run.control->program.hits + run.control->engine.stream.hits)
            atomic_fetch_add(&board->hits, 1);
    }
    _exit(0);
}

static bool is_alike(const struct finding *a, const struct finding *b)
{
    return strcmp(a->call, b->call) == 0 && strcmp(a->place.file, b->place.file) == 0 &&
           a->place.line == b->place.line && strncmp(a->text, b->text, 20) == 0;
}

/* One for each place, with all its faults. */
static void print_findings(const struct fault_case *kind, enum accelerator accelerator)
{
    unsigned count = board->finding_count < FINDINGS_MAX ? board->finding_count : FINDINGS_MAX;
    unsigned shown = 0;
    char name[32];

    for (unsigned i = 0; i < count && shown < SHOWN; i++) {
        struct finding *finding = &board->findings[i];
        const struct plan *plan = &finding->job.plan;
        if (!finding->text[0])
            continue;
        printf("#   %s in %s (%s:%u):", finding->call, finding->place.function, finding->place.file,
               finding->place.line);
        for (unsigned k = i; k < count; k++) {
            struct finding *other = &board->findings[k];
            if (!is_alike(finding, other))
                continue;
            printf(" %s%s", fault_name(other->job.plan.fault, name, sizeof name),
                   other->job.plan.sticky ? "+" : "");
            if (k != i)
                other->text[0] = '\0';
        }
        printf(": %s\n", finding->text);
        if (finding->message[0])
            printf("#     %s\n", finding->message);
        printf("#     again: tests/faults/run --one '%s' %s %s%u %s%s\n", kind->name,
               accelerator_names[accelerator], plan->engine ? "engine:" : "", plan->at,
               fault_name(plan->fault, name, sizeof name), plan->sticky ? "+" : "");
        shown++;
    }
    if (shown == SHOWN)
        printf("#   and perhaps more\n");
}

/* The run without a fault: it must be as its case says. */
static bool run_good(struct session *good, const struct fault_case *kind,
                     enum accelerator accelerator)
{
    const struct plan none = {0};
    char text[512];

    session_run(good, kind, accelerator, &none);
    check_run(good, good, &none, text, sizeof text);
    if (!text[0] && good->status == kind->status)
        return true;
    printf("# without a fault: status %d; %s\n", good->status, text);
    printf("# output: %.200s\n# errors: %.400s\n", good->output, good->errors);
    return false;
}

static void run_case(struct session *good, const struct fault_case *kind,
                     enum accelerator accelerator)
{
    pid_t workers[64];
    uint32_t calls, engine_calls;
    bool well = run_good(good, kind, accelerator);

    *board = (struct board){0};
    const struct fault_record *records = records_of(good, false, &calls);
    const struct fault_record *engine_records = records_of(good, true, &engine_calls);
    job_count = 0;
    if (well) {
        symbols_load(session_program(&settings, kind, false), records, calls);
        symbols_load(settings.engine, engine_records, engine_calls);
        add_jobs_of(kind, false, records, calls);
        add_jobs_of(kind, true, engine_records, engine_calls);
        fflush(stdout);
        for (unsigned i = 0; i < settings.workers; i++) {
            workers[i] = fork();
            if (workers[i] == 0)
                work(good, i);
        }
        for (unsigned i = 0; i < settings.workers; i++) {
            int status;
            waitpid(workers[i], &status, 0);
            well = well && status == 0;
        }
        well = well && board->finding_count == 0;
    }
    test_number++;
    failures += !well;
    printf("%s %u - %s%s%s: %u calls, %u of the engine, %u runs, %u faults\n",
           well ? "ok" : "not ok", test_number, kind->name,
           accelerator == NO_ACCELERATOR ? "" : " with ",
           accelerator == NO_ACCELERATOR ? "" : accelerator_names[accelerator], calls, engine_calls,
           board->runs, board->hits);
    print_findings(kind, accelerator);
    fflush(stdout);
    session_forget(good);
}

/* Hermit images for the runs, with the tool itself. */
static void make_images(struct session *session)
{
    static const struct {
        enum accelerator accelerator;
        const char *name, *option;
    } images[] = {
        {ACCELERATOR_DIRECT, "image", NULL},
        {ACCELERATOR_DIRECT, "image-zstd", "--zstd"},
        {ACCELERATOR_KVM, "image-kvm", NULL},
        {ACCELERATOR_KVM, "image-zstd-kvm", "--zstd"},
    };

    for (unsigned i = 0; i < sizeof images / sizeof *images; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", settings.work, images[i].name);
        const struct fault_case kind = {
            .name = "make an image",
            .image_tool = true,
            .words = {"build", "app", "-f", "-o", path, images[i].option},
        };
        session_run(session, &kind, images[i].accelerator, &(struct plan){0});
        if (session->status != 0) {
            fprintf(stderr, "fault-driver: cannot make an image: %s", session->errors);
            exit(1);
        }
        session_forget(session);
    }
}

static bool is_wanted(const struct fault_case *kind, enum accelerator accelerator)
{
    if (kind->any_accelerator)
        return accelerator == NO_ACCELERATOR;
    return accelerator != NO_ACCELERATOR && (accelerator != ACCELERATOR_KVM || settings.kvm) &&
           (!kind->tap || settings.tap);
}

static void run_all(struct session *good, const char *only)
{
    regex_t pattern;

    if (only && regcomp(&pattern, only, REG_EXTENDED | REG_NOSUB) != 0) {
        fprintf(stderr, "fault-driver: '%s' is no regular expression\n", only);
        exit(2);
    }
    for (enum accelerator accelerator = NO_ACCELERATOR; accelerator <= ACCELERATOR_DIRECT;
         accelerator++)
        for (size_t i = 0; i < case_count; i++) {
            char name[128];
            snprintf(name, sizeof name, "%s with %s", cases[i].name,
                     accelerator_names[accelerator]);
            if (is_wanted(&cases[i], accelerator) &&
                (!only || regexec(&pattern, name, 0, NULL, 0) == 0))
                run_case(good, &cases[i], accelerator);
        }
    if (!settings.kvm && !only)
        printf("ok %u - with kvm # SKIP there is no /dev/kvm\n", ++test_number);
    if (!settings.tap && !only)
        printf("ok %u - with a tap interface # SKIP none can be made here\n", ++test_number);
    printf("1..%u\n", test_number);
}

/* --one: again, and show it. */
static int run_one(struct session *session, char **words, int count)
{
    const struct fault_case *kind = NULL;
    struct session good;
    char text[512], call[64] = "", directory[300];
    enum accelerator accelerator = NO_ACCELERATOR;

    for (size_t i = 0; i < case_count; i++)
        if (count == 4 && strcmp(cases[i].name, words[0]) == 0)
            kind = &cases[i];
    if (!kind) {
        fprintf(stderr, "fault-driver: --one needs CASE ACCELERATOR NUMBER FAULT\n");
        return 2;
    }
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(accelerator_names[i], words[1]) == 0)
            accelerator = i;
    struct plan plan = {.engine = strncmp(words[2], "engine:", 7) == 0};
    plan.at = (uint32_t)strtoul(words[2] + (plan.engine ? 7 : 0), NULL, 10);
    char *plus = strchr(words[3], '+');
    if (plus)
        *plus = '\0';
    plan.sticky = plus != NULL;
    plan.fault = fault_parse(words[3]);

    snprintf(directory, sizeof directory, "%s/good", settings.work);
    if (session_open(&good, &settings, directory) != 0 || !run_good(&good, kind, accelerator))
        return 1;
    session_run(session, kind, accelerator, &plan);
    uint32_t calls;
    const struct fault_record *records = records_of(session, plan.engine, &calls);
    symbols_load(session_program(&settings, kind, plan.engine), records, calls);
    struct place place = {"?", "?", 0};
    if (plan.at && plan.at <= calls) {
        fault_describe(plan.engine, &records[plan.at - 1], call, sizeof call);
        symbols_find(session_program(&settings, kind, plan.engine), records[plan.at - 1].address,
                     &place);
    }
    check_run(&good, session, &plan, text, sizeof text);
    printf("call: %s in %s (%s:%u), %s\nstatus: %d\nverdict: %s\n", call, place.function,
           place.file, place.line,
           session->control->program.hits + session->control->engine.stream.hits ? "failed"
                                                                                 : "not reached",
           session->status, text[0] ? text : "good");
    printf("--- standard output\n%s--- standard error\n%s", session->output, session->errors);
    printf("--- files\n");
    for (size_t i = 0; i < session->file_count; i++)
        printf("%8llu %s\n", (unsigned long long)session->files[i].size, session->files[i].path);
    return text[0] != '\0';
}

static void list_cases(void)
{
    for (size_t i = 0; i < case_count; i++)
        puts(cases[i].name);
}

int main(int argc, char **argv)
{
    struct session session;
    char directory[300];

    enum mode mode = options_read(argc, argv, &settings);
    if (mode == MISTAKEN)
        return 2;
    if (mode == LIST_CASES) {
        list_cases();
        return 0;
    }
    snprintf(directory, sizeof directory, "%s/first", settings.work);
    board = or_die(
        mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (session_open(&session, &settings, directory) != 0) {
        perror(directory);
        return 1;
    }
    settings.tap = tap_make();
    make_images(&session);
    if (mode == RUN_ONE)
        return run_one(&session, argv + optind, argc - optind);
    run_all(&session, settings.only);
    return failures != 0;
}
