/* The threads that disturb a VM in the lifecycle tests. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lifecycle.h"

#define LIBRARY_SIGNAL (SIGRTMIN + 2) /* uhyve.h */
#define ENGINES        32

static _Thread_local struct uhyve_vm *handled;

static void ignore(int number)
{
}

static void stop_handled(int number)
{
    if (handled)
        uhyve_stop(handled);
}

void stage_catch_signals(void)
{
    const struct sigaction nothing = {.sa_handler = ignore, .sa_flags = SA_RESTART};
    const struct sigaction stop = {.sa_handler = stop_handled};

    sigaction(SIGUSR1, &nothing, NULL);
    sigaction(SIGUSR2, &stop, NULL);
    sigaction(LIBRARY_SIGNAL, &nothing, NULL); /* until the library has its own */
    signal(SIGPIPE, SIG_IGN);
}

void stage_handle_for(struct uhyve_vm *vm)
{
    handled = vm;
}

/* A debugger, which a thread of the stage plays. */

/* What a client may send that leaves the guest's memory and registers alone. */
static const char *const packets[] = {
    "qSupported:swbreak+;hwbreak+;vContSupported+",
    "vCont?",
    "vMustReplyEmpty",
    "QStartNoAckMode",
    "?",
    "g",
    "p10",
    "m100000,8",
    "m0,ffffffffffffffff",
    "Hg1",
    "Hc-1",
    "T1",
    "T77",
    "qC",
    "qfThreadInfo",
    "qsThreadInfo",
    "qXfer:features:read:target.xml:0,ffb",
    "qXfer:exec-file:read::0,ffb",
    "qXfer:features:read:none:ffffffffffffffff,1",
    "qRcmd,68656c70",
    "qRcmd,7374617473",
    "Z1,1000,1",
    "z1,1000,1",
    "Z2,2000,8",
    "z2,2000,8",
    "s",
    "vCont;s:1;c",
    "vCont;c",
    "c",
    "C0b",
    "",
    "!",
    "X1,",
    "vCont;r0,ffffffffffffffff:1",
};

static int connect_tcp(int port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0)
        connect(fd, (const struct sockaddr *)&address, sizeof address);
    return fd;
}

static int connect_local(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    if (fd >= 0)
        connect(fd, (const struct sockaddr *)&address, sizeof address);
    return fd;
}

static int attach(struct stage *stage)
{
    int port = 0;

    /* It listens from the moment that it says so. */
    for (unsigned i = 0; i < 200 && !port && !atomic_load(&stage->over); i++) {
        port = atomic_load(&stage->vm->port);
        if (!port)
            soak_sleep_us(1000);
    }
    if (!port)
        return -1;
    return port > 0 ? connect_tcp(port) : connect_local(stage->vm->socket);
}

static void read_answers(int fd)
{
    char answer[4096];

    for (struct pollfd poll_fd = {.fd = fd, .events = POLLIN}; poll(&poll_fd, 1, 1) > 0;)
        if (recv(fd, answer, sizeof answer, MSG_DONTWAIT) <= 0)
            break;
}

