/*
 * A run with a fault counts as handled if it
 *
 *  - has done everything as without the fault, and the call is one that may fail (tolerated.txt),
 *    or has been repeated, or a warning tells; or
 *  - has failed with a documented status and one line that says why; or
 *  - has passed the error on to the guest;
 *
 * and in any case has ended in time, by itself, without a finding of a sanitizer, and has left no
 * process, file, descriptor or thread behind.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

#define SANITIZER_STATUS 86

struct tolerated {
    char call[48], function[64], fault[32]; /* "*": any */
    bool impossible;
};
static struct tolerated *tolerated;
static size_t tolerated_count;

/* What is wrong, as text. */
struct verdict {
    char *text;
    size_t size;
};

static void __attribute__((format(printf, 2, 3)))
complain(struct verdict *verdict, const char *format, ...)
{
    size_t used = strlen(verdict->text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(verdict->text + used, verdict->size - used, format, arguments);
    va_end(arguments);
    used = strlen(verdict->text);
    snprintf(verdict->text + used, verdict->size - used, "; ");
}

void check_load_tolerated(const char *path)
{
    char line[256];
    FILE *file = fopen(path, "re");

    if (!file) {
        perror(path);
        exit(1);
    }
    while (fgets(line, sizeof line, file)) {
        struct tolerated entry = {.impossible = line[0] == '!'};
        if (line[0] == '#' || sscanf(line + entry.impossible, "%47s %63s %31s", entry.call,
                                     entry.function, entry.fault) != 3)
            continue;
        tolerated = realloc(tolerated, (tolerated_count + 1) * sizeof *tolerated);
        tolerated[tolerated_count++] = entry;
    }
    fclose(file);
}

static bool fits(const char *pattern, const char *word)
{
    return strcmp(pattern, "*") == 0 || strcmp(pattern, word) == 0;
}

static bool is_listed(bool impossible, const struct fault_case *kind, const char *call,
                      const char *function, int32_t fault)
{
    char name[32];

    fault_name(fault, name, sizeof name);
    for (size_t i = 0; i < tolerated_count; i++)
        if (tolerated[i].impossible == impossible && fits(tolerated[i].call, call) &&
            (fits(tolerated[i].function, function) ||
             (kind && tolerated[i].function[0] == '@' &&
              strcmp(tolerated[i].function + 1, kind->name) == 0)) &&
            fits(tolerated[i].fault, name))
            return true;
    return false;
}

bool check_is_impossible(const char *call, const char *function, int32_t fault)
{
    return is_listed(true, NULL, call, function, fault);
}

/* Lines of standard error, sorted into kinds. */
struct lines {
    unsigned errors, new_errors, warnings, others;
    const char *error; /* the first */
    size_t error_size;
};

static bool starts(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

static bool is_error(const char *line)
{
    return starts(line, "uhyve: error: ") || starts(line, "uhyve-image: error: ");
}

static bool is_warning(const char *line)
{
    return starts(line, "uhyve: warning: ") || starts(line, "uhyve-image: warning: ");
}

/* Is this line (of `size` bytes) also in `text`? */
static bool has_line(const char *text, const char *line, size_t size)
{
    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
        if (strcspn(at, "\n") == size && memcmp(at, line, size) == 0)
            return true;
    return false;
}

/* What standard error has beyond what it has without a fault. */
static struct lines sort_lines(const struct session *good, const struct session *run)
{
    struct lines lines = {0};

    for (const char *line = run->errors; *line;) {
        size_t size = strcspn(line, "\n");
        if (is_error(line)) {
            lines.new_errors += !has_line(good->errors, line, size);
            if (!lines.errors++) {
                lines.error = line;
                lines.error_size = size;
            }
        } else if (is_warning(line)) {
            lines.warnings += !has_line(good->errors, line, size);
        } else {
            lines.others += !run->kind->varies && !has_line(good->errors, line, size);
        }
        line += size + (line[size] == '\n');
    }
    return lines;
}

static bool contains(const char *text, size_t size, const char *word)
{
    return memmem(text, size, word, strlen(word)) != NULL;
}

static bool has_all(const char *text, const char *const *parts)
{
    for (unsigned i = 0; i < 4 && parts[i]; i++)
        if (!strstr(text, parts[i]))
            return false;
    return true;
}

/* All lines of one are in the other. */
static bool has_lines_of(const char *text, const char *wanted)
{
    for (const char *line = wanted; *line;) {
        size_t size = strcspn(line, "\n");
        if (!has_line(text, line, size))
            return false;
        line += size + (line[size] == '\n');
    }
    return true;
}

static const struct seen_file *find_file(const struct session *session, const char *path)
{
    for (size_t i = 0; i < session->file_count; i++)
        if (strcmp(session->files[i].path, path) == 0)
            return &session->files[i];
    return NULL;
}

/* The files are all there, as they were. */
static bool has_files(const struct session *good, const struct session *run)
{
    for (size_t i = 0; i < good->file_count; i++) {
        const struct seen_file *file = find_file(run, good->files[i].path);
        if (!file)
            return false;
        if (good->kind->varies ? !file->size != !good->files[i].size
                               : file->hash != good->files[i].hash)
            return false;
    }
    return true;
}

/* `mute`: a message could not be written. */
static bool is_complete(const struct session *good, const struct session *run, bool mute)
{
    const struct fault_case *kind = good->kind;

    if (run->status != good->status || !has_files(good, run))
        return false;
    if (!has_lines_of(run->errors, kind->varies || mute ? "" : good->errors))
        return false;
    if (kind->varies)
        return has_all(run->output, kind->output_has) &&
               (mute || has_all(run->errors, kind->errors_have));
    return run->output_size == good->output_size &&
           memcmp(run->output, good->output, good->output_size) == 0;
}

/* A wait or a transfer that can be interrupted, or be short, has to go on. */
static bool must_go_on(const char *call, int32_t fault)
{
    static const char *const calls[] = {
        "read",       "write",     "pread",        "pwrite",      "readv",     "writev",
        "preadv",     "pwritev",   "poll",         "ppoll",       "nanosleep", "clock_nanosleep",
        "sem_wait",   "waitpid",   "waitid",       "recv",        "send",      "sendto",
        "recvmsg",    "sendmsg",   "accept4",      "futex",       "close",     "ioctl:ae01",
        "ioctl:ae80", "ftruncate", "engine:futex", "engine:read",
    };

    if (fault != EINTR && fault != FAULT_SHORT)
        return false;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i], call) == 0)
            return true;
    return false;
}

