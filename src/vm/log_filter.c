#include "vm/log_filter.h"

#include <string.h>

enum verdict { VERDICT_NO, VERDICT_OPEN, VERDICT_YES };

/* The start of a line, read without its colour sequences. */
struct reader {
    const char *at, *end;
};

/* Skip ESC [ parameters m (SGR, ECMA-48 section 8.3.117). A sequence cut off by the end counts as
 * the end; other escape sequences are characters like any other, and in no log prefix. */
static void reader_skip_colours(struct reader *reader)
{
    while (reader->at < reader->end && *reader->at == '\x1b') {
        const char *p = reader->at + 1;
        if (p < reader->end && *p != '[')
            return;
        while (p < reader->end && (p == reader->at + 1 || (*p && strchr("0123456789;:", *p))))
            p++;
        if (p < reader->end && *p != 'm')
            return;
        reader->at = p < reader->end ? p + 1 : p;
    }
}

/* Next character that is not part of a colour sequence, or -1 at the end. */
static int reader_peek(struct reader *reader)
{
    reader_skip_colours(reader);
    return reader->at < reader->end ? (unsigned char)*reader->at : -1;
}

static size_t reader_skip(struct reader *reader, bool (*wanted)(int c))
{
    size_t count = 0;
    for (; wanted(reader_peek(reader)); reader->at++)
        count++;
    return count;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(int c)
{
    return c == ' ';
}

static bool is_closing(int c)
{
    return c == ')' || c == ']' || c == '}';
}

/* Accept exactly `wanted`. */
static enum verdict reader_expect(struct reader *reader, char wanted)
{
    int c = reader_peek(reader);
    if (c < 0)
        return VERDICT_OPEN;
    if (c != wanted)
        return VERDICT_NO;
    reader->at++;
    return VERDICT_YES;
}

/* "[0]" sets *time to false, "[    0.123456]" and "[            ]" to true. */
static enum verdict read_number_field(struct reader *reader, bool *time)
{
    enum verdict verdict = reader_expect(reader, '[');
    if (verdict != VERDICT_YES)
        return verdict;
    size_t blanks = reader_skip(reader, is_blank);
    size_t digits = reader_skip(reader, is_digit);
    *time = blanks != 0;
    if (digits && reader_peek(reader) == '.') {
        reader->at++;
        *time = true;
        if (!reader_skip(reader, is_digit))
            return reader_peek(reader) < 0 ? VERDICT_OPEN : VERDICT_NO;
    } else if (!blanks == !digits) {
        return reader_peek(reader) < 0 ? VERDICT_OPEN : VERDICT_NO;
    }
    return reader_expect(reader, ']');
}

/* "[INFO]", or "[INFO " before a target; the rest of the line no longer matters. */
static enum verdict read_level(struct reader *reader, enum log_kind *kind)
{
    static const char *const names[] = {
        [LOG_KIND_TRACE] = "TRACE", [LOG_KIND_DEBUG] = "DEBUG", [LOG_KIND_INFO] = "INFO",
        [LOG_KIND_WARN] = "WARN",   [LOG_KIND_ERROR] = "ERROR", [LOG_KIND_PANIC] = "PANIC",
    };
    enum verdict verdict = reader_expect(reader, '[');
    if (verdict != VERDICT_YES)
        return verdict;
    if (reader_peek(reader) < 0)
        return VERDICT_OPEN;
    for (*kind = LOG_KIND_TRACE; *kind <= LOG_KIND_PANIC; (*kind)++)
        if (reader_peek(reader) == names[*kind][0]) /* all differ in their first letter */
            break;
    if (*kind > LOG_KIND_PANIC)
        return VERDICT_NO;
    for (const char *name = names[*kind]; *name && verdict == VERDICT_YES; name++)
        verdict = reader_expect(reader, *name);
    if (verdict != VERDICT_YES)
        return verdict;
    int c = reader_peek(reader);
    return c < 0 ? VERDICT_OPEN : c == ']' || c == ' ' ? VERDICT_YES : VERDICT_NO;
}

static enum verdict read_prefix(struct reader *reader, enum log_kind *kind)
{
    bool time;
    enum verdict verdict = read_number_field(reader, &time);
    if (verdict == VERDICT_YES && time) {
        verdict = read_number_field(reader, &time);
        if (verdict == VERDICT_YES && time)
            verdict = VERDICT_NO;
    }
    if (verdict == VERDICT_YES)
        verdict = read_level(reader, kind);
    return verdict;
}

/* Continuation of a log line that is not a panic message. */
static enum verdict read_continuation(struct reader *reader)
{
    int c = reader_peek(reader);
    if (c < 0 || c == ' ' || c == '\t')
        return c < 0 ? VERDICT_OPEN : VERDICT_YES;
    if (!reader_skip(reader, is_closing))
        return VERDICT_NO;
    if (reader_peek(reader) == ',')
        reader->at++;
    if (reader_peek(reader) == '\r')
        reader->at++;
    return reader_expect(reader, '\n');
}

/* Judge the held start of a line. VERDICT_OPEN: more bytes are needed, else *kind tells. */
static enum verdict judge(const struct log_filter *filter, enum log_kind *kind)
{
    const struct reader start = {.at = filter->held, .end = filter->held + filter->held_size};
    struct reader reader = start;
    enum verdict verdict = read_prefix(&reader, kind);
    if (verdict != VERDICT_NO)
        return verdict;
    *kind = LOG_KIND_PROGRAM;
    if (filter->previous == LOG_KIND_PROGRAM)
        return VERDICT_YES;
    reader = start;
    verdict = filter->previous == LOG_KIND_PANIC ? VERDICT_YES : read_continuation(&reader);
    if (verdict == VERDICT_YES)
        *kind = filter->previous;
    return verdict == VERDICT_OPEN ? VERDICT_OPEN : VERDICT_YES;
}

static void decide(struct log_filter *filter, enum log_kind kind, struct log_piece *piece)
{
    *piece = (struct log_piece){kind, filter->held, filter->held_size};
    filter->line = kind;
    filter->decided = true;
    filter->held_size = 0;
}

static void end_line(struct log_filter *filter)
{
    filter->previous = filter->line;
    filter->decided = false;
}

/* What a line is that cannot be judged: it got too long, or something else has to come first. */
static enum log_kind default_kind(const struct log_filter *filter)
{
    return filter->previous == LOG_KIND_PANIC ? LOG_KIND_PANIC : LOG_KIND_PROGRAM;
}

size_t log_filter_next(struct log_filter *filter, const char *bytes, size_t size,
                       struct log_piece *piece)
{
    if (filter->decided) {
        const char *newline = memchr(bytes, '\n', size);
        size_t taken = newline ? (size_t)(newline - bytes) + 1 : size;
        *piece = (struct log_piece){filter->line, bytes, taken};
        if (newline)
            end_line(filter);
        return taken;
    }
    *piece = (struct log_piece){0};
    size_t taken = 0;
    while (taken < size && !piece->size) {
        enum log_kind kind = LOG_KIND_PROGRAM;
        char byte = bytes[taken++];
        filter->held[filter->held_size++] = byte;
        if (judge(filter, &kind) != VERDICT_OPEN)
            decide(filter, kind, piece);
        else if (filter->held_size == sizeof filter->held)
            decide(filter, default_kind(filter), piece);
        if (piece->size && byte == '\n')
            end_line(filter);
    }
    return taken;
}

void log_filter_release(struct log_filter *filter, struct log_piece *piece)
{
    *piece = (struct log_piece){0};
    if (filter->held_size)
        decide(filter, default_kind(filter), piece);
}
