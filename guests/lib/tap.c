#include "lib/tap.h"

#include <stdarg.h>

#include "lib/print.h"

static unsigned count;
static unsigned failures;

bool tap_ok(bool passed, const char *format, ...)
{
    count++;
    if (!passed)
        failures++;
    print("%s %u - ", passed ? "ok" : "not ok", count);
    va_list values;
    va_start(values, format);
    print_values(format, &values);
    va_end(values);
    print("\n");
    return passed;
}

bool tap_equal(int64_t got, int64_t expected, const char *name)
{
    bool passed = tap_ok(got == expected, "%s", name);
    if (!passed)
        print("# got %ld, expected %ld\n", got, expected);
    return passed;
}

void tap_skip(const char *name, const char *reason)
{
    print("ok %u - %s # SKIP %s\n", ++count, name, reason);
}

int tap_end(void)
{
    print("1..%u\n", count);
    return (int)failures;
}