/* The line says why: as the C library puts it, or in our words. */
static bool names_cause(const struct lines *lines, int32_t fault)
{
    if (fault <= 0 || contains(lines->error, lines->error_size, strerror(fault)))
        return true;
    return (fault == ENOMEM && contains(lines->error, lines->error_size, "memory")) ||
           (fault == ENOENT && (contains(lines->error, lines->error_size, "no ") ||
                                contains(lines->error, lines->error_size, "neither"))) ||
           (fault == ENOSYS && contains(lines->error, lines->error_size, "kernel"));
}

/* `mute`: it could not be said; `vague`: the cause is known to another process only. */
static void check_failure(struct verdict *verdict, const struct lines *lines,
                          const struct session *run, const struct plan *plan, bool mute, bool vague)
{
    bool image = run->status == 126 || run->status == 127;
    bool usage = run->status == 2 && plan->fault != EIO;
    bool own_fault = plan->fault == ENOMEM || plan->fault == EMFILE || plan->fault == ENFILE;

    if (run->status != 125 && (!(image || usage) || own_fault))
        complain(verdict, "status %d does not say what happened", run->status);
    if (mute && !lines->errors)
        return;
    if (lines->errors != 1 || lines->others)
        complain(verdict, "%u errors and %u other new lines on standard error", lines->errors,
                 lines->others);
    else if (!vague && !names_cause(lines, plan->fault))
        complain(verdict, "the message does not name the cause");
    if (lines->errors == 1 && (contains(lines->error, lines->error_size, "Success") ||
                               contains(lines->error, lines->error_size, "out of place")))
        complain(verdict, "the message is misleading");
}

