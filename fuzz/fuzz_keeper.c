/*
 * Fuzz target: the process that opens files for the VMM (fs/keeper.h), asked by a VMM that a guest
 * has taken over. Whatever it is asked, it opens, makes and removes nothing outside of what was
 * mapped for writing.
 *
 * Input: requests: operation and root (1 byte), flags (2), length of the path (1), path; one that
 * is not to be well-formed has bit 7 of the first byte set: then follows its length (1) and the
 * bytes.
 */
#include "fs/keeper.c" /* its insides are what is of interest */

#include <stdio.h>
#include <sys/wait.h>

#include "fuzz.h"
#include "input.h"

#define REQUESTS_MAX 40

static char top[64];
static int base = -1;
static struct host_root *roots[2];

static void put(const char *path, const char *content)
{
    int fd = openat(base, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
    close(fd);
}

static void remove_top(void)
{
    for (size_t i = 0; i < 2; i++)
        host_root_release(roots[i]);
    if (fork() == 0)
        execl("/bin/rm", "rm", "-rf", top, NULL);
    wait(NULL);
}

static void open_root(const char *name, bool read_only, struct host_root **root)
{
    char path[96];
    struct uhyve_error error;

    snprintf(path, sizeof path, "%s/%s", top, name);
    const struct uhyve_file_mapping mapping = {path, "/x", read_only};
    require(host_root_open(&mapping, true, root, &error) == 0);
}

static void prepare(void)
{
    if (base < 0) {
        strcpy(top, "/tmp/fuzz_keeper.XXXXXX");
        require(mkdtemp(top) != NULL);
        base = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        require(mkdirat(base, "a", 0700) == 0 && mkdirat(base, "b", 0700) == 0);
        require(mkdirat(base, "a/s", 0700) == 0 && symlinkat("../b/f", base, "a/out") == 0);
        require(symlinkat("..", base, "a/up") == 0 && symlinkat("s", base, "a/in") == 0);
        put("b/f", "kept");
        put("outside", "kept");
        open_root("a", false, &roots[0]);
        open_root("b", true, &roots[1]);
        atexit(remove_top);
    }
    /* What requests may have made of it. */
    static const char *const names[] = {"a/f", "a/s/f", "a/s"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (unlinkat(base, names[i], 0) != 0)
            unlinkat(base, names[i], AT_REMOVEDIR);
    mkdirat(base, "a/s", 0700);
    put("a/f", "inside");
    put("a/s/f", "inside");
}

static size_t make_request(struct input *input, struct request *request)
{
    uint64_t what = take(input, 1);

    memset(request, 0, sizeof *request);
    if (what & 0x80) {
        struct input bytes = take_bytes(input, take(input, 1));
        memcpy(request, bytes.bytes, bytes.size);
        return bytes.size;
    }
    request->operation = what & 7;
    request->root = what >> 3 & 3;
    request->flags = (int32_t)take(input, 2);
    request->mode = 0600;
    struct input path = take_bytes(input, take(input, 1));
    if (path.size)
        memcpy(request->rest, path.bytes, path.size);
    return offsetof(struct request, rest) + path.size + 1;
}

/* A descriptor that came must be of something beneath a root, and writable only if that is. */
static void check_opened(int fd)
{
    char link[40], path[256], *name;
    size_t size = strlen(top);

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    require(length > 0);
    path[length] = '\0';
    require(strncmp(path, top, size) == 0 && path[size] == '/');
    name = path + size + 1;
    require((name[0] == 'a' || name[0] == 'b') && (!name[1] || name[1] == '/' || name[1] == ' '));
    require(name[0] == 'a' || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
    close(fd);
}

static void check_outside(void)
{
    char content[8];

    for (unsigned i = 0; i < 2; i++) {
        int fd = openat(base, i ? "outside" : "b/f", O_RDONLY | O_CLOEXEC);
        require(fd >= 0 && read(fd, content, sizeof content) == 4);
        require(memcmp(content, "kept", 4) == 0);
        close(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input input = {bytes, size};
    struct request request;
    int sockets[2];
    unsigned asked = 0;

    prepare();
    const struct service service = {.roots = roots, .count = 2};
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    while (asked < REQUESTS_MAX && input.size) {
        size_t length = make_request(&input, &request);
        /* Nothing at all would be the end. */
        asked += length && send(sockets[0], &request, length, MSG_DONTWAIT) > 0;
    }
    shutdown(sockets[0], SHUT_WR);
    serve(sockets[1], (void *)(uintptr_t)&service);
    struct helper helper = {.socket = sockets[0]};
    for (; asked; asked--) {
        int result = helper_receive(&helper);
        require(result > -4096);
        if (result > 0)
            check_opened(result);
    }
    close(sockets[0]);
    close(sockets[1]);
    check_outside();
    return 0;
}
