#include "lib/args.h"

#include "lib/boot.h"
#include "lib/build.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

struct args args;

/* Home of all strings: the device tree itself must stay as it is. */
static char strings[128 * 1024];

static void list_add(struct string_list *list, const char *item)
{
    if (list->count < ARGS_MAX)
        list->item[list->count++] = item;
}

/*
 * Cut the next word out of the text at *position, in place: quotes and backslashes are removed as
 * a POSIX shell does. Returns NULL at the end of the text.
 */
static char *next_word(char **position)
{
    char *read = *position;
    while (*read == ' ' || *read == '\t' || *read == '\n')
        read++;
    if (*read == '\0')
        return NULL;

    char *word = read, *write = read;
    char quote = '\0';
    for (; *read != '\0'; read++) {
        if (quote == '\0' && (*read == ' ' || *read == '\t' || *read == '\n')) {
            read++;
            break;
        }
        if (quote == '\0' && (*read == '\'' || *read == '"')) {
            quote = *read;
        } else if (*read == quote) {
            quote = '\0';
        } else if (*read == '\\' && quote != '\'' && read[1] != '\0' &&
                   (quote == '\0' || text_find("$`\"\\\n", read[1]) != NULL)) {
            *write++ = *++read;
        } else {
            *write++ = *read;
        }
    }
    *position = read;
    *write = '\0'; /* at the latest on the blank that ended the word */
    return word;
}

static void load_bootargs(const char *bootargs, size_t size)
{
    args.raw = bootargs;
    if (size > sizeof(strings)) {
        print("guest: bootargs of %zu bytes are too long\n", size);
        guest_exit(1);
    }
    memcpy(strings, bootargs, size);

    char *position = strings;
    bool after_separator = false;
    for (char *word = next_word(&position); word != NULL; word = next_word(&position)) {
        if (after_separator)
            list_add(&args.app, word);
        else if (text_equal(word, "--"))
            after_separator = true;
        else if (text_starts_with(word, "env=") && text_find(word + 4, '=') != NULL)
            list_add(&args.env, word + 4);
        else
            list_add(&args.kernel, word);
    }
}

/* The place for a string of Cmdsize, after the ones before it. */
static uint64_t place_string(size_t *used, int32_t size)
{
    if (size < 1 || (size_t)size > sizeof(strings) - *used) {
        print("guest: a string of %d bytes is too long\n", size);
        guest_exit(1);
    }
    uint64_t address = (uintptr_t)&strings[*used];
    *used += (size_t)size;
    return address;
}

static void load_cmdval(void)
{
    static struct hermit_v1_cmdsize sizes;
    static uint64_t argv[HERMIT_V1_MAX_STRINGS], envp[HERMIT_V1_MAX_STRINGS];

    hypercall_v1(HERMIT_V1_CMDSIZE, (uintptr_t)&sizes);
    if (sizes.argc < 0 || sizes.argc > HERMIT_V1_MAX_STRINGS || sizes.envc < 0 ||
        sizes.envc > HERMIT_V1_MAX_STRINGS) {
        print("guest: Cmdsize answered %d arguments, %d variables\n", sizes.argc, sizes.envc);
        guest_exit(1);
    }
    size_t used = 0;
    for (int32_t i = 0; i < sizes.argc; i++)
        argv[i] = place_string(&used, sizes.argsz[i]);
    for (int32_t i = 0; i < sizes.envc; i++)
        envp[i] = place_string(&used, sizes.envsz[i]);

    struct hermit_v1_cmdval values = {.argv = (uintptr_t)argv, .envp = (uintptr_t)envp};
    hypercall_v1(HERMIT_V1_CMDVAL, (uintptr_t)&values);

    bool after_separator = false;
    for (int32_t i = 0; i < sizes.argc; i++) {
        const char *word = (const char *)(uintptr_t)argv[i];
        if (i == 0)
            args.image = word;
        else if (after_separator)
            list_add(&args.app, word);
        else if (text_equal(word, "--"))
            after_separator = true;
        else
            list_add(&args.kernel, word);
    }
    for (int32_t i = 0; i < sizes.envc; i++)
        list_add(&args.env, (const char *)(uintptr_t)envp[i]);
}

void args_load(void)
{
    struct fdt_value bootargs;
    if (!guest_has_abi_tag)
        load_cmdval();
    else if (boot_fdt != NULL && fdt_find(boot_fdt, "/chosen", "bootargs", &bootargs))
        load_bootargs(bootargs.data, bootargs.size);
}

const char *args_app(size_t index)
{
    return index < args.app.count ? args.app.item[index] : "";
}

int64_t args_number(size_t index, int64_t otherwise)
{
    int64_t value;
    return text_to_number(args_app(index), &value) ? value : otherwise;
}
