/*
 * The command line of uhyve-image.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "image_tool/image_tool.h"
#include "util/error.h"
#include "util/process.h"

static const char help[] =
    "Make Hermit images and show what is in them.\n"
    "\n"
    "Usage: uhyve-image build DIRECTORY -o IMAGE [--zstd] [--force]\n"
    "       uhyve-image show IMAGE [--json] [--limit-image SIZE]\n"
    "\n"
    "Build:\n"
    "  -o, --output IMAGE        the image to make, for example app.hermit\n"
    "      --zstd                pack with zstd rather than gzip\n"
    "  -f, --force               replace an existing image\n"
    "Show:\n"
    "      --json                as one line of JSON\n"
    "      --limit-image SIZE    how large the image may be when it is unpacked\n"
    "                            [default: 1G]\n"
    "General:\n"
    "  -h, --help                print this help\n"
    "  -V, --version             print the version\n"
    "\n"
    "DIRECTORY holds hermit.toml, the kernel it names, and files for the application.\n";

enum option_code {
    OPTION_ZSTD = 256,
    OPTION_JSON,
    OPTION_LIMIT,
};

struct command_line {
    struct build_options build;
    struct show_options show;
    const char *words[2]; /* command and its argument */
    int word_count;
    bool for_build, for_show; /* an option was given that belongs to this command */
    const char *print;        /* only this */
};

static void print_message(void *context, enum uhyve_level level, const char *text)
{
    fprintf(stderr, "uhyve-image: %s: %s\n", level == UHYVE_LEVEL_ERROR ? "error" : "warning",
            text);
}

static const struct log messages = {.message = print_message, .level = UHYVE_LEVEL_WARN};

static int usage(struct uhyve_error *error, const char *what, const char *word)
{
    return error_set(error, UHYVE_STATUS_USAGE, EINVAL, "%s%.200s (see uhyve-image --help)", what,
                     word);
}

static int apply(struct command_line *line, int code, char *const *argv, struct uhyve_error *error)
{
    switch (code) {
    case 'o':
        line->build.output = optarg;
        line->for_build = true;
        break;
    case 'f':
        line->build.force = line->for_build = true;
        break;
    case OPTION_ZSTD:
        line->build.zstd = line->for_build = true;
        break;
    case OPTION_JSON:
        line->show.json = line->for_show = true;
        break;
    case OPTION_LIMIT:
        line->for_show = true;
        if (text_parse_size(optarg, &line->show.limit) != 0)
            return usage(error, "not a size: ", optarg);
        break;
    case 'h':
        line->print = help;
        break;
    case 'V':
        line->print = "uhyve-image " UHYVE_VERSION "\n";
        break;
    case 1: /* a word that is no option */
        if (line->word_count == 2)
            return usage(error, "too many arguments: ", optarg);
        line->words[line->word_count++] = optarg;
        break;
    case ':':
        return usage(error, "a value is missing for ", argv[optind - 1]);
    default:
        return usage(error, "unknown option ", argv[optind - 1]);
    }
    return 0;
}

static int parse(struct command_line *line, int argc, char *const *argv, struct uhyve_error *error)
{
    static const struct option options[] = {
        {"output", required_argument, NULL, 'o'},
        {"zstd", no_argument, NULL, OPTION_ZSTD},
        {"force", no_argument, NULL, 'f'},
        {"json", no_argument, NULL, OPTION_JSON},
        {"limit-image", required_argument, NULL, OPTION_LIMIT},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    int code;

    opterr = 0;
    while ((code = getopt_long(argc, argv, "-:o:fhV", options, NULL)) != -1) {
        int err = apply(line, code, argv, error);
        if (err || line->print)
            return err;
    }
    for (; optind < argc; optind++) { /* behind "--" */
        optarg = argv[optind];
        int err = apply(line, 1, argv, error);
        if (err)
            return err;
    }
    return 0;
}

static int run_build(struct command_line *line, struct uhyve_error *error)
{
    if (line->for_show)
        return usage(error, "--json and --limit-image are for 'show'", "");
    if (!line->words[1])
        return usage(error, "no directory was given", "");
    if (!line->build.output)
        return usage(error, "no image to make was given: -o IMAGE", "");
    line->build.directory = line->words[1];
    return build_image(&line->build, &messages, error);
}

static int run_show(struct command_line *line, struct text *text, struct uhyve_error *error)
{
    if (line->for_build)
        return usage(error, "--output, --zstd and --force are for 'build'", "");
    if (!line->words[1])
        return usage(error, "no image was given", "");
    line->show.image = line->words[1];
    return show_image(&line->show, &messages, text, error);
}

static int run(int argc, char *const *argv, struct text *text, struct uhyve_error *error)
{
    struct command_line line = {.show.limit = UHYVE_IMAGE_LIMIT};

    int err = parse(&line, argc, argv, error);
    if (err)
        return err;
    if (line.print)
        text_add(text, line.print);
    else if (!line.words[0])
        err = usage(error, "no command was given", "");
    else if (strcmp(line.words[0], "build") == 0)
        err = run_build(&line, error);
    else if (strcmp(line.words[0], "show") == 0)
        err = run_show(&line, text, error);
    else
        err = usage(error, "unknown command: ", line.words[0]);
    if (!err && text->failed)
        err = error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    return err;
}

int main(int argc, char **argv)
{
    struct text text = {0};
    struct uhyve_error error;

    if (process_begin() != 0)
        return UHYVE_STATUS_FAILED;
    int err = run(argc, argv, &text, &error);
    if (!err && text.size &&
        (fwrite(text.data, 1, text.size, stdout) != text.size || fflush(stdout) != 0))
        err = error_set(&error, UHYVE_STATUS_FAILED, errno,
                        "cannot write to standard output: %s (%s)", strerror(errno),
                        error_remedy(errno, "check where it goes"));
    text_free(&text);
    if (err)
        print_message(NULL, UHYVE_LEVEL_ERROR, error.message);
    return err ? error.status : 0;
}
