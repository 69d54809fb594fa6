/* Hypercalls as lines of the trace: the records are whatever a guest could have made them. */
#include <stdlib.h>
#include <string.h>

#include "debug/call_text.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct call_record record = {0};
    struct text text = {0};
    uint8_t flags;

    if (size < 4)
        return 0;
    memcpy(&record.port, data, sizeof record.port);
    flags = data[2];
    record.finished = flags & 1;
    record.refused = flags & 2;
    record.has_block = flags & 4;
    record.has_text = flags & 8;
    record.text_cut = flags & 16;
    record.has_attr = flags & 32;
    record.text_size = data[3] % (CALL_RECORD_TEXT + 1);
    data += 4;
    size -= 4;
    memcpy(record.before, data, size < sizeof record.before ? size : sizeof record.before);
    memcpy(record.after, data, size < sizeof record.after ? size : sizeof record.after);
    memcpy(record.text, data, size < sizeof record.text ? size : sizeof record.text);
    call_format(&record, &text);
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] < ' ' || text.data[i] > '~')
            abort();
    text_free(&text);
    return 0;
}
