#include "cli/report.h"

#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cli/streams.h"
#include "util/error.h"
#include "util/text.h"

void report_message(void *context, enum uhyve_level level, const char *text)
{
    static const char *const prefixes[] = {
        [UHYVE_LEVEL_ERROR] = "uhyve: error: ", [UHYVE_LEVEL_WARN] = "uhyve: warning: ",
        [UHYVE_LEVEL_INFO] = "uhyve: ",         [UHYVE_LEVEL_DEBUG] = "uhyve: debug: ",
        [UHYVE_LEVEL_NOTICE] = "uhyve: ",
    };
    char line[1200];
    size_t prefix = strlen(prefixes[level]), size = strnlen(text, sizeof line - prefix - 1);

    memcpy(line, prefixes[level], prefix);
    memcpy(line + prefix, text, size);
    line[prefix + size] = '\n';
    streams_write(STDERR_FILENO, line, prefix + size + 1);
}

int report_error(const struct uhyve_error *error)
{
    report_message(NULL, UHYVE_LEVEL_ERROR, error->message);
    return error->status ? error->status : UHYVE_STATUS_FAILED;
}

static void add_line(struct text *text, const char *lines)
{
    text_add(text, lines);
    if (text->size && text->data[text->size - 1] != '\n')
        text_add(text, "\n");
}

static void report_failure(const struct uhyve_result *result)
{
    struct text text = {0};
    bool crashed = result->outcome == UHYVE_CRASHED;

    if (result->kernel_log && *result->kernel_log) {
        if (crashed)
            text_add(&text, "uhyve: the kernel log of the guest, which crashed");
        else
            text_printf(&text, "uhyve: the guest exited with code %d; its kernel log",
                        result->exit_code);
        if (result->kernel_log_dropped)
            text_printf(&text, " (%zu bytes before this are lost)", result->kernel_log_dropped);
        text_add(&text, ":\n");
        add_line(&text, result->kernel_log);
    }
    if (crashed || result->report) {
        text_add(&text, crashed ? "uhyve: error: the guest crashed: "
                                : "uhyve: error: the guest ended in error: ");
        add_line(&text, result->report ? result->report : "out of memory for the report");
    }
    streams_write(STDERR_FILENO, text.data, text.size);
    text_free(&text);
}

int report_result(const struct uhyve_result *result, int signal)
{
    int status = UHYVE_STATUS_FAILED;

    switch (result->outcome) {
    case UHYVE_EXITED:
        status = result->exit_code & 0xff;
        if (result->exit_code != 0)
            report_failure(result);
        break;
    case UHYVE_CRASHED:
        status = UHYVE_STATUS_CRASHED;
        report_failure(result);
        break;
    case UHYVE_STOPPED:
        status = signal ? 128 + signal : 0; /* 0: the user of a debugger ended it */
        break;
    }
    if (result->output_error) {
        struct uhyve_error error;
        error_set(&error, status ? status : UHYVE_STATUS_FAILED, result->output_error,
                  "output of the guest was lost: %s (%s)", strerror(result->output_error),
                  error_remedy(result->output_error, "check where it goes"));
        status = report_error(&error);
    }
    return status;
}
