#include "debug/call_text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "hermit/hypercall.h"

enum result_kind {
    RESULT_NONE,    /* the call has none */
    RESULT_NEVER,   /* it does not come back */
    RESULT_NUMBER,  /* int32_t, negative: error */
    RESULT_NUMBER8, /* int64_t, negative: error */
    RESULT_OFFSET1, /* int64_t, -1 without an error number */
    RESULT_LENGTH,  /* uint64_t */
    RESULT_TAGGED,  /* tag and positive error number */
    RESULT_DENTS,
};

struct call_kind {
    uint16_t port;
    int8_t name;  /* index into call_names */
    uint8_t kind; /* enum result_kind */
    uint8_t result;
    void (*arguments)(const struct call_record *record, struct text *text);
};

enum {
    NAME_EXIT,
    NAME_CMDSIZE,
    NAME_CMDVAL,
    NAME_OPEN,
    NAME_CLOSE,
    NAME_READ,
    NAME_WRITE,
    NAME_LSEEK,
    NAME_UNLINK,
    NAME_MKDIR,
    NAME_STAT,
    NAME_FSTAT,
    NAME_GETDENTS,
    NAME_SERIAL_BYTE,
    NAME_SERIAL_WRITE,
    NAME_SERIAL_READ_BYTE,
    NAME_SERIAL_READ,
    NAMES,
};

#define FILE_PATH (CALL_GROUP_FILE | CALL_GROUP_PATH)
#define FILE_DESC (CALL_GROUP_FILE | CALL_GROUP_DESC)

const struct call_name call_names[] = {
    [NAME_EXIT] = {"exit", CALL_GROUP_PROCESS},
    [NAME_CMDSIZE] = {"cmdsize", CALL_GROUP_PROCESS},
    [NAME_CMDVAL] = {"cmdval", CALL_GROUP_PROCESS},
    [NAME_OPEN] = {"open", FILE_PATH},
    [NAME_CLOSE] = {"close", FILE_DESC},
    [NAME_READ] = {"read", FILE_DESC},
    [NAME_WRITE] = {"write", FILE_DESC},
    [NAME_LSEEK] = {"lseek", FILE_DESC},
    [NAME_UNLINK] = {"unlink", FILE_PATH},
    [NAME_MKDIR] = {"mkdir", FILE_PATH},
    [NAME_STAT] = {"stat", FILE_PATH},
    [NAME_FSTAT] = {"fstat", FILE_DESC},
    [NAME_GETDENTS] = {"getdents", FILE_DESC},
    [NAME_SERIAL_BYTE] = {"serial_byte", CALL_GROUP_SERIAL},
    [NAME_SERIAL_WRITE] = {"serial_write", CALL_GROUP_SERIAL},
    [NAME_SERIAL_READ_BYTE] = {"serial_read_byte", CALL_GROUP_SERIAL},
    [NAME_SERIAL_READ] = {"serial_read", CALL_GROUP_SERIAL},
};
const size_t call_name_count = NAMES;

_Static_assert(NAMES <= CALL_NAMES_MAX, "call_text.h");

/* A parameter block out of the record. */
#define BLOCK(structure, name)                                                                     \
    struct structure name;                                                                         \
    memcpy(&name, record->before, sizeof name)

static void add_flags(struct text *text, uint32_t value)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } flags[] = {
        {HERMIT_O_CREAT, "O_CREAT"}, {HERMIT_O_EXCL, "O_EXCL"},
        {HERMIT_O_TRUNC, "O_TRUNC"}, {HERMIT_O_APPEND, "O_APPEND"},
        {04000, "O_NONBLOCK"},       {HERMIT_O_DIRECTORY, "O_DIRECTORY"},
        {040000, "O_DIRECT"},        {0400000, "O_NOFOLLOW"},
        {02000000, "O_CLOEXEC"},
    };
    static const char *const modes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};

    text_add(text, modes[value & HERMIT_O_ACCMODE]);
    value &= ~(uint32_t)HERMIT_O_ACCMODE;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (value & flags[i].bit) {
            text_printf(text, "|%s", flags[i].name);
            value &= ~flags[i].bit;
        }
    if (value)
        text_printf(text, "|0%o", value);
}

