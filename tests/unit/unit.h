/*
 * What every unit test needs.
 */
#ifndef UNIT_H
#define UNIT_H

/* cmocka wants these four before its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* For the main function of a test program that clears its environment: keep the format of the
 * results that the environment asks for. Without it they would be lost to `make check`. */
static inline void unit_keep_output_format(void)
{
    const char *format = getenv("CMOCKA_MESSAGE_OUTPUT");
    if (format && strcmp(format, "TAP") == 0)
        cmocka_set_message_output(CM_OUTPUT_TAP);
}

#endif
