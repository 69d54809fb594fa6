/*
 * Fuzz target: frames of a guest on a user-mode network. Nothing that is addressed to the host
 * itself may pass, and no frame is read beyond its end. The same frames as ends of connections.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "input.h"
#include "net/user_ended.h"
#include "net/user_filter.h"

static bool never(void *context, uint16_t host_port)
{
    return false;
}

/* As of both sides: a connection is over only if something has ended it. */
static void end_connections(const uint8_t *frame, size_t size)
{
    static struct user_ended ended;
    uint8_t reset[USER_ENDED_FRAME];

    user_ended_from_host(&ended, frame, size);
    user_ended_from_guest(&ended, frame, size);
    user_ended_from_host(&ended, frame, size);
    require(ended.over_count <= 2); /* one of each direction, with what came before */
    while (user_ended_next(&ended, never, NULL, reset))
        require(reset[12] == 0x08 || reset[12] == 0x86);
    require(ended.over_count == 0);
}

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
    end_connections(frame, size);
    free(frame);
    return 0;
}