/* The record's bytes as a C string, or the address where there was nothing to read. */
static void add_text(const struct call_record *record, struct text *text, uint64_t address)
{
    if (!record->has_text) {
        text_printf(text, "0x%" PRIx64, address);
        return;
    }
    text_add(text, "\"");
    for (uint32_t i = 0; i < record->text_size; i++) {
        unsigned char c = (unsigned char)record->text[i];
        static const char escaped[] = "\nn\tt\rr\"\"\\\\";
        const char *escape = NULL;
        for (const char *p = escaped; *p && !escape; p += 2)
            if ((unsigned char)*p == c)
                escape = p + 1;
        if (escape)
            text_printf(text, "\\%c", *escape);
        else if (c < ' ' || c > '~')
            text_printf(text, "\\x%02x", c);
        else
            text_add_bytes(text, &record->text[i], 1);
    }
    text_add(text, record->text_cut ? "\"..." : "\"");
}

static void add_attr(const struct call_record *record, struct text *text, uint64_t address)
{
    static const struct {
        uint32_t type;
        const char *name;
    } types[] = {
        {S_IFREG, "S_IFREG"}, {S_IFDIR, "S_IFDIR"}, {S_IFLNK, "S_IFLNK"},   {S_IFCHR, "S_IFCHR"},
        {S_IFBLK, "S_IFBLK"}, {S_IFIFO, "S_IFIFO"}, {S_IFSOCK, "S_IFSOCK"},
    };
    const char *name = NULL;

    if (!record->has_attr || call_failed(record)) {
        text_printf(text, "0x%" PRIx64, address);
        return;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((record->attr_mode & S_IFMT) == types[i].type)
            name = types[i].name;
    text_add(text, "{mode=");
    if (name)
        text_printf(text, "%s|", name);
    text_printf(text, "0%o, size=%" PRId64 "}",
                name ? record->attr_mode & 07777 : record->attr_mode, record->attr_size);
}

static void exit_v1(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v1_exit, block);
    text_printf(text, "%d", block.code);
}

static void exit_v2(const struct call_record *record, struct text *text)
{
    text_printf(text, "%d", (int)(uint32_t)record->payload);
}

static void cmdsize(const struct call_record *record, struct text *text)
{
    int32_t count;
    memcpy(&count, record->after, sizeof count);
    if (record->finished)
        text_printf(text, "{argc=%d}", count);
}

static void cmdval(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v1_cmdval, block);
    text_printf(text, "0x%" PRIx64 ", 0x%" PRIx64, block.argv, block.envp);
}

static void open_path(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_open, block);
    add_text(record, text, block.path);
    text_add(text, ", ");
    add_flags(text, (uint32_t)block.flags);
    if (block.flags & HERMIT_O_CREAT)
        text_printf(text, ", 0%o", (unsigned)block.mode);
}

static void close_fd(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_close, block);
    text_printf(text, "%d", block.fd);
}

static void path_only(const struct call_record *record, struct text *text)
{
    uint64_t path;
    memcpy(&path, record->before, sizeof path);
    add_text(record, text, path);
}

static void add_transfer(const struct call_record *record, struct text *text, int32_t fd,
                         uint64_t buffer, uint64_t length)
{
    text_printf(text, "%d, ", fd);
    add_text(record, text, buffer);
    text_printf(text, ", %" PRIu64, length);
}

static void write_v1(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v1_write, block);
    add_transfer(record, text, block.fd, block.buf, block.len);
}

static void read_v1(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v1_read, block);
    add_transfer(record, text, block.fd, block.buf, block.len);
}

/* The blocks of reads are the same. */
static void transfer_v2(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v2_write, block);
    add_transfer(record, text, block.fd, block.buf, block.len);
}

static void add_seek(struct text *text, int32_t fd, int64_t offset, uint32_t whence)
{
    static const char *const names[] = {"SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA",
                                        "SEEK_HOLE"};

    text_printf(text, "%d, %" PRId64 ", ", fd, offset);
    if (whence < sizeof names / sizeof *names)
        text_add(text, names[whence]);
    else
        text_printf(text, "%u", whence);
}

static void lseek_v1(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v1_lseek, block);
    add_seek(text, block.fd, block.offset, (uint32_t)block.whence);
}

static void lseek_v2(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v2_lseek, block);
    add_seek(text, block.fd, block.offset, block.whence);
}

static void getdents(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_getdents, block);
    text_printf(text, "%d, 0x%" PRIx64 ", %" PRIu64, block.fd, block.buf, block.len);
}

static void stat_path(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_stat, block);
    add_text(record, text, block.path);
    if (block.kind == HERMIT_STAT_FOLLOW)
        text_add(text, ", FOLLOW, ");
    else if (block.kind == HERMIT_STAT_NO_FOLLOW)
        text_add(text, ", NO_FOLLOW, ");
    else
        text_printf(text, ", %u, ", block.kind);
    add_attr(record, text, block.attr);
}

