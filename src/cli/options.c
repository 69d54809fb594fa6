#include "cli/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/affinity.h"
#include "cli/files.h"
#include "cli/net.h"
#include "cli/user.h"
#include "util/error.h"
#include "util/text.h"

int option_refuse(const struct cli_source *source, struct uhyve_error *error, const char *format,
                  ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(error, UHYVE_STATUS_USAGE, EINVAL, "%s: %s (see uhyve --help)", source->name,
                     text);
}

#define GDB_PORT_DEFAULT 6677 /* as in the reference */

/* Everything that all setters get; most need only some of it. */
#define SETTER_PARAMETERS                                                                          \
    struct cli_settings *settings, const struct cli_source *source, const char *value,             \
        struct uhyve_error *error

static int set_memory_size(SETTER_PARAMETERS)
{
    uint64_t bytes;
    char buffer[32];

    if (text_parse_size(value, &bytes) != 0)
        return option_refuse(source, error, "'%.80s' is not a memory size (write 64M or 1.5GiB)",
                             value);
    if (bytes < UHYVE_MEMORY_MIN)
        return option_refuse(source, error, "%s is not enough memory, it must be at least 16 MiB",
                             text_format_size(buffer, sizeof buffer, bytes));
    if (bytes % UHYVE_MEMORY_ALIGN)
        return option_refuse(source, error, "'%.80s' is not a multiple of 2 MiB", value);
    settings->params.memory_size = bytes;
    return 0;
}

static int set_cpu_count(SETTER_PARAMETERS)
{
    uint64_t count;

    if (text_parse_unsigned(value, UHYVE_CPUS_MAX, &count) != 0 || count == 0)
        return option_refuse(source, error, "'%.80s' is not a number of CPUs from 1 to %d", value,
                             UHYVE_CPUS_MAX);
    settings->params.cpu_count = (unsigned)count;
    return 0;
}

static int set_affinity(SETTER_PARAMETERS)
{
    return affinity_parse(settings, source, value, error);
}

static int set_accel(SETTER_PARAMETERS)
{
    static const struct {
        const char *name;
        enum uhyve_accel accel;
    } modes[] = {
        {"auto", UHYVE_ACCEL_AUTO},
        {"kvm", UHYVE_ACCEL_KVM},
        {"direct", UHYVE_ACCEL_DIRECT},
    };

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(value, modes[i].name) == 0) {
            settings->params.accel = modes[i].accel;
            return 0;
        }
    return option_refuse(source, error, "'%.80s' is not an accelerator (use auto, kvm or direct)",
                         value);
}

static int set_no_aslr(SETTER_PARAMETERS)
{
    settings->params.aslr = false;
    return 0;
}

static int set_thp(SETTER_PARAMETERS)
{
    settings->params.thp = true;
    return 0;
}

static int set_ksm(SETTER_PARAMETERS)
{
    settings->params.ksm = true;
    return 0;
}

static int set_cpu_pm(SETTER_PARAMETERS)
{
    settings->params.cpu_pm = true;
    return 0;
}

static int set_pit(SETTER_PARAMETERS)
{
    settings->params.pit = true;
    return 0;
}

static int set_net(SETTER_PARAMETERS)
{
    return net_parse(settings, source, value, error);
}

static int set_net_dump(SETTER_PARAMETERS)
{
    settings->params.net.dump = value;
    return 0;
}

static int set_publish(SETTER_PARAMETERS)
{
    return net_parse_publish(settings, source, value, error);
}

static int set_file_isolation(SETTER_PARAMETERS)
{
    static const char *const modes[] = {
        [UHYVE_ISOLATION_NONE] = "none",
        [UHYVE_ISOLATION_NORMAL] = "normal",
        [UHYVE_ISOLATION_STRICT] = "strict",
    };

    for (size_t i = UHYVE_ISOLATION_NONE; i < sizeof modes / sizeof *modes; i++)
        if (strcasecmp(value, modes[i]) == 0) {
            settings->params.isolation = (enum uhyve_isolation)i;
            return 0;
        }
    return option_refuse(source, error,
                         "'%.80s' is not a kind of isolation (use none, normal or strict)", value);
}

