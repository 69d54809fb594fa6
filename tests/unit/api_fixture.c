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
#include "unit.h"

const char *api_guest(const char *name)
{
    static char path[512];
    const char *directory = getenv("GUESTS");

    if (!directory) {
        print_message("# skipped: GUESTS does not name the directory of the guests\n");
        return NULL;
    }
    snprintf(path, sizeof path, "%s/%s-gpr", directory, name);
    if (access(path, R_OK) != 0) {
        print_message("# skipped: %s: %s\n", path, strerror(errno));
        return NULL;
    }
    return api_usable() ? path : NULL;
}

bool api_usable(void)
{
    struct uhyve_error error;
    /* The guests of these tests need neither SSE nor XSAVE: a degraded accelerator will do. */
    int err = uhyve_probe(UHYVE_ACCEL_AUTO, &error);
    if (!err || err == -EOPNOTSUPP)
        return true;
    print_message("# skipped: %s\n", error.message);
    return false;
}

static void init(struct api_vm *api)
{
    memset(api, 0, sizeof *api);
    api->image = -1;
    api->out = memfd_create("out", MFD_CLOEXEC);
    api->log = memfd_create("log", MFD_CLOEXEC);
    uhyve_params_init(&api->params);
    api->params.image = api->path;
    api->params.memory_size = 32 * UHYVE_MIB;
    api->params.stdout_fd = api->out;
    api->params.log_fd = api->log;
}

void api_init(struct api_vm *api, const char *name, const char *const *argument)
{
    init(api);
    snprintf(api->path, sizeof api->path, "%s", api_guest(name));
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

struct api_resources api_resources(void)
{
    return (struct api_resources){
        .descriptors = count_entries("/proc/self/fd"),
        .threads = count_entries("/proc/self/task"),
        .mappings = count_lines("/proc/self/maps"),
    };
}
