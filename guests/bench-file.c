/*
 * Reads or writes a file from its beginning to its end in pieces of 1 MiB, PASSES times, and then
 * says so: the time of its output is the time of that. Application arguments: "read" or "write",
 * the path, MIB (size of the file), PASSES. Exit code 0, or 1 if something is short.
 */
#include "lib/args.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

#define PIECE (1 << 20)

static char buffer[PIECE] __attribute__((aligned(4096)));

int main(void)
{
    args_load();
    bool write = text_equal(args_app(0), "write");
    int64_t pieces = args_number(2, 1024);
    int fd = file_open(args_app(1), write ? HERMIT_O_WRONLY : HERMIT_O_RDONLY, 0);
    for (int64_t passes = args_number(3, 1); passes > 0; passes--) {
        if (file_seek(fd, 0, 0) != 0)
            return 1;
        for (int64_t i = 0; i < pieces; i++) {
            int64_t count = write ? file_write(fd, buffer, PIECE) : file_read(fd, buffer, PIECE);
            if (count != PIECE)
                return 1;
        }
    }
    print("done\n");
    return 0;
}