static int set_no_seccomp(SETTER_PARAMETERS)
{
    settings->params.filter_calls = false;
    return 0;
}

static int set_user(SETTER_PARAMETERS)
{
    return user_parse(settings, source, value, error);
}

static int set_env_vars(SETTER_PARAMETERS)
{
    if (strcmp(value, "host") != 0) {
        const char *equals = strchr(value, '=');
        if (!equals || equals == value)
            return option_refuse(source, error,
                                 "'%.80s' is neither NAME=VALUE nor 'host' (all host variables)",
                                 value);
    }
    struct cli_words *words = source->stage == CLI_FILE ? &settings->env_configured
                                                        : &settings->env_given;
    return words_add(words, value, error);
}

static int set_image_mode(SETTER_PARAMETERS)
{
    bool internal = strcasecmp(value, "internal") == 0;

    if (!internal && strcasecmp(value, "external") != 0)
        return option_refuse(source, error,
                             "'%.80s' is not an image mode (use external or internal)", value);
    settings->params.image_mode = internal ? UHYVE_IMAGE_INTERNAL : UHYVE_IMAGE_EXTERNAL;
    return 0;
}

static int set_limit_image(SETTER_PARAMETERS)
{
    if (text_parse_size(value, &settings->params.image_limit) != 0)
        return option_refuse(source, error, "'%.80s' is not a size (write 64M or 1.5GiB)", value);
    return 0;
}

static int set_output(SETTER_PARAMETERS)
{
    settings->params.discard_output = strcmp(value, "none") == 0 || strcmp(value, "None") == 0;
    settings->output = settings->params.discard_output ? NULL : value;
    return 0;
}

static int set_stats(SETTER_PARAMETERS)
{
    if (value && strcmp(value, "json") != 0)
        return option_refuse(source, error,
                             "'%.80s' is not a form of statistics (use --stats or "
                             "--stats=json)",
                             value);
    settings->stats = value ? CLI_STATS_JSON : CLI_STATS_TEXT;
    return 0;
}

static int set_trace(SETTER_PARAMETERS)
{
    settings->params.trace = value ? value : "";
    return 0;
}

static int set_trace_file(SETTER_PARAMETERS)
{
    settings->trace_file = value;
    if (!settings->params.trace)
        settings->params.trace = "";
    return 0;
}

static int set_crash_dump(SETTER_PARAMETERS)
{
    settings->crash_dump = value;
    return 0;
}

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), end_size = strlen(end);
    return size > end_size && strcmp(name + size - end_size, end) == 0;
}

static int set_profile(SETTER_PARAMETERS)
{
    settings->profile_file = value;
    settings->params.profile = value && ends_with(value, ".svg")      ? UHYVE_PROFILE_SVG
                               : value && ends_with(value, ".folded") ? UHYVE_PROFILE_FOLDED
                                                                      : UHYVE_PROFILE_TABLE;
    return 0;
}

static int set_profile_rate(SETTER_PARAMETERS)
{
    uint64_t rate;

    if (text_parse_unsigned(value, 10000, &rate) != 0 || rate == 0)
        return option_refuse(source, error, "'%.80s' is not a rate from 1 to 10000 per second",
                             value);
    settings->params.profile_rate = (unsigned)rate;
    return 0;
}

static int set_verbose(SETTER_PARAMETERS)
{
    settings->params.verbose = true;
    enum uhyve_level level = ++settings->verbosity == 1 ? UHYVE_LEVEL_INFO : UHYVE_LEVEL_DEBUG;
    if (level > settings->params.message_level)
        settings->params.message_level = level;
    return 0;
}

static int set_config(SETTER_PARAMETERS)
{
    settings->config = value;
    return 0;
}