/* Nothing that was not there without the fault; files of which nothing became neither. */
static void check_left_files(struct verdict *verdict, const struct session *good,
                             const struct session *run, bool failed)
{
    for (size_t i = 0; i < run->file_count; i++) {
        const struct seen_file *file = &run->files[i], *known = find_file(good, file->path);
        const char *name = strrchr(file->path, '/');
        bool told = run->status == good->status && strstr(run->errors, ": warning: ");
        if (!known && !session_is_input(file->path) && !(name && strstr(run->errors, name + 1)))
            complain(verdict, "left the file '%s'", file->path);
        else if (known && failed && !told && !run->kind->keeps_output && !file->size && known->size)
            complain(verdict, "left the empty file '%s'", file->path);
    }
}

static void check_end(struct verdict *verdict, const struct session *run)
{
    const struct fault_control *control = run->control;

    if (run->timed_out)
        complain(verdict, "did not end");
    else if (run->status > 256)
        complain(verdict, "ended by signal %d", run->status - 256);
    if (run->status == SANITIZER_STATUS)
        complain(verdict, "a sanitizer has found something");
    if (run->left_processes)
        complain(verdict, "left %u processes", run->left_processes);
    if (control->looked && control->open_files)
        complain(verdict, "left %d descriptors open, like %s", control->open_files,
                 control->open_name);
    if (control->looked && control->threads > 1)
        complain(verdict, "left %d threads", control->threads - 1);
}

/* The guest was told, and shows it: "CALL = -ERRNO". What it says about lost output is lost, too.
 */
static bool was_passed_on(const struct session *good, const struct session *run)
{
    if (run->kind->told)
        return run->status == run->kind->told &&
               (!run->errors_size ||
                strstr(run->errors, ": error: output of the guest was lost: "));
    return run->status == good->status && !run->kind->varies && strstr(run->output, "= -") &&
           strcmp(run->output, good->output) != 0;
}

/* What was asked for beside the run itself, such as a crash dump, is missing. */
static bool has_warning_of(const struct session *run, int32_t fault)
{
    const char *warning = strstr(run->errors, "uhyve: warning: ");
    return warning && fault > 0 && strstr(warning, strerror(fault));
}

/* What ends a guest that runs already is a crash, with a report that begins with the reason. */
static bool is_crash(const struct session *run, const struct lines *lines, const char *call,
                     int32_t fault)
{
    bool of_guest = strcmp(call, "ioctl:ae80") == 0 || strcmp(call, "ioctl:4048ae9b") == 0 ||
                    starts(call, "engine:");

    return of_guest && run->status == 134 && lines->errors == 1 && names_cause(lines, fault);
}

void check_run(const struct session *good, const struct session *run, const struct plan *plan,
               char *text, size_t size)
{
    const struct fault_control *control = run->control;
    const struct fault_stream *stream = plan->engine ? &control->engine.stream : &control->program;
    const struct fault_record *record = &(
        plan->engine ? control->engine.records : control->records)[plan->at ? plan->at - 1 : 0];
    struct verdict verdict = {text, size};
    struct lines lines = sort_lines(good, run);
    bool complete;
    char call[64] = "";
    struct place place = {"?", "?", 0};

    text[0] = '\0';
    if (stream->hits) {
        fault_describe(plan->engine, record, call, sizeof call);
        symbols_find(session_program(run->settings, run->kind, plan->engine), record->address,
                     &place);
    }
    bool mute = stream->hits && strcmp(call, "write") == 0 && (record->detail == 2 || plan->sticky);
    complete = is_complete(good, run, mute);
    bool listed = stream->hits && is_listed(false, run->kind, call, place.function, plan->fault);
    check_end(&verdict, run);
    if (!was_passed_on(good, run))
        check_left_files(&verdict, good, run, !complete);
    if (text[0])
        return;
    if (!stream->hits) {
        if (!complete || lines.new_errors)
            complain(&verdict, "went wrong without a fault");
    } else if (must_go_on(call, plan->fault)) {
        if (!(complete && !lines.new_errors && !lines.warnings) && !listed)
            complain(&verdict, "did not go on after an interrupted or short call");
    } else if (complete) {
        if (!lines.new_errors && !lines.warnings && !listed && !mute)
            complain(&verdict, "swallowed the error");
        if (lines.new_errors && !run->kind->varies)
            complain(&verdict, "succeeded with an error message");
    } else if (run->status == good->status && (listed || has_warning_of(run, plan->fault))) {
        return;
    } else if (!was_passed_on(good, run) && !is_crash(run, &lines, call, plan->fault)) {
        check_failure(&verdict, &lines, run, plan, mute, listed);
    }
}