static void fstat_fd(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_fstat, block);
    text_printf(text, "%d, ", block.fd);
    add_attr(record, text, block.attr);
}

static void serial_byte(const struct call_record *record, struct text *text)
{
    add_text(record, text, 0);
    if (record->count > 1)
        text_printf(text, " /* %u calls */", record->count);
}

static void serial_write_v1(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v1_serial_write, block);
    add_text(record, text, block.buf);
    text_printf(text, ", %" PRIu64, block.len);
}

static void serial_write_v2(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v2_serial_write, block);
    add_text(record, text, block.buf);
    text_printf(text, ", %" PRIu64, block.len);
}

static void serial_read(const struct call_record *record, struct text *text)
{
    BLOCK(hermit_v2_serial_read, block);
    add_text(record, text, block.buf);
    text_printf(text, ", %" PRIu64, block.maxlen);
}

#define AT(structure, member) offsetof(struct structure, member)

static const struct call_kind kinds[] = {
    {HERMIT_V1_FILE_WRITE, NAME_WRITE, RESULT_NONE, 0, write_v1},
    {HERMIT_V1_FILE_OPEN, NAME_OPEN, RESULT_NUMBER, AT(hermit_open, ret), open_path},
    {HERMIT_V1_FILE_CLOSE, NAME_CLOSE, RESULT_NUMBER, AT(hermit_close, ret), close_fd},
    {HERMIT_V1_FILE_READ, NAME_READ, RESULT_NUMBER8, AT(hermit_v1_read, ret), read_v1},
    {HERMIT_V1_EXIT, NAME_EXIT, RESULT_NEVER, 0, exit_v1},
    {HERMIT_V1_FILE_LSEEK, NAME_LSEEK, RESULT_OFFSET1, AT(hermit_v1_lseek, offset), lseek_v1},
    {HERMIT_V1_CMDSIZE, NAME_CMDSIZE, RESULT_NONE, 0, cmdsize},
    {HERMIT_V1_CMDVAL, NAME_CMDVAL, RESULT_NONE, 0, cmdval},
    {HERMIT_V1_UART, NAME_SERIAL_BYTE, RESULT_NONE, 0, serial_byte},
    {HERMIT_V1_FILE_UNLINK, NAME_UNLINK, RESULT_NUMBER, AT(hermit_unlink, ret), path_only},
    {HERMIT_V1_SERIAL_WRITE_BUFFER, NAME_SERIAL_WRITE, RESULT_NONE, 0, serial_write_v1},
    {HERMIT_V2_EXIT, NAME_EXIT, RESULT_NEVER, 0, exit_v2},
    {HERMIT_V2_SERIAL_WRITE_BYTE, NAME_SERIAL_BYTE, RESULT_NONE, 0, serial_byte},
    {HERMIT_V2_SERIAL_WRITE_BUFFER, NAME_SERIAL_WRITE, RESULT_NONE, 0, serial_write_v2},
    {HERMIT_V2_SERIAL_READ_BYTE, NAME_SERIAL_READ_BYTE, RESULT_NONE, 0, NULL},
    {HERMIT_V2_SERIAL_READ_BUFFER, NAME_SERIAL_READ, RESULT_LENGTH, AT(hermit_v2_serial_read, len),
     serial_read},
    {HERMIT_V2_FILE_WRITE, NAME_WRITE, RESULT_NUMBER8, AT(hermit_v2_write, ret), transfer_v2},
    {HERMIT_V2_FILE_OPEN, NAME_OPEN, RESULT_NUMBER, AT(hermit_open, ret), open_path},
    {HERMIT_V2_FILE_CLOSE, NAME_CLOSE, RESULT_NUMBER, AT(hermit_close, ret), close_fd},
    {HERMIT_V2_FILE_READ, NAME_READ, RESULT_NUMBER8, AT(hermit_v2_read, ret), transfer_v2},
    {HERMIT_V2_FILE_LSEEK, NAME_LSEEK, RESULT_NUMBER8, AT(hermit_v2_lseek, offset), lseek_v2},
    {HERMIT_V2_FILE_UNLINK, NAME_UNLINK, RESULT_NUMBER, AT(hermit_unlink, ret), path_only},
    {HERMIT_V2_GETDENTS, NAME_GETDENTS, RESULT_DENTS, AT(hermit_getdents, tag), getdents},
    {HERMIT_V2_FILE_STAT, NAME_STAT, RESULT_TAGGED, AT(hermit_stat, tag), stat_path},
    {HERMIT_V2_FILE_FSTAT, NAME_FSTAT, RESULT_TAGGED, AT(hermit_fstat, tag), fstat_fd},
    {HERMIT_V2_MKDIR, NAME_MKDIR, RESULT_TAGGED, AT(hermit_mkdir, tag), path_only},
};

