/*
 * Runs a fuzz target over files instead of generated inputs, where there is no libFuzzer: every
 * input that was once worth keeping is a test of the ordinary build.
 *
 *     fuzz_NAME [FILE | DIRECTORY]...
 *
 * Prints TAP, one case for each file. A target that breaks ends the program; the missing results
 * tell the rest.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

/* Paths of the inputs; owned by main. */
struct inputs {
    char **paths;
    size_t count;
};

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "fuzz driver: cannot %s '%s': %s\n", what, path, strerror(errno));
    exit(1);
}

/* Takes ownership of path. */
static void inputs_add(struct inputs *inputs, char *path)
{
    char **paths = realloc(inputs->paths, (inputs->count + 1) * sizeof(*paths));

    if (!path || !paths)
        fail("remember", "an input");
    inputs->paths = paths;
    inputs->paths[inputs->count++] = path;
}

static void inputs_add_directory(struct inputs *inputs, const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, alphasort);

    if (count < 0)
        fail("read directory", directory);
    for (int i = 0; i < count; i++) {
        char *path = NULL;

        if (entries[i]->d_name[0] != '.') {
            if (asprintf(&path, "%s/%s", directory, entries[i]->d_name) < 0)
                path = NULL;
            inputs_add(inputs, path);
        }
        free(entries[i]);
    }
    free(entries);
}

static void run_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t *data;
    size_t size;

    if (fd < 0 || fstat(fd, &st) != 0)
        fail("open", path);
    size = (size_t)st.st_size;
    /* Exactly as large as the input, so that AddressSanitizer sees a read past its end. */
    data = malloc(size ? size : 1);
    if (!data || read(fd, data, size) != (ssize_t)size)
        fail("read", path);
    close(fd);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    struct inputs inputs = {0};

    for (int i = 1; i < argc; i++) {
        struct stat st;

        if (stat(argv[i], &st) != 0)
            fail("find", argv[i]);
        if (S_ISDIR(st.st_mode))
            inputs_add_directory(&inputs, argv[i]);
        else
            inputs_add(&inputs, strdup(argv[i]));
    }
    printf("1..%zu\n", inputs.count);
    fflush(stdout);
    for (size_t i = 0; i < inputs.count; i++) {
        const char *name = strrchr(inputs.paths[i], '/');

        run_file(inputs.paths[i]);
        printf("ok %zu - %s\n", i + 1, name ? name + 1 : inputs.paths[i]);
        fflush(stdout);
        free(inputs.paths[i]);
    }
    free(inputs.paths);
    return 0;
}