static void send_packet(int fd, const char *packet)
{
    char text[200];
    uint8_t sum = 0;

    for (const char *at = packet; *at; at++)
        sum = (uint8_t)(sum + (uint8_t)*at);
    int size = snprintf(text, sizeof text, "+$%s#%02x", packet, sum);
    send(fd, text, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_packets(int fd, struct soak_random *random)
{
    for (uint64_t count = 1 + soak_random(random, 8); count; count--) {
        if (soak_chance(random, 20))
            send(fd, "\003", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        send_packet(fd, packets[soak_random(random, sizeof packets / sizeof *packets)]);
        if (soak_chance(random, 70))
            read_answers(fd);
    }
}

/* Bytes, of which some look like the beginning of a packet. None is a whole one. */
static void send_garbage(int fd, struct soak_random *random)
{
    static const char *const pieces[] = {"$$$$", "$g#", "#", "+-+-", "$m0,", "}}", "*~", "\003"};
    char bytes[600];

    for (uint64_t count = 1 + soak_random(random, 6); count; count--) {
        size_t size = 0;
        if (soak_chance(random, 50))
            for (uint64_t end = soak_random(random, sizeof bytes); size < end; size++)
                bytes[size] = (char)(soak_random(random, 126) | 128);
        const char *piece = pieces[soak_random(random, sizeof pieces / sizeof *pieces)];
        send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        send(fd, piece, strlen(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (soak_chance(random, 50))
        read_answers(fd);
}

static void reset_connection(int *fd)
{
    const struct linger linger = {.l_onoff = 1};

    setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(*fd);
    *fd = -1;
}

static void act_of_debugger(struct stage *stage, enum act act, int *fd, struct soak_random *random)
{
    if (act == ACT_ATTACH) {
        int client = attach(stage);
        if (*fd >= 0)
            close(*fd);
        *fd = client;
        return;
    }
    if (*fd < 0)
        return;
    if (act == ACT_PACKETS)
        send_packets(*fd, random);
    else if (act == ACT_GARBAGE)
        send_garbage(*fd, random);
    else if (act == ACT_HALF_CLOSE)
        shutdown(*fd, SHUT_WR);
    else if (act == ACT_RESET)
        reset_connection(fd);
    else
        send_packet(*fd, "D");
}

/* The engines are children of this process, of this VM or of another one. */
static int any_engine(struct soak_random *random)
{
    int pids[ENGINES];
    unsigned count = soak_children(getpid(), "uhyve-engine", pids, ENGINES);

    count = count < ENGINES ? count : ENGINES;
    return count ? pids[soak_random(random, count)] : 0;
}

static void freeze(struct soak_random *random)
{
    int pid = any_engine(random);

    if (!pid || kill(pid, SIGSTOP) != 0)
        return;
    soak_sleep_us(soak_random(random, 20000));
    kill(pid, SIGCONT);
}

static void act(struct stage *stage, enum act act, struct soak_random *random)
{
    struct vm *vm = stage->vm;
    struct uhyve_stats stats;
    int pid;

    switch (act) {
    case ACT_STOP:
        uhyve_stop(vm->vm);
        break;
    case ACT_STOP_HANDLER:
        if (atomic_load(&stage->running))
            pthread_kill(stage->runner, SIGUSR2);
        break;
    case ACT_SIGNAL:
        if (soak_chance(random, 50))
            kill(getpid(), SIGUSR1);
        else if (atomic_load(&stage->running))
            pthread_kill(stage->runner, SIGUSR1);
        break;
    case ACT_KICK:
        if (atomic_load(&stage->running))
            pthread_kill(stage->runner, LIBRARY_SIGNAL);
        break;
    case ACT_FREEZE:
        freeze(random);
        break;
    case ACT_KILL:
        pid = stage->plan->kill_engines ? any_engine(random) : 0;
        if (pid)
            kill(pid, SIGKILL);
        break;
    case ACT_INPUT:
        if (vm->input_in >= 0 && write(vm->input_in, "a line\n", 7) < 0)
            abort();
        break;
    case ACT_INPUT_END:
        if (vm->input_in >= 0)
            close(vm->input_in);
        vm->input_in = -1;
        break;
    case ACT_STATISTICS:
        if (atomic_load(&stage->over)) /* not for a thread beside that of uhyve_run */
            uhyve_get_stats(vm->vm, &stats);
        break;
    default:
        break;
    }
}

void stage_act(struct stage *stage, unsigned number)
{
    const struct script *script = &stage->plan->script[number];
    struct soak_random random;
    int debugger = -1;

    soak_random_start(&random, stage->plan->seed ^ (number + 1), stage->plan->iteration);
    for (unsigned i = 0; i < script->count; i++) {
        soak_sleep_us(script->step[i].wait_us);
        if (script->step[i].act >= ACT_ATTACH)
            act_of_debugger(stage, script->step[i].act, &debugger, &random);
        else
            act(stage, script->step[i].act, &random);
    }
    if (soak_chance(&random, 50) && debugger >= 0) {
        close(debugger);
        debugger = -1;
    }
    uhyve_stop(stage->vm->vm);
    if (debugger >= 0)
        close(debugger);
}
