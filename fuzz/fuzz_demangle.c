/* Names out of an image, and what a guest may print about its end. */
#include <stdlib.h>
#include <string.h>

#include "debug/demangle.h"
#include "debug/panic.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), to[DEMANGLE_MAX];
    struct panic panic;

    memcpy(text, data, size);
    text[size] = '\0';
    demangle(text, to);
    if (strlen(to) >= DEMANGLE_MAX)
        abort();
    panic_find(&panic, text, strlen(text));
    panic_role(to);
    free(text);
    return 0;
}
