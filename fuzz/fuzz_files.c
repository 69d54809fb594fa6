/*
 * Fuzz target: a guest that works with files (fs/files.h): names it may and may not use,
 * directories in the tree, files in memory, temporary files, within small limits. What it reads
 * must be what it may read, listings and attributes must be well-formed, and everything must be
 * gone afterwards.
 *
 * Input: steps of three bytes: what to do, which name or descriptor, and a number.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/files.h"
#include "fuzz.h"
#include "input.h"

#define STEPS_MAX  200
#define TEMP_LIMIT 65536

static const char *const names[] = {
    "/d",     "/d/f",      "/d/sub",  "/d/sub/f",     "/d/link",
    "/d/out", "/d/sub/up", "/d/new",  "/bytes",       "/v/bytes",
    "/v",     "/v/new",    "/t/a",    "/t/b",         "/t",
    "/t/a/b", "/",         "..",      "/d/../secret", "/d/sub/../../secret",
    "/ro",    "/ro/f",     "/ro/new", "/t/b/c",
};

static char top[64];

static void put(int base, const char *path, const char *content)
{
    int fd = openat(base, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
    close(fd);
}

static void remove_top(void)
{
    static const char *const paths[] = {"d/sub/f", "d/sub/up", "d/f",   "d/link",
                                        "d/out",   "d/new",    "secret"};
    static const char *const directories[] = {"d/sub", "d/new", "d/link", "d/out",
                                              "d/f",   "d",     "temp"};
    int base = open(top, O_PATH | O_CLOEXEC);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        unlinkat(base, paths[i], 0);
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        unlinkat(base, directories[i], AT_REMOVEDIR);
    close(base);
    rmdir(top);
}

/* What the guest may have changed is made anew. */
static int prepare(void)
{
    static int base = -1;
    if (base < 0) {
        strcpy(top, "/tmp/fuzz_files.XXXXXX");
        require(mkdtemp(top) != NULL);
        base = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        require(base >= 0 && mkdirat(base, "temp", 0700) == 0 && mkdirat(base, "d", 0700) == 0 &&
                mkdirat(base, "d/sub", 0700) == 0);
        atexit(remove_top);
    }
    static const char *const gone[] = {"d/new", "d/link", "d/out", "d/sub/up", "d/f", "d/sub/f"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (unlinkat(base, gone[i], 0) != 0)
            unlinkat(base, gone[i], AT_REMOVEDIR);
    put(base, "d/f", "inside");
    put(base, "d/sub/f", "inside");
    put(base, "secret", "SECRET");
    require(symlinkat("sub/f", base, "d/link") == 0);
    require(symlinkat("../secret", base, "d/out") == 0);
    require(symlinkat("../f", base, "d/sub/up") == 0);
    return base;
}

static void check_entries(const uint8_t *bytes, int64_t size)
{
    for (int64_t at = 0; at < size;) {
        uint16_t length;
        require(size - at >= 24);
        memcpy(&length, bytes + at + 16, sizeof length);
        require(length >= 24 && length % 8 == 0 && length <= size - at);
        const char *name = (const char *)bytes + at + 19;
        size_t name_size = strnlen(name, length - 19u);
        require(name_size > 0 && name_size < length - 19u && !strchr(name, '/'));
        at += length;
    }
}

static void check_attr(const struct hermit_attr *attr)
{
    require(S_ISREG(attr->mode) || S_ISDIR(attr->mode) || S_ISLNK(attr->mode));
    require(attr->size >= 0 && attr->blocks >= 0 && attr->nlink < 100);
    require(!attr->padding0 && !attr->padding1 && !attr->padding2 && !attr->padding3);
}

static void step(struct files *files, const uint8_t *input)
{
    const char *name = names[input[1] % (sizeof names / sizeof *names)];
    int32_t fd = (int32_t)(input[1] % 40) - 2;
    int64_t number = (int64_t)input[2] * input[2] * 3 - 10;
    uint8_t bytes[1024];
    struct iovec iov[2] = {{bytes, input[2]}, {bytes + 256, input[1]}};
    struct hermit_attr attr;
    int64_t result = 0;

    memset(bytes, 'x', sizeof bytes);
    switch (input[0] % 10) {
    case 0:
    case 1:
        files_open(files, name, input[2] << 1 | input[0] >> 4 | (input[0] & 128) << 2, 0600);
        break;
    case 2:
        files_close(files, fd);
        break;
    case 3:
        result = files_read(files, fd, iov, 2);
        require(result <= input[1] + input[2]);
        require(!memmem(bytes, sizeof bytes, "SECRET", 6));
        break;
    case 4:
        result = files_write(files, fd, iov, 2);
        require(result <= input[1] + input[2]);
        break;
    case 5:
        files_seek(files, fd, number, input[0] / 10 % 6);
        break;
    case 6:
        result = files_list(files, fd, bytes, (uint64_t)input[2] * 4);
        require(result <= input[2] * 4);
        check_entries(bytes, result);
        break;
    case 7:
        if (files_stat(files, name, input[0] & 1, &attr) == 0)
            check_attr(&attr);
        if (files_stat_fd(files, fd, &attr) == 0)
            check_attr(&attr);
        break;
    case 8:
        result = files_mkdir(files, name);
        break;
    case 9:
        result = files_unlink(files, name);
        break;
    }
    require(result > -134);
}

static void check_space(int base)
{
    int fd = openat(base, "temp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fdopendir(fd);
    require(stream != NULL);
    for (const struct dirent *entry; (entry = readdir(stream));)
        require(entry->d_name[0] == '.');
    closedir(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    char host[96], temp[96];
    int base = prepare();
    snprintf(host, sizeof host, "%s/d", top);
    snprintf(temp, sizeof temp, "%s/temp", top);
    const struct uhyve_file_mapping mappings[] = {{host, "/d", false}, {host, "/ro", true}};
    struct uhyve_params params;
    const struct log log = {0};
    struct files *files;

    uhyve_params_init(&params);
    params.file_mappings = mappings;
    params.file_mapping_count = 2;
    params.tempdir = temp;
    params.limit_files = 16;
    params.limit_temp = TEMP_LIMIT;
    const struct files_options options = {&params, true, -1, &log};
    require(files_create(&files, &options, NULL) == 0);
    require(filemap_add_bytes(files_map(files), "/bytes", "in memory", 9, NULL) == 0);
    require(filemap_add_bytes(files_map(files), "/v/bytes", "in memory", 9, NULL) == 0);
    for (size_t i = 0; i + 3 <= size && i < 3 * STEPS_MAX; i += 3)
        step(files, input + i);
    files_destroy(files);
    check_space(base);
    return 0;
}
