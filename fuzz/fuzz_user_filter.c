/*
 * Fuzz target: frames of a guest on a user-mode network. Nothing that is addressed to the host
 * itself may pass, and no frame is read beyond its end.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "input.h"
#include "net/user_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint8_t zeros[10];
    struct user_filter filter = {0};
    uint8_t *frame = malloc(size ? size : 1); /* for the address sanitizer */

    if (!frame)
        return 0;
    memcpy(frame, bytes, size);
    bool permitted = user_filter_permits(&filter, frame, size);
    require(!permitted || size >= 14);
    if (permitted && frame[12] == 0x08 && frame[13] == 0x00)
        require(frame[30] != 127 && frame[30] != 0);
    if (permitted && frame[12] == 0x86 && frame[13] == 0xdd)
        require(memcmp(frame + 38, zeros, sizeof zeros) != 0);
    user_filter_note(&filter, frame, size);
    require(filter.next <= 1);
    free(frame);
    return 0;
}
