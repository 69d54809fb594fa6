#include "cli/help.h"

#include <string.h>

#include "cli/options.h"

#define HELP_COLUMN 30 /* where the explanations start */

static const char *const group_titles[] = {
    [CLI_GROUP_MACHINE] = "Virtual machine",
    [CLI_GROUP_NETWORK] = "Network",
    [CLI_GROUP_FILES] = "Files",
    [CLI_GROUP_GUEST] = "Guest",
    [CLI_GROUP_ISOLATION] = "Isolation",
    [CLI_GROUP_OUTPUT] = "Output",
    [CLI_GROUP_GENERAL] = "General",
};

static void add_option(struct text *text, const struct cli_option *option)
{
    size_t start = text->size;

    if (option->letter)
        text_printf(text, "  -%c, --%s", option->letter, option->name);
    else
        text_printf(text, "      --%s", option->name);
    if (option->argument)
        text_printf(text, option->optional ? "[=%s]" : " %s", option->argument);

    size_t column = text->size - start;
    if (column >= HELP_COLUMN) {
        text_add(text, "\n");
        column = 0;
    }
    for (const char *line = option->help; *line;) {
        size_t size = strcspn(line, "\n");
        text_printf(text, "%*s%.*s\n", (int)(HELP_COLUMN - column), "", (int)size, line);
        line += size + (line[size] == '\n');
        column = 0;
    }
}

static void add_variables(struct text *text)
{
    text_add(text, "\nEnvironment variables, for options that are not given:\n");
    for (size_t i = 0; i < cli_option_count; i++) {
        const struct cli_option *option = &cli_options[i];
        if (option->later || !option->env[0])
            continue;
        text_printf(text, "  --%-*s%s%s%s\n", HELP_COLUMN - 4, option->name, option->env[0],
                    option->env[1] ? " or " : "", option->env[1] ? option->env[1] : "");
    }
}

void help_format(struct text *text)
{
    text_add(text,
             "Run a Hermit unikernel in a virtual machine.\n"
             "\n"
             "Usage: uhyve [OPTIONS] IMAGE [ARGUMENTS]...\n"
             "\n"
             "Options may stand before and after IMAGE. The first -- ends them: what follows\n"
             "is for the guest. A second -- separates arguments for the kernel from those\n"
             "for the application.\n");
    for (size_t group = 0; group < sizeof group_titles / sizeof *group_titles; group++) {
        text_printf(text, "\n%s:\n", group_titles[group]);
        for (size_t i = 0; i < cli_option_count; i++)
            if (cli_options[i].group == group && !cli_options[i].later)
                add_option(text, &cli_options[i]);
    }
    add_variables(text);
    text_add(text, "\nExamples:\n"
                   "  uhyve hello                       one CPU, 512 MiB\n"
                   "  uhyve -c 4 -m 1G hello -- -- -x   with -x for the application\n"
                   "  uhyve -e LANG=C -o out.txt hello  one variable, output to a file\n"
                   "  uhyve --file-mapping data:/data hello\n"
                   "                                    show it the directory data as /data\n"
                   "  uhyve -v --stats hello            show what happens, and count it\n"
                   "\n"
                   "The exit status is the guest's exit code; 2: usage error, 125: uhyve failed,\n"
                   "126: IMAGE cannot be booted, 127: IMAGE not found, 134: the guest crashed.\n");
}
