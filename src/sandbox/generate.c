/*
 * Run by the build: writes the programs of sandbox/filter.h as a C file. It is linked with the
 * library's objects, for their lists of system calls, and calls nothing of them but vm_call_list.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/files.h"
#include "fs/keeper.h"
#include "net/connector.h"
#include "sandbox/compile.h"
#include "sandbox/runtime.h"
#include "vm/vm.h"

#define LISTS_MAX 64

static int write_program(FILE *out, const char *name, const struct filter_list *lists, size_t count)
{
    static struct sock_filter program[FILTER_MAX];
    int number;
    int size = filter_compile(program, lists, count, &number);

    if (size < 0) {
        char *call = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
        fprintf(stderr, "%s: entries of '%s': %s (sandbox/compile.h says what can be combined)\n",
                name, call ? call : "(none)", strerror(-size));
        free(call);
        return size;
    }
    fprintf(out, "\nstatic const struct sock_filter %s_code[] = {\n", name);
    for (int i = 0; i < size; i++)
        fprintf(out, "    {0x%02x, %u, %u, 0x%08x},\n", program[i].code, program[i].jt,
                program[i].jf, program[i].k);
    fprintf(out, "};\nconst struct filter_program %s = {%s_code, %d};\n", name, name, size);
    return 0;
}

static int write_threads(FILE *out, const char *name, enum vm_threads threads)
{
    struct filter_list lists[LISTS_MAX];
    size_t count = 0;

    while (count < LISTS_MAX &&
           (lists[count].calls = vm_call_list(threads, count, &lists[count].bit)))
        count++;
    return count == LISTS_MAX ? -E2BIG : write_program(out, name, lists, count);
}

static int write_all(FILE *out)
{
    const struct filter_list keeper[] = {{files_calls, 0}, {keeper_own_calls, 0}};
    const struct filter_list connector[] = {{connector_own_calls, 0}};

    fputs("/* Generated from the lists of system calls by sandbox/generate.c. */\n"
          "#include \"sandbox/filter.h\"\n",
          out);
    int err = write_threads(out, "vm_filter", VM_THREADS);
    if (!err)
        err = write_threads(out, "network_filter", VM_NETWORK_THREAD);
    if (!err)
        err = write_program(out, "keeper_filter", keeper, 2);
    return err ? err : write_program(out, "connector_filter", connector, 1);
}

int main(int argc, char **argv)
{
    FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;

    if (!out) {
        fprintf(stderr, "usage: generate-filters FILE, which can be written\n");
        return EXIT_FAILURE;
    }
    int err = write_all(out);
    if (fclose(out) != 0 || err) {
        remove(argv[1]);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