static const struct call_kind *find_kind(uint16_t port)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].port == port)
            return &kinds[i];
    return NULL;
}

int call_name_find(uint16_t port)
{
    const struct call_kind *kind = find_kind(port);
    return kind ? kind->name : -1;
}

unsigned call_group_find(const char *name, size_t size)
{
    static const struct {
        const char *name;
        unsigned group;
    } groups[] = {
        {"file", CALL_GROUP_FILE},     {"path", CALL_GROUP_PATH},       {"desc", CALL_GROUP_DESC},
        {"serial", CALL_GROUP_SERIAL}, {"process", CALL_GROUP_PROCESS}, {"all", UINT32_MAX},
    };

    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (strlen(groups[i].name) == size && memcmp(groups[i].name, name, size) == 0)
            return groups[i].group;
    return 0;
}

/* What came back: negative errors in one form for all calls. False if there is no result. */
static bool get_result(const struct call_record *record, int64_t *result)
{
    const struct call_kind *kind = find_kind(record->port);
    const uint8_t *at;
    uint32_t tag;
    int32_t number;

    if (!kind || !record->finished || !record->has_block)
        return false;
    at = record->after + kind->result;
    switch ((enum result_kind)kind->kind) {
    case RESULT_NONE:
    case RESULT_NEVER:
        return false;
    case RESULT_NUMBER:
        memcpy(&number, at, sizeof number);
        *result = number;
        return true;
    case RESULT_NUMBER8:
    case RESULT_OFFSET1:
    case RESULT_LENGTH:
        memcpy(result, at, sizeof *result);
        return true;
    case RESULT_TAGGED:
    case RESULT_DENTS:
        break;
    }
    memcpy(&tag, at, sizeof tag);
    memcpy(&number, at + (kind->kind == RESULT_DENTS ? 8 : 4), sizeof number);
    *result = 0;
    if (kind->kind == RESULT_DENTS && tag == HERMIT_GETDENTS_OK)
        memcpy(result, at + 8, sizeof *result);
    else if (tag == (kind->kind == RESULT_DENTS ? (uint32_t)HERMIT_GETDENTS_ERROR
                                                : (uint32_t)HERMIT_RESULT_ERROR))
        *result = -(int64_t)number;
    return true;
}

bool call_failed(const struct call_record *record)
{
    int64_t result;
    return get_result(record, &result) && result < 0;
}

static void add_result(const struct call_record *record, struct text *text)
{
    const struct call_kind *kind = find_kind(record->port);
    int64_t result;

    if (record->refused) {
        text_add(text, " = ? (ignored: not one 32-bit OUT)");
    } else if (!record->finished || kind->kind == RESULT_NEVER) {
        text_add(text, " = ?");
    } else if (!get_result(record, &result)) {
        if (kind->kind != RESULT_NONE)
            text_add(text, " = ? (ignored: its parameter block is not in guest memory)");
    } else if (result >= 0) {
        text_printf(text, " = %" PRId64, result);
    } else {
        const char *name = result > -4096 && kind->kind != RESULT_OFFSET1
                               ? strerrorname_np((int)-result)
                               : NULL;
        if (name)
            text_printf(text, " = -1 %s (%s)", name, strerror((int)-result));
        else
            text_printf(text, " = %" PRId64, result);
    }
}

void call_format(const struct call_record *record, struct text *text)
{
    const struct call_kind *kind = find_kind(record->port);

    if (!kind) {
        text_printf(text, "port_0x%x(0x%" PRIx64 ")", record->port, record->payload);
        return;
    }
    text_printf(text, "%s(", call_names[kind->name].name);
    bool is_value = record->port == HERMIT_V2_EXIT || record->port == HERMIT_V1_UART ||
                    record->port == HERMIT_V2_SERIAL_WRITE_BYTE;
    if (record->refused)
        ;
    else if (kind->arguments && (record->has_block || is_value))
        kind->arguments(record, text);
    else if (kind->arguments)
        text_printf(text, "0x%" PRIx64, record->payload);
    text_add(text, ")");
    add_result(record, text);
}
