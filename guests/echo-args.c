/*
 * Prints what the guest received, one item per line, exactly as it came: the bootargs (or the
 * image's name in guests without a device tree), kernel arguments, application arguments,
 * environment.
 */
#include "lib/args.h"
#include "lib/print.h"

static void print_items(const char *kind, const struct string_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        print("%s[%zu]=%s\n", kind, i, list->item[i]);
}

int main(void)
{
    args_load();
    if (args.raw != NULL)
        print("bootargs=%s\n", args.raw);
    if (args.image != NULL)
        print("image=%s\n", args.image);
    print_items("kernel", &args.kernel);
    print_items("app", &args.app);
    print_items("env", &args.env);
    return 0;
}
