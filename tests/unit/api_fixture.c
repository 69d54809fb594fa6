#include "api_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "elf_builder.h"

static enum uhyve_accel accelerator(void)
{
    const char *name = getenv("ACCELERATOR");
    if (!name)
        return UHYVE_ACCEL_AUTO;
    return strcmp(name, "direct") == 0 ? UHYVE_ACCEL_DIRECT : UHYVE_ACCEL_KVM;
}

/* Why no guest can be run here, or NULL. */
static const char *obstacle(void)
{
    static _Thread_local struct uhyve_error error;
    if (!getenv("GUESTS"))
        return "GUESTS does not name the directory of the guests";
    /* The guests of these tests need neither SSE nor XSAVE: a degraded accelerator will do. */
    int err = uhyve_probe(accelerator(), &error);
    return err && err != -EOPNOTSUPP ? error.message : NULL;
}

int api_run_tests(const struct CMUnitTest *tests, size_t count)
{
    const char *reason = obstacle();
    /* What is behind the macro cmocka_run_group_tests, which only takes whole arrays. */
    if (!reason)
        return _cmocka_run_group_tests("api", tests, count, NULL, NULL);
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++)
        printf("ok %zu - %s # SKIP %s\n", i + 1, tests[i].name, reason);
    return 0;
}

static void init(struct api_vm *api)
{
    memset(api, 0, sizeof *api);
    api->image = -1;
    api->out = memfd_create("out", MFD_CLOEXEC);
    api->log = memfd_create("log", MFD_CLOEXEC);
    uhyve_params_init(&api->params);
    api->params.image = api->path;
    api->params.accel = accelerator();
    api->params.memory_size = 32 * UHYVE_MIB;
    api->params.stdout_fd = api->out;
    api->params.log_fd = api->log;
}

void api_init(struct api_vm *api, const char *name, const char *const *argument)
{
    init(api);
    snprintf(api->path, sizeof api->path, "%s/%s-gpr", getenv("GUESTS"), name);
    api->params.app_args = argument;
    api->params.app_arg_count = argument ? 1 : 0;
}

void api_init_code(struct api_vm *api, const void *code, size_t size)
{
    static struct elf_builder builder;
    init(api);
    builder_init(&builder, ET_DYN, 2);
    memcpy(builder_kernel(&builder, BUILDER_ENTRY), code, size);
    api->image = memfd_create("kernel", MFD_CLOEXEC);
    assert_int_equal(write(api->image, builder.file, builder.size), builder.size);
    snprintf(api->path, sizeof api->path, "/proc/self/fd/%d", api->image);
}

void api_create(struct api_vm *api)
{
    if (uhyve_create(&api->params, &api->vm, &api->error) != 0)
        fail_msg("%s", api->error.message);
    assert_non_null(api->vm);
}

void api_run(struct api_vm *api)
{
    if (!api->vm)
        api_create(api);
    if (uhyve_run(api->vm, &api->result, &api->error) != 0)
        fail_msg("%s", api->error.message);
}

void api_finish(struct api_vm *api)
{
    uhyve_destroy(api->vm);
    close(api->out);
    close(api->log);
    if (api->image >= 0)
        close(api->image);
    api->vm = NULL;
}

const char *api_text(int fd)
{
    static char texts[4][64 * 1024];
    static unsigned next;
    char *text = texts[next++ % 4];
    ssize_t size = pread(fd, text, sizeof *texts - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

double api_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static unsigned count_entries(const char *directory)
{
    unsigned count = 0;
    DIR *entries = opendir(directory);
    assert_non_null(entries);
    while (readdir(entries))
        count++;
    closedir(entries);
    return count;
}

static unsigned count_lines(const char *path)
{
    unsigned count = 0;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    for (int c; (c = getc(file)) != EOF;)
        count += c == '\n';
    fclose(file);
    return count;
}

static uint64_t address_space(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%llu", &pages), 1);
    fclose(file);
    return pages * (uint64_t)getpagesize();
}

struct api_resources api_resources(void)
{
    return (struct api_resources){
        .descriptors = count_entries("/proc/self/fd"),
        .threads = count_entries("/proc/self/task"),
        .mappings = count_lines("/proc/self/maps"),
        .address_space = address_space(),
    };
}
