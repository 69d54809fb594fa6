/* The log filter on arbitrary streams: nothing is lost, added or reordered, and how the stream is
 * cut does not change what is log and what is not. */
#include <stdlib.h>
#include <string.h>

#include "console/log_filter.h"
#include "fuzz.h"
#include "input.h"

/* kinds[i] becomes what byte i of the stream is; the first byte of data chooses the piece size. */
static void classify(const char *bytes, size_t size, size_t step, unsigned char *kinds)
{
    struct log_filter filter = {0};
    struct log_piece piece;
    size_t fed = 0, out = 0;
    do {
        size_t part = size - fed < step ? size - fed : step;
        if (part)
            fed += log_filter_next(&filter, bytes + fed, part, &piece);
        else
            log_filter_release(&filter, &piece);
        require(piece.size <= fed - out);
        for (size_t i = 0; i < piece.size; i++, out++) {
            require(piece.bytes[i] == bytes[out]);
            kinds[out] = (unsigned char)piece.kind;
        }
        require(fed - out <= LOG_FILTER_HELD);
    } while (out < size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *bytes = (const char *)data + 1;
    unsigned char *single = malloc(size), *pieces = malloc(size);
    require(single && pieces);
    classify(bytes, size - 1, 1, single);
    classify(bytes, size - 1, 1 + data[0], pieces);
    require(memcmp(single, pieces, size - 1) == 0);
    free(single);
    free(pieces);
    return 0;
}
