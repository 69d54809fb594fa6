/* Copies standard input to standard output; 1 if either fails. */
#include "lib/hypercall.h"

static char buffer[16 * 1024];

int main(void)
{
    for (;;) {
        int64_t got = file_read(0, buffer, sizeof(buffer));
        if (got <= 0)
            return got < 0;
        for (int64_t written = 0; written < got;) {
            int64_t count = file_write(1, buffer + written, (size_t)(got - written));
            if (count <= 0)
                return 1;
            written += count;
        }
    }
}
