#include "hypercall/record.h"

#include <string.h>
#include <time.h>

#include "hermit/hypercall.h"
#include "hypercall/call.h"

enum text_source {
    TEXT_NONE,
    TEXT_PATH,     /* the block starts with the address of a path */
    TEXT_WRITTEN,  /* the data that goes out */
    TEXT_RECEIVED, /* the data that came in */
};

/* Where things are in the parameter blocks. */
struct shape {
    uint8_t size;    /* bytes of the block that are kept; 0: the payload is a value */
    uint8_t source;  /* enum text_source */
    uint8_t address; /* offset of the address of data or attributes */
    uint8_t length;  /* offset of the length of written data, or of the result of a read */
    bool virtual;    /* the data's address is guest-virtual */
    bool attributes; /* `address` is that of a struct hermit_attr */
};

#define AT(structure, member) offsetof(struct structure, member)

/* Where the shape of the call behind a port is. */
#define V1_SLOTS ((HERMIT_V1_SERIAL_WRITE_BUFFER - HERMIT_V1_FILE_WRITE) / 0x40 + 1)
#define SLOT(port)                                                                                 \
    ((int)(port) <= HERMIT_V1_SERIAL_WRITE_BUFFER                                                  \
         ? ((int)(port)-HERMIT_V1_FILE_WRITE) / 0x40                                               \
         : V1_SLOTS + ((int)(port)-HERMIT_V2_EXIT) / 0x10)

static const struct shape shapes[] = {
    [SLOT(HERMIT_V1_FILE_WRITE)] = {sizeof(struct hermit_v1_write), TEXT_WRITTEN,
                                    AT(hermit_v1_write, buf), AT(hermit_v1_write, len),
                                    .virtual = true},
    [SLOT(HERMIT_V1_FILE_OPEN)] = {sizeof(struct hermit_open), TEXT_PATH},
    [SLOT(HERMIT_V1_FILE_CLOSE)] = {sizeof(struct hermit_close)},
    [SLOT(HERMIT_V1_FILE_READ)] = {sizeof(struct hermit_v1_read), TEXT_RECEIVED,
                                   AT(hermit_v1_read, buf), AT(hermit_v1_read, ret),
                                   .virtual = true},
    [SLOT(HERMIT_V1_EXIT)] = {sizeof(struct hermit_v1_exit)},
    [SLOT(HERMIT_V1_FILE_LSEEK)] = {sizeof(struct hermit_v1_lseek)},
    [SLOT(HERMIT_V1_CMDSIZE)] = {sizeof(int32_t)},
    [SLOT(HERMIT_V1_CMDVAL)] = {sizeof(struct hermit_v1_cmdval)},
    [SLOT(HERMIT_V1_FILE_UNLINK)] = {sizeof(struct hermit_unlink), TEXT_PATH},
    [SLOT(HERMIT_V1_SERIAL_WRITE_BUFFER)] = {sizeof(struct hermit_v1_serial_write), TEXT_WRITTEN,
                                             AT(hermit_v1_serial_write, buf),
                                             AT(hermit_v1_serial_write, len)},
    [SLOT(HERMIT_V2_SERIAL_WRITE_BUFFER)] = {sizeof(struct hermit_v2_serial_write), TEXT_WRITTEN,
                                             AT(hermit_v2_serial_write, buf),
                                             AT(hermit_v2_serial_write, len)},
    [SLOT(HERMIT_V2_SERIAL_READ_BUFFER)] = {sizeof(struct hermit_v2_serial_read), TEXT_RECEIVED,
                                            AT(hermit_v2_serial_read, buf),
                                            AT(hermit_v2_serial_read, len)},
    [SLOT(HERMIT_V2_FILE_WRITE)] = {sizeof(struct hermit_v2_write), TEXT_WRITTEN,
                                    AT(hermit_v2_write, buf), AT(hermit_v2_write, len)},
    [SLOT(HERMIT_V2_FILE_OPEN)] = {sizeof(struct hermit_open), TEXT_PATH},
    [SLOT(HERMIT_V2_FILE_CLOSE)] = {sizeof(struct hermit_close)},
    [SLOT(HERMIT_V2_FILE_READ)] = {sizeof(struct hermit_v2_read), TEXT_RECEIVED,
                                   AT(hermit_v2_read, buf), AT(hermit_v2_read, ret)},
    [SLOT(HERMIT_V2_FILE_LSEEK)] = {sizeof(struct hermit_v2_lseek)},
    [SLOT(HERMIT_V2_FILE_UNLINK)] = {sizeof(struct hermit_unlink), TEXT_PATH},
    [SLOT(HERMIT_V2_GETDENTS)] = {sizeof(struct hermit_getdents)},
    [SLOT(HERMIT_V2_FILE_STAT)] = {sizeof(struct hermit_stat), TEXT_PATH, AT(hermit_stat, attr),
                                   .attributes = true},
    [SLOT(HERMIT_V2_FILE_FSTAT)] = {sizeof(struct hermit_fstat), TEXT_NONE, AT(hermit_fstat, attr),
                                    .attributes = true},
    [SLOT(HERMIT_V2_MKDIR)] = {sizeof(struct hermit_mkdir), TEXT_PATH},
};

/* The port is that of a hypercall. NULL: there is no parameter block. */
static const struct shape *find_shape(uint16_t port)
{
    unsigned slot = SLOT(port);
    return slot < sizeof shapes / sizeof *shapes && shapes[slot].size ? &shapes[slot] : NULL;
}