static int set_gdb_port(SETTER_PARAMETERS)
{
    uint64_t port = GDB_PORT_DEFAULT;

    settings->params.gdb = true;
    settings->params.gdb_socket = value && strchr(value, '/') ? value : NULL;
    if (value && !settings->params.gdb_socket && text_parse_unsigned(value, UINT16_MAX, &port) != 0)
        return option_refuse(source, error,
                             "'%.80s' is neither a port number from 0 to 65535 nor the path of a "
                             "socket, which has a slash",
                             value);
    settings->params.gdb_port = (uint16_t)port;
    return 0;
}

/* "-s 6677 IMAGE" has a port, "-s IMAGE" has not. */
static bool is_number(const char *word)
{
    return *word && !word[strspn(word, "0123456789")];
}

static int set_file_mapping(SETTER_PARAMETERS)
{
    return files_parse_mapping(settings, source, value, error);
}

static int set_tempdir(SETTER_PARAMETERS)
{
    settings->params.tempdir = value;
    return 0;
}

static int set_io_mode(SETTER_PARAMETERS)
{
    return files_parse_io_mode(settings, source, value, error);
}

static int set_limit_files(SETTER_PARAMETERS)
{
    uint64_t count;

    if (text_parse_unsigned(value, UHYVE_LIMIT_FILES_MAX, &count) != 0 || count == 0)
        return option_refuse(source, error, "'%.80s' is not a number of files from 1 to %d", value,
                             UHYVE_LIMIT_FILES_MAX);
    settings->params.limit_files = (unsigned)count;
    return 0;
}

static int set_limit_temp(SETTER_PARAMETERS)
{
    if (text_parse_size(value, &settings->params.limit_temp) != 0)
        return option_refuse(source, error, "'%.80s' is not a size (write 64M or 1.5GiB)", value);
    return 0;
}

static int set_help(SETTER_PARAMETERS)
{
    settings->action = CLI_HELP;
    return 0;
}

static int set_version(SETTER_PARAMETERS)
{
    settings->action = CLI_VERSION;
    return 0;
}

