/*
 * The loop of guests/bench-file.c as an ordinary program: what the host does without a VMM.
 *
 *     native_file read|write FILE MIB PASSES
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1 << 20)

static char buffer[PIECE] __attribute__((aligned(4096)));

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    memset(buffer, 1, sizeof(buffer)); /* memory of its own, not the kernel's page of zeros */
    int write_it = strcmp(argv[1], "write") == 0;
    long pieces = atol(argv[3]);
    int fd = open(argv[2], (write_it ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
    for (long passes = atol(argv[4]); passes > 0; passes--) {
        if (lseek(fd, 0, SEEK_SET) != 0)
            return 1;
        for (long i = 0; i < pieces; i++) {
            ssize_t count = write_it ? write(fd, buffer, PIECE) : read(fd, buffer, PIECE);
            if (count != PIECE)
                return 1;
        }
    }
    return puts("done") < 0;
}
