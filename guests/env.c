/* Prints the environment, one NAME=value per line; with arguments, only the values of those names,
 * failing if one is not set. */
#include "lib/args.h"
#include "lib/print.h"
#include "lib/text.h"

static const char *lookup(const char *name)
{
    size_t length = text_length(name);
    for (size_t i = 0; i < args.env.count; i++) {
        const char *item = args.env.item[i];
        if (text_starts_with(item, name) && item[length] == '=')
            return item + length + 1;
    }
    return NULL;
}

int main(void)
{
    args_load();
    if (args.app.count == 0)
        for (size_t i = 0; i < args.env.count; i++)
            print("%s\n", args.env.item[i]);

    int missing = 0;
    for (size_t i = 0; i < args.app.count; i++) {
        const char *value = lookup(args.app.item[i]);
        if (value != NULL)
            print("%s\n", value);
        else
            missing = 1;
    }
    return missing;
}
