/* The kernel's command line (spec/boot.md section 11.1). */
#include "unit.h"

#include <string.h>

#include "boot/bootargs.h"

#define MAX 4

static void command_lines(void **state)
{
    static const struct {
        const char *kernel[MAX], *env[MAX], *app[MAX];
        const char *line;
    } cases[] = {
        {.line = ""},
        {.kernel = {"-freq", "2000"}, .line = "-freq 2000"},
        {.env = {"A=b"}, .line = "env=A=b"},
        {.app = {"a"}, .line = "-- a"},
        {.kernel = {"k"}, .app = {"a", "b"}, .line = "k -- a b"},
        {.kernel = {"k"}, .env = {"A=b", "C=d"}, .line = "k env=A=b env=C=d"},
        {.env = {"A=b"}, .app = {"a"}, .line = "env=A=b -- a"},
        {.kernel = {"k"}, .env = {"A=b"}, .app = {"a"}, .line = "k env=A=b -- a"},
        /* quoting: what a shell splits comes back as one word */
        {.app = {"two words", "it's", "", "x"}, .line = "-- 'two words' 'it'\\''s' '' x"},
        {.kernel = {"a b"}, .line = "'a b'"},
        {.env = {"EMPTY="}, .line = "env=EMPTY=''"},
        {.env = {"NO_VALUE"}, .line = "env=NO_VALUE=''"},
        {.env = {"A=b=c"}, .line = "env=A=b=c"},
        {.env = {"A B=c d"}, .line = "env='A B'='c d'"},
        {.env = {"Q=\"$x\""}, .line = "env=Q='\"$x\"'"},
        {.app = {"--", "-x"}, .line = "-- -- -x"},
        /* an argument cannot smuggle in others */
        {.kernel = {"x -- y"}, .app = {"z"}, .line = "'x -- y' -- z"},
        {.app = {"a\nb"}, .line = "-- 'a\nb'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct uhyve_params params;
        struct text text = {0};
        uhyve_params_init(&params);
        params.kernel_args = cases[i].kernel;
        params.env = cases[i].env;
        params.app_args = cases[i].app;
        for (size_t j = 0; j < MAX; j++) {
            params.kernel_arg_count += cases[i].kernel[j] != NULL;
            params.env_count += cases[i].env[j] != NULL;
            params.app_arg_count += cases[i].app[j] != NULL;
        }
        bootargs_format(&text, &params);
        text_add(&text, "");
        assert_string_equal(text.data, cases[i].line);
        text_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
