#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND UINT64_C(1000000000)
#define NS_PER_MS     UINT64_C(1000000)

uint64_t process_clock(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

static uint64_t deadline(void)
{
    return process_clock() + PROCESS_DEADLINE_SECONDS * NS_PER_SECOND;
}

/* poll until `until`; -ETIMEDOUT when it has passed. */
static int poll_until(struct pollfd *fds, nfds_t count, uint64_t until)
{
    uint64_t now = process_clock();
    if (now >= until)
        return -ETIMEDOUT;
    int ready = poll(fds, count, (int)((until - now) / NS_PER_MS) + 1);
    if (ready < 0)
        return errno == EINTR ? 0 : -errno;
    return ready;
}

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

/* The child's three streams are in[0], out[1] and err[1]. Returns 0 or an errno. */
static int spawn(pid_t *pid, const char *const *argv, const int in[2], const int out[2],
                 const int err[2])
{
    static char *const no_environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed)
        return failed;
    if (in[0] >= 0)
        failed = posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    else
        failed = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    if (!failed)
        failed = posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
    if (!failed) {
        union {
            const char *const *as_given;
            char *const *as_wanted;
        } arguments = {argv};
        failed = posix_spawnp(pid, argv[0], &actions, NULL, arguments.as_wanted, no_environment);
    }
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

int process_start(struct process *process, const char *const *argv, bool with_input)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
    int failed = 0;

    if ((with_input && pipe2(in, O_CLOEXEC)) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
        failed = errno;
    if (!failed) {
        process->start_ns = process_clock();
        failed = spawn(&process->pid, argv, in, out, err);
    }
    if (!failed) {
        process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
        if (process->pidfd < 0) {
            failed = errno;
            kill(process->pid, SIGKILL);
            waitpid(process->pid, NULL, 0);
        }
    }
    if (failed) {
        close_pair(in);
        close_pair(out);
        close_pair(err);
        return -failed;
    }
    if (with_input)
        close(in[0]);
    close(out[1]);
    close(err[1]);
    process->in = in[1];
    process->out = out[0];
    process->err = err[0];
    return 0;
}

static void release(struct process *process)
{
    if (process->in >= 0)
        close(process->in);
    close(process->out);
    close(process->err);
    close(process->pidfd);
}

void process_kill(struct process *process)
{
    kill(process->pid, SIGKILL);
    waitpid(process->pid, NULL, 0);
    release(process);
}

/* Keeps the beginning of a stream of which the rest is read and dropped. */
struct capture {
    int fd; /* -1 after the end */
    char *to;
    size_t size;
    size_t capacity; /* without the terminator */
};

/* Read once what is there. Returns the number of bytes. */
static size_t capture_read(struct capture *capture)
{
    char buffer[65536];
    ssize_t got = read(capture->fd, buffer, sizeof(buffer));
    if (got <= 0) {
        if (got == 0 || errno != EINTR)
            capture->fd = -1;
        return 0;
    }
    size_t room = capture->capacity - capture->size;
    size_t kept = (size_t)got < room ? (size_t)got : room;
    memcpy(capture->to + capture->size, buffer, kept);
    capture->size += kept;
    capture->to[capture->size] = '\0';
    return (size_t)got;
}

/* What is left in the pipe of a program that has ended; nothing is waited for. */
static void capture_rest(struct capture *capture)
{
    while (capture->fd >= 0) {
        struct pollfd fd = {.fd = capture->fd, .events = POLLIN};
        if (poll(&fd, 1, 0) <= 0 || capture_read(capture) == 0)
            return;
    }
}

int process_collect(struct process *process, struct process_run *run)
{
    *run = (struct process_run){0};
    struct capture out = {process->out, run->output, 0, sizeof(run->output) - 1};
    struct capture err = {process->err, run->errors, 0, sizeof(run->errors) - 1};
    uint64_t until = deadline();

    while (run->wall_ns == 0) {
        struct pollfd fds[] = {
            {.fd = out.fd, .events = POLLIN},
            {.fd = process->pidfd, .events = POLLIN},
            {.fd = err.fd, .events = POLLIN},
        };
        int ready = poll_until(fds, 3, until);
        if (ready < 0) {
            process_kill(process);
            return ready;
        }
        uint64_t now = process_clock();
        if (fds[0].revents && capture_read(&out) && run->first_ns == 0)
            run->first_ns = now - process->start_ns;
        if (fds[2].revents)
            capture_read(&err);
        if (fds[1].revents)
            run->wall_ns = now - process->start_ns;
    }
    int status;
    waitpid(process->pid, &status, 0);
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    capture_rest(&out);
    capture_rest(&err);
    if (err.size > 0 && run->errors[err.size - 1] == '\n')
        run->errors[err.size - 1] = '\0';
    release(process);
    return 0;
}

int process_run(const char *const *argv, struct process_run *run)
{
    struct process process;
    int failed = process_start(&process, argv, false);
    return failed ? failed : process_collect(&process, run);
}

ssize_t process_read(const struct process *process, void *to, size_t size)
{
    uint64_t until = deadline();
    struct pollfd fd = {.fd = process->out, .events = POLLIN};
    int ready;
    do {
        ready = poll_until(&fd, 1, until);
    } while (ready == 0);
    if (ready < 0)
        return ready;
    ssize_t got = read(process->out, to, size);
    return got < 0 ? -errno : got;
}