static bool is_byte_call(uint16_t port)
{
    return port == HERMIT_V1_UART || port == HERMIT_V2_SERIAL_WRITE_BYTE;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t word_at(const uint8_t block[CALL_RECORD_BLOCK], uint8_t offset)
{
    uint64_t word;
    memcpy(&word, block + offset, sizeof word);
    return word;
}

/* The string's beginning: the end of its room or of the memory cuts it. */
static void copy_path(struct call_record *record, const struct ram *ram)
{
    gpa_t path = word_at(record->before, 0);
    const char *from = ram_at(ram, path, 1);
    if (!from)
        return;
    uint64_t available = ram->size - (path - ram->base);
    size_t size = available < sizeof record->text ? (size_t)available : sizeof record->text;
    record->has_text = true;
    for (record->text_size = 0; record->text_size < size; record->text_size++) {
        char c = from[record->text_size];
        if (!c)
            return;
        record->text[record->text_size] = c;
    }
    record->text_cut = true;
}

static void copy_data(struct call_record *record, const struct call_detail *detail,
                      const struct shape *shape, uint64_t length)
{
    uint64_t address = word_at(record->before, shape->address);
    size_t size = length < CALL_RECORD_DATA ? (size_t)length : CALL_RECORD_DATA;
    const uint8_t *from;

    if (shape->virtual) {
        struct hypercall_context context = {.ram = detail->ram};
        const struct call call = {.context = &context, .caller = detail->caller};
        struct call_buffer buffer;
        if (call_buffer_virtual(&call, address, size, &buffer) != 0)
            return;
        for (int i = 0; i < buffer.count; i++) {
            memcpy(record->text + record->text_size, buffer.piece[i].iov_base,
                   buffer.piece[i].iov_len);
            record->text_size += (uint32_t)buffer.piece[i].iov_len;
        }
    } else {
        from = ram_at(detail->ram, address, size);
        if (!from && size)
            return;
        if (size)
            memcpy(record->text, from, size);
        record->text_size = (uint32_t)size;
    }
    record->has_text = true;
    record->text_cut = length > size;
}

/* Add a byte call's bytes; they are the low bytes of the elements. */
static void gather(struct call_record *record, const struct hypercall_write *write, bool is_v1)
{
    uint32_t count = is_v1 ? write->count : 1;

    record->count += is_v1 ? write->count : 1;
    record->has_text = true;
    for (uint32_t i = 0; i < count && record->text_size < CALL_RECORD_LINE; i++)
        record->text[record->text_size++] = (char)(is_v1 ? write->data[(size_t)i * write->size]
                                                         : write->rdi);
}

struct call_record *call_history_last(struct call_history *history)
{
    return history->total ? &history->records[(history->total - 1) % CALL_HISTORY] : NULL;
}

bool call_record_continues(const struct call_record *record, uint16_t port)
{
    return record && record->port == port && is_byte_call(port) && !record->refused &&
           record->text_size && record->text_size < CALL_RECORD_LINE &&
           record->text[record->text_size - 1] != '\n';
}

struct call_record *call_record_begin(struct call_history *history, uint16_t port,
                                      const struct hypercall_write *write,
                                      const struct call_detail *detail)
{
    struct call_record *record = call_history_last(history);
    bool is_v1 = port <= HERMIT_V1_SERIAL_WRITE_BUFFER;

    if (!call_record_continues(record, port)) {
        record = &history->records[history->total++ % CALL_HISTORY];
        memset(record, 0, offsetof(struct call_record, before));
        record->port = port;
    }
    record->finished = false;
    if (detail->full)
        record->start_ns = now();
    record->refused = port != HERMIT_V1_UART && (write->size != 4 || write->count != 1);
    if (record->refused)
        return record;
    if (is_byte_call(port)) {
        gather(record, write, is_v1);
        return record;
    }
    record->count = 1;
    record->payload = write->rdi;
    if (is_v1) {
        uint32_t eax;
        memcpy(&eax, write->data, sizeof eax);
        record->payload = eax;
    }
    const struct shape *shape = find_shape(port);
    if (!shape)
        return record;
    record->has_block = ram_read(detail->ram, record->payload, record->before, shape->size);
    if (!record->has_block)
        return record;
    if (shape->source == TEXT_PATH)
        copy_path(record, detail->ram);
    else if (shape->source == TEXT_WRITTEN && detail->full)
        copy_data(record, detail, shape, word_at(record->before, shape->length));
    return record;
}

static void copy_attributes(struct call_record *record, const struct ram *ram, gpa_t address)
{
    struct hermit_attr attr;

    record->has_attr = ram_read(ram, address, &attr, sizeof attr);
    if (record->has_attr) {
        record->attr_mode = attr.mode;
        record->attr_size = attr.size;
    }
}

void call_record_end(struct call_record *record, const struct call_detail *detail)
{
    const struct shape *shape = record->has_block ? find_shape(record->port) : NULL;

    record->finished = true;
    if (detail->full)
        record->duration_ns += now() - record->start_ns;
    if (!shape)
        return;
    ram_read(detail->ram, record->payload, record->after, shape->size); /* it was there before */
    if (!detail->full)
        return;
    if (shape->source == TEXT_RECEIVED) {
        int64_t length = (int64_t)word_at(record->after, shape->length);
        if (length >= 0)
            copy_data(record, detail, shape, (uint64_t)length);
    } else if (shape->attributes) {
        copy_attributes(record, detail->ram, word_at(record->before, shape->address));
    }
}