/* clang-format off: a table */
const struct cli_option cli_options[] = {
    {"memory-size", 'm', .argument = "SIZE", .set = set_memory_size, .group = CLI_GROUP_MACHINE,
     .env = {"HERMIT_MEMORY_SIZE", "HERMIT_MEM"}, .toml = CLI_TOML_SIZE, .section = "memory",
     .key = "memory_size",
     .help = "guest memory: 64M, 1.5GiB, or a number of bytes;\n"
             "at least 16M, a multiple of 2M [default: 512M]"},
    {"cpu-count", 'c', .argument = "N", .set = set_cpu_count, .group = CLI_GROUP_MACHINE,
     .env = {"HERMIT_CPU_COUNT", "HERMIT_CPUS"}, .toml = CLI_TOML_INTEGER, .section = "cpu",
     .key = "cpu_count", .help = "number of guest CPUs [default: 1]"},
    {"affinity", 'a', .argument = "LIST", .set = set_affinity, .group = CLI_GROUP_MACHINE,
     .toml = CLI_TOML_CORES, .section = "cpu", .key = "affinity",
     .help = "host core for each guest CPU, such as 0,2,4-7"},
    {"accel", .argument = "MODE", .set = set_accel, .group = CLI_GROUP_MACHINE,
     .env = {"UHYVE_ACCEL"}, .toml = CLI_TOML_STRING, .section = "uhyve", .key = "accel",
     .help = "what executes guest code: auto, kvm, or direct,\n"
             "which needs no hardware support [default: auto]"},
    {"no-aslr", .set = set_no_aslr, .group = CLI_GROUP_MACHINE, .toml = CLI_TOML_BOOLEAN,
     .section = "memory", .key = "no_aslr", .help = "load the kernel at a fixed address"},
    {"thp", .set = set_thp, .group = CLI_GROUP_MACHINE, .toml = CLI_TOML_BOOLEAN,
     .section = "memory", .key = "thp", .help = "back guest memory with transparent huge pages"},
    {"ksm", .set = set_ksm, .group = CLI_GROUP_MACHINE, .toml = CLI_TOML_BOOLEAN,
     .section = "memory", .key = "ksm", .help = "let the host merge equal pages of guests"},
    {"cpu-pm", .set = set_cpu_pm, .group = CLI_GROUP_MACHINE, .toml = CLI_TOML_BOOLEAN,
     .section = "cpu", .key = "cpu_pm",
     .help = "let idle guest CPUs keep their host core: wakes\n"
             "up faster, but keeps the core busy"},
    {"pit", .set = set_pit, .group = CLI_GROUP_MACHINE, .toml = CLI_TOML_BOOLEAN, .section = "cpu",
     .key = "pit", .help = "give the guest an interval timer (PIT)"},

    {"net", 'n', .argument = "MODE", .set = set_net, .group = CLI_GROUP_NETWORK,
     .help = "give the guest a network card: user, tap,\n"
             "tap:INTERFACE or socket:PATH; options follow,\n"
             "such as ,mac=ADDRESS"},
    {"publish", 'p', .argument = "HOST:GUEST", .set = set_publish, .group = CLI_GROUP_NETWORK,
     .cumulative = true,
     .help = "forward a port of the host to the guest, may be\n"
             "repeated: 8080:80, 127.0.0.1:8080:80, 53:53/udp"},
    {"net-dump", .argument = "FILE", .set = set_net_dump, .group = CLI_GROUP_NETWORK,
     .help = "write all frames to FILE (pcap)"},

    {"file-mapping", .argument = "HOST:GUEST", .set = set_file_mapping, .group = CLI_GROUP_FILES,
     .cumulative = true,
     .help = "show the guest a file or directory under another\n"
             "name, may be repeated; with :ro read-only"},
    {"tempdir", .argument = "DIR", .set = set_tempdir, .group = CLI_GROUP_FILES,
     .toml = CLI_TOML_STRING, .section = "uhyve", .key = "tempdir",
     .help = "keep what the guest creates elsewhere in DIR\n"
             "[default: $TMPDIR/uhyve-UID]"},
    {"io-mode", .argument = "MODE", .set = set_io_mode, .group = CLI_GROUP_FILES,
     .toml = CLI_TOML_STRING, .section = "uhyve", .key = "io_mode",
     .help = "host=sync, host=direct or host=direct,sync: open\n"
             "files with O_SYNC or O_DIRECT"},
    {"limit-files", .argument = "N", .set = set_limit_files, .group = CLI_GROUP_FILES,
     .toml = CLI_TOML_INTEGER, .section = "uhyve", .key = "limit_files",
     .help = "files the guest may have open [default: 4096]"},
    {"limit-temp", .argument = "SIZE", .set = set_limit_temp, .group = CLI_GROUP_FILES,
     .toml = CLI_TOML_SIZE, .section = "uhyve", .key = "limit_temp",
     .help = "space for what it creates in the temporary\n"
             "directory [default: 4G]"},

    {"env-vars", 'e', .argument = "NAME=VALUE", .set = set_env_vars, .group = CLI_GROUP_GUEST,
     .cumulative = true, .toml = CLI_TOML_STRINGS, .section = "guest", .key = "env_vars",
     .help = "set an environment variable of the guest, may be\n"
             "repeated; 'host' passes on all host variables"},
    {"hermit-image-mode", .argument = "MODE", .set = set_image_mode, .group = CLI_GROUP_GUEST,
     .toml = CLI_TOML_STRING, .section = "uhyve", .key = "hermit_image_mode",
     .help = "files of a Hermit image: external (through file\n"
             "calls) or internal (in memory) [default: external]"},
    {"limit-image", .argument = "SIZE", .set = set_limit_image, .group = CLI_GROUP_GUEST,
     .help = "how large a Hermit image may be when it is\n"
             "unpacked [default: 1G]"},

    {"file-isolation", .argument = "MODE", .set = set_file_isolation, .group = CLI_GROUP_ISOLATION,
     .toml = CLI_TOML_STRING, .section = "uhyve", .key = "file_isolation",
     .help = "what else keeps a guest that attacks uhyve from\n"
             "files: none, normal (Landlock as far as there is\n"
             "some), or strict (or no run) [default: normal]"},
    {"user", .argument = "USER[:GROUP]", .set = set_user, .group = CLI_GROUP_ISOLATION,
     .toml = CLI_TOML_STRING, .section = "uhyve", .key = "user",
     .help = "started by root, become this user before the\n"
             "guest starts"},
    {"no-seccomp", .set = set_no_seccomp, .group = CLI_GROUP_ISOLATION, .toml = CLI_TOML_BOOLEAN,
     .section = "uhyve", .key = "no_seccomp", .help = "do not filter uhyve's own system calls"},

    {"output", 'o', .argument = "FILE", .set = set_output, .group = CLI_GROUP_OUTPUT,
     .toml = CLI_TOML_STRING, .section = "uhyve", .key = "output",
     .help = "write all guest output to FILE, which must not\n"
             "exist yet; 'none' discards it"},
    {"stats", .argument = "json", .optional = true, .set = set_stats, .group = CLI_GROUP_OUTPUT,
     .toml = CLI_TOML_BOOLEAN, .section = "uhyve", .key = "stats",
     .help = "print statistics after the guest ended, as a\n"
             "table or as one line of JSON"},
    {"trace", .argument = "FILTER", .optional = true, .set = set_trace, .group = CLI_GROUP_OUTPUT,
     .help = "show each hypercall: --trace, --trace=file,!read;\n"
             "summary: a table at the end"},
    {"trace-file", .argument = "FILE", .set = set_trace_file, .group = CLI_GROUP_OUTPUT,
     .help = "write the trace to FILE, which must not exist\n"
             "yet, instead of standard error"},
    {"crash-dump", .argument = "FILE", .set = set_crash_dump, .group = CLI_GROUP_OUTPUT,
     .help = "write an ELF core of a guest that crashes to\n"
             "FILE, which must not exist yet, for gdb"},
    {"profile", .argument = "FILE", .optional = true, .set = set_profile, .group = CLI_GROUP_OUTPUT,
     .help = "show where the guest spends its time; to a FILE:\n"
             ".svg a flame graph, .folded stacks, else a table"},
    {"profile-rate", .argument = "HZ", .set = set_profile_rate, .group = CLI_GROUP_OUTPUT,
     .help = "samples per second and CPU [default: 1000]"},
    {"verbose", 'v', .set = set_verbose, .group = CLI_GROUP_OUTPUT, .env = {"HERMIT_VERBOSE"},
     .help = "show the kernel's log and what uhyve does;\n"
             "-vv shows more"},

    {"gdb-port", 's', .argument = "PORT", .optional = true, .set = set_gdb_port,
     .takes_word = is_number, .group = CLI_GROUP_OUTPUT, .env = {"HERMIT_GDB_PORT"},
     .toml = CLI_TOML_PORT, .section = "uhyve", .key = "gdb_port",
     .help = "wait for GDB on this TCP port of localhost, or on\n"
             "a socket if it is a path [default: 6677]"},

    {"config", .argument = "FILE", .set = set_config, .group = CLI_GROUP_GENERAL,
     .env = {"HERMIT_CONFIG"},
     .help = "read this configuration file [default:\n"
             "uhyve.toml here or in $XDG_CONFIG_HOME/uhyve]"},
    {"help", 'h', .set = set_help, .group = CLI_GROUP_GENERAL, .help = "print this help"},
    {"version", 'V', .set = set_version, .group = CLI_GROUP_GENERAL, .help = "print the version"},

    {"trace-dir", .argument = "DIR", .optional = true, .later = true},
};
/* clang-format on */

const size_t cli_option_count = sizeof cli_options / sizeof *cli_options;

_Static_assert(sizeof cli_options / sizeof *cli_options <= 64, "cli_settings.given has 64 bits");

static uint64_t option_bit(const struct cli_option *option)
{
    return UINT64_C(1) << (option - cli_options);
}

bool option_is_given(const struct cli_settings *settings, const struct cli_option *option)
{
    return settings->given & option_bit(option);
}

int option_set(struct cli_settings *settings, const struct cli_option *option,
               const struct cli_source *source, const char *value, struct uhyve_error *error)
{
    settings->given |= option_bit(option);
    return option->set(settings, source, value, error);
}
