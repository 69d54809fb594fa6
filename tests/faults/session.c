#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"

#define END_MS 2000 /* for processes to end that the program started */

static void __attribute__((noreturn)) give_up(const char *what)
{
    fprintf(stderr, "fault-driver: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    return remove(path);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        give_up(path);
    close(fd);
}

static void copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    char piece[65536];
    ssize_t size;

    if (in < 0 || out < 0)
        give_up(from);
    while ((size = read(in, piece, sizeof piece)) > 0)
        if (write(out, piece, (size_t)size) != size)
            give_up(to);
    if (size < 0)
        give_up(from);
    close(in);
    close(out);
}

int session_open(struct session *session, const struct settings *settings, const char *directory)
{
    char path[300];

    *session = (struct session){.settings = settings};
    snprintf(session->directory, sizeof session->directory, "%s", directory);
    if (mkdir(directory, 0755) != 0 && errno != EEXIST)
        return -errno;
    snprintf(path, sizeof path, "%s/control", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || fchmod(fd, 0666) != 0 || ftruncate(fd, sizeof *session->control) != 0)
        return -errno;
    void *memory = mmap(NULL, sizeof *session->control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    session->control = memory;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return memory == MAP_FAILED ? -errno : 0;
}

/* The guest that a word names; KVM may need the build for general registers. */
static void guest_path(const struct session *session, const char *name, char *path, size_t size)
{
    const struct settings *settings = session->settings;
    bool general = session->accelerator == ACCELERATOR_KVM && settings->general_registers;

    snprintf(path, size, "%s/%s%s", settings->guests, name, general ? "-gpr" : "");
}

/* The files that runs start from, in the current directory. */
static void make_inputs(const struct session *session)
{
    char guest[300];

    if (mkdir("tmp", 0777) || chmod("tmp", 0777) || mkdir("dir", 0755) || mkdir("app", 0755) ||
        mkdir("app/data", 0755))
        give_up("cannot make a directory for a run");
    write_file("dir/file", "hello\n");
    write_file("single", "one file\n");
    write_file("settings.toml", "version = \"1\"\n\n[memory]\nmemory_size = \"64MiB\"\n\n[guest]\n"
                                "env_vars = [\"A=1\", \"B=2\"]\n");
    write_file("app/data/words", "words of the image\n");
    write_file("app/hermit.toml", "version = \"1\"\nkernel = \"/kernel.elf\"\n\n[input]\n"
                                  "kernel_args = [\"-freq\", \"1000\"]\n"
                                  "app_args = [\"open /data/words r\", \"read 3 40\"]\n"
                                  "env_vars = [\"A=1\"]\n\n[requirements]\nmemory = \"64MiB\"\n");
    guest_path(session, "files-v2", guest, sizeof guest);
    copy_file(guest, "app/kernel.elf");
    for (unsigned i = 0; session->kind->words[i]; i++)
        if (session->kind->words[i][0] == '%') {
            snprintf(guest, sizeof guest, "%s/%s%s", session->settings->work,
                     session->kind->words[i] + 1,
                     session->accelerator == ACCELERATOR_KVM ? "-kvm" : "");
            copy_file(guest, "image");
        }
}

static void __attribute__((noreturn)) execute(const struct session *session)
{
    const struct settings *settings = session->settings;
    const char *words[CASE_WORDS + 1];
    static char paths[CASE_WORDS][300];
    unsigned count = 0;

    words[count++] = session->kind->image_tool ? settings->image_tool : settings->uhyve;
    for (unsigned i = 0; session->kind->words[i]; i++) {
        words[count] = session->kind->words[i];
        if (words[count][0] == '@') {
            guest_path(session, words[count] + 1, paths[count], sizeof paths[count]);
            words[count] = paths[count];
        } else if (words[count][0] == '%') {
            words[count] = "image";
        } else if (words[count][0] == '&') {
            /* Two runs at the same time have different parents. */
            snprintf(paths[count], sizeof paths[count], "127.0.0.1:%u%s",
                     20000u + (unsigned)getppid() % 10000, words[count] + 1);
            words[count] = paths[count];
        }
        count++;
    }
    words[count] = NULL;
    execv(words[0], (char *const *)(uintptr_t)words);
    _exit(121);
}

static pid_t start(const struct session *session)
{
    char path[300];
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    char *temporary = realpath("tmp", NULL);
    setenv("TMPDIR", temporary, 1);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    snprintf(path, sizeof path, "%s/control", session->directory);
    setenv("UHYVE_FAULTS", path, 1);
    if (session->accelerator != NO_ACCELERATOR)
        setenv("UHYVE_ACCEL", session->accelerator == ACCELERATOR_KVM ? "kvm" : "direct", 1);
    write_file("../in", session->kind->input ? session->kind->input : "");
    int in = open("../in", O_RDONLY);
    int out = open("../out", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    int err = open("../err", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(121);
    syscall(SYS_close_range, 3, ~0u, 0);
    execute(session);
}

const char *session_program(const struct settings *settings, const struct fault_case *kind,
                            bool engine)
{
    return engine ? settings->engine : kind->image_tool ? settings->image_tool : settings->uhyve;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait for the program's end; kill it if it does not come. */
static void wait_for(struct session *session, pid_t pid)
{
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int status = 0;

    session->timed_out = poll(&end, 1, (int)session->settings->limit_ms) <= 0;
    close(end.fd);
    if (session->timed_out)
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    session->status = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static void kill_children(void)
{
    char text[4096] = "";
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        text[0] = '\0';
    close(fd);
    char *next = text;
    for (long pid; (pid = strtol(next, &next, 10)) > 0;)
        kill((pid_t)pid, SIGKILL);
}

/* What the program started becomes this process's when the program has ended. */
static void collect_processes(struct session *session)
{
    int64_t end = now_ms() + END_MS;
    pid_t pid;

    session->left_processes = 0;
    while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) >= 0 || errno == EINTR) {
        if (pid > 0)
            continue;
        if (now_ms() > end) {
            session->left_processes++;
            kill_children();
            end = now_ms() + END_MS;
        }
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
}

static char *read_all(const char *path, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) != 0)
        give_up(path);
    char *text = malloc((size_t)status.st_size + 1);
    ssize_t got = text ? read(fd, text, (size_t)status.st_size) : -1;
    if (got < 0)
        give_up(path);
    close(fd);
    text[got] = '\0';
    *size = (size_t)got;
    return text;
}

/* nftw has no argument for its user. */
static struct session *walking;

static int note_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    struct seen_file *file = &walking->files[walking->file_count];

    (void)ftw;
    if (walking->file_count == FILES_MAX)
        return 0;
    *file = (struct seen_file){.path = strdup(path), .hash = 1469598103934665603u};
    if (S_ISREG(status->st_mode)) {
        char *data = read_all(path, &file->size);
        for (uint64_t i = 0; i < file->size; i++)
            file->hash = (file->hash ^ (uint8_t)data[i]) * 1099511628211u;
        free(data);
    }
    (void)type;
    walking->file_count++;
    return 0;
}

bool session_is_input(const char *path)
{
    static const char *const inputs[] = {"./dir/file", "./single", "./settings.toml"};

    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        if (strcmp(inputs[i], path) == 0)
            return true;
    return strncmp(path, "./app", 5) == 0;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct seen_file *)a)->path, ((const struct seen_file *)b)->path);
}

