/*
 * What a guest of guests/ finds in its library, for the host: with it, guests/bench-compute.c is an
 * ordinary program. Its arguments are the application arguments. It has one CPU, or as many as its
 * second argument says: a thread for each.
 */
#include <cpuid.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/args.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/text.h"
#include "lib/vector.h"

static char command_line[4096];
static size_t command_size;

void args_load(void)
{
    FILE *file = fopen("/proc/self/cmdline", "re");
    if (!file)
        return;
    command_size = fread(command_line, 1, sizeof command_line - 1, file);
    fclose(file);
}

const char *args_app(size_t index)
{
    const char *at = command_line, *end = command_line + command_size;
    for (size_t i = 0; i <= index && at < end; i++)
        at += strlen(at) + 1;
    return at < end ? at : "";
}

void print(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
}

bool text_equal(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

uint32_t smp_cpu_count(void)
{
    int count = atoi(args_app(1));
    return count > 1 && count <= SMP_MAX_CPUS ? (uint32_t)count : 1;
}

struct job {
    void (*function)(uint32_t cpu);
    uint32_t cpu;
    pthread_t thread;
};

static void *run_job(void *context)
{
    const struct job *job = context;
    job->function(job->cpu);
    return NULL;
}

void smp_run(void (*function)(uint32_t cpu))
{
    static struct job jobs[SMP_MAX_CPUS];
    uint32_t count = smp_cpu_count();

    for (uint32_t cpu = 1; cpu < count; cpu++) {
        jobs[cpu] = (struct job){.function = function, .cpu = cpu};
        if (pthread_create(&jobs[cpu].thread, NULL, run_job, &jobs[cpu]) != 0) {
            fprintf(stderr, "bench_native: cannot start a thread\n");
            exit(1);
        }
    }
    function(0);
    for (uint32_t cpu = 1; cpu < count; cpu++)
        pthread_join(jobs[cpu].thread, NULL);
}

bool vector_enable(enum vector_level level)
{
    return level == VECTOR_SSE2 || (level == VECTOR_AVX2 && __builtin_cpu_supports("avx2")) ||
           (level == VECTOR_AVX512 && __builtin_cpu_supports("avx512f"));
}
