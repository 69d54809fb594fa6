#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char *program_path(void)
{
    const char *path = getenv("UHYVE");
    return path ? path : "build/src/uhyve";
}

void run_word(struct run *run, const char *format, ...)
{
    va_list arguments;

    if (run->count + 1 >= RUN_WORDS)
        abort();
    va_start(arguments, format);
    vsnprintf(run->words[run->count++], sizeof run->words[0], format, arguments);
    va_end(arguments);
}

void run_guest(struct run *run, const char *name)
{
    const char *guests = getenv("GUESTS");

    run_word(run, "%s/%s%s", guests ? guests : "build/guests", name,
             strcmp(run->accel, "kvm") == 0 ? "-gpr" : "");
}

static int spawn(struct run *run, int in)
{
    char *argv[RUN_WORDS + 1];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;

    for (unsigned i = 0; i < run->count; i++)
        argv[i] = run->words[i];
    argv[run->count] = NULL;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    /* A process group of its own, as from a shell: signals for it do not reach this program. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, run->out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, run->err, STDERR_FILENO);
    int err = posix_spawn(&run->pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return err;
}

bool run_start(struct run *run)
{
    int in[2] = {-1, -1};

    run->out = memfd_create("stdout", MFD_CLOEXEC);
    run->err = memfd_create("stderr", MFD_CLOEXEC);
    run->in = run->pidfd = -1;
    if (!run->with_input)
        in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    else if (pipe2(in, O_CLOEXEC) == 0)
        run->in = in[1];
    int err = run->out < 0 || run->err < 0 || in[0] < 0 ? errno : spawn(run, in[0]);
    if (in[0] >= 0)
        close(in[0]);
    if (err) {
        snprintf(run->why, sizeof run->why, "cannot start: %s", strerror(err));
        return false;
    }
    run->pidfd = (int)syscall(SYS_pidfd_open, run->pid, 0);
    return true;
}

bool run_has_ended(struct run *run, double wait)
{
    struct pollfd fd = {.fd = run->pidfd, .events = POLLIN};
    int ready;

    while ((ready = poll(&fd, 1, (int)(wait * 1000))) < 0 && errno == EINTR)
        ;
    return ready > 0;
}

void run_wait(struct run *run)
{
    if (!run_has_ended(run, RUN_LIMIT)) {
        run->hung = true;
        kill(run->pid, SIGKILL);
    }
    while (waitpid(run->pid, &run->wait_status, 0) < 0 && errno == EINTR)
        ;
}

void run_release(struct run *run)
{
    const int fds[] = {run->in, run->out, run->err, run->pidfd};

    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void drop_line(char *text, size_t *size, const char *begin)
{
    char *line = strstr(text, begin), *end = line ? strchr(line, '\n') : NULL;

    if (!end)
        return;
    end++;
    memmove(line, end, (size_t)(text + *size + 1 - end));
    *size -= (size_t)(end - line);
}

char *run_output(int fd, size_t *size)
{
    struct stat status = {0};
    size_t done = 0;

    fstat(fd, &status);
    char *text = calloc(1, (size_t)status.st_size + 1);
    if (!text)
        abort();
    for (ssize_t got; done < (size_t)status.st_size; done += (size_t)got) {
        got = pread(fd, text + done, (size_t)status.st_size - done, (off_t)done);
        if (got <= 0)
            break;
    }
    drop_line(text, &done, "uhyve: warning: this kernel has no Landlock");
    if (size)
        *size = done;
    return text;
}

bool run_wait_for(struct run *run, int fd, const char *text)
{
    for (double end = soak_now() + RUN_LIMIT; soak_now() < end;) {
        bool ended = run_has_ended(run, 0.001);
        char *output = run_output(fd, NULL);
        bool found = text ? strstr(output, text) != NULL : *output != '\0';
        free(output);
        if (found || ended)
            return found;
    }
    return false;
}

int run_status(const struct run *run)
{
    return WIFSIGNALED(run->wait_status) ? 128 + WTERMSIG(run->wait_status)
                                         : WEXITSTATUS(run->wait_status);
}
