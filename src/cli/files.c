#include "cli/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "cli/options.h"
#include "util/error.h"

/* What the program itself may have open at the same time. */
#define OWN_DESCRIPTORS 256

/* Connections of a guest on a network of --net user. */
#define NETWORK_DESCRIPTORS 4096

/* Cut the first field off `text`, in place, and take the escapes out of it. Returns what follows
 * its colon, or NULL if there is none. */
static char *cut_field(char *text)
{
    char *to = text;

    for (; *text && *text != ':'; text++) {
        if (text[0] == '\\' && text[1] == ':')
            text++;
        *to++ = *text;
    }
    bool more = *text == ':';
    *to = '\0';
    return more ? text + 1 : NULL;
}

static int add(struct cli_settings *settings, const struct uhyve_file_mapping *mapping)
{
    size_t count = settings->params.file_mapping_count;
    struct uhyve_file_mapping *mappings = reallocarray(settings->file_mappings, count + 1,
                                                       sizeof *mappings);

    if (!mappings)
        return -ENOMEM;
    mappings[count] = *mapping;
    settings->file_mappings = mappings;
    settings->params.file_mappings = mappings;
    settings->params.file_mapping_count = count + 1;
    return 0;
}

int files_parse_mapping(struct cli_settings *settings, const struct cli_source *source,
                        const char *value, struct uhyve_error *error)
{
    char *host = strdup(value);

    if (!host)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "not enough memory for settings");
    char *guest = cut_field(host), *how = guest ? cut_field(guest) : NULL;
    int err = 0;
    if (!guest || !*host || !*guest)
        err = option_refuse(
            source, error, "'%.80s' is not HOST:GUEST, a path here and a path in the guest", value);
    else if (how && strcmp(how, "ro") != 0)
        err = option_refuse(source, error,
                            "'%.80s' ends neither with the path in the guest nor with :ro (write "
                            "\\: for a colon in a name)",
                            value);
    if (!err) {
        const struct uhyve_file_mapping mapping = {host, guest, how != NULL};
        err = add(settings, &mapping);
        if (err)
            error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "not enough memory for settings");
    }
    if (err)
        free(host);
    return err;
}

void files_free_mappings(struct cli_settings *settings)
{
    /* Both names of a mapping are in the memory of the first. */
    for (size_t i = 0; i < settings->params.file_mapping_count; i++)
        free((char *)(uintptr_t)settings->file_mappings[i].host);
    free(settings->file_mappings);
}

int files_parse_io_mode(struct cli_settings *settings, const struct cli_source *source,
                        const char *value, struct uhyve_error *error)
{
    const char *equals = strchr(value, '=');

    settings->params.io_direct = false;
    settings->params.io_sync = false;
    if (!equals)
        return 0; /* "default" and the like */
    if (equals - value != 4 || strncasecmp(value, "host", 4) != 0)
        return option_refuse(source, error,
                             "'%.80s' is not an I/O mode (use host=direct, host=sync or "
                             "host=direct,sync)",
                             value);
    for (const char *word = equals + 1; *word;) {
        size_t size = strcspn(word, ",");
        settings->params.io_direct |= size == 6 && strncasecmp(word, "direct", size) == 0;
        settings->params.io_sync |= size == 4 && strncasecmp(word, "sync", size) == 0;
        word += size + (word[size] == ',');
    }
    return 0;
}

void files_raise_limit(const struct cli_settings *settings)
{
    rlim_t network = settings->params.net.kind == UHYVE_NET_USER ? NETWORK_DESCRIPTORS : 0;
    rlim_t wanted = (rlim_t)settings->params.limit_files + OWN_DESCRIPTORS + network;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
}
