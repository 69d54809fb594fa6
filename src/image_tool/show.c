/*
 * uhyve-image show: what is in an image, for people or as JSON.
 */
#include <errno.h>
#include <stdio.h>

#include "image/elf.h"
#include "image/hermit_image.h"
#include "image_tool/image_tool.h"
#include "util/error.h"

struct shown {
    uint64_t packed_size;
    struct hermit_image image;
    struct elf kernel;
};

/* Without characters that could drive the terminal. */
static void add_name(struct text *text, const char *name)
{
    for (; *name; name++)
        text_printf(text, "%c", (unsigned char)*name < ' ' || *name == 0x7f ? '?' : *name);
}

static void add_words(struct text *text, const char *title, const struct hermit_words *words)
{
    if (!words->count)
        return;
    text_printf(text, "%-14s", title);
    for (size_t i = 0; i < words->count; i++) {
        text_add(text, i ? " " : "");
        add_name(text, words->items[i]);
    }
    text_add(text, "\n");
}

static void add_version(struct text *text, const struct elf_version *version)
{
    if (version->known)
        text_printf(text, "Hermit %u.%u.%u", version->major, version->minor, version->patch);
    else
        text_add(text, "Hermit before 0.10");
}

static void show_people(const struct shown *shown, struct text *text)
{
    const struct hermit_config *config = &shown->image.config;
    const struct elf *kernel = &shown->kernel;
    char packed[32], unpacked[32];

    text_printf(text, "%-14s%s, %s, %s unpacked\n", "image",
                unpack_format_name(shown->image.format),
                text_format_size(packed, sizeof packed, shown->packed_size),
                text_format_size(unpacked, sizeof unpacked, shown->image.tar_size));
    text_printf(text, "%-14s", "kernel");
    add_name(text, shown->image.kernel->name);
    text_add(text, ", ");
    add_version(text, &kernel->version);
    text_printf(text, ", hypercall interface %u\n", kernel->interface);
    text_printf(text, "%-14sentry 0x%llx, %s, %s in memory\n", "",
                (unsigned long long)kernel->entry,
                kernel->relocatable ? "relocatable" : "at a fixed address",
                text_format_size(unpacked, sizeof unpacked, kernel->size));
    add_words(text, "kernel args", &config->kernel_args);
    add_words(text, "app args", &config->app_args);
    add_words(text, "variables", &config->env);
    if (config->memory)
        text_printf(text, "%-14s%s of memory\n", "requires",
                    text_format_size(unpacked, sizeof unpacked, config->memory));
    if (config->cpus)
        text_printf(text, "%-14s%u CPU%s\n", config->memory ? "" : "requires", config->cpus,
                    config->cpus == 1 ? "" : "s");
    text_printf(text, "\n%12s  file\n", "bytes");
    for (size_t i = 0; i < shown->image.files.count; i++) {
        text_printf(text, "%12zu  ", shown->image.files.files[i].size);
        add_name(text, shown->image.files.files[i].name);
        text_add(text, "\n");
    }
}

/* Names and TOML strings are UTF-8 already. */
static void add_json_string(struct text *text, const char *string)
{
    text_add(text, "\"");
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;
        if (c < ' ' || c == 0x7f)
            text_printf(text, "\\u%04x", c);
        else
            text_printf(text, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    text_add(text, "\"");
}

static void add_json_words(struct text *text, const char *key, const struct hermit_words *words)
{
    text_printf(text, ",\"%s\":[", key);
    for (size_t i = 0; i < words->count; i++) {
        text_add(text, i ? "," : "");
        add_json_string(text, words->items[i]);
    }
    text_add(text, "]");
}

static void add_json_kernel(struct text *text, const struct shown *shown)
{
    const struct elf *kernel = &shown->kernel;

    text_add(text, ",\"kernel\":{\"name\":");
    add_json_string(text, shown->image.kernel->name);
    text_printf(text, ",\"size\":%zu,\"version\":", shown->image.kernel->size);
    if (kernel->version.known)
        text_printf(text, "\"%u.%u.%u\"", kernel->version.major, kernel->version.minor,
                    kernel->version.patch);
    else
        text_add(text, "null");
    text_printf(text, ",\"interface\":%u,\"entry\":%llu,\"relocatable\":%s,\"memory\":%llu}",
                kernel->interface, (unsigned long long)kernel->entry,
                kernel->relocatable ? "true" : "false", (unsigned long long)kernel->size);
}

static void show_json(const struct shown *shown, struct text *text)
{
    const struct hermit_config *config = &shown->image.config;

    text_printf(text, "{\"format\":\"%s\",\"size\":%llu,\"unpacked_size\":%zu",
                unpack_format_name(shown->image.format), (unsigned long long)shown->packed_size,
                shown->image.tar_size);
    add_json_kernel(text, shown);
    add_json_words(text, "kernel_args", &config->kernel_args);
    add_json_words(text, "app_args", &config->app_args);
    add_json_words(text, "env_vars", &config->env);
    text_printf(text, ",\"requirements\":{\"memory\":%llu,\"cpus\":%u},\"files\":[",
                (unsigned long long)config->memory, config->cpus);
    for (size_t i = 0; i < shown->image.files.count; i++) {
        text_add(text, i ? ",{\"name\":" : "{\"name\":");
        add_json_string(text, shown->image.files.files[i].name);
        text_printf(text, ",\"size\":%zu}", shown->image.files.files[i].size);
    }
    text_add(text, "]}\n");
}

int show_image(const struct show_options *options, const struct log *log, struct text *text,
               struct uhyve_error *error)
{
    struct shown shown = {0};
    struct image file = {.fd = -1}, kernel;
    enum unpack_format format = UNPACK_UNKNOWN;

    int err = image_open(&file, options->image, error);
    if (err)
        return err;
    shown.packed_size = file.size;
    err = unpack_detect(&file, &format, error);
    if (!err && format == UNPACK_UNKNOWN)
        err = error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                        "'%s' is not a Hermit image: neither gzip nor zstd nor a tar archive",
                        options->image);
    if (!err)
        err = hermit_image_read(&shown.image, &file, format, options->limit, log, error);
    if (!err) {
        image_from_memory(&kernel, shown.image.kernel_path, shown.image.kernel->data,
                          shown.image.kernel->size);
        err = elf_read(&kernel, &shown.kernel, error);
    }
    if (!err && options->json)
        show_json(&shown, text);
    else if (!err)
        show_people(&shown, text);
    hermit_image_free(&shown.image);
    image_close(&file);
    return err;
}