static void collect_files(struct session *session)
{
    walking = session;
    session->file_count = 0;
    nftw(".", note_entry, 16, FTW_PHYS);
    qsort(session->files, session->file_count, sizeof *session->files, compare_files);
}

void session_run(struct session *session, const struct fault_case *kind,
                 enum accelerator accelerator, const struct plan *plan)
{
    struct fault_control *control = session->control;

    session->kind = kind;
    session->accelerator = accelerator;
    if (chdir(session->directory) != 0)
        give_up(session->directory);
    nftw("run", remove_entry, 16, FTW_PHYS | FTW_DEPTH);
    if (mkdir("run", 0755) != 0 || chdir("run") != 0)
        give_up("run");
    make_inputs(session);
    /* Records need not be cleared. */
    control->engine.stream = control->program = (struct fault_stream){0};
    control->looked = control->open_files = control->threads = 0;
    control->open_name[0] = '\0';
    struct fault_stream *stream = plan->engine ? &control->engine.stream : &control->program;
    stream->at = plan->at;
    stream->fault = plan->fault;
    stream->sticky = plan->sticky;

    int prepared = peer_prepare(kind->peer);
    pid_t pid = start(session);
    if (pid < 0)
        give_up("cannot start a process");
    pid_t peer = peer_start(kind->peer, prepared);
    if (prepared >= 0)
        close(prepared);
    wait_for(session, pid);
    if (peer > 0) {
        kill(peer, SIGKILL);
        waitpid(peer, NULL, 0);
    }
    collect_processes(session);
    unlink("network");
    session->output = read_all("../out", &session->output_size);
    session->errors = read_all("../err", &session->errors_size);
    collect_files(session);
}

void session_forget(struct session *session)
{
    free(session->output);
    free(session->errors);
    session->output = session->errors = NULL;
    for (size_t i = 0; i < session->file_count; i++)
        free(session->files[i].path);
    session->file_count = 0;
}
