/* What is to happen to a VM in the lifecycle tests: drawn from the seed. */
#include <stdio.h>
#include <string.h>

#include "lifecycle.h"

static const char *const act_names[ACTS] = {
    "stop",       "stop from handler",
    "signal",     "kick",
    "freeze",     "kill engine",
    "input",      "end of input",
    "stats",      "attach",
    "packets",    "garbage",
    "half-close", "reset",
    "detach",
};

static void choose_guest(struct vm *vm, struct soak_random *random, unsigned iteration)
{
    switch (soak_random(random, 9)) {
    case 0:
        vm_init(vm, soak_chance(random, 50) ? "hello-v1" : "hello-v2");
        vm->text = "Hello from a unikernel.\n";
        break;
    case 1:
        vm_init(vm, "exit-code-v2");
        vm->exit_code = (int)(iteration & 255);
        vm_argument(vm, "%d", vm->exit_code);
        break;
    case 2:
        vm_init(vm, "crash-v2");
        vm->crashes = true;
        vm_argument(vm, "%s", soak_chance(random, 50) ? "ud2" : "triple");
        break;
    case 3:
        vm_init(vm, "cat-v2");
        vm_with_input(vm);
        break;
    case 4:
        vm_init(vm, "smp-v2");
        vm->exit_code = 40;
        vm_argument(vm, "exit-from");
        vm_argument(vm, "0");
        break;
    case 5:
        vm_init(vm, "storm-v2");
        vm_argument(vm, "1");
        vm_argument(vm, "%u", iteration);
        vm->text = "storm: ";
        break;
    case 6:
        vm_init(vm, "prompt-v2");
        vm->endless = true;
        vm_argument(vm, "%s", soak_chance(random, 50) ? "spin" : "halt");
        break;
    case 7:
        vm_init(vm, "hlt-forever-v2");
        vm->endless = true;
        break;
    default:
        vm_init(vm, "spin-forever-v2");
        vm->endless = true;
        break;
    }
}

static void choose_parameters(struct vm *vm, struct soak_random *random, unsigned iteration,
                              const char *directory)
{
    vm->params.cpu_count = 1 + (unsigned)soak_random(random, 4);
    if (soak_chance(random, 30))
        vm_with_files(vm, directory, iteration);
    if (soak_chance(random, 15) && !strstr(vm->path, "-v1"))
        vm->params.net.kind = UHYVE_NET_USER;
    if (soak_chance(random, 30)) {
        vm->params.isolation = UHYVE_ISOLATION_NORMAL;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        vm->params.filter_calls = soak_chance(random, 50);
#endif
    }
    if (soak_chance(random, 15)) {
        vm->params.profile = UHYVE_PROFILE_FOLDED;
        vm->params.profile_fd = vm->log;
    }
    if (soak_chance(random, 15)) {
        vm->params.trace = "";
        vm->params.trace_fd = vm->log;
    }
    if (soak_chance(random, 50)) {
        vm->params.gdb = true;
        snprintf(vm->socket, sizeof vm->socket, "%.200s/gdb-%u", directory, iteration);
        if (soak_chance(random, 50))
            vm->params.gdb_socket = vm->socket;
    }
}

static enum act choose_act(const struct vm *vm, struct soak_random *random, unsigned script)
{
    for (;;) {
        enum act act = (enum act)soak_random(random, ACTS);
        bool fits = true;
        if (act >= ACT_ATTACH)
            fits = vm->params.gdb;
        else if (act == ACT_INPUT || act == ACT_INPUT_END)
            fits = vm->input >= 0 && script == 0;
        else if (act == ACT_FREEZE || act == ACT_STATISTICS)
            fits = script == 0;
        else if (act == ACT_KILL || act == ACT_STOP || act == ACT_STOP_HANDLER)
            fits = soak_chance(random, 15); /* after these there is little to see */
        if (fits)
            return act;
    }
}

void plan_make(struct plan *plan, struct vm *vm, uint64_t seed, unsigned iteration,
               const char *directory)
{
    struct soak_random random;

    memset(plan, 0, sizeof *plan);
    plan->seed = seed;
    plan->iteration = iteration;
    soak_random_start(&random, seed, iteration);
    choose_guest(vm, &random, iteration);
    choose_parameters(vm, &random, iteration, directory);
    for (unsigned i = 0; i < ACTORS; i++) {
        struct script *script = &plan->script[i];
        script->count = (unsigned)soak_random(&random, ACTS_MAX + 1);
        for (unsigned j = 0; j < script->count; j++) {
            script->step[j].act = choose_act(vm, &random, i);
            script->step[j].wait_us = (unsigned)soak_random(
                &random, UINT64_C(8) << soak_random(&random, 12));
        }
    }
}

void plan_describe(const struct plan *plan, const struct vm *vm, char *text, size_t size)
{
    size_t at = (size_t)snprintf(
        text, size, "SEED=%llu ITERATION=%u: %s, %u CPUs%s%s%s%s%s%s;",
        (unsigned long long)plan->seed, plan->iteration, strrchr(vm->path, '/') + 1,
        vm->params.cpu_count, vm->params.gdb ? ", debugger" : "",
        vm->params.net.kind ? ", network" : "", vm->params.file_mapping_count ? ", files" : "",
        vm->params.isolation ? ", isolated" : "", vm->params.profile ? ", profile" : "",
        vm->params.trace ? ", trace" : "");

    for (unsigned i = 0; i < ACTORS; i++) {
        for (unsigned j = 0; j < plan->script[i].count && at < size; j++)
            at += (size_t)snprintf(text + at, size - at, " %u us %s,",
                                   plan->script[i].step[j].wait_us,
                                   act_names[plan->script[i].step[j].act]);
        if (at < size)
            at += (size_t)snprintf(text + at, size - at, " stop;");
    }
}
