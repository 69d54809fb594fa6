/*
 * Fuzz target: what a kernel is told at its start, from odd parameters: the command line, which a
 * shell's word splitting must give back, and the device tree, which must be one, hold what was
 * asked for and stay within its memory.
 *
 * Input: number of CPUs (2 bytes), frequency (4), RAM (16), archive (16), how much too small the
 * memory for the tree is (2), number of kernel arguments, variables and mounts (3), then strings,
 * each with its terminator.
 */
#include <libfdt.h>

#include "boot/bootargs.h"
#include "boot/fdt.h"
#include "fuzz.h"
#include "input.h"

#define WORDS_MAX 256

struct words {
    const char *items[WORDS_MAX];
    size_t count;
};

/* Word splitting by other means: the next word of `line`, without its quotes, in `word`. */
static const char *split(const char *line, char *word)
{
    bool quoted = false;

    while (*line == ' ')
        line++;
    if (!*line)
        return NULL;
    for (; *line && (quoted || *line != ' '); line++) {
        if (*line == '\'')
            quoted = !quoted;
        else if (!quoted && *line == '\\' && line[1])
            *word++ = *++line;
        else if (!quoted && *line == '"') {
            for (line++; *line && *line != '"'; line++)
                *word++ = *line;
            require(*line == '"');
        } else
            *word++ = *line;
    }
    require(!quoted);
    *word = '\0';
    return line;
}

static void check_word(const char **line, char *word, const char *prefix, const char *expected)
{
    *line = split(*line, word);
    require(*line && strncmp(word, prefix, strlen(prefix)) == 0);
    require(strcmp(word + strlen(prefix), expected) == 0);
}

static void check_bootargs(const struct uhyve_params *params, const struct text *text)
{
    char *word = malloc(text->size + 1);
    const char *line = text->data ? text->data : "";

    require(word != NULL);
    for (size_t i = 0; i < params->kernel_arg_count; i++)
        check_word(&line, word, "", params->kernel_args[i]);
    for (size_t i = 0; i < params->env_count; i++)
        check_word(&line, word, "env=", params->env[i]);
    if (params->app_arg_count)
        check_word(&line, word, "", "--");
    for (size_t i = 0; i < params->app_arg_count; i++)
        check_word(&line, word, "", params->app_args[i]);
    require(!split(line, word));
    free(word);
}

static void check_tree(const void *tree, uint64_t capacity, const struct fdt_content *content)
{
    int size, cpus = fdt_path_offset(tree, "/cpus"), count = 0, node;

    require(fdt_check_full(tree, capacity) == 0 && fdt_totalsize(tree) <= capacity);
    int chosen = fdt_path_offset(tree, "/chosen");
    const char *bootargs = fdt_getprop(tree, chosen, "bootargs", &size);
    require(bootargs && (size_t)size == strlen(content->bootargs) + 1);
    require(strcmp(bootargs, content->bootargs) == 0);
    fdt_for_each_subnode(node, tree, cpus) count++;
    require((unsigned)count == content->cpu_count);
    require((fdt_path_offset(tree, "/uhyve,mounts") >= 0) == (content->mounts_size > 0));
    require((fdt_path_offset(tree, "/hermit,tsc") >= 0) == (content->tsc_khz > 0));
    require(!!fdt_getprop(tree, chosen, "linux,initrd-start", NULL) == (content->archive_size > 0));
}

static void check_write(const struct fdt_content *content, unsigned missing)
{
    uint64_t capacity = fdt_size_bound(content->cpu_count, strlen(content->bootargs),
                                       content->mounts_size);
    bool enough = missing == 0;

    capacity -= missing < capacity ? missing : capacity;
    uint8_t *tree = malloc(capacity ? capacity : 1); /* for the address sanitizer */
    require(tree != NULL);
    int err = fdt_write(tree, capacity, content);
    require(!err || !enough);
    if (!err)
        check_tree(tree, capacity, content);
    free(tree);
}

/* `count` strings of the input. */
static void take_words(struct words *words, struct input *input, size_t count, bool variables)
{
    while (words->count < count && input->size) {
        const char *word = (const char *)input->bytes;
        size_t size = strnlen(word, input->size - 1) + 1; /* the last one's terminator is ours */
        if (!variables || (strchr(word, '=') && word[0] != '='))
            words->items[words->count++] = word;
        else
            count--;
        input->bytes += size;
        input->size -= size;
    }
}

static void run(struct input *input)
{
    static struct words kernel, env, app, mounts;
    struct fdt_content content = {.cpu_count = 1 + (unsigned)take(input, 2) % UHYVE_CPUS_MAX};
    struct uhyve_params params = {0};
    struct text line = {0};

    content.tsc_khz = (uint32_t)take(input, 4);
    content.ram_base = take(input, 8);
    content.ram_size = take(input, 8);
    content.archive = take(input, 8);
    content.archive_size = take(input, 8);
    unsigned missing = (unsigned)take(input, 2);
    kernel.count = env.count = app.count = mounts.count = 0;
    size_t kernel_count = take(input, 1), env_count = take(input, 1), mount_count = take(input, 1);
    take_words(&kernel, input, kernel_count, false);
    take_words(&env, input, env_count, true);
    content.mounts = (const char *)input->bytes;
    take_words(&mounts, input, mount_count, false);
    content.mounts_size = mounts.count ? (size_t)((const char *)input->bytes - content.mounts) : 0;
    take_words(&app, input, WORDS_MAX, false);
    params.kernel_args = kernel.items;
    params.kernel_arg_count = kernel.count;
    params.env = env.items;
    params.env_count = env.count;
    params.app_args = app.items;
    params.app_arg_count = app.count;
    bootargs_format(&line, &params);
    require(!line.failed);
    check_bootargs(&params, &line);
    content.bootargs = line.data ? line.data : "";
    check_write(&content, missing);
    text_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    /* Terminated, so that the last string is. */
    uint8_t *copy = calloc(1, size + 1);
    struct input input = {copy, size};

    require(copy != NULL);
    if (size)
        memcpy(copy, bytes, size);
    run(&input);
    free(copy);
    return 0;
}
