/*
 * Runs one image in two virtual machines of one process, at the same time:
 *
 *     cc two-vms.c -o two-vms $(pkg-config --cflags --libs uhyve) -pthread
 *     ./two-vms IMAGE
 */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <uhyve.h>

static void print_message(void *context, enum uhyve_level level, const char *text)
{
    fprintf(stderr, "VM %s: %s\n", (const char *)context, text);
}

struct job {
    char *name;
    const char *image;
    int status;
};

static void *run(void *argument)
{
    struct job *job = argument;
    struct uhyve_params params;
    struct uhyve_error error;
    struct uhyve_result result;
    struct uhyve_vm *vm;

    uhyve_params_init(&params);
    params.image = job->image;
    params.memory_size = 64 * UHYVE_MIB;
    params.stdout_fd = STDOUT_FILENO;
    params.log_fd = STDERR_FILENO;
    params.message = print_message;
    params.message_context = job->name;

    if (uhyve_create(&params, &vm, &error) != 0) {
        print_message(job->name, UHYVE_LEVEL_ERROR, error.message);
        job->status = error.status;
        return NULL;
    }
    if (uhyve_run(vm, &result, &error) != 0) {
        print_message(job->name, UHYVE_LEVEL_ERROR, error.message);
        job->status = error.status;
    } else if (result.outcome == UHYVE_EXITED) {
        job->status = result.exit_code & 0xff;
    } else {
        job->status = UHYVE_STATUS_CRASHED;
        fprintf(stderr, "VM %s: %s\n", job->name, result.report ? result.report : "stopped");
    }
    uhyve_destroy(vm);
    return NULL;
}

int main(int argc, char **argv)
{
    struct job jobs[] = {{"A", argv[1], 0}, {"B", argv[1], 0}};
    pthread_t threads[2];

    if (argc != 2) {
        fprintf(stderr, "usage: two-vms IMAGE\n");
        return UHYVE_STATUS_USAGE;
    }
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run, &jobs[i]) != 0)
            return UHYVE_STATUS_FAILED;
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        printf("VM %s: status %d\n", jobs[i].name, jobs[i].status);
    }
    return 0;
}
