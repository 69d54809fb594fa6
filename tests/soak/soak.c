#include "soak.h"

#include <ctype.h>
#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static unsigned results, failures;

void soak_random_start(struct soak_random *random, uint64_t seed, uint64_t stream)
{
    /* A round of splitmix64, so that neighbours have nothing in common. */
    uint64_t z = seed + (stream + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    random->state = z ? z : 1;
}

uint64_t soak_random(struct soak_random *random, uint64_t limit)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return (random->state * UINT64_C(0x2545f4914f6cdd1d) >> 16) % limit;
}

bool soak_chance(struct soak_random *random, unsigned percent)
{
    return soak_random(random, 100) < percent;
}

uint64_t soak_seed(void)
{
    const char *given = getenv("SEED");
    struct timespec now;

    if (given && *given)
        return strtoull(given, NULL, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec * 1000003 + (uint64_t)now.tv_nsec) % 1000000000;
}

double soak_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void soak_sleep_us(uint64_t microseconds)
{
    nanosleep(
        &(struct timespec){(time_t)(microseconds / 1000000), (long)(microseconds % 1000000) * 1000},
        NULL);
}

void soak_result(bool good, const char *name, const char *why)
{
    pthread_mutex_lock(&output);
    printf("%sok %u - %s\n", good ? "" : "not ", ++results, name);
    if (!good) {
        failures++;
        printf("#   ");
        for (const char *at = why ? why : ""; *at; at++)
            printf(*at == '\n' && at[1] ? "\n#   " : "%c", *at == '\n' ? ' ' : *at);
        printf("\n");
    }
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

void soak_skip(const char *name, const char *why)
{
    pthread_mutex_lock(&output);
    printf("ok %u - %s # SKIP %s\n", ++results, name, why);
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

void soak_note(const char *format, ...)
{
    va_list arguments;

    pthread_mutex_lock(&output);
    printf("# ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
    pthread_mutex_unlock(&output);
}

int soak_finish(void)
{
    printf("1..%u\n", results);
    return failures || !results ? 1 : 0;
}

static unsigned count_entries(const char *directory)
{
    unsigned count = 0;
    DIR *entries = opendir(directory);

    for (const struct dirent *entry; entries && (entry = readdir(entries));)
        count += entry->d_name[0] != '.';
    if (entries)
        closedir(entries);
    return count;
}

static unsigned count_lines(const char *path)
{
    unsigned count = 0;
    FILE *file = fopen(path, "re");

    for (int c; file && (c = getc(file)) != EOF;)
        count += c == '\n';
    if (file)
        fclose(file);
    return count;
}

struct soak_resources soak_resources(void)
{
    unsigned long long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file && fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return (struct soak_resources){
        .descriptors = count_entries("/proc/self/fd"),
        .threads = count_entries("/proc/self/task"),
        .mappings = count_lines("/proc/self/maps"),
        .children = soak_children(getpid(), NULL, NULL, 0),
        .resident = resident * (uint64_t)getpagesize(),
    };
}

static bool is_child(const char *entry, int parent, const char *name)
{
    char path[300], line[512];
    int found = 0;

    snprintf(path, sizeof path, "/proc/%s/stat", entry);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    char *got = fgets(line, sizeof line, file);
    fclose(file);
    /* PID (NAME) STATE PARENT: the name may hold anything. */
    char *open = got ? strchr(line, '(') : NULL, *close = got ? strrchr(line, ')') : NULL;
    if (!open || !close || sscanf(close + 1, " %*c %d", &found) != 1)
        return false;
    return found == parent && (!name || strncmp(open + 1, name, strlen(name)) == 0);
}

unsigned soak_children(int parent, const char *name, int *pids, unsigned limit)
{
    unsigned count = 0;
    DIR *entries = opendir("/proc");

    if (!entries)
        return 0;
    for (const struct dirent *entry; (entry = readdir(entries));) {
        if (!isdigit((unsigned char)entry->d_name[0]) || !is_child(entry->d_name, parent, name))
            continue;
        if (count < limit)
            pids[count] = atoi(entry->d_name);
        count++;
    }
    closedir(entries);
    return count;
}
