/*
 * The uhyve program: one unikernel, one virtual machine, from the command line to the exit status.
 * What the options mean is in cli/, what a VM does in the library.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/descriptors.h"
#include "cli/files.h"
#include "cli/help.h"
#include "cli/report.h"
#include "cli/settings.h"
#include "cli/signals.h"
#include "cli/stats.h"
#include "cli/streams.h"
#include "cli/violation.h"
#include "util/error.h"
#include "util/process.h"

/* Print and release `text`. Returns the exit status: `status`, or that of a failure if it was 0. */
static int print(struct text *text, int status)
{
    struct uhyve_error error;
    int err = text->failed ? -ENOMEM : streams_write(STDOUT_FILENO, text->data, text->size);

    text_free(text);
    if (!err)
        return status;
    error_set(&error, status ? status : UHYVE_STATUS_FAILED, -err,
              "cannot write to standard output: %s (%s)", strerror(-err),
              error_remedy(-err, "check where it goes"));
    return report_error(&error);
}

static int print_stats(const struct cli_settings *settings, struct uhyve_vm *vm,
                       const struct uhyve_result *result, int status)
{
    struct text text = {0};
    struct uhyve_stats stats;

    if (settings->stats == CLI_STATS_OFF)
        return status;
    uhyve_get_stats(vm, &stats);
    if (settings->stats == CLI_STATS_JSON)
        stats_format_json(&text, &stats, result);
    else
        stats_format_text(&text, &stats);
    return print(&text, status);
}

static int run(struct cli_settings *settings, struct descriptors *inherited)
{
    struct uhyve_vm *vm;
    struct uhyve_result result;
    struct uhyve_error error;

    files_raise_limit(settings);
    if (streams_open_output(settings, &error) != 0)
        return report_error(&error);
    if (uhyve_create(&settings->params, &vm, &error) != 0) {
        streams_remove_output(settings);
        return report_error(&error);
    }
    descriptors_close(inherited);
    if (settings->params.filter_calls)
        violation_report();
    signals_catch(vm);
    int err = uhyve_run(vm, &result, &error);
    int signal = signals_release();
    int status = err ? report_error(&error) : report_result(&result, signal);
    if (err)
        streams_remove_output(settings);
    else
        status = print_stats(settings, vm, &result, status);
    uhyve_destroy(vm);
    if (!err && streams_close_output(settings, &error) != 0) {
        int failed = report_error(&error);
        status = status ? status : failed;
    }
    return status;
}

int main(int argc, char **argv)
{
    struct cli_settings settings;
    struct descriptors inherited;
    struct uhyve_error error;
    struct text text = {0};
    int status;

    descriptors_note(&inherited);
    if (process_begin() != 0)
        return UHYVE_STATUS_FAILED;

    settings_init(&settings);
    settings.params.message = report_message;
    if (settings_load(&settings, argc, argv, &error) != 0) {
        status = report_error(&error);
    } else if (settings.action == CLI_HELP) {
        help_format(&text);
        status = print(&text, 0);
    } else if (settings.action == CLI_VERSION) {
        text_printf(&text, "uhyve %s\n", uhyve_version());
        status = print(&text, 0);
    } else {
        status = run(&settings, &inherited);
    }
    settings_free(&settings);
    return status;
}
