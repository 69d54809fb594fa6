/* The threads that disturb a VM in the lifecycle tests. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "debugger.h"
#include "lifecycle.h"

#define LIBRARY_SIGNAL SIGSTKFLT /* uhyve.h */
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
    return port > 0 ? debugger_connect(port) : debugger_connect_local(stage->vm->socket);
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
        debugger_talk(*fd, random);
    else if (act == ACT_GARBAGE)
        debugger_garbage(*fd, random);
    else if (act == ACT_HALF_CLOSE)
        shutdown(*fd, SHUT_WR);
    else if (act == ACT_RESET)
        debugger_reset(fd);
    else
        debugger_send(*fd, "D");
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
